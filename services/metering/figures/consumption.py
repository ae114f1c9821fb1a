"""What meters used: from stored readings to steps of quarter hours, hours, local days, months and years. Pure.

The arithmetic of counters is domain/intervals.py; here readings become its lives, and periods its boundaries. Meters
that count nothing but deliver amounts, or know a stock, become such curves in kinds.py. Readings in doubt and gaps are
left out: the counter conserves their energy, and it is reported as estimated, as is what lies between estimated
readings.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from domain.errors import InvalidInput, OutOfLimits
from domain.gas import gas_day_bounds
from domain.intervals import Consumption, Curve, Life, Register
from domain.night import local_date, local_day_bounds, local_month_bounds
from services.metering.cycle import MONTH_MS, YEAR_MS, length_ms, usual_interval_ms
from services.metering.life import RegisterLife
from services.metering.meter import Cycle
from services.metering.reading import USABLE, Int64, Readings, Status
from services.metering.scale import multiplied
from services.metering.slot import DAY_MS, HOUR_MS, SLOT_MS, from_ms, is_slot, to_ms

MAX_CELLS: Final = 4_000_000
"""Meters times steps in one answer: a year of quarter hours of a hundred meters."""
MAX_DAYS: Final = 100 * 366
"""Local days are walked one by one: a century of them takes a quarter of a second, all that there are half a minute."""
YEARS: Final = (1600, 2300)
"""Periods begin and end within them. Calendars end soon beyond, and nobody has been metering for so long."""


class Step(Enum):
    """Length of the steps. The values are those of the contract."""

    QUARTER_HOUR = 1
    HOUR = 2
    LOCAL_DAY = 3
    LOCAL_MONTH = 4
    TOTAL = 5
    LOCAL_YEAR = 6
    GAS_DAY = 7


_SHORTEST_MS: Final = {Step.QUARTER_HOUR: SLOT_MS, Step.HOUR: HOUR_MS}
"""Readings as far apart as this still answer a step in time; a day is the most for any other, unless the meter is said
to be read less often."""
_LONGEST_MS: Final = {
    Step.QUARTER_HOUR: SLOT_MS,
    Step.HOUR: HOUR_MS,
    Step.LOCAL_DAY: DAY_MS,
    Step.GAS_DAY: DAY_MS,
    Step.LOCAL_MONTH: MONTH_MS,
    Step.LOCAL_YEAR: YEAR_MS,
}


def boundaries(start: datetime, end: datetime, step: Step, tz: ZoneInfo) -> Int64:
    """Boundaries of the steps between two instants, Unix ms: n + 1 of them for n steps.

    Local days, months and years and gas days that the period cuts are cut. Hours are those of the local clock, which in
    every zone of whole hours are the UTC ones. Raises InvalidInput for a period that is empty, off the quarter hours or
    out of `YEARS`, OutOfLimits for too many steps.
    """
    first, last = to_ms(start), to_ms(end)
    check_years(start, "start_time")
    check_years(end, "end_time")
    for field, instant in (("start_time", first), ("end_time", last)):
        if not is_slot(instant):
            raise InvalidInput.of(field, "the begin of a quarter hour is needed")
    if last <= first:
        raise InvalidInput.of("end_time", "it does not lie after start_time")
    if step is Step.TOTAL:
        inner = np.empty(0, np.int64)
    elif step in (Step.QUARTER_HOUR, Step.HOUR):
        length = _SHORTEST_MS[step]
        if (last - first) // length > MAX_CELLS:
            raise OutOfLimits.of("end_time", f"the period has more than {MAX_CELLS} steps")
        inner = np.arange(first // length * length + length, last, length, dtype=np.int64)
    else:
        if step in (Step.LOCAL_DAY, Step.GAS_DAY) and last - first > MAX_DAYS * DAY_MS:
            raise OutOfLimits.of("end_time", f"the period has more than {MAX_DAYS} days")
        inner = np.fromiter(_local_boundaries(start, end, step, tz), dtype=np.int64)
        inner = inner[(inner > first) & (inner < last)]
    return np.concatenate(([first], inner, [last])).astype(np.int64)


def check_years(instant: datetime, field: str) -> None:
    """Raises InvalidInput for an instant in years that no meter has seen or will see."""
    if not YEARS[0] <= instant.year < YEARS[1]:
        raise InvalidInput.of(field, f"it lies not between the years {YEARS[0]} and {YEARS[1]}")


def _local_boundaries(start: datetime, end: datetime, step: Step, tz: ZoneInfo) -> list[int]:
    begins: list[int] = []
    day, last = local_date(start, tz), local_date(end, tz)
    while day <= last:
        if step is Step.LOCAL_DAY:
            begins.append(to_ms(local_day_bounds(day, tz)[0]))
            day += timedelta(days=1)
        elif step is Step.GAS_DAY:
            begins.append(to_ms(gas_day_bounds(day, tz)[0]))
            day += timedelta(days=1)
        elif step is Step.LOCAL_YEAR:
            begins.append(to_ms(local_day_bounds(date(day.year, 1, 1), tz)[0]))
            day = date(day.year + 1, 1, 1)
        else:
            begin, following = local_month_bounds(day.year, day.month, tz)
            begins.append(to_ms(begin))
            day = local_date(following, tz)
    return begins


def usable(readings: Readings) -> Readings:
    """The readings that consumption may rest on: all but gaps and what is in doubt."""
    mask = np.isin(readings.status, USABLE)
    return readings.take(mask)


def reading_interval_ms(
    slot_ms: Int64, step: Step, *, is_polled: bool, cycle: int = Cycle.UNSPECIFIED, period_ms: int = 0
) -> int:
    """How far apart timely readings of a meter are, as far as that answers the step that is asked for: hourly values
    tell an hour, and nothing about its quarters.

    As its cycle says. Without one a polled meter is read every quarter hour, and any other at the interval at which its
    readings mostly come, a day at most. period_ms: length of the whole period, which a step of TOTAL has.
    """
    said = length_ms(cycle)
    if said:
        return max(SLOT_MS, min(said, _LONGEST_MS.get(step, max(DAY_MS, period_ms))))
    usual = 0 if is_polled else usual_interval_ms(slot_ms)
    return max(SLOT_MS, min(usual, _SHORTEST_MS.get(step, DAY_MS)))


def is_coarse(cycle: int, bounds_ms: Int64, step: Step) -> bool:
    """True for a meter that is said to be read less often than the steps are long: its amounts tell no profile."""
    return length_ms(cycle) > _LONGEST_MS.get(step, int(bounds_ms[-1] - bounds_ms[0]))


def consumption(
    lives: Sequence[RegisterLife],
    readings: Readings,
    bounds_ms: Int64,
    step: Step,
    *,
    is_polled: bool,
    cycle: int = Cycle.UNSPECIFIED,
) -> Consumption:
    """Consumption of one meter with a counter between boundaries, in whole base units of its unit.

    readings: current revisions, in order of register and slot, with the nearest ones on both sides of the boundaries.
    """
    good = usable(readings)
    interval = reading_interval_ms(
        np.sort(good.slot_ms),
        step,
        is_polled=is_polled,
        cycle=cycle,
        period_ms=int(bounds_ms[-1] - bounds_ms[0]),
    )
    finest = finest_exponent(lives)
    counters = [_life(life, good, factor(life, finest)) for life in lives]
    return Curve(counters, reading_interval_ms=interval, per_unit=10**-finest).consumption(bounds_ms)


def finest_exponent(lives: Sequence[RegisterLife]) -> int:
    """The scale in which values of all lives are whole numbers: 0, or the least exponent below."""
    return min([0, *(life.scale_exponent for life in lives)])


def factor(life: RegisterLife, finest: int) -> int:
    """What a life's values are multiplied with to be in the finest scale."""
    whole: int = 10 ** (life.scale_exponent - finest)
    return whole


