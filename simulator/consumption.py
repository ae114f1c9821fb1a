"""Electricity use of a building by the hour, and the counter it makes: a synthetic profile, or a real year replayed.

A source gives Wh for every UTC hour of a calendar year; the counter is their running sum, straight within an hour.
"""

from __future__ import annotations

import csv
import math
import zlib
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from domain.errors import InvalidInput, Violation
from simulator.town import Building

Floats = NDArray[np.float64]


class HourlySource(Protocol):
    """Consumption in Wh of each UTC hour of a calendar year, from 1 January 00:00 UTC."""

    def year_wh(self, year: int) -> Floats:
        """8 760 or 8 784 values, none negative."""
        ...


class ConsumptionCounter:
    """Energy used since the start of a base year, exact for every instant from there on."""

    def __init__(self, source: HourlySource, base_year: int) -> None:
        self._source = source
        self._base_year = base_year
        self._before = {base_year: 0.0}
        self._running: dict[int, Floats] = {}

    def energy_wh(self, t: float) -> float:
        """Wh used from the base year's start to `t` (seconds since 1970)."""
        year = datetime.fromtimestamp(t, UTC).year
        if year < self._base_year:
            raise InvalidInput.of("at", f"is before {self._base_year}, where this counter begins")
        running = self._year(year)
        hours = (t - datetime(year, 1, 1, tzinfo=UTC).timestamp()) / 3600.0
        whole = min(int(hours), len(running) - 2)
        return float(self._before[year] + running[whole] + (running[whole + 1] - running[whole]) * (hours - whole))

    def power_w(self, t: float) -> float:
        """Mean power of the hour that holds `t`, in W."""
        year = datetime.fromtimestamp(t, UTC).year
        running = self._year(year)
        hour = min(int((t - datetime(year, 1, 1, tzinfo=UTC).timestamp()) // 3600), len(running) - 2)
        return float(running[hour + 1] - running[hour])

    def _year(self, year: int) -> Floats:
        """Running sum of a year, one value more than it has hours; the years before it are summed on the way."""
        for y in range(self._base_year, year + 1):
            if y not in self._running:
                self._running[y] = np.concatenate(([0.0], np.cumsum(self._source.year_wh(y))))
                self._before[y + 1] = self._before[y] + float(self._running[y][-1])
        return self._running[year]


# Occupied hours (local, from and to), share of the base load, and winter's surplus, per shape of building.
_SHAPES = {
    "office": (7.0, 18.0, 0.28, 0.30),
    "school": (7.0, 16.0, 0.22, 0.45),
    "kindergarten": (6.5, 17.0, 0.30, 0.50),
}


class SyntheticSource:
    """A plausible building: base load, occupied weekdays, more in winter, a little noise; the annual sum is exact."""

    def __init__(self, building: Building, time_zone: str) -> None:
        if building.shape not in _SHAPES:
            raise InvalidInput.of(f"buildings/{building.id}.shape", f"must be one of {', '.join(sorted(_SHAPES))}")
        self._building = building
        self._zone = ZoneInfo(time_zone)

    def year_wh(self, year: int) -> Floats:
        """Values of a year in Wh; the same for the same building and year."""
        opens, closes, base, winter = _SHAPES[self._building.shape]
        weekday, hour, day_of_year = _local_hours(year, self._zone)
        occupied = (weekday < 5) & (hour >= math.floor(opens)) & (hour < math.ceil(closes))
        season = 1.0 + winter * np.cos(2.0 * math.pi * (day_of_year - 15.0) / 365.25)
        # Python's own hash of a string differs from run to run; this one does not.
        noise = np.random.default_rng([zlib.crc32(self._building.id.encode()), year])
        load = (base + (1.0 - base) * occupied) * season * noise.uniform(0.92, 1.08, size=hour.size)
        scaled: Floats = load * (self._building.annual_kwh * 1000.0 / load.sum())
        return scaled


@lru_cache(maxsize=8)
def _local_hours(year: int, zone: ZoneInfo) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Local weekday (Monday 0), local hour and day of the year for each UTC hour of a year."""
    start = datetime(year, 1, 1, tzinfo=UTC)
    hours = round((datetime(year + 1, 1, 1, tzinfo=UTC) - start) / timedelta(hours=1))
    local = [(start + timedelta(hours=h)).astimezone(zone) for h in range(hours)]
    return (
        np.array([moment.weekday() for moment in local], dtype=np.intp),
        np.array([moment.hour for moment in local], dtype=np.intp),
        np.array([moment.timetuple().tm_yday for moment in local], dtype=np.float64),
    )


class RecordedSource:
    """Real hourly consumption, replayed for any year: each day takes a recorded day of the same weekday and season."""

    def __init__(self, days_wh: dict[date, Floats]) -> None:
        if not days_wh:
            raise InvalidInput.of("consumption", "has no complete day")
        self._days = days_wh
        self._years = sorted({day.year for day in days_wh})

    @classmethod
    def from_csv(cls, path: Path, column: str = "electricity") -> RecordedSource:
        """Read hourly kWh with a column `datetime_utc`; days with a missing or negative hour are left out."""
        hours: dict[date, dict[int, float]] = defaultdict(dict)
        violations: list[Violation] = []
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file)
                missing = {"datetime_utc", column} - set(reader.fieldnames or ())
                if missing:
                    raise InvalidInput.of(str(path), f"has no column {', '.join(sorted(missing))}")
                for row in reader:
                    try:
                        moment = datetime.fromisoformat(row["datetime_utc"])
                        value = float(row[column]) if row[column] else math.nan
                    except ValueError as error:
                        violations.append(Violation(f"{path}:{reader.line_num}", str(error)))
                        continue
                    if math.isfinite(value) and value >= 0:
                        hours[moment.date()][moment.hour] = value * 1000.0
        except OSError as error:
            raise InvalidInput.of(str(path), f"cannot be read: {error.strerror}") from error
        if violations:
            raise InvalidInput("the consumption file has unreadable rows", violations[:20])
        return cls({d: np.array([v[h] for h in range(24)]) for d, v in hours.items() if len(v) == 24})

    def year_wh(self, year: int) -> Floats:
        """Values of a year in Wh: recorded years take turns, days keep weekday and season."""
        day, days = date(year, 1, 1), []
        while day.year == year:
            days.append(self._days[self._like(day)])
            day += timedelta(days=1)
        return np.concatenate(days)

    def _like(self, day: date) -> date:
        """The recorded day to use: same weekday, at most three days off the date, else the nearest weeks and years."""
        turn = (day.year - self._years[0]) % len(self._years)
        for year in self._years[turn:] + self._years[:turn]:
            centre = date(year, day.month, min(day.day, 28)) + timedelta(days=max(0, day.day - 28))
            shift = (day.weekday() - centre.weekday() + 3) % 7 - 3
            for weeks in (0, 1, -1, 2, -2):
                candidate = centre + timedelta(days=shift + 7 * weeks)
                if candidate in self._days:
                    return candidate
        # Records with holes: any day of the same weekday, else any day at all.
        same = [d for d in self._days if d.weekday() == day.weekday()]
        return min(same or self._days, key=lambda d: abs(d.timetuple().tm_yday - day.timetuple().tm_yday))
