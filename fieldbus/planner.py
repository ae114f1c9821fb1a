"""Which requests read a list of points: as few as the protocol, the product and what the device refused allow.

Pure: no device is touched. A plan is made once for a tuple of points and used every cycle; carrying it out and
remembering refusals is the driver's business (modbus.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from domain.errors import InvalidInput
from fieldbus.codec import ColumnDecoder, UnitColumns, byte_positions
from fieldbus.profile import Conversion, ModbusLimits, PointBinding, Profile, Table
from fieldbus.values import ByteColumn, FloatColumn, PointAddress

IndexColumn = npt.NDArray[np.intp]

REFUSED_BLOCK: Final = -1  # in ReadPlan.block_of_row: the device refuses this point, it is not asked


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """The addresses of one or more points that lie in the same place."""

    table: Table
    address: int
    length: int  # registers, or bits in a bit table

    @property
    def end(self) -> int:
        """First address after it."""
        return self.address + self.length


@dataclass(slots=True)
class Memory:
    """What a device has taught us by refusing."""

    cuts: dict[Table, set[int]] = field(default_factory=lambda: defaultdict(set))  # no block may cross these
    refused: dict[Span, float] = field(default_factory=dict)  # span to the monotonic time of the next try
    refusals: dict[Span, int] = field(default_factory=dict)  # how often in a row

    def refuse(self, spans: Sequence[Span], now: float, initial_s: float, maximum_s: float) -> None:
        """The device does not have these. It may yet: a gateway that starts refuses what it has not found so far, so
        the first tries come soon and later ones seldom."""
        for span in spans:
            times = self.refusals.get(span, 0)
            self.refusals[span] = times + 1
            self.refused[span] = now + min(maximum_s, initial_s * 2.0 ** min(times, 16))

    def grant(self, spans: Sequence[Span]) -> None:
        """The device gave these after all."""
        if self.refusals:
            for span in spans:
                self.refusals.pop(span, None)

    def forgive(self, now: float) -> bool:
        """Drop refusals whose time has come; True if any was dropped (plans must be made anew)."""
        due = [span for span, retry_at in self.refused.items() if retry_at <= now]
        for span in due:
            del self.refused[span]
        return bool(due)


@dataclass(frozen=True, slots=True)
class Block:
    """One request: `count` addresses from `start`; its data stands in the read buffer from `offset` on."""

    table: Table
    start: int
    count: int
    offset: int
    spans: tuple[Span, ...]
    rows: IndexColumn  # rows of the batch that it serves

    @property
    def size(self) -> int:
        """Bytes it takes in the buffer: bits are unpacked to one byte each."""
        return self.count if self.table.is_bits else 2 * self.count


@dataclass(frozen=True, slots=True)
class _Column:
    """Rows decoded together."""

    decoder: ColumnDecoder
    rows: IndexColumn
    positions: npt.NDArray[np.intp]  # (rows, bytes) into the buffer, most significant byte first


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """Requests, and how their answers become values."""

    points: tuple[PointAddress, ...]
    blocks: tuple[Block, ...]
    buffer_size: int
    spans: tuple[Span, ...]  # of each row
    refused_rows: IndexColumn
    columns: tuple[_Column, ...]
    units: UnitColumns

    def decode(self, buffer: ByteColumn, status: ByteColumn) -> tuple[FloatColumn, ByteColumn]:
        """Values and quality of all rows.

        `status` holds GOOD for the rows whose bytes stand in the buffer and the final quality for all others.
        """
        values = np.full(len(self.points), np.nan)
        for column in self.columns:
            values[column.rows] = column.decoder.decode(buffer[column.positions])
        return values, self.units.finish(values, status)


def plan_reads(profile: Profile, points: Sequence[PointAddress], memory: Memory | None = None) -> ReadPlan:
    """The plan for points of a Modbus profile. Raises InvalidInput for points that it does not have."""
    memory = memory or Memory()
    bindings = [profile.binding(address) for address in points]
    spans = [read_span(binding, address) for binding, address in zip(bindings, points, strict=True)]
    refused = np.array([row for row, span in enumerate(spans) if span in memory.refused], dtype=np.intp)
    wanted = sorted({span for span in spans if span not in memory.refused})
    rows_of_span: dict[Span, list[int]] = defaultdict(list)
    for row, span in enumerate(spans):
        rows_of_span[span].append(row)
    blocks: list[Block] = []
    start_of_span: dict[Span, int] = {}
    offset = 0
    for group in _coalesce(wanted, profile.modbus, memory):
        start = group[0].address
        count = max(span.end for span in group) - start
        rows = np.array([row for span in group for row in rows_of_span[span]], dtype=np.intp)
        block = Block(group[0].table, start, count, offset, tuple(group), rows)
        blocks.append(block)
        unit = 1 if block.table.is_bits else 2
        for span in group:
            start_of_span[span] = offset + unit * (span.address - start)
        offset += block.size
    return ReadPlan(
        points=tuple(points),
        blocks=tuple(blocks),
        buffer_size=offset,
        spans=tuple(spans),
        refused_rows=refused,
        columns=_columns(bindings, spans, start_of_span),
        units=UnitColumns.of(bindings),
    )


def read_span(binding: PointBinding, address: PointAddress) -> Span:
    """Where a point is read. Raises InvalidInput for a point that can only be written."""
    place = binding.modbus
    if place is None or place.address is None:
        raise InvalidInput.of("point", f"{address} cannot be read, only written")
    return Span(place.table, place.address.at(binding.scope, address.index), place.format.registers)


def split_block(spans: Sequence[Span]) -> tuple[int, list[Span], list[Span]] | None:
    """Where to cut a block that the device refused: the cut address and the spans on both sides.

    At the widest gap first, because a register that nobody asked for is the likeliest reason; without a gap in the
    middle. None when one span is left: then the device refuses that point itself.
    """
    ordered = sorted(spans)
    if len(ordered) < 2:
        return None
    end = ordered[0].end
    widest, at = -1, 0
    middle = (len(ordered) - 1) / 2
    for position, span in enumerate(ordered[1:], start=1):
        gap = span.address - end
        closer = abs(position - 0.5 - middle) < abs(at - 0.5 - middle)
        if gap >= 0 and (gap > widest or (gap == widest and closer)):
            widest, at = gap, position
        end = max(end, span.end)
    if widest < 0:
        # Spans that overlap throughout cannot be told apart by asking for less.
        return None
    return ordered[at].address, ordered[:at], ordered[at:]


def _coalesce(spans: Sequence[Span], limits: ModbusLimits, memory: Memory) -> list[list[Span]]:
    """Sorted spans to groups of one request each. Left to right and as long as allowed, which is the fewest."""
    groups: list[list[Span]] = []
    start = end = 0
    for span in spans:
        maximum = limits.max_read_bits if span.table.is_bits else limits.max_read_registers
        if groups and groups[-1][0].table is span.table:
            joined_end = max(end, span.end)
            fits = joined_end - start <= maximum and span.address - end <= limits.max_gap
            if fits and not _forbidden(span.table, start, joined_end, end, span.address, limits, memory):
                groups[-1].append(span)
                end = joined_end
                continue
        groups.append([span])
        start, end = span.address, span.end
    return groups


def _forbidden(
    table: Table, start: int, joined_end: int, gap_start: int, gap_end: int, limits: ModbusLimits, memory: Memory
) -> bool:
    """Whether a block may not be extended: across a remembered cut, or over addresses that are illegal to touch."""
    if any(start < cut < joined_end for cut in memory.cuts.get(table, ())):
        return True
    return any(
        illegal_table is table and low < gap_end and high >= gap_start for illegal_table, low, high in limits.illegal
    )


def _columns(
    bindings: Sequence[PointBinding], spans: Sequence[Span], start_of_span: dict[Span, int]
) -> tuple[_Column, ...]:
    """Rows grouped by format and conversion, with the places of their bytes."""
    members: dict[ColumnDecoder, list[int]] = defaultdict(list)
    for row, (binding, span) in enumerate(zip(bindings, spans, strict=True)):
        if span in start_of_span:
            members[_decoder(binding)].append(row)
    columns: list[_Column] = []
    for decoder, rows in members.items():
        starts = np.array([start_of_span[spans[row]] for row in rows], dtype=np.intp)
        order = np.array(byte_positions(decoder.format), dtype=np.intp)
        columns.append(_Column(decoder, np.array(rows, dtype=np.intp), starts[:, None] + order[None, :]))
    return tuple(columns)


def _decoder(binding: PointBinding) -> ColumnDecoder:
    """The decoder of a point, equal for all points that differ in scale, offset and limits only."""
    place = binding.modbus
    assert place is not None
    conversion = binding.conversion
    if conversion.special:
        # Special values are stated after scaling, so such points do not share a decoder across scales.
        return ColumnDecoder(place.format, conversion)
    bare = Conversion(
        level_scale=conversion.level_scale,
        curve=conversion.curve,
        not_available=conversion.not_available,
        raw_minimum=conversion.raw_minimum,
        raw_maximum=conversion.raw_maximum,
    )
    return ColumnDecoder(place.format, bare)
