"""Reading a unit by plan: blocks out, values in; what the unit refuses is found, left out and tried again later.

Which requests there are is planner.py's business, collecting their answers reading.py's, how one request travels
unit.py's.
"""

from __future__ import annotations

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
from fieldbus.modbus.direct_read import READ_FUNCTION, READ_REQUEST
from fieldbus.modbus.planner import Block, Span, plan_scale_factors, split_block
from fieldbus.modbus.plans import PlanBook
from fieldbus.modbus.reading import Planned, Reading
from fieldbus.modbus.unit import ModbusUnit
from fieldbus.profile import Profile, Table
from fieldbus.values import PointAddress, Quality, ValueBatch

_FAILURES: Final = (DeviceException, LinkDown, NoAnswer, AnswerLost, Malformed)
_Failure = DeviceException | LinkDown | NoAnswer | AnswerLost | Malformed


class ModbusReader:
    """Reads for one unit."""

    def __init__(
        self, unit: ModbusUnit, profile: Profile, now: Callable[[], datetime], now_ms: Callable[[], int]
    ) -> None:
        """now, now_ms: the instant at which an answer came, as a datetime and in Unix milliseconds."""
        self.book = PlanBook(profile)
        self.refusals = 0  # structural ones so far, of points or blocks
        self._unit = unit
        self._now, self._now_ms = now, now_ms
        self._probing = False

    async def read(self, points: tuple[PointAddress, ...]) -> ValueBatch:
        """See `Device.read`. The short way as far as it is free (direct_read.py), then by plan, which also deals with
        whatever went wrong on the short one."""
        unit, bus = self._unit, self._unit.bus
        began = now = unit.monotonic()
        _, _, freshness, direct = self.book.of(points, began)
        deadline = began + unit.limits.read_deadline_s
        answers: list[bytes] = []
        times: list[int] = []
        failure: _Failure | None = None
        for block, function_code, payload, size in direct.requests:
            link = bus.link  # there may be another one when this request has failed
            asked_at = now
            answer = unit.begin(function_code, payload, now) if now < deadline else None
            if answer is None:
                break
            self._probing = True
            try:
                data = await answer
            except BaseException as error:
                bus.failed(unit.asker, error, link, len(payload), asked_at)
                if not isinstance(error, _FAILURES):
                    raise
                failure = error
                break
            finally:
                self._probing = False
            now = unit.monotonic()
            bus.succeeded(unit.asker, len(payload), len(data), asked_at, now)
            if len(data) != size or data[0] != size - 1:
                failure = self._unfit(data, block.table, block.start, block.count)
                break
            self._gave(block, block.spans, block.count, now)
            answers.append(data)
            times.append(self._now_ms())
        if answers and len(answers) == len(direct.requests):
            batch = direct.batch(answers, times, deadline)
        else:
            batch = await self._by_plan(direct.reading(answers, times, deadline), len(answers), failure)
        if freshness is not None:
            freshness.check_age(batch.quality, batch.observed_at, batch.time_source, self._now_ms())
            freshness.check_frozen(batch)
        return batch

    async def _by_plan(self, reading: Reading, done: int, failure: _Failure | None) -> ValueBatch:
        """Read what is left, where the device may be asked; see `_carry_out`."""
        unit = self._unit
        if isinstance(failure, AnswerLost):
            unit.lost()
            failure = None  # a connection that was dead already: ask once more
        # Not while backing off, and only one probe at a time; but who has got half of it gets the rest.
        if not done and failure is None and unit.backoff.failures and (self._probing or not unit.backoff.ready):
            return ValueBatch.missing(reading.plan.points, self._now())
        return await self._carry_out(reading, done, failure)

    async def scale_factors(self, points: tuple[PointAddress, ...]) -> ValueBatch:
        """The exponents of ten that the device holds for points with a scale factor register, as their values."""
        plan = plan_scale_factors(self.book.profile, points, self.book.memory)
        deadline = self._unit.monotonic() + self._unit.limits.read_deadline_s
        return await self._carry_out(Reading(Planned(plan, None), deadline))

    async def _carry_out(self, reading: Reading, done: int = 0, failure: _Failure | None = None) -> ValueBatch:
        """Ask for the blocks of a plan but those `done`; `failure` is what has become of the next one, where it was
        asked for."""
        blocks = reading.plan.blocks
        self._probing = True
        try:
            for number, block in enumerate(blocks[done:], start=done + 1):
                if failure is None:
                    went_on = await self._read_spans(block, block.spans, reading)
                else:
                    went_on = await self._in_vain(failure, block, block.spans, reading)
                    failure = None
                if not went_on:
                    for rest in blocks[number:]:
                        reading.lost(rest, rest.spans, Quality.MISSING)
                    break
        finally:
            self._probing = False
        return reading.batch(0 if reading.whole else self._now_ms())

    async def _read_spans(self, block: Block, spans: Sequence[Span], reading: Reading) -> bool:
        """Ask for a block or a part of it. False when asking on is of no use."""
        start, count = _extent(block, spans)
        try:
            data = await self._registers(block.table, start, count, reading.deadline)
        except _FAILURES as failure:
            return await self._in_vain(failure, block, spans, reading)
        reading.answered = True
        self._gave(block, spans, count)
        reading.arrived(block, start, count, data, self._now_ms())
        return True

    def _gave(self, block: Block, spans: Sequence[Span], count: int, now: float | None = None) -> None:
        """The unit gave `count` addresses that were asked for at once: it lives, and lets these be read."""
        self._unit.answered(now)
        book = self.book
        if book.memory.refusals:
            book.memory.grant(spans)
        if count > book.lengths.granted[block.table]:
            book.lengths.granted[block.table] = count

    async def _in_vain(self, failure: _Failure, block: Block, spans: Sequence[Span], reading: Reading) -> bool:
        """A block or a part of it did not come. False when asking on is of no use."""
        unit = self._unit
        if not isinstance(failure, DeviceException):
            unit.failed(failure)
            reading.lost(block, spans, Quality.MISSING)
            return False
        start, count = _extent(block, spans)
        before, known = unit.last_error, len(self.book.memory.refused)
        unit.last_error = f"{block.table.value} {start}..{start + count - 1}: {failure}"
        if failure.is_absence:
            if not reading.answered:
                unit.failed(failure)
            reading.lost(block, spans, Quality.MISSING)
            return reading.answered
        unit.answered()
        reading.answered = True
        went_on = await self._refused(failure, block, spans, reading)
        if went_on and failure.is_structural and len(self.book.memory.refused) == known:
            unit.last_error = before  # all of it came in parts: there is nothing to tell
        return went_on

    async def _registers(self, table: Table, start: int, count: int, deadline: float) -> memoryview:
        """The bytes of `count` addresses. Raises Malformed when their number does not fit, Postponed when the time of
        the reading is over, also while it waits for its turn."""
        unit = self._unit
        if unit.monotonic() >= deadline:
            raise Postponed(f"reading took longer than {unit.limits.read_deadline_s:g} s")
        request = READ_REQUEST.pack(start, count)
        answer = await unit.request(READ_FUNCTION[table], request, is_read=True, turn_by=deadline)
        size = (count + 7) // 8 if table.is_bits else 2 * count
        if len(answer) != 1 + size or answer[0] != size:
            raise self._unfit(answer, table, start, count)
        return memoryview(answer)[1:]

    def _unfit(self, answer: bytes, table: Table, start: int, count: int) -> Malformed:
        """An answer that is not as long as it has to be is not used."""
        self._unit.counters.discarded += 1
        return Malformed(f"{len(answer)} bytes came for {count} addresses from {start} ({table.value})")

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
        except _FAILURES:
            return False
        return True


def _extent(block: Block, spans: Sequence[Span]) -> tuple[int, int]:
    """Start and count of a request for a block or a part of it."""
    if len(spans) == len(block.spans):
        return block.start, block.count
    start = min(span.address for span in spans)
    return start, max(span.end for span in spans) - start
