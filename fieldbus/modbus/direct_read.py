"""The short way of reading, for the most frequent readings there are: healthy unit, connection free, all of it wanted.

What is always the same is made once per plan; each of its requests goes out without asking anybody for a turn, as long
as nobody else wants one. Everything else, and all that goes wrong, is left to the general way in read.py, which stays
the rule and goes on where this one stops: both give equal batches.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from fieldbus.modbus.quick_decode import QuickDecoder
from fieldbus.modbus.read_plan import Block
from fieldbus.modbus.reading import Planned, Reading, all_at, instants
from fieldbus.profile import Table
from fieldbus.values import ValueBatch

READ_FUNCTION: Final = {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}
READ_REQUEST: Final = struct.Struct(">HH")


class DirectRequest(NamedTuple):
    """One request of a plan."""

    block: Block
    function_code: int
    payload: bytes
    answer_size: int  # bytes of a right answer, of which the first one counts the others


@dataclass(frozen=True, slots=True)
class DirectRead:
    """The requests of a plan, and how their answers become a batch."""

    requests: tuple[DirectRequest, ...]
    planned: Planned
    quick: QuickDecoder | None  # where answers are decoded as they are: bits have to be unpacked first

    @classmethod
    def of(cls, planned: Planned) -> DirectRead:
        """All of it is made here, nothing in a cycle."""
        blocks = planned.plan.blocks
        requests = tuple(
            DirectRequest(block, READ_FUNCTION[block.table], READ_REQUEST.pack(block.start, block.count), 1 + size)
            for block in blocks
            for size in ((block.count + 7) // 8 if block.table.is_bits else 2 * block.count,)
        )
        has_bits = any(block.table.is_bits for block in blocks)
        return cls(requests, planned, None if has_bits else planned.quick)

    def reading(self, answers: list[bytes], times: list[int], deadline: float) -> Reading:
        """A reading that has gone as far as these answers, which came at `times` (Unix ms)."""
        reading = Reading(self.planned, deadline)
        for request, answer, at_ms in zip(self.requests, answers, times, strict=False):
            block = request.block
            reading.answered = True
            reading.arrived(block, block.start, block.count, memoryview(answer)[1:], at_ms)
        return reading

    def batch(self, answers: list[bytes], times: list[int], deadline: float) -> ValueBatch:
        """The columns, of answers to all requests."""
        quick = self.quick
        if quick is None:
            return self.reading(answers, times, deadline).batch(times[0])
        plan = self.planned.plan
        if len(answers) == 1:
            values, quality = quick.decode(answers[0], 1)
            observed_at = all_at(len(plan.spans), times[0])
        else:
            values, quality = quick.decode(b"".join([answer[1:] for answer in answers]))
            observed_at = instants(plan, times)
        return ValueBatch(plan.points, values, quality, observed_at, quick.time_source)
