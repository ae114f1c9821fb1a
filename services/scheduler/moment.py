"""A moment of a night: what it is relative to, and the instant it falls on at a place. Not: what happens then.

Pure. A night runs from local noon to local noon. Switch points (profile.py) and the windows of sensor rules
(sensor_rule.py) are given by such moments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import IntEnum
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from domain.errors import InvalidInput, Violation
from domain.night import local_instant, middle, night_bounds
from domain.sun import Crossings, SunEvents, SunState, crossings, night_events, sun_events

MAX_OFFSET_S: Final = 43_200
LOWEST_ELEVATION_DEG: Final = -18.0
HIGHEST_ELEVATION_DEG: Final = 10.0
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")


class Anchor(IntEnum):
    """What a moment is relative to; numbers as in lichtbuch.scheduler.v1.Anchor."""

    SUNSET = 1
    SUNRISE = 2
    CIVIL_DUSK = 3
    CIVIL_DAWN = 4
    CLOCK = 5
    VIRTUAL_MIDNIGHT = 6
    SUN_ELEVATION = 7


@dataclass(frozen=True)
class Place:
    """Where the sun is computed (WGS84 degrees) and which clock the town keeps."""

    latitude_deg: float
    longitude_deg: float
    tz: ZoneInfo


@dataclass(frozen=True, slots=True)
class Passage:
    """When the sun falls below and rises above an elevation in one night; None where it does not."""

    dusk: datetime | None
    dawn: datetime | None
    state: SunState


Passages: TypeAlias = Mapping[float, Passage]
"""Passages of one night by elevation in degrees."""


@dataclass(frozen=True)
class NightMoment:
    """A moment of every night. offset_s: later positive; clock times are local; elevation_deg only for SUN_ELEVATION,
    with `rising` for the morning's passage."""

    anchor: Anchor
    offset_s: int = 0
    clock_time: time | None = None
    earliest: time | None = None
    latest: time | None = None
    elevation_deg: float = 0.0
    rising: bool = False

    def instant(self, night: date, place: Place, sun: SunEvents, passages: Passages | None = None) -> datetime | None:
        """The instant in the night that starts at noon of `night`; None where the night has no dark to be relative to.

        A day on which the sun does not rise is dark from noon to noon; where only civil dusk is missing, for the sun
        stays above -6 degrees, the darkest moment stands for it: the middle between sunset and sunrise. So it is with
        every other elevation that the sun does not get down to. passages: those of the night where they are known
        already; an elevation that is not among them is computed here.
        """
        if self.anchor is Anchor.CLOCK:
            assert self.clock_time is not None  # validated
            return clock_instant(night, self.clock_time, place.tz)
        base = self._base(night, place, sun, passages)
        if base is None:
            return None
        found = base + timedelta(seconds=self.offset_s)
        if self.earliest is not None:
            found = max(found, clock_instant(night, self.earliest, place.tz))
        if self.latest is not None:
            found = min(found, clock_instant(night, self.latest, place.tz))
        start, end = night_bounds(night, place.tz)
        return min(max(found, start), end)

    def _base(self, night: date, place: Place, sun: SunEvents, passages: Passages | None) -> datetime | None:
        dark = sun.dark()
        if dark is None:
            return None
        sunset, sunrise = dark
        match self.anchor:
            case Anchor.SUNSET:
                return sunset
            case Anchor.SUNRISE:
                return sunrise
            case Anchor.CIVIL_DUSK:
                return (sun.civil_dark() or (middle(*dark),))[0]
            case Anchor.CIVIL_DAWN:
                return (sun.civil_dark() or (middle(*dark),))[-1]
            case Anchor.SUN_ELEVATION:
                passage = (passages or {}).get(self.elevation_deg) or passage_of(night, place, self.elevation_deg)
                if passage.state is SunState.ALWAYS_UP:
                    return middle(*dark)
                if self.rising:
                    return passage.dawn or sun.next_solar_noon
                return passage.dusk or sun.solar_noon
            case _:
                return middle(*dark)

    def violations(self, prefix: str) -> list[Violation]:
        """What can be said against it without a place, each under `prefix`."""
        found: list[Violation] = []
        if abs(self.offset_s) > MAX_OFFSET_S:
            found.append(Violation(f"{prefix}.offset_s", "must be within 12 hours"))
        if self.anchor is Anchor.CLOCK:
            if self.clock_time is None:
                found.append(Violation(f"{prefix}.clock_time", "is needed by the anchor CLOCK"))
            if self.offset_s or self.earliest or self.latest:
                found.append(Violation(prefix, "a clock time has neither offset nor limits"))
        elif self.clock_time is not None:
            found.append(Violation(f"{prefix}.clock_time", "belongs to the anchor CLOCK only"))
        if self.anchor is not Anchor.SUN_ELEVATION:
            if self.elevation_deg or self.rising:
                found.append(Violation(f"{prefix}.elevation_deg", "belongs to the anchor SUN_ELEVATION only"))
        elif not LOWEST_ELEVATION_DEG <= self.elevation_deg <= HIGHEST_ELEVATION_DEG:  # NaN too
            found.append(Violation(f"{prefix}.elevation_deg", "must be -18 to 10"))
        if self.earliest and self.latest and night_order(self.earliest) > night_order(self.latest):
            found.append(Violation(f"{prefix}.earliest", "is after latest"))
        return found


def clock_instant(night: date, clock: time, tz: ZoneInfo) -> datetime:
    """A clock time of a night: from noon on it is the first day's, before noon the second's. Raises nothing.

    A time that the spring change skips is taken as the clock would have shown it without the change (an hour later by
    the new clock); one that autumn repeats is its first occurrence.
    """
    day = night if clock >= time(12) else night + timedelta(days=1)
    return local_instant(day, clock, tz)


def night_order(clock: time) -> tuple[bool, time]:
    """A key that sorts clock times as they come in a night: from noon to noon."""
    return clock < time(12), clock


def parse_clock(text: str, field: str) -> time | None:
    """A time "HH:MM" or "HH:MM:SS"; None for an empty text. Raises InvalidInput that names the field."""
    if not text:
        return None
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise InvalidInput.of(field, f"{text!r} is no clock time HH:MM")
    return time(int(match.group(1)), int(match.group(2)), int(match.group(3) or 0))


def sun_of_night(night: date, place: Place) -> SunEvents:
    """The sun's events of the night that begins at the local noon of `night`."""
    return sun_events(place.latitude_deg, place.longitude_deg, night, noon_utc=night_bounds(night, place.tz)[0])


def passage_of(night: date, place: Place, elevation_deg: float) -> Passage:
    """When the sun passes an elevation in one night."""
    noon = night_bounds(night, place.tz)[0]
    return _passage(crossings([place.latitude_deg], [place.longitude_deg], noon, elevation_deg), 0)


def suns_of_nights(
    place: Place, nights: Sequence[date], elevations_deg: Sequence[float] = ()
) -> Iterator[tuple[SunEvents, dict[float, Passage]]]:
    """`sun_of_night` of many nights at one place, and the passages of elevations, computed at once: twenty times
    faster."""
    noons = np.array([night_bounds(night, place.tz)[0].timestamp() for night in nights])
    events = night_events(place.latitude_deg, place.longitude_deg, noons)
    passed = {
        elevation: crossings(place.latitude_deg, place.longitude_deg, noons, elevation) for elevation in elevations_deg
    }
    for index in range(len(noons)):
        sun = SunEvents(
            solar_noon=_at(events.solar_noon_s, index),
            solar_midnight=_at(events.solar_midnight_s, index),
            next_solar_noon=_at(events.next_solar_noon_s, index),
            sunset=_at_or_none(events.sunset_s, index),
            sunrise=_at_or_none(events.sunrise_s, index),
            civil_dusk=_at_or_none(events.civil_dusk_s, index),
            civil_dawn=_at_or_none(events.civil_dawn_s, index),
            state=SunState(int(events.state[index])),
            civil_state=SunState(int(events.civil_state[index])),
        )
        yield sun, {elevation: _passage(found, index) for elevation, found in passed.items()}


def _passage(found: Crossings, index: int) -> Passage:
    return Passage(
        _at_or_none(found.dusk_s, index), _at_or_none(found.dawn_s, index), SunState(int(found.state[index]))
    )


def _at(column: NDArray[np.float64], index: int) -> datetime:
    return datetime.fromtimestamp(float(column[index]), UTC)


def _at_or_none(column: NDArray[np.float64], index: int) -> datetime | None:
    return None if np.isnan(column[index]) else _at(column, index)
