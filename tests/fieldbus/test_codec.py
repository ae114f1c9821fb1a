"""Bytes to numbers and back: every type, every order, every curve, against an independent packing."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import OutOfLimits
from fieldbus.codec import Column, encode
from fieldbus.profile import Conversion, PointBinding, RawFormat
from fieldbus.profile_loader import load_profile
from fieldbus.raw import byte_positions
from fieldbus.vocabulary import Direction, point_named

ORDERS = {("big", "big"): "ABCD", ("big", "little"): "CDAB", ("little", "big"): "BADC", ("little", "little"): "DCBA"}
CODES = {("u", 2): "H", ("i", 2): "h", ("u", 4): "I", ("i", 4): "i", ("u", 8): "Q", ("i", 8): "q", ("f", 4): "f"}


def decode(raw_format: RawFormat, conversion: Conversion, wire: bytes) -> float:
    data = np.frombuffer(wire, dtype=np.uint8)[list(byte_positions(raw_format))][None, :]
    return float(Column.of([raw_format], [conversion]).decode(np.ascontiguousarray(data))[0])


@pytest.mark.parametrize(("byte_order", "word_order"), ORDERS)
def test_the_four_orders_of_the_trade(byte_order: str, word_order: str) -> None:
    value = struct.pack(">I", 0x41424344)  # "ABCD" by significance
    letters = dict(zip("ABCD", value, strict=True))
    wire = bytes(letters[letter] for letter in ORDERS[byte_order, word_order])
    assert decode(RawFormat("u", 4, byte_order, word_order), Conversion(), wire) == 0x41424344


@pytest.mark.parametrize(("kind", "size"), CODES)
@given(data=st.data())
def test_all_types_decode_as_struct_does(kind: str, size: int, data: st.DataObject) -> None:
    wire = data.draw(st.binary(min_size=size, max_size=size))
    expected = struct.unpack(f">{CODES[kind, size]}", wire)[0]
    value = decode(RawFormat(kind, size), Conversion(), wire)
    assert value == pytest.approx(float(expected), nan_ok=True)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("pattern", ["7fc00000", "7f800001", "ffffffff", "ff800001"])
def test_every_kind_of_nan_is_no_number_and_no_warning(pattern: str) -> None:
    assert math.isnan(decode(RawFormat("f", 4), Conversion(), bytes.fromhex(pattern)))


@pytest.mark.parametrize("bit", range(16))
def test_bits_are_counted_from_the_least_significant(bit: int) -> None:
    wire = struct.pack(">H", 1 << bit)
    assert decode(RawFormat("u", 2, bit=bit), Conversion(), wire) == 1
    assert decode(RawFormat("u", 2, bit=(bit + 1) % 16), Conversion(), wire) == 0


def level_binding(name: str) -> PointBinding:
    profile = {"percent": "intesis-dali", "dali_log": "arlight-dali", "permille": "generic-level-status"}[name]
    return load_profile(profile).points["level_command"]


@pytest.mark.parametrize(("scale", "steps"), [("percent", 100), ("dali_log", 254), ("permille", 1000)])
def test_every_step_of_a_level_scale_survives_there_and_back(scale: str, steps: int) -> None:
    binding = level_binding(scale)
    assert binding.modbus is not None
    for raw in range(steps + 1):
        level = decode(binding.modbus.format, binding.conversion, struct.pack(">H", raw))
        again = encode(binding, level, binding.modbus.format)
        back = decode(binding.modbus.format, binding.conversion, struct.pack(">H", again.registers[0]))
        # The lowest DALI steps lie closer together than a per mille: they share a level, not a raw value.
        assert back == level == again.value


@pytest.mark.parametrize("raw", [255, 256, 65535])
def test_what_is_no_arc_power_is_no_level(raw: int) -> None:
    binding = level_binding("dali_log")
    assert binding.modbus is not None
    assert math.isnan(decode(binding.modbus.format, binding.conversion, struct.pack(">H", raw)))


@given(st.integers(1, 1000))
def test_a_lit_lamp_is_never_rounded_to_off(level: int) -> None:
    for scale in ("percent", "dali_log", "permille"):
        binding = level_binding(scale)
        assert binding.modbus is not None
        assert encode(binding, level, binding.modbus.format).registers[0] >= 1


def test_dali_steps_are_the_standards() -> None:
    binding = level_binding("dali_log")
    assert binding.modbus is not None
    # IEC 62386-102: 1 % = 85, 10 % = 170, 25 % = 203, 50 % = 229, 70 % = 241, 100 % = 254
    for level, arc in ((10, 85), (100, 170), (250, 203), (500, 229), (700, 241), (1000, 254)):
        assert encode(binding, level, binding.modbus.format).registers == (arc,)


@given(st.floats(0, 100, allow_nan=False))
def test_fade_times_go_to_the_nearest_code(seconds: float) -> None:
    binding = load_profile("intesis-dali").points["fade_time"]
    assert binding.modbus is not None
    encoded = encode(binding, seconds, binding.modbus.format)
    assert 0 <= encoded.registers[0] <= 15
    exact = [0, *(0.5 * math.sqrt(2**code) for code in range(1, 16))]
    assert encoded.value == pytest.approx(exact[encoded.registers[0]], rel=0.02)


def wide_binding() -> PointBinding:
    return PointBinding(point_named("heartbeat"), Direction.READ_WRITE, None, Conversion(), 0, 65535)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1, 65536, 1e300])
def test_what_does_not_fit_is_refused_before_it_is_packed(value: float) -> None:
    with pytest.raises(OutOfLimits):
        encode(wide_binding(), value, RawFormat("u", 2))


def test_a_value_beyond_its_register_is_refused_even_within_the_points_limits() -> None:
    with pytest.raises(OutOfLimits, match="does not fit"):
        encode(wide_binding(), 40_000, RawFormat("i", 2))


@given(st.integers(0, 65535), st.sampled_from(sorted(ORDERS)))
def test_commands_keep_the_devices_order(value: int, orders: tuple[str, str]) -> None:
    raw_format = RawFormat("f", 4, *orders)
    encoded = encode(wide_binding(), value, raw_format)
    wire = struct.pack(">2H", *encoded.registers)
    assert decode(raw_format, Conversion(), wire) == value == encoded.value
