"""Sum check of a tree of meters: what the main meter counted against the sum of its sub-meters, step by step. Pure.

A step that is not covered from end to end on all sides is unknown: a missing sub-meter is no loss. What is found is a
difference; whether it is a loss in cables, a meter that is not in the tree or a wrong transformer ratio, people find.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from domain.errors import InvalidInput
from domain.intervals import Consumption
from services.metering.figures.load import covered
from services.metering.figures.virtual import combined
from services.metering.reading import Int64


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

    permille: the difference by the main's amount, rounded toward zero; 0 where the main counted nothing.
    coverage_permille: the least of all sides. verdict: `Verdict` as uint8.
    """

    starts_ms: Int64
    ends_ms: Int64
    main: Int64
    subs: Int64
    difference: Int64
    permille: Int64
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
    total: Int64 = np.add.reduce([sub.amount for sub in subs])
    difference = main.amount - total
    known = np.logical_and.reduce([covered(part) for part in (main, *subs)])
    # In parts of a thousand of the amount, so that nothing is rounded before it is compared.
    excess = (np.abs(difference) - (len(subs) + 1)) * 1000
    beyond = excess > tolerance_permille * np.abs(main.amount)
    verdict = np.full(difference.shape, Verdict.WITHIN, np.uint8)
    verdict[beyond & (difference > 0)] = Verdict.LOSS
    verdict[beyond & (difference < 0)] = Verdict.SURPLUS
    verdict[~known] = Verdict.UNKNOWN
    divisor = np.maximum(np.abs(main.amount), 1)
    permille = np.where(main.amount == 0, 0, np.sign(difference) * (np.abs(difference) * 1000 // divisor))
    return SumCheck(
        whole.starts_ms,
        whole.ends_ms,
        main.amount,
        total,
        difference,
        permille.astype(np.int64),
        whole.coverage_permille(),
        whole.estimated_amount,
        verdict,
    )
