"""What a device says of itself must not turn a command into another one: scale factors beyond all, steps too coarse."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import OutOfLimits
from fieldbus.codec import encode
from fieldbus.format.toml_source import TomlSource
from fieldbus.profile import PointBinding, Profile
from fieldbus.profile_loader import profile_from_toml
from fieldbus.values import PointAddress

LEVEL = PointAddress("level_command", 0)
PROFILE = """
[profile]
name = "dimmer"
kind = "lamps"
vendor = "ACME"
product = "D1"
source = "this test"
protocol = "modbus"
[points.level_command]
access = "read_write"
index = [0, 0]
type = "uint16"
address = 1
"""


def binding(more: str) -> PointBinding:
    profile: Profile = profile_from_toml(TomlSource("dimmer.toml", PROFILE + more))
    return profile.binding(LEVEL)


def encoded(of: PointBinding, level: float, exponent: int = 0) -> tuple[int, float]:
    assert of.modbus is not None
    result = encode(of, level, of.modbus.write_format, exponent)
    return result.registers[0], result.value


@pytest.mark.parametrize("exponent", [32767, -32768, 400, -330, 308, 31, -31])
def test_a_scale_factor_that_is_none_refuses_the_command(exponent: int) -> None:
    for level in (0.0, 500.0):
        with pytest.raises(OutOfLimits, match="scale factor"):
            encoded(binding("scale_factor = { address = 5 }"), level, exponent)


@pytest.mark.parametrize("exponent", [4, 9, 10])
def test_a_scale_factor_that_knows_no_such_level_refuses_the_command(exponent: int) -> None:
    with pytest.raises(OutOfLimits, match="comes nearest"):
        encoded(binding("scale_factor = { address = 5 }"), 500.0, exponent)
    assert encoded(binding("scale_factor = { address = 5 }"), 0.0, exponent) == (0, 0.0)


@pytest.mark.parametrize(
    "more", ["scale = 100", "curve = [[0, 0], [10, 1000]]", "scale = 1000", "scale_factor = { address = 5 }"]
)
@pytest.mark.parametrize("level", [1.0, 4.0, 49.0, 499.0])
def test_a_level_above_nothing_switches_no_lamp_off(more: str, level: float) -> None:
    number, value = encoded(binding(more), level, 3 if "factor" in more else 0)
    assert number == 1 or (number > 0 and abs(value - level) <= 50)
    assert value > 0


@settings(max_examples=200, deadline=None)
@given(st.integers(-32768, 32767), st.integers(0, 1000))
def test_whatever_the_factor_dark_stays_dark_and_light_stays_light(exponent: int, level: int) -> None:
    try:
        number, value = encoded(FACTORED, float(level), exponent)
    except OutOfLimits:
        return
    assert (number == 0) == (level == 0) == (value == 0)
    assert 0 <= value <= 1010


FACTORED = binding("scale_factor = { address = 5 }")
