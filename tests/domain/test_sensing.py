"""What sensors make of a plan: hysteresis, hold times, values that are too old, and on doubt light."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.plan import Plan
from domain.plan_rule import PlanRule, SensorKind, SensorOperation
from domain.sensing import (
    Activity,
    Condition,
    Planned,
    SensorView,
    Thresholds,
    activity,
    apply_rules,
    planned_level,
    says,
)

H = 3_600_000
TRAFFIC = Thresholds(SensorKind.TRAFFIC, 120_000, 60_000)
TWILIGHT = Thresholds(SensorKind.ILLUMINANCE, 35_000, 45_000)


def rule(
    operation: SensorOperation = SensorOperation.SET, value: int = 1000, *, kind: SensorKind = SensorKind.TRAFFIC,
    on: int = 120_000, off: int = 60_000, hold_s: int = 0, ramp_s: int = 0, start: int = 0, until: int = 24 * H,
    sensor: str = "", position: int = 0,
) -> PlanRule:  # fmt: skip
    return PlanRule(start, until, kind, operation, value, on, off, hold_s, ramp_s, sensor, position)


def view(
    value: int, at: int = 0, *, kind: SensorKind = SensorKind.TRAFFIC, max_age: int = H, **conditions: Condition
) -> SensorView:
    known = {"traffic": TRAFFIC, "twilight": TWILIGHT}
    return SensorView(kind, value, at, max_age, {known[name]: c for name, c in conditions.items()})


def plan(*rules: PlanRule, level: int = 500) -> Plan:
    return Plan(0, 24 * H, (0,), (level,), (), rules)


def asked(*rules: PlanRule, now: int = 1000, night: bool = True, level: int = 500, **sensors: SensorView) -> Planned:
    serving: dict[SensorKind, list[str]] = {}
    for name, sensor in sensors.items():
        serving.setdefault(sensor.kind, []).append(name)
    found = planned_level(plan(*rules, level=level), now, sensors, serving, night=night)
    assert found is not None
    return found


# --- conditions -----------------------------------------------------------------------------------------------------


def test_between_the_thresholds_nothing_changes():
    condition = Condition(False)
    seen = []
    for at, value in enumerate([50, 119, 120, 100, 61, 60, 59, 100, 119, 200]):
        condition = condition.after(TRAFFIC, value * 1000, at)
        seen.append(condition.holds)
    assert seen == [False, False, True, True, True, True, False, False, False, True]
    assert condition.ended_ms == 6


def test_a_twilight_switch_works_the_other_way_round():
    condition = Condition(False)
    seen = []
    for at, lux in enumerate([100, 36, 35, 44, 45, 46, 36, 20]):
        condition = condition.after(TWILIGHT, lux * 1000, at)
        seen.append(condition.holds)
    assert seen == [False, False, True, True, True, False, False, True]


def test_in_the_evening_and_in_the_morning_another_threshold_counts():
    """35 lx to switch on at dusk, 25 lx to switch off at dawn: two rules, each for its half of the night."""
    dusk = rule(kind=SensorKind.ILLUMINANCE, on=35_000, off=35_000, start=0, until=12 * H)
    dawn = rule(kind=SensorKind.ILLUMINANCE, on=25_000, off=25_000, start=12 * H, until=24 * H)
    between = SensorView(SensorKind.ILLUMINANCE, 30_000, 0, 48 * H)
    assert asked(dusk, dawn, now=3 * H, level=0, eye=between).level_permille == 1000
    assert asked(dusk, dawn, now=20 * H, level=0, eye=between).level_permille == 0


# --- activity -------------------------------------------------------------------------------------------------------


def test_a_rule_stays_active_for_its_hold_time_and_not_a_millisecond_longer():
    over = view(0, at=5_000, traffic=Condition(False, 5_000))
    held = rule(hold_s=30)
    assert [says(over, held, now) for now in (5_000, 34_999, 35_000)] == [True, True, False]


def test_a_value_that_is_too_old_has_no_say_not_even_within_the_hold_time():
    dead = view(500_000, at=0, max_age=60_000, traffic=Condition(True))
    assert [says(dead, rule(hold_s=3600), now) for now in (59_999, 60_000)] == [True, None]
    assert activity(rule(hold_s=3600), [dead], 60_000) is Activity.INACTIVE


def test_a_value_from_the_future_has_no_say():
    assert says(view(500_000, at=10_000), rule(), 9_999) is None


def test_a_sensor_of_another_kind_has_no_say():
    assert says(view(0, kind=SensorKind.RAIN), rule(on=0, off=0), 0) is None
    assert asked(rule(sensor="rain"), rain=view(999_000, kind=SensorKind.RAIN)) == Planned(500, 0)


def test_one_sensor_of_several_is_enough():
    quiet, busy = view(10_000), view(300_000)
    assert activity(rule(), [quiet, busy], 1) is activity(rule(), [busy, quiet], 1) is Activity.ACTIVE
    assert activity(rule(), [quiet], 1) is Activity.INACTIVE
    assert activity(rule(), [], 1) is Activity.INACTIVE


def test_the_sun_stands_in_for_a_photocell_that_is_silent_and_only_to_make_it_lighter():
    eye = rule(kind=SensorKind.ILLUMINANCE, on=35_000, off=35_000, value=800)
    assert asked(eye, level=0, night=True) == Planned(800, 0)
    assert asked(eye, level=0, night=False) == Planned(0, 0)
    assert asked(eye, level=900, night=True) == Planned(900, 0)
    bright = view(90_000, kind=SensorKind.ILLUMINANCE)
    assert asked(eye, level=0, night=True, eye=bright) == Planned(0, 0)


def test_one_photocell_that_speaks_is_heard_though_another_is_silent():
    eye = rule(kind=SensorKind.ILLUMINANCE, on=35_000, off=35_000)
    silent = view(0, kind=SensorKind.ILLUMINANCE, max_age=1)
    bright = view(90_000, kind=SensorKind.ILLUMINANCE)
    assert asked(eye, level=0, night=True, silent=silent, bright=bright).level_permille == 0


# --- what becomes of the level --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "value", "result"),
    [
        (SensorOperation.SET, 1000, 1000), (SensorOperation.SET, 200, 200),
        (SensorOperation.MAX, 700, 700), (SensorOperation.MAX, 300, 500),
        (SensorOperation.MIN, 300, 300), (SensorOperation.MIN, 700, 500),
        (SensorOperation.ADD, 300, 800), (SensorOperation.ADD, 700, 1000),
        (SensorOperation.SUB, 200, 300), (SensorOperation.SUB, 700, 0),
        (SensorOperation.MUL, 1500, 750), (SensorOperation.MUL, 333, 167), (SensorOperation.MUL, 9000, 1000),
    ],
)  # fmt: skip
def test_each_operation_changes_the_plans_level_within_its_bounds(operation, value, result):
    found = asked(rule(operation, value), busy=view(200_000))
    assert found == Planned(result, 0, sensed=result != 500)


def test_rules_apply_in_their_order_each_on_the_result_before():
    add = rule(SensorOperation.ADD, 200, position=0)
    double = rule(SensorOperation.MUL, 2000, position=1)
    assert asked(add, double, level=100, busy=view(200_000)).level_permille == 600
    first = rule(SensorOperation.MUL, 2000, position=0)
    then = rule(SensorOperation.ADD, 200, position=1)
    assert asked(first, then, level=100, busy=view(200_000)).level_permille == 400


def test_a_rule_speaks_only_while_its_window_is_open():
    late = rule(start=2 * H, until=4 * H)
    busy = view(200_000, max_age=48 * H)
    levels = [asked(late, now=now, busy=busy).level_permille for now in (2 * H - 1, 2 * H, 4 * H - 1, 4 * H)]
    assert levels == [500, 1000, 1000, 500]


def test_a_rule_that_names_its_sensor_hears_no_other():
    named = rule(sensor="bridge")
    assert asked(named, market=view(200_000)).sensed is False
    assert asked(named, bridge=view(200_000)).sensed is True


def test_two_rules_that_cancel_each_other_leave_the_plan_as_it_is():
    up, down = rule(SensorOperation.ADD, 200), rule(SensorOperation.SUB, 200, position=1)
    assert asked(up, down, busy=view(200_000)) == Planned(500, 0)


def test_the_longest_ramp_of_open_rules_counts_into_and_out_of_what_they_do():
    slow = rule(ramp_s=90)
    assert asked(slow, busy=view(200_000)).ramp_s == asked(slow, busy=view(0)).ramp_s == 90


def test_outside_of_its_validity_a_plan_and_its_rules_say_nothing():
    assert planned_level(plan(rule()), 24 * H, {"a": view(200_000)}, {SensorKind.TRAFFIC: ["a"]}, night=True) is None


@given(
    st.integers(0, 1000),
    st.lists(
        st.tuples(
            st.builds(rule, st.sampled_from(SensorOperation), st.integers(0, 1000), kind=st.sampled_from(SensorKind)),
            st.sampled_from(Activity),
        ),
        max_size=6,
    ),
)
def test_whatever_rules_there_are_the_level_is_a_level_and_the_sun_makes_nothing_darker(level, rules):
    found = apply_rules(level, 0, rules, night=True)
    assert 0 <= found.level_permille <= 1000
    by_sun = [(r, a) for r, a in rules if a is Activity.BY_THE_SUN]
    assert apply_rules(level, 0, by_sun, night=True).level_permille >= level
    assert not apply_rules(level, 0, by_sun, night=True).sensed
    assert apply_rules(level, 0, [(r, Activity.INACTIVE) for r, _ in rules], night=True).level_permille == level


@given(st.lists(st.integers(0, 300), min_size=1, max_size=30))
def test_the_same_values_lead_to_the_same_condition_however_they_are_handed_over(values):
    whole = Condition(False)
    for at, value in enumerate(values):
        whole = whole.after(TRAFFIC, value * 1000, at)
    half = Condition(False)
    for at, value in enumerate(values):
        half = Condition(*half).after(TRAFFIC, value * 1000, at)  # as if it had been stored in between
    assert whole == half
    assert whole.holds == (max([i for i, v in enumerate(values) if v >= 120], default=-1)
                           > max([i for i, v in enumerate(values) if v < 60], default=-1))  # fmt: skip
