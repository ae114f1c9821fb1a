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
from fieldbus.opcua import pulse as opcua_pulse
from fieldbus.opcua import shards as opcua_shards
from fieldbus.opcua.device import OpcUaDevice
from fieldbus.opcua.subscription import OpcUaSubscription
from fieldbus.values import DeviceState, PointAddress, Quality, ValueBatch, WriteOutcome
from tests.fieldbus.opcua_servers import Plant
from tests.fieldbus.servers import NOON, eventually
from tests.support.patient_loop import loop_time

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
    bus = Fieldbus(now=lambda: NOON, limits=LIMITS, uniform=lambda: 0.5, monotonic=loop_time)
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
    await eventually(lambda: len(alarms) == 2)  # told at the end of the refresh: the next one comes after it
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
    async with asyncio.timeout(20):
        await hung_up.wait()
    assert sent < 32 * 1024 * 1024
    stranger.close()


async def fall_silent(plant: Plant) -> set[int]:
    """What a server does that lost its subscriptions without noticing: connections stand, requests are answered."""
    subscriptions = plant.server.iserver.subscription_service.subscriptions
    for subscription in subscriptions.values():
        assert subscription._task is not None
        subscription._task.cancel()
    return set(subscriptions)


async def test_subscriptions_that_fall_silent_are_made_anew_on_every_session(
    plant: Plant, bus: Fieldbus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opcua_pulse, "KEEP_ALIVE_S", 0.2)
    monkeypatch.setattr(opcua_shards, "ITEMS_PER_SESSION", 1)
    device = opened(bus, plant)
    told: dict[PointAddress, tuple[Quality, float]] = {}

    def heard(batch: ValueBatch) -> None:
        for row, point in enumerate(batch.points):
            told[point] = Quality(int(batch.quality[row])), float(batch.values[row])

    points = [PointAddress("lamp_power", lamp) for lamp in range(2)]
    subscription = await device.subscribe(points, heard)
    assert isinstance(subscription, OpcUaSubscription)
    assert subscription.sessions == 2
    await eventually(lambda: set(told) == set(points))
    before = await fall_silent(plant)
    for lamp in range(2):
        await plant.set(f"Lamp.{lamp}.Power", 60.0 + lamp)
    await eventually(lambda: told == {point: (Quality.GOOD, 60.0 + row) for row, point in enumerate(points)})
    await eventually(lambda: not before & set(plant.server.iserver.subscription_service.subscriptions))


async def test_alarms_whose_subscription_falls_silent_are_watched_anew(
    plant: Plant, bus: Fieldbus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opcua_pulse, "KEEP_ALIVE_S", 0.2)
    device = opened(bus, plant)
    alarms: list[Alarm] = []
    await device.watch_alarms(alarms.append)
    await events_watched(plant)
    before = await fall_silent(plant)
    await eventually(lambda: not before & set(plant.server.iserver.subscription_service.subscriptions))
    assert "nothing was heard" in device.health().last_error
    await events_watched(plant)
    await raise_alarm(plant, "LampFailure")
    await eventually(lambda: any(alarm.condition.endswith("s=Alarm.LampFailure") for alarm in alarms))
    assert device.health().state is DeviceState.ONLINE
