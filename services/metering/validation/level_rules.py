"""Rules about values that do not change. Pure. A reading that is stuck is reported, not doubted: it may be true."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.metering.meter import Kind
from services.metering.reading import Int64, Mask
from services.metering.slot import HOUR_MS, WEEK_MS
from services.metering.validation.series import (
    RuleFinding,
    Series,
    Verdict,
    duration_text,
    limited,
    month_of,
    runs,
)

_LEAST_ROWS = 8
"""Fewer equal values in a row are chance, however far apart they are."""
_LEAST_AROUND = 48
"""Fewer steps around a rest say nothing about whether the counter usually moves."""
_WINTER = (11, 12, 1, 2, 3)


def stuck(series: Series, parameters: Mapping[str, int]) -> Verdict:
    """A value that does not change for too long.

    A counter: it rests for longer than `counter_h` (within winter `winter_h`), though in the four weeks before and
    after it moves in `busy_permille` of its steps: the counter of an unused building may rest. Amounts: the same amount
    other than zero for `equal_h`, if it is large enough (`equal_counts` steps of the resolution) for chance. A sensor
    or a store: one value for `instant_h`.
    """
    nothing = Verdict.nothing(series)
    if len(series) < _LEAST_ROWS:
        return nothing
    same: Mask = np.diff(series.value) == 0
    if series.kind is Kind.COUNTER:
        found = _resting(series, same, parameters)
    elif series.kind is Kind.INTERVAL:
        found = _equal(series, same, parameters)
    else:
        longest = parameters["instant_h"] * HOUR_MS
        found = [
            _finding(series, first, last, f"the value stays {int(series.value[first])}")
            for first, last in _long(series, same, longest)
        ]
    return Verdict(limited(found), nothing.doubtful)


def resolution(value: Int64) -> int:
    """Largest step that all values are multiples of; 1 where there is none."""
    return max(1, int(np.gcd.reduce(value))) if len(value) else 1


def _finding(series: Series, first: int, last: int, what: str) -> RuleFinding:
    begin, end = int(series.slot_ms[first]), int(series.slot_ms[last])
    return RuleFinding("stuck", begin, end, last - first + 1, f"{what} for {duration_text(end - begin)}")


def _long(series: Series, same: Mask, longest_ms: int) -> list[tuple[int, int]]:
    """First and last rows of stretches of equal values that last for longer than allowed."""
    starts, ends = runs(same)
    lasts = series.slot_ms[ends] - series.slot_ms[starts]
    chosen = (lasts >= longest_ms) & (ends - starts + 1 >= _LEAST_ROWS)
    return list(zip(starts[chosen].tolist(), ends[chosen].tolist(), strict=True))


def _resting(series: Series, same: Mask, parameters: Mapping[str, int]) -> list[RuleFinding]:
    allowed, winter = parameters["counter_h"] * HOUR_MS, parameters["winter_h"] * HOUR_MS
    moved = np.concatenate(([0], np.cumsum(~same)))
    found = []
    for first, last in _long(series, same, min(allowed, winter) if winter else allowed):
        begin, end = int(series.slot_ms[first]), int(series.slot_ms[last])
        in_winter = month_of(begin) in _WINTER and month_of(end) in _WINTER and end - begin < 26 * WEEK_MS
        if end - begin < (winter if winter and in_winter else allowed):
            continue
        before = slice(int(np.searchsorted(series.slot_ms, begin - 4 * WEEK_MS)), first)
        after = slice(last, int(np.searchsorted(series.slot_ms, end + 4 * WEEK_MS, "right")) - 1)
        steps = sum(max(0, side.stop - side.start) for side in (before, after))
        moving = sum(int(moved[side.stop] - moved[side.start]) for side in (before, after) if side.stop > side.start)
        if steps >= _LEAST_AROUND and moving * 1000 >= steps * parameters["busy_permille"]:
            found.append(_finding(series, first, last, f"the counter stands at {int(series.value[first])}"))
    return found


def _equal(series: Series, same: Mask, parameters: Mapping[str, int]) -> list[RuleFinding]:
    least = parameters["equal_counts"] * resolution(series.value)
    return [
        _finding(series, first, last, f"every amount is {int(series.value[first])}")
        for first, last in _long(series, same & (series.value[1:] >= max(1, least)), parameters["equal_h"] * HOUR_MS)
    ]
