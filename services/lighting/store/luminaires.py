"""Queries about luminaires: who is where, what limits a group, which lamps a command is for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Integer, case, cast, func, or_
from sqlmodel import Session, col, select

from domain.errors import InvalidInput
from domain.level import FULL_PERMILLE
from domain.names import new_uid
from servicekit.columns import table_of
from servicekit.context import Tenant
from services.lighting.inventory import DEFAULT_GROUP
from services.lighting.override import Lamp
from services.lighting.plan import GroupLimits, LimitingLamp, floor_of
from services.lighting.store.inventory import GROUPS, LUMINAIRES, add, find
from services.lighting.store.tables import CabinetRow, FeederRow, GatewayRow, GroupRow, LuminaireRow
from services.lighting.store.waivers import LampWaivers, lamp_waivers
from services.lighting.store.wiring import Wiring
from services.lighting.waiver import WaivedSpan

_CHUNK = 5_000


@dataclass(frozen=True, slots=True)
class GroupSummary:
    """What a group's members amount to. Position None without any; floor 0 where none may be dimmed."""

    count: int = 0
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    floor_permille: int = 0
    has_conflict_area: bool = False


def default_group(session: Session, tenant: Tenant, now_ms: int) -> GroupRow:
    """The municipality's group "default"; made where it is missing."""
    row = find(session, GROUPS, tenant.uid, DEFAULT_GROUP)
    if row is None:
        row = GroupRow(uid=new_uid(), municipality_uid=tenant.uid, id=DEFAULT_GROUP, created_at_ms=now_ms)
        add(session, GROUPS, tenant, row)
    return row


def check_address(session: Session, tenant: Tenant, row: LuminaireRow, field: str) -> None:
    """Raises InvalidInput where another luminaire has the row's address at its gateway."""
    if row.gateway_uid is None:
        return
    query = (
        select(LuminaireRow.id)
        .where(LuminaireRow.gateway_uid == row.gateway_uid)
        .where(LuminaireRow.gateway_address == row.gateway_address)
        .where(LuminaireRow.deleted_at_ms == 0)
        .where(LuminaireRow.uid != row.uid)
    )
    with session.no_autoflush:
        other = session.exec(query).first()
    if other is not None:
        name = LUMINAIRES.name(tenant.id, other)
        raise InvalidInput.of(field, f"{row.gateway_address} is the address of {name} already")


def in_group(group_uid: str) -> Any:
    """Condition: members of a group."""
    return LuminaireRow.group_uid == group_uid


def in_cabinets(cabinet_uids: Collection[str]) -> Any:
    """Condition: luminaires of cabinets by way of the feeder, or of the gateway where they have no feeder."""
    feeders = select(FeederRow.uid).where(col(FeederRow.cabinet_uid).in_(list(cabinet_uids)))
    gateways = select(GatewayRow.uid).where(col(GatewayRow.cabinet_uid).in_(list(cabinet_uids)))
    by_gateway = col(LuminaireRow.feeder_uid).is_(None) & col(LuminaireRow.gateway_uid).in_(gateways)
    return or_(col(LuminaireRow.feeder_uid).in_(feeders), by_gateway)


def cabinets_by_feeder(session: Session, municipality_uids: Sequence[str]) -> dict[str, str]:
    """Uid of the cabinet of every feeder, by the feeder's uid."""
    query = select(FeederRow.uid, FeederRow.cabinet_uid).where(
        col(FeederRow.municipality_uid).in_(list(municipality_uids))
    )
    return {row[0]: row[1] for row in session.exec(query)}


def group_summaries(session: Session, group_uids: Sequence[str]) -> dict[str, GroupSummary]:
    """Count, middle, largest floor and conflict areas of groups, by uid; groups without members are left out."""
    lamp = table_of(LuminaireRow).c
    floor = case((lamp.conflict_area, 0), (lamp.floor_permille == 0, FULL_PERMILLE), else_=lamp.floor_permille)
    query = (
        sa.select(
            lamp.group_uid,
            func.count(),
            func.avg(lamp.latitude_deg),
            func.avg(lamp.longitude_deg),
            func.max(floor),
            func.max(cast(lamp.conflict_area, Integer)),
        )
        .where(lamp.deleted_at_ms == 0)
        .where(lamp.group_uid.in_(list(group_uids)))
        .group_by(lamp.group_uid)
    )
    return {
        row[0]: GroupSummary(int(row[1]), row[2], row[3], int(row[4]), bool(row[5]))
        for row in session.connection().execute(query)
    }


