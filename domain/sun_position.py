"""Where the sun stands: declination, equation of time, elevation above the horizon of any place. Not: events (sun.py).

J. Meeus, Astronomical Algorithms, 2nd ed., chapters 25 (low accuracy, 0.01 deg) and 28 (equation of time), as NOAA's
solar calculator uses them. Universal time serves as terrestrial time: that costs less than 0.1 s.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.errors import InvalidInput

Floats = NDArray[np.float64]
Instants = datetime | Sequence[datetime] | NDArray[np.float64] | NDArray[np.datetime64]
"""Aware datetimes, or an array of Unix seconds (UTC), or an array of datetime64 (UTC)."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
DAY_S: Final = 86_400.0
TURN: Final = 2.0 * math.pi
SUNSET_DEG: Final = -0.833
CIVIL_DEG: Final = -6.0

_J2000_UNIX_S: Final = 946_728_000.0
_CENTURY_S: Final = 36_525.0 * DAY_S


def elevation_deg(latitude_deg: ArrayLike, longitude_deg: ArrayLike, instants: Instants) -> Floats:
    """Elevation of the sun's centre above the horizon in degrees, without refraction. The arguments broadcast."""
    latitude, longitude, seconds, shape = broadcast(latitude_deg, longitude_deg, instants)
    declination, equation_s = sun_position(seconds)
    hour_angle = TURN * (((seconds + equation_s) % DAY_S) / DAY_S - 0.5) + np.radians(longitude)
    phi = np.radians(latitude)
    sine = np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.cos(hour_angle)
    elevation: Floats = np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0)))
    return elevation.reshape(shape)


def is_sun_down(latitude_deg: float, longitude_deg: float, instant: datetime) -> bool:
    """True between sunset and sunrise, by the elevation at the instant itself."""
    return bool(elevation_deg(latitude_deg, longitude_deg, instant) < SUNSET_DEG)


def unix_seconds(instants: Instants) -> Floats:
    """Instants as Unix seconds. Raises InvalidInput for a naive datetime."""
    if isinstance(instants, datetime):
        return np.array(_seconds(instants))
    if isinstance(instants, np.ndarray):
        if np.issubdtype(instants.dtype, np.datetime64):
            return instants.astype("datetime64[us]").astype(np.int64) / 1e6
        return instants.astype(np.float64)
    return np.array([_seconds(instant) for instant in instants])


def sun_position(unix_s: NDArray[np.floating[Any]]) -> tuple[Floats, Floats]:
    """Declination in radians and equation of time (apparent less mean solar time) in seconds, at Unix seconds."""
    t = (unix_s - _J2000_UNIX_S) / _CENTURY_S
    mean_longitude = np.radians(280.46646 + t * (36_000.76983 + t * 0.0003032))
    anomaly = np.radians(357.52911 + t * (35_999.05029 - t * 0.0001537))
    centre = (
        (1.914602 - t * (0.004817 + t * 0.000014)) * np.sin(anomaly)
        + (0.019993 - t * 0.000101) * np.sin(2.0 * anomaly)
        + 0.000289 * np.sin(3.0 * anomaly)
    )
    node = np.radians(125.04 - 1_934.136 * t)
    nutation_deg = -0.00478 * np.sin(node)
    apparent = mean_longitude + np.radians(centre - 0.00569 + nutation_deg)
    obliquity = np.radians(
        23.4392911 - t * (0.0130041667 + t * (1.63889e-7 - t * 5.036111e-7)) + 0.00256 * np.cos(node)
    )
    declination = np.arcsin(np.sin(obliquity) * np.sin(apparent))
    right_ascension = np.arctan2(np.cos(obliquity) * np.sin(apparent), np.cos(apparent))
    # Meeus (28.1); the difference of two angles is brought into half a turn around zero.
    equation = mean_longitude - math.radians(0.0057183) - right_ascension + np.radians(nutation_deg) * np.cos(obliquity)
    equation = (equation + math.pi) % TURN - math.pi
    return declination, equation * (DAY_S / TURN)


def broadcast(
    latitude_deg: ArrayLike, longitude_deg: ArrayLike, instants: Instants
) -> tuple[Floats, Floats, Floats, tuple[int, ...]]:
    """Latitudes, longitudes and Unix seconds as flat columns of one length, and the shape they had together."""
    latitude = np.asarray(latitude_deg, dtype=np.float64)
    longitude = np.asarray(longitude_deg, dtype=np.float64)
    # Written so that NaN is refused, too.
    if not bool(np.all(np.abs(latitude) <= 90.0)):
        raise InvalidInput.of("latitude_deg", "a latitude is not between -90 and 90 degrees")
    if not bool(np.all(np.abs(longitude) <= 180.0)):
        raise InvalidInput.of("longitude_deg", "a longitude is not between -180 and 180 degrees")
    parts = np.broadcast_arrays(latitude, longitude, unix_seconds(instants))
    return parts[0].ravel(), parts[1].ravel(), parts[2].ravel(), parts[0].shape


def _seconds(instant: datetime) -> float:
    if instant.utcoffset() is None:
        raise InvalidInput.of("instant", "an instant with a time zone is needed")
    return (instant - EPOCH).total_seconds()
