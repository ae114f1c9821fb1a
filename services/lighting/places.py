"""Whether a position can be meant: latitude and longitude that were swapped lie in the sea off Somalia. Pure."""

from __future__ import annotations

from math import asin, cos, hypot, isnan, radians, sin, sqrt
from typing import Final

NEAR_KM: Final = 100.0
"""What belongs to a town is not further from it."""
_EARTH_RADIUS_KM: Final = 6371.0088  # mean radius, IUGG


def swapped(latitude_deg: float, longitude_deg: float, town_latitude_deg: float, town_longitude_deg: float) -> str:
    """Why a position looks swapped: it is far from the town, and the other way round it is near. Else "".

    A town at 0, 0 or NaN has not said where it lies.
    """
    if (town_latitude_deg, town_longitude_deg) == (0.0, 0.0) or isnan(town_latitude_deg) or isnan(town_longitude_deg):
        return ""
    away = distance_km(latitude_deg, longitude_deg, town_latitude_deg, town_longitude_deg)
    if away <= NEAR_KM or abs(longitude_deg) > 90:
        return ""
    other = distance_km(longitude_deg, latitude_deg, town_latitude_deg, town_longitude_deg)
    if other > NEAR_KM:
        return ""
    return f"lies {away:.0f} km from the town, and {other:.0f} km with latitude and longitude the other way round"


def distance_km(
    latitude_deg: float, longitude_deg: float, other_latitude_deg: float, other_longitude_deg: float
) -> float:
    """Great-circle distance in km, by the haversine formula."""
    a, b = radians(latitude_deg), radians(other_latitude_deg)
    across = sqrt(cos(a) * cos(b)) * sin(radians(other_longitude_deg - longitude_deg) / 2)
    return 2 * _EARTH_RADIUS_KM * asin(min(1.0, hypot(sin((b - a) / 2), across)))
