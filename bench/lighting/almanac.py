"""The converged formula: the sun's position by Meeus and NOAA in plain floats, and events iterated until they stand.

Written apart from domain.sun, one place at a time and without tables, to measure it against.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

_DAY_S = 86_400.0
_STILL_S = 1e-6


def declination_and_equation(unix_s: float) -> tuple[float, float]:
    """Declination in radians, equation of time in seconds. Meeus, Astronomical Algorithms, chapters 22, 25 and 28."""
    t = (unix_s - 946_728_000.0) / (36_525.0 * _DAY_S)
    longitude = math.radians((280.46646 + t * (36_000.76983 + t * 0.0003032)) % 360.0)
    anomaly = math.radians((357.52911 + t * (35_999.05029 - t * 0.0001537)) % 360.0)
    centre = (
        (1.914602 - t * (0.004817 + t * 0.000014)) * math.sin(anomaly)
        + (0.019993 - t * 0.000101) * math.sin(2 * anomaly)
        + 0.000289 * math.sin(3 * anomaly)
    )
    node = math.radians((125.04 - 1_934.136 * t) % 360.0)
    nutation = math.radians(-0.00478 * math.sin(node))
    apparent = longitude + math.radians(centre - 0.00569) + nutation
    mean_obliquity = 23 + (26 + (21.448 - t * (46.815 + t * (0.00059 - t * 0.001813))) / 60) / 60
    obliquity = math.radians(mean_obliquity + 0.00256 * math.cos(node))
    declination = math.asin(math.sin(obliquity) * math.sin(apparent))
    ascension = math.atan2(math.cos(obliquity) * math.sin(apparent), math.cos(apparent))
    turn = longitude - math.radians(0.0057183) - ascension + nutation * math.cos(obliquity)
    turn = (turn + math.pi) % (2 * math.pi) - math.pi
    return declination, turn * _DAY_S / (2 * math.pi)


def events(latitude_deg: float, longitude_deg: float, noon_s: float) -> Iterator[float]:
    """Sunset, sunrise, civil dusk and dawn of the night after a noon (Unix seconds), for places that have all four."""
    phi = math.radians(latitude_deg)
    offset_s = longitude_deg / 360.0 * _DAY_S
    mean_noon = noon_s - ((noon_s + offset_s) % _DAY_S - _DAY_S / 2)
    for elevation in (-0.833, -6.0):
        for noon, side in ((mean_noon, 1.0), (mean_noon + _DAY_S, -1.0)):
            instant = noon + side * _DAY_S / 4
            for _ in range(100):
                declination, equation_s = declination_and_equation(instant)
                cosine = (math.sin(math.radians(elevation)) - math.sin(phi) * math.sin(declination)) / (
                    math.cos(phi) * math.cos(declination)
                )
                before = instant
                instant = noon + side * math.acos(cosine) * _DAY_S / (2 * math.pi) - equation_s
                if abs(instant - before) < _STILL_S:
                    break
            yield instant
