"""What hangs on a cabinet's meter and is no lighting of the town: when it is on, and what it draws. Pure.

It hangs on no profile, but whoever compares a preview with the cabinet's meter needs it beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from services.scheduler.moment import Place
from services.scheduler.preview import Period
from services.scheduler.sky import Nights, sky_over

_HOUR_S = 3_600.0


@dataclass(frozen=True, slots=True)
class ForeignLoad:
    """A load with its power in W, the months in which it is there (1..12; over New Year where the last is before the
    first), and the hours of each day by the local clock: None for from sunset to sunrise, equal ones for all day."""

    display_name: str
    power_w: float
    from_month: int
    to_month: int
    hours: tuple[time, time] | None = None

    def is_there(self, day: date) -> bool:
        """Whether it is there on a day."""
        if self.from_month <= self.to_month:
            return self.from_month <= day.month <= self.to_month
        return day.month >= self.from_month or day.month <= self.to_month


@dataclass(frozen=True, slots=True)
class CabinetLoad:
    """A cabinet, its foreign loads, and how many luminaires hang on it. place: None for the municipality's."""

    name: str
    place: tuple[float, float] | None
    foreign_loads: tuple[ForeignLoad, ...]
    luminaires: int


@dataclass(frozen=True, slots=True)
class ForeignHours:
    """A foreign load over a period: seconds that it is on, not rounded."""

    load: ForeignLoad
    on_s: float

    @property
    def energy_wh(self) -> float:
        """Its energy in Wh."""
        return self.load.power_w * self.on_s / _HOUR_S


def foreign_hours(cabinet: CabinetLoad, town: Place, period: Period) -> list[ForeignHours]:
    """When the foreign loads of a cabinet are on, from the first noon of a period to its last. A load that goes on
    before midnight counts as of the day on which it went on."""
    place = Place(*cabinet.place, town.tz) if cabinet.place is not None else town
    return [ForeignHours(load, _on_s(load, place, period)) for load in cabinet.foreign_loads]


def _on_s(load: ForeignLoad, place: Place, period: Period) -> float:
    if load.hours is None:
        seconds = _dark_s(place, period.first_night, period.nights, period.tz)
        days = (period.first_night + timedelta(days=number) for number in range(period.nights))
        return sum(found for day, found in zip(days, seconds, strict=True) if load.is_there(day))
    begin, end = period.bounds
    total = 0.0
    # The first noon cuts a day, and so does the last.
    for number in range(-1, period.nights + 1):
        day = period.first_night + timedelta(days=number)
        if load.is_there(day):
            on, off = _span(day, load.hours, period.tz)
            total += max(0.0, (min(off, end) - max(on, begin)).total_seconds())
    return total


@lru_cache(maxsize=64)
def _dark_s(place: Place, first_night: date, nights: int, tz: ZoneInfo) -> Sequence[float]:
    """Seconds from sunset to sunrise in each night, between its noons."""
    sky = sky_over(Nights(tz, first_night, nights), [place])
    sunset, sunrise = (edge[0, 1:-1] for edge in sky.dark_around)
    inside = [np.clip(edge, sky.nights.starts, sky.nights.ends) for edge in (sunset, sunrise)]
    found: list[float] = (inside[1] - inside[0]).tolist()
    return found


def _span(day: date, hours: tuple[time, time], tz: ZoneInfo) -> tuple[datetime, datetime]:
    """When it goes on on a day, and off again: the next day where that is not after it."""
    next_day = day + timedelta(days=1)
    on = datetime.combine(day, hours[0], tz).astimezone(UTC)
    off = datetime.combine(day if hours[1] > hours[0] else next_day, hours[1], tz).astimezone(UTC)
    return on, off
