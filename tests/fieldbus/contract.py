"""What every device promises, whatever it speaks and whoever made it: `LampContract`, to be run against a `World`.

A world holds at least four lamps behind a real server and is set up in that server's own terms, never through our
codec. tests/fieldbus/test_contract.py runs the contract against libraries' servers and our simulator, tests/peers
against servers of other makes. What is particular to registers stands in contract_registers.py.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar, Protocol

import pytest
import pytest_asyncio

from domain.errors import InvalidInput, LichtbuchError
from fieldbus.client import Fieldbus
from fieldbus.device import Device, Limits
from fieldbus.profile import Profile
from fieldbus.security import FieldSecurity
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
from tests.support.patient_loop import loop_time

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
# What the worlds that can be set to anything hold, in the vocabulary's units.
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
    """Lamps behind some protocol, made by somebody."""

    profile: Profile
    clocked: bool  # whether values carry the device's own time
    identity: Identity  # what the device says it is
    absent: PointAddress  # a lamp that the profile allows and the device does not have
    stored_level: float  # a level that the lamps can keep in memory: -1 ("as before") where the device has it

    @property
    def url(self) -> str: ...
    @property
    def security(self) -> FieldSecurity | None:
        """What it takes to connect."""
        ...

    @property
    def dead_url(self) -> str:
        """Where nobody listens."""
        ...

    def now(self) -> datetime:
        """The time in the world: what its clocks say."""
        ...

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def vanish(self) -> None:
        """The device is gone: connections are cut, none is taken."""
        ...

    async def reappear(self) -> None:
        """It is back at its address, not remembering anything."""
        ...

    async def set_facts(self, lamp: int) -> None:
        """Bring a lamp to where `facts` is true, with nothing spoilt."""
        ...

    def facts(self, lamp: int) -> dict[str, float]:
        """What is true of a lamp now, in the vocabulary's units."""
        ...

    async def spoil(self, lamp: int) -> set[str]:
        """Make some of a lamp's values impossible; returns of which points."""
        ...

    async def set_actual_level(self, lamp: int, percent: int) -> None: ...
    async def commanded_percent(self, lamp: int) -> float: ...


async def reading(
    device: Device, points: tuple[PointAddress, ...], wanted: Callable[[ValueBatch], bool], within_s: float = 20.0
) -> ValueBatch:
    """Ask again and again until an answer is as wanted."""
    async with asyncio.timeout(within_s):
        while True:
            batch = await device.read(points)
            if wanted(batch):
                return batch
            await asyncio.sleep(0.02)


def nothing_there(batch: ValueBatch) -> bool:
    return bool((batch.quality == Quality.MISSING).all())


def fieldbus_for(world: World) -> Fieldbus:
    """A client of its own."""
    return Fieldbus(now=world.now, limits=LIMITS, security=world.security, uniform=lambda: 0.5, monotonic=loop_time)


def points_of(world: World, lamps: Iterable[int]) -> tuple[PointAddress, ...]:
    return tuple(PointAddress(point, lamp) for lamp in lamps for point in world.facts(lamp))


def truth_of(world: World, lamps: Iterable[int]) -> Any:
    """The values of `points_of`; exact but for the last bit of what a world works out."""
    return pytest.approx([value for lamp in lamps for value in world.facts(lamp).values()], rel=1e-12)


def level_of(lamp: int) -> PointAddress:
    return PointAddress("level_command", lamp)


