"""Subscriptions on OPC UA: deadbands, queues, several sessions and requests at a time, servers that say no."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.internal_session import InternalSession
from asyncua.ua.status_codes import StatusCodes

from fieldbus.client import Fieldbus
from fieldbus.device import AlarmSource, Limits
from fieldbus.format.toml_source import TomlSource
from fieldbus.opcua import items as opcua_items
from fieldbus.opcua import shards as opcua_shards
from fieldbus.opcua.subscription import OpcUaSubscription
from fieldbus.profile_loader import PROFILES_DIRECTORY, profile_from_toml
from fieldbus.values import DeviceState, PointAddress, Quality, TimeSource, ValueBatch, unix_ms
from tests.fieldbus.opcua_servers import Plant
from tests.fieldbus.servers import NOON, eventually
from tests.support.patient_loop import loop_time

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = Limits(
    connect_timeout_s=2.0, request_timeout_s=1.0, backoff_initial_s=0.05, backoff_max_s=0.1, poll_interval_s=0.02
)
POWER = PointAddress("lamp_power", 0)
FAILURE = PointAddress("lamp_failure", 0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plant() -> AsyncIterator[Plant]:
    plant = Plant(lamps=12)

    async def times(here: Plant) -> None:
        await here.server.nodes.objects.add_variable(
            here.id("Clock"), "Clock", ua.Variant(NOON, ua.VariantType.DateTime)
        )

        await here.server.nodes.objects.add_variable(here.id("Serial"), "Serial", "SN-4711")

    plant.build = times
    await plant.start()
    yield plant
    await plant.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def bus() -> AsyncIterator[Fieldbus]:
    bus = Fieldbus(now=lambda: NOON, limits=LIMITS, monotonic=loop_time)
    yield bus
    await bus.close()


def profile(*replacements: tuple[str, str]) -> Any:
    text = (PROFILES_DIRECTORY / "opcua-lamp.toml").read_text(encoding="utf-8").replace('"opcua-lamp"', '"varied"')
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return profile_from_toml(TomlSource("varied.toml", text))


POWER_NODE = 'node = "s=Lamp.{index}.Power"'


class Heard:
    """What a subscription told, row by row."""

    def __init__(self) -> None:
        self.rows: list[tuple[PointAddress, float, Quality]] = []
        self.batches: list[ValueBatch] = []

    def __call__(self, batch: ValueBatch) -> None:
        self.batches.append(batch)
        for row, point in enumerate(batch.points):
            self.rows.append((point, float(batch.values[row]), Quality(int(batch.quality[row]))))

    def values(self, point: PointAddress) -> list[float]:
        return [value for where, value, _ in self.rows if where == point]


async def test_changes_smaller_than_the_deadband_are_not_told(plant: Plant, bus: Fieldbus) -> None:
    await plant.set("Lamp.0.Power", 10.0)
    described = profile((POWER_NODE, POWER_NODE + "\ndeadband = { absolute = 2.0 }"))
    heard = Heard()
    subscription = await bus.open(plant.url, described).subscribe([POWER], heard)
    await eventually(lambda: heard.values(POWER) == [10])
    for value in (11.0, 11.5, 15.0):
        await plant.set("Lamp.0.Power", value)
        await asyncio.sleep(0)
    await eventually(lambda: heard.values(POWER)[-1] == 15)
    assert heard.values(POWER) == [10, 15]
    await subscription.cancel()


async def test_a_server_without_deadbands_reports_everything_and_is_named(
    plant: Plant, bus: Fieldbus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's answer is that of servers for which a node has no range: per cent of nothing."""
    create = InternalSession.create_monitored_items

    async def refuse(self: Any, params: Any) -> Any:
        # What is sent without a filter is read as an empty object, not as None.
        refused = [hasattr(item.RequestedParameters.Filter, "DeadbandType") for item in params.ItemsToCreate]
        results = await create(self, params)
        for result, is_refused in zip(results, refused, strict=True):
            if is_refused:
                result.StatusCode = ua.StatusCode(ua.UInt32(StatusCodes.BadDeadbandFilterInvalid))
        return results

    monkeypatch.setattr(InternalSession, "create_monitored_items", refuse)
    await plant.set("Lamp.0.Power", 10.0)
    device = bus.open(plant.url, profile((POWER_NODE, POWER_NODE + "\ndeadband = { percent = 5.0 }")))
    heard = Heard()
    await device.subscribe([POWER], heard)
    await eventually(lambda: heard.values(POWER)[-1:] == [10])
    await plant.set("Lamp.0.Power", 10.1)
    await eventually(lambda: heard.values(POWER)[-1] == 10.1)
    await eventually(lambda: "without deadband" in device.health().last_error)
    assert "BadDeadbandFilterInvalid" in device.health().last_error
    assert all(batch.quality[0] == Quality.GOOD for batch in heard.batches)


