"""Decoding small readings without numpy: for a few dozen values its calls cost more than the arithmetic.

The same results as `ReadPlan.decode`, which stays the rule: this is for readings of few plain numbers that arrived as a
whole, the most frequent kind there is (a meter, a handful of scattered registers).

Where whatever can come is a value within the limits (words scaled linearly, as most products have them), nothing needs
to be asked row by row: that decides once, when the plan is made, that its readings are scaled in one go. Of these
there may be any number, and where all are of one format numpy looks at the bytes as they came.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldbus.modbus.planner import Block
from fieldbus.profile import Conversion, PointBinding, Profile, RawFormat
from fieldbus.values import ByteColumn, FloatColumn, PointAddress, Quality, TimeSource
from fieldbus.vocabulary import PointType

ROWS_MAX: Final = 40  # above this numpy is faster, row by row (measured: they meet between 40 and 60 rows)
_FEW_NUMBERS: Final = 12  # up to this many a struct unpacks faster than numpy looks at bytes

_CODE: Final = {
    ("b", 1): "?",
    ("u", 2): "H",
    ("i", 2): "h",
    ("u", 4): "I",
    ("i", 4): "i",
    ("u", 8): "Q",
    ("i", 8): "q",
    ("f", 4): "f",
    ("f", 8): "d",
}
_NO_NUMBER: Final = math.nan
_FLOAT: Final = np.dtype(np.float64)


class _Row(NamedTuple):
    """How a value is made."""

    slot: int  # in the unpacked tuple
    converter: Callable[[float], float] | None  # before scaling
    scale: float
    offset: float
    minimum: float
    maximum: float
    is_counter: bool  # counters are rounded


class _Lookup(dict[float, float]):
    """A conversion by table; what is not in it is no number."""

    def __missing__(self, key: float) -> float:
        return _NO_NUMBER


class _Straight(NamedTuple):
    """Rows that are always good: number times scale plus offset, no more."""

    seen_as: np.dtype[Any] | None  # how numpy looks at all the bytes; None where a struct unpacks them
    seen: int  # numbers that numpy sees
    slots: npt.NDArray[np.intp] | None  # of each row among the numbers; None where they are the rows
    scales: FloatColumn
    offsets: FloatColumn | None  # None where there are none

    @classmethod
    def of(
        cls, rows: Sequence[_Row], formats: Sequence[RawFormat], places: Sequence[int], size: int
    ) -> _Straight | None:
        """`places` of the rows in `size` bytes. None where a row may have to be rounded, looked up, or refused."""
        if not all(_always_good(row, raw_format) for row, raw_format in zip(rows, formats, strict=True)):
            return None
        kind, width = formats[0].kind, formats[0].size
        alike = all((one.kind, one.size) == (kind, width) for one in formats)
        if alike and len(rows) > _FEW_NUMBERS and not any(place % width for place in places):
            seen_as, seen = np.dtype(f">{kind}{width}"), size // width
            numbers = [place // width for place in places]
        else:
            numbers = [row.slot for row in rows]
            seen_as, seen = None, len(set(numbers))
        offsets = np.array([row.offset for row in rows])
        return cls(
            seen_as,
            seen,
            None if numbers == list(range(seen)) else np.array(numbers, dtype=np.intp),
            np.array([row.scale for row in rows]),
            offsets if offsets.any() else None,
        )


class QuickDecoder:
    """Decodes one plan."""

    def __init__(self, layout: struct.Struct, rows: list[_Row], straight: _Straight | None) -> None:
        self._unpack = layout.unpack_from
        self._rows = rows
        self._straight = straight
        self._all_good = _shared(len(rows), Quality.GOOD)
        self.time_source = _shared(len(rows), TimeSource.OURS)

    @classmethod
    def of(cls, profile: Profile, points: Sequence[PointAddress], blocks: Sequence[Block]) -> QuickDecoder | None:
        """The decoder for points that these blocks read. None where it is not for them."""
        if not points:
            return None
        bindings = [profile.binding(address) for address in points]
        formats = [_plain_format(binding) for binding in bindings]
        places = _offsets(bindings, points, blocks)
        fields = {
            place: raw_format
            for place, raw_format in zip(places, formats, strict=True)
            if raw_format is not None and place >= 0
        }
        layout = _layout(fields)
        if layout is None:
            return None
        if sum(binding.absent for binding in bindings):
            return None
        rows: list[_Row] = []
        known: list[RawFormat] = []
        slots = {place: slot for slot, place in enumerate(sorted(fields))}
        for binding, raw_format, place in zip(bindings, formats, places, strict=True):
            if raw_format is None or fields.get(place) != raw_format:
                return None
            known.append(raw_format)
            conversion = binding.conversion
            rows.append(
                _Row(
                    slots[place],
                    _converter(binding),
                    conversion.scale,
                    conversion.offset,
                    binding.minimum,
                    binding.maximum,
                    binding.point.type is PointType.COUNTER,
                )
            )
        straight = _Straight.of(rows, known, places, sum(block.size for block in blocks))
        return cls(layout, rows, straight) if straight is not None or len(rows) <= ROWS_MAX else None

    def decode(self, buffer: bytes | bytearray | memoryview, start: int = 0) -> tuple[FloatColumn, ByteColumn]:
        """Values and quality of all rows. Every byte of the plan has arrived and stands in the buffer from `start` on.

        The quality column may be shared with other batches; then it cannot be written to.
        """
        if self._straight is not None:
            seen_as, seen, slots, scales, offsets = self._straight
            column: FloatColumn
            if seen_as is None:
                column = np.array(self._unpack(buffer, start), _FLOAT)
                if slots is not None:
                    column = column.take(slots)
                column *= scales
            else:
                numbers = np.frombuffer(buffer, seen_as, seen, start)
                column = (numbers if slots is None else numbers.take(slots)) * scales
            if offsets is not None:
                column += offsets
            return column, self._all_good
        raw = self._unpack(buffer, start)
        values: list[float] = []
        unusable: list[int] = []
        for slot, converter, scale, offset, minimum, maximum, is_counter in self._rows:
            number = raw[slot]
            if converter is not None:
                number = converter(number)
            value = number * scale + offset
            if is_counter and math.isfinite(value):
                value = float(round(value))
            if minimum <= value <= maximum:
                values.append(value)
            else:
                unusable.append(len(values))
                values.append(_NO_NUMBER)
        if not unusable:
            return np.array(values), self._all_good
        quality = self._all_good.copy()
        quality[unusable] = Quality.BAD
        return np.array(values), quality


def _shared(count: int, value: int) -> ByteColumn:
    """A column that many batches have in common, so nobody may write to it."""
    column = np.full(count, value, dtype=np.uint8)
    column.flags.writeable = False
    return column


def _always_good(row: _Row, raw_format: RawFormat) -> bool:
    """Whether each number that the format can hold becomes a value within the limits, without rounding.

    Scaling is monotonous, also in floating point, so the ends speak for all between them.
    """
    if row.converter is not None or raw_format.kind not in "ui":
        return False
    if row.is_counter and not (float(row.scale).is_integer() and float(row.offset).is_integer()):
        return False
    bits = 8 * raw_format.size
    ends = (-(1 << bits - 1), (1 << bits - 1) - 1) if raw_format.kind == "i" else (0, (1 << bits) - 1)
    return all(row.minimum <= end * row.scale + row.offset <= row.maximum for end in ends)


def _plain_format(binding: PointBinding) -> RawFormat | None:
    """How a point's number lies in the buffer, a bit's word as a whole. None where more than that is to it."""
    place = binding.modbus
    if place is None or not place.is_plain or binding.point.type is PointType.TEXT:
        return None
    raw_format, conversion = place.format, binding.conversion
    if (raw_format.kind, raw_format.size) not in _CODE or (raw_format.kind == "f" and conversion.has_patterns):
        return None
    straight = raw_format.byte_order == "big" and (raw_format.word_order == "big" or raw_format.size <= 2)
    if not straight or conversion.curve or conversion.raw_minimum is not None or conversion.raw_maximum is not None:
        return None
    if raw_format.bit >= 0 and not conversion.is_linear:
        return None
    return RawFormat(raw_format.kind, raw_format.size)


def _offsets(bindings: Sequence[PointBinding], points: Sequence[PointAddress], blocks: Sequence[Block]) -> list[int]:
    """Where each point begins in the buffer; -1 where no block reads it."""
    offsets: list[int] = []
    for binding, point in zip(bindings, points, strict=True):
        place = binding.modbus
        found = -1
        if place is not None and place.address is not None:
            address = place.address.at(binding.scope, point.index)
            for block in blocks:
                inside = block.start <= address and address + place.format.registers <= block.start + block.count
                if block.table is place.table and inside:
                    found = block.offset + (1 if block.table.is_bits else 2) * (address - block.start)
                    break
        offsets.append(found)
    return offsets


def _layout(fields: dict[int, RawFormat]) -> struct.Struct | None:
    """One pass over the buffer for all fields. None where they overlap."""
    text, at = ">", 0
    for offset in sorted(fields):
        if offset < at:
            return None
        raw_format = fields[offset]
        text += f"{offset - at}x{_CODE[raw_format.kind, raw_format.size]}"
        at = offset + raw_format.size
    return struct.Struct(text)


def _converter(binding: PointBinding) -> Callable[[float], float] | None:
    """From the unpacked number to the one that is scaled; None where these are the same."""
    assert binding.modbus is not None
    raw_format, conversion = binding.modbus.format, binding.conversion
    if raw_format.bit >= 0:
        shift, mask = raw_format.bit, (1 << raw_format.bit_count) - 1
        return lambda word: (int(word) >> shift) & mask
    if conversion.is_linear:
        return None
    special = _special_numbers(raw_format, conversion)
    if conversion.level_scale is not None:
        scale = conversion.level_scale
        steps = {float(step): float(scale.to_permille(step)) for step in range(scale.steps + 1)}
        return _Lookup(steps | special).__getitem__
    return lambda number: special.get(number, number)


def _special_numbers(raw_format: RawFormat, conversion: Conversion) -> dict[float, float]:
    """Raw numbers that do not mean what they say. Patterns are stated as unsigned bits."""
    bits = 8 * raw_format.size
    found: dict[float, float] = {}
    for pattern, value in conversion.special:
        found[pattern] = (value - conversion.offset) / conversion.scale
    for pattern in conversion.not_available:
        found[pattern] = _NO_NUMBER
    if raw_format.kind == "i":
        return {number - (1 << bits) if number >= 1 << (bits - 1) else number: value for number, value in found.items()}
    return found
