"""A main meter and what is behind it; a sum register and its tariff registers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from domain.errors import InvalidInput
from services.metering.reading import Int64, Mask
from services.metering.validation.series import RuleFinding, limited, runs


@dataclass(frozen=True, slots=True)
class Sums:
    """Amounts of one whole and of its parts in the same steps. known: steps that every one of them covers."""

    starts_ms: Int64
    ends_ms: Int64
    whole: Int64
    parts: Sequence[Int64]
    known: Mask


def sum_check(sums: Sums, tolerance_permille: int, *, slack: int = 0) -> list[RuleFinding]:
    """Steps in which the parts differ from the whole by more than a tolerance in per mille of it.

    slack: what may differ besides, in the unit of the amounts: one count of each register, as each rounds on its own.
    Of tariff registers against the sum register the tolerance is 0. Steps that are not known are left out.
    """
    if any(len(part) != len(sums.whole) for part in sums.parts):
        raise InvalidInput.of("parts", "amounts of a whole and its parts are not of the same steps")
    together = np.sum(np.array([*sums.parts, np.zeros_like(sums.whole)]), axis=0)
    difference = sums.whole - together
    allowed = np.abs(sums.whole) * tolerance_permille // 1000 + slack
    found: list[RuleFinding] = []
    for sign, word in ((1, "less"), (-1, "more")):
        starts, ends = runs(sums.known & (sign * difference > allowed))
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            off, whole = int(np.abs(difference[start:end]).sum()), int(sums.whole[start:end].sum())
            share = f" ({off * 1000 // abs(whole) / 10:g} %)" if whole else ""
            detail = f"the parts together are {off}{share} {word} than the whole of {whole}"
            first, last = int(sums.starts_ms[start]), int(sums.ends_ms[end - 1])
            found.append(RuleFinding("sum_check", first, last, end - start, detail))
    return limited(found)
