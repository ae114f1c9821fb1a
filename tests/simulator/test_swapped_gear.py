"""A driver is swapped in three ways: with the right address, with none, or with one that another driver has."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from domain.errors import InvalidInput
from fieldbus.client import Fieldbus
from fieldbus.device import Device
from fieldbus.values import PointAddress, ValueBatch, WriteRequest
from simulator.app import Simulator
from simulator.clock import SteppedClock
from simulator.demo import DemoSize, demo_town
from simulator.town import Luminaire, Town
from tests.simulator.conftest import NOON
from tests.support.patient_loop import loop_time


def swapping_town(luminaires: int = 12, cabinets: int = 2) -> Town:
    """A demonstration town, whose second cabinet has a gateway that tells more than the makes that we know."""
    town = demo_town(DemoSize(luminaires=luminaires, cabinets=cabinets, monitored=0, buildings=0))
    gateway = town.cabinets[1].gateway
    return replace(
        town,
        endpoints=tuple(replace(e, profile="generic-level-status") if e.id == gateway else e for e in town.endpoints),
    )


class Running:
    """A town with its lamps supplied, and what reads it."""

    def __init__(self) -> None:
        self.simulator = Simulator(swapping_town(), SteppedClock(NOON))
        self.world = self.simulator.world
        self.fieldbus = Fieldbus(
            now=lambda: datetime.fromtimestamp(self.world.now, UTC), require_simulator=True, monotonic=loop_time
        )

    def lamps(self, cabinet: int) -> list[Luminaire]:
        """Luminaires of a cabinet by address."""
        wanted = self.simulator.town.cabinets[cabinet].id
        return sorted((x for x in self.simulator.town.luminaires if x.cabinet == wanted), key=lambda x: x.gear)

    def gateway(self, cabinet: int) -> Device:
        """The gateway of a cabinet on the wire."""
        endpoint = next(
            e for e in self.simulator.town.endpoints if e.id == self.simulator.town.cabinets[cabinet].gateway
        )
        return self.fieldbus.open(endpoint.url, endpoint.profile)

    async def read(self, cabinet: int, *points: tuple[str, int]) -> ValueBatch:
        """A reading."""
        return await self.gateway(cabinet).read([PointAddress(name, index) for name, index in points])

    async def breaks(self, **fault: Any) -> None:
        """Puts a fault in."""
        await self.simulator.faults.inject(fault)


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    made = Running()
    await made.simulator.start()
    for cabinet in made.simulator.town.cabinets:
        made.world.set_hand_switch(cabinet.id, "hand")
    yield made
    await made.fieldbus.close()
    await made.simulator.stop()


@pytest.mark.parametrize("cabinet", [0, 1])
async def test_a_new_driver_has_its_own_hours_and_the_settings_of_the_factory(running: Running, cabinet: int) -> None:
    lamp = running.lamps(cabinet)[1]
    row = running.world.lamp_index[lamp.id]
    running.world.lamps.power_on_level[row] = 400.0
    burnt, drawn = running.world.lamps.burning_s(running.world.now)[row], running.world.lamp_wh(running.world.now)[row]
    points = [(name, lamp.gear) for name in ("burning_hours", "level_power_on", "lamp_energy")]
    before = await running.read(cabinet, *points)
    assert before.values.tolist() == [int(burnt), 400.0, int(drawn)]
    await running.breaks(kind="gear_swap", luminaire=lamp.id, burning_s=7200)
    after = await running.read(cabinet, *points)
    assert after.values.tolist() == [7200.0, 1000.0, 0.0]
    # What the luminaire has burnt and drawn, and its meter with it, does not go back.
    assert running.world.lamps.burning_s(running.world.now)[row] == burnt
    assert running.world.lamp_wh(running.world.now)[row] == drawn
    assert not running.simulator.faults.active()


async def test_a_driver_says_who_it_is_where_the_gateway_asks_it(running: Running) -> None:
    lamp = running.lamps(1)[0]
    before = await running.read(1, ("gear_identity", lamp.gear))
    await running.breaks(kind="gear_swap", luminaire=lamp.id, serial="DRV-4711")
    after = await running.read(1, ("gear_identity", lamp.gear))
    assert before.texts[0].startswith("LB-DRV-")
    assert after.texts[0] == "DRV-4711"


async def test_a_driver_without_an_address_is_silent_and_counted_until_it_gets_one(running: Running) -> None:
    lamp, other = running.lamps(1)[:2]
    await running.breaks(kind="gear_unaddressed", luminaire=lamp.id)
    points = (("gears_unaddressed", 0), ("gear_failure", lamp.gear), ("gear_failure", other.gear))
    assert (await running.read(1, *points)).values.tolist() == [1.0, 1.0, 0.0]
    gateway = running.gateway(1)
    await gateway.write([WriteRequest(PointAddress("broadcast_level_command", 0), 500.0)], verify=False)
    row = running.world.lamp_index[lamp.id]
    assert running.world.lamps.target[row] == 500.0  # a broadcast reaches what has no address, too
    await gateway.write([WriteRequest(PointAddress("level_command", lamp.gear), 300.0)], verify=False)
    assert running.world.lamps.target[row] == 500.0
    await running.simulator.faults.clear()
    assert (await running.read(1, *points)).values.tolist() == [0.0, 0.0, 0.0]
    await gateway.write([WriteRequest(PointAddress("level_command", lamp.gear), 300.0)], verify=False)
    assert running.world.lamps.target[row] == 300.0


async def test_a_driver_with_an_address_of_another_follows_that_one_and_both_are_told(running: Running) -> None:
    lamp, other = running.lamps(1)[:2]
    await running.breaks(kind="gear_duplicate", luminaire=lamp.id, of=other.id)
    points = (("address_conflict", other.gear), ("address_conflict", lamp.gear), ("gear_failure", lamp.gear))
    assert (await running.read(1, *points)).values.tolist() == [1.0, 0.0, 1.0]
    await running.gateway(1).write([WriteRequest(PointAddress("level_command", other.gear), 300.0)], verify=False)
    rows = np.array([running.world.lamp_index[x.id] for x in (lamp, other)])
    assert running.world.lamps.target[rows].tolist() == [300.0, 300.0]
    await running.simulator.faults.clear()
    assert (await running.read(1, *points)).values.tolist() == [0.0, 0.0, 0.0]


async def test_what_makes_no_sense_is_refused(running: Running) -> None:
    lamp, other = running.lamps(1)[0], running.lamps(0)[0]
    for fault in (
        {"kind": "gear_duplicate", "luminaire": lamp.id},
        {"kind": "gear_duplicate", "luminaire": lamp.id, "of": lamp.id},
        {"kind": "gear_duplicate", "luminaire": lamp.id, "of": other.id},
        {"kind": "gear_swap", "luminaire": lamp.id, "burning_s": -1},
    ):
        with pytest.raises(InvalidInput):
            await running.breaks(**fault)
    assert running.simulator.faults.active() == []


async def test_a_lamp_of_an_opc_ua_server_has_no_address_to_lose() -> None:
    simulator = Simulator(swapping_town(30, 6), SteppedClock(NOON))
    with pytest.raises(InvalidInput, match="no address"):
        await simulator.faults.inject({"kind": "gear_unaddressed", "luminaire": "L-0030"})