async def test_a_state_that_changed_and_changed_back_is_told_in_its_order(plant: Plant, bus: Fieldbus) -> None:
    heard = Heard()
    await plant.set("Lamp.0.LampFailure", False, ua.VariantType.Boolean)
    await bus.open(plant.url, "opcua-lamp").subscribe([FAILURE], heard, interval_s=0.2)
    await eventually(lambda: heard.values(FAILURE) == [0])
    for value in (True, False):
        await plant.set("Lamp.0.LampFailure", value, ua.VariantType.Boolean)
    await eventually(lambda: len(heard.values(FAILURE)) == 3)
    assert heard.values(FAILURE) == [0, 1, 0]
    assert all(len(set(batch.points)) == len(batch) for batch in heard.batches), "no batch holds a point twice"


async def test_an_overflowing_queue_is_counted_and_the_value_stays_good(plant: Plant, bus: Fieldbus) -> None:
    heard = Heard()
    device = bus.open(plant.url, "opcua-lamp")
    await device.subscribe([POWER], heard)
    await eventually(lambda: len(heard.rows) == 1)
    assert device.health().counters.overflows == 0
    await plant.set("Lamp.0.Power", 33.0, StatusCode=ua.StatusCode(ua.UInt32(0x0000_0480)))
    await eventually(lambda: heard.rows[-1] == (POWER, 33.0, Quality.GOOD))
    assert device.health().counters.overflows == 1


async def test_the_time_may_stand_in_a_node_of_its_own(plant: Plant, bus: Fieldbus) -> None:
    measured = NOON - timedelta(minutes=3)
    await plant.set("Clock", measured, ua.VariantType.DateTime)
    await plant.set("Lamp.0.Power", 21.0)
    device = bus.open(plant.url, profile((POWER_NODE, POWER_NODE + '\ntimestamp_node = "s=Clock"')))
    batch = await device.read([POWER])
    assert batch.observed_at.tolist() == [unix_ms(measured)]
    assert batch.time_source.tolist() == [TimeSource.DEVICE]
    heard = Heard()
    await device.subscribe([POWER], heard)
    await eventually(lambda: len(heard.rows) == 1)
    assert heard.batches[0].observed_at.tolist() == [unix_ms(measured)]
    await plant.set(
        "Clock", measured, ua.VariantType.DateTime, StatusCode=ua.StatusCode(ua.UInt32(StatusCodes.BadDeviceFailure))
    )
    assert (await device.read([POWER])).quality.tolist() == [Quality.UNCERTAIN], "nobody knows how old it is"


async def test_a_time_that_stands_still_makes_a_value_uncertain(plant: Plant, bus: Fieldbus) -> None:
    await plant.set("Lamp.0.Power", 21.0)
    device = bus.open(plant.url, profile(("[index]", "[freshness]\nfrozen_after = 2\n\n[index]")))
    seen = [(await device.read([POWER])).quality_of(POWER) for _ in range(4)]
    assert seen == [Quality.GOOD, Quality.GOOD, Quality.UNCERTAIN, Quality.UNCERTAIN]
    await plant.set("Lamp.0.Power", 21.0, SourceTimestamp=NOON + timedelta(seconds=1))
    assert (await device.read([POWER])).quality_of(POWER) is Quality.GOOD


async def test_many_items_are_spread_over_subscriptions_and_sessions(
    plant: Plant, bus: Fieldbus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opcua_shards, "ITEMS_PER_SESSION", 5)
    monkeypatch.setattr(opcua_items, "_ITEMS_PER_SUBSCRIPTION", 2)
    points = [PointAddress("lamp_power", lamp) for lamp in range(12)]
    heard = Heard()
    subscription = await bus.open(plant.url, "opcua-lamp").subscribe(points, heard)
    await eventually(lambda: {point for point, _, _ in heard.rows} == set(points))
    assert isinstance(subscription, OpcUaSubscription)
    assert subscription.sessions == 3
    assert {quality for _, _, quality in heard.rows} == {Quality.GOOD}
    for lamp in range(12):
        await plant.set(f"Lamp.{lamp}.Power", 70.0 + lamp)
    await eventually(lambda: all(heard.values(point)[-1] == 70 + lamp for lamp, point in enumerate(points)))
    await subscription.cancel()
    await bus.close()
    listening = plant.server.bserver
    assert listening is not None
    await eventually(lambda: not listening.clients)


