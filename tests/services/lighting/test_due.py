"""The due level of a whole town equals the scalar reference, lamp by lamp, whatever is asked of whom."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import permutations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.plan import Plan, to_unix_ms
from domain.plan_rule import PlanRule, SensorKind, SensorOperation
from domain.priority import Priority, Source
from domain.sensing import Condition, SensorView, Thresholds
from domain.sun import is_sun_down
from services.lighting.columns import build_columns
from services.lighting.due import NOTHING_DUE, DueCalculator, DueSource
from services.lighting.records import (
    CabinetRecord,
    FeederRecord,
    FeederSupply,
    GatewayRecord,
    GroupRecord,
    Inventory,
    LuminaireRecord,
    Orders,
    OverrideRecord,
    SensorRecord,
    TownRecord,
    WaiverRecord,
)
from services.lighting.written_level import written_level
from tests.services.lighting.any_town import DAY_MS, NOON, START_MS, from_ms, reference, situations

TOWN = TownRecord("t1", "bad-hersfeld", 50.868, 9.707)
HOUR = timedelta(hours=1)
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


@settings(max_examples=120, deadline=None)
@given(situations(), st.lists(st.integers(-DAY_MS, 2 * DAY_MS), min_size=1, max_size=4))
def test_the_town_at_once_equals_the_reference_lamp_by_lamp_at_any_sequence_of_instants(situation, offsets):
    inventory, given_orders, views = situation
    columns = build_columns(inventory)
    calculator = DueCalculator(columns, given_orders, views)
    for offset in offsets:  # the same calculator, in any order: clocks may jump
        assert_equals_reference(columns, calculator, given_orders, views, from_ms(START_MS + offset))


@settings(max_examples=60, deadline=None)
@given(situations(), st.integers(-DAY_MS, 2 * DAY_MS))
def test_it_equals_the_reference_right_before_and_at_every_change_that_it_announces(situation, offset):
    inventory, given_orders, views = situation
    columns = build_columns(inventory)
    calculator = DueCalculator(columns, given_orders, views)
    now = from_ms(START_MS + offset)
    for _ in range(6):
        change = calculator.next_change(now)
        if change is None:
            break
        assert change > to_unix_ms(now)
        for instant in (change - 1, change):
            assert_equals_reference(columns, calculator, given_orders, views, from_ms(instant))
        now = from_ms(change)


@settings(max_examples=60, deadline=None)
@given(situations(), st.integers(-DAY_MS, DAY_MS))
def test_between_two_changes_only_the_sun_can_change_anything(situation, offset):
    inventory, given_orders, views = situation
    calculator = DueCalculator(build_columns(inventory), given_orders, views)
    now = from_ms(START_MS + offset)
    change = calculator.next_change(now)
    before = calculator.at(now)
    until = from_ms(change - 1) if change is not None else now + timedelta(days=3)
    fresh = DueCalculator(calculator.columns, given_orders, views).at(until)
    by_sun = {DueSource.PLAN, DueSource.SENSOR}
    for had, has in zip(before.source.tolist(), fresh.source.tolist(), strict=True):
        assert had == has or {had, has} == by_sun
    assert np.array_equal(before.ramp_s, fresh.ramp_s)


@settings(max_examples=25, deadline=None)
@given(situations(), situations(), st.integers(-DAY_MS, DAY_MS))
def test_what_sensors_say_later_is_taken_as_if_it_had_been_known_from_the_start(situation, other, offset):
    inventory, given_orders, views = situation
    columns, now = build_columns(inventory), from_ms(START_MS + offset)
    calculator = DueCalculator(columns, given_orders, {})
    calculator.at(now)
    calculator.sense(views)
    assert_equals_reference(columns, calculator, given_orders, views, now)
    calculator.sense({uid: view for uid, view in other[2].items() if uid in views})
    calculator.sense(views)
    assert_equals_reference(columns, calculator, given_orders, views, now)


@settings(max_examples=60, deadline=None)
@given(situations(), st.integers(-DAY_MS, DAY_MS), st.randoms(use_true_random=False))
def test_the_order_in_which_orders_are_known_does_not_matter(situation, offset, random):
    inventory, given_orders, views = situation
    columns, now = build_columns(inventory), from_ms(START_MS + offset)

    def shuffled(items):
        mixed = list(items)
        random.shuffle(mixed)
        return tuple(mixed)

    mixed = replace(
        given_orders, overrides=shuffled(given_orders.overrides), waivers=shuffled(given_orders.waivers),
        lockouts=shuffled(given_orders.lockouts), plans=dict(shuffled(given_orders.plans.items())),
    )  # fmt: skip
    one, two = (DueCalculator(columns, known, views).at(now) for known in (given_orders, mixed))
    assert np.array_equal(one.level, two.level)
    assert np.array_equal(one.source, two.source)


def assert_equals_reference(columns, calculator, given_orders, views, now: datetime) -> None:
    due = calculator.at(now)
    for row, lamp in enumerate(columns.inventory.luminaires):
        expected, planned = reference(columns.inventory, given_orders, views, lamp, now)
        wanted = NOTHING_DUE if expected.level_permille is None else expected.level_permille
        assert (int(due.level[row]), due.source[row]) == (wanted, SOURCES[expected.source]), (row, now)
        told = any(gateway.uid == lamp.gateway_uid for gateway in columns.inventory.gateways)
        output = (lamp.output_permille, lamp.least_permille) if told else (1000, 0)
        assert due.written[row] == written_level(wanted, *output), (row, now)
        if expected.source in (Source.PLAN, Source.SENSOR) and not expected.command_uid:
            assert planned is not None
            assert due.ramp_s[row] == planned.ramp_s


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


def test_the_floor_holds_again_by_itself_when_a_waiver_is_to_be_reviewed():
    columns = build_columns(small_town())
    start = to_unix_ms(NOON + 9 * HOUR)
    review = to_unix_ms(NOON + 12 * HOUR)
    dark = Plan.of(NOON, NOON + 24 * HOUR, [NOON], [0])
    waiver = WaiverRecord("v", "t1", 100, start, review, ("t1",))
    calculator = DueCalculator(columns, Orders(1, {"g0": dark, "g1": dark}, waivers=(waiver,)))
    own = [1000, 400, 667, 1, 1000, 400, 667, 1000, 1000, 400, 667, 1]  # the eighth stands at a crossing
    assert calculator.at(NOON + 8 * HOUR).level.tolist() == own
    assert calculator.next_change(NOON + 8 * HOUR) == start
    waived = [100, 100, 100, 1, 100, 100, 100, 1000, 100, 100, 100, 1]
    assert calculator.at(NOON + 9 * HOUR).level.tolist() == waived
    assert calculator.next_change(NOON + 9 * HOUR) == review
    assert calculator.at(NOON + 12 * HOUR).level.tolist() == own


def test_a_sensor_brightens_its_group_for_the_hold_time_and_the_group_knows_it():
    inventory = replace(small_town(), sensors=(SensorRecord("s", "t1", "S-1", SensorKind.TRAFFIC, ("g1",)),))
    columns = build_columns(inventory)
    begin, end = START_MS + 8 * 3_600_000, START_MS + 20 * 3_600_000
    rule = PlanRule(begin, end, SensorKind.TRAFFIC, SensorOperation.SET, 1000, 120_000, 60_000, hold_s=300)
    plan = Plan(START_MS, START_MS + DAY_MS, (START_MS,), (700,), (), (rule,))
    ended = begin + 3_600_000
    view = SensorView(SensorKind.TRAFFIC, 0, ended, 600_000, {Thresholds.of(rule): Condition(False, ended)})
    calculator = DueCalculator(columns, Orders(1, {"g0": plan, "g1": plan}), {"s": view})
    held, after = from_ms(ended + 299_999), from_ms(ended + 300_000)
    assert set(calculator.at(held).source[1::2].tolist()) == {DueSource.SENSOR}
    assert set(calculator.at(held).level[1::2].tolist()) == {1000}
    assert set(calculator.at(held).level[[0, 4]].tolist()) == {1000}  # by their floor, not by the sensor
    assert set(calculator.at(held).source[0::2].tolist()) == {DueSource.PLAN}
    assert calculator.active == {"s": [1]}
    assert calculator.next_change(held) == ended + 300_000
    assert set(calculator.at(after).source.tolist()) == {DueSource.PLAN}
    assert calculator.active == {}


def test_nothing_lasts_for_ever_but_the_default_and_a_lock_out():
    """Every command, waiver and plan has an end by its very form; after the last one the default holds."""
    columns = build_columns(small_town())
    plan = Plan.of(NOON, NOON + 24 * HOUR, [NOON], [0])
    override = OverrideRecord("a", "t1", Priority.EMERGENCY, 0, 5, START_MS, START_MS + DAY_MS, ("t1",))
    waiver = WaiverRecord("v", "t1", 0, START_MS, START_MS + DAY_MS, ("t1",))
    calculator = DueCalculator(columns, Orders(1, {"g0": plan}, (override,), (), (waiver,)))
    later = NOON + 36 * HOUR
    assert calculator.next_change(NOON + 24 * HOUR) is None
    assert set(calculator.at(later).source.tolist()) == {DueSource.DEFAULT}
    assert set(calculator.at(later).level.tolist()) == {1000}


def test_an_empty_town_has_nothing_due():
    due = DueCalculator(build_columns(Inventory()), Orders()).at(NOON)
    assert due.level.size == 0
    assert due.feeder_on.size == 0
