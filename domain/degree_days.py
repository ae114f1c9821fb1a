"""Heating degree days, from daily means of the outdoor temperature. Not: where temperatures come from and are kept.

GTZ20/15 (Gradtagzahl, VDI 2067 and VDI 3807): sum of 20 °C - Ta over the days whose mean Ta lies below 15 °C; it holds
the room's temperature. HGT15 (Heizgradtage, VDI 3807): sum of 15 °C - Ta over the same days. Temperatures are whole
centidegrees Celsius and sums whole centikelvin days, so that months add up to their year.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.errors import InvalidInput
from domain.night import dates_between, local_instant, unix_ms

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LOWEST_CENTI_C: Final = -9_000
HIGHEST_CENTI_C: Final = 7_000
"""Beyond what air on earth has been: -89.2 °C and 56.7 °C."""

HOURS_MISSING_MOST: Final = 3
"""A daily mean rests on the hourly values of its day, of which three may be missing. As the Deutscher Wetterdienst does
it since 2001-04-01; with more of them missing it takes four fixed hours, which we do not: the day is missing then."""

_HOUR_MS: Final = 3_600_000
_ONE_DAY: Final = timedelta(days=1)
_MIDNIGHT: Final = time(0)


@dataclass(frozen=True, slots=True)
class Rule:
    """Base and limit of degree days, in centidegrees: days with a mean below the limit count base - mean."""

    base_centi_c: int
    limit_centi_c: int

    def __post_init__(self) -> None:
        if not LOWEST_CENTI_C <= self.limit_centi_c <= HIGHEST_CENTI_C:
            raise InvalidInput.of("limit", f"{self.limit_centi_c / 100:g} °C is no heating limit")
        if not self.limit_centi_c <= self.base_centi_c <= HIGHEST_CENTI_C:
            raise InvalidInput.of(
                "base",
                f"{self.base_centi_c / 100:g} °C is not at or above the limit of {self.limit_centi_c / 100:g} °C",
            )

    def __str__(self) -> str:
        base, limit = f"{self.base_centi_c / 100:g}", f"{self.limit_centi_c / 100:g}"
        return f"HGT{limit}" if base == limit else f"GTZ{base}/{limit}"


GTZ20_15: Final = Rule(2_000, 1_500)
HGT15: Final = Rule(1_500, 1_500)


@dataclass(frozen=True, slots=True)
class DailyMeans:
    """Daily means of consecutive days, in columns: centidegrees (0 where unknown), and which are known."""

    first: date
    centi_c: Ints
    known: Bools

    @classmethod
    def of(cls, means: Mapping[date, int], first: date, end: date) -> DailyMeans:
        """Means by date, from `first` on and before `end`; days without one are unknown. Raises InvalidInput."""
        days = _days(first, end)
        found = [means.get(day) for day in days]
        values = np.array([0 if one is None else one for one in found], np.int64)
        _check(values)
        return cls(first, values, np.array([one is not None for one in found], np.bool_))

    @property
    def days(self) -> list[date]:
        """The dates, one for each element."""
        return dates_between(self.first, self.first + len(self.centi_c) * _ONE_DAY)


@dataclass(frozen=True, slots=True)
class DegreeDays:
    """Degree days of a period, as far as its days are known: a missing day adds nothing and is told."""

    centi_kd: int
    """Sum in hundredths of a kelvin day."""
    heating_days: int
    """Days with a mean below the limit."""
    known_days: int
    days: int

    @property
    def coverage_permille(self) -> int:
        """Share of the days whose mean is known, in per mille, rounded down."""
        return self.known_days * 1000 // self.days if self.days else 0


def daily_centi_kd(centi_c: ArrayLike, known: ArrayLike, rule: Rule = GTZ20_15) -> Ints:
    """Degree days of each day in centikelvin days; 0 for days that are unknown, or not below the limit."""
    values, is_known = np.asarray(centi_c, dtype=np.int64), np.asarray(known, dtype=np.bool_)
    if values.shape != is_known.shape:
        raise InvalidInput.of("known", f"{is_known.size} elements where there are {values.size} temperatures")
    heating = is_known & (values < rule.limit_centi_c)
    return np.where(heating, rule.base_centi_c - values, 0).astype(np.int64)


def degree_days(means: DailyMeans, rule: Rule = GTZ20_15) -> DegreeDays:
    """Degree days of all days together."""
    return _sum(means, rule, 0, len(means.centi_c))


def degree_days_by_month(means: DailyMeans, rule: Rule = GTZ20_15) -> dict[tuple[int, int], DegreeDays]:
    """Degree days of each (year, month) that has a day among them, by time. Months cut by the period are cut."""
    days = means.days
    begins: dict[tuple[int, int], int] = {}
    for index, day in enumerate(days):
        begins.setdefault((day.year, day.month), index)
    ends = [*list(begins.values())[1:], len(days)]
    return {month: _sum(means, rule, begin, end) for (month, begin), end in zip(begins.items(), ends, strict=True)}


def _sum(means: DailyMeans, rule: Rule, begin: int, end: int) -> DegreeDays:
    values, known = means.centi_c[begin:end], means.known[begin:end]
    return DegreeDays(
        int(daily_centi_kd(values, known, rule).sum()),
        int((known & (values < rule.limit_centi_c)).sum()),
        int(known.sum()),
        len(values),
    )


def daily_means(instants_ms: ArrayLike, centi_c: ArrayLike, first: date, end: date, tz: ZoneInfo) -> DailyMeans:
    """Daily means of local days, out of hourly values, or more frequent ones.

    Values of an hour (its begin belongs, its end does not) make the hour's mean, hours make the day's: a sensor that
    reports more often at noon does not make the day warmer. A day of 24 hours is known with 21 of them at least, one of
    23 with 20, one of 25 with 22 (`HOURS_MISSING_MOST`). Order does not matter. Means are rounded half up.

    instants_ms: Unix ms of each value; tz: whose days. Raises InvalidInput.
    """
    instants, values = np.asarray(instants_ms, dtype=np.int64), np.asarray(centi_c, dtype=np.int64)
    if instants.shape != values.shape or instants.ndim != 1:
        raise InvalidInput.of("centi_c", f"{values.size} temperatures where there are {instants.size} instants")
    _check(values)
    days = _days(first, end)
    bounds = np.array([unix_ms(local_instant(day, _MIDNIGHT, tz)) for day in [*days, end]], np.int64)
    inside = (instants >= bounds[0]) & (instants < bounds[-1])
    instants, values = instants[inside], values[inside]
    hours, places = np.unique(instants // _HOUR_MS, return_inverse=True)
    hourly = _mean(_total(places, values, hours.size), np.bincount(places, minlength=hours.size))
    day_of = np.searchsorted(bounds, hours * _HOUR_MS, side="right") - 1
    # Where a zone is off by half an hour, the first hour of the day begins before it.
    day_of = np.maximum(day_of, 0)
    count = np.bincount(day_of, minlength=len(days)).astype(np.int64)
    enough = count >= np.diff(bounds) // _HOUR_MS - HOURS_MISSING_MOST
    known = enough & (count > 0)
    means = np.where(known, _mean(_total(day_of, hourly, len(days)), np.maximum(count, 1)), 0)
    return DailyMeans(first, means.astype(np.int64), known)


def _total(places: NDArray[np.intp], values: Ints, size: int) -> Ints:
    total = np.zeros(size, np.int64)
    np.add.at(total, places, values)
    return total


def _mean(total: Ints, count: NDArray[np.intp] | Ints) -> Ints:
    mean: Ints = (2 * total + count) // (2 * count)
    return mean


def _check(values: Ints) -> None:
    if values.size and (int(values.min()) < LOWEST_CENTI_C or int(values.max()) > HIGHEST_CENTI_C):
        worst = int(values.min()) if int(values.min()) < LOWEST_CENTI_C else int(values.max())
        raise InvalidInput.of("centi_c", f"{worst / 100:g} °C is no temperature of outdoor air")


def _days(first: date, end: date) -> list[date]:
    if end <= first:
        raise InvalidInput.of("end", "it does not lie after the first day")
    return dates_between(first, end)