@pytest.mark.asyncio(loop_scope="class")
class LampContract:
    """Derive a class `Test...` that names its world."""

    make_world: ClassVar[Callable[..., World]]

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    @classmethod
    async def standing_world(cls) -> AsyncIterator[World]:
        """One server for the whole class: some address spaces take their time to load."""
        world = cls.make_world()
        await world.start()
        yield world
        await world.stop()

    @pytest_asyncio.fixture(loop_scope="class")
    async def world(self, standing_world: World) -> World:
        for lamp in range(LAMPS):
            await standing_world.set_facts(lamp)
        return standing_world

    @pytest_asyncio.fixture(loop_scope="class")
    async def fieldbus(self, world: World) -> AsyncIterator[Fieldbus]:
        bus = fieldbus_for(world)
        yield bus
        await bus.close()

    @pytest_asyncio.fixture(loop_scope="class")
    async def lamps(self, world: World, fieldbus: Fieldbus) -> Device:
        return fieldbus.open(world.url, world.profile)

    # --- reading --------------------------------------------------------------------------------------------------

    async def test_all_points_of_all_lamps_are_read_in_the_vocabularys_units(self, world: World, lamps: Device) -> None:
        asked = points_of(world, range(LAMPS))
        batch = await lamps.read(asked)
        assert tuple(batch.points) == asked
        assert batch.complete
        assert batch.values.tolist() == truth_of(world, range(LAMPS))

    async def test_values_say_when_they_were_observed_and_by_whose_clock(self, world: World, lamps: Device) -> None:
        batch = await lamps.read(points_of(world, [0]))
        assert set(batch.time_source.tolist()) == {TimeSource.DEVICE if world.clocked else TimeSource.OURS}
        assert {from_unix_ms(int(at)) for at in batch.observed_at} == {world.now()}

    async def test_values_that_cannot_be_are_bad_and_no_numbers(self, world: World, lamps: Device) -> None:
        expected = await world.spoil(3)
        batch = await lamps.read(points_of(world, [2, 3]))
        bad = {address for address, quality in zip(batch.points, batch.quality, strict=True) if quality == Quality.BAD}
        assert bad == {PointAddress(point, 3) for point in expected}
        assert all(math.isnan(batch.value(address)) for address in bad)
        assert batch.good.sum() == len(batch) - len(bad)
        assert not bad & set(batch.as_dict())

    async def test_a_lamp_that_is_not_there_is_bad_and_does_not_disturb_its_neighbours(
        self, world: World, lamps: Device
    ) -> None:
        asked = (level_of(0), world.absent, level_of(1))
        for _ in range(2):
            batch = await lamps.read(asked)
            assert [Quality(q) for q in batch.quality.tolist()] == [Quality.GOOD, Quality.BAD, Quality.GOOD]
            assert batch.value(level_of(0)) == world.facts(0)["level_command"]
        assert lamps.health().state is DeviceState.ONLINE

    @pytest.mark.parametrize("address", [PointAddress("voltage_l1"), level_of(65536), PointAddress("level_command")])
    async def test_points_the_product_does_not_have_are_a_mistake_of_the_caller(
        self, lamps: Device, address: PointAddress
    ) -> None:
        with pytest.raises(InvalidInput):
            await lamps.read([address])
        with pytest.raises(InvalidInput):
            await lamps.write([(address, 1)])

    # --- writing --------------------------------------------------------------------------------------------------

    async def test_commands_are_confirmed_and_stand_in_the_device(self, world: World, lamps: Device) -> None:
        results = await lamps.write([WriteRequest(level_of(lamp), 300 + 100 * lamp) for lamp in range(3)])
        assert [result.outcome for result in results] == [WriteOutcome.CONFIRMED] * 3
        assert [result.read_back for result in results] == [300, 400, 500]
        assert [await world.commanded_percent(lamp) for lamp in range(3)] == [30, 40, 50]

    async def test_a_command_without_verification_is_accepted(self, world: World, lamps: Device) -> None:
        (result,) = await lamps.write([(level_of(1), 700)], verify=False)
        assert result.outcome is WriteOutcome.ACCEPTED
        assert math.isnan(result.read_back)
        assert await world.commanded_percent(1) == 70

    async def test_a_command_beyond_the_limits_is_refused_and_the_rest_goes_out(
        self, world: World, lamps: Device
    ) -> None:
        bad, good = await lamps.write([(level_of(0), 2000), (level_of(1), 100)])
        assert bad.outcome is WriteOutcome.REFUSED
        assert "0..1000 permille" in bad.reason
        assert good.outcome is WriteOutcome.CONFIRMED
        assert await world.commanded_percent(0) == 50

    async def test_a_measured_point_is_not_writable(self, lamps: Device) -> None:
        (result,) = await lamps.write([(PointAddress("lamp_power", 0), 1)])
        assert (result.outcome, result.reason) == (WriteOutcome.REFUSED, "can only be read")

    async def test_a_command_to_a_lamp_that_is_not_there_is_refused_with_a_reason(
        self, world: World, lamps: Device
    ) -> None:
        absent, present = await lamps.write([(world.absent, 500), (level_of(0), 600)])
        assert absent.outcome is WriteOutcome.REFUSED
        assert absent.reason
        assert present.outcome is WriteOutcome.CONFIRMED
        assert await world.commanded_percent(0) == 60

    async def test_a_stored_level_is_written_only_when_it_changes(self, world: World, lamps: Device) -> None:
        address = PointAddress("level_power_on", 2)
        (first,) = await lamps.write([(address, world.stored_level)])
        (second,) = await lamps.write([(address, world.stored_level)])
        assert first.outcome is WriteOutcome.CONFIRMED
        assert first.reason == ""
        assert (second.outcome, second.reason) == (WriteOutcome.CONFIRMED, "held already, not written")
        assert (await lamps.read([address])).values.tolist() == [world.stored_level]

    # --- the device itself ----------------------------------------------------------------------------------------

    async def test_the_device_says_what_it_is(self, world: World, lamps: Device) -> None:
        identity = await lamps.identify()
        assert (identity.vendor, identity.product) == (world.identity.vendor, world.identity.product)
        assert (await lamps.read([level_of(0)])).complete

    async def test_the_state_moves_from_untried_to_online_to_closed(self, world: World, lamps: Device) -> None:
        assert lamps.health().state is DeviceState.UNTRIED
        await lamps.read(points_of(world, [0]))
        health = lamps.health()
        assert health.state is DeviceState.ONLINE
        assert health.seconds_since_answer is not None
        assert health.counters.answers >= 1
        await lamps.close()
        await lamps.close()
        assert lamps.health().state is DeviceState.CLOSED
        with pytest.raises(InvalidInput, match="closed"):
            await lamps.read(points_of(world, [0]))

    async def test_a_dead_device_is_missing_and_its_commands_are_unknown(
        self, world: World, fieldbus: Fieldbus
    ) -> None:
        dead = fieldbus.open(world.dead_url, world.profile)
        batch = await dead.read(points_of(world, [0]))
        assert set(batch.quality.tolist()) == {Quality.MISSING}
        (result,) = await dead.write([(level_of(0), 500)])
        assert result.outcome is WriteOutcome.UNKNOWN
        assert result.reason.startswith("not sent")
        with pytest.raises(LichtbuchError):
            await dead.identify()
        health = dead.health()
        assert health.state is DeviceState.BACKING_OFF
        assert health.last_error

    async def test_a_dead_device_costs_a_living_one_nothing(self, world: World, fieldbus: Fieldbus) -> None:
        dead, alive = fieldbus.open(world.dead_url, world.profile), fieldbus.open(world.url, world.profile)
        asked = points_of(world, range(LAMPS))
        answers: list[ValueBatch] = []

        async def keep_asking() -> None:
            while True:
                answers.append(await dead.read(asked))
                await asyncio.sleep(0)

        asking = asyncio.create_task(keep_asking())
        for _ in range(5):
            assert (await alive.read(asked)).complete
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert all(nothing_there(answer) for answer in answers)

    async def test_a_device_that_goes_is_missing_and_comes_back_by_itself(self, world: World, lamps: Device) -> None:
        asked = points_of(world, [0])
        assert (await lamps.read(asked)).complete
        await world.vanish()
        try:
            await reading(lamps, asked, nothing_there)
            (result,) = await lamps.write([(level_of(0), 500)])
            assert result.outcome is WriteOutcome.UNKNOWN
            assert lamps.health().state is DeviceState.BACKING_OFF
        finally:
            await world.reappear()
        await world.set_facts(0)
        batch = await reading(lamps, asked, lambda batch: batch.complete)
        assert batch.values.tolist() == truth_of(world, [0])
        assert lamps.health().state is DeviceState.ONLINE
        (result,) = await lamps.write([(level_of(0), 800)])
        assert result.outcome is WriteOutcome.CONFIRMED
        assert await world.commanded_percent(0) == 80

    async def test_two_clients_do_not_get_each_others_answers(self, world: World) -> None:
        first, second = fieldbus_for(world), fieldbus_for(world)
        try:
            devices = (first.open(world.url, world.profile), second.open(world.url, world.profile))
            for step in range(1, 6):
                levels = (100 * step, 1000 - 100 * step)
                results = await asyncio.gather(
                    *(
                        device.write([(level_of(lamp), level)])
                        for lamp, (device, level) in enumerate(zip(devices, levels, strict=True))
                    )
                )
                assert [result.outcome for (result,) in results] == [WriteOutcome.CONFIRMED] * 2
                batches = await asyncio.gather(*(device.read((level_of(0), level_of(1))) for device in devices))
                assert [batch.values.tolist() for batch in batches] == [list(levels)] * 2
            assert [device.health().counters.discarded for device in devices] == [0, 0]
        finally:
            await first.close()
            await second.close()

    # --- subscribing ----------------------------------------------------------------------------------------------

    async def test_a_subscription_gives_everything_first_and_then_what_changed(
        self, world: World, lamps: Device
    ) -> None:
        batches: asyncio.Queue[ValueBatch] = asyncio.Queue()
        asked = points_of(world, [0])
        subscription = await lamps.subscribe(asked, batches.put_nowait)
        seen: dict[PointAddress, float] = {}
        async with asyncio.timeout(20):
            while len(seen) < len(asked):
                seen |= (await batches.get()).as_dict()
            assert [seen[address] for address in asked] == truth_of(world, [0])
            await world.set_actual_level(0, 20)
            while seen[PointAddress("level_actual", 0)] != 200:
                changed = (await batches.get()).as_dict()
                assert changed
                assert all(seen[address] != value for address, value in changed.items())
                seen |= changed
        await subscription.cancel()
        while not batches.empty():
            batches.get_nowait()
        await world.set_actual_level(0, 30)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                pytest.fail(f"{await batches.get()} came after the subscription was cancelled")

    async def test_a_subscription_survives_a_restart_of_the_device(self, world: World, lamps: Device) -> None:
        batches: asyncio.Queue[ValueBatch] = asyncio.Queue()
        level = PointAddress("level_actual", 1)
        subscription = await lamps.subscribe([level], batches.put_nowait)
        async with asyncio.timeout(30):
            while not (await batches.get()).complete:
                continue
            await world.vanish()
            while (await batches.get()).quality_of(level) is not Quality.MISSING:
                continue
            await world.reappear()
            await world.set_actual_level(1, 77)
            while (await batches.get()).value(level) != 770:
                continue
        await subscription.cancel()
