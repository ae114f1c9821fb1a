"""Between bytes on the wire and numbers in the vocabulary's unit, both ways.

Decoding works on columns: all points of one raw format at a time. Encoding works on single values, as commands are
few. Which bytes belong to which point is the planner's business, how they travel the drivers'.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from domain.errors import OutOfLimits
from domain.level import LevelScale
from fieldbus.profile import Conversion, PointBinding, RawFormat
from fieldbus.values import ByteColumn, FloatColumn, Quality
from fieldbus.vocabulary import PointType

ByteMatrix = npt.NDArray[np.uint8]

_STRUCT_CODE: Final = {
    ("u", 1): "B",
    ("i", 1): "b",
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
        patterns = data.view(f">u{size}")[:, 0] if self.conversion.has_patterns else None
        with np.errstate(invalid="ignore"):  # a signalling NaN from the wire is a NaN like any other
            numbers = raw.astype(np.float64)
        return convert(self.conversion, numbers, patterns)


def convert(conversion: Conversion, raw: FloatColumn, patterns: npt.NDArray[np.generic] | None = None) -> FloatColumn:
    """Raw numbers through curve, special values and "not available", but before scale and offset; NaN if unusable.

    `patterns` are the same numbers as unsigned bit patterns; without them the raw numbers themselves are compared.
    """
    if conversion.is_linear:
        return raw
    result = raw
    if conversion.level_scale is not None:
        result = _level_lookup(conversion.level_scale, raw)
    elif conversion.curve:
        xs, ys = zip(*conversion.curve, strict=True)
        result = np.interp(raw, xs, ys, left=np.nan, right=np.nan)
    if conversion.raw_minimum is not None:
        result = np.where(raw >= conversion.raw_minimum, result, np.nan)
    if conversion.raw_maximum is not None:
        result = np.where(raw <= conversion.raw_maximum, result, np.nan)
    if conversion.has_patterns:
        compared = raw if patterns is None else patterns
        for pattern, value in conversion.special:
            result = np.where(compared == pattern, _before_scaling(conversion, value), result)
        for pattern in conversion.not_available:
            result = np.where(compared == pattern, np.nan, result)
    return result


def _level_lookup(level_scale: LevelScale, raw: FloatColumn) -> FloatColumn:
    """Per mille of raw levels by the device's own steps and curve; NaN where the raw value is no level."""
    whole = (raw >= 0) & (raw <= level_scale.steps) & (raw == np.floor(raw))
    steps = np.where(whole, raw, 0).astype(np.int64)
    return np.where(whole, _level_table(level_scale)[steps], np.nan)


@lru_cache(maxsize=64)
def _level_table(level_scale: LevelScale) -> FloatColumn:
    """Per mille of every step; computed once per kind of scale, not once per reading."""
    return np.array([level_scale.to_permille(step) for step in range(level_scale.steps + 1)], dtype=np.float64)


def _before_scaling(conversion: Conversion, value: float) -> float:
    """A special value is stated in the vocabulary's unit, but scale and offset are still to come."""
    return (value - conversion.offset) / conversion.scale


@dataclass(frozen=True, slots=True)
class UnitColumns:
    """Per row: scale, offset and limits. The last step from raw columns to values with quality."""

    scale: FloatColumn
    offset: FloatColumn
    minimum: FloatColumn
    maximum: FloatColumn
    counter_rows: npt.NDArray[np.intp]

    @classmethod
    def of(cls, bindings: Sequence[PointBinding]) -> UnitColumns:
        """The columns for rows of these points."""
        counters = [row for row, binding in enumerate(bindings) if binding.point.type is PointType.COUNTER]
        return cls(
            scale=np.array([binding.conversion.scale for binding in bindings], dtype=np.float64),
            offset=np.array([binding.conversion.offset for binding in bindings], dtype=np.float64),
            minimum=np.array([binding.minimum for binding in bindings], dtype=np.float64),
            maximum=np.array([binding.maximum for binding in bindings], dtype=np.float64),
            counter_rows=np.array(counters, dtype=np.intp),
        )

    def select(self, rows: npt.NDArray[np.intp]) -> UnitColumns:
        """The columns of some rows only."""
        return UnitColumns(
            self.scale[rows],
            self.offset[rows],
            self.minimum[rows],
            self.maximum[rows],
            np.flatnonzero(np.isin(rows, self.counter_rows)),
        )

    def finish(self, values: FloatColumn, status: ByteColumn) -> ByteColumn:
        """Scales `values` in place and returns their quality.

        `status` is the quality as far as the device is concerned. A number that is none, or outside the limits, makes
        a row BAD; rows that are BAD or MISSING become NaN.
        """
        values *= self.scale
        values += self.offset
        if len(self.counter_rows):
            # A counter held as a float in kWh still is an integer in the vocabulary's unit.
            values[self.counter_rows] = np.rint(values[self.counter_rows])
        arrived = status <= Quality.UNCERTAIN
        usable = arrived & (values >= self.minimum) & (values <= self.maximum)
        values[~usable] = np.nan
        return np.where(arrived & ~usable, np.uint8(Quality.BAD), status)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A command as it goes over the wire: registers (or one bit), and the value that these stand for."""

    registers: tuple[int, ...]
    value: float


def encode(binding: PointBinding, value: float, raw_format: RawFormat) -> Encoded:
    """Registers for a value in the vocabulary's unit, and the value after the device's quantisation.

    Raises OutOfLimits for a value beyond the point's limits or one that the registers cannot hold.
    """
    raw = quantise(binding, value, raw_format.kind, raw_format.size)
    if raw_format.kind == "b":
        return Encoded((int(raw.number),), raw.value)
    natural = struct.pack(f">{_STRUCT_CODE[raw_format.kind, raw_format.size]}", raw.number)
    wire = bytes(natural[position] for position in byte_positions(raw_format))
    return Encoded(struct.unpack(f">{raw_format.registers}H", wire), raw.value)


@dataclass(frozen=True, slots=True)
class Quantised:
    """The raw number nearest to a command, and what it stands for in the vocabulary's unit."""

    number: float | int
    value: float


def quantise(binding: PointBinding, value: float, kind: str, size: int) -> Quantised:
    """A command as a number of `kind` ("u", "i", "f", "b") and `size` bytes can hold it. Raises OutOfLimits."""
    check_limits(binding, value)
    raw = raw_from_value(binding.conversion, value, is_float=kind == "f")
    if kind == "b":
        return Quantised(bool(raw), float(bool(raw)))
    try:
        held = struct.unpack(f">{_STRUCT_CODE[kind, size]}", struct.pack(f">{_STRUCT_CODE[kind, size]}", raw))[0]
    except (struct.error, OverflowError) as error:
        raise OutOfLimits.of(binding.point.name, f"{value:g} {binding.point.unit} does not fit: {error}") from None
    converted = float(convert(binding.conversion, np.array([held], dtype=np.float64))[0])
    quantised = converted * binding.conversion.scale + binding.conversion.offset
    if binding.point.type is PointType.COUNTER:
        quantised = float(round(quantised))
    return Quantised(held, quantised)


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
