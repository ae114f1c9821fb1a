"""The shortest way of reading, for the most frequent reading there is: one block of plain numbers, all of it wanted.

What is always the same is made once per plan; when the device is healthy and its bus idle, the request goes out without
asking anybody for a turn. Everything else, and all that goes wrong, is left to the general way in read.py, which
stays the rule: both give equal batches.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import numpy as np

from fieldbus.modbus.planner import ReadPlan
from fieldbus.modbus.quick_decode import QuickDecoder
from fieldbus.modbus.read_plan import Block
from fieldbus.profile import Table
from fieldbus.values import PointAddress, ValueBatch

READ_FUNCTION: Final = {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}
READ_REQUEST: Final = struct.Struct(">HH")


class DirectRead(NamedTuple):
    """One request and how its answer becomes a batch."""

    points: tuple[PointAddress, ...]
    block: Block
    function_code: int
    request: bytes
    answer_size: int  # bytes of a right answer, of which the first one counts the others
    quick: QuickDecoder

    @classmethod
    def of(cls, plan: ReadPlan, quick: QuickDecoder | None) -> DirectRead | None:
        """None where a plan takes more than that. Bits are not plain: they have to be unpacked first."""
        if quick is None or len(plan.blocks) != 1 or plan.blocks[0].table.is_bits:
            return None
        block = plan.blocks[0]
        request = READ_REQUEST.pack(block.start, block.count)
        return cls(plan.points, block, READ_FUNCTION[block.table], request, 1 + 2 * block.count, quick)

    def fits(self, answer: bytes) -> bool:
        """Whether as much came as was asked for."""
        return len(answer) == self.answer_size == answer[0] + 1

    def batch(self, answer: bytes, at_ms: int) -> ValueBatch:
        """The columns, of an answer that fits."""
        values, quality = self.quick.decode(answer, 1)
        observed_at = np.empty(len(self.points), dtype=np.int64)
        observed_at.fill(at_ms)
        return ValueBatch(self.points, values, quality, observed_at, self.quick.time_source)
