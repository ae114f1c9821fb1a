"""Where the sun stands, and when it rises and sets, for one place or for a hundred thousand at once. Not: local time.

An event is the instant at which the sun's centre, without refraction, passes an elevation: -0.833 deg for sunset and
sunrise (34' refraction, 16' radius of the disc), -6 deg for civil dusk and dawn. The sun's position (sun_position.py)
is taken at the instant of the event itself: it is iterated until it stands still.

A night here runs from a solar noon over solar midnight to the next solar noon. Where the sun does not pass the
elevation in one half of it, that half has no event, and the answer is still defined (`SunState`, `SunEvents.dark`).
Nights cut at solar noons tile the year without gaps even in the polar night, which nights cut at clock noons would not.
"""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.errors import InvalidInput
from domain.sun_position import (
    CIVIL_DEG,
    DAY_S,
    EPOCH,
    SUNSET_DEG,
    TURN,
    Floats,
    Instants,
    broadcast,
    elevation_deg,
    is_sun_down,
    sun_position,
    unix_seconds,
)

__all__ = [
    "CIVIL_DEG",
    "SUNSET_DEG",
    "Crossings",
    "Instants",
    "NightEvents",
    "SunEvents",
    "SunState",
    "crossings",
    "elevation_deg",
    "is_sun_down",
    "night_events",
    "sun_events",
    "sun_position",
    "unix_seconds",
]

_TOLERANCE_S: Final = 0.1  # of the last step of the iteration ...
_MAX_ITERATIONS: Final = 6  # ... which so few steps reach only if each shrinks to a third: then 0.05 s at most are left
_ALL: Final = slice(None)
_CHUNK: Final = 16_384  # places worked on at once: their temporaries stay in the processor's cache
_TABLE_STEP_S: Final = 3_600.0  # the sun's declination bends by 0.007 deg/day^2: linear in an hour to 2e-6 deg
_SHORT_TABLE: Final = 256  # hours that are computed as quickly as a single one


class SunState(IntEnum):
    """What the sun does with an elevation in a night."""

    NORMAL = 0
    """It passes it: at dusk, at dawn or both."""
    ALWAYS_UP = 1
    """It is above even at solar midnight: a midsummer night in the north."""
    ALWAYS_DOWN = 2
    """It is below even at both solar noons: the polar night."""


@dataclass(frozen=True, slots=True)
class Crossings:
    """When the sun passes one elevation in many nights: Unix seconds, NaN where it does not; `SunState` as uint8."""

    dusk_s: Floats
    dawn_s: Floats
    state: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class NightEvents:
    """Events of many nights, in columns: Unix seconds (UTC), NaN where there is none; `SunState` as uint8."""

    solar_noon_s: Floats
    solar_midnight_s: Floats
    next_solar_noon_s: Floats
    sunset_s: Floats
    sunrise_s: Floats
    civil_dusk_s: Floats
    civil_dawn_s: Floats
    state: NDArray[np.uint8]
    civil_state: NDArray[np.uint8]

    def dark_s(self) -> tuple[Floats, Floats]:
        """Start and end of the time with the sun below the horizon, as `SunEvents.dark`; NaN where it never is."""
        never = self.state == SunState.ALWAYS_UP
        start = np.where(np.isnan(self.sunset_s), self.solar_noon_s, self.sunset_s)
        end = np.where(np.isnan(self.sunrise_s), self.next_solar_noon_s, self.sunrise_s)
        return np.where(never, np.nan, start), np.where(never, np.nan, end)


@dataclass(frozen=True, slots=True)
class SunEvents:
    """Events of one night at one place, in UTC; None where there is none."""

    solar_noon: datetime
    solar_midnight: datetime
    next_solar_noon: datetime
    sunset: datetime | None
    sunrise: datetime | None
    civil_dusk: datetime | None
    civil_dawn: datetime | None
    state: SunState
    civil_state: SunState

    def dark(self) -> tuple[datetime, datetime] | None:
        """From sunset to sunrise. Where one is missing the sun is down at that solar noon, and the night begins or ends
        with it: a polar night is dark from solar noon to solar noon. None in a night without sunset (midsummer)."""
        if self.state is SunState.ALWAYS_UP:
            return None
        return self.sunset or self.solar_noon, self.sunrise or self.next_solar_noon

    def civil_dark(self) -> tuple[datetime, datetime] | None:
        """From civil dusk to civil dawn; defined as `dark`."""
        if self.civil_state is SunState.ALWAYS_UP:
            return None
        return self.civil_dusk or self.solar_noon, self.civil_dawn or self.next_solar_noon


