"""Numbers of 10^exponent of a unit in another scale, and quotients of large ones: exact, or refused. Pure.

Readings are bounded by 2^53, their amounts by 2^61 (domain/intervals.py); what a product makes of them may be more than
a column of 64 bits holds, and numpy would answer some other number without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from domain.errors import OutOfLimits
from services.metering.reading import VALUE_MAX, Int64
from services.metering.slot import slot_text

COLUMN_MAX: Final = 2**62
"""Two of what a column holds add up to what 64 bits still hold."""


def in_scale(amount: int, scale_exponent: int) -> int:
    """An amount in units as a number of 10^scale_exponent of them, rounded up: a limit stays one."""
    factor: int = 10 ** abs(scale_exponent)
    return amount * factor if scale_exponent <= 0 else -(-amount // factor)


def shifted(number: int, shift: int) -> tuple[int, int]:
    """A number times 10^shift: the whole of it, and what is left."""
    return (number * 10**shift, 0) if shift >= 0 else divmod(number, 10**-shift)


def fits(values: Int64, by: int) -> bool:
    """True if values times a positive number are within a column."""
    return not len(values) or max(abs(int(values.min())), abs(int(values.max()))) * by < COLUMN_MAX


def multiplied(values: Int64, by: int, slot_ms: Int64 | None = None) -> Int64:
    """Values times a positive number. Raises OutOfLimits for what no column holds; slots say where that stands."""
    if by == 1:
        return values
    if not fits(values, by):
        reason = f"{_worst(values, slot_ms)} times {by} is more than a column holds"
        raise OutOfLimits.of("scale_exponent", reason)
    product: Int64 = values * by
    return product


def saturated(values: Int64, shift: int) -> Int64:
    """Values times 10^shift, halves rounded up, and what is beyond every reading as the largest that there is: for
    those who look for what is too large."""
    if shift < 0:
        part = 10**-shift
        rounded: Int64 = (values + part // 2) // part
        return rounded
    by = 10**shift
    most = VALUE_MAX // by
    grown: Int64 = np.where(np.abs(values) > most, np.sign(values) * VALUE_MAX, np.clip(values, -most, most) * by)
    return grown


def rescaled(values: Int64, shift: int, slot_ms: Int64 | None = None) -> Int64:
    """Values times 10^shift, halves rounded up. Raises OutOfLimits for more than a reading holds."""
    if shift > 0 and len(values) and max(abs(int(values.min())), abs(int(values.max()))) * 10**shift > VALUE_MAX:
        reason = f"{_worst(values, slot_ms)} times 10^{shift} is more than a sensor shows"
        raise OutOfLimits.of("scale_exponent", reason)
    return saturated(values, shift)


def _worst(values: Int64, slot_ms: Int64 | None) -> str:
    """The largest of values, and where it stands."""
    row = int(np.argmax(np.abs(values)))
    return f"{int(values[row])}" if slot_ms is None else f"{int(values[row])} at {slot_text(int(slot_ms[row]))}"


def proportion(amounts: Int64, by: int, divisors: Int64, starts_ms: Int64 | None = None) -> Int64:
    """Amounts * by // divisors, exact. Amounts below 2^61, divisors positive, their product with `by` below 2^62.

    Raises OutOfLimits for a quotient that no column holds.
    """
    whole, rest = np.divmod(amounts, divisors)
    if not fits(whole, by):
        raise OutOfLimits.of("amounts", f"{_worst(amounts, starts_ms)} is more than a figure can be worked out of")
    found: Int64 = whole * by + rest * by // divisors
    return found


def check_total(values: Int64, slot_ms: Int64) -> None:
    """Raises OutOfLimits for values that no column holds together, and says where the largest stands."""
    # In float64: what is near the limit is over it.
    if float(np.abs(values.astype(np.float64)).sum()) > COLUMN_MAX:
        raise OutOfLimits.of("amounts", f"together they are more than can be counted; {_worst(values, slot_ms)}")


def added(columns: Sequence[Int64], starts_ms: Int64) -> Int64:
    """Sum of columns, element by element: at least one, of steps that begin then. Raises OutOfLimits for sums that no
    column holds."""
    sizes = np.sum([np.abs(one.astype(np.float64)) for one in columns], axis=0)
    if len(sizes) and float(sizes.max()) > COLUMN_MAX:
        since = slot_text(int(starts_ms[np.argmax(sizes)]))
        raise OutOfLimits.of("amounts", f"those of the step from {since} on are together more than can be counted")
    total: Int64 = np.sum(columns, axis=0, dtype=np.int64)
    return total
