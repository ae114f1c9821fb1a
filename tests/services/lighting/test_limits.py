"""What plans and overrides may ask: never under a floor, never dark in the civil night without a name for it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput, OutOfLimits
from domain.plan import Plan, from_unix_ms, to_unix_ms
from domain.plan_rule import PlanRule, SensorKind, SensorOperation
from domain.priority import Priority, Waiver, waived_floor
from services.lighting.darkness import darkest_overlap
from services.lighting.override import Lamp, check_floors, check_times
from services.lighting.plan import GroupLimits, LimitingLamp, check_plan
from services.lighting.waiver import WaivedSpan, floor_over

NOON = datetime(2026, 11, 10, 11, tzinfo=UTC)
H = timedelta(hours=1)
PLACE = (50.868, 9.707)
LIMITS = GroupLimits((LimitingLamp("municipalities/x/luminaires/L-7", 400),), *PLACE, members=3)


def plan(*steps: tuple[float, int]) -> Plan:
    return Plan.of(NOON, NOON + 24 * H, [NOON + h * H for h, _ in steps], [level for _, level in steps])


def test_a_night_that_dims_to_the_floor_is_taken():
    check_plan(plan((0, 0), (5, 1000), (11, 400), (17, 1000), (19, 0)), LIMITS)


def test_a_level_under_the_floor_is_refused_with_luminaire_level_and_instant():
    with pytest.raises(OutOfLimits) as caught:
        check_plan(plan((0, 0), (5, 1000), (11, 399), (19, 0)), LIMITS)
    (violation,) = caught.value.violations
    assert violation.field == "plan.levels_permille[2]"
    assert "399 per mille from 2026-11-10 22:00 UTC" in violation.reason
    assert "floor of 400 per mille of municipalities/x/luminaires/L-7" in violation.reason


def test_switching_in_the_twilight_is_taken_and_a_dark_night_is_refused():
    # Civil dusk in Bad Hersfeld on that day is at about 16:16 UTC, civil dawn at about 05:56.
    check_plan(plan((0, 0), (5.4, 1000), (18.8, 0)), LIMITS)
    with pytest.raises(OutOfLimits, match="dark in the civil night"):
        check_plan(plan((0, 0), (6, 1000), (19, 0)), LIMITS)
    with pytest.raises(OutOfLimits, match="dark in the civil night"):
        check_plan(plan((0, 0), (5, 1000), (12, 0), (13, 1000), (19, 0)), LIMITS)


def test_off_by_day_in_two_steps_is_one_span():
    check_plan(plan((0, 0), (2, 0), (5, 1000), (19, 0), (20, 0)), LIMITS)


def test_a_group_without_members_takes_any_plan():
    check_plan(plan((0, 0)), GroupLimits())


def test_a_midsummer_night_without_civil_darkness_has_nothing_to_be_dark_in():
    start = datetime(2026, 6, 20, 0, tzinfo=UTC)
    ms = int(start.timestamp() * 1000)
    assert darkest_overlap(ms, ms + 86_400_000, 65.0, 20.0) == timedelta(0)
    assert darkest_overlap(ms, ms + 86_400_000, 50.0, 9.0) > 3 * H


def test_a_command_ends_after_it_starts_after_now_and_within_31_days():
    check_times(NOON, NOON + H, NOON)
    for start, expire in ((NOON, NOON), (NOON - 2 * H, NOON - H), (NOON, NOON + timedelta(days=31, seconds=1))):
        with pytest.raises(InvalidInput, match="expire_time"):
            check_times(start, expire, NOON)


WAIVED = "municipalities/x/waivers/W-1"


def ms(hours: float) -> int:
    return to_unix_ms(NOON + hours * H)


def waived(floor: int, start: float, end: float) -> WaivedSpan:
    return WaivedSpan(WAIVED, floor, ms(start), ms(end))


def limits(*waivers: WaivedSpan) -> GroupLimits:
    return GroupLimits((LimitingLamp("L-7", 400, waivers),), *PLACE, members=3)


@pytest.mark.parametrize(
    ("waivers", "floor"),
    [
        ([], 400),
        ([waived(100, 0, 24)], 100),
        ([waived(100, 6, 18)], 100),
        ([waived(100, 6, 17.99)], 400),
        ([waived(100, 6.01, 18)], 400),
        ([waived(100, 0, 12), waived(200, 12, 24)], 200),
        ([waived(100, 0, 12), waived(200, 12.01, 24)], 400),
        ([waived(100, 0, 12), waived(0, 0, 12), waived(200, 12, 24)], 200),
        ([waived(700, 0, 24)], 400),
        ([waived(100, 24, 48)], 400),
    ],
)
def test_the_floor_over_a_span_is_the_largest_that_holds_anywhere_in_it(waivers, floor):
    assert floor_over(400, waivers, ms(6), ms(18)) == floor
    assert floor_over(400, list(reversed(waivers)), ms(6), ms(18)) == floor


@given(
    st.integers(1, 1000),
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 23), st.integers(1, 24)), max_size=5),
    st.integers(0, 22),
    st.integers(1, 24),
)
def test_the_floor_over_a_span_equals_the_scalar_floor_at_every_instant_of_it(own, given_waivers, start, length):
    spans = [waived(floor, begin, begin + lasting) for floor, begin, lasting in given_waivers]
    scalar = [Waiver(s.floor_permille, from_unix_ms(s.start_ms), from_unix_ms(s.end_ms)) for s in spans]
    instants = [NOON + (start + hours) * H for hours in range(length)]
    wanted = max(waived_floor(own, instant, scalar) for instant in instants)
    assert floor_over(own, spans, ms(start), ms(start + length)) == wanted


def test_a_plan_may_be_dark_under_a_waiver_for_the_whole_of_its_darkness():
    dark = plan((0, 0), (5, 1000), (12, 0), (16, 1000), (19, 0))
    check_plan(dark, limits(waived(0, 11, 17)))
    for waivers in ([], [waived(0, 11, 15.9)], [waived(1, 0, 24)]):
        with pytest.raises(OutOfLimits, match="that takes a council's waiver"):
            check_plan(dark, limits(*waivers))


def test_a_refusal_says_which_waiver_does_not_reach():
    with pytest.raises(OutOfLimits, match=f"{WAIVED} holds from 2026-11-10 11:00 to 2026-11-11 00:00 UTC only"):
        check_plan(plan((0, 0), (5, 1000), (12, 100), (16, 1000), (19, 0)), limits(waived(100, 0, 13)))


def test_of_several_members_the_one_whose_floor_stays_highest_decides():
    free, strict = LimitingLamp("L-1", 1000, (waived(0, 0, 24),)), LimitingLamp("L-2", 300)
    both = GroupLimits((free, strict), *PLACE, members=2)
    check_plan(plan((0, 0), (5, 1000), (12, 300), (16, 1000), (19, 0)), both)
    with pytest.raises(OutOfLimits, match="floor of 300 per mille of L-2"):
        check_plan(plan((0, 0), (5, 1000), (12, 299), (16, 1000), (19, 0)), both)


def ruled(
    operation: SensorOperation, value: int, *, start: float = 8, until: float = 12, position: int = 0
) -> PlanRule:
    return PlanRule(ms(start), ms(until), SensorKind.RAIN, operation, value, 500, 100, position=position)


def night(*rules: PlanRule, level: int = 600) -> Plan:
    return Plan(ms(0), ms(24), (ms(0), ms(5), ms(19)), (0, level, 0), (), rules)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ([ruled(SensorOperation.SET, 399)], "399 per mille from 2026-11-10 19:00 UTC is below the floor of 400"),
        ([ruled(SensorOperation.MIN, 100)], "100 per mille"),
        ([ruled(SensorOperation.SUB, 201)], "399 per mille"),
        ([ruled(SensorOperation.MUL, 500)], "300 per mille"),
        ([ruled(SensorOperation.SUB, 600)], "dark in the civil night"),
        ([ruled(SensorOperation.SUB, 150), ruled(SensorOperation.SUB, 150, position=1)], "300 per mille"),
        # The second would lift it, but a rule of its own need not be active at the same time.
        ([ruled(SensorOperation.MIN, 300), ruled(SensorOperation.MAX, 500, position=1)], "300 per mille"),
    ],
)
def test_a_plan_whose_rules_may_lead_under_the_floor_is_refused_naming_the_rule(rules, reason):
    with pytest.raises(OutOfLimits) as caught:
        check_plan(night(*rules), limits())
    assert any(v.field.startswith("plan.rules[") and reason in v.reason for v in caught.value.violations)


def test_rules_that_stay_on_the_safe_side_are_taken():
    check_plan(night(ruled(SensorOperation.SUB, 200), ruled(SensorOperation.SET, 1000, start=9, position=1)), limits())
    check_plan(night(ruled(SensorOperation.SUB, 150), ruled(SensorOperation.SUB, 150, start=12, until=13)), limits())


def test_an_override_under_the_floor_is_taken_where_a_waiver_covers_all_of_it():
    lamps = [Lamp("L-1", 400, False, *PLACE, (waived(200, 0, 24),)), Lamp("L-3", 1000, True, *PLACE)]
    check_floors(200, Priority.OPERATOR, DUSK, DAWN, lamps)
    for level, start, end in ((199, DUSK, DAWN), (200, DUSK, NOON + 25 * H)):
        with pytest.raises(OutOfLimits, match="takes a council's waiver"):
            check_floors(level, Priority.OPERATOR, start, end, lamps)
    with pytest.raises(OutOfLimits, match="dark in the civil night"):
        check_floors(0, Priority.OPERATOR, DUSK, DAWN, lamps)
    dark = [Lamp("L-1", 400, False, *PLACE, (waived(0, 0, 24),)), Lamp("L-3", 1000, True, *PLACE)]
    check_floors(0, Priority.OPERATOR, DUSK, DAWN, dark)


def test_a_crossing_alone_is_neither_dimmed_nor_made_dark_waiver_or_not():
    crossing = [Lamp("L-3", 1000, True, *PLACE, (waived(0, 0, 24),))]
    for level in (0, 500):
        with pytest.raises(OutOfLimits, match="conflict area"):
            check_floors(level, Priority.OPERATOR, DUSK, DAWN, crossing)
    check_floors(0, Priority.OPERATOR, NOON, NOON + 3 * H, crossing)
    check_floors(0, Priority.EMERGENCY, DUSK, DAWN, crossing)


LAMPS = [Lamp("L-1", 400, False, *PLACE), Lamp("L-2", 667, False, *PLACE), Lamp("L-3", 1000, True, *PLACE)]
DUSK, DAWN = NOON + 4 * H, NOON + 20 * H


def test_a_command_below_a_floor_is_refused_naming_luminaire_and_floor_whatever_the_priority():
    for priority in Priority:
        with pytest.raises(OutOfLimits, match="500 is below the floor of 667 per mille of L-2"):
            check_floors(500, priority, DUSK, DAWN, LAMPS)
    check_floors(667, Priority.OPERATOR, DUSK, DAWN, LAMPS)


def test_a_lamp_of_unknown_class_is_not_dimmed():
    with pytest.raises(OutOfLimits, match="its floor is unknown"):
        check_floors(999, Priority.OPERATOR, DUSK, DAWN, [Lamp("L-9", 0, False, *PLACE)])


def test_off_at_night_is_for_maintenance_and_emergency_and_off_by_day_for_anybody():
    with pytest.raises(OutOfLimits, match="L-1 dark in the civil night"):
        check_floors(0, Priority.OPERATOR, DUSK, DAWN, LAMPS)
    check_floors(0, Priority.MAINTENANCE, DUSK, DAWN, LAMPS)
    check_floors(0, Priority.EMERGENCY, DUSK, DAWN, LAMPS)
    check_floors(0, Priority.OPERATOR, NOON, NOON + 3 * H, LAMPS)


@pytest.mark.parametrize("priority", [Priority.MAINTENANCE, Priority.EMERGENCY])
def test_nobody_makes_a_street_dark_for_longer_than_a_day_without_the_council(priority: Priority):
    day, end = NOON + 24 * H, NOON + 24 * H + timedelta(seconds=1)
    streets, crossing = LAMPS[:2], LAMPS[2]
    check_floors(0, priority, NOON, day, LAMPS)
    with pytest.raises(
        OutOfLimits, match=r"L-1 dark in the civil night .* for longer than 24 hours that takes a council"
    ):
        check_floors(0, priority, NOON, end, streets)
    waived = [replace(lamp, waivers=(WaivedSpan("W-1", 0, 0, 2**50),)) for lamp in streets]
    check_floors(0, priority, NOON, end, waived)
    # What no waiver dims would be dark with the others: that is not taken for longer, either.
    with pytest.raises(OutOfLimits, match="L-3 stands in a conflict area: it is made dark for 24 hours at a time"):
        check_floors(0, priority, NOON, end, [*waived, crossing])
    check_floors(1000, priority, NOON, NOON + 31 * 24 * H, LAMPS)
