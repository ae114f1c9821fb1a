"""Decoding small readings without numpy: for a few dozen values its calls cost more than the arithmetic.

The same results as `ReadPlan.decode`, which stays the rule: this is for readings of few plain numbers that arrived as a
whole, the most frequent kind there is (a meter, a handful of scattered registers).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from fieldbus.planner import Block
from fieldbus.profile import Conversion, PointBinding, Profile, RawFormat
from fieldbus.values import ByteColumn, FloatColumn, PointAddress, Quality
from fieldbus.vocabulary import PointType

ROWS_MAX: Final = 40  # above this numpy is faster (measured: they meet between 40 and 60 rows)

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

# Slot in the unpacked tuple, conversion before scaling, scale, offset, minimum, maximum, whether to round.
_Row = tuple[int, Callable[[float], float] | None, float, float, float, float, bool]


class _Lookup(dict[float, float]):
    """A conversion by table; what is not in it is no number."""

    def __missing__(self, key: float) -> float:
        return _NO_NUMBER


class QuickDecoder:
    """Decodes one plan."""

    def __init__(self, layout: struct.Struct, rows: list[_Row]) -> None:
        self._unpack = layout.unpack_from
        self._rows = rows

    @classmethod
    def of(cls, profile: Profile, points: Sequence[PointAddress], blocks: Sequence[Block]) -> QuickDecoder | None:
        """The decoder for points that these blocks read. None where it is not for them."""
        if not 0 < len(points) <= ROWS_MAX:
            return None
        bindings = [profile.binding(address) for address in points]
        formats = [_plain_format(binding) for binding in bindings]
        fields = {
            offset: raw_format
            for offset, raw_format in zip(_offsets(bindings, points, blocks), formats, strict=True)
            if raw_format is not None and offset >= 0
        }
        layout = _layout(fields)
        if layout is None:
            return None
        if sum(binding.absent for binding in bindings):
            return None
        rows: list[_Row] = []
        slots = {offset: slot for slot, offset in enumerate(sorted(fields))}
        for binding, raw_format, offset in zip(bindings, formats, _offsets(bindings, points, blocks), strict=True):
            if raw_format is None or fields.get(offset) != raw_format:
                return None
            conversion = binding.conversion
            rows.append(
                (
                    slots[offset],
                    _converter(binding),
                    conversion.scale,
                    conversion.offset,
                    binding.minimum,
                    binding.maximum,
                    binding.point.type is PointType.COUNTER,
                )
            )
        return cls(layout, rows)

    def decode(self, buffer: bytes | bytearray | memoryview) -> tuple[FloatColumn, ByteColumn]:
        """Values and quality of all rows. Every byte of the plan has arrived."""
        raw = self._unpack(buffer)
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
        quality = np.ones(len(values), dtype=np.uint8)
        if unusable:
            quality[unusable] = Quality.BAD
        return np.array(values), quality


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
