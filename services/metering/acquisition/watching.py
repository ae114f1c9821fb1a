"""Subscribed values: what devices tell of by themselves, kept until the quarter hour that they stand for.

The value that stands at a slot is the last one whose own time is not after the slot. It counts only if the subscription
is proven alive since the slot began: a server that says nothing because nothing changes looks like one that has gone.
What cannot be had so is polled (polling.py). Nothing is judged or stored here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from domain.errors import LichtbuchError
from fieldbus.device import Device, Subscription
from fieldbus.opcua.pulse import KEEP_ALIVE_S
from fieldbus.values import DeviceState, PointAddress, Quality, ValueBatch
from services.metering.acquisition.target import Target
from services.metering.meter import Acquisition, Cycle
from services.metering.schedule import next_slot_ms, zone_of

_log = logging.getLogger(__name__)

PROOF_S: Final = KEEP_ALIVE_S + 5.0
"""How long after a slot a sign of life is waited for: a server that has nothing to tell gives one so often."""
_FIRST_PAUSE_S: Final = 60.0
_LONGEST_PAUSE_S: Final = 3600.0
"""Between two attempts (real time) to subscribe where that failed."""
_MOST_DOUBLINGS: Final = 10
_SCHEMES: Final = ("opc.tcp://",)


def is_watched(target: Target) -> bool:
    """True for what is to be subscribed to, where its protocol knows how."""
    return target.acquisition == Acquisition.SUBSCRIBE and target.url.startswith(_SCHEMES)


@dataclass(slots=True)
class _Report:
    """One value as it was told."""

    value: float
    quality: int
    observed_ms: int
    time_source: int


@dataclass(slots=True)
class _Watch:
    """One endpoint's subscription. `cycles`: how often each point is read, and in which time zone. `told`: by point and
    by the first slot that a value stands at, the newest one."""

    device: Device
    cycles: dict[PointAddress, tuple[int, ZoneInfo]]
    subscription: Subscription | None = None
    failed: int = 0
    next_try_s: float = 0.0
    problem: str = ""
    told: dict[PointAddress, dict[int, _Report]] = field(default_factory=dict)


class Watches:
    """The subscriptions of all endpoints."""

    def __init__(self, now_ms: Callable[[], int], monotonic: Callable[[], float] = time.monotonic) -> None:
        """`now_ms` gives domain time."""
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._watches: dict[str, _Watch] = {}

    async def keep(self, endpoint_uid: str, device: Device, targets: Sequence[Target]) -> None:
        """Subscribes to what the targets read, unless that is subscribed to already. Where it cannot be, it is tried
        again, ever more seldom."""
        cycles = _cycles(targets)
        known = self._watches.get(endpoint_uid)
        if known is not None and known.device is device and known.cycles == cycles:
            watch = known
        else:
            await self._end(endpoint_uid)
            watch = self._watches[endpoint_uid] = _Watch(device, cycles)
        now_s = self._monotonic()
        if watch.subscription is not None or now_s < watch.next_try_s:
            return
        # Before it is tried, since the deadline of the slot may end this attempt anywhere.
        watch.next_try_s = now_s + min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**watch.failed)
        watch.failed = min(_MOST_DOUBLINGS, watch.failed + 1)
        try:
            watch.subscription = await device.subscribe(sorted(cycles), lambda batch: self._take(watch, batch))
        except Exception as error:
            # What is told is a convenience, and never keeps a value from being asked for.
            if str(error) != watch.problem:
                watch.problem = str(error)
                unexpected = None if isinstance(error, LichtbuchError) else error
                _log.error("%s cannot be subscribed to, it is polled: %s", targets[0].name, error, exc_info=unexpected)
            return
        if watch.problem:
            _log.info("%s is subscribed to after all", targets[0].name)

    def has(self, endpoint_uid: str) -> bool:
        """Whether there is a subscription that may tell something of an endpoint."""
        watch = self._watches.get(endpoint_uid)
        return watch is not None and watch.subscription is not None

    async def keep_only(self, endpoint_uids: Iterable[str]) -> None:
        """Ends the subscriptions of all other endpoints."""
        kept = set(endpoint_uids)
        for uid in [uid for uid in self._watches if uid not in kept]:
            await self._end(uid)

    def is_alive_since(self, endpoint_uid: str, began: float) -> bool:
        """Whether the endpoint's server has shown itself since an instant of the monotonic clock."""
        watch = self._watches.get(endpoint_uid)
        if watch is None or watch.subscription is None:
            return False
        health = watch.device.health()
        since_s = health.seconds_since_answer
        return health.state is DeviceState.ONLINE and since_s is not None and self._monotonic() - since_s >= began

    def standing(self, targets: Sequence[Target], slot_ms: int) -> ValueBatch:
        """What stood at a slot, a row for each target; MISSING where nothing that was told stands at it."""
        rows = [self._at(target, slot_ms) for target in targets]
        return ValueBatch(
            [target.address for target in targets],
            np.array([row.value for row in rows], np.float64),
            np.array([row.quality for row in rows], np.uint8),
            np.array([row.observed_ms for row in rows], np.int64),
            np.array([row.time_source for row in rows], np.uint8),
        )

    def monotonic(self) -> float:
        """The clock of `is_alive_since`."""
        return self._monotonic()

    def _at(self, target: Target, slot_ms: int) -> _Report:
        watch = self._watches.get(target.endpoint_uid)
        told = watch.told.get(target.address, {}) if watch is not None else {}
        stands_from = max((slot for slot in told if slot <= slot_ms), default=None)
        if stands_from is None:
            return _Report(float("nan"), Quality.MISSING, slot_ms, 2)
        for slot in [slot for slot in told if slot < stands_from]:
            del told[slot]  # no slot will be asked for again that is older
        return told[stands_from]

    def _take(self, watch: _Watch, batch: ValueBatch) -> None:
        now_ms = self._now_ms()
        for point, value, quality, observed_ms, source in zip(
            batch.points,
            batch.values.tolist(),
            batch.quality.tolist(),
            batch.observed_at.tolist(),
            batch.time_source.tolist(),
            strict=True,
        ):
            if quality == Quality.MISSING:
                # The line is down: what changes meanwhile nobody tells, so nothing told before stands for later slots.
                watch.told.pop(point, None)
                continue
            # A clock that is ahead must not move a value out of the time at which it was told.
            at_ms = min(observed_ms, now_ms)
            report = _Report(value, quality, observed_ms, source)
            cycle, tz = watch.cycles[point]
            watch.told.setdefault(point, {})[next_slot_ms(cycle, at_ms, tz)] = report

    async def _end(self, endpoint_uid: str) -> None:
        watch = self._watches.pop(endpoint_uid, None)
        if watch is not None and watch.subscription is not None:
            await watch.subscription.cancel()


def _cycles(targets: Sequence[Target]) -> dict[PointAddress, tuple[int, ZoneInfo]]:
    """How often each point is read. Where two meters read a point in different ways, each quarter hour serves both."""
    cycles: dict[PointAddress, tuple[int, ZoneInfo]] = {}
    for target in targets:
        mine = target.cycle, zone_of(target.time_zone)
        if cycles.setdefault(target.address, mine) != mine:
            cycles[target.address] = Cycle.QUARTER_HOUR, mine[1]
    return cycles
