"""Readings of several blocks, of bits, of many values and of several units on one connection: the short way gives
what the general way gives, asks for the same, counts the same, and stops where the general way has to go on."""

from __future__ import annotations

import asyncio

import pytest

from fieldbus.client import Fieldbus
from fieldbus.format.toml_source import TomlSource
from fieldbus.modbus.unit import ModbusUnit
from fieldbus.profile import Profile
from fieldbus.profile_loader import profile_from_toml
from fieldbus.values import Counters, PointAddress, Quality, ValueBatch
from tests.fieldbus.conftest import FAST, ServeRaw
from tests.fieldbus.servers import Manual, answer_frame, eventually, registers_pdu
from tests.fieldbus.test_direct_read import assert_equal, spoilt

HEAD = """
[profile]
name = "cabinet"
kind = "meter"
vendor = "v"
product = "p"
protocol = "modbus"
source = "none"
[modbus]
"""
THREE_BLOCKS = """
[points.voltage_l1]
address = 700
type = "float32"
[points.frequency]
address = 2
type = "uint16"
[points.energy_active_import]
address = 300
type = "uint32"
scale = 10
"""
WITH_BITS = """
[points.frequency]
address = 2
type = "uint16"
[points.door_open]
address = 7
table = "discrete"
type = "bit"
"""
MANY = """
[points.lamp_power]
address = "1 + 2*index"
type = "uint16"
scale = 0.01
index = [0, 49]
[points.burning_hours]
address = "501 + 2*index"
type = "uint16"
index = [0, 49]
"""
WITH_TEXT = """
[points.serial_number]
address = 5
type = "string"
length = 4
[points.frequency]
address = 200
type = "uint16"
"""
STAMPED = """
[points.energy_active_import]
address = 0
type = "uint32"
timestamp = { address = 900, type = "uint32" }
[freshness]
max_age_s = 600
frozen_after = 2
"""
COMMAND = """
[points.level_command]
address = 9
type = "uint16"
index = [0, 0]
access = "write"
"""
KINDS = {"three blocks": THREE_BLOCKS, "bits": WITH_BITS, "many": MANY, "text": WITH_TEXT, "stamped": STAMPED}


def of(text: str) -> tuple[Profile, tuple[PointAddress, ...]]:
    profile = profile_from_toml(TomlSource("cabinet.toml", HEAD + text))
    points = [
        PointAddress(name, index)
        for name, binding in profile.points.items()
        for index in (range(50) if binding.index_range else (None,))
    ]
    return profile, tuple(points)


Outcome = tuple[list[ValueBatch], list[tuple[int, int, int]], Counters, str]


async def readings(
    fieldbus: Fieldbus, serve_raw: ServeRaw, clock: Manual, text: str, fault: str, at: int, count: int = 4
) -> Outcome:
    """So many readings of a device with a fault at one request; what it was asked, and what was counted."""
    asked: list[tuple[int, int, int]] = []

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append((request[7], request[8] << 8 | request[9], request[10] << 8 | request[11]))
        clock.instant = clock.instant.replace(microsecond=len(asked) * 1000)
        if fault == "late" and len(asked) == at:
            clock.seconds += FAST.read_deadline_s
        if len(asked) == at and fault not in ("none", "late"):
            await spoilt(request, writer, fault)
        elif request[7] == 2:
            writer.write(answer_frame(request, bytes((2, 1, 1))))
        else:
            writer.write(answer_frame(request, registers_pdu(request, 0x3131)))

    server = await serve_raw(behave)
    profile, points = of(text)
    device = fieldbus.open(server.url, profile)
    batches = []
    for _ in range(count):
        batches.append(await device.read(points))
        clock.seconds += 60  # whatever back-off there is
    health = device.health()
    await device.close()
    return batches, asked, health.counters, health.last_error


