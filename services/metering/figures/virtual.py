"""Virtual meters: the sum of other meters, each added or taken away. Nothing is stored for them. Pure.

PV: use = import + generation - feed-in. A sum is known as well as the worst of its terms: it is covered no longer than
the least covered one, and estimated by as much as all estimated amounts together, whatever their sign. Where a term is
missing the sum is that of the others, and not covered: so that the quarter hours of a day add up to the day, whichever
of them something is missing in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from domain.errors import InvalidInput
from domain.intervals import Consumption, Flag
from services.metering.scale import added

FACTORS: Final = (1, -1)


def combined(terms: Sequence[tuple[int, Consumption]]) -> Consumption:
    """Sum of terms (factor +1 or -1, consumption of the same steps). It is missing where all terms are.

    Raises InvalidInput for no term, another factor or other steps, OutOfLimits for more than a column holds.
    """
    if not terms:
        raise InvalidInput.of("terms", "a sum of nothing is asked for")
    first = terms[0][1]
    for number, (factor, part) in enumerate(terms):
        if factor not in FACTORS:
            raise InvalidInput.of(f"terms[{number}].factor", f"{factor} is neither 1 nor -1")
        if not np.array_equal(part.starts_ms, first.starts_ms) or not np.array_equal(part.ends_ms, first.ends_ms):
            raise InvalidInput.of(f"terms[{number}]", "its steps are others than those of the first term")
    flags = [part.flag for _, part in terms]
    worst, best = np.maximum.reduce(flags), np.minimum.reduce(flags)
    partly = (worst == Flag.MISSING) & (best != Flag.MISSING)
    amount = added([factor * part.amount for factor, part in terms], first.starts_ms)
    estimated = added([np.abs(part.estimated_amount) for _, part in terms], first.starts_ms)
    measured = np.minimum.reduce([part.measured_ms for _, part in terms])
    flag = np.where(partly, np.uint8(Flag.ESTIMATED), worst)
    return Consumption(first.starts_ms, first.ends_ms, amount, estimated, measured, flag)
