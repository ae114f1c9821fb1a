"""The short way of decoding gives what the long way gives, for every product and whatever bytes come."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldbus.format.toml_source import TomlSource
from fieldbus.modbus.planner import plan_reads
from fieldbus.modbus.quick_decode import ROWS_MAX, QuickDecoder
from fieldbus.profile import Profile, Protocol
from fieldbus.profile_loader import load_profile, profile_from_toml
from fieldbus.values import PointAddress
from tests.fieldbus.recorded import shipped

MODBUS = shipped(Protocol.MODBUS)


def some_points(profile: Profile) -> list[PointAddress]:
    """Points of every kind, the first index of each."""
    found = [
        PointAddress(name, binding.index_range[0] if binding.index_range else None)
        for name, binding in profile.points.items()
        if binding.direction.readable and binding.modbus is not None
    ]
    return found[:ROWS_MAX]


def assert_same(profile: Profile, points: list[PointAddress], data: bytes) -> None:
    plan = plan_reads(profile, points)
    quick = QuickDecoder.of(profile, points, plan.blocks)
    assert quick is not None
    buffer = (data * (plan.buffer_size // len(data) + 1))[: plan.buffer_size]
    values, quality = quick.decode(buffer)
    status = np.ones(len(points), dtype=np.uint8)
    expected, expected_quality = plan.decode(np.frombuffer(buffer, dtype=np.uint8), status)[:2]
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(quality, expected_quality)
    assert values.dtype == np.float64
    assert quality.dtype == np.uint8


def eligible(profile: Profile) -> list[PointAddress]:
    return [
        point
        for point in some_points(profile)
        if QuickDecoder.of(profile, [point], plan_reads(profile, [point]).blocks) is not None
    ]


INTERESTING = [
    b"\0",
    b"\xff",
    b"\x7f\xff",
    b"\x80\0",
    b"\0\1",
    b"\0\x64",
    b"\0\0\0\1\x86\xa0",
    struct.pack(">f", 230.4),
]


@pytest.mark.parametrize("name", MODBUS)
def test_every_shipped_product_is_decoded_the_same_both_ways(name: str) -> None:
    profile = load_profile(name)
    points = eligible(profile)
    for data in INTERESTING:
        for point in points:
            assert_same(profile, [point], data)


@pytest.mark.parametrize("name", ["abb-b23", "generic-level-status", "intesis-dali", "eastron-sdm630"])
@given(data=st.binary(min_size=8, max_size=400))
def test_whatever_bytes_come_both_ways_agree(name: str, data: bytes) -> None:
    profile = load_profile(name)
    points = eligible(profile)
    assert points, "the short way is for the usual products"
    assert_same(profile, points, data)


HEAD = """
[profile]
name = "t"
kind = "meter"
vendor = "t"
product = "t"
protocol = "modbus"
source = "t"
[modbus]
[points.power_active_l1]
address = 0
"""


@pytest.mark.parametrize(
    "place",
    [
        'type = "int16"\nnot_available = [0x8000]\nscale = 0.1',
        'type = "int32"\nnot_available = [0x80000000]\nscale = 10',
        'type = "int64"\nnot_available = [0x7FFFFFFFFFFFFFFF]',
        'type = "uint16"\nspecial = [[65535, 4]]\nscale = 0.5\noffset = 1',
        'type = "float64"',
        'type = "uint64"',
    ],
)
@given(data=st.binary(min_size=8, max_size=8))
def test_signs_patterns_and_scales_agree(place: str, data: bytes) -> None:
    profile = profile_from_toml(TomlSource("t.toml", HEAD + place))
    for candidate in (data, b"\x80" + bytes(7), b"\x7f" + b"\xff" * 7, b"\xff" * 8):
        assert_same(profile, [PointAddress("power_active_l1")], candidate)


@pytest.mark.parametrize(
    "place", ['type = "uint32"\nword_order = "little"', 'type = "uint16"\ncurve = [[0, 0], [10, 5]]', 'type = "bcd16"']
)
def test_what_is_not_plain_is_left_to_the_long_way(place: str) -> None:
    profile = profile_from_toml(TomlSource("t.toml", HEAD + place))
    points = [PointAddress("power_active_l1")]
    assert QuickDecoder.of(profile, points, plan_reads(profile, points).blocks) is None


def test_large_readings_are_left_to_the_long_way() -> None:
    profile = load_profile("generic-level-status")
    points = [PointAddress("level_command", gear) for gear in range(ROWS_MAX + 1)]
    assert QuickDecoder.of(profile, points, plan_reads(profile, points).blocks) is None
    assert QuickDecoder.of(profile, points[:-1], plan_reads(profile, points[:-1]).blocks) is not None


STRAIGHT = """
[profile]
name = "straight"
kind = "meter"
vendor = "v"
product = "p"
protocol = "modbus"
source = "none"
[modbus]
[points.power_active_l1]
address = 7
type = "int16"
scale = 0.7
offset = 3
[points.power_active_l2]
address = 2
type = "uint16"
scale = 0.1
[points.energy_active_import]
address = 4
type = "uint32"
scale = 10
[points.voltage_l1]
address = 9
type = "uint16"
scale = 0.01
"""


@given(data=st.binary(min_size=16, max_size=16))
def test_what_is_always_within_limits_is_scaled_at_once_to_the_same_values(data: bytes) -> None:
    profile = profile_from_toml(TomlSource("t.toml", STRAIGHT))
    points = [PointAddress(name) for name in profile.points]
    for candidate in (data, b"\xff" * 16, bytes(16), b"\x80" + bytes(15)):
        assert_same(profile, points, candidate)


def test_columns_shared_by_many_batches_cannot_be_changed() -> None:
    profile = profile_from_toml(TomlSource("t.toml", STRAIGHT))
    points = [PointAddress(name) for name in profile.points]
    quick = QuickDecoder.of(profile, points, plan_reads(profile, points).blocks)
    assert quick is not None
    _, quality = quick.decode(bytes(16))
    with pytest.raises(ValueError, match="read-only"):
        quality[0] = 3
    with pytest.raises(ValueError, match="read-only"):
        quick.time_source[0] = 1
