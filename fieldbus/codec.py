"""Between raw numbers and values in the vocabulary's unit, both ways: curves, scales, limits.

Decoding works on columns, encoding on single values, as commands are few. How numbers lie in bytes is raw.py's
business, which bytes belong to which point the planner's, how they travel the drivers'.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from domain.errors import OutOfLimits
from domain.level import LevelScale
from fieldbus.profile import Conversion, PointBinding, RawFormat
from fieldbus.raw import ByteMatrix, Patterns, bit_patterns, hold, part_of_words, raw_numbers, registers_of
from fieldbus.values import ByteColumn, FloatColumn, Quality
from fieldbus.vocabulary import PointType

RowColumn = npt.NDArray[np.intp]

POWERS_OF_TEN: Final = np.array([float(10**exponent) for exponent in range(31)])
_LEVEL_UNIT: Final = "permille"
_BEYOND: Final = 0.01  # of its range that a command may come out beyond its limit, by the device's steps
LARGEST_EXPONENT: Final = len(POWERS_OF_TEN) - 1  # a scale factor beyond it is no scale factor


@dataclass(frozen=True, slots=True)
class Column:
    """Turns the bytes of many points of one kind and size into floats.

    The result still lacks scale and offset, which differ per point and are applied to the whole batch at once.
    What is not a usable number becomes NaN.
    """

    kind: str
    size: int
    lowest: npt.NDArray[np.uint32] | None  # of words of which only some bits count: the lowest, and a mask of as many
    masks: npt.NDArray[np.uint32] | None
    conversions: tuple[tuple[Conversion, RowColumn | None], ...]  # that are more than scale and offset; None = all

    @staticmethod
    def key(raw_format: RawFormat) -> tuple[str, int, bool]:
        """Equal for formats that one column can hold. Byte and word order need not be: they are sorted out before."""
        return raw_format.kind, raw_format.size, raw_format.bit >= 0

    @classmethod
    def of(cls, formats: Sequence[RawFormat], conversions: Sequence[Conversion]) -> Column:
        """The column of points with formats of the same key."""
        kind, size, of_bits = cls.key(formats[0])
        rows: dict[Conversion, list[int]] = defaultdict(list)
        for row, conversion in enumerate(conversions):
            if not conversion.is_linear:
                rows[_without_scale(conversion)].append(row)
        return cls(
            kind,
            size,
            np.array([one.bit for one in formats], dtype=np.uint32) if of_bits else None,
            np.array([(1 << one.bit_count) - 1 for one in formats], dtype=np.uint32) if of_bits else None,
            tuple(
                (conversion, None if len(where) == len(formats) else np.array(where, dtype=np.intp))
                for conversion, where in rows.items()
            ),
        )

    def decode(self, data: ByteMatrix) -> FloatColumn:
        """`data`: one row per point, bytes in order of significance. Returns float64, NaN where unusable."""
        if self.lowest is not None and self.masks is not None:
            numbers = part_of_words(self.size, data, self.lowest, self.masks).astype(np.float64)
            patterns = None
        else:
            numbers = raw_numbers(self.kind, self.size, data)
            patterns = bit_patterns(self.size, data) if self.conversions and self.kind != "b" else None
        for conversion, rows in self.conversions:
            if rows is None:
                return convert(conversion, numbers, patterns)
            numbers[rows] = convert(conversion, numbers[rows], None if patterns is None else patterns[rows])
        return numbers


def _without_scale(conversion: Conversion) -> Conversion:
    """Equal for all conversions that differ in scale and offset only, which are applied later."""
    if conversion.special:
        # Special values are stated after scaling, so such points have a conversion of their own.
        return conversion
    return replace(conversion, scale=1.0, offset=0.0)


def convert(conversion: Conversion, raw: FloatColumn, patterns: Patterns | None = None) -> FloatColumn:
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


def scale_by_powers(values: FloatColumn, exponents: FloatColumn) -> FloatColumn:
    """`values` times ten to the power of `exponents`, NaN where an exponent is none.

    Negative ones divide: 2305 / 10 is 230.5, which 2305 * 0.1 is not.
    """
    known = np.abs(exponents) <= LARGEST_EXPONENT
    whole = np.where(known, exponents, 0).astype(np.intp)
    powers = POWERS_OF_TEN[np.abs(whole)]
    scaled: FloatColumn = np.where(whole < 0, values / powers, values * powers)
    scaled[~known] = np.nan
    return scaled


@dataclass(frozen=True, slots=True)
class UnitColumns:
    """Per row: scale, offset and limits. The last step from raw columns to values with quality."""

    scale: FloatColumn
    offset: FloatColumn
    minimum: FloatColumn
    maximum: FloatColumn
    rounded_rows: RowColumn  # counters held as fractions of their unit
    text_rows: RowColumn  # have no number, and are none the worse for it
    _is_scaled: bool
    _is_offset: bool

    @classmethod
    def of(cls, bindings: Sequence[PointBinding]) -> UnitColumns:
        """The columns for rows of these points."""
        rounded = [row for row, binding in enumerate(bindings) if _may_be_fraction(binding)]
        texts = [row for row, binding in enumerate(bindings) if binding.point.type is PointType.TEXT]
        scale = np.array([binding.conversion.scale for binding in bindings], dtype=np.float64)
        offset = np.array([binding.conversion.offset for binding in bindings], dtype=np.float64)
        return cls(
            scale=scale,
            offset=offset,
            minimum=np.array([binding.minimum for binding in bindings], dtype=np.float64),
            maximum=np.array([binding.maximum for binding in bindings], dtype=np.float64),
            rounded_rows=np.array(rounded, dtype=np.intp),
            text_rows=np.array(texts, dtype=np.intp),
            _is_scaled=bool(np.any(scale != 1.0)),
            _is_offset=bool(np.any(offset != 0.0)),
        )

    def select(self, rows: RowColumn) -> UnitColumns:
        """The columns of some rows only."""
        return UnitColumns(
            self.scale[rows],
            self.offset[rows],
            self.minimum[rows],
            self.maximum[rows],
            np.flatnonzero(np.isin(rows, self.rounded_rows)),
            np.flatnonzero(np.isin(rows, self.text_rows)),
            self._is_scaled,
            self._is_offset,
        )

    def finish(self, values: FloatColumn, status: ByteColumn) -> ByteColumn:
        """Scales `values` in place and returns their quality.

        `status` is the quality as far as the device is concerned. A number that is none, or outside the limits, makes
        a row BAD; rows that are BAD or MISSING become NaN. Texts are not numbers, and keep their status.
        """
        with np.errstate(invalid="ignore", over="ignore"):  # what is no number any more is outside the limits
            if self._is_scaled:
                values *= self.scale
            if self._is_offset:
                values += self.offset
            if len(self.rounded_rows):
                # A counter held as a float in kWh still is an integer in the vocabulary's unit.
                values[self.rounded_rows] = np.rint(values[self.rounded_rows])
        usable = values >= self.minimum
        usable &= values <= self.maximum
        if len(self.text_rows):
            usable[self.text_rows] = True
        arrived = status <= Quality.UNCERTAIN
        usable &= arrived
        if usable.all():
            return status
        spoilt = ~usable
        values[spoilt] = np.nan
        spoilt &= arrived
        return np.where(spoilt, np.uint8(Quality.BAD), status)


def _may_be_fraction(binding: PointBinding) -> bool:
    """Whether a counter's value can come out between two integers."""
    if binding.point.type is not PointType.COUNTER:
        return False
    place, conversion = binding.modbus, binding.conversion
    if place is None or place.format.kind == "f" or place.scale_factor is not None or conversion.curve:
        return True
    return not (float(conversion.scale).is_integer() and float(conversion.offset).is_integer())