def sun_events(latitude_deg: float, longitude_deg: float, day: date, *, noon_utc: datetime | None = None) -> SunEvents:
    """Events of the night that begins at the noon of `day`: dusk on that evening, dawn on the next morning.

    The noon is the solar noon nearest to 12:00 local mean time; give `noon_utc` (12:00 of the local clock) where the
    clock is a whole day off its longitude, as in Kiribati. Raises InvalidInput for a position off the globe.
    """
    if noon_utc is None:
        midday = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        noon_utc = midday - timedelta(hours=float(longitude_deg) / 15.0)
    events = night_events([latitude_deg], [longitude_deg], noon_utc)
    return SunEvents(
        solar_noon=_instant(events.solar_noon_s),
        solar_midnight=_instant(events.solar_midnight_s),
        next_solar_noon=_instant(events.next_solar_noon_s),
        sunset=_instant_or_none(events.sunset_s),
        sunrise=_instant_or_none(events.sunrise_s),
        civil_dusk=_instant_or_none(events.civil_dusk_s),
        civil_dawn=_instant_or_none(events.civil_dawn_s),
        state=SunState(int(events.state[0])),
        civil_state=SunState(int(events.civil_state[0])),
    )


def night_events(latitude_deg: ArrayLike, longitude_deg: ArrayLike, noon_utc: Instants) -> NightEvents:
    """Events of many nights. The three arguments broadcast: 1 000 places against ``noons[:, None]`` of a year give a
    year of 1 000 places.

    Each night begins at the solar noon nearest to its `noon_utc`. Raises InvalidInput for a position off the globe.
    """
    latitude, longitude, noon, shape = broadcast(latitude_deg, longitude_deg, noon_utc)
    columns = [np.empty(latitude.size) for _ in range(7)]
    states = [np.empty(latitude.size, dtype=np.uint8) for _ in range(2)]
    sun = _Sun(noon)
    for begin in range(0, latitude.size, _CHUNK):
        part = slice(begin, begin + _CHUNK)
        night = _Night(sun, latitude[part], longitude[part], noon[part])
        day = night.crossings(SUNSET_DEG)
        civil = night.crossings(CIVIL_DEG)
        results = (night.noon, night.midnight, night.next_noon, day.dusk_s, day.dawn_s, civil.dusk_s, civil.dawn_s)
        for column, values in zip(columns, results, strict=True):
            column[part] = values
        states[0][part], states[1][part] = day.state, civil.state
    noons, midnights, next_noons, sunset, sunrise, civil_dusk, civil_dawn = (c.reshape(shape) for c in columns)
    state, civil_state = (s.reshape(shape) for s in states)
    return NightEvents(
        noons, midnights, next_noons, sunset, sunrise, civil_dusk, civil_dawn, state=state, civil_state=civil_state
    )


def crossings(latitude_deg: ArrayLike, longitude_deg: ArrayLike, noon_utc: Instants, elevation_deg: float) -> Crossings:
    """When the sun falls below and rises above any elevation, in many nights; arguments as `night_events`.

    elevation_deg: of the sun's centre without refraction, -90..90. Raises InvalidInput.
    """
    if not -90 <= elevation_deg <= 90:
        raise InvalidInput.of("elevation_deg", f"{elevation_deg} is not between -90 and 90 degrees")
    latitude, longitude, noon, shape = broadcast(latitude_deg, longitude_deg, noon_utc)
    sun = _Sun(noon)
    dusk, dawn = np.empty(latitude.size), np.empty(latitude.size)
    state = np.empty(latitude.size, dtype=np.uint8)
    for begin in range(0, latitude.size, _CHUNK):
        part = slice(begin, begin + _CHUNK)
        found = _Night(sun, latitude[part], longitude[part], noon[part]).crossings(elevation_deg)
        dusk[part], dawn[part], state[part] = found.dusk_s, found.dawn_s, found.state
    return Crossings(dusk.reshape(shape), dawn.reshape(shape), state.reshape(shape))


