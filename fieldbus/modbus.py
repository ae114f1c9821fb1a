"""A device on Modbus: a unit seen through a profile. Implements `fieldbus.device.Device`.

The parts: modbus_unit.py asks the unit and knows whether it lives, modbus_read.py reads by plan, modbus_write.py
commands. The connection is modbus_bus.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from domain.errors import InvalidInput
from fieldbus.device import Limits, Subscription
from fieldbus.modbus_bus import ModbusBus
from fieldbus.modbus_read import ModbusReader
from fieldbus.modbus_unit import ModbusUnit
from fieldbus.modbus_write import ModbusWriter
from fieldbus.polling import PollingSubscription
from fieldbus.profile import Profile
from fieldbus.url import Endpoint
from fieldbus.values import BatchCallback, DeviceHealth, DeviceState, Identity, PointAddress, ValueBatch, WriteResult


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
        monotonic: Callable[[], float],
        uniform: Callable[[], float],
        require_simulator: bool,
        release: Callable[[], None],
    ) -> None:
        """`release` is called once, on close, to give the bus back."""
        self.endpoint = endpoint
        self.profile = profile
        self.limits = limits
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
        self._reader = ModbusReader(self._unit, profile, now)
        self._writer = ModbusWriter(self._unit, self.read)
        self._subscriptions: list[PollingSubscription] = []
        self._closed = False

    async def read(self, points: Sequence[PointAddress]) -> ValueBatch:
        """See `Device.read`."""
        self._check_open()
        return await self._reader.read(points if isinstance(points, tuple) else tuple(points))

    async def write(self, writes: Sequence[tuple[PointAddress, float]], verify: bool = True) -> list[WriteResult]:
        """See `Device.write`."""
        self._check_open()
        return await self._writer.write(self._reader.book.profile, writes, verify)

    async def subscribe(
        self, points: Sequence[PointAddress], callback: BatchCallback, *, interval_s: float | None = None
    ) -> Subscription:
        """See `Device.subscribe`: Modbus is polled."""
        self._check_open()
        wanted = tuple(points)
        self._reader.book.of(wanted, self._unit.monotonic())
        subscription = PollingSubscription(
            lambda: self.read(wanted), callback, self.limits.poll_interval_s if interval_s is None else interval_s
        )
        self._subscriptions.append(subscription)
        return subscription

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

    def _check_open(self) -> None:
        if self._closed:
            raise InvalidInput.of("device", f"{self.endpoint} was closed")
