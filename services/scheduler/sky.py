"""The sun over many places and nights at once: what moments of a night are relative to, in arrays. Pure.

Every instant is the one that moment.py gives night by night, to the second. Arrays are [place, night]; instants are
whole Unix seconds (UTC) as float64, which is exact. What happens at these moments is nights.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, time, timedelta
from functools import cached_property
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from domain.night import night_bounds
from domain.sun import NightEvents, SunState, crossings, night_events
from services.scheduler.moment import Anchor, NightMoment, Place, clock_instant

Seconds = NDArray[np.float64]
Flags = NDArray[np.bool_]

_MICROSECOND: Final = 1_000_000
_HALF_MICROSECOND_S: Final = 5e-7


class Nights:
    """Consecutive lighting nights by one clock: their noons, and clock times in them."""

    def __init__(self, tz: ZoneInfo, first_night: date, count: int) -> None:
        self.tz, self.first_night, self.count = tz, first_night, count
        bounds = [night_bounds(first_night + timedelta(days=number), tz)[0] for number in range(-1, count + 2)]
        self._noons = np.array([noon.timestamp() for noon in bounds])
        self._clocks: dict[time, Seconds] = {}

    def dates(self) -> list[date]:
        """The nights, by the date of their starting noon."""
        return [self.first_night + timedelta(days=number) for number in range(self.count)]

    @property
    def starts(self) -> Seconds:
        """The noon at which each night begins."""
        return self._noons[1:-2]

    @property
    def ends(self) -> Seconds:
        """The noon at which each night ends."""
        return self._noons[2:-1]

    @property
    def noons_around(self) -> Seconds:
        """The noons of the nights, and of one night before and one after."""
        return self._noons[:-1]

    def clock(self, clock: time) -> Seconds:
        """A clock time in each night."""
        if clock not in self._clocks:
            self._clocks[clock] = np.array([clock_instant(night, clock, self.tz).timestamp() for night in self.dates()])
        return self._clocks[clock]


class Sky:
    """What the sun does at some places in some nights, and in the night before and after them."""

    def __init__(self, nights: Nights, latitude_deg: NDArray[np.float64], longitude_deg: NDArray[np.float64]) -> None:
        self.nights = nights
        self.latitude_deg, self.longitude_deg = latitude_deg, longitude_deg
        self._events = night_events(latitude_deg[:, None], longitude_deg[:, None], nights.noons_around[None, :])

    def place(self, row: int) -> Place:
        """One of the places."""
        return Place(float(self.latitude_deg[row]), float(self.longitude_deg[row]), self.nights.tz)

    @cached_property
    def unlit(self) -> Flags:
        """Nights that never get dark."""
        found: Flags = self._events.state[:, 1:-1] == SunState.ALWAYS_UP
        return found

    @cached_property
    def dark_around(self) -> tuple[Seconds, Seconds]:
        """Sunset and sunrise as `SunEvents.dark` has them, one night before and after included; equal where unlit."""
        return _spans(self._events, self._events.state, self._events.sunset_s, self._events.sunrise_s)

    @cached_property
    def civil_around(self) -> tuple[Seconds, Seconds]:
        """Civil dusk and dawn as `SunEvents.civil_dark` has them, likewise."""
        return _spans(self._events, self._events.civil_state, self._events.civil_dusk_s, self._events.civil_dawn_s)

    def base(self, moment: NightMoment) -> Seconds:
        """What a moment is relative to in every night, the fraction of a second cut off. Meaningless where unlit."""
        key = moment.anchor, moment.elevation_deg, moment.rising
        if key not in self._bases:
            self._bases[key] = self._base(moment)
        return self._bases[key]

    @cached_property
    def _bases(self) -> dict[tuple[Anchor, float, bool], Seconds]:
        return {}

    def _base(self, moment: NightMoment) -> Seconds:
        match moment.anchor:
            case Anchor.SUNSET:
                return _whole(self.dark_around[0][:, 1:-1])
            case Anchor.SUNRISE:
                return _whole(self.dark_around[1][:, 1:-1])
            case Anchor.CIVIL_DUSK | Anchor.CIVIL_DAWN:
                found = self.civil_around[moment.anchor is Anchor.CIVIL_DAWN][:, 1:-1]
                missing = self._events.civil_state[:, 1:-1] == SunState.ALWAYS_UP
            case Anchor.SUN_ELEVATION:
                passed = crossings(
                    self.latitude_deg[:, None], self.longitude_deg[:, None],
                    self.nights.starts[None, :], moment.elevation_deg,
                )  # fmt: skip
                noon = self._events.next_solar_noon_s if moment.rising else self._events.solar_noon_s
                found = passed.dawn_s if moment.rising else passed.dusk_s
                found = np.where(np.isnan(found), noon[:, 1:-1], found)
                missing = passed.state == SunState.ALWAYS_UP
            case _:
                return self._middle
        # Where the sun does not get down so far, the darkest moment stands for it.
        found = _whole(found)
        return np.where(missing, self._middle, found) if missing.any() else found

    @cached_property
    def _middle(self) -> Seconds:
        # As `domain.night.middle`: halves of microseconds are rounded to even.
        sunset, sunrise = (np.rint(edge[:, 1:-1] * _MICROSECOND).astype(np.int64) for edge in self.dark_around)
        length = sunrise - sunset
        half = length >> 1
        found: Seconds = ((sunset + half + (length & half & 1)) // _MICROSECOND).astype(np.float64)
        return found


def _spans(events: NightEvents, state: NDArray[np.uint8], dusk_s: Seconds, dawn_s: Seconds) -> tuple[Seconds, Seconds]:
    """Dusk and dawn; the solar noon where one is missing, and an empty span where it never gets dark."""
    begin = np.where(np.isnan(dusk_s), events.solar_noon_s, dusk_s)
    end = np.where(np.isnan(dawn_s), events.next_solar_noon_s, dawn_s)
    return begin, np.where(state == SunState.ALWAYS_UP, begin, end)


def _whole(instants: Seconds) -> Seconds:
    """Whole seconds of instants, after rounding them to microseconds as datetimes are."""
    return np.floor(instants + _HALF_MICROSECOND_S)


def moment_times(moment: NightMoment, sky: Sky) -> Seconds:
    """When a moment is, as `NightMoment.instant`. Meaningless where unlit, but for a clock time."""
    nights = sky.nights
    if moment.anchor is Anchor.CLOCK:
        assert moment.clock_time is not None  # validated
        return np.broadcast_to(nights.clock(moment.clock_time), sky.unlit.shape)
    found = sky.base(moment) + moment.offset_s
    if moment.earliest is not None:
        found = np.maximum(found, nights.clock(moment.earliest))
    if moment.latest is not None:
        found = np.minimum(found, nights.clock(moment.latest))
    return np.clip(found, nights.starts, nights.ends)


def sky_over(nights: Nights, places: Sequence[Place]) -> Sky:
    """The sky over places that keep the nights' clock."""
    return Sky(
        nights,
        np.array([place.latitude_deg for place in places]),
        np.array([place.longitude_deg for place in places]),
    )
