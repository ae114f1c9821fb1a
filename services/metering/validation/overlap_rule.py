"""A rule about amounts of intervals that overlap: one of them, at least, counts something twice. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.metering.meter import Kind
from services.metering.reading import Int64, Mask
from services.metering.validation.series import RuleFinding, Series, Verdict, duration_text, limited, runs


def overlap(series: Series, parameters: Mapping[str, int]) -> Verdict:
    """Amounts that end sooner after the last good one than their interval is long: monthly amounts stored at quarter
    hours, a day's amount between two days.

    How long an interval is the meter says (its reading cycle); shorter than `shortest_permille` of its longest is an
    overlap, so that a February is a month. Without a cycle an interval begins where the one before ends, and overlaps
    with nothing. In doubt is the later one, which the amount before has counted in part.
    """
    nothing = Verdict.nothing(series)
    shortest = shortest_ms(series.interval_ms, parameters)
    if series.kind is not Kind.INTERVAL or not shortest or not bool((np.diff(series.slot_ms) < shortest).any()):
        return nothing
    rows, last = nothing.doubtful, int(series.slot_ms[0])
    for row, slot in enumerate(series.slot_ms.tolist()[1:], start=1):
        if slot - last < shortest:
            rows[row] = True
        else:
            last = slot
    found = []
    starts, ends = runs(rows)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        length, apart = duration_text(series.interval_ms), duration_text(int(np.diff(series.slot_ms)[start - 1]))
        detail = f"amounts of intervals of up to {length} end {apart} after one another"
        # From the amount that is overlapped on: whoever looks at that one is told, too.
        first, last = int(series.slot_ms[start - 1]), int(series.slot_ms[end - 1])
        found.append(RuleFinding("overlap", first, last, end - start, detail, True))
    return Verdict(limited(found), rows)


def shortest_ms(interval_ms: int, parameters: Mapping[str, int]) -> int:
    """How far apart amounts of such intervals are at least; 0 where nobody says how long they are."""
    return interval_ms * parameters["shortest_permille"] // 1000


def near(slot_ms: Int64, others_ms: Int64, shortest: int) -> Mask:
    """Mask of the slots that lie nearer than that to any of others, which are in order and none of them."""
    found = np.zeros(len(slot_ms), np.bool_)
    if not len(others_ms) or not shortest:
        return found
    place = np.searchsorted(others_ms, slot_ms)
    before, after = others_ms[np.maximum(place - 1, 0)], others_ms[np.minimum(place, len(others_ms) - 1)]
    found |= (place > 0) & (slot_ms - before < shortest)
    found |= (place < len(others_ms)) & (after - slot_ms < shortest)
    return found
