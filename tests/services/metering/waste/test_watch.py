"""Waste watch: what each rule finds, what it leaves alone, and that it says nothing where little is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
import pytest

from services.metering.slot import HOUR_MS
from services.metering.waste.days import local_days
from services.metering.waste.rest_days import is_rest_day
from services.metering.waste.watch import (
    LeakParameters,
    NightParameters,
    Rule,
    WarmParameters,
    WeekendParameters,
    heating_in_warm_weather,
    night_base_load_up,
    water_never_stops,
    weekend_use,
)
from tests.services.metering.profiles import BERLIN, archive, archive_means, between, hours, without

FIRST = date(2026, 2, 2)
"""A Monday; the clocks change on 29 March, eight weeks later."""
NIGHT_RULE, WEEKEND_RULE = NightParameters(), WeekendParameters()
LEAK_RULE, WARM_RULE = LeakParameters(), WarmParameters()


def day_of(number: int) -> date:
    return FIRST + timedelta(days=number)


def office(local: datetime) -> int:
    """An office: 2 kW by day, 500 W at night, with a little noise."""
    busy = 8 <= local.hour < 18 and not is_rest_day(local.date())
    return (2000 if busy else 500) + (local.toordinal() * 7 + local.hour) % 20


def left_on(from_day: int, more: int = 300):
    return lambda local: office(local) + (more if local.date() >= day_of(from_day) else 0)


# --- night base load ------------------------------------------------------------------------------------------


def test_a_base_load_that_went_up_is_found_with_its_first_night_and_amount() -> None:
    found = night_base_load_up(hours(FIRST, 49, left_on(42)), BERLIN, NIGHT_RULE)
    assert found is not None
    assert found.rule is Rule.NIGHT_BASE_LOAD_UP
    assert datetime.fromtimestamp(found.start_ms / 1000, BERLIN).date() == day_of(42)
    assert found.end_ms - found.start_ms == 7 * 24 * HOUR_MS
    assert found.excess_amount == pytest.approx(300 * 7 * 24, rel=0.05)
    assert found.usual == pytest.approx(508, abs=12)
    assert found.seen == pytest.approx(808, abs=12)
    assert found.coverage_permille == 1000


def test_a_base_load_as_ever_or_hardly_higher_is_nothing() -> None:
    assert night_base_load_up(hours(FIRST, 49, office), BERLIN, NIGHT_RULE) is None
    assert night_base_load_up(hours(FIRST, 49, left_on(42, 60)), BERLIN, NIGHT_RULE) is None


def test_a_single_night_of_work_is_nothing() -> None:
    party = lambda local: office(local) + (3000 if local.date() == day_of(47) else 0)  # noqa: E731
    assert night_base_load_up(hours(FIRST, 49, party), BERLIN, NIGHT_RULE) is None


def test_waste_does_not_become_usual_by_lasting() -> None:
    """After six weeks the weeks before are as high; held against those before it began it still stands."""
    profile = hours(FIRST, 35 + 42, left_on(35))
    assert night_base_load_up(profile, BERLIN, NIGHT_RULE) is None
    found = night_base_load_up(profile, BERLIN, NIGHT_RULE, since=day_of(35))
    assert found is not None
    assert found.excess_amount == pytest.approx(300 * (42 * 24 - 1), rel=0.05)


def test_it_ends_when_the_nights_are_as_before() -> None:
    mended = lambda local: office(local) + (300 if day_of(35) <= local.date() < day_of(45) else 0)  # noqa: E731
    assert night_base_load_up(hours(FIRST, 52, mended), BERLIN, NIGHT_RULE, since=day_of(35)) is None


def test_nights_that_nobody_read_raise_nothing() -> None:
    profile = hours(FIRST, 49, left_on(42))
    assert night_base_load_up(without(profile, 44 * 24, 49 * 24), BERLIN, NIGHT_RULE) is None
    assert night_base_load_up(without(profile, 0, 36 * 24), BERLIN, NIGHT_RULE) is None
    with_a_hole = night_base_load_up(without(profile, 45 * 24, 46 * 24), BERLIN, NIGHT_RULE)
    assert with_a_hole is not None
    assert with_a_hole.coverage_permille < 900


def test_without_a_whole_night_nothing_is_said() -> None:
    assert night_base_load_up(hours(FIRST, 1, office), BERLIN, NIGHT_RULE) is None


# --- weekends -------------------------------------------------------------------------------------------------


def never_off(from_day: int):
    def rate(local: datetime) -> int:
        return 2000 if 8 <= local.hour < 18 and local.date() >= day_of(from_day) else office(local)

    return rate


def test_a_building_that_runs_through_its_weekends_is_found() -> None:
    found = weekend_use(hours(FIRST, 49, never_off(35)), BERLIN, WEEKEND_RULE, is_rest_day)
    assert found is not None
    assert datetime.fromtimestamp(found.start_ms / 1000, BERLIN).date() == day_of(40)
    assert found.excess_amount == pytest.approx(4 * 10 * 1500, rel=0.06)


def test_a_building_that_rests_on_weekends_is_left_alone() -> None:
    assert weekend_use(hours(FIRST, 49, office), BERLIN, WEEKEND_RULE, is_rest_day) is None


def test_one_feast_on_a_saturday_is_nothing() -> None:
    feast = lambda local: office(local) + (4000 if local.date() == day_of(47) else 0)  # noqa: E731
    assert weekend_use(hours(FIRST, 49, feast), BERLIN, WEEKEND_RULE, is_rest_day) is None


def test_public_holidays_of_hesse_are_days_of_rest() -> None:
    assert is_rest_day(date(2026, 6, 4))  # Corpus Christi, a Thursday
    assert not is_rest_day(date(2026, 1, 6))  # Epiphany is none in Hesse
    good_friday_week = hours(
        date(2026, 2, 24),
        42,
        lambda local: office(local) + 1400 * (local.month == 4 and local.day in (3, 4, 6) and 8 <= local.hour < 18),
    )
    found = weekend_use(good_friday_week, BERLIN, WEEKEND_RULE, is_rest_day)
    assert found is not None
    assert datetime.fromtimestamp(found.start_ms / 1000, BERLIN).date() == date(2026, 4, 3)


def test_a_building_without_a_rhythm_has_no_weekend_to_judge() -> None:
    assert weekend_use(hours(FIRST, 49, lambda _: 700), BERLIN, WEEKEND_RULE, is_rest_day) is None


def test_a_weekend_finding_stands_while_one_such_day_is_new_and_ends_after() -> None:
    until = lambda local: (never_off(35) if local.date() < day_of(49) else office)(local)  # noqa: E731
    still = weekend_use(hours(FIRST, 54, until), BERLIN, WEEKEND_RULE, is_rest_day, since=day_of(40))
    assert still is not None
    assert datetime.fromtimestamp(still.start_ms / 1000, BERLIN).date() == day_of(40)
    assert still.excess_amount == pytest.approx(4 * 10 * 1500, rel=0.06)
    assert weekend_use(hours(FIRST, 63, until), BERLIN, WEEKEND_RULE, is_rest_day, since=day_of(40)) is None


# --- water ----------------------------------------------------------------------------------------------------


def school_water(local: datetime) -> int:
    return 200 if 7 <= local.hour < 16 and local.weekday() < 5 else 0


def dripping(from_day: int, litres: int = 30):
    return lambda local: school_water(local) + (litres if local.date() >= day_of(from_day) else 0)


def test_water_that_never_stops_is_a_leak_with_its_litres_per_hour() -> None:
    found = water_never_stops(hours(FIRST, 14, dripping(9)), LEAK_RULE)
    assert found is not None
    assert (found.seen, found.excess_amount) == (30, 30 * found_hours(found.start_ms, found.end_ms))
    # From the afternoon of the last day before it: water ran until four.
    assert datetime.fromtimestamp(found.start_ms / 1000, BERLIN) == datetime(2026, 2, 11, 0, tzinfo=BERLIN)


def found_hours(start_ms: int, end_ms: int) -> int:
    return (end_ms - start_ms) // HOUR_MS


def test_water_that_stops_at_night_is_no_leak() -> None:
    assert water_never_stops(hours(FIRST, 14, school_water), LEAK_RULE) is None
    assert water_never_stops(hours(FIRST, 14, dripping(12)), LEAK_RULE) is None


def test_a_gap_is_no_hour_without_a_zero() -> None:
    profile = hours(FIRST, 14, dripping(9))
    assert water_never_stops(without(profile, 11 * 24, 12 * 24), LEAK_RULE) is None
    assert water_never_stops(without(profile, 12 * 24 + 12, 14 * 24), LEAK_RULE) is None
    short = water_never_stops(without(profile, 11 * 24, 11 * 24 + 4), LEAK_RULE)
    assert short is not None
    assert 950 < short.coverage_permille < 1000


def test_a_meter_that_is_new_has_a_leak_from_its_first_reading_on() -> None:
    found = water_never_stops(without(hours(FIRST, 14, dripping(0)), 0, 10 * 24), LEAK_RULE)
    assert found is not None
    assert (datetime.fromtimestamp(found.start_ms / 1000, BERLIN).date(), found.coverage_permille) == (day_of(10), 1000)


def test_a_leak_ends_with_the_first_quiet_hour() -> None:
    profile = hours(FIRST, 14, dripping(5))
    profile.amount[-20] = 0
    assert water_never_stops(profile, LEAK_RULE) is None


# --- heating in warm weather ----------------------------------------------------------------------------------


def year(heat: dict[date, int] | None = None, mean: dict[date, int] | None = None):
    """A heating year that ends with June: cold until mid April, then 18 degrees, 200 kWh a cold day, 20 a warm one."""
    first, count = date(2025, 7, 1), 365
    means, use = {}, {}
    for number in range(-1, count):
        day = first + timedelta(days=number)
        cold = not date(day.year, 4, 15) <= day < date(day.year, 10, 1)
        means[day] = (mean or {}).get(day, 300 if cold else 1800)
        use[day] = (heat or {}).get(day, 200_000 if cold else 20_000)
    whole = hours(first, count, lambda local: use[local.date()] // 24)
    return local_days(whole, BERLIN), means


def june(first: int, last: int, amount: int) -> dict[date, int]:
    return {date(2026, 6, day): amount for day in range(first, last + 1)}


def test_heating_on_warm_days_is_found_with_what_it_used_too_much() -> None:
    days, means = year(june(20, 30, 90_000))
    found = heating_in_warm_weather(days, means, WARM_RULE)
    assert found is not None
    # Allowed: half as much again as the 20 kWh of quiet warm days, and 5 % of 200 kWh.
    assert found.usual == pytest.approx(40_000, abs=100)
    assert found.excess_amount == pytest.approx(7 * 50_000, rel=0.01)
    assert datetime.fromtimestamp(found.start_ms / 1000, BERLIN).date() == date(2026, 6, 24)


def test_hot_water_is_no_heating_and_neither_is_use_on_cold_days() -> None:
    days, means = year()
    assert heating_in_warm_weather(days, means, WARM_RULE) is None
    cold = {date(2026, 6, day): 1100 for day in range(20, 31)}
    days, means = year(june(20, 30, 90_000), cold)
    assert heating_in_warm_weather(days, means, WARM_RULE) is None


def test_the_first_warm_day_after_a_cold_one_is_left_to_the_walls() -> None:
    cold = {date(2026, 6, day): 1100 for day in (25, 27, 29)}
    days, means = year(june(24, 30, 90_000), cold)
    assert heating_in_warm_weather(days, means, WARM_RULE) is None


def test_a_standing_finding_grows_from_its_first_day_and_ends_after_a_week_without() -> None:
    days, means = year(june(10, 26, 90_000))
    found = heating_in_warm_weather(days, means, WARM_RULE, since=date(2026, 6, 10))
    assert found is not None
    assert found.excess_amount == pytest.approx(17 * 50_000, rel=0.01)
    ended, means = year(june(10, 20, 90_000))
    assert heating_in_warm_weather(ended, means, WARM_RULE, since=date(2026, 6, 10)) is None


def test_without_temperatures_without_a_winter_or_without_readings_nothing_is_said() -> None:
    days, means = year(june(20, 30, 90_000))
    assert heating_in_warm_weather(days, {}, WARM_RULE) is None
    assert heating_in_warm_weather(days, {day: max(mean, 1200) for day, mean in means.items()}, WARM_RULE) is None
    nothing = replace(days, covered_ms=np.zeros_like(days.covered_ms))
    assert heating_in_warm_weather(nothing, means, WARM_RULE) is None


# --- the archive of real buildings ----------------------------------------------------------------------------


def windows_of(profile, step: int = 7, back: int = 60):
    """The profile as the watch sees it, each so many days."""
    days = local_days(profile, BERLIN).days
    for number in range(back, len(days), step):
        yield days[number], between(profile, days[number - back], days[number], BERLIN)


def test_a_real_building_raises_few_alarms_about_its_nights() -> None:
    for building, most in (("b4", 12), ("b58", 12)):
        whole = archive(building, "electricity")
        raised = [day for day, seen in windows_of(whole) if night_base_load_up(seen, BERLIN, NIGHT_RULE)]
        assert len(raised) <= most, (building, raised)


def test_a_load_left_on_in_a_real_building_is_found() -> None:
    seen = between(archive("b4", "electricity"), date(2019, 4, 1), date(2019, 6, 20), BERLIN)
    assert night_base_load_up(seen, BERLIN, NIGHT_RULE) is None
    seen.amount[-8 * 24 :] += 6_000
    found = night_base_load_up(seen, BERLIN, NIGHT_RULE)
    assert found is not None
    assert found.excess_amount == pytest.approx(6_000 * 8 * 24, rel=0.3)


def test_a_boiler_that_runs_in_a_real_summer_is_found() -> None:
    seen = between(archive("b58", "gas"), date(2018, 6, 1), date(2019, 7, 20), BERLIN)
    means = archive_means()
    assert heating_in_warm_weather(local_days(seen, BERLIN), means, WARM_RULE) is None
    seen.amount[-7 * 24 :] += 15_000
    found = heating_in_warm_weather(local_days(seen, BERLIN), means, WARM_RULE)
    assert found is not None
    assert 0 < found.excess_amount < 15_000 * 7 * 24