def group_limits(session: Session, tenant: Tenant, group_uid: str, from_ms: int) -> GroupLimits:
    """What limits the plan of a group from an instant (Unix ms) on, waivers included; the sun of the municipality where
    no member has a position."""
    summary = group_summaries(session, [group_uid]).get(group_uid)
    if summary is None:
        return GroupLimits()
    placed = summary.latitude_deg is not None and summary.longitude_deg is not None
    return GroupLimits(
        lamps=tuple(_limiting_lamps(session, tenant, group_uid, lamp_waivers(session, tenant, from_ms))),
        latitude_deg=float(summary.latitude_deg or 0.0) if placed else tenant.latitude_deg,
        longitude_deg=float(summary.longitude_deg or 0.0) if placed else tenant.longitude_deg,
        members=summary.count,
    )


def _limiting_lamps(session: Session, tenant: Tenant, group_uid: str, waivers: LampWaivers) -> Iterator[LimitingLamp]:
    """The members with the largest floor, one for each set of waivers: without any waiver, one member."""
    floor = case((col(LuminaireRow.floor_permille) == 0, FULL_PERMILLE), else_=col(LuminaireRow.floor_permille))
    query = (
        select(LuminaireRow)
        .where(LuminaireRow.group_uid == group_uid)
        .where(LuminaireRow.deleted_at_ms == 0)
        .where(col(LuminaireRow.conflict_area).is_(False))
        .order_by(floor.desc(), col(LuminaireRow.id))
    )
    seen: set[tuple[WaivedSpan, ...]] = set()
    for row in session.exec(query if waivers.spans else query.limit(1)):
        spans = waivers.of(row)
        if spans not in seen:
            seen.add(spans)
            yield LimitingLamp(LUMINAIRES.name(tenant.id, row.id), floor_of(row.floor_permille), spans)


def lamps_of(
    session: Session, tenant: Tenant, target_uids: Sequence[str], from_ms: int | None = None
) -> Iterator[Lamp]:
    """The luminaires that targets (luminaires, groups, feeders, cabinets, the municipality) stand for now, by id; with
    their waivers from an instant (Unix ms) on, where one is given. Without a position they stand where their town does.
    """
    waivers = lamp_waivers(session, tenant, from_ms) if from_ms is not None else LampWaivers(tenant.uid, {}, {})
    wiring = Wiring(session, tenant)
    base = (
        select(LuminaireRow).where(LuminaireRow.municipality_uid == tenant.uid).where(LuminaireRow.deleted_at_ms == 0)
    )
    conditions: list[Any] = []
    if tenant.uid not in target_uids:
        for at in range(0, len(target_uids), _CHUNK):
            uids = list(target_uids[at : at + _CHUNK])
            cabinets = session.exec(select(CabinetRow.uid).where(col(CabinetRow.uid).in_(uids))).all()
            conditions.append(
                or_(
                    col(LuminaireRow.uid).in_(uids),
                    col(LuminaireRow.group_uid).in_(uids),
                    col(LuminaireRow.feeder_uid).in_(uids),
                    *([in_cabinets(cabinets)] if cabinets else []),
                )
            )
    else:
        conditions.append(True)
    for condition in conditions:
        query = base if condition is True else base.where(condition)
        for row in session.exec(query.order_by(col(LuminaireRow.id))):
            yield Lamp(
                LUMINAIRES.name(tenant.id, row.id),
                row.floor_permille,
                row.conflict_area,
                tenant.latitude_deg if row.latitude_deg is None else row.latitude_deg,
                tenant.longitude_deg if row.longitude_deg is None else row.longitude_deg,
                waivers.of(row),
                *wiring.of(row),
            )
