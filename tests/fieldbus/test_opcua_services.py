"""OPC UA beyond reading and writing: methods as commands, events as alarms, the server's history, looking around."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from domain.errors import FailedPrecondition, InvalidInput, Unavailable
from fieldbus.client import Fieldbus
from fieldbus.device import Alarm, AlarmSource, Browser, HistoryReader, Limits
from fieldbus.format.toml_source import TomlSource
from fieldbus.opcua import history as opcua_history
from fieldbus.opcua.browse import RAW_PROFILE
from fieldbus.opcua.device import OpcUaDevice
from fieldbus.profile_loader import PROFILES_DIRECTORY, profile_from_toml
from fieldbus.values import PointAddress, Quality, TimeSource, ValueBatch, WriteOutcome, unix_ms
from tests.fieldbus.opcua_servers import SERVER_URI, Plant
from tests.fieldbus.servers import LAMP_NAMESPACE, NOON, eventually
from tests.support.patient_loop import loop_time
from tests.support.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = Limits(
    connect_timeout_s=2.0,
    request_timeout_s=1.0,
    confirm_timeout_s=0.2,
    confirm_interval_s=0.02,
    backoff_initial_s=0.05,
    backoff_max_s=0.1,
    poll_interval_s=0.02,
)
LEVEL = PointAddress("level_command", 1)
POWER = PointAddress("lamp_power", 1)
METHOD = """method = { object = "s=Gateway", node = "s=Gateway.Dim", arguments = ["line", "gear", "value"], \
types = ["uint16", "uint16", "double"] }"""
LEVEL_NODE = 'node = "s=Lamp.{index}.Level"'


async def build(plant: Plant) -> None:
    """A gateway that dims by method, and a lamp whose power is recorded."""
    gateway = await plant.server.nodes.objects.add_folder(plant.id("Gateway"), "Gateway")

    async def dim(parent: Any, line: Any, gear: Any, value: Any) -> Any:
        if gear.Value == 2:
            return ua.StatusCode(ua.UInt32(StatusCodes.BadDeviceFailure))
        kinds = [variant.VariantType for variant in (line, gear, value)]
        assert kinds == [ua.VariantType.UInt16, ua.VariantType.UInt16, ua.VariantType.Double]
        await plant.set(f"Lamp.{line.Value * 64 + gear.Value}.Level", value.Value)
        return []

    inputs = [ua.VariantType.UInt16, ua.VariantType.UInt16, ua.VariantType.Double]
    await gateway.add_method(plant.id("Gateway.Dim"), "Dim", dim, inputs, [])
    await plant.server.historize_node_data_change(plant.node("Lamp.1.Power"), timedelta(days=36500), 10_000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plant() -> AsyncIterator[Plant]:
    plant = Plant(lamps=4)
    plant.build = build
    await plant.start()
    yield plant
    await plant.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def bus() -> AsyncIterator[Fieldbus]:
    bus = Fieldbus(now=lambda: NOON, limits=LIMITS, monotonic=loop_time)
    yield bus
    await bus.close()


def opened(bus: Fieldbus, plant: Plant, *replacements: tuple[str, str]) -> OpcUaDevice:
    text = (PROFILES_DIRECTORY / "opcua-lamp.toml").read_text(encoding="utf-8").replace('"opcua-lamp"', '"varied"')
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    device = bus.open(plant.url, profile_from_toml(TomlSource("varied.toml", text)))
    assert isinstance(device, OpcUaDevice)
    return device


# --- methods ------------------------------------------------------------------------------------------------------


async def test_a_command_may_be_a_method_call_and_is_confirmed_by_reading(plant: Plant, bus: Fieldbus) -> None:
    device = opened(bus, plant, (LEVEL_NODE, f"{LEVEL_NODE}\n{METHOD}"))
    (result,) = await device.write([(LEVEL, 300)])
    assert result.outcome is WriteOutcome.CONFIRMED, result
    assert await plant.node("Lamp.1.Level").read_value() == 30.0


async def test_a_method_that_fails_is_a_refusal_with_the_servers_word_for_it(plant: Plant, bus: Fieldbus) -> None:
    device = opened(bus, plant, (LEVEL_NODE, f"{LEVEL_NODE}\n{METHOD}"))
    refused, done = await device.write([(PointAddress("level_command", 2), 300), (LEVEL, 500)])
    assert refused.outcome is WriteOutcome.REFUSED
    assert "BadDeviceFailure" in refused.reason
    assert done.outcome is WriteOutcome.CONFIRMED


async def test_a_method_that_is_not_there_is_a_refusal(plant: Plant, bus: Fieldbus) -> None:
    device = opened(bus, plant, (LEVEL_NODE, f"{LEVEL_NODE}\n{METHOD.replace('Gateway.Dim', 'Gateway.Nothing')}"))
    (result,) = await device.write([(LEVEL, 300)])
    assert result.outcome is WriteOutcome.REFUSED
    assert "Bad" in result.reason


async def test_a_command_may_go_to_another_node_than_the_one_that_is_read(plant: Plant, bus: Fieldbus) -> None:
    nodes = 'node = "s=Lamp.{index}.ActualLevel"\nwrite_node = "s=Lamp.{index}.Level"\nshares = "level_actual"'
    device = opened(bus, plant, (LEVEL_NODE, nodes))
    await plant.set("Lamp.1.ActualLevel", 50.0)
    (result,) = await device.write([(LEVEL, 700)])
    assert result.outcome is WriteOutcome.ACCEPTED
    assert "reads back 500" in result.reason
    assert await plant.node("Lamp.1.Level").read_value() == 70.0


# --- history ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("continues", [True, False], ids=["with continuation points", "cutting off without a word"])
async def test_a_gap_is_filled_from_what_the_server_recorded(
    plant: Plant, bus: Fieldbus, monkeypatch: pytest.MonkeyPatch, continues: bool
) -> None:
    storage = plant.server.iserver.history_manager.storage
    if continues:
        monkeypatch.setattr(storage, "max_history_data_response_size", 3)
    else:
        monkeypatch.setattr(opcua_history, "_VALUES_PER_ANSWER", 4)
    start = NOON + timedelta(hours=1 if continues else 2)
    for minute in range(10):
        status = StatusCodes.BadSensorFailure if minute == 3 else StatusCodes.Good
        await plant.set(
            "Lamp.1.Power",
            float(minute),
            SourceTimestamp=start + timedelta(minutes=minute),
            StatusCode=ua.StatusCode(ua.UInt32(status)),
        )
    recorded = storage._datachanges[plant.id("Lamp.1.Power")]  # type: ignore[attr-defined]
    await eventually(lambda: recorded[-1].SourceTimestamp == start + timedelta(minutes=9))
    device = opened(bus, plant)
    assert isinstance(device, HistoryReader)
    batches = await device.history([POWER], start + timedelta(minutes=1), start + timedelta(minutes=9))
    told = ValueBatch.concatenate(batches)
    assert set(told.points) == {POWER}
    assert told.observed_at.tolist() == [unix_ms(start + timedelta(minutes=minute)) for minute in range(1, 9)]
    assert told.values[told.good].tolist() == [1, 2, 4, 5, 6, 7, 8]
    assert told.quality.tolist()[2] == Quality.BAD
    assert set(told.time_source.tolist()) == {TimeSource.DEVICE}
    assert len(batches) > 1


async def test_a_server_without_history_says_so_for_each_point(plant: Plant, bus: Fieldbus) -> None:
    points = [PointAddress("lamp_power", 2), PointAddress("level_actual", 2)]
    with pytest.raises(FailedPrecondition) as caught:
        await opened(bus, plant).history(points, NOON, NOON + timedelta(hours=1))
    assert [violation.field for violation in caught.value.violations] == ["lamp_power[2]", "level_actual[2]"]
    assert "no history" in caught.value.violations[0].reason


async def test_history_of_a_server_that_is_away_raises(bus: Fieldbus) -> None:
    device = bus.open(f"opc.tcp://127.0.0.1:{free_port()}", "opcua-lamp")
    assert isinstance(device, OpcUaDevice)
    with pytest.raises(Unavailable):
        await device.history([POWER], NOON, NOON + timedelta(hours=1))
    with pytest.raises(InvalidInput):
        await device.history([POWER], NOON, NOON)


# --- alarms -------------------------------------------------------------------------------------------------------


class Condition:
    """An alarm of the server, raised and cleared as a test wants."""

    def __init__(self, plant: Plant, name: str) -> None:
        self._plant = plant
        self._name = name
        self._generator: Any = None

    async def tell(self, *, active: bool, acknowledged: bool = False, severity: int = 700) -> None:
        if self._generator is None:
            kind = self._plant.server.get_node(ua.NodeId(ua.Int32(ObjectIds.OffNormalAlarmType)))
            self._generator = await self._plant.server.get_event_generator(kind)
        event = self._generator.event
        event.ConditionName = self._name
        event.NodeId = self._plant.id(f"Alarm.{self._name}")
        event.SourceNode = self._plant.id("Lamp.1.LampFailure")
        event.SourceName = "Lamp 1"
        event.Severity = severity
        event.Retain = active
        event.Time = NOON
        event.ActiveState = ua.LocalizedText("Active" if active else "Inactive")
        setattr(event, "ActiveState/Id", active)
        setattr(event, "AckedState/Id", acknowledged)
        await self._generator.trigger(time_attr=NOON, message="lamp does not burn")


async def test_events_become_alarms_with_the_point_they_are_about(plant: Plant, bus: Fieldbus) -> None:
    device = opened(bus, plant)
    assert isinstance(device, AlarmSource)
    heard: list[Alarm] = []
    watch = await device.watch_alarms(heard.append)
    lamp = Condition(plant, "LampFailure")
    await subscribed(plant)
    await lamp.tell(active=True)
    await eventually(lambda: len(heard) >= 1)
    alarm = heard[0]
    assert (alarm.source, alarm.severity, alarm.message) == ("Lamp 1", 700, "lamp does not burn")
    assert (alarm.active, alarm.acknowledged, alarm.at) == (True, False, NOON)
    assert alarm.condition == f"nsu={LAMP_NAMESPACE};s=Alarm.LampFailure"
    assert alarm.point == PointAddress("lamp_failure", 1)
    await lamp.tell(active=True, acknowledged=True)
    await lamp.tell(active=False, acknowledged=True)
    await eventually(lambda: len(heard) >= 3)
    assert [(alarm.active, alarm.acknowledged) for alarm in heard] == [(True, False), (True, True), (False, True)]
    await watch.cancel()


async def test_alarms_that_stand_already_are_told_to_a_newcomer(plant: Plant, bus: Fieldbus) -> None:
    lamp = Condition(plant, "Standing")
    await lamp.tell(active=True)
    heard: list[Alarm] = []
    watch = await opened(bus, plant).watch_alarms(heard.append)
    await eventually(lambda: len(heard) == 1)
    assert heard[0].condition.endswith("s=Alarm.Standing")
    assert heard[0].active
    await lamp.tell(active=False)
    await eventually(lambda: [alarm.active for alarm in heard] == [True, False])
    await watch.cancel()


async def test_a_mere_event_is_an_alarm_without_condition(plant: Plant, bus: Fieldbus) -> None:
    heard: list[Alarm] = []
    await opened(bus, plant).watch_alarms(heard.append)
    await subscribed(plant)
    generator = await plant.server.get_event_generator()
    generator.event.Severity = 200
    await generator.trigger(message="somebody opened the cabinet")
    await eventually(lambda: len(heard) == 1)
    assert (heard[0].message, heard[0].severity, heard[0].condition, heard[0].active) == (
        "somebody opened the cabinet",
        200,
        "",
        True,
    )


async def subscribed(plant: Plant) -> None:
    """Until the server has a monitored item for events."""
    service = plant.server.iserver.subscription_service

    def there() -> bool:
        return any(sub.monitored_item_srv._monitored_events for sub in service.subscriptions.values())

    await eventually(there)


# --- looking around -----------------------------------------------------------------------------------------------


async def test_a_server_can_be_browsed_without_any_profile(plant: Plant, bus: Fieldbus) -> None:
    device = bus.open(plant.url, RAW_PROFILE)
    assert isinstance(device, OpcUaDevice)
    assert isinstance(device, Browser)
    await plant.set("Lamp.1.Power", 17.5)
    nodes = {node.node: node for node in await device.browse(f"nsu={LAMP_NAMESPACE};s=Lamp.1")}
    power = nodes[f"nsu={LAMP_NAMESPACE};s=Lamp.1.Power"]
    assert (power.name, power.kind, power.data_type, power.value, power.writable) == (
        "Power",
        "variable",
        "Double",
        "17.5",
        False,
    )
    assert nodes[f"nsu={LAMP_NAMESPACE};s=Lamp.1.Level"].writable
    below = await device.browse(depth=2)
    assert {"i=2253", f"nsu={LAMP_NAMESPACE};s=Lamp.3.Energy", f"nsu={LAMP_NAMESPACE};s=Gateway.Dim"} <= {
        node.node for node in below
    }
    assert {node.kind for node in below} == {"object", "variable", "method"}
    assert len(await device.browse(depth=9, limit=25)) == 25


@pytest.mark.parametrize("node", ["s=Nothing", "nsu=urn:nobody;s=x", "x=1", "ns=2;s=Lamp.1"])
async def test_a_node_that_cannot_be_browsed_is_named(plant: Plant, bus: Fieldbus, node: str) -> None:
    device = bus.open(plant.url, RAW_PROFILE)
    assert isinstance(device, OpcUaDevice)
    with pytest.raises(InvalidInput) as caught:
        await device.browse(node)
    assert caught.value.violations[0].field == "node"


async def test_nodes_are_read_by_name(plant: Plant, bus: Fieldbus) -> None:
    device = bus.open(plant.url, RAW_PROFILE)
    assert isinstance(device, OpcUaDevice)
    await plant.set("Lamp.1.Power", 17.5)
    names = [f"nsu={LAMP_NAMESPACE};s=Lamp.1.Power", "i=2255", "nsu=urn:nobody;i=1", "s=Nothing"]
    power, namespaces, nowhere, nothing = await device.read_nodes(names)
    assert (power.value, power.data_type, power.quality, power.source_time) == (17.5, "Double", Quality.GOOD, NOON)
    assert SERVER_URI in namespaces.value
    assert (nowhere.value, nowhere.quality) == (None, Quality.BAD)
    assert "urn:nobody" in nowhere.status
    assert nothing.quality is Quality.BAD
    assert "BadNodeIdUnknown" in nothing.status
