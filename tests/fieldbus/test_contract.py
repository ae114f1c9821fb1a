"""What every device promises, whatever it speaks: the same tests against Modbus and OPC UA servers.

Both worlds hold four lamps. The worlds are set up in the devices' own terms, not through our codec.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest
import pytest_asyncio

from domain.errors import InvalidInput
from fieldbus.client import Fieldbus
from fieldbus.device import Device, Limits
from fieldbus.profile import Profile
from fieldbus.profile_loader import load_profile
from fieldbus.values import (
    DeviceState,
    Identity,
    PointAddress,
    Quality,
    TimeSource,
    ValueBatch,
    WriteOutcome,
    WriteRequest,
    from_unix_ms,
)
from tests.fieldbus.servers import NOON, LampServer, PymodbusServer, free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAMPS = 4
LIMITS = Limits(
    connect_timeout_s=3.0,
    request_timeout_s=1.0,
    confirm_timeout_s=0.3,
    confirm_interval_s=0.02,
    poll_interval_s=0.05,
    backoff_initial_s=0.05,
    backoff_max_s=0.2,
    watchdog_interval_s=0.5,
)
FACTS = {
    "level_command": 500.0,
    "level_actual": 480.0,
    "lamp_failure": 0.0,
    "lamp_power": 12.5,
    "lamp_energy": 4321.0,
    "burning_hours": 7200.0,
    "level_power_on": 1000.0,
}


class World(Protocol):
    """Four lamps behind some protocol."""

    profile: Profile
    clocked: bool  # whether values carry the device's own time

    @property
    def url(self) -> str: ...
    @property
    def dead_url(self) -> str: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def restart(self) -> None: ...
    async def set_facts(self, lamp: int) -> None: ...
    async def set_impossible_power(self, lamp: int) -> None: ...
    async def set_actual_level(self, lamp: int, percent: int) -> None: ...
    async def commanded_percent(self, lamp: int) -> float: ...


class ModbusWorld:
    """The contiguous level and status map on pymodbus' server."""

    profile = load_profile("generic-level-status")
    clocked = False

    def __init__(self) -> None:
        few = [0] * LAMPS
        holding = {0: few, 100: few, 200: few, 300: [0]}
        inputs = {0: few, 100: few, 200: few, 300: few * 2, 500: few * 2}
        self._server = PymodbusServer({1: {"holding": holding, "input": inputs}}, ("ACME", "Lamps"))

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def dead_url(self) -> str:
        return f"modbus+tcp://127.0.0.1:{free_port()}"

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop()

    async def restart(self) -> None:
        port = self._server.port
        await self._server.stop()
        await self._server.start(port)

    async def set_facts(self, lamp: int) -> None:
        self._server.set_registers(1, "holding", lamp, [500])
        self._server.set_registers(1, "holding", 100 + lamp, [1000])
        for address, value in ((lamp, 480), (100 + lamp, 0), (200 + lamp, 125)):
            self._server.set_registers(1, "input", address, [value])
        self._server.set_registers(1, "input", 300 + 2 * lamp, [0, 4321])
        self._server.set_registers(1, "input", 500 + 2 * lamp, [0, 7200])

    async def set_impossible_power(self, lamp: int) -> None:
        self._server.set_registers(1, "input", 200 + lamp, [0xFFFE])

    async def set_actual_level(self, lamp: int, percent: int) -> None:
        self._server.set_registers(1, "input", lamp, [10 * percent])

    async def commanded_percent(self, lamp: int) -> float:
        return self._server.registers(1, "holding", lamp)[0] / 10


