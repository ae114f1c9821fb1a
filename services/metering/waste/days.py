"""Days and nights of a load profile, as the rules of the waste watch look at them (watch.py). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from domain.intervals import Consumption
from domain.night import local_date, local_day_bounds, local_instant
from services.metering.figures.load import covered, median, night_windows, rates
from services.metering.reading import Int64
from services.metering.scale import proportion
from services.metering.slot import HOUR_MS, from_ms, to_ms

UNKNOWN: Final = np.iinfo(np.int64).min
"""Rate of a window that too little is known of."""
DAYTIME: Final = (time(8), time(18))


@dataclass(frozen=True, slots=True)
class Windows:
    """What was counted in windows of time, a row per local day.

    amount: of the covered steps within the window. covered_ms: how long these are. length_ms: of the window.
    """

    days: list[date]
    starts_ms: Int64
    ends_ms: Int64
    amount: Int64
    covered_ms: Int64

    @property
    def length_ms(self) -> Int64:
        """Length of each window."""
        return self.ends_ms - self.starts_ms

    def known(self, least_permille: int) -> NDArray[np.bool_]:
        """Mask of the windows that are covered well enough."""
        enough: NDArray[np.bool_] = self.covered_ms * 1000 >= least_permille * self.length_ms
        return enough & (self.covered_ms > 0)

    def rate(self, least_permille: int) -> Int64:
        """Mean rate of each window in base units per hour; `UNKNOWN` where too little is covered."""
        mean = proportion(self.amount, HOUR_MS, np.maximum(self.covered_ms, 1), self.starts_ms)
        found: Int64 = np.where(self.known(least_permille), mean, UNKNOWN)
        return found

    def coverage_permille(self, rows: NDArray[np.bool_]) -> int:
        """Share of the chosen windows that is covered; 0 of none."""
        whole = int(self.length_ms[rows].sum())
        return int(self.covered_ms[rows].sum()) * 1000 // whole if whole else 0


def local_days(steps: Consumption, tz: ZoneInfo) -> Windows:
    """The local days that lie wholly within the steps."""
    return _windows(steps, tz, None)


def daytimes(steps: Consumption, tz: ZoneInfo) -> Windows:
    """08:00 to 18:00 of the same days: when a building is used that is used at all."""
    return _windows(steps, tz, DAYTIME)


def _windows(steps: Consumption, tz: ZoneInfo, wall: tuple[time, time] | None) -> Windows:
    days = whole_days(int(steps.starts_ms[0]), int(steps.ends_ms[-1]), tz)
    if wall is None:
        bounds = [local_day_bounds(day, tz) for day in days]
    else:
        bounds = [(local_instant(day, wall[0], tz), local_instant(day, wall[1], tz)) for day in days]
    starts = np.array([to_ms(start) for start, _ in bounds], np.int64)
    ends = np.array([to_ms(end) for _, end in bounds], np.int64)
    known = covered(steps)
    amounts = np.concatenate((np.zeros(1, np.int64), np.cumsum(np.where(known, steps.amount, 0))))
    lasted = np.concatenate((np.zeros(1, np.int64), np.cumsum(np.where(known, steps.measured_ms, 0))))
    first = np.searchsorted(steps.starts_ms, starts, side="left")
    last = np.maximum(np.searchsorted(steps.ends_ms, ends, side="right"), first)
    return Windows(days, starts, ends, amounts[last] - amounts[first], lasted[last] - lasted[first])


def whole_days(start_ms: int, end_ms: int, tz: ZoneInfo) -> list[date]:
    """Local days that begin and end between two instants."""
    day = local_date(from_ms(start_ms), tz)
    found: list[date] = []
    while True:
        start, end = local_day_bounds(day, tz)
        if to_ms(end) > end_ms:
            return found
        if to_ms(start) >= start_ms:
            found.append(day)
        day += timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Nights:
    """Night base load by local day: median rate of the steps from 01:00 to 04:00, `UNKNOWN` where too few are covered.

    covered_permille: share of each night that is covered.
    """

    days: list[date]
    rate: Int64
    covered_permille: Int64


def nights(steps: Consumption, tz: ZoneInfo, least_permille: int) -> Nights:
    """The nights of the local days that lie wholly within the steps."""
    wanted = whole_days(int(steps.starts_ms[0]), int(steps.ends_ms[-1]), tz)
    if not wanted:
        return Nights([], np.zeros(0, np.int64), np.zeros(0, np.int64))
    days, begins, ends = night_windows(int(steps.starts_ms[0]), int(steps.ends_ms[-1]), tz)
    skipped = days.index(wanted[0])
    known, rate = covered(steps), rates(steps)
    first = np.searchsorted(steps.starts_ms, begins, side="left")
    last = np.searchsorted(steps.ends_ms, ends, side="right")
    found, share = np.full(len(wanted), UNKNOWN, np.int64), np.zeros(len(wanted), np.int64)
    for row in range(len(wanted)):
        within = slice(int(first[skipped + row]), int(last[skipped + row]))
        here = known[within]
        length = int(ends[skipped + row] - begins[skipped + row])
        share[row] = int(steps.measured_ms[within][here].sum()) * 1000 // length
        middle = median(rate[within][here])
        if middle is not None and share[row] >= least_permille:
            found[row] = middle
    return Nights(wanted, found, share)
