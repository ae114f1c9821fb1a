"""Loading what control rests on: the inventory and the orders of all municipalities, at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import nan
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import Session

from domain.plan import Plan
from domain.plan_rule import SensorKind, rule_from_document
from domain.priority import Priority
from servicekit.columns import table_of
from servicekit.context import Tenant
from services.lighting.records import (
    CabinetRecord,
    EndpointRecord,
    EndpointState,
    FeederRecord,
    FeederSupply,
    GatewayRecord,
    GroupRecord,
    Inventory,
    LockoutRecord,
    LuminaireRecord,
    Orders,
    OverrideRecord,
    SensorRecord,
    SwitchingOwner,
    TownRecord,
    is_commanded,
)
from services.lighting.store.burning import Driven
from services.lighting.store.commissioning import identifications_from
from services.lighting.store.revisions import INVENTORY, ORDERS, revisions
from services.lighting.store.tables import (
    CabinetRow,
    EndpointRow,
    FeederRow,
    GatewayRow,
    GroupRow,
    LockoutRow,
    LuminaireRow,
    OverrideRow,
    OverrideTargetRow,
    PlanRow,
    SensorRow,
)
from services.lighting.store.waivers import waivers_from

KEPT_MS: Final = 2 * 86_400_000
"""So long after its end an order is still loaded."""


def load_inventory(session: Session, tenants: Sequence[Tenant]) -> Inventory:
    """What stands where, in all municipalities."""
    return Inventory(
        revision=revisions(session).get(INVENTORY, 0),
        towns=tuple(TownRecord(t.uid, t.id, t.latitude_deg, t.longitude_deg, t.time_zone) for t in tenants),
        cabinets=tuple(
            CabinetRecord(
                r[0], r[1], r[2], r[3] or "", SwitchingOwner(r[4]), _degrees(r[5]), _degrees(r[6]), _or_unset(r[7])
            )
            for r in _rows(
                session, CabinetRow,
                "uid", "municipality_uid", "id", "controller_uid", "switching_owner", "latitude_deg", "longitude_deg",
                "inrush_step_ms",
            )
        ),
        feeders=tuple(
            FeederRecord(r[0], r[1], r[2], r[3], r[4], FeederSupply(r[5]), _or_unset(r[6]))
            for r in _rows(
                session, FeederRow,
                "uid", "municipality_uid", "id", "cabinet_uid", "channel", "supply", "inrush_step_ms",
            )
        ),
        gateways=tuple(
            GatewayRecord(r[0], r[1], r[2], r[3], r[4], tuple((number, tuple(addresses)) for number, addresses in r[5]))
            for r in _rows(
                session, GatewayRow, "uid", "municipality_uid", "id", "cabinet_uid", "endpoint_uid", "gear_groups"
            )
        ),
        groups=tuple(GroupRecord(*r) for r in _rows(session, GroupRow, "uid", "municipality_uid", "id")),
        luminaires=tuple(_luminaires(session)),
        endpoints=tuple(
            EndpointRecord(r[0], r[1], r[2], r[3], r[4], EndpointState(r[5]), r[6], r[7])
            for r in _rows(
                session, EndpointRow,
                "uid", "municipality_uid", "id", "url", "profile", "state", "round_trip_ms", "monthly_bytes",
            )
        ),
        sensors=tuple(
            SensorRecord(r[0], r[1], r[2], SensorKind(r[3]), tuple(r[4]), r[5] or "", r[6], r[7])
            for r in _rows(
                session, SensorRow,
                "uid", "municipality_uid", "id", "kind", "group_uids", "endpoint_uid", "point", "max_age_s",
            )
        ),
    )  # fmt: skip


def load_orders(session: Session, now_ms: int) -> Orders:
    """What decides levels from now on: what was released, or expired some time ago, is left out.

    Not what expired just now: our clock may be ahead and be set right, and then it still holds.
    """
    now_ms -= KEPT_MS
    override, target, lockout = table_of(OverrideRow), table_of(OverrideTargetRow), table_of(LockoutRow)
    connection = session.connection()
    holding = (override.c.released_at_ms == 0) & (override.c.expire_ms > now_ms)
    targets: dict[str, list[str]] = {}
    query = sa.select(target.c.override_uid, target.c.target_uid).join(
        override, override.c.uid == target.c.override_uid
    )
    for uid, target_uid in connection.execute(query.where(holding).order_by(target.c.override_uid, target.c.position)):
        targets.setdefault(uid, []).append(target_uid)
    c = override.c
    overrides = connection.execute(
        sa.select(c.uid, c.municipality_uid, c.priority, c.level_permille, c.issued_at_ms, c.start_ms, c.expire_ms)
        .where(holding)
        .order_by(c.uid)
    )
    locked = connection.execute(
        sa.select(lockout.c.uid, lockout.c.municipality_uid, lockout.c.feeder_uid)
        .where(lockout.c.released_at_ms == 0)
        .order_by(lockout.c.uid)
    )
    return Orders(
        revision=revisions(session).get(ORDERS, 0),
        plans=_plans(session),
        overrides=tuple(
            OverrideRecord(r[0], r[1], Priority(r[2]), r[3], r[4], r[5], r[6], tuple(targets.get(r[0], ())))
            for r in overrides
        ),
        lockouts=tuple(LockoutRecord(*r) for r in locked),
        waivers=tuple(waivers_from(session, now_ms)),
        identifications=tuple(identifications_from(session, now_ms)),
    )


def _plans(session: Session) -> dict[str, Plan]:
    c = table_of(PlanRow).c
    rows = session.connection().execute(
        sa.select(c.group_uid, c.valid_from_ms, c.valid_until_ms, c.instants_ms, c.levels_permille, c.ramps_s, c.rules)
    )
    return {
        r[0]: Plan(r[1], r[2], tuple(r[3]), tuple(r[4]), tuple(r[5]), tuple(map(rule_from_document, r[6])))
        for r in rows
    }


def _luminaires(session: Session) -> Iterable[LuminaireRecord]:
    columns = (
        "uid", "municipality_uid", "id", "group_uid", "feeder_uid", "gateway_uid", "gateway_address",
        "floor_permille", "conflict_area", "latitude_deg", "longitude_deg", "reduction",
        "model_uid", "virtual_output_permille", "initial_burning_hours", "street",
    )  # fmt: skip
    reductions = {r[0]: r[1] for r in _rows(session, FeederRow, "uid", "reduction")}
    driven = Driven.of(session)
    for r in _rows(session, LuminaireRow, *columns):
        yield LuminaireRecord(
            r[0], r[1], r[2], r[3], r[4] or "", r[5] or "", r[6], r[7], bool(r[8]), _degrees(r[9]), _degrees(r[10]),
            is_commanded(r[11], reductions.get(r[4] or "", 0)), *driven.by(r[0], r[12] or "", r[13], r[14]),
            street=r[15],
        )  # fmt: skip


def _rows(session: Session, model: Any, *columns: str) -> Iterable[Any]:
    """Columns of what is not deleted, by uid: the same order each time."""
    table = table_of(model)
    query = sa.select(*(table.c[name] for name in columns)).where(table.c.deleted_at_ms == 0).order_by(table.c.uid)
    return session.connection().execute(query)


def _or_unset(value: int | None) -> int:
    return -1 if value is None else value


def _degrees(value: float | None) -> float:
    return nan if value is None else value