class _Sun:
    """The sun over a span of time, linear between the hours of UTC: tabulated unless instants are few and far between.

    It is the same whatever else is asked for, so that a night alone is what it is among thousands, to the microsecond.
    """

    def __init__(self, noon_s: Floats) -> None:
        first = float(noon_s.min(initial=np.inf)) - DAY_S if noon_s.size else 0.0
        last = float(noon_s.max(initial=-np.inf)) + 2.5 * DAY_S if noon_s.size else 0.0
        self._first = math.floor(first / _TABLE_STEP_S) * _TABLE_STEP_S
        count = int((last - self._first) / _TABLE_STEP_S) + 2
        self._tabulated = count <= max(_SHORT_TABLE, 4 * noon_s.size)
        if self._tabulated:
            self._values, self._slopes = _table(self._first, count)

    def equation_s(self, t: Floats) -> Floats:
        """Equation of time in seconds."""
        if not self._tabulated:
            return self.at(t)[2]
        position = (t - self._first) * (1.0 / _TABLE_STEP_S)
        index = position.astype(np.intp)
        return self._values[2][index] + (position - index) * self._slopes[2][index]

    def at(self, t: Floats) -> tuple[Floats, Floats, Floats]:
        """Sine and cosine of the declination, and the equation of time in seconds."""
        position = (t - self._first) * (1.0 / _TABLE_STEP_S)
        if self._tabulated:
            index = position.astype(np.intp)
            rest = position - index
            sine, cosine, equation = (
                v[index] + rest * s[index] for v, s in zip(self._values, self._slopes, strict=True)
            )
            return sine, cosine, equation
        hour = np.floor(position)
        rest = position - hour
        before, after = (_sines(self._first + whole * _TABLE_STEP_S) for whole in (hour, hour + 1.0))
        sine, cosine, equation = (a + rest * (b - a) for a, b in zip(before, after, strict=True))
        return sine, cosine, equation


@lru_cache(maxsize=8)
def _table(first_s: float, count: int) -> tuple[tuple[Floats, ...], tuple[Floats, ...]]:
    """What `_sines` gives for whole hours, and how it changes within each: whoever asks for a year asks again."""
    values = _sines(first_s + np.arange(count) * _TABLE_STEP_S)
    return values, tuple(np.diff(v, append=v[-1]) for v in values)


def _sines(t: NDArray[np.floating[Any]]) -> tuple[Floats, Floats, Floats]:
    declination, equation_s = sun_position(t)
    return np.sin(declination), np.cos(declination), equation_s


