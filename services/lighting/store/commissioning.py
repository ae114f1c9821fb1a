"""Commissioning, stored: which luminaires blink. Whether one may is api/commissioning.py."""

from __future__ import annotations

import sqlalchemy as sa
from sqlmodel import Session, col, select

from servicekit.columns import table_of
from servicekit.context import Tenant
from services.lighting.identifying import GIVE_BACK_MS
from services.lighting.records import IdentificationRecord
from services.lighting.store.commissioning_tables import IdentificationRow
from services.lighting.store.revisions import ORDERS, bump


def put_identification(session: Session, tenant: Tenant, record: IdentificationRecord, author: str) -> None:
    """A luminaire is to blink, in place of what was asked of it before."""
    row = session.get(IdentificationRow, record.luminaire_uid, with_for_update=True)
    if row is None:
        row = IdentificationRow(
            luminaire_uid=record.luminaire_uid, municipality_uid=tenant.uid, start_ms=0, end_ms=0, author=""
        )
    row.start_ms, row.end_ms, row.author = record.start_ms, record.end_ms, author
    session.add(row)
    session.flush()
    bump(session, ORDERS)


def count_blinking(session: Session, tenant: Tenant, at_ms: int, *, but: str) -> int:
    """How many luminaires of a municipality blink at an instant, one left out."""
    query = (
        select(sa.func.count())
        .select_from(IdentificationRow)
        .where(IdentificationRow.municipality_uid == tenant.uid)
        .where(col(IdentificationRow.end_ms) > at_ms)
        .where(IdentificationRow.luminaire_uid != but)
    )
    return int(session.exec(query).one())


def identifications_from(session: Session, from_ms: int) -> list[IdentificationRecord]:
    """What blinks at or after an instant (Unix ms), or is being given its level back, by uid."""
    c = table_of(IdentificationRow).c
    rows = session.connection().execute(
        sa.select(c.luminaire_uid, c.municipality_uid, c.start_ms, c.end_ms)
        .where(c.end_ms > from_ms - GIVE_BACK_MS)
        .order_by(c.luminaire_uid)
    )
    return [IdentificationRecord(*row) for row in rows]
