"""Amounts of intervals as a curve, estimated readings, and counters in parts of a unit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.counters import Register
from domain.errors import InvalidInput
from domain.intervals import Curve, Flag, Intervals, Life

QUARTER = 900_000
START = 1_772_000_100_000 // QUARTER * QUARTER


def column(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


def series(slots: list[int], amounts: list[int], estimated: list[bool] | None = None) -> Intervals:
    """Quarter hours by the number of their begin."""
    begins = START + column(slots) * QUARTER
    mask = None if estimated is None else np.array(estimated, np.bool_)
    return Intervals(begins, begins + QUARTER, column(amounts), mask)


def bounds(*slots: int) -> np.ndarray:
    return START + column(list(slots)) * QUARTER


def test_intervals_that_touch_are_a_curve() -> None:
    found = Curve(intervals=[series([2, 0, 1], [30, 10, 20])]).consumption(bounds(0, 1, 2, 3))
    assert found.amount.tolist() == [10, 20, 30]
    assert found.flag.tolist() == [Flag.MEASURED] * 3


def test_a_hole_is_missing_and_nothing_is_conserved_across_it() -> None:
    curve = Curve(intervals=[series([0, 1, 4], [10, 20, 50])])
    found = curve.consumption(bounds(0, 1, 2, 3, 4, 5))
    assert found.amount.tolist() == [10, 20, 0, 0, 50]
    assert found.flag.tolist() == [Flag.MEASURED, Flag.MEASURED, Flag.MISSING, Flag.MISSING, Flag.MEASURED]
    whole = curve.consumption(bounds(0, 5))
    assert (whole.amount.tolist(), whole.coverage_permille().tolist()) == ([80], [600])
    assert whole.flag.tolist() == [Flag.ESTIMATED]


def test_an_estimated_interval_counts_as_estimated() -> None:
    found = Curve(intervals=[series([0, 1], [10, 20], [False, True])]).consumption(bounds(0, 1, 2))
    assert found.estimated_amount.tolist() == [0, 20]
    assert found.coverage_permille().tolist() == [1000, 0]


def test_a_long_interval_tells_nothing_of_its_parts_but_their_share() -> None:
    month = Intervals(bounds(0), bounds(4), column([101]))
    assert Curve(intervals=[month]).consumption(bounds(0, 1, 2, 3, 4)).amount.tolist() == [25, 25, 25, 26]


def test_intervals_that_overlap_or_end_before_they_begin_are_refused() -> None:
    for wrong in (
        [series([0, 0], [1, 1])],
        [series([0], [1]), series([0], [1])],
        [Intervals(bounds(1), bounds(0), column([1]))],
        [Intervals(bounds(0), bounds(1), column([1, 2]))],
    ):
        with pytest.raises(InvalidInput, match=r"intervals|lives"):
            Curve(intervals=wrong)
    assert Curve(intervals=[series([], [])]).consumption(bounds(0, 1)).flag.tolist() == [Flag.MISSING]


@given(st.dictionaries(st.integers(0, 60), st.integers(0, 10**9), min_size=1), st.integers(1, 7))
def test_whatever_holes_there_are_the_amounts_are_found_again(amounts: dict[int, int], width: int) -> None:
    curve = Curve(intervals=[series(list(amounts), list(amounts.values()))])
    fine = curve.consumption(bounds(*range(62)))
    assert fine.amount.tolist() == [amounts.get(slot, 0) for slot in range(61)]
    assert [flag == Flag.MEASURED for flag in fine.flag] == [slot in amounts for slot in range(61)]
    wide = curve.consumption(bounds(*range(0, 71, width)))
    assert int(wide.amount.sum()) == sum(amounts.values())


def test_an_estimated_reading_makes_both_its_steps_estimated() -> None:
    life = Life(bounds(0, 1, 2, 3), column([0, 10, 20, 30]), estimated_ms=bounds(1))
    found = Curve([life]).consumption(bounds(0, 1, 2, 3))
    assert found.amount.tolist() == [10, 10, 10]
    assert found.estimated_amount.tolist() == [10, 10, 0]
    assert found.coverage_permille().tolist() == [0, 0, 1000]


def test_an_estimated_reading_after_a_rollover_is_estimated_too() -> None:
    life = Life(bounds(0, 1, 2), column([990, 5, 15]), Register(rollover=1000), estimated_ms=bounds(2))
    assert Curve([life]).consumption(bounds(0, 1, 2)).estimated_amount.tolist() == [0, 10]


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=20),
    st.integers(0, 10_000),
    st.sampled_from([1, 10, 1000]),
    st.integers(0, 19),
)
def test_parts_of_a_unit_are_cut_where_the_counter_passes_whole_units(
    steps: list[int], first: int, per_unit: int, begin: int
) -> None:
    counters = [first, *(first + int(total) for total in np.cumsum(steps))]
    curve = Curve([Life(bounds(*range(len(counters))), column(counters))], per_unit=per_unit)
    found = curve.consumption(bounds(*range(len(counters)))).amount.tolist()
    assert found == [after // per_unit - before // per_unit for before, after in pairwise(counters)]
    # Whoever looks at a part of it only is told the same.
    at = min(begin, len(steps) - 1)
    part = Curve([Life(bounds(*range(at, len(counters))), column(counters[at:]))], per_unit=per_unit)
    assert part.consumption(bounds(*range(at, len(counters)))).amount.tolist() == found[at:]


def test_two_registers_in_parts_of_a_unit_add_up() -> None:
    old, new = Life(bounds(0, 1), column([1_900, 2_700])), Life(bounds(1, 2), column([400, 1_300]))
    found = Curve([old, new], per_unit=1000).consumption(bounds(0, 1, 2, 3))
    assert found.amount.tolist() == [2 - 1, 1 - 0, 0]
    with pytest.raises(InvalidInput, match="per_unit"):
        Curve([old], per_unit=0)
