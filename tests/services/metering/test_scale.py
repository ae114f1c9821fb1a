"""Scales and large numbers: exact like Python's own integers, or refused; never another number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import OutOfLimits
from services.metering.reading import VALUE_MAX
from services.metering.scale import added, fits, in_scale, multiplied, proportion, rescaled, saturated, shifted
from services.metering.slot import HOUR_MS
from tests.services.metering.making import NOON_MS

LARGE = st.integers(-(2**61) + 1, 2**61 - 1)


def column(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)


@given(LARGE, st.integers(60_000, 25 * HOUR_MS))
def test_a_rate_is_exact_however_large_the_amount_or_it_is_refused(amount: int, lasted_ms: int) -> None:
    exact = amount * HOUR_MS // lasted_ms
    try:
        assert proportion(column(amount), HOUR_MS, column(lasted_ms)).tolist() == [exact]
    except OutOfLimits:
        assert abs(exact) > 2**61


@given(st.integers(-VALUE_MAX, VALUE_MAX), st.integers(-9, 9))
def test_a_value_in_another_scale_is_exact_or_refused_and_saturated_where_only_its_size_matters(
    value: int, shift: int
) -> None:
    exact = value * 10**shift if shift >= 0 else (value + 10**-shift // 2) // 10**-shift
    assert saturated(column(value), shift).tolist() == [max(-VALUE_MAX, min(exact, VALUE_MAX))]
    if abs(exact) <= VALUE_MAX:
        assert rescaled(column(value), shift).tolist() == [exact]
    else:
        with pytest.raises(OutOfLimits, match="more than a sensor shows"):
            rescaled(column(value), shift)


@given(LARGE, st.sampled_from([1, 10, 1000, 10**9]))
def test_a_product_is_exact_or_refused(value: int, by: int) -> None:
    if abs(value) * by < 2**62:
        assert fits(column(value), by)
        assert multiplied(column(value), by).tolist() == [value * by]
    else:
        assert not fits(column(value), by)
        with pytest.raises(OutOfLimits, match="more than a column holds"):
            multiplied(column(value), by)


@given(st.lists(LARGE, min_size=1, max_size=6))
def test_a_sum_is_exact_or_refused(values: list[int]) -> None:
    try:
        assert added([column(value) for value in values], column(NOON_MS)).tolist() == [sum(values)]
    except OutOfLimits:
        assert sum(map(abs, values)) > 2**61


def test_the_least_number_of_64_bits_has_no_absolute_value_and_is_refused_all_the_same() -> None:
    with pytest.raises(OutOfLimits):
        multiplied(column(-(2**63)), 10)


def test_limits_are_rounded_up_and_what_is_left_of_a_count_is_told() -> None:
    assert [in_scale(1001, 3), in_scale(1001, 0), in_scale(1001, -2)] == [2, 1001, 100_100]
    assert [shifted(105, 3), shifted(105_700, -3)] == [(105_000, 0), (105, 700)]
