"""Sum check of a tree of meters: what the main meter counted against the sum of its sub-meters, step by step. Pure.

A step that is not covered from end to end on all sides is unknown: a missing sub-meter is no loss. What is found is a
difference; whether it is a loss in cables, a meter that is not in the tree or a wrong transformer ratio, people find.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from domain.errors import InvalidInput
from domain.intervals import Consumption, Flag
from services.metering.figures.load import covered
from services.metering.figures.virtual import combined
from services.metering.reading import Int64
from services.metering.scale import added, fits


class Verdict(IntEnum):
    """What a step says. The numbers are those of the contract."""

    WITHIN = 1
    """The difference is within the tolerance."""
    LOSS = 2
    """The main meter counted more: losses, or something that no sub-meter counts."""
    SURPLUS = 3
    """The sub-meters counted more than their main meter, which no loss explains: a meter or a ratio is wrong."""
    UNKNOWN = 4
    """Not every side is covered: nothing can be said."""


@dataclass(frozen=True, slots=True)
class SumCheck:
    """Sum check in columns, a row per step. Amounts in base units; difference = main - subs.

    coverage_permille: the least of all sides. estimated_amount: of all sides added up. verdict: `Verdict` as uint8.
    """

    starts_ms: Int64
    ends_ms: Int64
    main: Int64
    subs: Int64
    difference: Int64
    coverage_permille: Int64
    estimated_amount: Int64
    verdict: NDArray[np.uint8]


def check_sum(main: Consumption, subs: Sequence[Consumption], tolerance_permille: int) -> SumCheck:
    """Compares a main meter with the sum of its sub-meters over the same steps.

    The tolerance is a share of the main's amount; beside it each meter may be off by one base unit, since the amount of
    a step is cut to whole ones. Raises InvalidInput for no sub-meter, other steps or a tolerance out of 0..1000.
    """
    if not subs:
        raise InvalidInput.of("meter", "no meter names it as its parent: there is nothing to compare with")
    if not 0 <= tolerance_permille <= 1000:
        raise InvalidInput.of("loss_tolerance_permille", f"{tolerance_permille} is not within 0 and 1000")
    whole = combined([(1, main), *((-1, sub) for sub in subs)])
    total = added([sub.amount for sub in subs], main.starts_ms)
    difference = added([main.amount, -total], main.starts_ms)
    known = np.logical_and.reduce([covered(part) for part in (main, *subs)])
    # In parts of a thousand of the amount, so that nothing is rounded before it is compared.
    excess = _thousandfold(np.abs(difference) - (len(subs) + 1), 1000)
    beyond = excess > _thousandfold(np.abs(main.amount), tolerance_permille)
    verdict = np.full(difference.shape, Verdict.WITHIN, np.uint8)
    verdict[beyond & (difference > 0)] = Verdict.LOSS
    verdict[beyond & (difference < 0)] = Verdict.SURPLUS
    verdict[~known] = Verdict.UNKNOWN
    return SumCheck(
        whole.starts_ms,
        whole.ends_ms,
        main.amount,
        total,
        difference,
        whole.coverage_permille(),
        whole.estimated_amount,
        verdict,
    )


def taken_down(part: Consumption, removed_ms: int) -> Consumption:
    """Consumption of a sub-meter that hangs there no more since an instant (Unix ms): what follows is known, nothing.
    What is used behind it since, if anything is, the main meter counts without it."""
    after = part.starts_ms >= removed_ms
    length = part.ends_ms - part.starts_ms
    since = np.clip(part.ends_ms - np.maximum(part.starts_ms, removed_ms), 0, None)
    measured = np.where(after, length, np.minimum(part.measured_ms + since, length))
    estimated = np.where(after, 0, part.estimated_amount)
    whole = (since > 0) & (measured == length) & (estimated == 0)
    return replace(
        part,
        amount=np.where(after, 0, part.amount),
        estimated_amount=estimated,
        measured_ms=measured,
        flag=np.where(whole, np.uint8(Flag.MEASURED), part.flag),
    )


def _thousandfold(amounts: Int64, by: int) -> NDArray[np.float64] | Int64:
    """Amounts times a number up to 1000, to be compared: in float64 where a column does not hold them, since the
    sixteenth digit of such numbers is nobody's loss."""
    if fits(amounts, by):
        return amounts * by
    return amounts.astype(np.float64) * by
