"""The due level of a whole town equals the scalar reference, lamp by lamp, whatever is asked of whom."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.plan import Plan, to_unix_ms
from domain.priority import Command, Priority, Source, due_level, winner
from domain.sun import CIVIL_DEG, elevation_deg, is_sun_down
from services.lighting.columns import build_columns
from services.lighting.due import NOTHING_DUE, DueCalculator, DueSource, lifts_floor
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
    TownRecord,
)

NOON = datetime(2026, 11, 10, 11, tzinfo=UTC)
TOWN = TownRecord("t1", "bad-hersfeld", 50.868, 9.707)
SOURCES = {source: DueSource[source.name] for source in Source}


def small_town(lamps: int = 12) -> Inventory:
    """Two cabinets, four feeders (one permanent), two groups, lamps with all kinds of floors."""
    cabinets = (
        CabinetRecord("c0", "t1", "C-0", latitude_deg=50.86, longitude_deg=9.70),
        CabinetRecord("c1", "t1", "C-1", latitude_deg=50.90, longitude_deg=9.80),
    )
    feeders = tuple(
        FeederRecord(f"f{i}", "t1", f"F-{i}", f"c{i // 2}", i % 2,
                     FeederSupply.PERMANENT if i == 3 else FeederSupply.SWITCHED)
        for i in range(4)
    )  # fmt: skip
    luminaires = tuple(
        LuminaireRecord(
            f"l{i}", "t1", f"L-{i}", f"g{i % 2}",
            feeder_uid=f"f{i % 4}" if i != 5 else "", gateway_uid="w0", gateway_address=i,
            floor_permille=(0, 400, 667, 1)[i % 4], conflict_area=i == 7,
            latitude_deg=50.0 if i == 5 else float("nan"), longitude_deg=9.0 if i == 5 else float("nan"),
        )
        for i in range(lamps)
    )  # fmt: skip
    return Inventory(
        1, (TOWN,), cabinets, feeders, (GatewayRecord("w0", "t1", "W-0", "c0", "e0"),),
        (GroupRecord("g0", "t1", "default"), GroupRecord("g1", "t1", "centre")), luminaires,
    )  # fmt: skip


TARGETS = ["t1", "c0", "c1", "f0", "f3", "g0", "g1", *(f"l{i}" for i in range(12))]
DAY_MS = 86_400_000
START_MS = to_unix_ms(NOON)


@st.composite
def overrides(draw, index: int) -> OverrideRecord:
    start = START_MS + draw(st.integers(-DAY_MS, DAY_MS))
    return OverrideRecord(
        f"o{index:02d}",
        "t1",
        draw(st.sampled_from(list(Priority))),
        draw(st.sampled_from([0, 1, 300, 700, 1000])),
        START_MS + draw(st.integers(0, 3)),  # ties happen
        start,
        start + draw(st.integers(1, DAY_MS)),
        tuple(draw(st.lists(st.sampled_from(TARGETS), min_size=1, max_size=3))),
    )


@st.composite
def a_plan(draw) -> Plan:
    start = START_MS + draw(st.integers(-DAY_MS, DAY_MS // 2))
    steps = draw(st.lists(st.integers(1, DAY_MS // 4), min_size=1, max_size=8))
    instants = tuple(start + sum(steps[:k]) for k in range(len(steps)))
    levels = draw(st.lists(st.sampled_from([0, 200, 500, 1000]), min_size=len(steps), max_size=len(steps)))
    return Plan(start, start + sum(steps), instants, tuple(levels), (60,) * len(steps))


@st.composite
def orders(draw) -> Orders:
    plans = {uid: draw(a_plan()) for uid in draw(st.sets(st.sampled_from(["g0", "g1", "gone"])))}
    count = draw(st.integers(0, 6))
    lockouts = tuple(
        LockoutRecord(f"k{feeder}", "t1", feeder) for feeder in draw(st.sets(st.sampled_from(["f0", "f1", "f3"])))
    )
    return Orders(1, plans, tuple(draw(overrides(i)) for i in range(count)), lockouts)


def reference(columns, given_orders: Orders, row: int, now: datetime):
    """What domain.priority says for one luminaire, from the records alone."""
    lamp = columns.inventory.luminaires[row]
    feeder = next((f for f in columns.inventory.feeders if f.uid == lamp.feeder_uid), None)
    cabinet_uid = feeder.cabinet_uid if feeder else "c0"
    mine = {lamp.uid, lamp.group_uid, lamp.feeder_uid, cabinet_uid, lamp.municipality_uid}
    commands = [
        Command(o.uid, o.priority, o.level_permille, *(from_ms(v) for v in (o.issued_at_ms, o.start_ms, o.end_ms)))
        for o in given_orders.overrides
        if mine & set(o.targets)
    ]
    plan = given_orders.plans.get(lamp.group_uid)
    cabinet = next(c for c in columns.inventory.cabinets if c.uid == cabinet_uid)
    place = (cabinet.latitude_deg, cabinet.longitude_deg)
    best = winner(now, commands)
    return due_level(
        now,
        locked_out=any(k.feeder_uid == lamp.feeder_uid for k in given_orders.lockouts),
        commands=commands,
        plan_level=plan.level_at(now) if plan else None,
        night=is_sun_down(*place, now),
        dark=bool(elevation_deg(*place, now) < CIVIL_DEG),
        floor_permille=lamp.floor_permille or 1000,
        dimmable=not lamp.conflict_area,
        waiver=best is not None and lifts_floor(best.priority, best.level_permille),
    )


def from_ms(value: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value)


@settings(max_examples=150, deadline=None)
@given(orders(), st.lists(st.integers(-DAY_MS, 2 * DAY_MS), min_size=1, max_size=5))
def test_the_town_at_once_equals_the_reference_lamp_by_lamp_at_any_sequence_of_instants(given_orders, offsets):
    columns = build_columns(small_town())
    calculator = DueCalculator(columns, given_orders)
    for offset in offsets:  # the same calculator, in any order: clocks may jump
        now = from_ms(START_MS + offset)
        due = calculator.at(now)
        for row in range(columns.count):
            expected = reference(columns, given_orders, row, now)
            wanted = NOTHING_DUE if expected.level_permille is None else expected.level_permille
            assert (int(due.level[row]), due.source[row]) == (wanted, SOURCES[expected.source]), row


@settings(max_examples=50, deadline=None)
@given(orders(), st.integers(-DAY_MS, DAY_MS))
def test_between_two_changes_only_the_sun_can_change_anything(given_orders, offset):
    calculator = DueCalculator(build_columns(small_town()), given_orders)
    now = from_ms(START_MS + offset)
    change = calculator.next_change(now)
    before = calculator.at(now)
    until = from_ms(change - 1) if change is not None else now + timedelta(days=3)
    fresh = DueCalculator(calculator.columns, given_orders).at(until)
    assert np.array_equal(before.source, fresh.source)


def test_any_order_of_the_same_commands_gives_the_same_result():
    columns = build_columns(small_town())
    three = [
        OverrideRecord("a", "t1", Priority.OPERATOR, 500, 5, 0, 2**50, ("t1",)),
        OverrideRecord("b", "t1", Priority.OPERATOR, 700, 5, 0, 2**50, ("c0",)),
        OverrideRecord("c", "t1", Priority.MAINTENANCE, 1000, 1, 0, 2**50, ("l1",)),
    ]
    results = [
        DueCalculator(columns, Orders(1, {}, tuple(order), ())).at(NOON).level.tolist() for order in permutations(three)
    ]
    assert all(result == results[0] for result in results)


def test_without_plan_and_orders_every_lamp_is_fully_lit_from_sunset_to_sunrise_and_off_by_day():
    columns = build_columns(small_town())
    calculator = DueCalculator(columns, Orders())
    for hours in range(24):
        now = NOON + timedelta(hours=hours)
        due = calculator.at(now)
        for row in range(columns.count):
            place = columns.place[row]
            down = is_sun_down(columns.place_latitude[place], columns.place_longitude[place], now)
            assert due.level[row] == (1000 if down else 0)
            assert due.source[row] == DueSource.DEFAULT


def test_a_contactor_is_due_closed_while_any_of_its_lamps_is_due_to_be_lit():
    columns = build_columns(small_town())
    one = OverrideRecord("a", "t1", Priority.OPERATOR, 500, 5, 0, 2**50, ("l1",))
    due = DueCalculator(columns, Orders(1, {}, (one,), ())).at(NOON)
    assert due.feeder_on.tolist() == [False, True, False, False]


def test_a_feeder_without_known_lamps_is_due_closed_all_night():
    town = small_town(lamps=0)
    calculator = DueCalculator(build_columns(town), Orders())
    assert calculator.at(NOON + timedelta(hours=8)).feeder_on.all()
    assert not calculator.at(NOON).feeder_on.any()


def test_members_that_join_a_group_later_inherit_its_overrides():
    by_group = OverrideRecord("a", "t1", Priority.OPERATOR, 1000, 5, 0, 2**50, ("g1",))
    given_orders = Orders(1, {}, (by_group,), ())
    assert DueCalculator(build_columns(small_town(2)), given_orders).at(NOON).level.tolist() == [0, 1000]
    assert DueCalculator(build_columns(small_town(4)), given_orders).at(NOON).level.tolist() == [0, 1000, 0, 1000]


def test_an_emergency_makes_a_street_dark_and_an_operator_cannot():
    columns = build_columns(small_town())
    midnight = NOON + timedelta(hours=12)

    def level(priority: Priority) -> list[int]:
        override = OverrideRecord("a", "t1", priority, 0, 5, 0, 2**50, ("t1",))
        found: list[int] = DueCalculator(columns, Orders(1, {}, (override,), ())).at(midnight).level.tolist()
        return found

    assert set(level(Priority.EMERGENCY)) == {0}
    assert level(Priority.OPERATOR) == [1000, 400, 667, 1, 1000, 400, 667, 1000, 1000, 400, 667, 1]


def test_an_empty_town_has_nothing_due():
    due = DueCalculator(build_columns(Inventory()), Orders()).at(NOON)
    assert due.level.size == 0
    assert due.feeder_on.size == 0