class OpcUaWorld:
    """Lamp objects on asyncua's server."""

    profile = load_profile("opcua-lamp")
    clocked = True

    def __init__(self) -> None:
        self._server = LampServer(LAMPS)

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def dead_url(self) -> str:
        return f"opc.tcp://127.0.0.1:{free_port()}/lamps"

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop()

    async def restart(self) -> None:
        port = self._server.port
        await self._server.stop()
        await self._server.start(port)

    async def set_facts(self, lamp: int) -> None:
        facts: tuple[tuple[str, Any], ...] = (
            ("Level", 50.0),
            ("ActualLevel", 48.0),
            ("LampFailure", False),
            ("Power", 12.5),
            ("Energy", 4321),
            ("BurningTime", 7200),
            ("PowerOnLevel", 100.0),
        )
        for variable, value in facts:
            await self._server.set(lamp, variable, value)

    async def set_impossible_power(self, lamp: int) -> None:
        await self._server.set(lamp, "Power", 6553.4)

    async def set_actual_level(self, lamp: int, percent: int) -> None:
        await self._server.set(lamp, "ActualLevel", float(percent))

    async def commanded_percent(self, lamp: int) -> float:
        return float(await self._server.get(lamp, "Level"))


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[ModbusWorld, OpcUaWorld], ids=["modbus", "opcua"])
async def standing_world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """One server per protocol for the whole module: OPC UA address spaces take their time to load."""
    world: World = request.param()
    await world.start()
    yield world
    await world.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def world(standing_world: World) -> World:
    for lamp in range(LAMPS):
        await standing_world.set_facts(lamp)
    return standing_world


@pytest_asyncio.fixture(loop_scope="module")
async def fieldbus() -> AsyncIterator[Fieldbus]:
    bus = Fieldbus(now=lambda: NOON, limits=LIMITS, uniform=lambda: 0.5)
    yield bus
    await bus.close()


@pytest_asyncio.fixture(loop_scope="module")
async def lamps(world: World, fieldbus: Fieldbus) -> Device:
    return fieldbus.open(world.url, world.profile)


def facts_of(lamp: int) -> tuple[PointAddress, ...]:
    return tuple(PointAddress(point, lamp) for point in FACTS)


async def test_all_points_of_all_lamps_are_read_in_the_vocabularys_units(lamps: Device) -> None:
    asked = tuple(address for lamp in range(LAMPS) for address in facts_of(lamp))
    batch = await lamps.read(asked)
    assert tuple(batch.points) == asked
    assert batch.complete
    assert batch.values.tolist() == list(FACTS.values()) * LAMPS


async def test_values_say_when_they_were_observed_and_by_whose_clock(world: World, lamps: Device) -> None:
    batch = await lamps.read(facts_of(0))
    expected = TimeSource.DEVICE if world.clocked else TimeSource.OURS
    assert set(batch.time_source.tolist()) == {expected}
    assert {from_unix_ms(int(at)) for at in batch.observed_at} == {NOON}


async def test_a_command_is_confirmed_and_stands_in_the_device(world: World, lamps: Device) -> None:
    results = await lamps.write(
        [WriteRequest(PointAddress("level_command", lamp), 300 + 100 * lamp) for lamp in range(3)]
    )
    assert [result.outcome for result in results] == [WriteOutcome.CONFIRMED] * 3
    assert [result.read_back for result in results] == [300, 400, 500]
    assert [await world.commanded_percent(lamp) for lamp in range(3)] == [30, 40, 50]


async def test_a_command_without_verification_is_accepted(world: World, lamps: Device) -> None:
    (result,) = await lamps.write([(PointAddress("level_command", 1), 700)], verify=False)
    assert result.outcome is WriteOutcome.ACCEPTED
    assert math.isnan(result.read_back)
    assert await world.commanded_percent(1) == 70


async def test_a_command_beyond_the_limits_is_refused_and_the_rest_goes_out(world: World, lamps: Device) -> None:
    bad, good = await lamps.write([(PointAddress("level_command", 0), 2000), (PointAddress("level_command", 1), 100)])
    assert bad.outcome is WriteOutcome.REFUSED
    assert "0..1000 permille" in bad.reason
    assert good.outcome is WriteOutcome.CONFIRMED
    assert await world.commanded_percent(0) == 50


async def test_a_measured_point_is_not_writable(lamps: Device) -> None:
    (result,) = await lamps.write([(PointAddress("lamp_power", 0), 1)])
    assert (result.outcome, result.reason) == (WriteOutcome.REFUSED, "can only be read")


async def test_keep_as_it_was_is_a_level_of_its_own_and_not_written_twice(lamps: Device) -> None:
    address = PointAddress("level_power_on", 2)
    (first,) = await lamps.write([(address, -1)])
    (second,) = await lamps.write([(address, -1)])
    assert first.outcome is WriteOutcome.CONFIRMED
    assert (second.outcome, second.reason) == (WriteOutcome.CONFIRMED, "held already, not written")
    assert (await lamps.read([address])).values.tolist() == [-1]


