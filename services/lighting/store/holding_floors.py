"""Which floors hold at one instant, waivers included: now, or then. Over a span it is store/luminaires.py's limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa
from sqlmodel import Session, col, select

from servicekit.columns import table_of
from servicekit.context import Tenant
from services.lighting.plan import floor_of
from services.lighting.store.tables import FeederRow, GatewayRow, LuminaireRow, WaiverRow, WaiverTargetRow


def waived_targets(session: Session, municipality_uid: str, at_ms: int) -> dict[str, list[int]]:
    """Floors of the waivers that held at an instant (Unix ms), by the uid of what they were for."""
    waiver, target = table_of(WaiverRow).c, table_of(WaiverTargetRow).c
    query = (
        sa.select(target.target_uid, waiver.floor_permille)
        .join_from(table_of(WaiverTargetRow), table_of(WaiverRow), waiver.uid == target.waiver_uid)
        .where(waiver.municipality_uid == municipality_uid)
        .where((waiver.start_ms <= at_ms) & (waiver.created_at_ms <= at_ms) & (waiver.review_ms > at_ms))
        .where((waiver.released_at_ms == 0) | (waiver.released_at_ms > at_ms))
    )
    found: dict[str, list[int]] = {}
    for uid, floor in session.connection().execute(query):
        found.setdefault(uid, []).append(floor)
    return found


def largest_holding(
    lamps: Iterable[LuminaireRow], waived: Mapping[str, list[int]], cabinet_of: Mapping[str, str]
) -> dict[str, int]:
    """Largest floor that holds among the members of each group, by its uid. Who is never dimmed counts as 0.

    cabinet_of: uid of the cabinet by the uid of a feeder or a gateway.
    """
    found: dict[str, int] = {}
    for lamp in lamps:
        cabinet = cabinet_of.get(lamp.feeder_uid or lamp.gateway_uid or "", "")
        uids = (lamp.uid, lamp.group_uid, lamp.feeder_uid or "", cabinet, lamp.municipality_uid)
        waivers = [floor for uid in uids for floor in waived.get(uid, ())]
        floor = 0 if lamp.conflict_area else min([floor_of(lamp.floor_permille), *waivers])
        found[lamp.group_uid] = max(floor, found.get(lamp.group_uid, 0))
    return found


def holding_floors(
    session: Session, tenants: Iterable[Tenant], group_uids: Sequence[str], at_ms: int
) -> dict[str, int]:
    """The same for groups as they are now; groups of municipalities without a waiver that holds are left out."""
    found: dict[str, int] = {}
    for tenant in {tenant.uid: tenant for tenant in tenants}.values():
        waived = waived_targets(session, tenant.uid, at_ms)
        if not waived:
            continue
        members = (
            select(LuminaireRow)
            .where(LuminaireRow.municipality_uid == tenant.uid)
            .where(LuminaireRow.deleted_at_ms == 0)
            .where(col(LuminaireRow.group_uid).in_(list(group_uids)))
        )
        found |= largest_holding(session.exec(members), waived, cabinets_by_uid(session, tenant.uid))
    return found


def cabinets_by_uid(session: Session, municipality_uid: str) -> dict[str, str]:
    """Uid of the cabinet by the uid of each feeder and gateway."""
    found: dict[str, str] = {}
    for table in (FeederRow, GatewayRow):
        rows = session.exec(select(table.uid, table.cabinet_uid).where(table.municipality_uid == municipality_uid))
        found.update((row[0], row[1]) for row in rows)
    return found
