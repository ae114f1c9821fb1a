"""A gateway that goes on answering with what it once heard is not believed: its own time of the value tells."""

from __future__ import annotations

import pytest

from domain.errors import InvalidInput
from fieldbus.client import Fieldbus
from fieldbus.format.toml_source import TomlSource
from fieldbus.profile import Profile
from fieldbus.profile_loader import profile_from_toml
from fieldbus.values import PointAddress, Quality, TimeSource, unix_ms
from tests.fieldbus.conftest import Serve
from tests.fieldbus.servers import NOON, Manual

PROFILE = """
[profile]
name = "stamped"
kind = "meter"
vendor = "test"
product = "test"
protocol = "modbus"
source = "this test"
[freshness]
max_age_s = 600
frozen_after = 3
[modbus]
[points.energy_active_import]
address = 0
type = "uint32"
timestamp = { address = 2, type = "uint32" }
[points.power_active_total]
address = 4
type = "uint16"
[points.serial_number]
address = 5
type = "string"
length = 4
"""
ENERGY, POWER, SERIAL = (
    PointAddress("energy_active_import"),
    PointAddress("power_active_total"),
    PointAddress("serial_number"),
)
ASKED = (ENERGY, POWER, SERIAL)
NOON_S = int(NOON.timestamp())


def profile() -> Profile:
    return profile_from_toml(TomlSource("stamped.toml", PROFILE))


def registers(age_s: int) -> list[int]:
    at = NOON_S - age_s
    return [0, 4711, at >> 16, at & 0xFFFF, 230, 0x4142, 0x3132, 0, 0]


async def test_a_value_bears_the_time_at_which_the_gateway_got_it(fieldbus: Fieldbus, serve: Serve) -> None:
    server = await serve({1: {"holding": {0: registers(90)}}})
    batch = await fieldbus.open(server.url, profile()).read(ASKED)
    assert batch.observed_at.tolist() == [unix_ms(NOON) - 90_000, unix_ms(NOON), unix_ms(NOON)]
    assert batch.time_source.tolist() == [TimeSource.DEVICE, TimeSource.OURS, TimeSource.OURS]
    assert batch.complete
    assert batch.text(SERIAL) == "AB12"
    assert batch.as_dict() == {ENERGY: 4711, POWER: 230}


@pytest.mark.parametrize(("age_s", "quality"), [(600, Quality.GOOD), (601, Quality.UNCERTAIN)])
async def test_a_value_older_than_allowed_is_uncertain_but_still_a_number(
    fieldbus: Fieldbus, serve: Serve, age_s: int, quality: Quality
) -> None:
    server = await serve({1: {"holding": {0: registers(age_s)}}})
    batch = await fieldbus.open(server.url, profile()).read(ASKED)
    assert batch.quality.tolist() == [quality, Quality.GOOD, Quality.GOOD]
    assert batch.value(ENERGY) == 4711


async def test_a_time_that_stands_still_makes_its_value_uncertain_until_it_moves(
    fieldbus: Fieldbus, serve: Serve, clock: Manual
) -> None:
    server = await serve({1: {"holding": {0: registers(0)}}})
    device = fieldbus.open(server.url, profile())
    seen = [int((await device.read(ASKED)).quality[0]) for _ in range(5)]
    assert seen == [Quality.GOOD] * 3 + [Quality.UNCERTAIN] * 2
    server.set_registers(1, "holding", 0, registers(-1))
    assert (await device.read(ASKED)).complete


LIVE = PROFILE.replace("max_age_s = 600\nfrozen_after = 3", 'live_point = "operating_time"\nlive_within_s = 60') + (
    """
[points.operating_time]
table = "input"
address = 9
type = "uint32"
"""
)


async def test_a_device_without_a_clock_that_stands_still_is_doubted_until_its_counter_moves(
    fieldbus: Fieldbus, serve: Serve, clock: Manual
) -> None:
    server = await serve({1: {"holding": {0: registers(0)}, "input": {9: [0, 100]}}})
    device = fieldbus.open(server.url, profile_from_toml(TomlSource("stamped.toml", LIVE)))
    asked = (POWER, SERIAL)
    assert (await device.read(asked)).complete
    clock.seconds += 60
    assert (await device.read(asked)).complete
    clock.seconds += 1
    doubted = await device.read(asked)
    assert doubted.points == asked
    assert doubted.quality.tolist() == [Quality.UNCERTAIN] * 2
    assert (doubted.value(POWER), doubted.text(SERIAL)) == (230, "AB12")
    assert (await device.read((ENERGY,))).quality.tolist() == [Quality.UNCERTAIN], "whatever else is read"
    server.set_registers(1, "input", 10, [101])
    assert (await device.read(asked)).complete


async def test_a_counter_that_cannot_be_read_has_not_moved(fieldbus: Fieldbus, serve: Serve, clock: Manual) -> None:
    server = await serve({1: {"holding": {0: registers(0)}, "input": {9: [0, 100]}}})
    device = fieldbus.open(server.url, profile_from_toml(TomlSource("stamped.toml", LIVE)))
    assert (await device.read((POWER,))).complete
    server.refuse[4] = 4
    assert (await device.read((POWER,))).complete
    clock.seconds += 61
    assert (await device.read((POWER,))).quality.tolist() == [Quality.UNCERTAIN]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("live_within_s = 60\n", "", "belong together"),
        ('live_point = "operating_time"\n', "", "belong together"),
        ('live_point = "operating_time"', 'live_point = "heartbeat"', "no readable point of the device"),
        ('live_point = "operating_time"', 'live_point = "serial_number"', "does not count"),
        ("live_within_s = 60", "live_within_s = 0", "live_within_s"),
    ],
)
def test_a_counter_that_cannot_show_that_a_device_works_is_refused(old: str, new: str, reason: str) -> None:
    assert old in LIVE
    with pytest.raises(InvalidInput, match=reason):
        profile_from_toml(TomlSource("stamped.toml", LIVE.replace(old, new)))