async def test_a_value_that_cannot_be_is_bad_and_no_number(world: World, lamps: Device) -> None:
    await world.set_impossible_power(3)
    batch = await lamps.read(facts_of(3))
    power = PointAddress("lamp_power", 3)
    assert batch.quality_of(power) is Quality.BAD
    assert math.isnan(batch.value(power))
    assert batch.good.sum() == len(FACTS) - 1


@pytest.mark.parametrize(
    "address", [PointAddress("voltage_l1"), PointAddress("level_command", 65536), PointAddress("level_command")]
)
async def test_points_the_product_does_not_have_are_a_mistake_of_the_caller(
    lamps: Device, address: PointAddress
) -> None:
    with pytest.raises(InvalidInput):
        await lamps.read([address])
    with pytest.raises(InvalidInput):
        await lamps.write([(address, 1)])


async def test_a_lamp_that_is_not_there_is_bad_and_does_not_disturb_the_others(lamps: Device) -> None:
    absent = PointAddress("level_command", 63)
    batch = await lamps.read([PointAddress("level_command", 0), absent, PointAddress("level_command", 1)])
    assert batch.quality_of(PointAddress("level_command", 0)) is Quality.GOOD
    assert batch.quality_of(PointAddress("level_command", 1)) is Quality.GOOD
    assert batch.quality_of(absent) is Quality.BAD
    (result,) = await lamps.write([(absent, 500)])
    assert result.outcome is WriteOutcome.REFUSED
    assert result.reason


async def test_a_dead_device_is_missing_and_its_commands_are_unknown(world: World, fieldbus: Fieldbus) -> None:
    dead = fieldbus.open(world.dead_url, world.profile)
    batch = await dead.read(facts_of(0))
    assert set(batch.quality.tolist()) == {Quality.MISSING}
    (result,) = await dead.write([(PointAddress("level_command", 0), 500)])
    assert result.outcome is WriteOutcome.UNKNOWN
    assert result.reason.startswith("not sent")
    health = dead.health()
    assert health.state is DeviceState.BACKING_OFF
    assert health.last_error


async def test_the_device_says_what_it_is(lamps: Device) -> None:
    identity = await lamps.identify()
    assert isinstance(identity, Identity)
    assert (identity.vendor, identity.product) == ("ACME", "Lamps")


async def test_a_subscription_gives_everything_first_and_then_what_changed(world: World, lamps: Device) -> None:
    batches: asyncio.Queue[ValueBatch] = asyncio.Queue()
    subscription = await lamps.subscribe(facts_of(0), batches.put_nowait)
    seen: dict[PointAddress, float] = {}
    async with asyncio.timeout(5):
        while len(seen) < len(FACTS):
            seen |= (await batches.get()).as_dict()
        assert [seen[address] for address in facts_of(0)] == list(FACTS.values())
        await world.set_actual_level(0, 20)
        changed = await batches.get()
    assert changed.as_dict() == {PointAddress("level_actual", 0): 200}
    await subscription.cancel()
    await world.set_actual_level(0, 30)
    await asyncio.sleep(0.2)
    assert batches.empty()


async def test_a_subscription_survives_a_restart_of_the_device(world: World, lamps: Device) -> None:
    batches: asyncio.Queue[ValueBatch] = asyncio.Queue()
    level = PointAddress("level_actual", 1)
    subscription = await lamps.subscribe([level], batches.put_nowait)
    async with asyncio.timeout(20):
        assert (await batches.get()).complete
        await world.restart()
        await world.set_actual_level(1, 77)
        last = math.nan
        while last != 770:
            last = (await batches.get()).value(level)
    await subscription.cancel()


async def test_a_closed_device_refuses_work_and_can_be_closed_again(lamps: Device) -> None:
    await lamps.close()
    await lamps.close()
    assert lamps.health().state is DeviceState.CLOSED
    with pytest.raises(InvalidInput, match="closed"):
        await lamps.read(facts_of(0))


async def test_the_state_moves_from_untried_to_online(lamps: Device) -> None:
    assert lamps.health().state is DeviceState.UNTRIED
    await lamps.read(facts_of(0))
    health = lamps.health()
    assert health.state is DeviceState.ONLINE
    assert health.seconds_since_answer is not None
    assert health.counters.answers >= 1
