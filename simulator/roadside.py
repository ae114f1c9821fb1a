"""What passes on a road and falls from the sky of a simulated town: traffic in vehicles per hour, rain in mm/h. Pure.

Both are invented, and the same for the same town: a value hangs on the town's seed, the sensor and the instant alone,
so that a run can be repeated and a past instant has an answer.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

TRAFFIC, RAIN = "traffic", "rain"

# Vehicles per hour over the hour of the day on a town's collector road, as counts look that towns publish: nearly none
# at three, a peak in the morning and a broader one in the afternoon. Magnitudes are invented.
_HOURS = np.array([0.0, 3.0, 5.0, 7.5, 10.0, 13.0, 16.5, 19.0, 22.0, 24.0])
_WORKDAY = np.array([25.0, 6.0, 30.0, 420.0, 260.0, 300.0, 480.0, 260.0, 90.0, 25.0])
_WEEKEND_SHARE = 0.6
_COUNT_S = 300
_SHOWER_S = 3 * 3_600
_SHOWERS_PER_SLOT = 0.22
_HEAVIEST_MM_H = 9.0


def traffic_flow(seed: int, sensor: str, time_zone: str, t: float) -> int:
    """Vehicles that passed in the last five minutes, reckoned to an hour, at an instant in seconds since 1970."""
    slot = int(t // _COUNT_S)
    local = datetime.fromtimestamp(slot * _COUNT_S, ZoneInfo(time_zone))
    usual = float(np.interp(local.hour + local.minute / 60, _HOURS, _WORKDAY))
    if local.weekday() >= 5:
        usual *= _WEEKEND_SHARE
    # A count is a whole number of vehicles, scattered about as counts of what comes by chance are.
    mean = usual * _COUNT_S / 3_600
    chance = _chance(seed, sensor, slot) + _chance(seed, sensor, slot, "again") - 1.0
    vehicles = round(mean + chance * 2.4 * float(np.sqrt(mean)))
    return max(0, vehicles) * 3_600 // _COUNT_S


def rain_intensity(seed: int, sensor: str, t: float) -> float:
    """Rain in mm/h, two decimals: showers that come up, reach their height and pass within three hours."""
    found = 0.0
    slot = int(t // _SHOWER_S)
    for begun in (slot - 1, slot):
        if _chance(seed, sensor, begun) >= _SHOWERS_PER_SLOT:
            continue
        begin = (begun + _chance(seed, sensor, begun, "begin")) * _SHOWER_S
        length = (0.2 + 0.8 * _chance(seed, sensor, begun, "length")) * _SHOWER_S
        share = (t - begin) / length
        if 0.0 < share < 1.0:
            height = _HEAVIEST_MM_H * _chance(seed, sensor, begun, "height") ** 3 + 0.2
            found += height * (1.0 - abs(2.0 * share - 1.0))
    return round(found, 2)


def _chance(seed: int, *what: object) -> float:
    """A number from 0 up to 1 that hangs on what is given alone."""
    digest = hashlib.blake2b(repr((seed, *what)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
