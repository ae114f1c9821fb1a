"""Keeping a controller's watchdog quiet while we command it: when we stop, it falls back to its own schedule.

What the product wants (a counter, a toggle, any request at all) is stated in its profile. Whether somebody else does
this already is ownership.py's question. Times here are real seconds: a time-lapse does not shorten a controller's
patience.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from domain.errors import LichtbuchError
from fieldbus.profile import Profile, WatchdogMode, WatchdogRule
from fieldbus.tasks import end
from fieldbus.values import PointAddress, Quality, ValueBatch, WriteOutcome, WriteResult

_LOGGER = logging.getLogger(__name__)


@runtime_checkable
class GuardedDevice(Protocol):
    """What a watchdog needs of a device."""

    @property
    def profile(self) -> Profile:
        """What the device is seen through."""
        ...

    async def read(self, points: Sequence[PointAddress]) -> ValueBatch:
        """See `Device.read`."""
        ...

    async def write(self, writes: Sequence[tuple[PointAddress, float]], verify: bool = True) -> list[WriteResult]:
        """See `Device.write`."""
        ...


@dataclass(frozen=True, slots=True)
class WatchdogHealth:
    """How it goes. `last_error` is empty while the last beat got through."""

    running: bool
    beats: int
    consecutive_failures: int
    last_error: str


def rule_to_keep(profile: Profile) -> WatchdogRule | None:
    """The heartbeat that can be kept going. None where there is none, or it cannot be written."""
    rule = profile.heartbeat
    if rule is None or rule.mode is WatchdogMode.TOUCH or profile.writable(rule.point):
        return rule
    return None


class Watchdog:
    """Keeps the heartbeat of one device going from `start` to `stop`, or as an async context.

    A profile without a heartbeat makes it do nothing. `on_change` is called with the reason when a beat fails after one
    that got through, and with "" when it works again; it must not block.
    """

    def __init__(
        self,
        device: GuardedDevice,
        *,
        set_timeout: bool = False,
        on_change: Callable[[str], None] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        """With `set_timeout` the time after which the device falls back is written to it once at the start, where the
        profile states one, and only if it holds another: such registers wear out."""
        self._device = device
        self._rule = rule_to_keep(device.profile)
        self._set_timeout = set_timeout
        self._on_change = on_change
        self._sleep = sleep
        self._uniform = uniform
        self._value: int | None = None
        self._task: asyncio.Task[None] | None = None
        self._beats = 0
        self._failures = 0
        self._last_error = ""

    @property
    def needed(self) -> bool:
        """Whether the product has a heartbeat to be kept going."""
        return self._rule is not None

    def health(self) -> WatchdogHealth:
        """State and counts; no request is made."""
        running = self._task is not None and not self._task.done()
        return WatchdogHealth(running, self._beats, self._failures, self._last_error)

    async def start(self) -> None:
        """Begin; the first beat follows at once, in the background. Starting twice is starting once."""
        if self._rule is not None and self._task is None:
            self._task = asyncio.create_task(self._run(self._rule), name="fieldbus watchdog")

    async def stop(self) -> None:
        """End; the device falls back when its time has passed. Safe to call twice."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _run(self, rule: WatchdogRule) -> None:
        timeout_due = self._set_timeout
        while True:
            try:
                failure = await self._beat(rule)
                if timeout_due and not failure:
                    failure = await self._write_timeout(rule)
                    timeout_due = bool(failure)
            except LichtbuchError as error:
                # The device was closed or is not what it must be. It may be again; the controller must hear of us then.
                failure = str(error)
            self._note(failure)
            await self._sleep(rule.interval_s)

    def _note(self, failure: str) -> None:
        before, self._last_error = self._last_error, failure
        self._beats += not failure
        self._failures = self._failures + 1 if failure else 0
        if bool(before) == bool(failure):
            return
        if failure:
            _LOGGER.warning("watchdog of %s fails: %s", self._device.profile.name, failure)
        if self._on_change is not None:
            self._on_change(failure)

    async def _beat(self, rule: WatchdogRule) -> str:
        """One sign of life. Why it failed, or empty."""
        if rule.mode is WatchdogMode.TOUCH:
            return await self._touch(rule)
        heartbeat = PointAddress(rule.point)
        if self._value is None:
            self._value = await self._shown(heartbeat)
        highest = 1 if rule.mode is WatchdogMode.TOGGLE else int(self._device.profile.binding(heartbeat).maximum)
        self._value = 0 if self._value >= highest else self._value + 1
        (result,) = await self._device.write([(heartbeat, float(self._value))], verify=True)
        if not result.succeeded:
            return f"{heartbeat}: {result.reason or result.outcome.value}"
        if result.outcome is WriteOutcome.ACCEPTED and not math.isnan(result.read_back):
            # It holds another number than ours: lost, or another master counts it. Go on from what stands there.
            self._value = int(result.read_back)
            return f"{heartbeat}: {result.reason}"
        return ""

    async def _shown(self, heartbeat: PointAddress) -> int:
        """Where to go on from: a restart of ours must not repeat the number that stands there."""
        if self._device.profile.readable(heartbeat.point):
            batch = await self._device.read((heartbeat,))
            if batch.quality[0] <= Quality.UNCERTAIN:
                return int(batch.values[0])
        return int(self._uniform() * self._device.profile.binding(heartbeat).maximum)

    async def _touch(self, rule: WatchdogRule) -> str:
        """Any valid request will do: the cheapest is one point that can be read."""
        point = PointAddress(rule.point) if rule.point else _any_point(self._device.profile)
        if point is None:
            return "the profile has no point that could be read"
        batch = await self._device.read((point,))
        return f"{point} could not be read" if batch.quality[0] == Quality.MISSING else ""

    async def _write_timeout(self, rule: WatchdogRule) -> str:
        """Tell the device how long to wait, unless it knows. Why that failed, or empty."""
        if not rule.timeout_point or rule.timeout_s is None:
            return ""
        address = PointAddress(rule.timeout_point)
        if self._device.profile.readable(rule.timeout_point):
            batch = await self._device.read((address,))
            if batch.quality[0] <= Quality.UNCERTAIN and batch.values[0] == rule.timeout_s:
                return ""
        (result,) = await self._device.write([(address, rule.timeout_s)], verify=True)
        return "" if result.succeeded else f"{address}: {result.reason or result.outcome.value}"


def _any_point(profile: Profile) -> PointAddress | None:
    """A point that can be read, whichever."""
    for name, binding in profile.points.items():
        if binding.direction.readable and not binding.absent:
            return PointAddress(name, binding.index_range[0] if binding.index_range else None)
    return None