@dataclass(frozen=True, slots=True)
class Encoded:
    """A command as it goes over the wire: registers (or one bit), and the value that these stand for."""

    registers: tuple[int, ...]
    value: float


def encode(binding: PointBinding, value: float, raw_format: RawFormat, exponent: int = 0) -> Encoded:
    """Registers for a value in the vocabulary's unit, and the value after the device's quantisation.

    `exponent` is what the point's scale factor register holds now (0 for points without one). Raises OutOfLimits for a
    value beyond the point's limits or one that the registers cannot hold.
    """
    raw = quantise(binding, value, raw_format.kind, raw_format.size, exponent)
    if raw_format.kind == "b":
        return Encoded((int(raw.number),), raw.value)
    return Encoded(registers_of(raw_format, raw.number), raw.value)


@dataclass(frozen=True, slots=True)
class Quantised:
    """The raw number nearest to a command, and what it stands for in the vocabulary's unit."""

    number: float | int
    value: float


def quantise(binding: PointBinding, value: float, kind: str, size: int, exponent: int = 0) -> Quantised:
    """A command as a number of `kind` ("u", "i", "f", "bcd", "b") and `size` bytes can hold it. Raises OutOfLimits.

    A level above 0 never becomes 0, however coarse the device's steps: rounding must not switch off a lamp.
    """
    check_limits(binding, value)
    conversion = binding.conversion
    if exponent:
        scale = float(scale_by_powers(np.array([conversion.scale]), np.array([exponent]))[0])
        if not (math.isfinite(scale) and scale):
            raise OutOfLimits.of(
                binding.point.name, f"{exponent} is no scale factor, and the device says it is its own"
            )
        conversion = replace(conversion, scale=scale)
    if kind == "b":
        return _nearest_bit(conversion, value)
    raw = raw_from_value(conversion, value, is_float=kind == "f")
    if value > 0 and binding.point.unit == _LEVEL_UNIT and _meaning(conversion, raw) <= 0:
        raw = _next_brighter(conversion, raw)
    try:
        held = hold(kind, size, raw)
    except ValueError as error:
        raise OutOfLimits.of(binding.point.name, f"{value:g} {binding.point.unit} does not fit: {error}") from None
    quantised = _meaning(conversion, held)
    if quantised > binding.maximum + _BEYOND * (binding.maximum - binding.minimum):
        reason = f"{value:g} {binding.point.unit} is not to be had: {quantised:g} comes nearest to it"
        raise OutOfLimits.of(binding.point.name, reason)
    if binding.point.type is PointType.COUNTER:
        quantised = float(round(quantised))
    return Quantised(held, quantised)