async def test_items_a_session_has_no_room_for_go_to_another(
    plant: Plant, bus: Fieldbus, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = InternalSession.create_monitored_items
    taken: dict[int, int] = {}

    async def at_most_three(self: Any, params: Any) -> Any:
        room = 3 - taken.get(id(self), 0)
        results = await create(self, params)
        for position, result in enumerate(results):
            if position >= room:
                result.StatusCode = ua.StatusCode(ua.UInt32(StatusCodes.BadTooManyMonitoredItems))
        taken[id(self)] = taken.get(id(self), 0) + min(room, len(results))
        return results

    monkeypatch.setattr(InternalSession, "create_monitored_items", at_most_three)
    points = [PointAddress("lamp_power", lamp) for lamp in range(7)]
    heard = Heard()
    await bus.open(plant.url, "opcua-lamp").subscribe(points, heard)
    await eventually(lambda: {point for point, _, quality in heard.rows if quality is Quality.GOOD} == set(points))


async def test_subscriptions_a_session_has_no_room_for_go_to_another(
    plant: Plant, bus: Fieldbus, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = InternalSession.create_subscription
    taken: set[int] = set()

    async def one_each(self: Any, *args: Any, **more: Any) -> Any:
        if id(self) in taken:
            raise ServiceError(StatusCodes.BadTooManySubscriptions)
        taken.add(id(self))
        return await create(self, *args, **more)

    monkeypatch.setattr(InternalSession, "create_subscription", one_each)
    monkeypatch.setattr(opcua_items, "_ITEMS_PER_SUBSCRIPTION", 3)
    points = [PointAddress("lamp_power", lamp) for lamp in range(7)]
    heard = Heard()
    subscription = await bus.open(plant.url, "opcua-lamp").subscribe(points, heard)
    await eventually(lambda: {point for point, _, quality in heard.rows if quality is Quality.GOOD} == set(points))
    assert isinstance(subscription, OpcUaSubscription)
    assert subscription.sessions == 3


async def test_a_point_that_the_server_does_not_have_is_bad_and_does_not_hurt_the_others(
    plant: Plant, bus: Fieldbus
) -> None:
    heard = Heard()
    device = bus.open(plant.url, "opcua-lamp")
    await device.subscribe([POWER, PointAddress("lamp_power", 900)], heard)
    await eventually(lambda: len(heard.rows) == 2)
    assert {(point.index, quality) for point, _, quality in heard.rows} == {(0, Quality.GOOD), (900, Quality.BAD)}
    assert "BadNodeIdUnknown" in device.health().last_error


async def test_several_publish_requests_lie_with_the_server(plant: Plant, bus: Fieldbus) -> None:
    device = bus.open(plant.url, "opcua-lamp")
    heard = Heard()
    await device.subscribe([POWER], heard)
    await device.subscribe([FAILURE], heard)
    await eventually(lambda: len(heard.rows) == 2)
    session = await device._link.session()  # type: ignore[attr-defined]
    assert session.publisher.outstanding == 3


async def test_texts_come_as_texts(plant: Plant, bus: Fieldbus) -> None:
    text = """
[points.serial_number]
node = "s=Serial"
type = "string"

[points.level_command]"""
    number = PointAddress("serial_number")
    device = bus.open(plant.url, profile(("\n[points.level_command]", text)))
    heard = Heard()
    await device.subscribe([number, POWER], heard)
    await eventually(lambda: len(heard.rows) == 2)
    for batch in (await device.read([POWER, number]), *(b for b in heard.batches if number in b.points)):
        assert batch.text(number) == "SN-4711"
        assert batch.quality_of(number) is Quality.GOOD
    await plant.set("Serial", "", ua.VariantType.String, StatusCode=ua.StatusCode(ua.UInt32(StatusCodes.BadNoData)))
    assert (await device.read([number])).quality.tolist() == [Quality.BAD]


async def test_bytes_are_counted(plant: Plant, bus: Fieldbus) -> None:
    device = bus.open(plant.url, "opcua-lamp")
    await device.read([POWER])
    before = device.health().counters
    await device.read([POWER])
    after = device.health().counters
    assert 50 < after.bytes_sent - before.bytes_sent < 300
    assert 50 < after.bytes_received - before.bytes_received < 300


async def test_a_device_that_only_reports_is_online(plant: Plant, bus: Fieldbus) -> None:
    device = bus.open(plant.url, "opcua-lamp")
    heard = Heard()
    await device.subscribe([POWER], heard)
    await eventually(lambda: len(heard.rows) == 1)
    assert device.health().state is DeviceState.ONLINE
    assert device.health().seconds_since_answer is not None


async def test_a_device_that_is_only_watched_for_alarms_is_online(plant: Plant, bus: Fieldbus) -> None:
    device = bus.open(plant.url, "opcua-lamp")
    assert isinstance(device, AlarmSource)
    assert device.health().state is DeviceState.UNTRIED
    await device.watch_alarms(lambda alarm: None)
    await eventually(lambda: device.health().state is DeviceState.ONLINE)
