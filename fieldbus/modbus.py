"""A device on Modbus: reads by plan, learns from refusals, backs off when silent, checks that it is the simulator.

The shared connection is modbus_bus.py, commands are modbus_write.py, what bytes mean is the profile's and codec's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import numpy as np

from domain.errors import FailedPrecondition, InvalidInput, LichtbuchError
from fieldbus.backoff import Backoff
from fieldbus.device import SIMULATOR_PRODUCT, SIMULATOR_VENDOR, Limits, Subscription
from fieldbus.faults import (
    ACKNOWLEDGE,
    BUSY,
    ILLEGAL_FUNCTION,
    AnswerLost,
    DeviceException,
    LinkDown,
    Malformed,
    NoAnswer,
)
from fieldbus.modbus_bus import LinkRenewed, ModbusBus
from fieldbus.modbus_write import ModbusWriter
from fieldbus.planner import Block, Memory, ReadPlan, Span, plan_reads, split_block
from fieldbus.polling import PollingSubscription
from fieldbus.profile import Profile, Table
from fieldbus.url import Endpoint
from fieldbus.values import (
    BatchCallback,
    Counters,
    DeviceHealth,
    DeviceState,
    Identity,
    PointAddress,
    Quality,
    TimeSource,
    ValueBatch,
    WriteResult,
    unix_ms,
)

_READ_FUNCTION: Final = {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}
_ENCAPSULATED: Final = 0x2B
_READ_IDENTIFICATION: Final = 0x0E
_BASIC_IDENTITY: Final = 0x01
_PLANS_KEPT: Final = 64
_RENEWALS_TOLERATED: Final = 3


class _Reading:
    """One read() under way: bytes as they arrive, and what became of each row."""

    def __init__(self, plan: ReadPlan, now: datetime) -> None:
        rows = len(plan.points)
        self.plan = plan
        self.buffer = np.zeros(plan.buffer_size, dtype=np.uint8)
        self.status = np.full(rows, Quality.MISSING, dtype=np.uint8)
        self.status[plan.refused_rows] = Quality.BAD
        self.observed_at = np.full(rows, unix_ms(now), dtype=np.int64)
        self.answered = False

    def rows_of(self, block: Block, spans: Sequence[Span]) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        """The rows that spans of a block serve."""
        if len(spans) == len(block.spans):
            return block.rows
        wanted = set(spans)
        return np.array([row for row in block.rows if self.plan.spans[row] in wanted], dtype=np.intp)

    def arrived(self, block: Block, spans: Sequence[Span], start: int, data: bytes, now: datetime) -> None:
        """Data of a block, or of a part of it, from address `start` on."""
        column = np.frombuffer(data, dtype=np.uint8)
        if block.table.is_bits:
            count = max(span.end for span in spans) - start
            column = np.unpackbits(column, bitorder="little")[:count]
            offset = block.offset + start - block.start
        else:
            offset = block.offset + 2 * (start - block.start)
        self.buffer[offset : offset + len(column)] = column
        rows = self.rows_of(block, spans)
        self.status[rows] = Quality.GOOD
        self.observed_at[rows] = unix_ms(now)

    def batch(self) -> ValueBatch:
        """The columns."""
        values, quality = self.plan.decode(self.buffer, self.status)
        source = np.full(len(values), TimeSource.OURS, dtype=np.uint8)
        return ValueBatch(self.plan.points, values, quality, self.observed_at, source)


class ModbusDevice:
    """A unit on a bus, seen through a profile. Implements `fieldbus.device.Device`."""

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
        self._bus = bus
        self._now = now
        self._monotonic = monotonic
        self._require_simulator = require_simulator
        self._release = release
        self._backoff = Backoff(limits.backoff_initial_s, limits.backoff_max_s, monotonic, uniform)
        self._memory = Memory()
        self._plans: dict[tuple[PointAddress, ...], ReadPlan] = {}
        self._counters = Counters()
        self._writer = ModbusWriter(self)
        self._subscriptions: list[PollingSubscription] = []
        self._verified_generation = 0
        self._answered_generation = 0
        self._answered_at: float | None = None
        self._last_error = ""
        self._probing = False
        self._not_simulator = False
        self._closed = False

    # --- reading -------------------------------------------------------------------------------------------------

    async def read(self, points: Sequence[PointAddress]) -> ValueBatch:
        """See `Device.read`."""
        self.check_open()
        points = points if isinstance(points, tuple) else tuple(points)
        plan = self._plan(points)
        if not self._may_ask():
            return ValueBatch.missing(plan.points, self._now())
        reading = _Reading(plan, self._now())
        deadline = self._monotonic() + self.limits.read_deadline_s
        self._probing = True
        try:
            for block in plan.blocks:
                if self._monotonic() > deadline:
                    self._last_error = f"reading took longer than {self.limits.read_deadline_s:g} s"
                    break
                if not await self._read_spans(block, block.spans, reading):
                    break
        finally:
            self._probing = False
        return reading.batch()

    def _plan(self, points: tuple[PointAddress, ...]) -> ReadPlan:
        if self._memory.forgive(self._monotonic()):
            self._plans.clear()
        plan = self._plans.get(points)
        if plan is None:
            if len(self._plans) >= _PLANS_KEPT:
                self._plans.clear()
            plan = self._plans[points] = plan_reads(self.profile, points, self._memory)
        return plan

    async def _read_spans(self, block: Block, spans: Sequence[Span], reading: _Reading) -> bool:
        """Ask for a block or a part of it. False when asking on is of no use."""
        start = spans[0].address
        count = max(span.end for span in spans) - start
        try:
            answer = await self.request(_READ_FUNCTION[block.table], struct.pack(">HH", start, count), is_read=True)
            size = (count + 7) // 8 if block.table.is_bits else 2 * count
            if len(answer) != 1 + size or answer[0] != size:
                self._counters.discarded += 1
                raise Malformed(f"{len(answer)} bytes came for {count} addresses from {start} ({block.table.value})")
        except DeviceException as error:
            self._last_error = f"{block.table.value} {start}..{start + count - 1}: {error}"
            if error.is_absence:
                if not reading.answered:
                    self.failed(error)
                return reading.answered
            self.answered()
            reading.answered = True
            return await self._refused(error, block, spans, reading)
        except (LinkDown, NoAnswer, AnswerLost, Malformed) as error:
            self.failed(error)
            return False
        self.answered()
        reading.answered = True
        self._memory.grant(spans)
        reading.arrived(block, spans, start, answer[1:], self._now())
        return True

    async def _refused(self, error: DeviceException, block: Block, spans: Sequence[Span], reading: _Reading) -> bool:
        """The device refused: find out which part of the block it means, and remember it."""
        if error.exception_code in (ACKNOWLEDGE, BUSY):
            return True
        if not error.is_structural:
            reading.status[reading.rows_of(block, spans)] = Quality.BAD
            return True
        parts = None if error.exception_code == ILLEGAL_FUNCTION else split_block(spans)
        self._plans.clear()
        if parts is None:
            limits = self.limits
            self._memory.refuse(
                spans, self._monotonic(), limits.refused_points_retry_s, limits.refused_points_retry_max_s
            )
            reading.status[reading.rows_of(block, spans)] = Quality.BAD
            return True
        cut, left, right = parts
        self._memory.cuts[block.table].add(cut)
        self._counters.blocks_split += 1
        return await self._read_spans(block, left, reading) and await self._read_spans(block, right, reading)

    # --- writing, subscribing ------------------------------------------------------------------------------------

    async def write(self, writes: Sequence[tuple[PointAddress, float]], verify: bool = True) -> list[WriteResult]:
        """See `Device.write`."""
        self.check_open()
        return await self._writer.write(writes, verify)

    async def subscribe(
        self, points: Sequence[PointAddress], callback: BatchCallback, *, interval_s: float | None = None
    ) -> Subscription:
        """See `Device.subscribe`: Modbus is polled."""
        self.check_open()
        wanted = tuple(points)
        self._plan(wanted)
        subscription = PollingSubscription(
            lambda: self.read(wanted), callback, self.limits.poll_interval_s if interval_s is None else interval_s
        )
        self._subscriptions.append(subscription)
        return subscription

    # --- the device itself ---------------------------------------------------------------------------------------

    def health(self) -> DeviceHealth:
        """See `Device.health`."""
        wait_s = max(self._backoff.remaining_s, 0.0 if self._bus.connected else self._bus.backoff.remaining_s)
        failing = self._backoff.failures + (0 if self._bus.connected else self._bus.backoff.failures)
        if self._closed:
            state = DeviceState.CLOSED
        elif self._not_simulator:
            state = DeviceState.REFUSED
        elif failing:
            state = DeviceState.BACKING_OFF
        else:
            state = DeviceState.UNTRIED if self._answered_at is None else DeviceState.ONLINE
        return DeviceHealth(
            state=state,
            consecutive_failures=failing,
            last_error=self._last_error,
            seconds_since_answer=None if self._answered_at is None else self._monotonic() - self._answered_at,
            seconds_to_next_attempt=wait_s,
            counters=replace(self._counters),
            refused_points=len(self._memory.refused),
        )

    async def identify(self) -> Identity:
        """See `Device.identify`. Empty where the device does not know function 0x2B/0x0E."""
        self.check_open()
        try:
            return await self._read_identity(None)
        except DeviceException as error:
            if error.is_absence:
                raise NoAnswer(str(error)) from None
            return Identity()

    async def close(self) -> None:
        """See `Device.close`."""
        if self._closed:
            return
        self._closed = True
        for subscription in self._subscriptions:
            await subscription.cancel()
        self._release()

    # --- for the writer ------------------------------------------------------------------------------------------

    @property
    def counters(self) -> Counters:
        """The live counters."""
        return self._counters

    @property
    def waiting_reason(self) -> str:
        """Why nothing may be sent now; empty when it may."""
        if self._backoff.ready:
            return ""
        return f"the device does not answer, next attempt in {self._backoff.remaining_s:.1f} s"

    def monotonic(self) -> float:
        """Real seconds."""
        return self._monotonic()

    def check_open(self) -> None:
        """Raises InvalidInput once closed."""
        if self._closed:
            raise InvalidInput.of("device", f"{self.endpoint} was closed")

    def answered(self) -> None:
        """The device lives."""
        self._backoff.succeeded()
        self._answered_at = self._monotonic()
        self._answered_generation = self._bus.generation

    def failed(self, error: LichtbuchError) -> None:
        """The device did not answer as it should; a connection that is down is not its own fault."""
        self._last_error = str(error)
        if not isinstance(error, LinkDown):
            self._backoff.failed()

    async def request(self, function_code: int, payload: bytes, *, is_read: bool = False) -> bytes:
        """One request to this unit. A read is repeated once when a long-lived connection turns out to be dead."""
        repeat = is_read and self._answered_generation == self._bus.generation
        for _ in range(_RENEWALS_TOLERATED):
            try:
                generation = await self._verified() if self._require_simulator else None
                return await self._exchange(function_code, payload, generation)
            except LinkRenewed:
                continue
            except AnswerLost:
                if not repeat:
                    raise
                repeat = False
        raise LinkDown("the connection is renewed again and again")

    async def _exchange(self, function_code: int, payload: bytes, generation: int | None) -> bytes:
        return await self._bus.exchange(
            self.endpoint.unit,
            function_code,
            payload,
            timeout_s=self.limits.request_timeout_s,
            product=self.profile.modbus,
            counters=self._counters,
            generation=generation,
        )

    def _may_ask(self) -> bool:
        """Whether to bother the bus: not while backing off, and only one probe at a time."""
        return self._backoff.ready and not (self._probing and self._backoff.failures)

    async def _verified(self) -> int:
        """The generation of a connection at whose end the simulator stands. Raises FailedPrecondition otherwise."""
        generation = await self._bus.ensure_connected(self.profile.modbus)
        if generation == self._verified_generation:
            return generation
        try:
            identity = await self._read_identity(generation)
        except DeviceException as error:
            if error.is_absence:
                raise NoAnswer(str(error)) from None
            identity = Identity()
        self._not_simulator = (identity.vendor, identity.product) != (SIMULATOR_VENDOR, SIMULATOR_PRODUCT)
        if self._not_simulator:
            self._last_error = f"is not the simulator but '{identity.vendor} {identity.product}'"
            raise FailedPrecondition.of(
                "endpoint", f"{self.endpoint} {self._last_error}; only the simulator may be used now"
            )
        self._verified_generation = generation
        return generation

    async def _read_identity(self, generation: int | None) -> Identity:
        texts: dict[int, str] = {}
        next_object = 0
        for _ in range(_RENEWALS_TOLERATED):
            payload = bytes((_READ_IDENTIFICATION, _BASIC_IDENTITY, next_object))
            answer = await self._exchange(_ENCAPSULATED, payload, generation)
            self.answered()
            more, next_object = _parse_identity(answer, texts)
            if not more:
                break
        return Identity(texts.get(0, ""), texts.get(1, ""), texts.get(2, ""))


def _parse_identity(answer: bytes, texts: dict[int, str]) -> tuple[bool, int]:
    """Objects of one answer to 0x2B/0x0E into `texts`; whether more follow, and from which object."""
    if len(answer) < 6 or answer[0] != _READ_IDENTIFICATION:
        raise Malformed("the answer to the identification request cannot be read")
    position = 6
    for _ in range(answer[5]):
        if position + 2 > len(answer) or position + 2 + answer[position + 1] > len(answer):
            raise Malformed("the identification ends in the middle of a text")
        end = position + 2 + answer[position + 1]
        texts[answer[position]] = answer[position + 2 : end].decode("utf-8", "replace").strip("\0 ")
        position = end
    return answer[3] == 0xFF, answer[4]
