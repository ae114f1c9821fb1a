"""Values that do not change, zeros that are none, and levels that break."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from domain.night import local_day_bounds, zone
from services.metering.slot import to_ms
from services.metering.validation.parameters import Parameters
from tests.services.metering.making import NOW
from tests.services.metering.validation.making_series import (
    DAY,
    HOUR,
    MONDAY_MS,
    Ints,
    counter,
    intervals,
    office,
    only,
    sensor,
    without,
)

BERLIN = zone("Europe/Berlin")


def counted(amounts: Ints) -> Ints:
    """The counter of amounts."""
    return np.cumsum(amounts)


def test_a_counter_that_usually_moves_and_rests_for_three_days_is_stuck() -> None:
    amounts = office(8)
    amounts[400:472] = 0
    found, doubted = only("stuck", counter(counted(amounts), HOUR))
    assert [(one.first_slot_ms, one.last_slot_ms) for one in found] == [
        (MONDAY_MS + 399 * HOUR, MONDAY_MS + 471 * HOUR)
    ]
    assert not doubted


def test_the_counter_of_an_unused_building_may_rest() -> None:
    amounts = np.zeros(8 * 168, np.int64)
    amounts[::100] = 50
    assert only("stuck", counter(counted(amounts), HOUR))[0] == []


def test_a_heat_meter_rests_all_summer_but_not_in_january() -> None:
    amounts = office(52)
    amounts[3_000:6_500] = 0
    resting = counter(counted(amounts), HOUR, medium="heat")
    assert only("stuck", resting)[0] == []
    amounts = office(52)
    amounts[1_000:1_240] = 0  # ten days
    january = to_ms(NOW.replace(month=1, day=5, hour=0))
    cold = counter(counted(amounts), HOUR, medium="heat")
    assert len(only("stuck", replace(cold, slot_ms=cold.slot_ms - cold.slot_ms[1_000] + january))[0]) == 1
    assert only("stuck", cold)[0] == []


def test_equal_amounts_are_stuck_if_they_are_large_and_last() -> None:
    amounts = office(4)
    amounts[200:230] = 2_011
    assert [one.count for one in only("stuck", intervals(amounts))[0]] == [30]
    amounts[200:230] = 3
    assert only("stuck", intervals(amounts))[0] == []


def test_a_sensor_that_shows_one_temperature_for_two_days_is_stuck_and_a_dark_night_is_not() -> None:
    values = 200 + np.arange(96 * 7) % 40
    values[100:300] = 215
    assert len(only("stuck", sensor(values, scale_exponent=-1))[0]) == 1
    light = np.where(np.arange(96 * 7) % 96 < 64, 0, 500)
    assert only("stuck", sensor(light, medium="light"))[0] == []


def test_a_run_of_zeros_among_weekdays_that_are_far_from_zero_is_doubted() -> None:
    amounts = office(12)
    amounts[1_000:1_046] = 0
    found, doubted = only("zero", intervals(amounts))
    assert doubted == list(range(1_000, 1_046))
    assert [one.count for one in found] == [46]


def test_one_hour_of_zero_is_doubted_as_well() -> None:
    amounts = office(12)
    amounts[1_000] = 0
    assert only("zero", intervals(amounts))[1] == [1_000]


def test_days_of_zero_are_found_in_a_daily_series_over_the_change_of_the_clocks() -> None:
    days = [local_day_bounds((datetime(2026, 2, 1) + timedelta(days=n)).date(), BERLIN)[0] for n in range(120)]
    amounts = np.array([200 if n % 7 > 4 else 1_000 for n in range(120)])
    amounts[50:53] = 0
    daily = replace(intervals(amounts, 25 * HOUR), slot_ms=np.array([to_ms(day) for day in days]))
    found, doubted = only("zero", daily)
    assert doubted == [50, 51, 52]
    assert (found[0].first_slot_ms, found[0].last_slot_ms) == (to_ms(days[50]), to_ms(days[52]))


def test_zeros_that_come_every_night_or_every_weekend_are_zeros() -> None:
    hours = np.arange(12 * 168)
    nightly = np.where(hours % 24 < 6, 0, office(12))
    assert only("zero", intervals(nightly, medium="water"))[0] == []
    weekends = np.where(hours // 24 % 7 > 4, 0, office(12))
    assert only("zero", intervals(weekends))[0] == []


def test_the_holidays_of_a_water_meter_that_stands_still_by_night_stay_what_they_are() -> None:
    hours = np.arange(12 * 168)
    amounts = np.where(hours % 24 < 6, 0, office(12))
    amounts[800:1_136] = 0
    assert only("zero", intervals(amounts, medium="water"))[0] == []


def test_zeros_without_regular_slots_around_them_are_found_too() -> None:
    amounts = office(12)
    amounts[1_000:1_030] = 0
    found, doubted = only("zero", without(intervals(amounts), 500, 600))
    assert [one.count for one in found] == [30]
    assert doubted == list(range(900, 930))


def test_a_level_that_rises_by_a_known_factor_and_stays_is_a_break_of_the_unit() -> None:
    for factor, medium, words in (
        (1_000, "electricity", "Wh and kWh"),
        (10, "water", "decimal place"),
        (3.6, "heat", "MJ"),
        (11, "gas", "cubic metres and kWh"),
    ):
        amounts = office(20)
        later = amounts.astype(np.float64)
        later[1_680:] *= factor
        found, doubted = only("unit_break", intervals(later.astype(np.int64), medium=medium))
        assert len(found) == 1, medium
        assert words in found[0].detail
        assert abs(found[0].last_slot_ms - (MONDAY_MS + 1_680 * HOUR)) <= DAY
        assert not doubted


def test_a_counter_whose_level_falls_to_a_hundredth_breaks_its_unit() -> None:
    amounts = office(20)
    amounts[1_680:] //= 100
    found, _ = only("unit_break", counter(counted(amounts), HOUR))
    assert "falls" in found[0].detail


def test_neither_a_season_nor_a_new_machine_is_a_break_of_the_unit() -> None:
    hours = np.arange(52 * 168)
    season = (office(52) * (1.05 + np.cos(hours / 8_736 * 2 * np.pi))).astype(np.int64)
    assert only("unit_break", intervals(season, medium="gas"))[0] == []
    machine = office(20)
    machine[1_680:] += 20_000  # ten times the base load, three times the peak
    assert only("unit_break", intervals(machine))[0] == []


def test_a_resolution_that_becomes_coarser_is_told() -> None:
    amounts = office(26)
    amounts[2_000:] = amounts[2_000:] // 100 * 100
    found, _ = only("unit_break", intervals(amounts))
    assert [one.detail for one in found] == [
        "values are multiples of 1 before and of 100 after: another source or unit?"
    ]


def test_a_rule_that_is_switched_off_finds_nothing() -> None:
    amounts = office(12)
    amounts[1_000] = 0
    assert only("zero", intervals(amounts), Parameters({("zero", "electricity", "enabled"): 0})) == ([], [])
