"""What plans and overrides may ask: never under a floor, never dark in the civil night without a name for it."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.errors import InvalidInput, OutOfLimits
from domain.plan import Plan
from domain.priority import Priority
from services.lighting.darkness import darkest_overlap
from services.lighting.override import Lamp, check_floors, check_times
from services.lighting.plan import GroupLimits, LimitingLamp, check_plan

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