@lru_cache(maxsize=4096)  # a town is told the same few levels thousands of times
def _meaning(conversion: Conversion, raw: float) -> float:
    """What a raw number stands for."""
    converted = float(convert(conversion, np.array([raw], dtype=np.float64))[0])
    return converted * conversion.scale + conversion.offset


def _next_brighter(conversion: Conversion, raw: float) -> float:
    """The raw number beside one that means dark, towards the light."""
    up, down = raw + 1, raw - 1
    return down if _meaning(conversion, down) > _meaning(conversion, up) else up


def _nearest_bit(conversion: Conversion, value: float) -> Quantised:
    """The bit that means the value, or the nearest to it. What is not 0 never becomes 0: a dimmed lamp is a lit one."""
    meanings = convert(conversion, np.array([0.0, 1.0])) * conversion.scale + conversion.offset
    bit = min((0, 1), key=lambda bit: ((meanings[bit] == 0) != (value == 0), abs(meanings[bit] - value)))
    return Quantised(bit, float(meanings[bit]))


def check_limits(binding: PointBinding, value: float) -> None:
    """Raises OutOfLimits unless the value is finite and within the point's limits."""
    point = binding.point
    if not math.isfinite(value) or not binding.minimum <= value <= binding.maximum:
        limits = f"{binding.minimum:g}..{binding.maximum:g} {point.unit}".strip()
        raise OutOfLimits.of(point.name, f"{value:g} is not within {limits}")
    if point.labels and value not in dict(point.labels):
        raise OutOfLimits.of(point.name, f"{value:g} is none of {', '.join(label for _, label in point.labels)}")


def raw_from_value(conversion: Conversion, value: float, *, is_float: bool) -> float | int:
    """The raw number nearest to a value."""
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
