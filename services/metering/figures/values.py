"""Values of sensors and stocks by steps: mean over time, least, greatest, and how much of a step they cover. Pure.

A value holds from its slot until the next one, and no longer than one and a half of the interval at which the sensor
is read: what came after a sensor fell silent nobody knows. The mean is over time, so that a sensor which reports more
often at noon does not make the day warmer. Values stay in the meter's scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.metering.figures.consumption import Step, reading_interval_ms, usable
from services.metering.life import RegisterLife
from services.metering.reading import Int64, Mask, Readings, Status
from services.metering.scale import rescaled

_HALF_BITS: Final = 26


@dataclass(frozen=True, slots=True)
class StepValues:
    """Values of one meter in columns, a row per step.

    held_ms: how much of the step timely values cover; where it is 0 nothing is known. estimated_ms: part of it that
    estimated values cover. Means are rounded half up.
    """

    starts_ms: Int64
    ends_ms: Int64
    mean: Int64
    least: Int64
    greatest: Int64
    held_ms: Int64
    estimated_ms: Int64

    @property
    def known(self) -> Mask:
        """Mask of the steps of which anything is known."""
        found: Mask = self.held_ms > 0
        return found

    def coverage_permille(self) -> Int64:
        """Share of each step that timely values cover, in per mille, rounded down."""
        covered: Int64 = self.held_ms * 1000 // (self.ends_ms - self.starts_ms)
        return covered

    def estimated_permille(self) -> Int64:
        """Share of what is covered that estimated values cover, in per mille."""
        share: Int64 = self.estimated_ms * 1000 // np.maximum(self.held_ms, 1)
        return share


def values_by_step(
    lives: Sequence[RegisterLife],
    readings: Readings,
    bounds_ms: Int64,
    step: Step,
    *,
    is_polled: bool,
    cycle: int,
    exponent: int,
) -> StepValues:
    """Values between boundaries, in units of 10^exponent.

    readings: current revisions, with the last one before the period. Values of a life in a coarser scale are brought to
    the meter's, those in a finer one are rounded half up.
    """
    good = usable(readings)
    good = good.take(np.argsort(good.slot_ms, kind="stable"))
    values = good.value.copy()
    for life in lives:
        mine = good.register == life.key
        values[mine] = rescaled(good.value[mine], life.scale_exponent - exponent, good.slot_ms[mine])
    interval = reading_interval_ms(
        good.slot_ms, step, is_polled=is_polled, cycle=cycle, period_ms=int(bounds_ms[-1] - bounds_ms[0])
    )
    begins = good.slot_ms
    ends = np.minimum(begins + interval * 3 // 2, np.r_[begins[1:], np.int64(2**62)]) if len(begins) else begins
    return _by_step(begins, ends, values, good.status == Status.ESTIMATED, bounds_ms)


def _by_step(begins: Int64, ends: Int64, values: Int64, estimated: Mask, bounds_ms: Int64) -> StepValues:
    """Cuts spans with values at the boundaries and sums up what lies in each step."""
    starts, stops = bounds_ms[:-1], bounds_ms[1:]
    count = len(starts)
    # Steps that a span touches: from the one its begin lies in to the one its end lies in.
    first = np.maximum(np.searchsorted(bounds_ms, begins, side="right") - 1, 0)
    last = np.minimum(np.searchsorted(bounds_ms, ends, side="left") - 1, count - 1)
    pieces = np.maximum(last - first + 1, 0)
    span = np.repeat(np.arange(len(begins)), pieces)
    place = np.arange(int(pieces.sum())) - np.repeat(np.cumsum(pieces) - pieces, pieces) + first[span]
    length = np.minimum(ends[span], stops[place]) - np.maximum(begins[span], starts[place])
    touching = length > 0
    span, place, length = span[touching], place[touching], length[touching]
    held, guessed = np.zeros(count, np.int64), np.zeros(count, np.int64)
    np.add.at(held, place, length)
    np.add.at(guessed, place, np.where(estimated[span], length, 0))
    least, greatest = np.full(count, np.iinfo(np.int64).max), np.full(count, np.iinfo(np.int64).min)
    np.minimum.at(least, place, values[span])
    np.maximum.at(greatest, place, values[span])
    floor = np.where(held > 0, least, 0)
    mean = floor + _mean(values[span] - floor[place], length // 1000, place, count)
    return StepValues(starts, stops, np.where(held > 0, mean, 0), floor, np.where(held > 0, greatest, 0), held, guessed)


def _mean(distances: Int64, seconds: Int64, place: Int64, count: int) -> Int64:
    """Means over time by step, halves rounded up. Distances from the least value of the step, so that halves round up
    below zero too; at most 2^54, over at most 2^32 s (a century): as high and low halves, whose sums stay exact."""
    high, low, lasted = (np.zeros(count, np.int64) for _ in range(3))
    np.add.at(high, place, (distances >> _HALF_BITS) * seconds)
    np.add.at(low, place, (distances & (2**_HALF_BITS - 1)) * seconds)
    np.add.at(lasted, place, seconds)
    divisor = np.maximum(lasted, 1)
    whole, rest = np.divmod(high, divisor)
    mean: Int64 = (whole << _HALF_BITS) + (2 * ((rest << _HALF_BITS) + low) + divisor) // (2 * divisor)
    return mean
