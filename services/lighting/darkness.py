"""When a street must not be dark: the civil night at a place, and how much of it a span of time shares.

Streets may be switched within the twilight, as photocells and astro clocks do; in the civil night, from civil dusk to
civil dawn, level 0 is under every floor.
"""

from __future__ import annotations

from datetime import timedelta
from math import isnan
from typing import Final

import numpy as np

from domain.plan import from_unix_ms
from domain.sun import SunState, night_events

TOLERANCE: Final = timedelta(minutes=15)
"""How far off level 0 may reach into the civil night at either end: places of one group differ, clocks drift."""

_DAY_S: Final = 86_400


def darkest_overlap(start_ms: int, end_ms: int, latitude_deg: float, longitude_deg: float) -> timedelta:
    """The longest stretch of one civil night at a place that lies in [start, end), in Unix ms."""
    start_s, end_s = start_ms / 1000.0, end_ms / 1000.0
    noons = np.arange(start_s - 1.5 * _DAY_S, end_s + _DAY_S, _DAY_S)
    nights = night_events(latitude_deg, longitude_deg, noons)
    begin = np.where(np.isnan(nights.civil_dusk_s), nights.solar_noon_s, nights.civil_dusk_s)
    end = np.where(np.isnan(nights.civil_dawn_s), nights.next_solar_noon_s, nights.civil_dawn_s)
    shared = np.minimum(end, end_s) - np.maximum(begin, start_s)
    shared[nights.civil_state == SunState.ALWAYS_UP] = 0.0
    return timedelta(seconds=max(0.0, float(shared.max(initial=0.0))))


def is_too_dark(start_ms: int, end_ms: int, latitude_deg: float, longitude_deg: float) -> bool:
    """True if being dark in [start, end) leaves a street without light in the civil night. False without a place."""
    if isnan(latitude_deg) or isnan(longitude_deg) or end_ms <= start_ms:
        return False
    return darkest_overlap(start_ms, end_ms, latitude_deg, longitude_deg) > TOLERANCE


def span_text(start_ms: int, end_ms: int) -> str:
    """A span for people: UTC, to the minute."""
    return f"{from_unix_ms(start_ms):%Y-%m-%d %H:%M} to {from_unix_ms(end_ms):%Y-%m-%d %H:%M} UTC"
