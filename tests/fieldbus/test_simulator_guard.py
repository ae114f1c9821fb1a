"""Where only the simulator may be used, every other endpoint is refused before a single value moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from domain.errors import FailedPrecondition
from fieldbus.client import Fieldbus
from fieldbus.values import DeviceState, Identity, PointAddress, Quality, WriteOutcome
from tests.fieldbus.conftest import FAST, Serve, ServeRaw
from tests.fieldbus.servers import Manual, answer_frame, eventually
from tests.support.ports import free_port

LIGHT = [PointAddress("illuminance")]
MEMORY = {1: {"input": {0: [0x42C8, 0]}, "holding": {0: [0] * 10}}}
SIMULATOR = ("Lichtbuch", "Simulator")


@pytest.fixture
async def guarded(clock: Manual) -> AsyncIterator[Fieldbus]:
    bus = Fieldbus(now=clock.now, limits=FAST, monotonic=clock.monotonic, uniform=lambda: 0.999, require_simulator=True)
    yield bus
    await bus.close()


async def test_the_simulator_is_read_and_asked_for_its_name_once_per_connection(
    guarded: Fieldbus, serve: Serve
) -> None:
    server = await serve(MEMORY, SIMULATOR)
    sensor = guarded.open(server.url, "light-sensor")
    for _ in range(3):
        assert (await sensor.read(LIGHT)).values.tolist() == [100.0]
    assert sensor.health().counters.requests == 4
    assert await sensor.identify() == Identity("Lichtbuch", "Simulator", "2.1")


@pytest.mark.parametrize("identity", [("ACME", "Gateway"), ("Lichtbuch", "Gateway"), ("ACME", "Simulator")])
async def test_a_real_device_is_neither_read_nor_written(
    guarded: Fieldbus, serve: Serve, identity: tuple[str, str]
) -> None:
    server = await serve(MEMORY, identity)
    lamps = guarded.open(server.url, "generic-level-status")
    with pytest.raises(FailedPrecondition, match="not the simulator"):
        await lamps.read([PointAddress("level_command", 0)])
    with pytest.raises(FailedPrecondition, match="only the simulator"):
        await lamps.write([(PointAddress("level_command", 0), 500)])
    assert server.requests == [], "no register was touched"
    assert lamps.health().state is DeviceState.REFUSED


async def test_a_device_that_does_not_know_identification_is_no_simulator(
    guarded: Fieldbus, serve_raw: ServeRaw
) -> None:
    async def only_exceptions(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer_frame(request, bytes((request[7] | 0x80, 1))))

    server = await serve_raw(only_exceptions)
    sensor = guarded.open(server.url, "light-sensor")
    with pytest.raises(FailedPrecondition):
        await sensor.read(LIGHT)
    assert all(request[7] == 0x2B for request in server.requests)


async def test_a_real_device_taking_the_simulators_place_is_noticed_on_the_new_connection(
    guarded: Fieldbus, serve: Serve, clock: Manual
) -> None:
    port = free_port()
    server = await serve(MEMORY, SIMULATOR, port)
    sensor = guarded.open(server.url, "light-sensor")
    assert (await sensor.read(LIGHT)).complete
    await server.stop()
    impostor = await serve(MEMORY, ("ACME", "Gateway"), port)
    clock.seconds += 100
    with pytest.raises(FailedPrecondition):
        for _ in range(3):
            clock.seconds += 100
            await sensor.read(LIGHT)
    assert impostor.requests == []


async def test_a_dead_endpoint_is_missing_not_refused(guarded: Fieldbus) -> None:
    sensor = guarded.open(f"modbus+tcp://127.0.0.1:{free_port()}", "light-sensor")
    assert (await sensor.read(LIGHT)).quality.tolist() == [Quality.MISSING]


@pytest.mark.parametrize(
    "body",
    [b"", b"\x0e", b"\x0e\x01\x01\x00\x00\x03\x00\x20Licht", b"\x0d\x01\x01\x00\x00\x00", b"\x0e\x01\x01\xff\x00\x00"],
)
async def test_an_identification_that_cannot_be_read_lets_nothing_through(
    guarded: Fieldbus, serve_raw: ServeRaw, body: bytes
) -> None:
    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        pdu = b"\x2b" + body if request[7] == 0x2B else bytes((4, 4, 0x42, 0xC8, 0, 0))
        writer.write(answer_frame(request, pdu))

    server = await serve_raw(behave)
    sensor = guarded.open(server.url, "light-sensor")
    try:
        batch = await asyncio.wait_for(sensor.read(LIGHT), 20)
    except FailedPrecondition:
        pass
    else:
        assert batch.quality.tolist() == [Quality.MISSING]
    assert all(request[7] == 0x2B for request in server.requests)


async def test_the_last_device_of_an_endpoint_closes_its_connection_with_itself(
    guarded: Fieldbus, serve: Serve
) -> None:
    server = await serve(MEMORY, SIMULATOR)
    sensor = guarded.open(server.url, "light-sensor")
    assert (await sensor.read(LIGHT)).complete
    await sensor.close()
    await sensor.close()
    assert sensor.health().state is DeviceState.CLOSED
    await eventually(lambda: server.connections == 0)


async def test_writes_to_the_simulator_pass(guarded: Fieldbus, serve: Serve) -> None:
    server = await serve(MEMORY, SIMULATOR)
    lamps = guarded.open(server.url, "generic-level-status")
    (result,) = await lamps.write([(PointAddress("level_command", 0), 500)])
    assert result.outcome is WriteOutcome.CONFIRMED
