"""Weather as metering answers it: which local days a period has, their steps, and daily means out of a sensor. Pure.

The arithmetic of degree days is domain/degree_days.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from domain.degree_days import HIGHEST_CENTI_C, LOWEST_CENTI_C, DailyMeans, DegreeDays, Rule, daily_means, degree_days
from domain.errors import InvalidInput, OutOfLimits
from domain.night import local_date, local_day_bounds
from services.metering.figures.consumption import check_years
from services.metering.reading import USABLE, Int64, Mask, Readings, Refusals
from services.metering.scale import saturated

EARLIEST_DAY: Final = date(1700, 1, 1)
"""Before the oldest series of temperatures that is carried on."""
MAX_DAYS: Final = 100 * 366
_EPOCH: Final = date(1970, 1, 1)
_ONE_DAY: Final = timedelta(days=1)


class DayStep(Enum):
    """Lengths of steps that are whole local days. The values are those of the contract."""

    LOCAL_DAY = 3
    LOCAL_MONTH = 4
    TOTAL = 5
    LOCAL_YEAR = 6


@dataclass(frozen=True, slots=True)
class WarmthOfStep:
    """Degree days of the local days from `first` on and before `end`; mean of the known days, None without any."""

    first: date
    end: date
    degree_days: DegreeDays
    mean_centi_c: int | None


def day_number(day: date) -> int:
    """Days since 1970-01-01, as weather is stored and brought."""
    return (day - _EPOCH).days


def day_of(number: int) -> date:
    """The local day of a number."""
    return _EPOCH + timedelta(days=number)


def whole_days(start: datetime, end: datetime, tz: ZoneInfo) -> tuple[date, date]:
    """The local days that lie in a period from end to end: the first, and the one after the last.

    Raises InvalidInput for a period without one or in years beyond all memory, OutOfLimits for one of more than a
    hundred years.
    """
    check_years(start, "start_time")
    check_years(end, "end_time")
    first = local_date(start, tz)
    if local_day_bounds(first, tz)[0] < start:
        first += _ONE_DAY
    after = local_date(end, tz)
    if after <= first:
        raise InvalidInput.of("end_time", "no whole local day lies between start_time and end_time")
    if (after - first).days > MAX_DAYS:
        raise OutOfLimits.of("end_time", f"the period has {(after - first).days} days, at most {MAX_DAYS} are answered")
    return first, after


def warmth(means: DailyMeans, rule: Rule, step: DayStep) -> list[WarmthOfStep]:
    """Degree days of each step. Months and years that the period cuts are cut."""
    days = means.days
    begins = [index for index, day in enumerate(days) if index == 0 or _begins(day, step)]
    result: list[WarmthOfStep] = []
    for begin, end in zip(begins, [*begins[1:], len(days)], strict=True):
        part = DailyMeans(days[begin], means.centi_c[begin:end], means.known[begin:end])
        known = int(part.known.sum())
        total = int(part.centi_c[part.known].sum())
        mean = (2 * total + known) // (2 * known) if known else None
        result.append(WarmthOfStep(days[begin], days[end - 1] + _ONE_DAY, degree_days(part, rule), mean))
    return result


def _begins(day: date, step: DayStep) -> bool:
    if step is DayStep.TOTAL:
        return False
    if step is DayStep.LOCAL_DAY:
        return True
    return day.day == 1 and (step is DayStep.LOCAL_MONTH or day.month == 1)


def means_of_sensor(readings: Readings, exponents: dict[int, int], first: date, end: date, tz: ZoneInfo) -> DailyMeans:
    """Daily means of a temperature sensor. exponents: 10^ of a register's values, by its key, in degrees Celsius.

    Values that no outdoor air has (a sensor that is broken answers so) count as missing.
    """
    good = readings.take(np.isin(readings.status, USABLE))
    centi = np.zeros(len(good), np.int64)
    for key, exponent in exponents.items():
        mine = good.register == key
        centi[mine] = saturated(good.value[mine], exponent + 2)
    possible: Mask = (centi >= LOWEST_CENTI_C) & (centi <= HIGHEST_CENTI_C)
    return daily_means(good.slot_ms[possible], centi[possible], first, end, tz)


def check_days(days: Int64, means_centi_c: Int64, today: date, refusals: Refusals) -> None:
    """Refuses days that are not over, or before all memory, and what no outdoor air has been."""
    refusals.add(
        days >= day_number(today), f"the day {{}} (since 1970) is not over: today is {day_number(today)}", days
    )
    refusals.add(days < day_number(EARLIEST_DAY), f"the day lies before {EARLIEST_DAY}")
    refusals.add(means_centi_c < LOWEST_CENTI_C, "{} hundredths of a degree is colder than air has been", means_centi_c)
    refusals.add(
        means_centi_c > HIGHEST_CENTI_C, "{} hundredths of a degree is warmer than air has been", means_centi_c
    )


def refuse_contradictions(days: Int64, means_centi_c: Int64, refusals: Refusals) -> None:
    """Refuses what says something else of a day than an earlier element of the same request."""
    order = np.lexsort((np.arange(len(days)), refusals.mask, days))
    same = np.zeros(len(days), np.bool_)
    same[1:] = (days[order][1:] == days[order][:-1]) & ~refusals.mask[order][1:]
    first = np.maximum.accumulate(np.where(same, 0, np.arange(len(days))))
    differs = same & (means_centi_c[order] != means_centi_c[order][first])
    refusals.add(np.sort(order[differs]).astype(np.int64), "another mean of the same day comes before it")
