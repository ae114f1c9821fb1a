"""Waste watch: rules that look at a meter's use and say what need not be. Pure.

Not here: when they run and who is told, their numbers per medium (parameters.py).

Every rule has a name, parameters per medium, and needs steps of an hour or less that end with the last whole local day.
It answers one finding or none; none where too little is covered. A finding goes on as long as its rule finds it: then
`since` is the first day of it, and what is usual is taken from before that day, so that waste does not become usual by
lasting. Amounts are those above what the rule allows: rather too little than too much.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from domain.intervals import Consumption
from domain.night import local_day_bounds
from services.metering.figures.load import covered, median, rates
from services.metering.reading import Int64
from services.metering.slot import DAY_MS, HOUR_MS, to_ms
from services.metering.waste.days import UNKNOWN, Windows, daytimes, local_days, nights
from services.metering.waste.rest_days import IsRestDay


class Rule(StrEnum):
    """The rules, by the names that findings bear."""

    NIGHT_BASE_LOAD_UP = "night_base_load_up"
    WEEKEND_USE = "weekend_use"
    WATER_NEVER_STOPS = "water_never_stops"
    HEATING_IN_WARM_WEATHER = "heating_in_warm_weather"
    SUM_CHECK = "sum_check"
    STOCK = "stock_does_not_add_up"


@dataclass(frozen=True, slots=True)
class Waste:
    """What a rule found: first and end of the last local day concerned, the amount that is too much in base units, and
    how much of the days it rests on is covered. usual, seen: what `detail` tells, in base units per hour or per day."""

    rule: Rule
    start_ms: int
    end_ms: int
    excess_amount: int
    coverage_permille: int
    usual: int
    seen: int


@dataclass(frozen=True, slots=True)
class NightParameters:
    """night_base_load_up: median of the last nights against the median of the weeks before.

    Up is what is above the usual by `deviations` robust standard deviations (1.4826 times the median absolute
    deviation), by `least_permille` of it and by `least_rate`. Nights count that are covered by `coverage_permille`.
    """

    recent: int = 5
    recent_known: int = 4
    usual: int = 28
    usual_known: int = 14
    deviations: int = 3
    least_permille: int = 200
    least_rate: int = 50
    coverage_permille: int = 750


ROBUST_E4: Final = 14_826
"""Median absolute deviation to standard deviation of a normal distribution, in ten-thousandths."""


def night_base_load_up(
    steps: Consumption, tz: ZoneInfo, parameters: NightParameters, since: date | None = None
) -> Waste | None:
    """The base load of the last nights is higher than in the weeks before. It is taken to run around the clock."""
    found = nights(steps, tz, parameters.coverage_permille)
    known = found.rate != UNKNOWN
    count = len(found.days)
    recent = known.copy()
    recent[: max(0, count - parameters.recent)] = False
    before = found.days.index(since) if since in found.days else max(0, count - parameters.recent)
    usual = known.copy()
    usual[before:] = False
    usual[: max(0, before - parameters.usual)] = False
    if recent.sum() < parameters.recent_known or usual.sum() < parameters.usual_known:
        return None
    limit, normal = _upper(found.rate[usual], parameters)
    if (median(found.rate[recent]) or 0) <= limit:
        return None
    begin = before if since in found.days else _begin(found.rate, limit, int(np.flatnonzero(recent)[0]))
    rows = known.copy()
    rows[:begin] = False
    start_ms, end_ms = _span(found.days[begin], found.days[-1], tz)
    more = int(np.maximum(found.rate[rows] - normal, 0).sum())
    return Waste(
        Rule.NIGHT_BASE_LOAD_UP,
        start_ms,
        end_ms,
        more * (end_ms - start_ms) // (HOUR_MS * int(rows.sum())),
        min(int(found.covered_permille[usual].mean()), int(found.covered_permille[begin:].mean())),
        normal,
        median(found.rate[rows]) or limit,
    )


def _upper(usual: Int64, parameters: NightParameters) -> tuple[int, int]:
    """Above which rate a night is too high, and the usual rate."""
    normal = median(usual) or 0
    deviation = (median(np.abs(usual - normal)) or 0) * ROBUST_E4 // 10_000
    most = max(parameters.deviations * deviation, normal * parameters.least_permille // 1000, parameters.least_rate)
    return normal + most, normal


def _begin(rate: Int64, limit: int, row: int) -> int:
    """First night of those above a limit that the last ones belong to; nights that nobody knows interrupt nothing."""
    while rate[row] == UNKNOWN or rate[row] <= limit:
        row += 1
    first = row
    while row >= 0 and (rate[row] == UNKNOWN or rate[row] > limit):
        first = row if rate[row] != UNKNOWN else first
        row -= 1
    return first


@dataclass(frozen=True, slots=True)
class WeekendParameters:
    """weekend_use: use by day on rest days of a building that rests then.

    A rest day is too high where its rate by day is above the workdays' night base by more than `share_permille` of
    what workdays add to it by day. `days` such days of the last fourteen raise a finding, one within the last eight
    keeps it. A building whose workdays add less than `rhythm_permille` to its night base has no rhythm to be judged by.
    """

    share_permille: int = 300
    days: int = 3
    workdays_known: int = 8
    rhythm_permille: int = 200
    coverage_permille: int = 900


RAISING_DAYS: Final = 14
KEEPING_DAYS: Final = 8
WORKDAYS_LOOKED_AT: Final = 42


def weekend_use(
    steps: Consumption, tz: ZoneInfo, parameters: WeekendParameters, is_rest_day: IsRestDay, since: date | None = None
) -> Waste | None:
    """A building that should rest on weekends and holidays is used as on workdays."""
    by_day, whole = daytimes(steps, tz), local_days(steps, tz)
    count = len(whole.days)
    rests = np.array([is_rest_day(day) for day in whole.days], np.bool_)
    rate = by_day.rate(parameters.coverage_permille)
    known = rate != UNKNOWN
    works = known & ~rests
    works[: max(0, count - WORKDAYS_LOOKED_AT)] = False
    night = nights(steps, tz, parameters.coverage_permille)
    base, work = median(night.rate[works & (night.rate != UNKNOWN)]), median(rate[works])
    if base is None or work is None or works.sum() < parameters.workdays_known:
        return None
    if (work - base) * 1000 <= base * parameters.rhythm_permille or work <= base:
        return None
    limit = base + (work - base) * parameters.share_permille // 1000
    high = known & rests & (rate > limit)
    raised, kept = (int(high[max(0, count - days) :].sum()) for days in (RAISING_DAYS, KEEPING_DAYS))
    if (kept == 0) if since is not None else (raised < parameters.days):
        return None
    # Of the days looked at for raising, or all since it was raised.
    first = max(0, count - RAISING_DAYS) if since is None else _row(whole.days, since)
    high[:first] = False
    rows = np.flatnonzero(high)
    start_ms, _ = _span(whole.days[int(rows[0])] if since is None else since, whole.days[-1], tz)
    expected = base * whole.covered_ms // HOUR_MS
    looked_at = rests.copy()
    looked_at[:first] = False
    return Waste(
        Rule.WEEKEND_USE,
        start_ms,
        int(whole.ends_ms[int(rows[-1])]),
        int(np.maximum(whole.amount - expected, 0)[high].sum()),
        min(by_day.coverage_permille(looked_at), by_day.coverage_permille(works)),
        base,
        median(rate[high]) or limit,
    )


@dataclass(frozen=True, slots=True)
class LeakParameters:
    """water_never_stops: no step at zero for `days`, covered by `coverage_permille`, with `least_rate` at least."""

    days: int = 3
    least_rate: int = 1
    coverage_permille: int = 900


def water_never_stops(steps: Consumption, parameters: LeakParameters) -> Waste | None:
    """Water runs day and night: a leak. Its rate is that of the quietest step, the amount that rate all the time."""
    known, rate = covered(steps), rates(steps)
    zero = np.flatnonzero(known & (rate < parameters.least_rate))
    since = int(zero[-1]) + 1 if len(zero) else 0
    if not known[since:].any():
        return None
    # What lies before the first reading of a new meter, or before a long silence, belongs to no run.
    first = since + int(np.argmax(known[since:]))
    start_ms, end_ms = int(steps.starts_ms[first]), int(steps.ends_ms[-1])
    covered_ms = int(steps.measured_ms[first:][known[first:]].sum())
    coverage = covered_ms * 1000 // (end_ms - start_ms)
    newest_ms = int(steps.ends_ms[first:][known[first:]][-1])
    long_enough = end_ms - start_ms >= parameters.days * DAY_MS
    if not long_enough or coverage < parameters.coverage_permille or end_ms - newest_ms > DAY_MS:
        return None
    leak = int(rate[first:][known[first:]].min())
    return Waste(Rule.WATER_NEVER_STOPS, start_ms, end_ms, leak * (end_ms - start_ms) // HOUR_MS, coverage, 0, leak)


@dataclass(frozen=True, slots=True)
class WarmParameters:
    """heating_in_warm_weather: use on warm days (daily mean at or above `limit_centi`, as on the day before).

    Allowed is half as much again as the building uses on its quiet warm days (a quarter of them use less), plus
    `margin_permille` of what it uses on a cold day, and never more than `most_permille` of that: hot water and losses.
    """

    limit_centi: int = 1500
    cold_centi: int = 1000
    cold_days: int = 10
    warm_days: int = 10
    margin_permille: int = 50
    most_permille: int = 300
    days: int = 3
    coverage_permille: int = 900


WARM_WEEK: Final = 7


def heating_in_warm_weather(
    days: Windows, means_centi: Mapping[date, int], parameters: WarmParameters, since: date | None = None
) -> Waste | None:
    """Heat is used on days that need none. days: a heating year of local days; means_centi: their mean temperatures in
    hundredths of a degree Celsius, as far as known."""
    count = len(days.days)
    known = days.known(parameters.coverage_permille)
    warm, cold = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    for row, day in enumerate(days.days):
        mean, before = means_centi.get(day), means_centi.get(day - timedelta(days=1))
        warm[row] = mean is not None and before is not None and min(mean, before) >= parameters.limit_centi
        cold[row] = mean is not None and mean < parameters.cold_centi
    warm, cold = warm & known, cold & known
    cold_use = median(days.amount[cold])
    if cold_use is None or cold.sum() < parameters.cold_days:
        return None
    allowed = cold_use * parameters.most_permille // 1000
    if warm.sum() >= parameters.warm_days:
        quiet = int(np.percentile(days.amount[warm], 25, method="lower"))
        allowed = min(allowed, quiet * 3 // 2 + cold_use * parameters.margin_permille // 1000)
    high = warm & (days.amount > allowed)
    week = high[max(0, count - WARM_WEEK) :]
    if (not week.any()) if since is not None else (week.sum() < parameters.days):
        return None
    first = max(0, count - WARM_WEEK) if since is None else _row(days.days, since)
    high[:first] = False
    rows = np.flatnonzero(high)
    lasting = np.zeros(count, np.bool_)
    lasting[int(rows[0]) :] = True
    return Waste(
        Rule.HEATING_IN_WARM_WEATHER,
        int(days.starts_ms[int(rows[0])] if since is None else days.starts_ms[first]),
        int(days.ends_ms[int(rows[-1])]),
        int((days.amount - allowed)[high].sum()),
        days.coverage_permille(lasting),
        allowed,
        median(days.amount[high]) or 0,
    )


def _span(first: date, last: date, tz: ZoneInfo) -> tuple[int, int]:
    return to_ms(local_day_bounds(first, tz)[0]), to_ms(local_day_bounds(last, tz)[1])


def _row(days: list[date], day: date) -> int:
    """Row of a day; of one before them all the first."""
    return min(bisect_left(days, day), len(days) - 1)
