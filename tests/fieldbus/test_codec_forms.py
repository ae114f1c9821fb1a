"""The rarer forms of numbers: packed BCD, parts of words, coils with a meaning; and commands in them."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import OutOfLimits
from fieldbus.codec import Column, Encoded, UnitColumns, encode
from fieldbus.profile import ONE_BIT, Conversion, PointBinding, RawFormat
from fieldbus.raw import byte_positions
from fieldbus.values import Quality
from fieldbus.vocabulary import Direction, point_named

ORDERS = [(one, other) for one in ("big", "little") for other in ("big", "little")]


def decode(raw_format: RawFormat, conversion: Conversion, wire: bytes) -> float:
    data = np.frombuffer(wire, dtype=np.uint8)[list(byte_positions(raw_format))][None, :]
    return float(Column.of([raw_format], [conversion]).decode(np.ascontiguousarray(data))[0])


def heartbeat(conversion: Conversion | None = None, maximum: float = 65535) -> PointBinding:
    return PointBinding(point_named("heartbeat"), Direction.READ_WRITE, None, conversion or Conversion(), 0, maximum)


@pytest.mark.parametrize("size", [2, 4, 8])
@given(data=st.data())
def test_packed_bcd_is_read_digit_by_digit(size: int, data: st.DataObject) -> None:
    digits = data.draw(st.text("0123456789", min_size=2 * size, max_size=2 * size))
    assert decode(RawFormat("bcd", size), Conversion(), bytes.fromhex(digits)) == float(int(digits))


@pytest.mark.parametrize("wire", ["000A", "F000", "FFFF", "1B00"])
def test_a_nibble_above_nine_is_no_value(wire: str) -> None:
    assert math.isnan(decode(RawFormat("bcd", 2), Conversion(), bytes.fromhex(wire)))


@given(st.integers(0, 65535), st.sampled_from(ORDERS), st.sampled_from([4, 8]))
def test_bcd_commands_come_back_as_they_went(value: int, orders: tuple[str, str], size: int) -> None:
    raw_format = RawFormat("bcd", size, *orders)
    encoded = encode(heartbeat(), value, raw_format)
    wire = struct.pack(f">{size // 2}H", *encoded.registers)
    assert decode(raw_format, Conversion(), wire) == value == encoded.value


def test_a_bcd_register_takes_no_fifth_digit() -> None:
    assert encode(heartbeat(), 9999, RawFormat("bcd", 2)).registers == (0x9999,)
    with pytest.raises(OutOfLimits, match="does not fit"):
        encode(heartbeat(), 10_000, RawFormat("bcd", 2))


@given(st.integers(0, 2**32 - 1), st.integers(0, 31), st.integers(0, 31), st.sampled_from(ORDERS))
def test_parts_of_words_are_the_bits_they_say(word: int, one: int, other: int, orders: tuple[str, str]) -> None:
    low, high = min(one, other), max(one, other)
    raw_format = RawFormat("u", 4, *orders, low, high - low + 1)
    natural = word.to_bytes(4, "big")
    wire = bytes(natural[position] for position in byte_positions(raw_format))
    assert decode(raw_format, Conversion(), wire) == word >> low & (1 << high - low + 1) - 1


def test_bits_of_different_words_are_decoded_in_one_go_each_with_its_own_meaning() -> None:
    formats = [RawFormat("u", 2, bit=0), RawFormat("u", 2, bit=4, bit_count=4), RawFormat("u", 2, bit=8, bit_count=8)]
    conversions = [Conversion(), Conversion(special=((15, -1.0),)), Conversion(not_available=(0xFF,))]
    data = np.frombuffer(bytes.fromhex("FFF1" * 3), dtype=np.uint8).reshape(3, 2)
    first, second, third = Column.of(formats, conversions).decode(data)
    assert (first, second) == (1, -1)
    assert math.isnan(third)


def test_a_bit_may_stand_for_any_two_values() -> None:
    inverted = Conversion(curve=((0, 1), (1, 0)))
    assert decode(ONE_BIT, inverted, b"\1") == 0
    assert decode(RawFormat("u", 2, bit=3), inverted, b"\0\0") == 1
    binding = PointBinding(point_named("contactor_command"), Direction.READ_WRITE, None, inverted, 0, 1)
    assert encode(binding, 1, ONE_BIT).registers == (0,)
    assert encode(binding, 0, ONE_BIT).registers == (1,)
    assert encode(binding, 0, ONE_BIT).value == 0


@given(st.integers(1, 1000))
def test_a_dimmed_lamp_on_a_coil_is_a_lit_one(level: int) -> None:
    on_off = Conversion(curve=((0, 0), (1, 1000)))
    binding = PointBinding(point_named("level_command"), Direction.READ_WRITE, (0, 63), on_off, 0, 1000)
    assert encode(binding, level, ONE_BIT) == Encoded((1,), 1000)
    assert encode(binding, 0, ONE_BIT) == Encoded((0,), 0)


@given(st.integers(0, 1000), st.integers(-3, 2))
def test_commands_to_scaled_registers_are_divided_by_what_stands_there(value: int, exponent: int) -> None:
    encoded = encode(heartbeat(), value, RawFormat("i", 4), exponent)
    raw = struct.unpack(">i", struct.pack(">2H", *encoded.registers))[0]
    assert raw == pytest.approx(value / 10**exponent, abs=0.5)
    assert encoded.value == pytest.approx(raw * 10.0**exponent)


def test_a_command_beyond_its_scaled_register_is_refused() -> None:
    with pytest.raises(OutOfLimits, match="does not fit"):
        encode(heartbeat(), 40_000, RawFormat("i", 2), 0)
    assert encode(heartbeat(), 40_000, RawFormat("i", 2), 1).registers == (4000,)


def test_patterns_and_levels_of_many_points_keep_to_their_rows() -> None:
    formats = [RawFormat("u", 2)] * 3
    conversions = [Conversion(scale=2.0, not_available=(7,)), Conversion(), Conversion(scale=0.5, not_available=(7,))]
    values = Column.of(formats, conversions).decode(np.array([[0, 7]] * 3, dtype=np.uint8))
    assert np.isnan(values[[0, 2]]).all()
    assert values[1] == 7


@pytest.mark.parametrize("raw", [2**53 - 1, 2**53, 2**53 + 1, 2**64 - 1])
def test_a_counter_that_a_float_cannot_hold_is_bad_and_never_nearly_right(raw: int) -> None:
    point = point_named("energy_active_import")
    binding = PointBinding(point, Direction.READ, None, Conversion(), point.minimum, point.maximum)
    values = Column.of([RawFormat("u", 8)], [Conversion()]).decode(
        np.frombuffer(raw.to_bytes(8, "big"), dtype=np.uint8).reshape(1, 8)
    )
    quality = UnitColumns.of([binding]).finish(values, np.full(1, Quality.GOOD, dtype=np.uint8))
    assert (quality[0] == Quality.GOOD) == (raw < 2**53)
    assert raw >= 2**53 or int(values[0]) == raw


@pytest.mark.parametrize("pattern", ["7f800000", "ff800000", "7fc00000"])
def test_infinity_and_nan_are_bad(pattern: str) -> None:
    point = point_named("power_active_total")
    binding = PointBinding(point, Direction.READ, None, Conversion(), point.minimum, point.maximum)
    values = np.array([decode(RawFormat("f", 4), Conversion(), bytes.fromhex(pattern))])
    assert UnitColumns.of([binding]).finish(values, np.full(1, Quality.GOOD, dtype=np.uint8)).tolist() == [Quality.BAD]
    assert math.isnan(values[0])


def test_texts_are_no_numbers_and_none_the_worse_for_it() -> None:
    bindings = [
        PointBinding(point_named(name), Direction.READ, None, Conversion(), 0, 1000)
        for name in ("serial_number", "voltage_l1", "serial_number")
    ]
    units = UnitColumns.of(bindings)
    status = np.array([Quality.GOOD, Quality.GOOD, Quality.MISSING], dtype=np.uint8)
    values = np.array([math.nan, math.nan, math.nan])
    assert units.finish(values.copy(), status).tolist() == [Quality.GOOD, Quality.BAD, Quality.MISSING]
    some = units.select(np.array([1, 0]))
    assert some.finish(values[:2].copy(), status[:2]).tolist() == [Quality.BAD, Quality.GOOD]
