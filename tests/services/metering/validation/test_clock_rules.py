"""Time: stamps that cannot be, clocks that run away, readings that are missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from services.metering.reading import TimeSource
from services.metering.slot import SLOT_MS
from tests.services.metering.validation.making_series import (
    DAY,
    HOUR,
    MONDAY_MS,
    counter,
    intervals,
    only,
    without,
)


def test_a_stamp_in_the_future_is_told_and_one_that_is_a_minute_ahead_is_not() -> None:
    series = counter(range(8), now_ms=MONDAY_MS + 5 * SLOT_MS - 60_000)
    found, doubted = only("time", series)
    assert [(one.first_slot_ms, one.count) for one in found] == [(MONDAY_MS + 6 * SLOT_MS, 2)]
    assert not doubted


def test_a_half_hour_series_with_a_quarter_hour_in_it_is_off_its_grid() -> None:
    series = intervals([1, 2, 3, 4], 30 * 60_000)
    series.slot_ms[2] += SLOT_MS
    found, _ = only("time", series)
    assert [(one.first_slot_ms, one.detail) for one in found] == [
        (MONDAY_MS + 2 * 30 * 60_000 + SLOT_MS, "off the grid of 30 min")
    ]


def test_people_read_at_any_minute() -> None:
    series = counter(range(4))
    series.slot_ms[1] += 7 * 60_000
    series.slot_ms[2] += 7 * 60_000 + 1
    by_people = np.array([False, True, True, False])
    found, _ = only("time", replace(series, by_people=by_people))
    assert [one.first_slot_ms for one in found] == [int(series.slot_ms[2])]


def test_a_clock_that_runs_away_is_told_with_its_rate_and_one_late_stamp_is_not() -> None:
    series = counter(range(96 * 10))
    late = series.slot_ms + np.arange(len(series)) // 96 * 60_000
    late[5] += 3_600_000
    running = replace(series, observed_ms=late, time_source=np.full(len(series), int(TimeSource.DEVICE)))
    found, _ = only("time", running)
    assert len(found) == 1
    assert "9 min ahead" in found[0].detail
    assert "60 s a day" in found[0].detail
    assert (found[0].first_slot_ms, found[0].count) == (MONDAY_MS + 6 * DAY, 4 * 96)
    ours = replace(running, time_source=np.full(len(series), int(TimeSource.SYSTEM)))
    assert only("time", ours)[0] == []


def test_missing_slots_are_counted_from_the_first_to_the_last() -> None:
    found, doubted = only("gap", without(counter(range(20)), 5, 9))
    assert [(one.first_slot_ms, one.last_slot_ms, one.count) for one in found] == [
        (MONDAY_MS + 5 * SLOT_MS, MONDAY_MS + 8 * SLOT_MS, 4)
    ]
    assert not doubted


def test_the_25_hours_of_a_local_day_are_no_gap_and_a_missing_day_is() -> None:
    days = intervals([1] * 6, 25 * HOUR)
    assert only("gap", days)[0] == []
    assert [one.count for one in only("gap", without(days, 2, 3))[0]] == [1]


def test_of_readings_that_come_as_they_come_none_is_missing() -> None:
    assert only("gap", replace(without(counter(range(20)), 5, 9), cycle_ms=0))[0] == []


def test_ten_thousand_gaps_are_summed_up() -> None:
    series = counter(range(20_000))
    found, _ = only("gap", series.of_rows(np.arange(20_000) % 2 == 0))
    assert len(found) == 200
    assert sum(one.count for one in found) == 9_999
    assert "more places" in found[-1].detail
