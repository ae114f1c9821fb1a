"""What node-opcua, which nobody here wrote, has beyond good values: bad and stale ones, methods, history, alarms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from fieldbus.client import Fieldbus
from fieldbus.device import Alarm, AlarmSource, Browser, Device, HistoryReader
from fieldbus.profile_loader import load_profile, load_profile_file
from fieldbus.values import PointAddress, Quality, TimeSource, WriteOutcome, from_unix_ms
from tests.fieldbus.contract import LAMPS, LIMITS
from tests.fieldbus.servers import NOON
from tests.peers.nodes import NodeOpcua

pytestmark = [pytest.mark.long, pytest.mark.peers, pytest.mark.asyncio(loop_scope="module")]

GOOD_OVERRIDE = 0x00960000
UNCERTAIN_LAST_USABLE, UNCERTAIN_SENSOR = 0x40900000, 0x40930000
BAD_NO_COMMUNICATION, BAD_DEVICE_FAILURE, BAD_WAITING = 0x80310000, 0x808B0000, 0x80320000
POWER = PointAddress("lamp_power", 0)
RECORDED = 40  # the lamp with a past and an alarm
METHODS = load_profile_file(Path(__file__).parent / "method-lamp.toml")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[NodeOpcua]:
    server = NodeOpcua()
    await server.start()
    yield server
    await server.close()


@pytest_asyncio.fixture(loop_scope="module")
async def fieldbus(server: NodeOpcua) -> AsyncIterator[Fieldbus]:
    for lamp in range(LAMPS):
        await server.put(lamp, "Power", 12.5)
        await server.put(lamp, "Level", 50.0)
    bus = Fieldbus(now=lambda: NOON, limits=LIMITS, uniform=lambda: 0.5)
    yield bus
    await bus.close()


@pytest_asyncio.fixture(loop_scope="module")
async def lamps(server: NodeOpcua, fieldbus: Fieldbus) -> Device:
    return fieldbus.open(server.url, load_profile("opcua-lamp"))


@pytest_asyncio.fixture(loop_scope="module")
async def method_lamps(server: NodeOpcua, fieldbus: Fieldbus) -> Device:
    return fieldbus.open(server.url, METHODS)


# --- quality ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "quality"),
    [
        (0, Quality.GOOD),
        (GOOD_OVERRIDE, Quality.GOOD),
        (UNCERTAIN_LAST_USABLE, Quality.UNCERTAIN),
        (UNCERTAIN_SENSOR, Quality.UNCERTAIN),
        (BAD_NO_COMMUNICATION, Quality.BAD),
        (BAD_DEVICE_FAILURE, Quality.BAD),
        (BAD_WAITING, Quality.BAD),
    ],
)
async def test_a_status_becomes_a_quality(server: NodeOpcua, lamps: Device, status: int, quality: Quality) -> None:
    await server.put(0, "Power", 33.5, status=status)
    batch = await lamps.read([POWER, PointAddress("lamp_power", 1)])
    assert batch.quality_of(POWER) is quality
    assert batch.quality[1] == Quality.GOOD
    assert (POWER in batch.as_dict()) == (quality is not Quality.BAD)
    if quality is not Quality.BAD:
        assert batch.value(POWER) == 33.5


async def test_the_sources_time_is_kept_however_old(server: NodeOpcua, lamps: Device) -> None:
    written = NOON - timedelta(days=40)
    await server.put(0, "Power", 20.0, source_time=written)
    batch = await lamps.read([POWER])
    assert from_unix_ms(int(batch.observed_at[0])) == written
    assert batch.time_source[0] == TimeSource.DEVICE


async def test_an_old_value_is_uncertain_where_the_profile_says_so(server: NodeOpcua, method_lamps: Device) -> None:
    await server.put(0, "Power", 20.0, source_time=NOON - timedelta(seconds=601))
    await server.put(1, "Power", 20.0, source_time=NOON - timedelta(seconds=599))
    batch = await method_lamps.read([POWER, PointAddress("lamp_power", 1)])
    assert [Quality(q) for q in batch.quality.tolist()] == [Quality.UNCERTAIN, Quality.GOOD]
    assert batch.values.tolist() == [20, 20]


async def test_a_time_that_stands_still_makes_a_value_uncertain(server: NodeOpcua, method_lamps: Device) -> None:
    points = (PointAddress("lamp_power", 2), PointAddress("lamp_power", 3))
    qualities = []
    for step in range(6):
        await server.put(3, "Power", 12.5, source_time=NOON - timedelta(seconds=60 - step))
        qualities.append((await method_lamps.read(points)).quality.tolist())
    assert [quality for _, quality in qualities] == [Quality.GOOD] * 6
    assert qualities[0][0] == Quality.GOOD
    assert qualities[-1][0] == Quality.UNCERTAIN


async def test_a_subscription_tells_of_quality_too(server: NodeOpcua, lamps: Device) -> None:
    seen: asyncio.Queue[tuple[Quality, float]] = asyncio.Queue()
    subscription = await lamps.subscribe(
        [POWER], lambda batch: seen.put_nowait((batch.quality_of(POWER), batch.value(POWER)))
    )
    async with asyncio.timeout(10):
        assert await seen.get() == (Quality.GOOD, 12.5)
        await server.put(0, "Power", 12.5, status=BAD_NO_COMMUNICATION)
        assert (await seen.get())[0] is Quality.BAD
        await server.put(0, "Power", 40.0, status=UNCERTAIN_LAST_USABLE)
        assert await seen.get() == (Quality.UNCERTAIN, 40.0)
        await server.put(0, "Power", 41.0)
        assert await seen.get() == (Quality.GOOD, 41.0)
    await subscription.cancel()


# --- methods ------------------------------------------------------------------------------------------------------


async def test_a_command_by_method_is_confirmed(server: NodeOpcua, method_lamps: Device) -> None:
    writes = [(PointAddress("level_command", lamp), 200.0 + 100 * lamp) for lamp in range(LAMPS)]
    results = await method_lamps.write(writes)
    assert [result.outcome for result in results] == [WriteOutcome.CONFIRMED] * LAMPS
    assert [await server.get(lamp, "Level") for lamp in range(LAMPS)] == [20, 30, 40, 50]


async def test_a_method_that_refuses_gives_its_reason_and_the_others_go_through(
    server: NodeOpcua, method_lamps: Device
) -> None:
    results = await method_lamps.write([(PointAddress("level_command", lamp), 950.0) for lamp in (0, 1, 2)])
    assert [result.outcome for result in results] == [
        WriteOutcome.CONFIRMED,
        WriteOutcome.REFUSED,
        WriteOutcome.CONFIRMED,
    ]
    assert "BadInvalidState" in results[1].reason
    assert await server.get(1, "Level") == 50


# --- history, alarms, browsing ------------------------------------------------------------------------------------


async def test_recorded_values_fill_a_gap(server: NodeOpcua, lamps: Device) -> None:
    assert isinstance(lamps, HistoryReader)
    # This server takes new values only, and begins with one of now.
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    expected = []
    for minute in range(0, 90, 15):
        at = start + timedelta(minutes=minute)
        await server.put(RECORDED, "ActualLevel", 10.0 + minute, source_time=at)
        expected.append((at, 100.0 + 10 * minute))
    level = PointAddress("level_actual", RECORDED)
    batches = await lamps.history([level], start, start + timedelta(minutes=75))
    found = [
        (from_unix_ms(int(at)), float(value))
        for batch in batches
        for at, value in zip(batch.observed_at, batch.values, strict=True)
    ]
    assert found == expected[:5]
    assert all(batch.complete and set(batch.time_source) == {TimeSource.DEVICE} for batch in batches)


async def test_an_alarm_is_told_when_it_comes_and_when_it_goes(server: NodeOpcua, lamps: Device) -> None:
    assert isinstance(lamps, AlarmSource)
    alarms: asyncio.Queue[Alarm] = asyncio.Queue()
    subscription = await lamps.watch_alarms(alarms.put_nowait)

    async def told(active: bool) -> Alarm:
        while True:
            alarm = await alarms.get()
            if alarm.active is active and alarm.condition:
                return alarm

    async with asyncio.timeout(20):
        # Whether the watch stands before or after the alarm: what stands is told first.
        await server.put(RECORDED, "Power", 250.0)
        raised = await told(active=True)
        await server.put(RECORDED, "Power", 12.5)
        ended = await told(active=False)
    await subscription.cancel()
    assert raised.condition == ended.condition
    assert f"Lamp.{RECORDED}" in raised.source
    assert raised.severity > 0
    assert not raised.acknowledged


async def test_the_servers_objects_are_listed(lamps: Device) -> None:
    assert isinstance(lamps, Browser)
    names = {node.name for node in await lamps.browse()}
    assert {f"Lamp.{lamp}" for lamp in range(LAMPS)} <= names
    nodes = {node.name: node for node in await lamps.browse("nsu=urn:lichtbuch:lamp;s=Lamp.0")}
    assert (nodes["Power"].kind, nodes["Power"].writable) == ("variable", False)
    assert (nodes["Level"].kind, nodes["Level"].writable) == ("variable", True)
    assert nodes["SetLevel"].kind == "method"
