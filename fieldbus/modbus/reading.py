"""One reading under way: the bytes of its blocks as they arrive, and what became of the rest, until it is a batch.

What is asked for and in which order is read.py's business, what the bytes mean read_plan.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldbus.modbus.planner import Block, ReadPlan, Span
from fieldbus.modbus.quick_decode import QuickDecoder
from fieldbus.values import ByteColumn, InstantColumn, Quality, ValueBatch

INSTANT: Final = np.dtype(np.int64)


class Planned(NamedTuple):
    """A plan, and the quick way of decoding it where there is one."""

    plan: ReadPlan
    quick: QuickDecoder | None


class Reading:
    """Collects the answers to one plan."""

    def __init__(self, planned: Planned, deadline: float) -> None:
        """`deadline` in real seconds: what is left by then is MISSING."""
        self.plan, self._quick = planned
        self.deadline = deadline
        self.buffer: bytearray | memoryview = bytearray(self.plan.buffer_size)
        self.answered = False
        self._arrived_ms: dict[int, int] = {}  # by offset of the block
        self._losses: list[tuple[Block, Sequence[Span], Quality]] = []

    def arrived(self, block: Block, start: int, count: int, data: memoryview, at_ms: int) -> None:
        """Data of a block, or of a part of it: `count` addresses from `start` on."""
        if block.table.is_bits:
            offset = block.offset + start - block.start
            bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little")
            self.buffer[offset : offset + count] = bits[:count].tobytes()
        elif len(data) == len(self.buffer):
            self.buffer = data  # all there is, at once: most readings of a meter
        else:
            offset = block.offset + 2 * (start - block.start)
            self.buffer[offset : offset + 2 * count] = data
        self._arrived_ms[block.offset] = at_ms

    @property
    def whole(self) -> bool:
        """Whether something came for every block, so that no row needs the instant at which the reading ended."""
        return len(self._arrived_ms) == len(self.plan.blocks) > 0

    def lost(self, block: Block, spans: Sequence[Span], quality: Quality) -> None:
        """These spans of a block will not come."""
        self._losses.append((block, spans, quality))

    def batch(self, ended_ms: int) -> ValueBatch:
        """The columns. What never came bears the instant at which that was certain."""
        plan, quick = self.plan, self._quick
        observed_at = instants(plan, [self._arrived_ms.get(block.offset, ended_ms) for block in plan.blocks], ended_ms)
        if quick is None or self._losses:
            return plan.batch(np.frombuffer(self.buffer, dtype=np.uint8), self._status(), observed_at)
        values, quality = quick.decode(self.buffer)
        return ValueBatch(plan.points, values, quality, observed_at, quick.time_source)

    def _status(self) -> ByteColumn:
        """Quality of each row as far as the device is concerned."""
        plan = self.plan
        status = np.ones(plan.row_count, dtype=np.uint8)
        if len(plan.refused_rows):
            status[plan.refused_rows] = Quality.BAD
        for block, spans, quality in self._losses:
            rows = self._rows_of(block, spans)
            status[rows] = np.maximum(status[rows], quality)
        return status

    def _rows_of(self, block: Block, spans: Sequence[Span]) -> npt.NDArray[np.intp]:
        """The rows that spans of a block serve."""
        if len(spans) == len(block.spans):
            return block.rows
        wanted = set(spans)
        return np.array([row for row in block.rows if self.plan.spans[row] in wanted], dtype=np.intp)


@lru_cache(maxsize=16)
def all_at(count: int, at_ms: int) -> InstantColumn:
    """The column of `count` rows that were all observed at one instant. Many devices answer within a millisecond: their
    batches have it in common, so nobody may write to it."""
    column = np.full(count, at_ms, INSTANT)
    column.flags.writeable = False
    return column


def instants(plan: ReadPlan, times: Sequence[int], ended_ms: int = 0) -> InstantColumn:
    """When each row of a plan was observed: `times` of its blocks. `ended_ms` where there are none."""
    first = times[0] if times else ended_ms
    column = np.empty(plan.row_count, INSTANT)
    column.fill(first)
    if len(times) > 1:
        for at_ms, block in zip(times, plan.blocks, strict=True):
            if at_ms != first:
                column[block.rows] = at_ms
    return column
