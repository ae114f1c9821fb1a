"""Saving, money, emissions, uncertainty and shares follow from baseline and actual energy, to the cent and the Wh."""

import math
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from services.ledger.saving import Actual, figures, money, uncertainty_wh
from services.ledger.split import check_shares, money_text, split_amount
from services.ledger.terms import Method, Share
from tests.services.ledger.helpers import terms

energies = st.integers(0, 10**11)
amounts = st.integers(-(10**10), 10**10).map(lambda n: Decimal(n) / 100)


@st.composite
def shares(draw: st.DrawFn) -> list[int]:
    """Shares in per mille that add up to 1000."""
    cuts = sorted(draw(st.lists(st.integers(0, 1000), max_size=6)))
    return [b - a for a, b in zip([0, *cuts], [*cuts, 1000], strict=True)]


@given(amount=amounts, parts=shares())
def test_the_parts_add_up_and_are_within_a_cent_of_fair(amount: Decimal, parts: list[int]) -> None:
    split = split_amount(amount, parts)
    assert sum(split) == amount
    for part, share in zip(split, parts, strict=True):
        assert abs(part - amount * share / 1000) < Decimal("0.01")
    assert split_amount(-amount, parts) == [-part for part in split]


def test_the_cent_left_over_goes_to_the_largest_remainder_then_to_the_first() -> None:
    assert split_amount(Decimal("0.05"), [333, 333, 334]) == [Decimal("0.02"), Decimal("0.01"), Decimal("0.02")]
    assert split_amount(Decimal("0.01"), [500, 500]) == [Decimal("0.01"), Decimal("0")]


@pytest.mark.parametrize("parts", [[], [999], [500, 501], [1100, -100]])
def test_shares_that_do_not_add_up_are_refused(parts: list[int]) -> None:
    with pytest.raises(InvalidInput):
        check_shares(parts)


def test_half_a_cent_cannot_be_shared() -> None:
    with pytest.raises(InvalidInput, match="whole number"):
        split_amount(Decimal("0.005"), [1000])


@pytest.mark.parametrize(
    ("energy_wh", "price", "eur"),
    [
        (1_000, "0.2875", "0.29"),
        (100_000, "0.00005", "0.00"),  # half a cent goes to the even neighbour,
        (300_000, "0.00005", "0.02"),  # whichever side that is on
        (-300_000, "0.00005", "-0.02"),
        (0, "0.2875", "0.00"),
        (123_456_789_012, "0.287501", "35493950.30"),
    ],
)
def test_money_is_rounded_to_the_even_cent_when_it_is_posted(energy_wh: int, price: str, eur: str) -> None:
    assert money_text(money(energy_wh, Decimal(price))) == eur


def test_figures_of_a_night_by_hand() -> None:
    frozen = terms(Method.OPTION_B)
    found = figures(frozen, 6_000_000, 3_000_000, Actual(2_000_000, 100_000, 0, 996))
    assert (found.actual_wh, found.baseline_wh, found.saved_wh) == (2_000_000, 6_000_000, 4_000_000)
    assert found.saved_eur == Decimal("1150.00")
    assert found.avoided_co2_g == 4_000 * 363
    assert found.estimated_permille == 50
    assert found.shares == (("Bad Hersfeld", Decimal("805.00")), ("Contractor", Decimal("345.00")))
    by_hand = math.sqrt((6_000_000 * 0.05) ** 2 + (2_000_000 * 0.006) ** 2 + (100_000 * 0.577) ** 2)
    assert found.uncertainty_wh == math.ceil(by_hand)


@given(baseline=energies, counted=energies, estimated=energies, filled=energies, share=shares())
def test_figures_always_hang_together(
    baseline: int, counted: int, estimated: int, filled: int, share: list[int]
) -> None:
    frozen = terms(Method.OPTION_B, shares=tuple(Share(f"party {n}", part) for n, part in enumerate(share)))
    actual = Actual(counted, min(estimated, counted), filled, 1000)
    found = figures(frozen, baseline, 0, actual)
    assert found.saved_wh == found.baseline_wh - found.actual_wh
    assert sum(amount for _, amount in found.shares) == found.saved_eur
    assert abs(found.saved_eur - Decimal(found.saved_wh) * Decimal("0.2875") / 1000) <= Decimal("0.005")
    assert 0 <= found.estimated_permille <= 1000
    assert found.uncertainty_wh * 1000 >= baseline * 50


def test_levels_are_less_certain_than_meters_and_what_is_estimated_least() -> None:
    metered, stipulated = terms(Method.OPTION_B), terms(Method.OPTION_A)
    plain, doubtful = Actual(1_000_000, 0, 0, 1000), Actual(1_000_000, 500_000, 0, 1000)
    assert uncertainty_wh(metered, 0, plain) == 6_000
    assert uncertainty_wh(stipulated, 0, plain) == 50_000
    assert uncertainty_wh(metered, 0, doubtful) > 288_000
    assert uncertainty_wh(metered, 0, replace(plain, counted_wh=0, filled_wh=1_000_000)) == 577_000


def test_what_stands_in_counts_as_estimated() -> None:
    assert Actual(0, 0, 500, 0).estimated_permille == 1000
    assert Actual(0, 0, 0, 0).estimated_permille == 0
    assert Actual(999, 1, 0, 1000).estimated_permille == 2  # rounded up: what is estimated is never hidden
