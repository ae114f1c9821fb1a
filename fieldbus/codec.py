"""Between bytes on the wire and numbers in the vocabulary's unit, both ways.

Decoding works on columns: all points of one raw format at a time. Encoding works on single values, as commands are
few. Which bytes belong to which point is the planner's business, how they travel the drivers'.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from domain.errors import OutOfLimits
from domain.level import LevelScale
from fieldbus.profile import Conversion, PointBinding, RawFormat
from fieldbus.values import FloatColumn
from fieldbus.vocabulary import PointType

ByteMatrix = npt.NDArray[np.uint8]

_STRUCT_CODE: Final = {
    ("u", 2): "H",
    ("i", 2): "h",
    ("u", 4): "I",
    ("i", 4): "i",
    ("u", 8): "Q",
    ("i", 8): "q",
    ("f", 4): "f",
    ("f", 8): "d",
}


def byte_positions(raw_format: RawFormat) -> tuple[int, ...]:
    """Which byte on the wire is the n-th most significant byte of the number.

    ABCD (big, big), CDAB (words little), BADC (bytes little), DCBA (both). The mapping is its own inverse.
    """
    if raw_format.kind == "b":
        return (0,)
    words = list(range(raw_format.size // 2))
    if raw_format.word_order == "little":
        words.reverse()
    high, low = (1, 0) if raw_format.byte_order == "little" else (0, 1)
    return tuple(offset for word in words for offset in (2 * word + high, 2 * word + low))


@dataclass(frozen=True, slots=True)
class ColumnDecoder:
    """Turns the bytes of many points of one format and conversion into floats.

    The result still lacks scale and offset, which differ per point and are applied to the whole batch at once.
    What is not a usable number becomes NaN.
    """

    format: RawFormat
    conversion: Conversion

    def decode(self, data: ByteMatrix) -> FloatColumn:
        """`data`: one row per point, bytes in order of significance. Returns float64, NaN where unusable."""
        if self.format.kind == "b":
            return np.not_equal(data[:, 0], 0).astype(np.float64)
        size = self.format.size
        raw: npt.NDArray[np.generic] = data.view(f">{self.format.kind}{size}")[:, 0]
        if self.format.bit >= 0:
            return ((raw.astype(np.uint16) >> self.format.bit) & 1).astype(np.float64)
        values: FloatColumn = raw.astype(np.float64)
        conversion = self.conversion
        if conversion.raw_minimum is not None or conversion.raw_maximum is not None:
            low = -math.inf if conversion.raw_minimum is None else conversion.raw_minimum
            high = math.inf if conversion.raw_maximum is None else conversion.raw_maximum
            outside = ~((values >= low) & (values <= high))
        else:
            outside = None
        result = values
        if conversion.level_scale is not None:
            result = _level_lookup(conversion, values)
        elif conversion.curve:
            xs, ys = zip(*conversion.curve, strict=True)
            result = np.interp(values, xs, ys, left=np.nan, right=np.nan)
        if outside is not None:
            result = np.where(outside, np.nan, result)
        if conversion.special or conversion.not_available:
            patterns = data.view(f">u{size}")[:, 0]
            for pattern, value in conversion.special:
                result = np.where(patterns == np.uint64(pattern), _before_scaling(conversion, value), result)
            for pattern in conversion.not_available:
                result = np.where(patterns == np.uint64(pattern), np.nan, result)
        return result


def _level_lookup(conversion: Conversion, raw: FloatColumn) -> FloatColumn:
    """Per mille of raw levels by the device's own steps and curve; NaN where the raw value is no level."""
    level_scale = conversion.level_scale
    assert level_scale is not None
    table = _level_table(level_scale)
    whole = (raw >= 0) & (raw <= level_scale.steps) & (raw == np.floor(raw))
    steps = np.where(whole, raw, 0).astype(np.int64)
    return np.where(whole, table[steps], np.nan)


@lru_cache(maxsize=64)
def _level_table(level_scale: LevelScale) -> FloatColumn:
    """Per mille of every step; computed once per kind of scale, not once per reading."""
    return np.array([level_scale.to_permille(step) for step in range(level_scale.steps + 1)], dtype=np.float64)


def _before_scaling(conversion: Conversion, value: float) -> float:
    """A special value is stated in the vocabulary's unit, but scale and offset are still to come."""
    return (value - conversion.offset) / conversion.scale


@dataclass(frozen=True, slots=True)
class Encoded:
    """A command as it goes over the wire: registers (or one bit), and the value that these stand for."""

    registers: tuple[int, ...]
    value: float


def encode(binding: PointBinding, value: float, raw_format: RawFormat) -> Encoded:
    """Registers for a value in the vocabulary's unit, and the value after the device's quantisation.

    Raises OutOfLimits for a value beyond the point's limits or one that the registers cannot hold.
    """
    check_limits(binding, value)
    raw = raw_from_value(binding.conversion, value, is_float=raw_format.kind == "f")
    if raw_format.kind == "b":
        return Encoded((int(bool(raw)),), float(bool(raw)))
    code = _STRUCT_CODE[raw_format.kind, raw_format.size]
    try:
        natural = struct.pack(f">{code}", raw)
    except (struct.error, OverflowError) as error:
        raise OutOfLimits.of(binding.point.name, f"{value:g} {binding.point.unit} does not fit: {error}") from None
    wire = bytes(natural[position] for position in byte_positions(raw_format))
    registers = struct.unpack(f">{raw_format.registers}H", wire)
    decoded = ColumnDecoder(raw_format, binding.conversion).decode(np.frombuffer(natural, dtype=np.uint8)[None, :])
    quantised = float(decoded[0]) * binding.conversion.scale + binding.conversion.offset
    if binding.point.type is PointType.COUNTER:
        quantised = float(round(quantised))
    return Encoded(registers, quantised)


def check_limits(binding: PointBinding, value: float) -> None:
    """Raises OutOfLimits unless the value is finite and within the point's limits."""
    point = binding.point
    if not math.isfinite(value) or not binding.minimum <= value <= binding.maximum:
        limits = f"{binding.minimum:g}..{binding.maximum:g} {point.unit}".strip()
        raise OutOfLimits.of(point.name, f"{value:g} is not within {limits}")
    if point.labels and value not in dict(point.labels):
        raise OutOfLimits.of(point.name, f"{value:g} is none of {', '.join(label for _, label in point.labels)}")


def raw_from_value(conversion: Conversion, value: float, *, is_float: bool) -> float | int:
    """The raw number nearest to a value. A level above 0 never becomes a raw 0: rounding must not switch off a lamp."""
    for pattern, meaning in conversion.special:
        if value == meaning:
            return pattern
    if conversion.level_scale is not None:
        return conversion.level_scale.to_raw(round(value))
    if conversion.curve:
        points = sorted((y, x) for x, y in conversion.curve)
        raw = float(np.interp(value, [y for y, _ in points], [x for _, x in points]))
    else:
        raw = (value - conversion.offset) / conversion.scale
    if is_float:
        return raw
    return round(raw)
