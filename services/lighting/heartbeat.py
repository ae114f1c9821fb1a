"""Heartbeats: controllers and gateways that fall back to their own schedule when nobody commands them hear of us while
we do, at the pace that their profiles ask for, however long a pass takes.

They hear of us only where they are in control, while this process holds the field, and while its passes go on: a
process whose loop is stuck commands nothing, and the controller must find out. What a beat is, is
fieldbus/watchdog.py's business; nothing is configured in a controller from here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from math import isfinite
from typing import Final

from fieldbus.profile import Profile
from fieldbus.values import PointAddress, ValueBatch, WriteOutcome, WriteRequest, WriteResult
from fieldbus.watchdog import Watchdog, rule_to_keep
from servicekit.clock import Clock
from services.lighting.field import Link
from services.lighting.metrics import HEARTBEATS

_log = logging.getLogger(__name__)

_SHARE_OF_PATIENCE: Final = 1 / 3  # over a link paid by the byte: so late may a beat come, and two may be lost
_LEAST_PAUSE_REAL_S: Final = 0.25
_STUCK_AFTER_REAL_S: Final = 60.0  # and two passes


class _Commanded:
    """A link as its watchdog sees it: silent as soon as we do not command."""

    def __init__(self, link: Link, may_speak: Callable[[], bool], now: Callable[[], datetime]) -> None:
        self._link, self._may_speak, self._now = link, may_speak, now

    @property
    def _commands(self) -> bool:
        return not self._link.closed and self._link.may_write and self._may_speak()

    @property
    def profile(self) -> Profile:
        """What the device is seen through."""
        return self._link.profile

    async def read(self, points: Sequence[PointAddress]) -> ValueBatch:
        """See `Device.read`. For some products a reading is the sign of life."""
        if not self._commands:
            return ValueBatch.missing(points, self._now())
        return await self._link.device.read(points)

    async def write(self, writes: Sequence[tuple[PointAddress, float]], verify: bool = True) -> list[WriteResult]:
        """See `Device.write`. Reading back costs bytes: where they are counted, the acknowledgement is enough."""
        link = self._link
        if not self._commands:
            return [WriteResult(address, WriteOutcome.REFUSED, "nobody commands it from here") for address, _ in writes]
        results = await link.write([WriteRequest(*pair) for pair in writes], verify=verify and not link.is_counted)
        for result in results:
            HEARTBEATS.labels(str(result.outcome)).inc()
        return results


class Heartbeats:
    """The watchdogs of all links that need one."""

    def __init__(
        self, clock: Clock, holds: Callable[[], bool], monotonic: Callable[[], float], pass_interval_s: float
    ) -> None:
        """`holds`: whether this process holds the field. `pass_interval_s`: between two passes."""
        self._clock, self._holds, self._monotonic = clock, holds, monotonic
        self._stuck_after_s = _STUCK_AFTER_REAL_S + 2 * pass_interval_s
        self._running: dict[str, tuple[Link, Watchdog]] = {}
        self._passed_at = monotonic()

    async def keep(self, links: Iterable[Link]) -> None:
        """A pass was made, and these links are commanded: their devices hear of us, all others no longer."""
        self._passed_at = self._monotonic()
        wanted = {
            link.endpoint.uid: link
            for link in links
            if link.may_write and not link.closed and rule_to_keep(link.profile) is not None
        }
        for uid, (link, watchdog) in list(self._running.items()):
            if wanted.get(uid) is not link or not watchdog.health().running:
                del self._running[uid]
                await watchdog.stop()
        for uid, link in wanted.items():
            if uid not in self._running:
                watchdog = self._watchdog(link)
                self._running[uid] = link, watchdog
                await watchdog.start()

    async def stop(self) -> None:
        """No device hears of us any more: each falls back when its time has passed."""
        running, self._running = list(self._running.values()), {}
        await asyncio.gather(*(watchdog.stop() for _, watchdog in running))

    def _watchdog(self, link: Link) -> Watchdog:
        def changed(reason: str) -> None:
            if not reason:
                _log.info("endpoint %s takes our heartbeat again", link.endpoint.id)

        commanded = _Commanded(link, self._may_speak, self._clock.now)
        return Watchdog(commanded, on_change=changed, sleep=lambda seconds: self._pause(link, seconds))

    def _may_speak(self) -> bool:
        return self._holds() and self._monotonic() - self._passed_at < self._stuck_after_s

    async def _pause(self, link: Link, interval_s: float) -> None:
        """Until the next beat. A controller's patience is domain time: in a time-lapse it is the simulator's."""
        rule = link.profile.heartbeat
        if link.is_counted and rule is not None and rule.timeout_s is not None:
            interval_s = max(interval_s, rule.timeout_s * _SHARE_OF_PATIENCE)
        speed = self._clock.speed
        await asyncio.sleep(max(interval_s / speed, _LEAST_PAUSE_REAL_S) if isfinite(speed) else interval_s)