def _life(life: RegisterLife, good: Readings, by: int) -> Life:
    mine = (good.register == life.key) & (good.slot_ms >= life.begin_ms) & (good.slot_ms < life.end_ms)
    slots, counters = good.slot_ms[mine], good.value[mine]
    estimated = slots[good.status[mine] == Status.ESTIMATED]
    # Whatever steps back among readings that passed validation passed the rollover. Where nothing does, the register is
    # described without one: intervals then takes the way of plain vector arithmetic.
    rolls = bool((np.diff(counters) < 0).any()) or life.is_final_known or life.is_first_known
    if life.rollover and rolls:
        below = counters < life.rollover
        slots, counters = slots[below], counters[below]
    return Life(
        slots,
        multiplied(counters, by, slots),
        Register(rollover=life.rollover * by if rolls else 0, noise=0),
        installed_at_ms=life.installed_ms if life.is_first_known else None,
        first_reading=life.first_reading * by if life.is_first_known else None,
        removed_at_ms=life.removed_ms if life.is_final_known else None,
        final_reading=life.final_reading * by if life.is_final_known else None,
        estimated_ms=estimated,
    )


def step_text(start_ms: int, tz: ZoneInfo) -> str:
    """Begin of a step on the municipality's clock, for messages."""
    return from_ms(start_ms).astimezone(tz).isoformat(timespec="minutes")
