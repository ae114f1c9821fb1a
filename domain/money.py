"""Amounts of money as decimal numbers, and splitting them without losing a cent. Not: tariffs, shares and accounts."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Final

from domain.errors import InvalidInput

CENT: Final = Decimal("0.01")
PRECISION: Final = 38
"""Digits that intermediate results may have: enough for a century of a large town in hundredths of a cent."""


def round_to(amount: Decimal, quantum: Decimal = CENT) -> Decimal:
    """An amount in whole `quantum`s, halves rounded away from zero, as invoices do (DIN 1333)."""
    if not amount.is_finite():
        raise InvalidInput.of("amount", f"{amount} is not an amount of money")
    with localcontext(prec=PRECISION):
        return amount.quantize(quantum, rounding=ROUND_HALF_UP)


def energy_cost(energy_wh: int, price_per_kwh: Decimal) -> Decimal:
    """Cost of an energy at a price per kWh, not rounded: rounding is for the one who posts."""
    with localcontext(prec=PRECISION):
        return Decimal(energy_wh) * price_per_kwh / 1000


def split(amount: Decimal, weights: Sequence[int], quantum: Decimal = CENT) -> list[Decimal]:
    """Splits an amount by weights into whole quanta whose sum is the amount: the method of the largest remainder.

    Of equal remainders the earlier weight is served first. A negative amount is split as its positive mirror, so that
    a reversal undoes exactly what it reverses. Raises InvalidInput for an amount that is no whole number of quanta, and
    for weights that are negative or all zero.
    """
    if not amount.is_finite() or amount != round_to(amount, quantum):
        raise InvalidInput.of("amount", f"{amount} is not a whole number of {quantum}")
    with localcontext(prec=PRECISION):
        quanta = int(abs(amount) / quantum)
        sign = -1 if amount < 0 else 1
        return [sign * share * quantum for share in split_integer(quanta, weights)]


def split_integer(total: int, weights: Sequence[int]) -> list[int]:
    """Splits a non-negative integer by weights (Wh by lamps, cents by owners); the parts add up to it."""
    if total < 0:
        raise InvalidInput.of("total", f"{total} is negative")
    if not weights or min(weights) < 0 or sum(weights) == 0:
        raise InvalidInput.of("weights", "weights are not negative, and one at least is above zero")
    whole = sum(weights)
    shares = [total * weight // whole for weight in weights]
    remainders = [total * weight % whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-remainders[i], i))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares
