"""A dimming profile: switch points of one night, and the instants they fall on in a given night at a given place.

Pure. A night runs from local noon to local noon. What holds on which night is calendar.py's business, plans for many
nights planning.py's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import IntEnum
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from domain.errors import InvalidInput, Violation
from domain.level import FULL_PERMILLE, OFF_PERMILLE
from domain.night import local_instant, middle, night_bounds
from domain.sun import SunEvents, SunState, night_events, sun_events

MAX_OFFSET_S: Final = 43_200
MAX_RAMP_S: Final = 3_600
MAX_POINTS: Final = 50
# Every night of a leap year: a profile has to keep its order on all of them.
NIGHTS_CHECKED: Final = 366
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")


class Anchor(IntEnum):
    """What a switch point is relative to; numbers as in lichtbuch.scheduler.v1.Anchor."""

    SUNSET = 1
    SUNRISE = 2
    CIVIL_DUSK = 3
    CIVIL_DAWN = 4
    CLOCK = 5
    VIRTUAL_MIDNIGHT = 6


@dataclass(frozen=True)
class Place:
    """Where the sun is computed (WGS84 degrees) and which clock the town keeps."""

    latitude_deg: float
    longitude_deg: float
    tz: ZoneInfo


@dataclass(frozen=True)
class SwitchPoint:
    """From its instant on a level holds until the next point. offset_s: later positive; clock times local."""

    anchor: Anchor
    level_permille: int
    offset_s: int = 0
    clock_time: time | None = None
    ramp_s: int = 0
    earliest: time | None = None
    latest: time | None = None

    def instant(self, night: date, place: Place, sun: SunEvents) -> datetime | None:
        """The instant in the night that starts at noon of `night`; None where the night has no dark to be relative to.

        A day on which the sun does not rise is dark from noon to noon; where only civil dusk is missing, for the sun
        stays above -6 degrees, the darkest moment stands for it: the middle between sunset and sunrise.
        """
        if self.anchor is Anchor.CLOCK:
            assert self.clock_time is not None  # validated
            return clock_instant(night, self.clock_time, place.tz)
        dark = sun.dark()
        if dark is None:
            return None
        sunset, sunrise = dark
        civil = sun.civil_dark() or (middle(*dark), middle(*dark))
        base = {
            Anchor.SUNSET: sunset,
            Anchor.SUNRISE: sunrise,
            Anchor.CIVIL_DUSK: civil[0],
            Anchor.CIVIL_DAWN: civil[1],
            Anchor.VIRTUAL_MIDNIGHT: middle(sunset, sunrise),
        }[self.anchor]
        found = base + timedelta(seconds=self.offset_s)
        if self.earliest is not None:
            found = max(found, clock_instant(night, self.earliest, place.tz))
        if self.latest is not None:
            found = min(found, clock_instant(night, self.latest, place.tz))
        start, end = night_bounds(night, place.tz)
        return min(max(found, start), end)


def clock_instant(night: date, clock: time, tz: ZoneInfo) -> datetime:
    """A clock time of a night: from noon on it is the first day's, before noon the second's. Raises nothing.

    A time that the spring change skips is taken as the clock would have shown it without the change (an hour later by
    the new clock); one that autumn repeats is its first occurrence.
    """
    day = night if clock >= time(12) else night + timedelta(days=1)
    return local_instant(day, clock, tz)


def parse_clock(text: str, field: str) -> time | None:
    """A time "HH:MM" or "HH:MM:SS"; None for an empty text. Raises InvalidInput that names the field."""
    if not text:
        return None
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise InvalidInput.of(field, f"{text!r} is no clock time HH:MM")
    return time(int(match.group(1)), int(match.group(2)), int(match.group(3) or 0))


@dataclass(frozen=True)
class Profile:
    """Switch points of one night in the order in which they happen. Before the first one the level is 0."""

    points: tuple[SwitchPoint, ...]

    def instants(self, night: date, place: Place, sun: SunEvents | None = None) -> list[datetime]:
        """The instant (UTC) of every point in a night, ascending by rule; empty on a night without dark.

        sun: the sun's events of that night at that place, where they are known already. Raises InvalidInput where a
        point would not come after its predecessor, with the point and the night.
        """
        if sun is None:
            noon = night_bounds(night, place.tz)[0]
            sun = sun_events(place.latitude_deg, place.longitude_deg, night, noon_utc=noon)
        found: list[datetime] = []
        for index, point in enumerate(self.points):
            instant = point.instant(night, place, sun)
            if instant is None:
                return []
            instant = instant.replace(microsecond=0)
            if found and instant <= found[-1]:
                local, before = (moment.astimezone(place.tz).strftime("%H:%M:%S") for moment in (instant, found[-1]))
                raise InvalidInput.of(
                    f"points[{index}]",
                    f"in the night of {night.isoformat()} it comes at {local},"
                    f" not after points[{index - 1}] at {before}",
                )
            found.append(instant)
        return found


def validate(points: Sequence[SwitchPoint]) -> None:
    """What can be said of a profile without a place. Raises InvalidInput with every violation."""
    violations: list[Violation] = []
    if not points:
        violations.append(Violation("points", "a profile has at least one switch point"))
    if len(points) > MAX_POINTS:
        violations.append(Violation("points", f"{len(points)} are more than {MAX_POINTS}"))
    for index, point in enumerate(points):
        prefix = f"points[{index}]"
        if not OFF_PERMILLE <= point.level_permille <= FULL_PERMILLE:
            violations.append(Violation(f"{prefix}.level_permille", "must be 0 to 1000"))
        if abs(point.offset_s) > MAX_OFFSET_S:
            violations.append(Violation(f"{prefix}.offset_s", "must be within 12 hours"))
        if not 0 <= point.ramp_s <= MAX_RAMP_S:
            violations.append(Violation(f"{prefix}.ramp_s", "must be 0 to 3600"))
        if point.anchor is Anchor.CLOCK:
            if point.clock_time is None:
                violations.append(Violation(f"{prefix}.clock_time", "is needed by the anchor CLOCK"))
            if point.offset_s or point.earliest or point.latest:
                violations.append(Violation(prefix, "a clock time has neither offset nor limits"))
        elif point.clock_time is not None:
            violations.append(Violation(f"{prefix}.clock_time", "belongs to the anchor CLOCK only"))
        if point.earliest and point.latest and _night_order(point.earliest) > _night_order(point.latest):
            violations.append(Violation(f"{prefix}.earliest", "is after latest"))
    if points and points[-1].level_permille != OFF_PERMILLE:
        violations.append(
            Violation(f"points[{len(points) - 1}].level_permille", "the last point of a night has level 0")
        )
    if violations:
        raise InvalidInput("the profile is not valid", violations)


def _night_order(clock: time) -> tuple[bool, time]:
    return clock < time(12), clock


def check_year(profile: Profile, place: Place, first_night: date, nights: int = NIGHTS_CHECKED) -> None:
    """Every night of a year keeps the points' order. Raises InvalidInput with the first night that does not."""
    days = [first_night + timedelta(days=number) for number in range(nights)]
    for night, sun in zip(days, _sun_of_nights(place, days), strict=True):
        profile.instants(night, place, sun)


def _sun_of_nights(place: Place, nights: Sequence[date]) -> Iterator[SunEvents]:
    """`sun_events` of many nights at one place, computed at once: that is twenty times faster."""
    noons = [night_bounds(night, place.tz)[0].timestamp() for night in nights]
    events = night_events(place.latitude_deg, place.longitude_deg, np.array(noons))

    def at(column: NDArray[np.float64], index: int) -> datetime:
        return datetime.fromtimestamp(float(column[index]), UTC)

    def at_or_none(column: NDArray[np.float64], index: int) -> datetime | None:
        return None if np.isnan(column[index]) else at(column, index)

    for index in range(len(noons)):
        yield SunEvents(
            solar_noon=at(events.solar_noon_s, index),
            solar_midnight=at(events.solar_midnight_s, index),
            next_solar_noon=at(events.next_solar_noon_s, index),
            sunset=at_or_none(events.sunset_s, index),
            sunrise=at_or_none(events.sunrise_s, index),
            civil_dusk=at_or_none(events.civil_dusk_s, index),
            civil_dawn=at_or_none(events.civil_dawn_s, index),
            state=SunState(int(events.state[index])),
            civil_state=SunState(int(events.civil_state[index])),
        )
