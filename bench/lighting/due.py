"""Part 2: what is due for 100 000 luminaires, worked out at once, beside the scalar reference, lamp by lamp.

The town has plans with rules, overrides of every priority, fresh and stale sensors, floors, crossings, waivers and
lock-outs. Both look at the same instants, each of them another one, so that nothing asked before is still known. The
reference is given the sun of each place and, for each lamp, only the commands and waivers that are for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from bench.report import Report
from bench.timing import compare
from domain.plan import Plan, from_unix_ms, to_unix_ms
from domain.plan_rule import PlanRule, SensorKind, SensorOperation
from domain.priority import Command, Due, Priority, Source, Waiver, due_level
from domain.sensing import Condition, SensorView, Thresholds, planned_level
from domain.sun import CIVIL_DEG, SUNSET_DEG, elevation_deg
from services.lighting.columns import Columns, build_columns
from services.lighting.due import NOTHING_DUE, DueCalculator, DueSource
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
    TownRecord,
    WaiverRecord,
)

PART = "2"
LAMPS = 100_000
PEER_LAMPS = 4_000
TARGET = 50.0

NOON = datetime(2026, 11, 10, 11, tzinfo=UTC)
START_MS = to_unix_ms(NOON)
HOUR_MS = 3_600_000
STEP = timedelta(minutes=7)
_SOURCES = {source: DueSource[source.name] for source in Source}
_THRESHOLDS = {
    SensorKind.TRAFFIC: (120_000, 60_000), SensorKind.ILLUMINANCE: (35_000, 45_000), SensorKind.RAIN: (500, 100),
}  # fmt: skip


def run(report: Report, quick: bool) -> None:
    """All lamps by the calculator; a part of them by the reference, and the same results."""
    lamps, peer_lamps = (2_000, 200) if quick else (LAMPS, PEER_LAMPS)
    town = Town.of(lamps)
    rows = np.random.default_rng(3).choice(lamps, peer_lamps, replace=False)
    reference = [ScalarLamp.of(town, int(row)) for row in rows]
    calculator = DueCalculator(town.columns, town.orders, town.views)
    ours_at, peer_at = _instants(), _instants()

    def ours() -> object:
        return calculator.at(next(ours_at))

    def peer() -> object:
        now = next(peer_at)
        sun = town.sun(now)
        return [lamp.due(now, sun) for lamp in reference]

    different = sum(_different(town, reference, rows, NOON + timedelta(hours=hours)) for hours in range(0, 24, 2))
    if different:
        report.failures.append(f"part {PART}: {different} due levels or sources differ from the reference")
    comparison = compare(
        f"what is due for {lamps} luminaires", "the scalar reference", ours, peer,
        items=lamps, peer_items=peer_lamps, runs=1 if quick else 9,
    )  # fmt: skip
    report.compare(PART, comparison, TARGET)
    report.tell(PART, f"due levels that differ, of {12 * peer_lamps}", different, 0)


def _instants() -> Iterator[datetime]:
    """From the afternoon into the night: each time something has begun or ended since."""
    now = NOON + timedelta(hours=4)
    while True:
        now += STEP
        yield now


def _different(town: Town, reference: list[ScalarLamp], rows: np.ndarray, now: datetime) -> int:
    found = DueCalculator(town.columns, town.orders, town.views).at(now)
    sun, count = town.sun(now), 0
    for row, lamp in zip(rows.tolist(), reference, strict=True):
        wanted = lamp.due(now, sun)
        level = NOTHING_DUE if wanted.level_permille is None else wanted.level_permille
        count += (int(found.level[row]), int(found.source[row])) != (level, int(_SOURCES[wanted.source]))
    return count


@dataclass(frozen=True)
class Town:
    """A town at work: every street of it has something of its own."""

    columns: Columns
    orders: Orders
    views: dict[str, SensorView]

    @classmethod
    def of(cls, lamps: int) -> Town:
        """100 lamps to a cabinet, 200 to a group."""
        draw = np.random.default_rng(2)
        cabinets, groups = max(1, lamps // 100), max(1, lamps // 200)
        served = draw.integers(groups, size=(groups // 2, 2)).tolist()
        sensors = tuple(
            SensorRecord(f"s{i}", "t", f"S-{i}", list(SensorKind)[i % 3], tuple(f"g{n}" for n in numbers))
            for i, numbers in enumerate(served)
        )
        inventory = Inventory(
            revision=1,
            towns=(TownRecord("t", "bench", 50.87, 9.71),),
            cabinets=tuple(
                CabinetRecord(f"c{i}", "t", f"C-{i}", f"e{i}", latitude_deg=50 + i / 1e4, longitude_deg=9 + i / 1e4)
                for i in range(cabinets)
            ),
            feeders=tuple(
                FeederRecord(f"f{i}", "t", f"F-{i}", f"c{i // 2}", i % 2, FeederSupply.SWITCHED)
                for i in range(2 * cabinets)
            ),
            gateways=tuple(GatewayRecord(f"w{i}", "t", f"W-{i}", f"c{i}", f"e{i}") for i in range(cabinets)),
            groups=tuple(GroupRecord(f"g{i}", "t", f"G-{i}") for i in range(groups)),
            luminaires=tuple(
                LuminaireRecord(
                    f"l{i}", "t", f"L-{i}", f"g{min(i // 200, groups - 1)}", f"f{min(i // 50, 2 * cabinets - 1)}",
                    f"w{min(i // 100, cabinets - 1)}", i % 100, (0, 400, 600, 667)[i % 4], i % 50 == 7,
                )
                for i in range(lamps)
            ),
            sensors=sensors,
        )  # fmt: skip
        columns = build_columns(inventory)
        return cls(columns, _orders(draw, lamps, cabinets, groups), _views(draw, sensors))

    def sun(self, now: datetime) -> list[tuple[bool, bool]]:
        """Per place: whether the sun is down, and whether it is dark."""
        elevation = elevation_deg(self.columns.place_latitude, self.columns.place_longitude, now)
        return list(zip((elevation < SUNSET_DEG).tolist(), (elevation < CIVIL_DEG).tolist(), strict=True))


def _orders(draw: np.random.Generator, lamps: int, cabinets: int, groups: int) -> Orders:
    def targets() -> tuple[str, ...]:
        kind = draw.integers(4)
        several = (
            [f"l{n}" for n in draw.integers(lamps, size=20)], [f"f{draw.integers(2 * cabinets)}"],
            [f"c{draw.integers(cabinets)}"], [f"g{draw.integers(groups)}"],
        )  # fmt: skip
        return tuple(several[kind])

    overrides, waivers = [], []
    for i in range(groups):
        start = START_MS + int(draw.integers(0, 16 * HOUR_MS))
        priority, level = Priority(int(draw.integers(1, 5))), int(draw.choice([0, 667, 800, 1000]))
        end = start + int(draw.integers(HOUR_MS, 8 * HOUR_MS))
        overrides.append(OverrideRecord(f"o{i}", "t", priority, level, START_MS + i % 7, start, end, targets()))
    for i in range(groups // 4):
        start = START_MS + int(draw.integers(0, 12 * HOUR_MS))
        waivers.append(WaiverRecord(f"v{i}", "t", int(draw.choice([0, 200])), start, start + 10 * HOUR_MS, targets()))
    locked = tuple(LockoutRecord(f"k{i}", "t", f"f{i}") for i in range(0, 2 * cabinets, 97))
    return Orders(1, {f"g{i}": _plan(i) for i in range(groups)}, tuple(overrides), locked, tuple(waivers))


def _plan(number: int) -> Plan:
    """A usual night, with a rule for each kind of sensor."""
    hours = (0.0, 4.6 + number % 40 / 100, 11 + number % 60 / 60, 17.0, 19.4)
    instants = tuple(START_MS + round(hour * HOUR_MS) for hour in hours)
    rules = tuple(
        PlanRule(
            START_MS + hour * HOUR_MS, START_MS + 20 * HOUR_MS, kind, operation, value, *_THRESHOLDS[kind],
            hold_s=600, position=position,
        )
        for position, (hour, kind, operation, value) in enumerate(
            (
                (3, SensorKind.ILLUMINANCE, SensorOperation.MAX, 1000),
                (10, SensorKind.TRAFFIC, SensorOperation.ADD, 300),
                (10, SensorKind.RAIN, SensorOperation.MUL, 900),
            )
        )
    )  # fmt: skip
    return Plan(START_MS, START_MS + 24 * HOUR_MS, instants, (0, 1000, 600, 1000, 0), (), rules)


def _views(draw: np.random.Generator, sensors: tuple[SensorRecord, ...]) -> dict[str, SensorView]:
    views = {}
    for sensor in sensors:
        at_ms = START_MS + int(draw.integers(0, 16 * HOUR_MS))
        condition = Condition(bool(draw.integers(2)), at_ms - int(draw.integers(1_200_000)))
        conditions = {Thresholds(sensor.kind, *_THRESHOLDS[sensor.kind]): condition}
        views[sensor.uid] = SensorView(sensor.kind, 40_000, at_ms, 8 * HOUR_MS, conditions)
    return views


@dataclass(frozen=True)
class ScalarLamp:
    """A luminaire as the reference sees it."""

    record: LuminaireRecord
    place: int
    locked: bool
    commands: list[Command]
    waivers: list[Waiver]
    plan: Plan
    sensors: dict[str, SensorView]
    serving: dict[SensorKind, list[str]]

    @classmethod
    def of(cls, town: Town, row: int) -> ScalarLamp:
        """The luminaire of a row."""
        inventory, orders = town.columns.inventory, town.orders
        lamp = inventory.luminaires[row]
        feeder = inventory.feeders[int(town.columns.feeder[row])]
        mine = {lamp.uid, lamp.group_uid, lamp.feeder_uid, feeder.cabinet_uid, lamp.municipality_uid}
        serving: dict[SensorKind, list[str]] = {kind: [] for kind in SensorKind}
        for sensor in inventory.sensors:
            if lamp.group_uid in sensor.group_uids:
                serving[sensor.kind].append(sensor.id)
        return cls(
            record=lamp,
            place=int(town.columns.place[row]),
            locked=any(k.feeder_uid == lamp.feeder_uid for k in orders.lockouts),
            commands=[
                Command(o.uid, o.priority, o.level_permille, *map(from_unix_ms, (o.issued_at_ms, o.start_ms, o.end_ms)))
                for o in orders.overrides
                if mine.intersection(o.targets)
            ],
            waivers=[
                Waiver(w.floor_permille, from_unix_ms(w.start_ms), from_unix_ms(w.end_ms))
                for w in orders.waivers
                if mine.intersection(w.targets)
            ],
            plan=orders.plans[lamp.group_uid],
            sensors={s.id: town.views[s.uid] for s in inventory.sensors if s.uid in town.views},
            serving=serving,
        )

    def due(self, now: datetime, sun: list[tuple[bool, bool]]) -> Due:
        """What is due by domain.priority."""
        night, dark = sun[self.place]
        planned = planned_level(self.plan, to_unix_ms(now), self.sensors, self.serving, night=night)
        return due_level(
            now,
            locked_out=self.locked,
            commands=self.commands,
            plan_level=planned.level_permille if planned is not None else None,
            sensed=planned is not None and planned.sensed,
            night=night,
            dark=dark,
            floor_permille=self.record.floor_permille or 1000,
            dimmable=not self.record.conflict_area,
            waivers=self.waivers,
        )
