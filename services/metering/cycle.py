"""How long the reading cycles of meters are, and at which interval readings mostly come. Pure.

Two lengths, since days, months and years have several: the *length* is what a figure is told by (a reading a day apart
tells a day), the *longest* is how far apart two readings lie at most where none is missing (the day on which clocks go
back). Which cycle means what: meter.py.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from services.metering.meter import Cycle
from services.metering.reading import Int64
from services.metering.slot import DAY_MS, HOUR_MS, SLOT_MS

MONTH_MS: Final = 31 * DAY_MS
YEAR_MS: Final = 366 * DAY_MS
FIXED: Final = (Cycle.QUARTER_HOUR, Cycle.HALF_HOUR, Cycle.HOUR)
"""Cycles that are equally long whenever they are; those of the local calendar are not."""
BILLED: Final = (Cycle.MONTH, Cycle.YEAR)
"""Cycles whose intervals may be longer and shorter than the calendar's."""
SHORTEST_PERMILLE: Final = 800
LONGEST_PERMILLE: Final = 1250
"""Of a cycle's length: months of 25 to 38 days, years of 293 to 457. The real bills of a household in Illinois
(eemeter's samples) are 26 to 33 days long."""
_LENGTH_MS: Final = {
    Cycle.QUARTER_HOUR: SLOT_MS,
    Cycle.HALF_HOUR: 2 * SLOT_MS,
    Cycle.HOUR: HOUR_MS,
    Cycle.DAY: DAY_MS,
    Cycle.MONTH: MONTH_MS,
    Cycle.YEAR: YEAR_MS,
}
_AUTUMN_MS: Final = {Cycle.DAY: HOUR_MS, Cycle.MONTH: HOUR_MS}
"""By how much the hour that autumn repeats lengthens a cycle; a year has the one that spring skips, too."""


def length_ms(cycle: int) -> int:
    """How far apart the readings of a meter are that is read so often, changes of the clocks aside; 0 where nobody
    said, or read irregularly."""
    return _LENGTH_MS.get(Cycle(cycle), 0)


def longest_ms(cycle: int) -> int:
    """Longest distance of two readings that follow one another as they should; 0 as of `length_ms`."""
    return length_ms(cycle) + _AUTUMN_MS.get(Cycle(cycle), 0)


def may_last(cycle: int, span_ms: int) -> bool:
    """Whether an interval of a cycle may be so long: months and years of bills run from one reading of the meter to the
    next, some days beside a calendar month. Two months are none, nor is the part of one."""
    length = length_ms(cycle) if cycle in BILLED else 0
    return length * SHORTEST_PERMILLE <= span_ms * 1000 <= length * LONGEST_PERMILLE and length > 0


def usual_interval_ms(slot_ms: Int64) -> int:
    """How far apart readings, in order, mostly are; 0 where fewer than three tell nothing."""
    if len(slot_ms) < 3:
        return 0
    lengths, counts = np.unique(np.diff(slot_ms), return_counts=True)
    return int(lengths[int(np.argmax(counts))])
