"""The schedule that a cabinet's controller keeps for itself: sunset and sunrise with an offset each, half-night times.

Pure but for what was written to it. When it takes over is for the watchdog to say (world.py); its registers are
modbus/wago.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from domain.sun import SunEvents, sun_events
from simulator.cabinet import CHANNELS

MINUTES_OF_DAY = 1_440


@dataclass
class StoredSchedule:
    """What was written to the controller. Offsets in seconds, positions in degrees, half-night times in minutes after
    local midnight by channel."""

    latitude_deg: float
    longitude_deg: float
    time_zone: str
    enabled: bool = False
    on_offset_s: int = 0
    off_offset_s: int = 0
    half_night: list[bool] = field(default_factory=lambda: [False] * CHANNELS)
    half_off_min: list[int] = field(default_factory=lambda: [0] * CHANNELS)
    half_on_min: list[int] = field(default_factory=lambda: [0] * CHANNELS)

    def is_night(self, t: float) -> bool:
        """Whether it is between its switch instants, at an instant in seconds since 1970. Where the sun does not set it
        is never, where it does not rise always."""
        now = datetime.fromtimestamp(t, UTC)
        for day in (now.date() - timedelta(days=1), now.date()):
            dark = _events(self.latitude_deg, self.longitude_deg, day).dark()
            if dark is None:
                continue
            on, off = dark[0] + timedelta(seconds=self.on_offset_s), dark[1] + timedelta(seconds=self.off_offset_s)
            if on <= now < off:
                return True
        return False

    def resting(self, t: float) -> set[int]:
        """Channels that are between their half-night times."""
        local = datetime.fromtimestamp(t, ZoneInfo(self.time_zone))
        minute = local.hour * 60 + local.minute
        return {
            channel
            for channel in range(CHANNELS)
            if self.half_night[channel]
            and (minute - self.half_off_min[channel]) % MINUTES_OF_DAY
            < (self.half_on_min[channel] - self.half_off_min[channel]) % MINUTES_OF_DAY
        }


@lru_cache(maxsize=1024)
def _events(latitude_deg: float, longitude_deg: float, day: date) -> SunEvents:
    return sun_events(latitude_deg, longitude_deg, day)
