"""Reading a unit by plan: blocks out, values in; what the unit refuses is found, left out and tried again later.

Which requests there are is planner.py's business, what the bytes mean codec.py's, how one request travels
modbus_unit.py's.
"""

from __future__ import annotations

import struct
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import numpy as np

from fieldbus.block_length import BlockLengths
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
from fieldbus.modbus_unit import ModbusUnit
from fieldbus.planner import Block, Memory, ReadPlan, Span, plan_reads, split_block
from fieldbus.profile import Profile, Table
from fieldbus.values import PointAddress, Quality, TimeSource, ValueBatch, unix_ms

READ_FUNCTION: Final = {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}
_PLANS_KEPT: Final = 64  # per device
_PLANS_SHARED: Final = 512  # per profile
_REQUEST: Final = struct.Struct(">HH")

Plans = dict[tuple[PointAddress, ...], ReadPlan]


class _Reading:
    """One read() under way: bytes as they arrive, and what became of each row."""

    def __init__(self, plan: ReadPlan, began_ms: int) -> None:
        self.plan = plan
        self.buffer = bytearray(plan.buffer_size)
        self.answered = False
        self._began_ms = began_ms
        self._arrived_ms: dict[int, int] = {}  # of the blocks that came as a whole
        self._losses: list[tuple[Block, Sequence[Span], Quality]] = []

    def arrived(self, block: Block, start: int, count: int, data: memoryview, at_ms: int) -> None:
        """Data of a block, or of a part of it: `count` addresses from `start` on."""
        if block.table.is_bits:
            offset = block.offset + start - block.start
            bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little")
            self.buffer[offset : offset + count] = bits[:count].tobytes()
        else:
            offset = block.offset + 2 * (start - block.start)
            self.buffer[offset : offset + 2 * count] = data
        self._arrived_ms[block.offset] = at_ms

    def lost(self, block: Block, spans: Sequence[Span], quality: Quality) -> None:
        """These spans of a block will not come."""
        self._losses.append((block, spans, quality))

    def batch(self) -> ValueBatch:
        """The columns."""
        plan = self.plan
        status = np.ones(len(plan.points), dtype=np.uint8)
        status[plan.refused_rows] = Quality.BAD
        for block, spans, quality in self._losses:
            rows = _rows_of(plan, block, spans)
            status[rows] = np.maximum(status[rows], quality)
        values, quality_column = plan.decode(np.frombuffer(self.buffer, dtype=np.uint8), status)
        source = np.full(len(values), TimeSource.OURS, dtype=np.uint8)
        return ValueBatch(plan.points, values, quality_column, self._observed_at(), source)

    def _observed_at(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        times = self._arrived_ms
        blocks = self.plan.blocks
        first = times.get(blocks[0].offset, self._began_ms) if blocks else self._began_ms
        column = np.full(len(self.plan.points), first, dtype=np.int64)
        for block in blocks[1:]:
            at_ms = times.get(block.offset, self._began_ms)
            if at_ms != first:
                column[block.rows] = at_ms
        return column


def _rows_of(plan: ReadPlan, block: Block, spans: Sequence[Span]) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """The rows that spans of a block serve."""
    if len(spans) == len(block.spans):
        return block.rows
    wanted = set(spans)
    return np.array([row for row in block.rows if plan.spans[row] in wanted], dtype=np.intp)


class ModbusReader:
    """Reads for one unit."""

    def __init__(self, unit: ModbusUnit, profile: Profile, now: Callable[[], datetime]) -> None:
        self._unit = unit
        self._now = now
        self._probing = False
        self.memory = Memory()
        self.lengths = BlockLengths()
        self._profile = self._narrowed = profile
        self._plans: Plans = shared_plans(profile)
        # By identity of the points, which are kept alive here: hashing thousands of them in every cycle costs.
        self._recent: dict[int, tuple[tuple[PointAddress, ...], ReadPlan]] = {}
        self.refusals = 0  # structural ones so far, of points or blocks

    # --- what is known of the unit -------------------------------------------------------------------------------

    @property
    def profile(self) -> Profile:
        """What is read by."""
        return self._profile

    def adopt(self, profile: Profile) -> None:
        """Read by another profile from now on: the unit turned out to be another copy of the product."""
        self._profile = profile
        self.forget()

    def forget(self) -> None:
        """Forget what the unit refused: it may be another one now."""
        self.memory = Memory()
        self.lengths = BlockLengths()
        self._learnt()

    def _learnt(self) -> None:
        """Plans have to be made anew. A unit of which nothing is known shares them with its like."""
        self._recent.clear()
        narrowed = self.lengths.narrow(self._profile.modbus)
        if narrowed is not self._profile.modbus:
            self._narrowed = replace(self._profile, modbus=narrowed)
        else:
            self._narrowed = self._profile
        memory = self.memory
        unknowing = self._narrowed is self._profile and not memory.refused and not any(memory.cuts.values())
        self._plans = shared_plans(self._profile) if unknowing else {}

    def plan(self, points: tuple[PointAddress, ...]) -> ReadPlan:
        """The plan for points. Raises InvalidInput for points that the profile does not have."""
        if self.memory.refused and self.memory.forgive(self._unit.monotonic()):
            self._learnt()
        known = self._recent.get(id(points))
        if known is not None:
            return known[1]
        plan = self._plans.get(points)
        if plan is None:
            plan = plan_reads(self._narrowed, points, self.memory)
            if len(self._plans) >= _PLANS_SHARED:
                del self._plans[next(iter(self._plans))]
            self._plans[points] = plan
        if len(self._recent) >= _PLANS_KEPT:
            self._recent.clear()
        self._recent[id(points)] = points, plan
        return plan

    # --- reading -------------------------------------------------------------------------------------------------

    async def read(self, points: tuple[PointAddress, ...]) -> ValueBatch:
        """See `Device.read`."""
        unit = self._unit
        plan = self.plan(points)
        # Not while backing off, and only one probe at a time.
        if unit.backoff.failures and (self._probing or not unit.backoff.ready):
            return ValueBatch.missing(plan.points, self._now())
        reading = _Reading(plan, unix_ms(self._now()))
        deadline = unit.monotonic() + unit.limits.read_deadline_s
        self._probing = True
        try:
            for number, block in enumerate(plan.blocks):
                if unit.monotonic() > deadline:
                    unit.last_error = f"reading took longer than {unit.limits.read_deadline_s:g} s"
                elif await self._read_spans(block, block.spans, reading):
                    continue
                else:
                    number += 1
                for rest in plan.blocks[number:]:
                    reading.lost(rest, rest.spans, Quality.MISSING)
                break
        finally:
            self._probing = False
        return reading.batch()

    async def _read_spans(self, block: Block, spans: Sequence[Span], reading: _Reading) -> bool:
        """Ask for a block or a part of it. False when asking on is of no use."""
        start, count = _extent(block, spans)
        unit = self._unit
        try:
            data = await self._registers(block.table, start, count)
        except DeviceException as error:
            unit.last_error = f"{block.table.value} {start}..{start + count - 1}: {error}"
            if error.is_absence:
                if not reading.answered:
                    unit.failed(error)
                reading.lost(block, spans, Quality.MISSING)
                return reading.answered
            unit.answered()
            reading.answered = True
            return await self._refused(error, block, spans, reading)
        except (LinkDown, NoAnswer, AnswerLost, Malformed) as error:
            unit.failed(error)
            reading.lost(block, spans, Quality.MISSING)
            return False
        unit.answered()
        reading.answered = True
        if self.memory.refusals:
            self.memory.grant(spans)
        if count > self.lengths.granted[block.table]:
            self.lengths.granted[block.table] = count
        reading.arrived(block, start, count, data, unix_ms(self._now()))
        return True

    async def _registers(self, table: Table, start: int, count: int) -> memoryview:
        """The bytes of `count` addresses. Raises Malformed when their number does not fit."""
        answer = await self._unit.request(READ_FUNCTION[table], _REQUEST.pack(start, count), is_read=True)
        size = (count + 7) // 8 if table.is_bits else 2 * count
        if len(answer) != 1 + size or answer[0] != size:
            self._unit.counters.discarded += 1
            raise Malformed(f"{len(answer)} bytes came for {count} addresses from {start} ({table.value})")
        return memoryview(answer)[1:]

    async def _refused(self, error: DeviceException, block: Block, spans: Sequence[Span], reading: _Reading) -> bool:
        """The device refused: find out which part of the block it means, and remember it."""
        if error.exception_code in (ACKNOWLEDGE, BUSY):
            reading.lost(block, spans, Quality.MISSING)
            return True
        if not error.is_structural:
            reading.lost(block, spans, Quality.BAD)
            return True
        self.refusals += 1
        parts = None if error.exception_code == ILLEGAL_FUNCTION else split_block(spans)
        if parts is None:
            limits = self._unit.limits
            self.memory.refuse(
                spans, self._unit.monotonic(), limits.refused_points_retry_s, limits.refused_points_retry_max_s
            )
            reading.lost(block, spans, Quality.BAD)
            self._learnt()
            return True
        cut, left, right = parts
        self._unit.counters.blocks_split += 1
        refused_before = len(self.memory.refused)
        went_on = await self._read_spans(block, left, reading)
        if went_on:
            went_on = await self._read_spans(block, right, reading)
        else:
            reading.lost(block, right, Quality.MISSING)
        lossless = went_on and len(self.memory.refused) == refused_before
        too_long = lossless and len(spans) > 2 and await self._can_be_crossed(block, left, right)
        if not too_long or not self.lengths.too_long(block.table, _extent(block, spans)[1]):
            self.memory.cuts[block.table].add(cut)
        self._learnt()
        return went_on

    async def _can_be_crossed(self, block: Block, left: Sequence[Span], right: Sequence[Span]) -> bool:
        """Whether the device gives the place at which a block was cut as part of a shorter one: then the whole was too
        long for it, and there is nothing wrong with the place."""
        start, count = _extent(block, (max(left, key=lambda span: span.end), right[0]))
        try:
            await self._registers(block.table, start, count)
        except (DeviceException, LinkDown, NoAnswer, AnswerLost, Malformed):
            return False
        return True


def _extent(block: Block, spans: Sequence[Span]) -> tuple[int, int]:
    """Start and count of a request for a block or a part of it."""
    if len(spans) == len(block.spans):
        return block.start, block.count
    start = min(span.address for span in spans)
    return start, max(span.end for span in spans) - start


_SHARED: dict[int, Plans] = {}


def shared_plans(profile: Profile) -> Plans:
    """The plans of all units of a profile that have refused nothing: hundreds of one product need them once."""
    plans = _SHARED.get(id(profile))
    if plans is None:
        plans = _SHARED[id(profile)] = {}
        weakref.finalize(profile, _SHARED.pop, id(profile), None)
    return plans
