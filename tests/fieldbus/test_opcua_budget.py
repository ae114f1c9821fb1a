"""OPC UA over links that are paid by the byte: what is held back, what always passes, how often signs of life go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.server.internal_session import InternalSession

from domain.errors import InvalidInput
from fieldbus.budget import Budget, MobileLink
from fieldbus.client import Fieldbus
from fieldbus.device import Limits
from fieldbus.faults import OverBudget
from fieldbus.opcua.costs import publishing_interval_s, reported_cost, upkeep_s
from fieldbus.opcua.device import OpcUaDevice
from fieldbus.values import DeviceState, PointAddress, Quality, ValueBatch, WriteOutcome
from tests.fieldbus.opcua_servers import Plant
from tests.fieldbus.servers import NOON, Manual, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = Limits(
    connect_timeout_s=2.0, request_timeout_s=1.0, backoff_initial_s=0.05, backoff_max_s=0.1, poll_interval_s=0.02
)
DAY_S = 86_400.0
POWER = PointAddress("lamp_power", 0)
LEVEL = PointAddress("level_command", 0)
POINTS = tuple(PointAddress("lamp_power", lamp) for lamp in range(12))
# An hour's worth, which is there at the start, carries a session and some readings.
LINK = MobileLink(round_trip_s=0.05, monthly_bytes=8_000_000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plant() -> AsyncIterator[Plant]:
    plant = Plant(lamps=12)
    await plant.start()
    yield plant
    await plant.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def bus(clock: Manual) -> AsyncIterator[Fieldbus]:
    bus = Fieldbus(now=lambda: NOON, limits=LIMITS, monotonic=clock.monotonic, uniform=lambda: 0.5)
    yield bus
    await bus.close()


def opened(bus: Fieldbus, plant: Plant, link: MobileLink | None = LINK) -> OpcUaDevice:
    device = bus.open(plant.url, "opcua-lamp", link=link)
    assert isinstance(device, OpcUaDevice)
    return device


def budget_of(device: OpcUaDevice) -> Budget:
    budget = device._link.budget
    assert budget is not None
    return budget


async def exhaust(device: OpcUaDevice) -> None:
    """Read until nothing more may be read."""
    for _ in range(200):
        if (await device.read(POINTS)).quality_of(POINTS[0]) is Quality.MISSING:
            return
    raise AssertionError("the budget did not end")


async def test_readings_wait_when_their_bytes_are_used_up_and_commands_do_not(
    plant: Plant, bus: Fieldbus, clock: Manual
) -> None:
    device = opened(bus, plant)
    assert (await device.read(POINTS)).complete, device.health().last_error
    await exhaust(device)
    assert "byte budget" in device.health().last_error
    assert device.health().over_budget
    assert device.health().state is DeviceState.ONLINE
    assert device.health().consecutive_failures == 0
    before = budget_of(device).bytes_used
    (result,) = await device.write([(LEVEL, 300)], verify=False)
    assert result.outcome is WriteOutcome.ACCEPTED
    assert 200 < budget_of(device).bytes_used - before < 700, "it is counted all the same"
    clock.seconds += DAY_S
    assert (await device.read(POINTS)).complete


async def test_what_was_never_connected_is_not_connected_to_for_a_reading(
    plant: Plant, bus: Fieldbus, clock: Manual
) -> None:
    device = opened(bus, plant, MobileLink(round_trip_s=0.05, monthly_bytes=100_000))
    heard: list[ValueBatch] = []
    await device.subscribe([POWER], heard.append)
    await device.watch_alarms(lambda alarm: None)
    assert (await device.read([POWER])).quality.tolist() == [Quality.MISSING]
    with pytest.raises(OverBudget, match="next reading in"):
        await device.browse()
    with pytest.raises(OverBudget):
        await device.history([POWER], NOON - timedelta(hours=1), NOON)
    with pytest.raises(OverBudget):
        await device.read_nodes(["i=2258"])
    await eventually(lambda: bool(heard))
    assert heard[0].quality.tolist() == [Quality.MISSING]
    assert budget_of(device).bytes_used == 0
    (result,) = await device.write([(LEVEL, 300)], verify=False)
    assert result.outcome is WriteOutcome.ACCEPTED, "commands pay for their connection"
    assert budget_of(device).bytes_used > 2_000


async def test_all_that_goes_over_the_line_is_counted_with_its_headers(plant: Plant, bus: Fieldbus) -> None:
    device = opened(bus, plant, MobileLink(round_trip_s=0.05, monthly_bytes=100_000_000))
    await device.read(POINTS)
    budget, counters = budget_of(device), device.health().counters
    framed = counters.bytes_sent + counters.bytes_received
    assert framed + 7 * 52 < budget.bytes_used < 3 * framed
    before = budget.bytes_used
    await device.read(POINTS)
    assert budget.bytes_used - before > 12 * 30 + 3 * 52


async def test_the_least_interval_is_that_of_the_bytes_that_a_reading_takes(plant: Plant, bus: Fieldbus) -> None:
    device = opened(bus, plant, MobileLink(round_trip_s=0.05, monthly_bytes=100_000_000))
    await device.read(POINTS)
    budget = budget_of(device)
    before = budget.bytes_used
    await device.read(POINTS)
    sustained_s = budget.pace_s(budget.bytes_used - before)
    assert sustained_s <= device.least_interval_s(POINTS) < 1.6 * sustained_s
    assert device.least_interval_s(()) == 0.0


async def test_without_a_budget_the_round_trip_decides_and_without_a_link_nothing(plant: Plant, bus: Fieldbus) -> None:
    assert opened(bus, plant, None).least_interval_s(POINTS) == 0.0
    far = bus.open("opc.tcp://10.0.0.7", "opcua-lamp", link=MobileLink(round_trip_s=1.5))
    assert isinstance(far, OpcUaDevice)
    assert far.least_interval_s(POINTS) == 1.5


async def test_sessions_of_one_endpoint_share_one_budget(plant: Plant, bus: Fieldbus) -> None:
    one = opened(bus, plant)
    other = bus.open(f"{plant.url}/other", "opcua-lamp")
    assert isinstance(other, OpcUaDevice)
    assert other._link is not one._link
    assert budget_of(other) is budget_of(one)
    assert one._link._sibling().budget is budget_of(one)
    await exhaust(one)
    assert (await other.read(POINTS)).quality.tolist() == [Quality.MISSING] * 12
    assert other.health().last_error.startswith("the byte budget")


async def test_publishing_stops_when_the_bytes_are_used_up_and_goes_on_afterwards(
    plant: Plant, bus: Fieldbus, clock: Manual, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieldbus.opcua.publisher._HELD_MAX_S", 0.02)
    monkeypatch.setattr("fieldbus.opcua.costs._PUBLISHING_SHARE", 1e6)  # as if nothing were stretched
    device = opened(bus, plant)
    heard: list[ValueBatch] = []
    await device.subscribe([POWER], heard.append)
    await eventually(lambda: len(heard) == 1)
    session = await device._link.session()
    await exhaust(device)
    for value in range(6):
        told = len(heard)
        await plant.set("Lamp.0.Power", 50.0 + value)
        if session.publisher.outstanding and value < 2:
            await eventually(lambda told=told: len(heard) > told)  # type: ignore[misc]
    used = budget_of(device).bytes_used
    assert heard[-1].value(POWER) < 55, "what lay with the server was answered, nothing was asked for anew"
    clock.seconds += DAY_S
    await eventually(lambda: heard[-1].value(POWER) == 55)
    assert budget_of(device).bytes_used > used
    assert [batch.quality.tolist() for batch in heard] == [[Quality.GOOD]] * len(heard)


async def test_publishing_and_signs_of_life_are_stretched_so_that_the_link_bears_them() -> None:
    budget = Budget(MobileLink(round_trip_s=2.0, monthly_bytes=20_000_000), Manual().monotonic)
    budget.reported_bytes = reported_cost(40)
    interval_s = publishing_interval_s(budget, 1.0)
    assert 31 * DAY_S / interval_s * reported_cost(40) <= 10_000_000
    assert upkeep_s(budget, 10.0) > 400
    tiny = Budget(MobileLink(round_trip_s=2.0, monthly_bytes=100_000), Manual().monotonic)
    assert upkeep_s(tiny, 10.0) == 1200, "or the server would take the session for gone"
    uncounted = Budget(MobileLink(round_trip_s=2.0), Manual().monotonic)
    assert publishing_interval_s(uncounted, 1.0) == 2.0
    assert upkeep_s(uncounted, 10.0) == upkeep_s(None, 10.0) == 10.0
    assert publishing_interval_s(None, 1.0) == 1.0


async def test_a_server_is_asked_for_what_the_link_bears(
    plant: Plant, bus: Fieldbus, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ua.MonitoredItemCreateRequest] = []
    create = InternalSession.create_monitored_items

    async def listen(self: InternalSession, parameters: ua.CreateMonitoredItemsParameters) -> Any:
        asked.extend(parameters.ItemsToCreate)
        return await create(self, parameters)

    monkeypatch.setattr(InternalSession, "create_monitored_items", listen)
    device = opened(bus, plant)
    heard: list[ValueBatch] = []
    await device.subscribe(POINTS, heard.append)
    await eventually(lambda: bool(plant.server.iserver.subscription_service.subscriptions))
    (subscription,) = plant.server.iserver.subscription_service.subscriptions.values()
    asked_s = subscription.data.RevisedPublishingInterval / 1000
    assert asked_s == pytest.approx(budget_of(device).pace_s(reported_cost(12), 0.5), rel=0.01)
    assert subscription.data.RevisedMaxKeepAliveCount * asked_s > 300
    await device.subscribe(POINTS, heard.append)
    await eventually(lambda: len(plant.server.iserver.subscription_service.subscriptions) == 2)
    second = list(plant.server.iserver.subscription_service.subscriptions.values())[1]
    assert second.data.RevisedPublishingInterval == pytest.approx(2000 * asked_s, rel=0.01), "they share the bytes"
    await eventually(lambda: len(asked) == 24)
    sampled_ms = {each.RequestedParameters.SamplingInterval for each in asked}
    assert sampled_ms == {1000 * device.limits.poll_interval_s}, "a change and back is not missed for it"


async def test_one_endpoint_has_one_kind_of_link_and_one_set_of_limits(plant: Plant, bus: Fieldbus) -> None:
    opened(bus, plant)
    with pytest.raises(InvalidInput, match="another kind of link"):
        bus.open(plant.url, "opcua-lamp", link=MobileLink(round_trip_s=1.0))
    with pytest.raises(InvalidInput, match="another kind of link"):
        bus.open(f"{plant.url}/other", "opcua-lamp", link=MobileLink(round_trip_s=1.0))
    with pytest.raises(InvalidInput, match="already, with another request_timeout_s"):
        bus.open(plant.url, "opcua-lamp", limits=Limits(**{**_plain(LIMITS), "request_timeout_s": 9.0}))
    same = bus.open(plant.url, "opcua-lamp", link=LINK, limits=LIMITS)
    own = bus.open(plant.url, "opcua-lamp", limits=Limits(**{**_plain(LIMITS), "poll_interval_s": 9.0}))
    assert isinstance(same, OpcUaDevice)
    assert isinstance(own, OpcUaDevice)
    assert same._link is own._link


def _plain(limits: Limits) -> dict[str, float]:
    return {name: getattr(limits, name) for name in Limits.__slots__}
