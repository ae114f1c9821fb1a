"""Towns and orders of every kind, made by hypothesis; and what is due in them, lamp by lamp, by the scalar reference.

The reference works from the records alone: it shares no line with the columns.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import isnan, nan
from typing import Any

from hypothesis import strategies as st

from domain.plan import Plan, to_unix_ms
from domain.plan_rule import PlanRule, SensorKind, SensorOperation
from domain.priority import Command, Due, Priority, Waiver, due_level
from domain.sensing import NEVER_MS, Condition, Planned, SensorView, Thresholds, planned_level
from domain.sun import CIVIL_DEG, elevation_deg, is_sun_down
from services.lighting.records import (
    CabinetRecord,
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
    WaiverRecord,
)

NOON = datetime(2026, 11, 10, 11, tzinfo=UTC)
DAY_MS = 86_400_000
START_MS = to_unix_ms(NOON)
TOWNS = (TownRecord("t0", "bad-hersfeld", 50.868, 9.707), TownRecord("t1", "borken", 51.05, 9.28))
THRESHOLDS = {
    SensorKind.TRAFFIC: [(120_000, 60_000), (50_000, 50_000)],
    SensorKind.ILLUMINANCE: [(35_000, 45_000), (25_000, 25_000)],
    SensorKind.RAIN: [(500, 100)],
}
MOMENTS = st.integers(-DAY_MS, DAY_MS).map(lambda offset: START_MS + offset)


def from_ms(value: int) -> datetime:
    """The instant of Unix ms."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value)


@st.composite
def inventories(draw: Any) -> Inventory:
    """Up to two municipalities with cabinets, feeders, gateways, groups, lamps and sensors, some of them incomplete."""
    towns = TOWNS[: draw(st.integers(1, 2))]
    uids = [t.uid for t in towns]
    place = st.sampled_from([(50.86, 9.70), (51.0, 9.3), (nan, nan)])
    cabinets = tuple(
        CabinetRecord(
            f"c{i}", draw(st.sampled_from(uids)), f"C-{i}", draw(st.sampled_from(["e0", ""])),
            SwitchingOwner.LICHTBUCH, *draw(place),
        )
        for i in range(draw(st.integers(1, 3)))
    )  # fmt: skip
    feeders = tuple(
        FeederRecord(f"f{i}", c.municipality_uid, f"F-{i}", c.uid, i, draw(st.sampled_from(FeederSupply)))
        for i in range(draw(st.integers(1, 4)))
        for c in [draw(st.sampled_from(cabinets))]
    )
    gateways = tuple(GatewayRecord(f"w{i}", c.municipality_uid, f"W-{i}", c.uid, "e0") for i, c in enumerate(cabinets))
    groups = tuple(GroupRecord(f"g{i}", uid, f"G-{i}") for i in range(2) for uid in [draw(st.sampled_from(uids))])
    lamps = tuple(_lamp(draw, i, uids, groups, feeders, gateways) for i in range(draw(st.integers(1, 10))))
    sensors = tuple(
        SensorRecord(
            f"s{i}", draw(st.sampled_from(uids)), f"S-{i}", draw(st.sampled_from(SensorKind)),
            tuple(draw(st.sets(st.sampled_from(["g0", "g1"]), max_size=1))), max_age_s=600,
        )
        for i in range(draw(st.integers(0, 4)))
    )  # fmt: skip
    return Inventory(1, towns, cabinets, feeders, gateways, groups, lamps, (), sensors)


def _lamp(draw: Any, index: int, uids: Any, groups: Any, feeders: Any, gateways: Any) -> LuminaireRecord:
    wired = draw(st.sampled_from(["feeder", "gateway", "both", "none"]))
    latitude, longitude = draw(st.sampled_from([(50.0, 9.0), (nan, nan)]))
    group_uid = draw(st.sampled_from([*(g.uid for g in groups), "nowhere"]))
    return LuminaireRecord(
        f"l{index}", draw(st.sampled_from(uids)), f"L-{index}", group_uid,
        draw(st.sampled_from(feeders)).uid if wired in ("feeder", "both") else "",
        draw(st.sampled_from(gateways)).uid if wired in ("gateway", "both") else "",
        index, draw(st.sampled_from([0, 1, 400, 667, 1000])), draw(st.integers(0, 4)) == 0, latitude, longitude,
        output_permille=draw(st.sampled_from([1000, 1000, 800, 1])), least_permille=draw(st.sampled_from([0, 0, 300])),
    )  # fmt: skip


