"""Coordinates of whatever system into WGS84 degrees.

German inventories come in WGS84, in UTM 32N or 33N (EPSG:25832, 25833), in UTM with the zone in front of the easting
(EPSG:4647, 5650) and in Gauss-Krueger (EPSG:31466 to 31469). What a file does not say is told from the size of its
numbers, as far as numbers can tell; column names are not believed ("long" may hold metres).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import pyproj
from numpy.typing import NDArray

from domain.errors import InvalidInput

WGS84: Final = "EPSG:4326"
EARTH_RADIUS_KM: Final = 6371.0088  # mean radius, IUGG

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Positions:
    """Positions in WGS84 degrees; NaN where a line had none or where it could not be converted."""

    latitude_deg: Floats
    longitude_deg: Floats
    crs: str
    guessed: bool


def guess_crs(x: Floats, y: Floats, near: tuple[float, float] | None = None) -> str:
    """The coordinate system that the numbers fit. `near` is (latitude, longitude) of the town, where known.

    Plain UTM eastings look alike in every zone: the zone is the one that puts the lamps near the town. Raises
    InvalidInput that says which option to give where the numbers do not tell.
    """
    known = np.isfinite(x) & np.isfinite(y) & ~((x == 0) & (y == 0))
    if not known.any():
        return WGS84
    east, north = float(np.median(x[known])), float(np.median(y[known]))
    if abs(east) <= 180 and abs(north) <= 90:
        return WGS84
    for candidate, (low, high) in {
        "EPSG:4647": (32_000_000, 33_000_000),  # ETRS89 / UTM 32N, zone before the easting
        "EPSG:5650": (33_000_000, 34_000_000),  # ETRS89 / UTM 33N, zone before the easting
        "EPSG:31466": (2_400_000, 2_700_000),  # DHDN / 3-degree Gauss-Krueger zone 2
        "EPSG:31467": (3_300_000, 3_700_000),
        "EPSG:31468": (4_300_000, 4_700_000),
        "EPSG:31469": (5_300_000, 5_700_000),
    }.items():
        if low <= east < high and 5_200_000 <= north <= 6_200_000:
            return candidate
    if 100_000 <= east <= 900_000 and 0 <= north <= 10_000_000:
        if near is None:
            raise InvalidInput.of(
                "crs",
                f"the coordinates are metres (about {east:.0f} / {north:.0f}) in a UTM zone that nothing names:"
                " give --crs, for instance --crs EPSG:25832",
            )
        zone = int((near[1] + 180) // 6) + 1
        candidates = [f"EPSG:{25800 + number}" for number in (zone, zone - 1, zone + 1) if 28 <= number <= 38]
        for candidate in candidates or [f"EPSG:{32600 + zone}"]:
            lon, lat = transformer(candidate).transform(east, north)
            if float(distance_km(np.array([lat]), np.array([lon]), near)[0]) < 100:
                return candidate
    raise InvalidInput.of(
        "crs",
        f"coordinates about {east:.0f} / {north:.0f} fit no system near the town: give --crs (for instance EPSG:25830)",
    )


@cache
def transformer(crs: str) -> pyproj.Transformer:
    """From a coordinate system into WGS84 with longitude first. Raises InvalidInput for an unknown system."""
    try:
        return pyproj.Transformer.from_crs(pyproj.CRS.from_user_input(crs), WGS84, always_xy=True)
    except pyproj.exceptions.CRSError as error:
        raise InvalidInput.of("crs", f"unknown coordinate system {crs[:60]!r}") from error


def to_wgs84(x: Floats, y: Floats, crs: str = "", near: tuple[float, float] | None = None) -> Positions:
    """Positions of easting (or longitude) `x` and northing (or latitude) `y` in `crs`, or in the one guessed."""
    chosen = crs or guess_crs(x, y, near)
    with np.errstate(invalid="ignore"):
        longitude, latitude = transformer(chosen).transform(x, y)
    longitude, latitude = np.asarray(longitude, dtype=float), np.asarray(latitude, dtype=float)
    outside = ~(np.isfinite(longitude) & np.isfinite(latitude) & (np.abs(latitude) <= 90) & (np.abs(longitude) <= 180))
    longitude[outside] = np.nan
    latitude[outside] = np.nan
    return Positions(latitude, longitude, chosen, guessed=not crs)


def distance_km(latitude_deg: Floats, longitude_deg: Floats, near: tuple[float, float]) -> Floats:
    """Great-circle distances in km of positions to (latitude, longitude) `near`, by the haversine formula."""
    lat, lon = np.radians(latitude_deg), np.radians(longitude_deg)
    lat0, lon0 = np.radians(near[0]), np.radians(near[1])
    half = np.sin((lat - lat0) / 2) ** 2 + np.cos(lat) * np.cos(lat0) * np.sin((lon - lon0) / 2) ** 2
    result: Floats = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(half, 0, 1)))
    return result
