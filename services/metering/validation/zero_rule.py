"""A zero that is not a zero: archives and loggers write zeros where they have nothing. Pure.

Seen in the Cambridge estates archive (hourly amounts, 2017 to 2020), whose publisher replaced missing values by zeros:
building B4 has 46 such hours of electricity (4 and 5 October 2019) and 829 of gas (27 November to 31 December 2017);
building B58 one hour of electricity (26 March 2017 01:00, the hour that the clocks skip) and 1 046 and 23 of gas. The
boiler of B4 is off in summer: its 9 700 other zeros are zeros, and this rule leaves them alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.metering.cycle import usual_interval_ms
from services.metering.meter import Kind
from services.metering.reading import Int64, Mask
from services.metering.slot import DAY_MS, HOUR_MS, WEEK_MS
from services.metering.validation.level_rules import resolution
from services.metering.validation.series import (
    RuleFinding,
    Series,
    Verdict,
    duration_text,
    in_runs,
    limited,
    runs,
)

Floats = NDArray[np.float64]

_LEAST_REFERENCES: Final = 3
_EDGE: Final = 3
"""Readings on each side of a run of which one has to be far from zero."""


def zero(series: Series, parameters: Mapping[str, int]) -> Verdict:
    """Runs of exact zeros among amounts that are far from zero in the same hours of the same weekdays.

    Each zero is compared with the amounts at the same weekday and time (UTC) in the `weeks` before its run and after
    it. It is wrong if the least of them but one is at least `far_permille` of their median. A run is in doubt if
    `share_permille` of its zeros are wrong, amounts next to it are far from zero on both sides, and zeros are rare in
    those weeks (`nonzero_permille`, for runs shorter than a day `nonzero_short_permille`, are none). So what is off at
    night, in holidays or over a summer, or counts one unit now and then, stays what it is.
    """
    cycle = series.cycle_ms or usual_interval_ms(series.slot_ms)
    # Local days have 23 to 25 hours, and are days.
    cycle = DAY_MS if abs(cycle - DAY_MS) <= HOUR_MS else cycle
    nothing = Verdict.nothing(series)
    if series.kind is not Kind.INTERVAL or not 0 < cycle <= DAY_MS or not bool((series.value == 0).any()):
        return nothing
    grid = _Grid(series, cycle)
    starts, ends = runs(grid.amount == 0)
    wrong, usual = _far_from_zero(grid, starts, ends, parameters, resolution(series.value))
    sizes = ends - starts
    shares = np.add.reduceat(wrong[_rows(starts, ends)].astype(np.int64), np.cumsum(sizes) - sizes) * 1000
    level = np.array([_median(usual[a:b]) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)])
    chosen = (shares >= sizes * parameters["share_permille"]) & _zeros_are_rare(grid, starts, ends, cycle, parameters)
    for number in np.flatnonzero(chosen).tolist():
        chosen[number] = _edges_are_far(grid, int(starts[number]), int(ends[number]), level[number], parameters)
    starts, ends, level = starts[chosen], ends[chosen], level[chosen]
    found = [
        RuleFinding(
            "zero",
            grid.slot_at(start),
            grid.slot_at(end - 1),
            end - start,
            f"zeros for {duration_text((end - start) * cycle)}, where {round(usually)} is usual",
            True,
        )
        for start, end, usually in zip(starts.tolist(), ends.tolist(), level.tolist(), strict=True)
    ]
    doubtful = nothing.doubtful
    doubtful[grid.rows] = in_runs(starts, ends, len(grid.amount))[grid.places]
    return Verdict(limited(found), doubtful & (series.value == 0))


def _median(usual: Floats) -> float:
    """The middle of what is usual, where anything is."""
    known = usual[~np.isnan(usual)]
    return float(np.median(known)) if len(known) else 0.0


class _Grid:
    """Amounts at every slot of the span, NaN where there is none; rows of the series and their places."""

    def __init__(self, series: Series, cycle_ms: int) -> None:
        self.week = WEEK_MS // cycle_ms
        since = series.slot_ms - series.slot_ms[0]
        places = (since + cycle_ms // 2) // cycle_ms
        off = np.abs(since - places * cycle_ms)
        self.rows = np.flatnonzero(off <= (HOUR_MS if cycle_ms == DAY_MS else 0))
        self.places = places[self.rows]
        self.amount: Floats = np.full(int(places[-1]) + 1, np.nan)
        self.amount[self.places] = series.value[self.rows]
        self._slots = np.zeros(len(self.amount), np.int64)
        self._slots[self.places] = series.slot_ms[self.rows]

    def slot_at(self, place: int) -> int:
        """The slot of a reading by its place."""
        return int(self._slots[place])


def _rows(starts: Int64, ends: Int64) -> Int64:
    return np.concatenate([np.arange(a, b) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)])


def _far_from_zero(
    grid: _Grid, starts: Int64, ends: Int64, parameters: Mapping[str, int], step: int
) -> tuple[Mask, Floats]:
    """For each slot: whether a zero there is wrong, and what is usual there."""
    count = len(grid.amount)
    wrong, usual = np.zeros(count, np.bool_), np.full(count, np.nan)
    sizes = ends - starts
    rows, begin, end = _rows(starts, ends), np.repeat(starts, sizes), np.repeat(ends, sizes)
    back = ((rows - begin) // grid.week + 1) * grid.week
    forth = ((end - 1 - rows) // grid.week + 1) * grid.week
    references = []
    for week in range(parameters["weeks"]):
        for place in (rows - back - week * grid.week, rows + forth + week * grid.week):
            inside = (place >= 0) & (place < count)
            references.append(np.where(inside, grid.amount[np.clip(place, 0, count - 1)], np.nan))
    table = np.sort(np.array(references), axis=0)  # NaN last
    known = np.count_nonzero(~np.isnan(table), axis=0)
    columns = np.arange(len(rows))
    median = table[np.maximum(known - 1, 0) // 2, columns]
    # The least but one: a single odd week says nothing.
    low = table[np.minimum(1, np.maximum(known - 1, 0)), columns]
    far = (known >= _LEAST_REFERENCES) & (median >= parameters["least_counts"] * step)
    far &= low * 1000 >= median * parameters["far_permille"]
    wrong[rows], usual[rows] = far, median
    return wrong, usual


def _zeros_are_rare(grid: _Grid, starts: Int64, ends: Int64, cycle_ms: int, parameters: Mapping[str, int]) -> Mask:
    """For each run: whether few other amounts of the weeks around it are zero."""
    width, count = parameters["weeks"] * grid.week, len(grid.amount)
    known = np.concatenate(([0], np.cumsum(~np.isnan(grid.amount))))
    flowing = np.concatenate(([0], np.cumsum(grid.amount > 0)))
    first, last = np.maximum(starts - width, 0), np.minimum(ends + width, count)
    around = known[last] - known[first] - (known[ends] - known[starts])
    needed = np.where(
        (ends - starts) * cycle_ms < DAY_MS, parameters["nonzero_short_permille"], parameters["nonzero_permille"]
    )
    rare: Mask = (flowing[last] - flowing[first]) * 1000 >= around * needed
    return rare


def _edges_are_far(grid: _Grid, start: int, end: int, usual: float, parameters: Mapping[str, int]) -> bool:
    """True if amounts next to a run, on each side that there is, are far from zero."""
    least = usual * parameters["far_permille"] / 1000
    sides = (grid.amount[max(0, start - _EDGE) : start], grid.amount[end : end + _EDGE])
    return all(not len(side) or bool((side >= least).any()) for side in sides)
