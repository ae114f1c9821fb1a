"""From baseline and actual energy to the figures of an entry: saving, money, emissions, uncertainty, shares. Pure.

Integers and decimals only. Money and emissions are rounded once, half to even, when they are posted.
"""

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from domain.money import CENT
from services.ledger.baseline import round_half_even
from services.ledger.split import split_amount
from services.ledger.terms import Method, Terms

_PERMILLE: Final = 1000


@dataclass(frozen=True, slots=True)
class Actual:
    """Energy used in a period, in Wh.

    counted_wh: what meters counted or levels gave. estimated_wh: the part of it whose place in time is estimated, or
    whose model has no known curve. filled_wh: stands in for time that nothing is known of, with the baseline's use, so
    that no saving is claimed for it. coverage_permille: share of the period with measured values.
    """

    counted_wh: int
    estimated_wh: int
    filled_wh: int
    coverage_permille: int

    @property
    def total_wh(self) -> int:
        """All energy of the period."""
        return self.counted_wh + self.filled_wh

    @property
    def estimated_permille(self) -> int:
        """Share of the energy that is estimated or stands in, rounded up."""
        doubtful = self.estimated_wh + self.filled_wh
        if self.total_wh <= 0:
            return _PERMILLE if doubtful > 0 else 0
        return min(_PERMILLE, math.ceil(Fraction(_PERMILLE * doubtful, self.total_wh)))


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a saving, as an entry holds them."""

    actual_wh: int
    baseline_wh: int
    saved_wh: int
    full_level_reference_wh: int
    saved_eur: Decimal
    avoided_co2_g: int
    uncertainty_wh: int
    coverage_permille: int
    estimated_permille: int
    shares: tuple[tuple[str, Decimal], ...]


def figures(terms: Terms, baseline_wh: int, full_level_reference_wh: int, actual: Actual) -> Figures:
    """The figures of a period. `full_level_reference_wh` is 0 for buildings."""
    saved_wh = baseline_wh - actual.total_wh
    saved_eur = money(saved_wh, terms.factors.price_eur_per_kwh)
    parts = split_amount(saved_eur, [share.share_permille for share in terms.shares])
    return Figures(
        actual_wh=actual.total_wh,
        baseline_wh=baseline_wh,
        saved_wh=saved_wh,
        full_level_reference_wh=full_level_reference_wh,
        saved_eur=saved_eur,
        avoided_co2_g=round_half_even(saved_wh * terms.factors.co2_g_per_kwh, 1000),
        uncertainty_wh=uncertainty_wh(terms, baseline_wh, actual),
        coverage_permille=actual.coverage_permille,
        estimated_permille=actual.estimated_permille,
        shares=tuple((share.party, part) for share, part in zip(terms.shares, parts, strict=True)),
    )


def money(energy_wh: int, price_eur_per_kwh: Decimal) -> Decimal:
    """Energy (Wh) times price (EUR per kWh) in EUR, rounded half to even at the cent."""
    exact = Fraction(energy_wh, 1000) * Fraction(price_eur_per_kwh)
    cents = round_half_even(exact * 100)
    return cents * CENT


def uncertainty_wh(terms: Terms, baseline_wh: int, actual: Actual) -> int:
    """Standard uncertainty (68 % confidence) of the saving in Wh, rounded up.

    The uncertainties of baseline, measurement and estimate are independent of each other and combine in quadrature
    (GUM, JCGM 100:2008, 5.1.2). Within each, luminaires, meters and hours are taken as wholly dependent, the careful
    side: a stated watt that is too high is too high on every pole and every night.
    """
    rules = terms.rules
    measured_permille = rules.stipulated_permille if terms.method is Method.OPTION_A else rules.metering_permille
    parts = (
        baseline_wh * terms.baseline.uncertainty_permille,
        actual.counted_wh * measured_permille,
        (actual.estimated_wh + actual.filled_wh) * rules.estimated_permille,
    )
    return -(-_root_up(sum(part * part for part in parts)) // _PERMILLE)


def _root_up(square: int) -> int:
    """Square root of an integer, rounded up."""
    root = math.isqrt(square)
    return root if root * root == square else root + 1
