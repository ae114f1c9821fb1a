"""Waivers, stored; and which of them bear upon which luminaires. Whether one may be taken is waiver.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlmodel import Session, col, select

from servicekit.columns import table_of
from servicekit.context import Tenant
from services.lighting.records import WaiverRecord
from services.lighting.store.tables import FeederRow, GatewayRow, LuminaireRow, WaiverRow, WaiverTargetRow
from services.lighting.waiver import WaivedSpan


def waivers_from(session: Session, from_ms: int, municipality_uid: str | None = None) -> list[WaiverRecord]:
    """The waivers that hold at or after an instant (Unix ms), by uid: of a municipality, or of all."""
    waiver, target = table_of(WaiverRow), table_of(WaiverTargetRow)
    holding = (waiver.c.released_at_ms == 0) & (waiver.c.review_ms > from_ms)
    if municipality_uid is not None:
        holding &= waiver.c.municipality_uid == municipality_uid
    connection = session.connection()
    c = waiver.c
    rows = connection.execute(
        sa.select(c.uid, c.municipality_uid, c.floor_permille, c.start_ms, c.review_ms).where(holding).order_by(c.uid)
    ).all()
    targets: dict[str, list[str]] = {}
    if rows:
        query = sa.select(target.c.waiver_uid, target.c.target_uid).join(waiver, c.uid == target.c.waiver_uid)
        for uid, target_uid in connection.execute(query.where(holding).order_by(c.uid, target.c.position)):
            targets.setdefault(uid, []).append(target_uid)
    return [WaiverRecord(*row, tuple(targets.get(row[0], ()))) for row in rows]


@dataclass(frozen=True)
class LampWaivers:
    """The waivers of a municipality, asked by luminaire."""

    municipality_uid: str
    spans: dict[str, list[WaivedSpan]]
    """By the uid of a target."""
    cabinet_of: dict[str, str]
    """Uid of the cabinet, by the uid of a feeder or gateway."""

    def of(self, lamp: LuminaireRow) -> tuple[WaivedSpan, ...]:
        """Those that are for a luminaire: itself, its group, feeder, cabinet (by its feeder, else by its gateway) or
        municipality."""
        if not self.spans:
            return ()
        cabinet = self.cabinet_of.get(lamp.feeder_uid or lamp.gateway_uid or "", "")
        found: dict[WaivedSpan, None] = {}
        for uid in (lamp.uid, lamp.group_uid, lamp.feeder_uid or "", cabinet, self.municipality_uid):
            found.update(dict.fromkeys(self.spans.get(uid, ())))
        return tuple(found)


def lamp_waivers(session: Session, tenant: Tenant, from_ms: int) -> LampWaivers:
    """The waivers of a municipality that hold at or after an instant."""
    records = waivers_from(session, from_ms, tenant.uid)
    if not records:
        return LampWaivers(tenant.uid, {}, {})
    uids = [record.uid for record in records]
    names = {
        row[0]: row[1] for row in session.exec(select(WaiverRow.uid, WaiverRow.id).where(col(WaiverRow.uid).in_(uids)))
    }
    spans: dict[str, list[WaivedSpan]] = {}
    for record in records:
        span = WaivedSpan(
            f"{tenant.name}/waivers/{names[record.uid]}", record.floor_permille, record.start_ms, record.end_ms
        )
        for uid in record.targets:
            spans.setdefault(uid, []).append(span)
    cabinets: dict[str, str] = {}
    for table in (FeederRow, GatewayRow):
        rows = session.exec(select(table.uid, table.cabinet_uid).where(table.municipality_uid == tenant.uid))
        cabinets.update((row[0], row[1]) for row in rows)
    return LampWaivers(tenant.uid, spans, cabinets)


def add_targets(session: Session, waiver_uid: str, targets: Sequence[tuple[str, str]]) -> None:
    """Stores what a waiver is for: (uid, name) each."""
    session.add_all(
        WaiverTargetRow(waiver_uid=waiver_uid, position=position, target_uid=uid, target_name=name)
        for position, (uid, name) in enumerate(targets)
    )
    session.flush()


def waiver_targets(session: Session, waiver_uids: Sequence[str]) -> dict[str, list[WaiverTargetRow]]:
    """What waivers are for, in the order given, by the waiver's uid."""
    found: dict[str, list[WaiverTargetRow]] = {uid: [] for uid in waiver_uids}
    query = (
        select(WaiverTargetRow)
        .where(col(WaiverTargetRow.waiver_uid).in_(list(waiver_uids)))
        .order_by(col(WaiverTargetRow.waiver_uid), col(WaiverTargetRow.position))
    )
    for row in session.exec(query):
        found[row.waiver_uid].append(row)
    return found
