"""OPC UA across interruptions: restarts with other namespace numbers, forgotten sessions, floods, endless messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.ua.object_ids import ObjectIds

from fieldbus.client import Fieldbus
from fieldbus.device import Alarm, Limits
from fieldbus.opcua import OpcUaDevice
from fieldbus.values import DeviceState, PointAddress, Quality, ValueBatch, WriteOutcome
from tests.fieldbus.opcua_servers import Plant
from tests.fieldbus.servers import NOON, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = Limits(
    connect_timeout_s=1.5,
    request_timeout_s=1.0,
    confirm_timeout_s=0.2,
    confirm_interval_s=0.02,
    backoff_initial_s=0.05,
    backoff_max_s=0.1,
    poll_interval_s=0.02,
    watchdog_interval_s=0.5,
)
POWER = PointAddress("lamp_power", 1)
LEVEL = PointAddress("level_command", 1)


@pytest_asyncio.fixture(loop_scope="module")
async def bus() -> AsyncIterator[Fieldbus]:
    bus = Fieldbus(now=lambda: NOON, limits=LIMITS, uniform=lambda: 0.5)
    yield bus
    await bus.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plant() -> AsyncIterator[Plant]:
    plant = Plant(lamps=3)
    await plant.start()
    yield plant
    await plant.stop()


def opened(bus: Fieldbus, plant: Plant) -> OpcUaDevice:
    device = bus.open(plant.url, "opcua-lamp")
    assert isinstance(device, OpcUaDevice)
    return device


async def sessions(plant: Plant) -> list[Any]:
    assert plant.server.bserver is not None
    processors = [client.processor for client in plant.server.bserver.clients]
    return [each.session for each in processors if each is not None and each.session is not None]


async def test_a_session_that_the_server_forgot_is_replaced_within_the_same_read(plant: Plant, bus: Fieldbus) -> None:
    device = opened(bus, plant)
    assert (await device.read([POWER])).complete
    await forget(plant)
    assert (await device.read([POWER])).complete, device.health().last_error
    assert device.health().counters.exceptions == 1, "the server did refuse the old session"


async def test_a_command_that_a_forgotten_session_kept_from_happening_is_sent_again(
    plant: Plant, bus: Fieldbus
) -> None:
    device = opened(bus, plant)
    await device.read([POWER])
    await forget(plant)
    (result,) = await device.write([(LEVEL, 350)])
    assert result.outcome is WriteOutcome.CONFIRMED, result
    assert await plant.node("Lamp.1.Level").read_value() == 35.0


async def forget(plant: Plant) -> None:
    """What a server does when a session's time is over."""
    for session in await sessions(plant):
        await session.close_session()


async def test_a_restart_with_other_namespace_numbers_is_survived_by_everything(bus: Fieldbus) -> None:
    plant = Plant(lamps=2)
    await plant.start()
    device = opened(bus, plant)
    told: dict[PointAddress, Quality] = {}

    def heard(batch: ValueBatch) -> None:
        told.update(zip(batch.points, map(Quality, batch.quality.tolist()), strict=True))

    alarms: list[Alarm] = []
    await device.subscribe([POWER], heard)
    await device.watch_alarms(alarms.append)
    await eventually(lambda: told == {POWER: Quality.GOOD})
    before = plant.namespace
    await events_watched(plant)
    await raise_alarm(plant, "LampFailure")
    await eventually(lambda: len(alarms) == 1)

    await plant.stop()
    await eventually(lambda: told == {POWER: Quality.MISSING})
    plant.namespaces_before = ("urn:a", "urn:b", "urn:c", "urn:d")
    await plant.start()
    assert plant.namespace != before
    await eventually(lambda: told == {POWER: Quality.GOOD})
    assert (await device.read([POWER])).complete
    await events_watched(plant)
    await raise_alarm(plant, "GearFailure")
    await eventually(lambda: len(alarms) == 3)
    gone, new = alarms[1:]
    assert gone == replace(alarms[0], active=False, at=NOON), "it went away while nobody could hear it"
    assert new.condition.endswith("s=Alarm.GearFailure")
    await device.close()
    await plant.stop()


async def events_watched(plant: Plant) -> None:
    service = plant.server.iserver.subscription_service
    await eventually(lambda: any(sub.monitored_item_srv._monitored_events for sub in service.subscriptions.values()))


async def raise_alarm(plant: Plant, name: str) -> None:
    kind = plant.server.get_node(ua.NodeId(ua.Int32(ObjectIds.OffNormalAlarmType)))
    generator = await plant.server.get_event_generator(kind)
    generator.event.NodeId = plant.id(f"Alarm.{name}")
    generator.event.Retain = True
    setattr(generator.event, "ActiveState/Id", True)
    await generator.trigger(message=name)


async def test_sessions_are_given_back(plant: Plant, bus: Fieldbus) -> None:
    device = opened(bus, plant)
    await device.subscribe([POWER], lambda batch: None)
    await device.read([POWER])
    assert await sessions(plant)
    await device.close()
    assert plant.server.bserver is not None
    await eventually(lambda: not plant.server.bserver.clients)  # type: ignore[union-attr]
    assert not plant.server.iserver.subscription_service.subscriptions


async def test_a_flood_of_changes_waits_at_the_server_and_not_in_our_memory(plant: Plant, bus: Fieldbus) -> None:
    """While the callback is busy, the server can send no more than the publish requests that lie with it."""
    device = opened(bus, plant)
    batches: list[ValueBatch] = []
    await device.subscribe([POWER], batches.append)
    await eventually(lambda: len(batches) == 1)
    for value in range(2000):
        await plant.set("Lamp.1.Power", float(value % 100))
    await plant.set("Lamp.1.Power", 77.0)
    await eventually(lambda: batches[-1].value(POWER) == 77)
    assert len(batches) < 2000, "of what changed faster than we asked, the last is told"
    session = await device._link.session()
    assert session.publisher.outstanding <= 2


@pytest.mark.parametrize("answer", [b"ACKF\xff\xff\xff\xff", b"MSGF\x00\x00\x00\x10\x01\x00\x00\x00"])
async def test_a_message_without_end_is_not_waited_for(bus: Fieldbus, answer: bytes) -> None:
    sent = 0
    hung_up = asyncio.Event()

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.read(100)
        writer.write(answer)
        try:
            while not hung_up.is_set():
                writer.write(bytes(65536))
                sent += 65536
                await writer.drain()
        except OSError:
            hung_up.set()

    stranger = await asyncio.start_server(pour, "127.0.0.1", 0)
    device = bus.open(f"opc.tcp://127.0.0.1:{stranger.sockets[0].getsockname()[1]}", "opcua-lamp")
    assert (await device.read([POWER])).quality.tolist() == [Quality.MISSING]
    assert device.health().state is DeviceState.BACKING_OFF
    async with asyncio.timeout(5):
        await hung_up.wait()
    assert sent < 32 * 1024 * 1024
    stranger.close()
