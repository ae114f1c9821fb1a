"""The OPC UA gateway as a plain asyncua client sees it. One server for all tests: its start takes seconds."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncua
import pytest
import pytest_asyncio
from asyncua.client.client import Client

from simulator.app import Simulator
from simulator.clock import SteppedClock
from simulator.opcua.nodes import NAMESPACE
from simulator.town import Town
from tests.simulator.conftest import NOON, Bench

ua: Any = asyncua.ua

pytestmark = pytest.mark.asyncio(loop_scope="module")

GATEWAY = "C-003-gw"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opcua(town: Town) -> AsyncIterator[Bench]:
    simulator = Simulator(town, SteppedClock(NOON))
    await simulator.start()
    bench = Bench(simulator)
    # Gears 0.. hang on two switched feeders: bring the first one up.
    bench.world.command_contactor("C-003", 0, True)
    yield bench
    await bench.http.aclose()
    await simulator.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def client(opcua: Bench) -> AsyncIterator[Client]:
    async with Client(opcua.urls[GATEWAY], timeout=20) as client:
        yield client
        await opcua.simulator.faults.clear()


async def lamp(client: Client, gear: int, name: str) -> Any:
    namespace = await client.get_namespace_index(NAMESPACE)
    return client.get_node(f"ns={namespace};s=Lamp.{gear}.{name}")


async def write(client: Client, gear: int, name: str, value: float) -> None:
    await (await lamp(client, gear, name)).write_value(ua.DataValue(ua.Variant(value, ua.VariantType.Double)))


async def test_the_server_says_that_it_is_a_simulator(client: Client) -> None:
    node = client.get_node(ua.ObjectIds.Server_ServerStatus_BuildInfo_ProductUri)
    assert await node.read_value() == "urn:lichtbuch:simulator"


async def test_a_written_level_becomes_light_power_and_energy(opcua: Bench, client: Client) -> None:
    await write(client, 0, "Level", 50.0)
    opcua.step(3_600.0)
    place = opcua.world.gateways[GATEWAY].addresses[0]
    names = ("Level", "ActualLevel", "Power", "Energy", "BurningTime", "LampFailure", "GearFailure")
    nodes = [await lamp(client, 0, name) for name in names]
    level, actual, power, energy, burning, lamp_failure, gear_failure = await client.read_values(nodes)
    lamps, now = opcua.world.lamps, opcua.world.now
    assert (level, actual) == (50.0, 50.0)
    assert power == pytest.approx(float(lamps.power_w(now)[place]))
    assert energy == int(lamps.energy_wh(now)[place])
    assert burning == int(lamps.burning_s(now)[place])
    assert (lamp_failure, gear_failure) == (False, False)


async def test_values_carry_the_towns_time_as_their_source_time(opcua: Bench, client: Client) -> None:
    value = await (await lamp(client, 0, "ActualLevel")).read_data_value()
    assert value.SourceTimestamp.replace(tzinfo=UTC) == datetime.fromtimestamp(opcua.world.now, UTC)


async def test_gear_on_a_dead_feeder_has_no_values_but_a_status(opcua: Bench, client: Client) -> None:
    dead = next(x.gear for x in opcua.town.luminaires if x.feeder == "C-003-F2")
    value = await (await lamp(client, dead, "ActualLevel")).read_data_value(raise_on_bad_status=False)
    assert value.StatusCode.value == ua.StatusCodes.BadNoCommunication
    assert await (await lamp(client, dead, "GearFailure")).read_value() is True


async def test_stored_levels_are_written_and_minus_one_keeps_the_last_level(opcua: Bench, client: Client) -> None:
    await write(client, 1, "PowerOnLevel", 70.0)
    await write(client, 1, "SystemFailureLevel", -1.0)
    assert await (await lamp(client, 1, "PowerOnLevel")).read_value() == 70.0
    assert await (await lamp(client, 1, "SystemFailureLevel")).read_value() == -1.0


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("Level", ua.Variant(101.0, ua.VariantType.Double), ua.StatusCodes.BadOutOfRange),
        ("Level", ua.Variant(-1.0, ua.VariantType.Double), ua.StatusCodes.BadOutOfRange),
        ("Level", ua.Variant(float("nan"), ua.VariantType.Double), ua.StatusCodes.BadOutOfRange),
        ("Level", ua.Variant("full", ua.VariantType.String), ua.StatusCodes.BadTypeMismatch),
        ("Power", ua.Variant(0.0, ua.VariantType.Double), ua.StatusCodes.BadUserAccessDenied),
    ],
)
async def test_what_is_no_level_is_refused_and_changes_nothing(
    opcua: Bench, client: Client, name: str, value: Any, code: int
) -> None:
    before = opcua.world.lamps.target.copy()
    level = await (await lamp(client, 0, "Level")).read_value()
    with pytest.raises(ua.UaStatusCodeError) as caught:
        await (await lamp(client, 0, name)).write_value(ua.DataValue(value))
    assert caught.value.code == code
    assert (opcua.world.lamps.target == before).all()
    assert await (await lamp(client, 0, "Level")).read_value() == level


async def test_writes_are_logged_with_the_clients_address(opcua: Bench, client: Client) -> None:
    after = opcua.simulator.field.writes.total
    await write(client, 2, "Level", 30.0)
    (record,) = opcua.simulator.field.writes.select(after=after)
    protocol: Any = client.uaclient.protocol
    host, port = protocol.transport.get_extra_info("sockname")
    assert (record.peer, record.endpoint, record.register) == (f"{host}:{port}", GATEWAY, "Lamp.2.Level")
    assert (record.kind, record.values, record.heard, record.feeders) == ("level", (30.0,), 1, ("C-003-F1",))


class Ears:
    """Collects notifications."""

    def __init__(self) -> None:
        self.values: asyncio.Queue[float] = asyncio.Queue()

    def datachange_notification(self, node: Any, value: float, data: Any) -> None:
        self.values.put_nowait(value)


async def test_a_subscriber_hears_when_somebody_else_changes_the_level(opcua: Bench, client: Client) -> None:
    await write(client, 0, "Level", 50.0)
    opcua.step(10.0)
    ears = Ears()
    subscription = await client.create_subscription(50, ears)
    await subscription.subscribe_data_change(await lamp(client, 0, "ActualLevel"))
    first = await asyncio.wait_for(ears.values.get(), 20)
    assert first == 50.0
    opcua.world.command_level(opcua.world.gateways[GATEWAY].addresses[:1], 1000.0)
    opcua.step(10.0)
    while await asyncio.wait_for(ears.values.get(), 20) != 100.0:
        pass
    await write(client, 0, "Level", 50.0)
    opcua.step(10.0)
    await subscription.delete()


async def test_a_silent_gateway_answers_again_once_the_fault_is_cleared(opcua: Bench, client: Client) -> None:
    await opcua.simulator.faults.inject({"kind": "dead_gateway", "endpoint": GATEWAY})
    node = await lamp(client, 0, "Level")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(node.read_value(), 0.3)
    await opcua.simulator.faults.clear()
    assert isinstance(await node.read_value(), float)


async def test_a_refusing_gateway_lets_nobody_in_until_the_fault_is_cleared(opcua: Bench) -> None:
    await opcua.simulator.faults.inject({"kind": "dead_gateway", "endpoint": GATEWAY, "mode": "refuse"})
    with pytest.raises(OSError):
        await Client(opcua.urls[GATEWAY], timeout=20).connect()
    await opcua.simulator.faults.clear()
    async with Client(opcua.urls[GATEWAY], timeout=20) as client:
        assert isinstance(await (await lamp(client, 0, "Level")).read_value(), float)


async def test_a_gateway_that_answers_wrongly_gives_bad_values(opcua: Bench, client: Client) -> None:
    await opcua.simulator.faults.inject({"kind": "wrong_answer", "endpoint": GATEWAY})
    value = await (await lamp(client, 0, "Level")).read_data_value(raise_on_bad_status=False)
    assert not value.StatusCode.is_good()
