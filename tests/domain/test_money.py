"""Money is decimal, and splitting it loses no cent."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.money import energy_cost, round_to, split, split_integer

WEIGHTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=20).filter(lambda weights: sum(weights) > 0)
AMOUNTS = st.integers(-(10**12), 10**12).map(lambda cents: Decimal(cents).scaleb(-2))


def test_a_third_each_is_split_to_the_cent():
    assert split(Decimal("100.00"), [1, 1, 1]) == [Decimal("33.34"), Decimal("33.33"), Decimal("33.33")]
    assert split(Decimal("-100.00"), [1, 1, 1]) == [Decimal("-33.34"), Decimal("-33.33"), Decimal("-33.33")]


@given(AMOUNTS, WEIGHTS)
def test_the_parts_are_the_whole(amount, weights):
    parts = split(amount, weights)
    assert sum(parts) == amount
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - amount * weight / sum(weights)) < Decimal("0.01")
        assert weight or part == 0


@given(AMOUNTS, WEIGHTS)
def test_a_reversal_undoes_exactly_what_it_reverses(amount, weights):
    assert [-part for part in split(amount, weights)] == split(-amount, weights)


@given(st.integers(0, 10**15), WEIGHTS)
def test_watt_hours_are_split_without_a_rest(total, weights):
    assert sum(split_integer(total, weights)) == total


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1]])
def test_weights_that_split_nothing_are_refused(weights):
    with pytest.raises(InvalidInput, match="weights"):
        split(Decimal("1.00"), weights)


@pytest.mark.parametrize("amount", ["1.005", "NaN", "Infinity"])
def test_only_whole_cents_are_split(amount):
    with pytest.raises(InvalidInput, match="amount"):
        split(Decimal(amount), [1])


def test_half_a_cent_is_rounded_away_from_zero():
    assert round_to(Decimal("0.125")) == Decimal("0.13")
    assert round_to(Decimal("-0.125")) == Decimal("-0.13")
    assert round_to(Decimal("1234.5"), Decimal(1)) == Decimal(1235)


def test_energy_costs_what_the_price_says():
    assert energy_cost(1_234_567, Decimal("0.3125")) == Decimal("385.8021875")
    assert round_to(energy_cost(75, Decimal("0.30"))) == Decimal("0.02")


def test_a_negative_total_is_refused():
    with pytest.raises(InvalidInput, match="negative"):
        split_integer(-1, [1])
