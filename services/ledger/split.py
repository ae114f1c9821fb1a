"""Who gets which part of the money saved, and how the book writes money. Pure; the arithmetic is domain.money's."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from domain.errors import InvalidInput
from domain.money import CENT, split

WHOLE_PERMILLE: Final = 1000


def split_amount(amount_eur: Decimal, shares_permille: Sequence[int]) -> list[Decimal]:
    """Parts of an amount of whole cents, in the order of the shares, that add up to it exactly.

    Method of the largest remainder (Hare-Niemeyer); what is lost is shared like what is won. Raises InvalidInput if the
    shares do not add up to 1000 or the amount is no whole number of cents.
    """
    check_shares(shares_permille)
    return split(amount_eur, shares_permille, CENT)


def check_shares(shares_permille: Sequence[int], field: str = "shares") -> None:
    """Raises InvalidInput that blames `field` unless the shares are in 0..1000 and add up to 1000."""
    if any(not 0 <= share <= WHOLE_PERMILLE for share in shares_permille):
        raise InvalidInput.of(field, "a share is not between 0 and 1000 per mille")
    if sum(shares_permille) != WHOLE_PERMILLE:
        raise InvalidInput.of(field, f"the shares add up to {sum(shares_permille)} per mille, not to 1000")


def money_text(amount_eur: Decimal) -> str:
    """An amount as the book writes it: two decimals, no exponent, no negative zero."""
    return f"{amount_eur:.2f}" if amount_eur else "0.00"