async def both_ways(
    fieldbus: Fieldbus,
    serve_raw: ServeRaw,
    clock: Manual,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    fault: str = "none",
    at: int = 0,
) -> Outcome:
    """The outcome on the short way, which is the same as on the general one."""
    started = (clock.seconds, clock.instant)
    short = await readings(fieldbus, serve_raw, clock, text, fault, at)
    with monkeypatch.context() as patched:
        patched.setattr(ModbusUnit, "begin", lambda *_: None)
        clock.seconds, clock.instant = started
        general = await readings(fieldbus, serve_raw, clock, text, fault, at)
    for one, other in zip(short[0], general[0], strict=True):
        assert_equal(one, other)
    assert short[1:3] == general[1:3]
    assert short[3] == general[3]
    return short


@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_is_read_both_ways_give_the_same(
    fieldbus: Fieldbus, serve_raw: ServeRaw, clock: Manual, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    batches, *_ = await both_ways(fieldbus, serve_raw, clock, monkeypatch, KINDS[kind])
    assert Quality.MISSING not in batches[-1].quality


@pytest.mark.parametrize("fault", ["refused", "too short", "miscounted", "silent", "closed", "late"])
@pytest.mark.parametrize("block", [1, 2, 3])
async def test_what_goes_wrong_at_any_block_ends_the_same_on_both_ways(
    fieldbus: Fieldbus, serve_raw: ServeRaw, clock: Manual, monkeypatch: pytest.MonkeyPatch, fault: str, block: int
) -> None:
    """In the second reading, the first that may go the short way."""
    await both_ways(fieldbus, serve_raw, clock, monkeypatch, THREE_BLOCKS, fault, 3 + block)


async def test_each_block_bears_the_instant_at_which_it_came(
    fieldbus: Fieldbus, serve_raw: ServeRaw, clock: Manual, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches, *_ = await both_ways(fieldbus, serve_raw, clock, monkeypatch, THREE_BLOCKS)
    assert len(set(batches[-1].observed_at.tolist())) == 3


async def test_a_command_gets_its_turn_between_the_blocks(
    fieldbus: Fieldbus, serve_raw: ServeRaw, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions: list[int] = []
    release = asyncio.Event()

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        functions.append(request[7])
        if len(functions) == 4:
            await release.wait()
        writer.write(answer_frame(request, request[7:12] if request[7] == 6 else registers_pdu(request, 1)))

    server = await serve_raw(behave)
    profile, points = of(THREE_BLOCKS + COMMAND)
    wanted = tuple(point for point in points if point.point != "level_command")
    device = fieldbus.open(server.url, profile)
    await device.read(wanted)
    reading = asyncio.create_task(device.read(wanted))
    await eventually(lambda: len(functions) == 4)
    command = asyncio.create_task(device.write([(PointAddress("level_command", 0), 500.0)], verify=False))
    await asyncio.sleep(0)
    release.set()
    assert (await command)[0].succeeded
    assert (await reading).complete
    assert functions == [3, 3, 3, 3, 6, 3, 3]


async def test_several_units_on_one_connection_go_the_short_way_and_only_the_healthy_ones(
    fieldbus: Fieldbus, serve_raw: ServeRaw, clock: Manual, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = False
    begun: list[tuple[int, bool]] = []
    begin = ModbusUnit.begin

    def watched(self: ModbusUnit, function_code: int, payload: bytes, now: float) -> object:
        answer = begin(self, function_code, payload, now)
        begun.append((self.endpoint.unit, answer is not None))
        return answer

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        if not (silent and request[6] == 2):
            writer.write(answer_frame(request, registers_pdu(request, 1)))

    monkeypatch.setattr(ModbusUnit, "begin", watched)
    server = await serve_raw(behave)
    profile, points = of(THREE_BLOCKS)
    devices = [fieldbus.open(f"{server.url}?unit={unit}", profile) for unit in (1, 2)]
    for device in devices:
        assert (await device.read(points)).complete
    begun.clear()
    for device in devices:
        assert (await device.read(points)).complete
    assert begun == [(1, True)] * 3 + [(2, True)] * 3
    silent = True
    for _ in range(2):
        assert not (await devices[1].read(points)).complete
        clock.seconds += 60
    silent = False
    begun.clear()
    assert (await devices[0].read(points)).complete
    assert begun == [(1, True)] * 3
    begun.clear()
    await devices[1].read(points)
    assert (2, True) not in begun, "a unit that was silent earns its turns on the general way"