@st.composite
def rules(draw: Any, start_ms: int, until_ms: int) -> PlanRule:
    """A rule within a span."""
    begin = draw(st.integers(start_ms, until_ms - 1))
    kind = draw(st.sampled_from(SensorKind))
    on, off = draw(st.sampled_from(THRESHOLDS[kind]))
    return PlanRule(
        begin, draw(st.integers(begin + 1, until_ms)), kind, draw(st.sampled_from(SensorOperation)),
        draw(st.sampled_from([0, 200, 700, 1000])), on, off, draw(st.sampled_from([0, 300, 3600])),
        draw(st.sampled_from([0, 60])), draw(st.sampled_from(["", "", "S-0", "S-1", "gone"])), draw(st.integers(0, 3)),
    )  # fmt: skip


@st.composite
def plans(draw: Any) -> Plan:
    """A plan of up to two days with up to four rules."""
    start = START_MS + draw(st.integers(-DAY_MS, DAY_MS // 2))
    steps = draw(st.lists(st.integers(1, DAY_MS // 4), min_size=1, max_size=6))
    instants = tuple(start + sum(steps[:k]) for k in range(len(steps)))
    levels = draw(st.lists(st.sampled_from([0, 200, 500, 1000]), min_size=len(steps), max_size=len(steps)))
    until = start + sum(steps)
    listed = draw(st.lists(rules(start, until), max_size=4))
    listed.sort(key=lambda rule: (rule.from_ms, rule.position))
    return Plan(start, until, instants, tuple(levels), (30,) * len(steps), tuple(listed))


@st.composite
def orders(draw: Any, inventory: Inventory) -> Orders:
    """Plans, overrides (with ties), lock-outs and waivers."""
    records = (inventory.towns, inventory.cabinets, inventory.feeders, inventory.groups, inventory.luminaires)
    known = [record.uid for kind in records for record in kind]
    targets = st.lists(st.sampled_from([*known, "gone"]), min_size=1, max_size=3).map(tuple)
    overrides, waivers = [], []
    for i in range(draw(st.integers(0, 5))):
        start = draw(MOMENTS)
        end = start + draw(st.integers(1, DAY_MS))
        priority, level = draw(st.sampled_from(Priority)), draw(st.sampled_from([0, 1, 300, 700, 1000]))
        issued = START_MS + draw(st.integers(0, 2))
        overrides.append(OverrideRecord(f"o{i}", "t0", priority, level, issued, start, end, draw(targets)))
    for i in range(draw(st.integers(0, 3))):
        start = draw(MOMENTS)
        floor = draw(st.sampled_from([0, 150, 500]))
        waivers.append(WaiverRecord(f"v{i}", "t0", floor, start, start + draw(st.integers(1, DAY_MS)), draw(targets)))
    locked = draw(st.sets(st.sampled_from([f.uid for f in inventory.feeders]), max_size=2))
    return Orders(
        1,
        {uid: draw(plans()) for uid in sorted(draw(st.sets(st.sampled_from(["g0", "g1", "gone"]))))},
        tuple(overrides),
        tuple(LockoutRecord(f"k{uid}", "t0", uid) for uid in sorted(locked)),
        tuple(waivers),
    )


@st.composite
def sensor_views(draw: Any, inventory: Inventory) -> dict[str, SensorView]:
    """What is known of sensors, by uid: fresh ones, old ones, ones from the future, ones never heard of."""
    found = {}
    for record in inventory.sensors:
        if draw(st.integers(0, 4)) == 0:
            continue
        at = draw(MOMENTS)
        conditions = {
            Thresholds(record.kind, on, off): Condition(
                draw(st.booleans()), draw(st.sampled_from([NEVER_MS, at, at - 200_000, at - 4_000_000]))
            )
            for on, off in draw(st.sets(st.sampled_from(THRESHOLDS[record.kind])))
        }
        value = draw(st.sampled_from([0, 300, 30_000, 40_000, 80_000, 500_000]))
        age = draw(st.sampled_from([60_000, 3_600_000, DAY_MS]))
        found[record.uid] = SensorView(record.kind, value, at, age, conditions)
    return found


@st.composite
def situations(draw: Any) -> tuple[Inventory, Orders, dict[str, SensorView]]:
    """A town, its orders, and what its sensors said."""
    inventory = draw(inventories())
    return inventory, draw(orders(inventory)), draw(sensor_views(inventory))


def reference(
    inventory: Inventory, given: Orders, views: dict[str, SensorView], lamp: LuminaireRecord, now: datetime
) -> tuple[Due, Planned | None]:
    """What is due for one luminaire by domain.priority, and what plan and sensors ask of its group."""
    feeder = next((f for f in inventory.feeders if f.uid == lamp.feeder_uid), None)
    gateway = next((g for g in inventory.gateways if g.uid == lamp.gateway_uid), None)
    cabinet_uid = feeder.cabinet_uid if feeder else gateway.cabinet_uid if gateway else ""
    mine = {lamp.uid, lamp.group_uid, lamp.feeder_uid, cabinet_uid, lamp.municipality_uid} - {""}
    place = _place(inventory, cabinet_uid, lamp)
    night, dark = _sun(*place, now)
    planned = _planned(inventory, given, views, lamp.group_uid, now, night)
    due = due_level(
        now,
        locked_out=any(k.feeder_uid == lamp.feeder_uid for k in given.lockouts),
        commands=[
            Command(
                o.uid, o.priority, o.level_permille, from_ms(o.issued_at_ms), from_ms(o.start_ms), from_ms(o.end_ms)
            )
            for o in given.overrides
            if mine & set(o.targets)
        ],
        plan_level=planned.level_permille if planned else None,
        sensed=planned.sensed if planned else False,
        night=night,
        dark=dark,
        floor_permille=lamp.floor_permille or 1000,
        dimmable=not lamp.conflict_area,
        waivers=[
            Waiver(w.floor_permille, from_ms(w.start_ms), from_ms(w.end_ms))
            for w in given.waivers
            if mine & set(w.targets)
        ],
    )
    return due, planned


def _planned(
    inventory: Inventory, given: Orders, views: dict[str, SensorView], group_uid: str, now: datetime, night: bool
) -> Planned | None:
    plan = given.plans.get(group_uid)
    group = next((g for g in inventory.groups if g.uid == group_uid), None)
    if plan is None or group is None:
        return None
    there = [s for s in inventory.sensors if s.municipality_uid == group.municipality_uid]
    serving: dict[SensorKind, list[str]] = {kind: [] for kind in SensorKind}
    for sensor in there:
        if not sensor.group_uids or group_uid in sensor.group_uids:
            serving[sensor.kind].append(sensor.id)
    by_id = {s.id: views[s.uid] for s in there if s.uid in views}
    return planned_level(plan, to_unix_ms(now), by_id, serving, night=night)


@lru_cache(maxsize=1000)
def _sun(latitude_deg: float, longitude_deg: float, now: datetime) -> tuple[bool, bool]:
    """Whether the sun is down, and whether it is dark."""
    dark = elevation_deg(latitude_deg, longitude_deg, now) < CIVIL_DEG
    return is_sun_down(latitude_deg, longitude_deg, now), bool(dark)


def _place(inventory: Inventory, cabinet_uid: str, lamp: LuminaireRecord) -> tuple[float, float]:
    cabinet = next((c for c in inventory.cabinets if c.uid == cabinet_uid), None)
    town = next(t for t in inventory.towns if t.uid == lamp.municipality_uid)
    candidates = [
        (cabinet.latitude_deg, cabinet.longitude_deg) if cabinet else (nan, nan),
        (lamp.latitude_deg, lamp.longitude_deg),
        (town.latitude_deg, town.longitude_deg),
    ]
    return next(place for place in candidates if not isnan(place[0]))
