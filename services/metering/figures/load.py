"""Figures of a load profile: mean and peak power, base load, full-load hours, load factor. Pure.

Power is a rate here: base units of the meter per hour, which is W for Wh and L/h for litres. It is the mean of a step:
what happens within a quarter hour nobody sees, and networks bill peaks as means of quarter hours too. Not here: how
readings become amounts (consumption.py).

Definitions:
- load factor: mean rate by peak rate; full-load hours: amount by peak rate (IEC 60050-691, tariffs for electricity).
- base load: the rate that nineteen of twenty steps reach, one that really occurred. A percentile and not the least, as
  in "near-base load" of P. N. Price, Methods for Analyzing Electric Load Shape and its Variability (LBNL-3713E, 2010),
  who takes the 2.5th of a day; the 5th bears a power cut of an hour a day without calling it the base.
- night base load: median of the steps between 01:00 and 04:00 on the local clock, when a building that rests, rests.
  It is ours: lights out, and ventilation and cleaning not yet on.

Steps that timely readings do not cover from end to end take no part in peak and base: a straight line across a gap has
neither. The load factor compares what is known: mean and peak of the same covered steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from domain.errors import InvalidInput
from domain.intervals import Consumption, Flag
from domain.night import local_date, local_instant
from services.metering.reading import Int64, Mask
from services.metering.scale import proportion
from services.metering.slot import HOUR_MS, from_ms, to_ms

NOT_REACHING: Final = 20
"""Of so many steps one need not reach the base load."""
MOST_PER_H: Final = 10**10
"""Base units per hour: 10 GW, or what a large river carries. No meter of a town shows more."""
NIGHT_FROM: Final = time(1)
NIGHT_UNTIL: Final = time(4)


@dataclass(frozen=True, slots=True)
class LoadFigures:
    """Figures of one meter over one period. Rates in base units per hour; None where no step is covered.

    coverage_permille: share of the period that timely readings cover. estimated_amount: the part of the amount whose
    place in time is estimated. full_load_hours_centi: hundredths of an hour.
    """

    start_ms: int
    end_ms: int
    amount: int
    estimated_amount: int
    coverage_permille: int
    steps: int
    covered_steps: int
    mean_rate: int | None = None
    peak_rate: int | None = None
    peak_start_ms: int | None = None
    peak_end_ms: int | None = None
    base_rate: int | None = None
    night_base_rate: int | None = None
    full_load_hours_centi: int | None = None
    load_factor_permille: int | None = None


def rates(steps: Consumption) -> Int64:
    """Mean rate of each step in base units per hour, rounded down."""
    found: Int64 = proportion(steps.amount, HOUR_MS, steps.ends_ms - steps.starts_ms, steps.starts_ms)
    return found


def believable(steps: Consumption) -> Consumption:
    """Steps without those of which the mean rate is beyond `MOST_PER_H`: of these nothing is known. For those who
    compare many steps: one wrong reading must not decide what is usual, nor be more than can be multiplied."""
    odd = np.abs(rates(steps)) > MOST_PER_H
    if not bool(odd.any()):
        return steps
    amount, estimated, measured = (
        np.where(odd, 0, column) for column in (steps.amount, steps.estimated_amount, steps.measured_ms)
    )
    flag = np.where(odd, np.uint8(Flag.MISSING), steps.flag)
    return Consumption(steps.starts_ms, steps.ends_ms, amount, estimated, measured, flag)


def covered(steps: Consumption) -> Mask:
    """Mask of the steps that timely readings cover from end to end."""
    whole: Mask = np.equal(steps.measured_ms, steps.ends_ms - steps.starts_ms)
    return whole


def load_figures(steps: Consumption, tz: ZoneInfo) -> LoadFigures:
    """Figures of steps that follow one another, each an hour long or less. Raises InvalidInput for longer ones."""
    lengths = steps.ends_ms - steps.starts_ms
    if not len(lengths):
        raise InvalidInput.of("steps", "a period without a step has no load")
    if int(lengths.max()) > HOUR_MS:
        raise InvalidInput.of("step", "the steps of a load profile are an hour long at most")
    known = covered(steps)
    start_ms, end_ms = int(steps.starts_ms[0]), int(steps.ends_ms[-1])
    whole = LoadFigures(
        start_ms=start_ms,
        end_ms=end_ms,
        amount=int(steps.amount.sum()),
        estimated_amount=int(steps.estimated_amount.sum()),
        coverage_permille=int(steps.measured_ms.sum()) * 1000 // (end_ms - start_ms),
        steps=len(lengths),
        covered_steps=int(known.sum()),
    )
    return _with_rates(whole, steps, known, tz) if known.any() else whole


def _with_rates(whole: LoadFigures, steps: Consumption, known: Mask, tz: ZoneInfo) -> LoadFigures:
    rate = rates(steps)
    at = int(np.argmax(np.where(known, rate, np.iinfo(np.int64).min)))
    peak = int(rate[at])
    amount, length = int(steps.amount[known].sum()), int(steps.measured_ms[known].sum())
    mean = amount * HOUR_MS // length
    night = rate[known & in_night(steps.starts_ms, steps.ends_ms, tz)]
    return LoadFigures(
        whole.start_ms,
        whole.end_ms,
        whole.amount,
        whole.estimated_amount,
        whole.coverage_permille,
        whole.steps,
        whole.covered_steps,
        mean_rate=mean,
        peak_rate=peak,
        peak_start_ms=int(steps.starts_ms[at]),
        peak_end_ms=int(steps.ends_ms[at]),
        base_rate=int(np.sort(rate[known])[int(known.sum()) // NOT_REACHING]),
        night_base_rate=median(night),
        full_load_hours_centi=whole.amount * 100 // peak if peak > 0 else None,
        load_factor_permille=mean * 1000 // peak if peak > 0 else None,
    )


def median(values: Int64) -> int | None:
    """The middle value, of two the lower: one that occurred. None of nothing."""
    return int(np.percentile(values, 50, method="lower")) if len(values) else None


def in_night(starts_ms: Int64, ends_ms: Int64, tz: ZoneInfo) -> Mask:
    """Mask of the steps that lie between 01:00 and 04:00 on the local clock, whole."""
    begins, ends = night_windows(int(starts_ms.min()), int(ends_ms.max()), tz)[1:]
    place = np.searchsorted(begins, starts_ms, side="right") - 1
    inside: Mask = (place >= 0) & (ends_ms <= ends[np.maximum(place, 0)])
    return inside


def night_windows(start_ms: int, end_ms: int, tz: ZoneInfo) -> tuple[list[date], Int64, Int64]:
    """The local days that a period touches, with begin and end of each one's window of the night, Unix ms.

    In the night of the change to summer time the window is two hours long, in that of the change back four.
    """
    first, last = (local_date(from_ms(at), tz).toordinal() for at in (start_ms, end_ms))
    days = [date.fromordinal(number) for number in range(first, last + 1)]
    begins = np.array([to_ms(local_instant(day, NIGHT_FROM, tz)) for day in days], np.int64)
    ends = np.array([to_ms(local_instant(day, NIGHT_UNTIL, tz)) for day in days], np.int64)
    return days, begins, ends