class _Night:
    """One night at each of some places: its solar noons and midnight, and what the sun does between them."""

    def __init__(self, sun: _Sun, latitude_deg: Floats, longitude_deg: Floats, noon_s: Floats) -> None:
        phi = np.radians(latitude_deg)
        self._sun = sun
        self._sin_phi, self._cos_phi = np.sin(phi), np.maximum(np.cos(phi), 1e-9)
        self._offset_s = longitude_deg * (DAY_S / 360.0)
        # 12:00 local mean time nearest to the given noon; then apparent (solar) noons and midnight by the equation of
        # time at these instants themselves.
        self._mean_noon = noon_s - ((noon_s + self._offset_s) % DAY_S - DAY_S / 2.0)
        self._at_noon = sun.at(self._mean_noon - sun.equation_s(self._mean_noon))
        self.noon = self._mean_noon - self._at_noon[2]
        self._at_midnight = sun.at(self.noon + DAY_S / 2.0)
        self.midnight = self._mean_noon + DAY_S / 2.0 - self._at_midnight[2]
        self._at_next = sun.at(self.midnight + DAY_S / 2.0)
        self.next_noon = self._mean_noon + DAY_S - self._at_next[2]
        self._noon_height = self._sin_phi * self._at_noon[0] + self._cos_phi * self._at_noon[1]
        self._mid_height = self._sin_phi * self._at_midnight[0] - self._cos_phi * self._at_midnight[1]
        self._next_height = self._sin_phi * self._at_next[0] + self._cos_phi * self._at_next[1]

    def crossings(self, elevation_deg: float) -> Crossings:
        """Dusk and dawn through an elevation."""
        height = math.sin(math.radians(elevation_deg))
        up_noon, up_mid, up_next = (h >= height for h in (self._noon_height, self._mid_height, self._next_height))
        dusk = self._passage(height, up_noon & ~up_mid, (self._at_noon, self._at_next), 1.0)
        dawn = self._passage(height, up_next & ~up_mid, (self._at_next, self._at_noon), -1.0)
        state = np.full(up_mid.shape, SunState.NORMAL, dtype=np.uint8)
        state[up_mid] = SunState.ALWAYS_UP
        state[~(up_noon | up_mid | up_next)] = SunState.ALWAYS_DOWN
        return Crossings(dusk, dawn, state)

    def _passage(
        self, height: float, exists: NDArray[np.bool_], at_noons: tuple[tuple[Floats, ...], ...], side: float
    ) -> Floats:
        """The instant after (side 1) or before (side -1) a noon at which the sine of the elevation is `height`.

        at_noons: the sun's position at that noon, and at the one beyond midnight.
        """
        # t = mean noon + H(t) - equation of time(t) is a map that contracts a hundredfold a step at most latitudes.
        # Where it contracts too slowly, near a midsummer midnight or a midwinter noon, halving finds the instant.
        # Each instant stands still once its own step was small, so that it does not depend on its neighbours.
        mean = self._mean_noon if side > 0 else self._mean_noon + DAY_S
        # Half-way between noon and midnight is a good first guess of the sun's position, and costs nothing; where it
        # stands at the hour that follows from it, on the parabola through both noons and midnight, is good to a second.
        positions = tuple(zip(*at_noons, self._at_midnight, strict=True))
        half_way = tuple(0.5 * (noon + midnight) for noon, _, midnight in positions)
        share = self._hour_angle(height, half_way) * (1.0 / math.pi)
        bend = share * (share - 1.0) * 0.5
        guess = tuple(
            noon + share * (midnight - noon) + bend * (other - 2.0 * midnight + noon)
            for noon, other, midnight in positions
        )
        t = self._event(height, mean, guess, side)
        restless = exists
        steps = 0
        while steps < _MAX_ITERATIONS and np.count_nonzero(restless) * 50 > restless.size:
            new = self._event(height, mean, self._sun.at(t), side)
            moved = np.abs(new - t) > _TOLERANCE_S
            t = np.where(restless, new, t)
            restless = restless & moved
            steps += 1
        index = np.flatnonzero(restless)
        while steps < _MAX_ITERATIONS and index.size:
            there = t[index]
            t[index] = self._event(height, mean[index], self._sun.at(there), side, index)
            index = index[np.abs(t[index] - there) > _TOLERANCE_S]
            steps += 1
        if index.size:
            t[index] = self._halve(height, index, side)
        return np.where(exists, t, np.nan)

    def _event(
        self,
        height: float,
        mean_noon: Floats,
        position: tuple[Floats, ...],
        side: float,
        at: NDArray[np.intp] | slice = _ALL,
    ) -> Floats:
        """The event if the sun stood still at a position: the hour angle at which it has the height."""
        return mean_noon + self._hour_angle(height, position, at) * (side * DAY_S / TURN) - position[2]

    def _hour_angle(self, height: float, position: tuple[Floats, ...], at: NDArray[np.intp] | slice = _ALL) -> Floats:
        """How far from noon, in radians, the sun has the height if it stays at a position."""
        cos_hour = (height - self._sin_phi[at] * position[0]) / (self._cos_phi[at] * position[1])
        angle: Floats = np.arccos(np.clip(cos_hour, -1.0, 1.0))
        return angle

    def _halve(self, height: float, index: NDArray[np.intp], side: float) -> Floats:
        """Bisection between noon (above) and midnight (below) for the places at `index`."""
        above = (self.noon if side > 0 else self.next_noon)[index]
        below = self.midnight[index]
        sin_phi, cos_phi, offset = self._sin_phi[index], self._cos_phi[index], self._offset_s[index]
        for _ in range(26):  # half a day halved 26 times is less than a millisecond
            middle = (above + below) / 2.0
            sin_declination, cos_declination, equation = self._sun.at(middle)
            hour_angle = TURN * ((middle + offset + equation) % DAY_S / DAY_S - 0.5)
            up = sin_phi * sin_declination + cos_phi * cos_declination * np.cos(hour_angle) >= height
            above, below = np.where(up, middle, above), np.where(up, below, middle)
        return (above + below) / 2.0


def _instant(seconds: Floats) -> datetime:
    return EPOCH + timedelta(seconds=float(seconds[0]))


def _instant_or_none(seconds: Floats) -> datetime | None:
    return None if math.isnan(float(seconds[0])) else _instant(seconds)
