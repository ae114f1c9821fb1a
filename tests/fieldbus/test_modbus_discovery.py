"""A device that says itself where its registers are is looked through once per connection, and never led astray."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from domain.errors import InvalidInput
from fieldbus.budget import MobileLink
from fieldbus.client import Fieldbus
from fieldbus.device import Limits
from fieldbus.format.toml_source import TomlSource
from fieldbus.modbus.sunspec import MARKER, MODELS_MAX
from fieldbus.profile import Profile
from fieldbus.profile_loader import profile_from_toml
from fieldbus.values import PointAddress, Quality, WriteOutcome
from tests.fieldbus.conftest import ServeRaw
from tests.fieldbus.servers import NOON, Behaviour, Manual, RawServer, answer_frame, eventually
from tests.support.patient_loop import loop_time
from tests.support.ports import free_port

PROFILE = """
[profile]
name = "sunspec"
kind = "meter"
vendor = "test"
product = "test"
protocol = "modbus"
source = "SunSpec models 203 and 213"
[modbus]
discovery = "sunspec"
[points.power_active_total.models]
213 = { address = 26, type = "float32" }
203 = { address = 18, type = "int16", not_available = [0x8000], scale_factor = { address = 22, type = "int16" } }
[points.frequency.models]
203 = { address = 16, type = "uint16", scale = 0.01 }
[points.heartbeat]
access = "read_write"
[points.heartbeat.models]
64900 = { address = 2, type = "uint16", scale_factor = { address = 3, type = "int16" } }
"""
POWER, FREQUENCY, HEARTBEAT = PointAddress("power_active_total"), PointAddress("frequency"), PointAddress("heartbeat")


def profile() -> Profile:
    return profile_from_toml(TomlSource("sunspec.toml", PROFILE))


def chain(base: int, models: list[tuple[int, list[int]]], *, end: bool = True) -> dict[int, int]:
    """Registers of a chain."""
    registers = list(MARKER)
    for model, content in models:
        registers += [model, len(content), *content]
    if end:
        registers += [0xFFFF, 0]
    return {base + offset: register for offset, register in enumerate(registers)}


def meter(power: int, factor: int = 0, hertz: int = 5000) -> tuple[int, list[int]]:
    content = [0] * 105
    content[16 - 2], content[18 - 2], content[22 - 2] = hertz, power & 0xFFFF, factor & 0xFFFF
    return 203, content


COMMON = (1, [0] * 66)


def holding(registers: dict[int, int]) -> Behaviour:
    """A device with these holding registers, which refuses all others."""

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        start, count = int.from_bytes(request[8:10], "big"), int.from_bytes(request[10:12], "big")
        if request[7] == 3 and all(address in registers for address in range(start, start + count)):
            data = b"".join(registers[address].to_bytes(2, "big") for address in range(start, start + count))
            writer.write(answer_frame(request, bytes((3, 2 * count)) + data))
        elif request[7] == 6:
            registers[start] = count
            writer.write(answer_frame(request, request[7:]))
        else:
            writer.write(answer_frame(request, bytes((request[7] | 0x80, 2))))

    return behave


@pytest.mark.parametrize("base", [40000, 50000, 0])
async def test_the_models_are_found_wherever_they_begin(fieldbus: Fieldbus, serve_raw: ServeRaw, base: int) -> None:
    server = await serve_raw(holding(chain(base, [COMMON, meter(2305, -1)])))
    device = fieldbus.open(server.url, profile())
    batch = await device.read((POWER, FREQUENCY))
    assert batch.values.tolist() == [230.5, 50.0]
    server.requests.clear()
    await device.read((POWER, FREQUENCY))
    assert len(server.requests) == 1, "found once is enough"


async def test_points_of_models_that_are_not_there_are_bad_and_the_device_says_why(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    server = await serve_raw(holding(chain(40000, [COMMON, meter(7)])))
    device = fieldbus.open(server.url, profile())
    batch = await device.read((POWER, HEARTBEAT))
    assert batch.quality.tolist() == [Quality.GOOD, Quality.BAD]
    assert device.health().last_error == (
        "the device has no usable SunSpec model 64900 (it has 1, 203), so it lacks heartbeat"
    )
    (result,) = await device.write([(HEARTBEAT, 1)])
    assert (result.outcome, result.reason) == (WriteOutcome.REFUSED, "this copy of the product does not have it")


async def test_a_device_without_a_marker_has_no_points_and_is_not_searched_in_every_cycle(
    fieldbus: Fieldbus, serve_raw: ServeRaw, clock: Manual
) -> None:
    server = await serve_raw(holding({0: 1, 1: 2}))
    device = fieldbus.open(server.url, profile())
    assert (await device.read((POWER, FREQUENCY))).quality.tolist() == [Quality.BAD] * 2
    assert "no marker" in device.health().last_error
    before = len(server.requests)
    await device.read((POWER, FREQUENCY))
    assert len(server.requests) == before
    server.behave = holding(chain(40000, [COMMON, meter(7)]))
    clock.seconds += 31
    assert (await device.read((POWER,))).values.tolist() == [7]


async def test_another_device_after_a_reconnection_is_looked_through_anew(
    fieldbus: Fieldbus, serve_raw: ServeRaw, clock: Manual
) -> None:
    server = await serve_raw(holding(chain(40000, [COMMON, meter(1)])))
    device = fieldbus.open(server.url, profile())
    assert (await device.read((POWER,))).values.tolist() == [1]

    async def hang_up(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server.behave = hang_up
    assert (await device.read((POWER,))).quality.tolist() == [Quality.MISSING]
    server.behave = holding(chain(40000, [(160, [0] * 10), COMMON, meter(2)]))
    clock.seconds += 120
    assert (await device.read((POWER,))).values.tolist() == [2]


async def test_another_device_on_a_connection_that_stands_is_noticed_by_its_refusals(
    fieldbus: Fieldbus, serve_raw: ServeRaw, clock: Manual
) -> None:
    server = await serve_raw(holding(chain(40000, [COMMON, meter(1)])))
    device = fieldbus.open(server.url, profile())
    assert (await device.read((POWER,))).values.tolist() == [1]
    server.behave = holding(chain(0, [COMMON, meter(2)]))
    assert (await device.read((POWER,))).quality.tolist() == [Quality.BAD]
    clock.seconds += 31
    assert (await device.read((POWER,))).values.tolist() == [2]
    assert device.health().refused_points == 0


async def test_a_chain_without_an_end_is_given_up(fieldbus: Fieldbus, serve_raw: ServeRaw) -> None:
    endless = {address: (1 if address % 2 == 0 else 2) for address in range(65536)}
    endless |= dict(zip((40000, 40001), MARKER, strict=True))
    for address in range(40002, 65000, 4):
        endless[address], endless[address + 1] = 7, 2
    server = await serve_raw(holding(endless))
    device = fieldbus.open(server.url, profile())
    assert (await device.read((POWER,))).quality.tolist() == [Quality.BAD]
    assert len(server.requests) <= MODELS_MAX + 3
    assert "more than" in device.health().last_error


async def test_a_device_that_does_not_answer_is_missing_and_backs_off(fieldbus: Fieldbus, clock: Manual) -> None:
    device = fieldbus.open(f"modbus+tcp://127.0.0.1:{free_port()}", profile())
    assert (await device.read((POWER,))).quality.tolist() == [Quality.MISSING]
    (result,) = await device.write([(HEARTBEAT, 1)])
    assert result.outcome is WriteOutcome.UNKNOWN
    assert result.reason.startswith("not sent: ")


async def test_points_that_no_copy_of_the_product_has_are_a_mistake_of_the_caller(fieldbus: Fieldbus) -> None:
    device = fieldbus.open(f"modbus+tcp://127.0.0.1:{free_port()}", profile())
    with pytest.raises(InvalidInput):
        await device.read([PointAddress("voltage_l1")])
    with pytest.raises(InvalidInput):
        await device.subscribe([PointAddress("voltage_l1")], lambda _: None)


async def test_a_command_is_scaled_by_what_the_device_says_of_its_register(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    registers = chain(40000, [COMMON, (64900, [5, 1])])
    server: RawServer = await serve_raw(holding(registers))
    device = fieldbus.open(server.url, profile())
    assert (await device.read((HEARTBEAT,))).values.tolist() == [50]
    (result,) = await device.write([(HEARTBEAT, 120)])
    assert (result.outcome, result.read_back) == (WriteOutcome.CONFIRMED, 120)
    assert registers[40000 + 2 + 68 + 2] == 12


async def test_many_readers_of_a_new_device_search_it_once(fieldbus: Fieldbus, serve_raw: ServeRaw) -> None:
    server = await serve_raw(holding(chain(40000, [COMMON, meter(4)])))
    device = fieldbus.open(server.url, profile())
    batches = await asyncio.gather(*(device.read((POWER,)) for _ in range(5)))
    assert [batch.values.tolist() for batch in batches] == [[4]] * 5
    assert len([request for request in server.requests if request[10:12] == b"\0\2"]) == 4


async def test_many_readers_of_a_silent_device_ask_it_once(fieldbus: Fieldbus, serve_raw: ServeRaw) -> None:
    async def silent(request: bytes, writer: asyncio.StreamWriter) -> None:
        pass

    server = await serve_raw(silent)
    device = fieldbus.open(server.url, profile())
    batches = await asyncio.gather(*(device.read((POWER,)) for _ in range(5)))
    assert [batch.quality.tolist() for batch in batches] == [[Quality.MISSING]] * 5
    assert len(server.requests) == 1


async def test_the_models_are_not_waited_for_longer_than_a_reading(serve_raw: ServeRaw) -> None:
    """A neighbour holds the line; looking for the models gives up its place when the time of the reading is over."""
    released = asyncio.Event()

    async def held_up(request: bytes, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.write(answer_frame(request, bytes((request[7] | 0x80, 2))))

    server = await serve_raw(held_up)
    patient = Limits(request_timeout_s=60.0)
    bus = Fieldbus(now=lambda: NOON, limits=patient, monotonic=loop_time)
    try:
        neighbour = bus.open(f"{server.url}?unit=2", "generic-level-status")
        waiting = asyncio.create_task(neighbour.read((PointAddress("level_command", 0),)))
        await eventually(lambda: len(server.requests) == 1)
        meter_behind = bus.open(f"{server.url}?unit=1", profile(), limits=replace(patient, read_deadline_s=0.1))
        async with asyncio.timeout(20):
            batch = await meter_behind.read((POWER,))
        assert batch.quality.tolist() == [Quality.MISSING]
        assert "no turn" in meter_behind.health().last_error
        released.set()
        await waiting
    finally:
        released.set()
        await bus.close()


async def test_models_are_looked_for_before_a_command_whatever_bytes_are_left(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    server: RawServer = await serve_raw(holding(chain(40000, [COMMON, (64900, [5, 1])])))
    link = MobileLink(round_trip_s=0.1, monthly_bytes=100_000)
    device = fieldbus.open(server.url, profile(), link=link)
    assert (await device.read((HEARTBEAT,))).quality.tolist() == [Quality.MISSING]
    assert device.health().over_budget
    (result,) = await device.write([(HEARTBEAT, 120)], verify=False)
    assert result.outcome is WriteOutcome.ACCEPTED


@pytest.mark.parametrize("seed", range(12))
async def test_rubbish_in_the_registers_is_followed_only_so_far(
    fieldbus: Fieldbus, serve_raw: ServeRaw, seed: int
) -> None:
    dice = random.Random(seed)
    registers = {address: dice.choice((0, 1, 2, 203, 0xFFFF, dice.randrange(65536))) for address in range(65536)}
    registers |= dict(zip((40000, 40001), MARKER, strict=True))
    server = await serve_raw(holding(registers))
    device = fieldbus.open(server.url, profile())
    async with asyncio.timeout(20):
        batch = await device.read((POWER, FREQUENCY, HEARTBEAT))
    assert len(server.requests) <= MODELS_MAX + 8
    if Quality.BAD in batch.quality.tolist():
        assert device.health().last_error
