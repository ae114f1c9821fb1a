"""Amounts that overlap: what counts the same time twice is in doubt, and a short month is a month."""

from __future__ import annotations

import warnings
from calendar import monthrange

import numpy as np
import pytest

from services.metering.cycle import longest_ms
from services.metering.meter import Cycle, Kind
from services.metering.slot import DAY_MS, HOUR_MS, SLOT_MS
from services.metering.validation.overlap_rule import near
from services.metering.validation.parameters import Parameters
from services.metering.validation.series import Series
from services.metering.validation.table import check
from tests.services.metering.validation.making_series import MONDAY_MS, counter, intervals, office, only

HOURLY = {"interval_ms": HOUR_MS}
MONTHLY = {"interval_ms": longest_ms(Cycle.MONTH)}


def test_months_at_consecutive_quarter_hours_overlap_and_the_first_stays() -> None:
    found, doubted = only("overlap", intervals([5, 6, 7], SLOT_MS, **MONTHLY))
    [one] = found
    assert (one.first_slot_ms, one.last_slot_ms, one.count) == (MONDAY_MS, MONDAY_MS + 2 * SLOT_MS, 2)
    assert one.detail == "amounts of intervals of up to 31 days end 15 min after one another"
    assert (one.is_doubted, doubted) == (True, [1, 2])


def test_months_of_the_calendar_days_with_23_hours_and_years_do_not_overlap() -> None:
    lengths = [monthrange(2026, month)[1] * DAY_MS for month in range(1, 13)]
    months = intervals(range(12), **MONTHLY)
    months.slot_ms[:] = MONDAY_MS + np.cumsum(lengths)
    assert only("overlap", months) == ([], [])
    bills = intervals(range(5), **MONTHLY)
    bills.slot_ms[:] = MONDAY_MS + np.cumsum([29, 26, 33, 25, 38]) * DAY_MS
    assert only("overlap", bills) == ([], [])
    assert only("overlap", intervals(range(9), 23 * HOUR_MS, interval_ms=longest_ms(Cycle.DAY))) == ([], [])
    assert only("overlap", intervals(range(9), 365 * DAY_MS, interval_ms=longest_ms(Cycle.YEAR))) == ([], [])


def test_an_hour_between_two_hours_is_in_doubt_and_the_series_goes_on_after_it() -> None:
    series = intervals(range(6), **HOURLY)
    series.slot_ms[3:] -= HOUR_MS // 2  # 0 1 2 2.5 3.5 4.5
    found, doubted = only("overlap", series)
    assert ([one.count for one in found], doubted) == ([1], [3])


@pytest.mark.parametrize("changes", [{}, {"interval_ms": 0}])
def test_without_a_cycle_nothing_overlaps(changes: dict[str, int]) -> None:
    assert only("overlap", intervals([1, 2, 3], SLOT_MS, **changes)) == ([], [])
    assert only("overlap", counter([1, 2, 3])) == ([], [])


def test_the_shortest_distance_is_a_parameter_and_the_rule_can_be_off() -> None:
    series = intervals([1, 2, 3], HOUR_MS * 3 // 4, **HOURLY)
    assert only("overlap", series)[1] == [1]
    loose = Parameters({("overlap", "electricity", "shortest_permille"): 700})
    assert only("overlap", series, loose)[1] == []
    assert only("overlap", series, Parameters({("overlap", "", "enabled"): 0}))[1] == []


def test_what_lies_near_something_stored_is_found_on_both_sides_of_it() -> None:
    stored = np.array([10, 50], np.int64)
    assert near(np.array([1, 7, 14, 15, 46, 60], np.int64), stored, 5).tolist() == [
        False,
        True,
        True,
        False,
        True,
        False,
    ]
    assert not near(np.array([1], np.int64), np.empty(0, np.int64), 5).any()
    assert not near(np.array([9], np.int64), stored, 0).any()


def test_zeros_of_which_nothing_usual_is_known_are_no_reason_for_a_warning() -> None:
    values = office(1)[:48]
    values[20:24] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, doubtful = check(Series(Kind.INTERVAL, "electricity", MONDAY_MS + np.arange(48) * HOUR_MS, values), None)
    assert not found
    assert not doubtful.any()
