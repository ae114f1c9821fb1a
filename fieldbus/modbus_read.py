"""Reading a unit by plan: blocks out, values in; what the unit refuses is found, left out and tried again later.

Which requests there are is planner.py's business, collecting their answers reading.py's, how one request travels
modbus_unit.py's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from fieldbus.faults import (
    ACKNOWLEDGE,
    BUSY,
    ILLEGAL_FUNCTION,
    AnswerLost,
    DeviceException,
    LinkDown,
    Malformed,
    NoAnswer,
    Postponed,
)
from fieldbus.modbus_unit import ModbusUnit
from fieldbus.planner import Block, Span, plan_scale_factors, split_block
from fieldbus.plans import PlanBook
from fieldbus.profile import Profile, Table
from fieldbus.reading import Planned, Reading
from fieldbus.values import PointAddress, Quality, ValueBatch, unix_ms

READ_FUNCTION: Final = {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}
_REQUEST: Final = struct.Struct(">HH")


class ModbusReader:
    """Reads for one unit."""

    def __init__(self, unit: ModbusUnit, profile: Profile, now: Callable[[], datetime]) -> None:
        self.book = PlanBook(profile)
        self.refusals = 0  # structural ones so far, of points or blocks
        self._unit = unit
        self._now = now
        self._probing = False

    async def read(self, points: tuple[PointAddress, ...]) -> ValueBatch:
        """See `Device.read`."""
        unit = self._unit
        began = unit.monotonic()
        _, planned, freshness = self.book.of(points, began)
        # Not while backing off, and only one probe at a time.
        if unit.backoff.failures and (self._probing or not unit.backoff.ready):
            return ValueBatch.missing(points, self._now())
        batch = await self._carry_out(planned, began)
        if freshness is not None:
            freshness.check_age(batch.quality, batch.observed_at, batch.time_source, unix_ms(self._now()))
            freshness.check_frozen(batch)
        return batch

    async def scale_factors(self, points: tuple[PointAddress, ...]) -> ValueBatch:
        """The exponents of ten that the device holds for points with a scale factor register, as their values."""
        plan = plan_scale_factors(self.book.profile, points, self.book.memory)
        return await self._carry_out(Planned(plan, None), self._unit.monotonic())

    async def _carry_out(self, planned: Planned, began: float) -> ValueBatch:
        """Ask for all blocks of a plan."""
        reading = Reading(planned, began + self._unit.limits.read_deadline_s)
        blocks = planned.plan.blocks
        self._probing = True
        try:
            for number, block in enumerate(blocks):
                if not await self._read_spans(block, block.spans, reading):
                    for rest in blocks[number + 1 :]:
                        reading.lost(rest, rest.spans, Quality.MISSING)
                    break
        finally:
            self._probing = False
        return reading.batch(0 if reading.whole else unix_ms(self._now()))

    async def _read_spans(self, block: Block, spans: Sequence[Span], reading: Reading) -> bool:
        """Ask for a block or a part of it. False when asking on is of no use."""
        start, count = _extent(block, spans)
        unit = self._unit
        try:
            data = await self._registers(block.table, start, count, reading.deadline)
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
        if self.book.memory.refusals:
            self.book.memory.grant(spans)
        if count > self.book.lengths.granted[block.table]:
            self.book.lengths.granted[block.table] = count
        reading.arrived(block, start, count, data, unix_ms(self._now()))
        return True

    async def _registers(self, table: Table, start: int, count: int, deadline: float) -> memoryview:
        """The bytes of `count` addresses. Raises Malformed when their number does not fit, Postponed when the time of
        the reading is over, also while it waits for its turn."""
        unit = self._unit
        if unit.monotonic() >= deadline:
            raise Postponed(f"reading took longer than {unit.limits.read_deadline_s:g} s")
        request = _REQUEST.pack(start, count)
        answer = await unit.request(READ_FUNCTION[table], request, is_read=True, turn_by=deadline)
        size = (count + 7) // 8 if table.is_bits else 2 * count
        if len(answer) != 1 + size or answer[0] != size:
            unit.counters.discarded += 1
            raise Malformed(f"{len(answer)} bytes came for {count} addresses from {start} ({table.value})")
        return memoryview(answer)[1:]

    async def _refused(self, error: DeviceException, block: Block, spans: Sequence[Span], reading: Reading) -> bool:
        """The device refused: find out which part of the block it means, and remember it."""
        if error.exception_code in (ACKNOWLEDGE, BUSY):
            reading.lost(block, spans, Quality.MISSING)
            return True
        if not error.is_structural:
            reading.lost(block, spans, Quality.BAD)
            return True
        self.refusals += 1
        book, unit = self.book, self._unit
        parts = None if error.exception_code == ILLEGAL_FUNCTION else split_block(spans)
        if parts is None:
            limits = unit.limits
            book.memory.refuse(
                spans, unit.monotonic(), limits.refused_points_retry_s, limits.refused_points_retry_max_s
            )
            reading.lost(block, spans, Quality.BAD)
            book.learnt()
            return True
        cut, left, right = parts
        unit.counters.blocks_split += 1
        refused_before = len(book.memory.refused)
        went_on = await self._read_spans(block, left, reading)
        if went_on:
            went_on = await self._read_spans(block, right, reading)
        else:
            reading.lost(block, right, Quality.MISSING)
        lossless = went_on and len(book.memory.refused) == refused_before
        too_long = lossless and len(spans) > 2 and await self._can_be_crossed(block, left, right, reading.deadline)
        if not too_long or not book.lengths.too_long(block.table, _extent(block, spans)[1]):
            book.memory.cuts[block.table].add(cut)
        book.learnt()
        return went_on

    async def _can_be_crossed(self, block: Block, left: Sequence[Span], right: Sequence[Span], deadline: float) -> bool:
        """Whether the device gives the place at which a block was cut as part of a shorter one: then the whole was too
        long for it, and there is nothing wrong with the place."""
        start, count = _extent(block, (max(left, key=lambda span: span.end), right[0]))
        try:
            await self._registers(block.table, start, count, deadline)
        except (DeviceException, LinkDown, NoAnswer, AnswerLost, Malformed):
            return False
        return True


def _extent(block: Block, spans: Sequence[Span]) -> tuple[int, int]:
    """Start and count of a request for a block or a part of it."""
    if len(spans) == len(block.spans):
        return block.start, block.count
    start = min(span.address for span in spans)
    return start, max(span.end for span in spans) - start
