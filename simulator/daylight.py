"""Outdoor light as a sensor on a roof sees it: illuminance over the sun's elevation, clear sky, no moon."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from domain.sun import elevation_deg

# Horizontal illuminance in lx over elevation in degrees, typical clear-sky twilight and daylight values; the points at
# -18, -12, -6 and -0.833 are the usual ends of astronomical, nautical and civil twilight and sunset.
_ELEVATION_DEG = np.array([-18.0, -12.0, -6.0, -4.0, -2.0, -0.833, 0.0, 2.0, 5.0, 10.0, 20.0, 40.0, 90.0])
_LUX = np.array(
    [0.001, 0.008, 3.4, 28.0, 150.0, 400.0, 650.0, 1_700.0, 4_200.0, 10_500.0, 25_000.0, 60_000.0, 110_000.0]
)
_LOG_LUX = np.log(_LUX)

SUNSET_ELEVATION_DEG = -0.833


def sun_elevation_deg(latitude_deg: float, longitude_deg: float, t: float) -> float:
    """Elevation of the sun's centre in degrees at an instant given in seconds since 1970."""
    return float(np.asarray(elevation_deg(latitude_deg, longitude_deg, datetime.fromtimestamp(t, UTC))).reshape(-1)[0])


def is_night(latitude_deg: float, longitude_deg: float, t: float) -> bool:
    """Whether it is between sunset and sunrise."""
    return sun_elevation_deg(latitude_deg, longitude_deg, t) < SUNSET_ELEVATION_DEG


def illuminance_lx(latitude_deg: float, longitude_deg: float, t: float) -> float:
    """Horizontal illuminance in lx at an instant given in seconds since 1970, log-linear between the points."""
    elevation = sun_elevation_deg(latitude_deg, longitude_deg, t)
    return float(np.exp(np.interp(elevation, _ELEVATION_DEG, _LOG_LUX)))
