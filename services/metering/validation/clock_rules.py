"""Rules about time: stamps that cannot be, clocks that run away, and readings that are missing. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from services.metering.meter import Kind
from services.metering.reading import MINUTE_MS, Mask
from services.metering.slot import DAY_MS, HOUR_MS, SLOT_MS
from services.metering.validation.series import (
    RuleFinding,
    Series,
    Verdict,
    duration_text,
    limited,
    runs,
)


def time(series: Series, parameters: Mapping[str, int]) -> Verdict:
    """Stamps in the future, off the grid of the series, and a device's clock that runs away from its slots.

    The grid is the quarter hour, of interval series the cycle itself up to an hour; people read at any minute. A clock
    runs away where the daily median of observed_at minus slot, of readings that the device itself stamped, is further
    off than `drift_s`.
    """
    found: list[RuleFinding] = []
    ahead = series.slot_ms > series.now_ms + parameters["future_s"] * 1000
    found += _told(series, "time", ahead, "stamped in the future")
    grid = series.cycle_ms if series.kind is Kind.INTERVAL and 0 < series.cycle_ms <= HOUR_MS else SLOT_MS
    off = series.slot_ms % grid != 0
    if len(series.by_people):
        off &= ~series.by_people | (series.slot_ms % MINUTE_MS != 0)
    found += _told(series, "time", off, f"off the grid of {duration_text(grid)}")
    found += _runaway(series, parameters["drift_s"] * 1000)
    return Verdict(limited(found), Verdict.nothing(series).doubtful)


def _told(series: Series, rule: str, rows: Mask, detail: str) -> Iterator[RuleFinding]:
    starts, ends = runs(rows)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        yield RuleFinding(rule, int(series.slot_ms[start]), int(series.slot_ms[end - 1]), end - start, detail)


def _runaway(series: Series, drift_ms: int) -> Iterator[RuleFinding]:
    stamped = np.flatnonzero(series.stamped_by_device)
    if len(stamped) < 2:
        return
    slot, off = series.slot_ms[stamped], series.observed_ms[stamped] - series.slot_ms[stamped]
    day = slot // DAY_MS
    first = np.flatnonzero(np.r_[True, day[1:] != day[:-1]])
    ends = np.r_[first[1:], len(day)]
    median = np.array([int(np.median(off[a:b])) for a, b in zip(first.tolist(), ends.tolist(), strict=True)], np.int64)
    for start, end in zip(*(edge.tolist() for edge in runs(np.abs(median) > drift_ms)), strict=True):
        rows = slice(int(first[start]), int(ends[end - 1]))
        days = max(1, int(day[first[end - 1]] - day[first[start]]))
        rate = (int(median[end - 1]) - int(median[start])) // 1000 // days
        worst = int(median[start:end][np.argmax(np.abs(median[start:end]))])
        way = "ahead" if worst > 0 else "behind"
        detail = f"the device's clock is up to {duration_text(abs(worst))} {way}"
        if rate:
            detail += f", and runs away by {abs(rate)} s a day"
        yield RuleFinding("time", int(slot[rows][0]), int(slot[rows][-1]), len(slot[rows]), detail)


def gap(series: Series, parameters: Mapping[str, int]) -> Verdict:
    """Slots without a reading: two readings lie further apart than `longest_permille` of the cycle.

    first and last are the first and the last missing slot; count is how many are missing. Without a cycle, as of hand
    readings, nothing is missing. What a day, a month or a year is at most is the cycle then.
    """
    nothing = Verdict.nothing(series)
    if series.cycle_ms <= 0 or len(series) < 2:
        return nothing
    apart = np.diff(series.slot_ms)
    wide = np.flatnonzero(apart * 1000 > series.cycle_ms * parameters["longest_permille"])
    found = [
        RuleFinding(
            "gap",
            int(series.slot_ms[row]) + series.cycle_ms,
            int(series.slot_ms[row + 1]) - series.cycle_ms,
            max(1, -(-int(apart[row]) // series.cycle_ms) - 1),
            f"no reading for {duration_text(int(apart[row]))}",
        )
        for row in wide.tolist()
    ]
    return Verdict(limited(found), nothing.doubtful)
