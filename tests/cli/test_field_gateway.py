"""Blinking lamps behind a gateway of the simulator: these follow, and a group tells who belongs to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from domain.timelapse import TimeLapse
from simulator.app import Simulator
from simulator.clock import RunningClock
from simulator.demo import DemoSize, demo_town
from simulator.world import Indices
from tests.cli.field_command import field

GATEWAY = "C-001-gw"


@pytest.fixture
async def town() -> AsyncIterator[Simulator]:
    """Eight lamps behind an Intesis gateway, lit at different levels; time runs fast, so that fades end at once."""
    start = datetime.now(UTC)
    clock = RunningClock(TimeLapse(start, start, 100.0))
    simulator = Simulator(demo_town(DemoSize(luminaires=8, cabinets=1, monitored=1, buildings=1)), clock)
    await simulator.start()
    world = simulator.world
    for feeder in world.town.feeders:
        if feeder.channel >= 0:
            world.command_contactor(feeder.cabinet, feeder.channel, True)
    for gear, places in enumerate(_places(simulator)):
        world.command_level(places, 300.0 + 100 * (gear % 3))
    yield simulator
    await simulator.stop()


def _places(simulator: Simulator) -> list[Indices]:
    addresses = simulator.world.gateways[GATEWAY].addresses
    return [addresses[gear : gear + 1] for gear in range(8) if addresses[gear] >= 0]


def _levels(simulator: Simulator) -> list[float]:
    return [float(simulator.world.lamps.target[int(places[0])]) for places in _places(simulator)]


async def test_a_lamp_behind_a_gateway_is_seen_to_follow(town: Simulator) -> None:
    before = _levels(town)
    url = town.devices.urls()[GATEWAY]
    done = await field("identify", url, "2", "-P", "intesis-dali", "--yes", "--pause", "0.3", "--times", "1", "--json")
    assert done.code == 0, done.err
    assert done.document[0]["followed"] == [2]
    assert _levels(town) == before


async def test_a_group_tells_its_members_and_each_gets_its_own_level_back(town: Simulator) -> None:
    before = _levels(town)
    url = town.devices.urls()[GATEWAY]
    gateway = town.world.gateways[GATEWAY]
    members = [gear for gear in range(64) if gateway.addresses[gear] in gateway.groups[0]]
    assert len(members) > 1
    done = await field(
        "identify", url, "0", "--group", "-P", "intesis-dali", "--yes", "--pause", "0.3", "--times", "1", "--json"
    )
    assert done.code == 0, done.err
    assert done.document[0]["followed"] == members
    assert _levels(town) == before
