"""Virtual meters: the sum of other meters, each added or taken away. Nothing is stored for them. Pure.

PV: use = import + generation - feed-in. A sum is known as well as the worst of its terms: it is covered no longer than
the least covered one, and estimated by as much as all estimated amounts together, whatever their sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from domain.errors import InvalidInput
from domain.intervals import Consumption, Flag

FACTORS: Final = (1, -1)


def combined(terms: Sequence[tuple[int, Consumption]]) -> Consumption:
    """Sum of terms (factor +1 or -1, consumption of the same steps). Where one term is missing, so is the sum.

    Raises InvalidInput for no term, another factor or other steps.
    """
    if not terms:
        raise InvalidInput.of("terms", "a sum of nothing is asked for")
    first = terms[0][1]
    for number, (factor, part) in enumerate(terms):
        if factor not in FACTORS:
            raise InvalidInput.of(f"terms[{number}].factor", f"{factor} is neither 1 nor -1")
        if not np.array_equal(part.starts_ms, first.starts_ms) or not np.array_equal(part.ends_ms, first.ends_ms):
            raise InvalidInput.of(f"terms[{number}]", "its steps are others than those of the first term")
    flag = np.maximum.reduce([part.flag for _, part in terms])
    missing = flag == Flag.MISSING
    amount = sum((factor * part.amount for factor, part in terms), start=np.zeros_like(first.amount))
    estimated = sum((np.abs(part.estimated_amount) for _, part in terms), start=np.zeros_like(first.amount))
    measured = np.minimum.reduce([part.measured_ms for _, part in terms])
    return Consumption(
        first.starts_ms,
        first.ends_ms,
        np.where(missing, 0, amount),
        np.where(missing, 0, estimated),
        measured,
        flag,
    )
