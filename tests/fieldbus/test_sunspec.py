"""The chain of SunSpec models: found at any of its bases, followed to its end, and never followed for ever."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from fieldbus.format.toml_source import TomlSource
from fieldbus.modbus.planner import plan_reads
from fieldbus.modbus.sunspec import MARKER, MODELS_MAX, ChainReader, Models
from fieldbus.profile import Profile
from fieldbus.profile_loader import profile_from_toml
from fieldbus.values import PointAddress, Quality

INVERTER = """\
[profile]
name = "sunspec"
kind = "meter"
vendor = "any"
product = "meter"
protocol = "modbus"
source = "SunSpec models 203 and 213"
[modbus]
discovery = "sunspec"
[points.power_active_total.models]
213 = { address = 26, type = "float32" }
203 = { address = 18, type = "int16", not_available = [0x8000], scale_factor = { address = 22 } }
[points.voltage_l1.models.203]
address = 6
type = "int16"
scale_factor = { address = 12 }
"""


def profile() -> Profile:
    return profile_from_toml(TomlSource("sunspec.toml", INVERTER))


def walk(registers: dict[int, int], limit: int = 1000) -> Models:
    """Discover a device with these registers, which refuses all others."""
    reader = ChainReader()
    for _ in range(limit):
        wanted = reader.wanted
        if wanted is None:
            return reader.models
        addresses = range(wanted.address, wanted.address + wanted.count)
        if all(address in registers for address in addresses):
            reader.feed([registers[address] for address in addresses])
        else:
            reader.nothing_here()
    raise AssertionError("the walk does not end")


def device(base: int, *models: tuple[int, int], end: bool = True) -> dict[int, int]:
    """Registers of the marker and of the headers of a chain."""
    registers = dict(enumerate(MARKER, start=base))
    at = base + 2
    for model, length in models:
        registers |= {at: model, at + 1: length}
        at += 2 + length
    return registers | ({at: 0xFFFF, at + 1: 0} if end else {})


@pytest.mark.parametrize("base", [40000, 50000, 0])
def test_models_are_found_at_every_base(base: int) -> None:
    models = walk(device(base, (1, 66), (203, 105)))
    assert models.addresses == {1: base + 2, 203: base + 70}
    assert models.lengths == {1: 66, 203: 105}


def test_a_device_without_the_marker_has_no_models() -> None:
    assert walk(dict.fromkeys(range(100), 0)).addresses == {}
    assert walk({}).addresses == {}


def test_a_chain_without_an_end_mark_ends_where_the_device_refuses() -> None:
    assert walk(device(40000, (1, 66), (203, 105), end=False)).addresses == {1: 40002, 203: 40070}


def test_of_a_model_that_comes_twice_the_first_counts() -> None:
    assert walk(device(40000, (203, 105), (203, 105))).addresses == {203: 40002}


@pytest.mark.parametrize(
    ("registers", "reason"),
    [
        (device(40000, (0, 10)), "empty"),
        (device(40000, (103, 0)), "empty"),
        (device(40000, (103, 65000)), "beyond the last register"),
        (device(0, *[(1000 + number, 1) for number in range(MODELS_MAX + 1)]), "more than"),
    ],
)
def test_a_chain_that_cannot_be_true_is_refused(registers: dict[int, int], reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        walk(registers)


@given(st.randoms(use_true_random=False))
def test_no_device_is_followed_for_ever(random: object) -> None:
    numbers = np.random.default_rng(random.getrandbits(32)).integers(0, 65536, 65536)  # type: ignore[attr-defined]
    numbers[40000:40002] = MARKER
    try:
        models = walk({address: int(number) for address, number in enumerate(numbers[:50000])})
    except InvalidInput:
        return
    assert len(models.addresses) <= MODELS_MAX


def test_registers_that_nobody_wanted_are_refused() -> None:
    with pytest.raises(InvalidInput):
        ChainReader().feed([1, 2, 3])


def read(resolved: Profile, registers: dict[int, int]) -> tuple[list[float], list[int]]:
    plan = plan_reads(resolved, [PointAddress("power_active_total"), PointAddress("voltage_l1")])
    buffer = np.zeros(plan.buffer_size, dtype=np.uint8)
    for block in plan.blocks:
        for address in range(block.start, block.start + block.count):
            at = block.offset + 2 * (address - block.start)
            buffer[at : at + 2] = list(registers.get(address, 0).to_bytes(2, "big"))
    status = np.full(plan.row_count, Quality.GOOD, dtype=np.uint8)
    status[plan.refused_rows] = Quality.BAD
    values, quality = plan.decode(buffer, status)
    return values.tolist(), quality.tolist()


def test_points_are_read_where_the_models_of_the_device_are() -> None:
    assert profile().needs_discovery
    resolved = profile().resolved({203: 40070})
    assert not resolved.needs_discovery
    values, quality = read(resolved, {40088: 1234, 40092: 1, 40076: 2305, 40082: 0x10000 - 1})
    assert values == [12340, 230.5]
    assert quality == [Quality.GOOD, Quality.GOOD]


def test_the_preferred_model_is_taken_and_points_of_absent_models_read_bad() -> None:
    values, quality = read(profile().resolved({203: 40070, 213: 40300}), {40326: 0x4148})
    assert values[0] == 12.5
    values, quality = read(profile().resolved({213: 40300}), {40326: 0x4148})
    assert quality == [Quality.GOOD, Quality.BAD]
    assert np.isnan(values[1])


def test_a_model_shorter_than_its_points_does_not_have_them() -> None:
    """What stands behind it belongs to the next model: a wrong value that looks right."""
    resolved = profile().resolved({203: 40070}, {203: 16})
    assert resolved.points["power_active_total"].absent
    assert not resolved.points["voltage_l1"].absent


def test_a_profile_cannot_be_planned_before_the_device_was_looked_into() -> None:
    with pytest.raises(InvalidInput, match="discovered"):
        plan_reads(profile(), [PointAddress("voltage_l1")])
