"""Levels that lamps take by themselves, stored: what is wanted, and what was read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import Session, col, select

from servicekit.columns import table_of
from servicekit.context import Tenant
from services.lighting.records import ProtectionSeen, ProtectionWish
from services.lighting.store.commissioning_tables import ProtectionRow
from services.lighting.store.tables import LuminaireRow

_CHUNK: Final = 500
MOST_AT_ONCE: Final = 10_000


def ask_for(
    session: Session,
    tenant: Tenant,
    luminaire_uids: Sequence[str],
    power_on: int,
    communication_loss: int,
    asked_ms: int,
    author: str,
) -> None:
    """Luminaires are to take these levels (per mille) by themselves; what was read before stays until the next time."""
    for first in range(0, len(luminaire_uids), _CHUNK):
        uids = luminaire_uids[first : first + _CHUNK]
        known = session.exec(select(ProtectionRow).where(col(ProtectionRow.luminaire_uid).in_(uids))).all()
        rows = {row.luminaire_uid: row for row in known}
        for uid in uids:
            row = rows.get(uid) or ProtectionRow(luminaire_uid=uid, municipality_uid=tenant.uid)
            row.power_on_permille, row.communication_loss_permille = power_on, communication_loss
            row.asked_ms, row.author, row.seen_for_ms, row.confirmed = asked_ms, author, 0, False
            session.add(row)
        session.flush()


def pending_wishes(session: Session) -> list[ProtectionWish]:
    """What was asked for and not seen since, of luminaires that have a gateway; the oldest first."""
    p, lamp = table_of(ProtectionRow).c, table_of(LuminaireRow).c
    rows = session.connection().execute(
        sa.select(p.luminaire_uid, lamp.gateway_uid, p.power_on_permille, p.communication_loss_permille, p.asked_ms)
        .join(table_of(LuminaireRow), lamp.uid == p.luminaire_uid)
        .where(p.seen_for_ms == 0)
        .where(lamp.deleted_at_ms == 0)
        .where(lamp.gateway_uid.is_not(None))
        .order_by(p.asked_ms, p.luminaire_uid)
        .limit(MOST_AT_ONCE)
    )
    return [ProtectionWish(*row) for row in rows]


def note_seen(session: Session, seen: Sequence[ProtectionSeen]) -> None:
    """Keeps what was read, unless something else has been asked for since."""
    for one in seen:
        row = session.get(ProtectionRow, one.luminaire_uid, with_for_update=True)
        if row is None or row.asked_ms != one.asked_ms:
            continue
        row.seen_for_ms, row.read_ms = one.asked_ms, one.read_ms
        row.supported, row.confirmed = one.supported, one.confirmed
        row.read_power_on, row.read_communication_loss = one.read_power_on, one.read_communication_loss
        session.add(row)
    session.flush()


def list_protections(
    session: Session,
    tenants: Sequence[Tenant],
    after: Sequence[str | int | None] | None,
    limit: int,
    *,
    unprotected_only: bool,
    where: Callable[[Tenant], Sequence[Any]],
) -> list[tuple[Tenant, LuminaireRow, ProtectionRow | None]]:
    """Luminaires with a gateway and what is known of them, by name. where: further conditions, per municipality."""
    found: list[tuple[Tenant, LuminaireRow, ProtectionRow | None]] = []
    for tenant in sorted(tenants, key=lambda t: t.id):
        if len(found) >= limit:
            break
        if after is not None and tenant.id < str(after[0]):
            continue
        query = (
            select(LuminaireRow, ProtectionRow)
            .join(ProtectionRow, col(ProtectionRow.luminaire_uid) == col(LuminaireRow.uid), isouter=True)
            .where(LuminaireRow.municipality_uid == tenant.uid)
            .where(LuminaireRow.deleted_at_ms == 0)
            .where(col(LuminaireRow.gateway_uid).is_not(None))
            .where(*where(tenant))
        )
        if unprotected_only:
            query = query.where(sa.or_(col(ProtectionRow.confirmed).is_(None), col(ProtectionRow.confirmed).is_(False)))
        if after is not None and tenant.id == after[0]:
            query = query.where(col(LuminaireRow.id) > str(after[1]))
        rows = session.exec(query.order_by(col(LuminaireRow.id)).limit(limit - len(found)))
        found += [(tenant, lamp, row) for lamp, row in rows]
    return found
