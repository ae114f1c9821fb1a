"""A device on Modbus: a unit seen through a profile. Implements `fieldbus.device.Device`.

The parts: unit.py asks the unit and knows whether it lives, read.py reads by plan, write.py
commands. The connection is modbus/line/bus.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from domain.errors import InvalidInput
from fieldbus.device import Limits, Subscription
from fieldbus.faults import AnswerLost, DeviceException, LinkDown, Malformed, NoAnswer
from fieldbus.freshness import LiveCounter
from fieldbus.modbus.direct_read import READ_FUNCTION
from fieldbus.modbus.discovery import ModelDiscovery
from fieldbus.modbus.line.bus import ModbusBus
from fieldbus.modbus.read import ModbusReader
from fieldbus.modbus.unit import ModbusUnit
from fieldbus.modbus.write import ModbusWriter
from fieldbus.polling import PollingSubscription
from fieldbus.profile import Profile
from fieldbus.url import Endpoint
from fieldbus.values import (
    BatchCallback,
    DeviceHealth,
    DeviceState,
    Identity,
    PointAddress,
    ValueBatch,
    WriteOutcome,
    WriteResult,
)


class ModbusDevice:
    """A unit on a bus, seen through a profile."""

    def __init__(
        self,
        bus: ModbusBus,
        endpoint: Endpoint,
        profile: Profile,
        limits: Limits,
        *,
        now: Callable[[], datetime],
        now_ms: Callable[[], int],
        monotonic: Callable[[], float],
        uniform: Callable[[], float],
        require_simulator: bool,
        release: Callable[[], None],
    ) -> None:
        """`release` is called once, on close, to give the bus back."""
        self.endpoint = endpoint
        self.profile = profile
        self.limits = limits
        self._now = now
        self._release = release
        self._unit = ModbusUnit(
            bus,
            endpoint,
            profile.modbus,
            limits,
            monotonic=monotonic,
            uniform=uniform,
            require_simulator=require_simulator,
        )
        self._reader = ModbusReader(self._unit, profile, now, now_ms)
        self._writer = ModbusWriter(self._unit, self.read, self._reader.scale_factors)
        self._live = LiveCounter.of(profile, monotonic)
        self._discovery = ModelDiscovery(self._unit, profile) if profile.needs_discovery else None
        self._plain = self._live is None and self._discovery is None
        self._subscriptions: list[PollingSubscription] = []
        self._closed = False

    def read(self, points: Sequence[PointAddress]) -> Coroutine[Any, Any, ValueBatch]:
        """See `Device.read`. Most devices need no more than their reader: no coroutine in between that only waits."""
        wanted = points if isinstance(points, tuple) else tuple(points)
        if self._plain and not self._closed:
            return self._reader.read(wanted)
        return self._read(wanted)

    async def _read(self, wanted: tuple[PointAddress, ...]) -> ValueBatch:
        self._check_open()
        if self._live is None:
            return await self._located(wanted)
        return self._live.judge(await self._located(self._live.beside(wanted)), wanted)

    async def _located(self, wanted: tuple[PointAddress, ...]) -> ValueBatch:
        if self._discovery is None:
            return await self._reader.read(wanted)
        reason = await self._locate(self._discovery, wanted)
        if reason:
            return ValueBatch.missing(wanted, self._now())
        batch = await self._reader.read(wanted)
        missing = self._discovery.missing
        if missing and any(self._reader.book.profile.points[address.point].absent for address in wanted):
            self._unit.last_error = missing
        return batch

    async def write(self, writes: Sequence[tuple[PointAddress, float]], verify: bool = True) -> list[WriteResult]:
        """See `Device.write`."""
        self._check_open()
        if self._discovery is not None:
            with self._unit.bus.for_command():
                reason = await self._locate(self._discovery, tuple(address for address, _ in writes))
            if reason:
                return [WriteResult(address, WriteOutcome.UNKNOWN, f"not sent: {reason}") for address, _ in writes]
        return await self._writer.write(self._reader.book.profile, writes, verify)

    async def subscribe(
        self, points: Sequence[PointAddress], callback: BatchCallback, *, interval_s: float | None = None
    ) -> Subscription:
        """See `Device.subscribe`: Modbus is polled."""
        self._check_open()
        wanted = tuple(points)
        if self._discovery is None:
            self._reader.book.of(wanted, self._unit.monotonic())
        else:
            self._check_points(wanted)
        asked_s = self.limits.poll_interval_s if interval_s is None else interval_s
        subscription = PollingSubscription(
            lambda: self.read(wanted), callback, max(asked_s, self.least_interval_s(wanted)), self._unit.uniform
        )
        self._subscriptions = [other for other in self._subscriptions if not other.cancelled]
        self._subscriptions.append(subscription)
        return subscription

    def least_interval_s(self, points: Sequence[PointAddress]) -> float:
        """See `Device.least_interval_s`."""
        bus = self._unit.bus
        if bus.budget is None or self._reader.book.profile.needs_discovery:
            return 0.0
        wanted = tuple(points) if self._live is None else self._live.beside(tuple(points))
        plan = self._reader.book.of(wanted, self._unit.monotonic()).planned.plan
        return bus.least_interval_s([(READ_FUNCTION[block.table], block.size) for block in plan.blocks])

    def health(self) -> DeviceHealth:
        """See `Device.health`."""
        unit, bus = self._unit, self._unit.bus
        wait_s = max(unit.backoff.remaining_s, 0.0 if bus.connected else bus.backoff.remaining_s)
        failing = unit.backoff.failures + (0 if bus.connected else bus.backoff.failures)
        if self._closed:
            state = DeviceState.CLOSED
        elif unit.not_simulator:
            state = DeviceState.REFUSED
        elif failing:
            state = DeviceState.BACKING_OFF
        else:
            state = DeviceState.UNTRIED if unit.answered_at is None else DeviceState.ONLINE
        return DeviceHealth(
            state=state,
            consecutive_failures=failing,
            last_error=unit.last_error,
            seconds_since_answer=None if unit.answered_at is None else unit.monotonic() - unit.answered_at,
            seconds_to_next_attempt=wait_s,
            counters=replace(unit.counters),
            refused_points=len(self._reader.book.memory.refused),
            over_budget=unit.over_budget,
        )

    async def identify(self) -> Identity:
        """See `Device.identify`. Empty where the device does not know function 0x2B/0x0E.

        What was learnt from its refusals is forgotten: whoever asks doubts that it still is the same device.
        """
        self._check_open()
        self._reader.book.forget()
        return await self._unit.identify()

    async def close(self) -> None:
        """See `Device.close`."""
        if self._closed:
            return
        self._closed = True
        for subscription in self._subscriptions:
            await subscription.cancel()
        self._release()

    async def _locate(self, discovery: ModelDiscovery, wanted: tuple[PointAddress, ...]) -> str:
        """Know where the registers of this copy of the product are. Why that is not known now, or empty."""
        unit, reader = self._unit, self._reader
        profile = discovery.known(reader.refusals)
        if profile is None:
            self._check_points(wanted)
            if unit.waiting_reason:
                return unit.waiting_reason
            try:
                profile = await discovery.look(reader.refusals)
            except DeviceException as error:
                unit.answered()
                unit.last_error = str(error)
                return unit.last_error
            except (LinkDown, NoAnswer, AnswerLost, Malformed) as error:
                unit.failed(error)
                return unit.last_error
            if profile is None:
                return unit.waiting_reason
        if profile is not reader.book.profile:
            reader.book.adopt(profile)
        return ""

    def _check_points(self, points: tuple[PointAddress, ...]) -> None:
        """Raises InvalidInput for points that the product cannot have, whatever its models."""
        for address in points:
            self.profile.binding(address)

    def _check_open(self) -> None:
        if self._closed:
            raise InvalidInput.of("device", f"{self.endpoint} was closed")
