"""The shortest way of reading gives what the general way gives, also when something goes wrong on it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from fieldbus.client import Fieldbus
from fieldbus.format.toml_source import TomlSource
from fieldbus.modbus.device import ModbusDevice
from fieldbus.modbus.unit import ModbusUnit
from fieldbus.profile import Profile
from fieldbus.profile_loader import profile_from_toml
from fieldbus.values import DeviceState, PointAddress, Quality, ValueBatch
from tests.fieldbus.conftest import Serve, ServeRaw
from tests.fieldbus.servers import Manual, answer_frame, eventually, registers_pdu

METER = """
[profile]
name = "meter"
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
[points.frequency]
address = 2
type = "uint16"
[points.energy_active_import]
address = 4
type = "uint32"
scale = 10
"""


def meter() -> tuple[Profile, tuple[PointAddress, ...]]:
    profile = profile_from_toml(TomlSource("meter.toml", METER))
    return profile, tuple(PointAddress(name) for name in profile.points)


def assert_equal(one: ValueBatch, other: ValueBatch) -> None:
    assert tuple(one.points) == tuple(other.points)
    for name in ("values", "quality", "observed_at", "time_source"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype
    assert dict(one.texts) == dict(other.texts)


async def read_both_ways(
    fieldbus: Fieldbus, serve: Serve, words: list[int], monkeypatch: pytest.MonkeyPatch
) -> tuple[ModbusDevice, list[ValueBatch], int]:
    """A device, its batches on the general way and on the shortest one, and how often the latter was taken."""
    profile, points = meter()
    server = await serve({1: {"holding": {0: words}}})
    device = fieldbus.open(server.url, profile)
    assert isinstance(device, ModbusDevice)
    begun: list[bool] = []
    begin = ModbusUnit.begin

    def watched(*arguments: object) -> object:
        answer = begin(*arguments)  # type: ignore[arg-type]
        begun.append(answer is not None)
        return answer

    monkeypatch.setattr(ModbusUnit, "begin", watched)
    batches = [await device.read(points) for _ in range(3)]
    assert begun == [False, True, True], "the first reading connects, which is not the shortest way"
    return device, batches, len(server.requests)


@pytest.mark.parametrize(
    "words", [[0] * 20, [1, 2, 50, 4, 5, 6, 7, 0x8000, 9] + [0] * 9, [0xFFFF] * 20], ids=["zero", "usual", "highest"]
)
async def test_both_ways_give_equal_batches(
    fieldbus: Fieldbus, serve: Serve, words: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    device, (general, *direct), requests = await read_both_ways(fieldbus, serve, words, monkeypatch)
    for batch in direct:
        assert_equal(batch, general)
    counters = device.health().counters
    assert (requests, counters.requests, counters.answers) == (3, 3, 3)
    assert counters.bytes_received == 3 * (7 + 2 + 12)
    assert device.health().state is DeviceState.ONLINE


async def test_two_readings_of_one_device_at_once_take_turns_whichever_way_they_go(
    fieldbus: Fieldbus, serve: Serve
) -> None:
    profile, points = meter()
    server = await serve({1: {"holding": {0: [7] * 20}}})
    device = fieldbus.open(server.url, profile)
    await device.read(points)
    batches = await asyncio.gather(*(device.read(points) for _ in range(5)))
    assert all(batch.values.tolist() == batches[0].values.tolist() for batch in batches)
    assert len(server.requests) == 6


async def spoilt(request: bytes, writer: asyncio.StreamWriter, fault: str) -> None:
    if fault == "refused":
        writer.write(answer_frame(request, bytes((request[7] | 0x80, 4))))
    elif fault == "too short":
        writer.write(answer_frame(request, registers_pdu(request, 7)[:-2]))
    elif fault == "miscounted":
        writer.write(answer_frame(request, bytes((request[7], 2)) + registers_pdu(request, 7)[2:]))
    elif fault == "closed":
        writer.close()


@pytest.mark.parametrize(
    ("fault", "found", "requests"),
    [
        ("refused", Quality.BAD, 3),
        ("too short", Quality.MISSING, 3),
        ("miscounted", Quality.MISSING, 3),
        ("silent", Quality.MISSING, 3),
        ("closed", Quality.GOOD, 4),  # asked once more over a new connection
    ],
)
async def test_what_goes_wrong_on_the_shortest_way_ends_as_on_the_general_one(
    fieldbus: Fieldbus, serve_raw: ServeRaw, clock: Manual, fault: str, found: Quality, requests: int
) -> None:
    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        if len(server.requests) == 2:
            await spoilt(request, writer, fault)
        else:
            writer.write(answer_frame(request, registers_pdu(request, 7)))

    server = await serve_raw(behave)
    profile, points = meter()
    device = fieldbus.open(server.url, profile)
    assert (await device.read(points)).complete
    batch = await device.read(points)
    assert set(batch.quality.tolist()) == {found}
    clock.seconds += 60  # whatever back-off there is
    assert (await device.read(points)).complete
    assert len(server.requests) == requests
    assert device.health().state is DeviceState.ONLINE


async def test_who_stops_waiting_on_the_shortest_way_leaves_the_bus_free(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        if len(server.requests) != 2:
            writer.write(answer_frame(request, registers_pdu(request, 7)))

    server = await serve_raw(behave)
    profile, points = meter()
    device = fieldbus.open(server.url, profile)
    await device.read(points)
    reading = asyncio.create_task(device.read(points))
    await eventually(lambda: len(server.requests) == 2)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert (await device.read(points)).complete
