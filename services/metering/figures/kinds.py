"""Amounts of meters that have no counter: intervals, and stocks with deliveries. Pure.

An interval's value stands at the slot that it ends at, and its length is the meter's reading cycle. Days, months and
years are those of the local calendar, ending at the wall-clock time of their slot. Not here: counters (consumption.py),
sums of meters (virtual.py), and sensors, which have values and no amounts (values.py).
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from domain.intervals import Consumption, Curve, Intervals
from domain.night import local_instant
from services.metering.cycle import BILLED, length_ms, may_last
from services.metering.figures.consumption import (
    Step,
    factor,
    finest_exponent,
    reading_interval_ms,
    usable,
)
from services.metering.figures.stock import StockFinding, stock_use
from services.metering.life import RegisterLife
from services.metering.meter import Cycle
from services.metering.reading import Int64, Mask, Readings, Status
from services.metering.scale import multiplied
from services.metering.slot import DAY_MS, SLOT_MS, to_ms

TREMBLE: Final = 100
"""A gauge may show more by a hundredth of the greatest stock without a delivery: floats tremble, oil grows warm."""
BESIDE_MS: Final = DAY_MS // 2
"""A bill that ends so little beside a boundary is not cut by it: months of files in winter time end at 01:00 in summer,
those of gas at 06:00."""
_CALENDAR: Final = (Cycle.DAY, Cycle.MONTH, Cycle.YEAR)


def begins_of(ends_ms: Int64, cycle: int, tz: ZoneInfo) -> Int64:
    """Begins of the intervals of a cycle that end at these instants, in order. Months and years begin where the one
    before ends, if that is about a month or year ago: bills are no calendar months. Without a cycle of fixed or
    calendar length an interval begins where the one before ends, and the first has none: it begins a quarter hour
    before its end."""
    if cycle in _CALENDAR:
        begins = np.fromiter((_before(end, Cycle(cycle), tz) for end in ends_ms.tolist()), np.int64, len(ends_ms))
        if cycle in BILLED:
            billed = np.fromiter((may_last(cycle, span) for span in np.diff(ends_ms).tolist()), np.bool_)
            begins[1:][billed] = ends_ms[:-1][billed]
        return begins
    if cycle in (Cycle.UNSPECIFIED, Cycle.IRREGULAR):
        shortest = SLOT_MS
        begins = np.empty_like(ends_ms)
        begins[:1], begins[1:] = ends_ms[:1] - shortest, ends_ms[:-1]
        return begins if cycle == Cycle.IRREGULAR else np.maximum(begins, ends_ms - shortest)
    return ends_ms - length_ms(cycle)


def _before(end_ms: int, cycle: Cycle, tz: ZoneInfo) -> int:
    if cycle is not Cycle.DAY:
        return months_from(end_ms, -12 if cycle is Cycle.YEAR else -1, tz)
    local = datetime.fromtimestamp(end_ms / 1000, UTC).astimezone(tz)
    return to_ms(local_instant(local.date() - timedelta(days=1), local.time(), tz))


def months_from(at_ms: int, months: int, tz: ZoneInfo) -> int:
    """The instant (Unix ms) so many local months later, at the same local time; of a shorter month on its last day."""
    local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(tz)
    year, month = divmod(local.year * 12 + local.month - 1 + months, 12)
    day = date(year, month + 1, min(local.day, monthrange(year, month + 1)[1]))
    return to_ms(local_instant(day, local.time(), tz))


def interval_amounts(
    lives: Sequence[RegisterLife], readings: Readings, bounds_ms: Int64, step: Step, cycle: int, tz: ZoneInfo
) -> Consumption:
    """Consumption of a meter of intervals between boundaries. Intervals longer than the steps are spread evenly over
    them and count as estimated: an hour tells nothing about its quarters. So do bills that a boundary cuts: what of one
    lies in which month nobody measured.

    readings: current revisions in order of register and slot, with those of the intervals that the period cuts.
    """
    good, finest = _together(usable(readings), lives)
    longest = reading_interval_ms(
        good.slot_ms, step, is_polled=False, cycle=cycle, period_ms=int(bounds_ms[-1] - bounds_ms[0])
    )
    ends = good.slot_ms
    begins = begins_of(ends, cycle, tz)
    # Where a meter's cycle has become another one, no interval begins before the one before it ends.
    begins[1:] = np.maximum(begins[1:], ends[:-1])
    spread = (good.status == Status.ESTIMATED) | (ends - begins > longest * 3 // 2)
    if cycle in BILLED:
        spread |= _is_cut(begins, ends, bounds_ms)
    series = Intervals(begins, ends, good.value, spread)
    return Curve(intervals=[series], per_unit=10**-finest).consumption(bounds_ms)


def _is_cut(begins_ms: Int64, ends_ms: Int64, bounds_ms: Int64) -> Mask:
    """Mask of the intervals inside of which a boundary lies, not just some hours beside their begin or end."""
    inside = np.searchsorted(bounds_ms, ends_ms - BESIDE_MS, "left")
    return np.asarray(np.searchsorted(bounds_ms, begins_ms + BESIDE_MS, "right") < inside, np.bool_)


def _together(good: Readings, lives: Sequence[RegisterLife], exponent: int = 0) -> tuple[Readings, int]:
    """Readings of all registers by slot, in the finest scale, and that scale. An exchange ends no series of amounts and
    empties no store. What was stored for a register after its exchange is left out beforehand."""
    finest = min(finest_exponent(lives), exponent)
    parts: list[Readings] = []
    for life in lives:
        mine = good.take(good.register == life.key)
        mine.value = multiplied(mine.value, factor(life, finest), mine.slot_ms)
        parts.append(mine)
    whole = Readings.concatenate(parts)
    return whole.take(np.argsort(whole.slot_ms, kind="stable")), finest


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store used between boundaries, and where its stocks and deliveries do not add up, in base units."""

    used: Consumption
    findings: list[StockFinding]


def stock_amounts(
    lives: Sequence[RegisterLife],
    readings: Readings,
    deliveries: Sequence[tuple[int, int]],
    bounds_ms: Int64,
    step: Step,
    *,
    cycle: int,
    scale_exponent: int,
) -> Stored:
    """Use of a store between boundaries. deliveries: all of the meter that hold, instant (Unix ms) and amount in the
    meter's scale. A gauge that is exchanged goes on with the same store."""
    good, finest = _together(usable(readings), lives, scale_exponent)
    interval = reading_interval_ms(
        good.slot_ms, step, is_polled=False, cycle=cycle, period_ms=int(bounds_ms[-1] - bounds_ms[0])
    )
    at, amounts = (np.array([pair[place] for pair in deliveries], np.int64) for place in (0, 1))
    found = stock_use(
        good.slot_ms,
        good.value,
        at,
        multiplied(amounts, 10 ** (scale_exponent - finest), at),
        reading_interval_ms=interval,
        noise=int(good.value.max(initial=0)) // TREMBLE,
        per_unit=10**-finest,
        estimated_ms=good.slot_ms[good.status == Status.ESTIMATED],
    )
    return Stored(found.curve.consumption(bounds_ms), found.findings)
