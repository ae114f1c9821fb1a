"""Virtual meters: sums of others, known as well as the worst of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.intervals import Flag
from services.metering.figures.virtual import combined
from tests.services.metering.making import NOON_MS
from tests.services.metering.profiles import steps, without


def test_what_a_house_with_a_roof_of_panels_used() -> None:
    taken, made, fed_in = (steps(NOON_MS, amounts) for amounts in ([500, 0], [100, 900], [0, 400]))
    found = combined([(1, taken), (1, made), (-1, fed_in)])
    assert found.amount.tolist() == [600, 500]
    assert found.coverage_permille().tolist() == [1000, 1000]


def test_a_sum_is_covered_like_its_least_term_and_estimated_by_all_of_them() -> None:
    first, second = steps(NOON_MS, [500, 500]), without(steps(NOON_MS, [70, 80]), 1, 2)
    found = combined([(1, without(first, 0, 2)), (-1, second)])
    assert found.amount.tolist() == [430, 420]
    assert found.estimated_amount.tolist() == [500, 580]
    assert found.coverage_permille().tolist() == [0, 0]
    assert found.flag.tolist() == [Flag.GAP, Flag.GAP]


def test_where_a_term_is_missing_the_sum_is_that_of_the_others_and_not_covered() -> None:
    first, second = steps(NOON_MS, [500, 500, 0]), steps(NOON_MS, [0, 100, 0])
    for part, row in ((second, 0), (first, 2), (second, 2)):
        part.flag[row], part.measured_ms[row] = Flag.MISSING, 0
    found = combined([(1, first), (1, second)])
    assert found.amount.tolist() == [500, 600, 0]
    assert found.flag.tolist() == [Flag.ESTIMATED, Flag.MEASURED, Flag.MISSING]
    assert found.coverage_permille().tolist() == [0, 1000, 0]


def test_what_cannot_be_added_is_refused() -> None:
    one = steps(NOON_MS, [1])
    for terms in ([], [(2, one)], [(1, one), (1, steps(NOON_MS + 1, [1]))], [(1, one), (1, steps(NOON_MS, [1, 2]))]):
        with pytest.raises(InvalidInput, match="terms"):
            combined(terms)


@given(
    st.lists(st.tuples(st.sampled_from((1, -1)), st.lists(st.integers(0, 10**9), min_size=4, max_size=4)), min_size=1)
)
def test_the_sum_of_steps_is_the_step_of_sums(terms: list[tuple[int, list[int]]]) -> None:
    found = combined([(factor, steps(NOON_MS, amounts)) for factor, amounts in terms])
    assert int(found.amount.sum()) == sum(factor * sum(amounts) for factor, amounts in terms)
    assert np.all(found.measured_ms == found.ends_ms - found.starts_ms)
