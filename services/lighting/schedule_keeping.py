"""Keeps the stored schedule of one cabinet's controller equal to our plans, where its profile has points for one:
written only where it differs, read back, looked at again each hour and when orders change.

While one of its feeders is locked out the controller may not switch by itself at all: it would energise that feeder as
soon as we are silent. Not here: what the schedule is (stored_schedule.py).
"""

from __future__ import annotations

from typing import Final

from fieldbus.values import PointAddress, WriteOutcome, WriteRequest
from services.lighting.due import Due
from services.lighting.field import Link
from services.lighting.ground import Ground
from services.lighting.metrics import STORED_SCHEDULES
from services.lighting.stored_schedule import schedule_of

_LOOK_EVERY_S: Final = 3600.0
_AGAIN_AFTER_S: Final = 300.0


class ScheduleKeeper:
    """Writes the schedule of one controller."""

    def __init__(self, ground: Ground, cabinet: int) -> None:
        self._ground = ground
        self._cabinet = cabinet
        self._next_ms = 0
        self._orders = -1
        self._held: tuple[WriteRequest, ...] = ()

    async def step(self, link: Link) -> None:
        """Writes what differs, where that is time. The caller has seen that the cabinet is ours to switch."""
        ground, due, now_ms = self._ground, self._ground.due, self._ground.now_ms
        if due is None or not ground.may_write(due):
            return
        if now_ms < self._next_ms and due.orders.revision == self._orders:
            return
        self._next_ms, self._orders = now_ms + round(_LOOK_EVERY_S * 1000), due.orders.revision
        wanted = self._wanted(link, due)
        if wanted == self._held or not wanted:
            return
        results = await link.write(wanted, verify=True)
        confirmed = all(result.outcome is WriteOutcome.CONFIRMED for result in results)
        STORED_SCHEDULES.labels("confirmed" if confirmed else "not_confirmed").inc()
        self._held = wanted if confirmed else ()
        if not confirmed:
            self._next_ms = now_ms + round(_AGAIN_AFTER_S * 1000)

    def _wanted(self, link: Link, due: Due) -> tuple[WriteRequest, ...]:
        """All that the controller is to hold, as far as it can."""
        columns = self._ground.columns
        feeders = columns.feeders_by_cabinet[self._cabinet]
        if bool(due.feeder_locked[feeders].any()):
            return (WriteRequest(PointAddress("astro_enabled"), 0.0),)
        schedule = schedule_of(columns, self._cabinet, due.orders, due.at)
        if schedule is None:
            return ()
        values = [
            (PointAddress("astro_latitude"), schedule.latitude_deg),
            (PointAddress("astro_longitude"), schedule.longitude_deg),
            (PointAddress("astro_on_offset"), float(schedule.on_offset_s)),
            (PointAddress("astro_off_offset"), float(schedule.off_offset_s)),
        ]
        for channel, half in schedule.half_nights:
            if half is not None:
                values.append((PointAddress("half_night_off", channel), float(half.off_s)))
                values.append((PointAddress("half_night_on", channel), float(half.on_s)))
            values.append((PointAddress("half_night_enabled", channel), float(half is not None)))
        values.append((PointAddress("astro_enabled"), 1.0))
        return tuple(WriteRequest(address, value) for address, value in values if link.profile.writable(address.point))
