"""A controller that keeps a schedule gets ours over real Modbus, and switches by it when Lichtbuch is gone."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fieldbus.client import Fieldbus
from fieldbus.values import PointAddress, WriteOutcome, WriteRequest
from services.lighting.records import LockoutRecord, Orders
from simulator.demo import DemoSize, demo_town
from simulator.town import PROFILE_CABINET, PROFILE_CABINET_WITH_SCHEDULE
from tests.services.lighting.bench import NOON
from tests.services.lighting.test_simulated_town import PLAN, Night

KEEPER = "C-002"
"""Its feeders: two switched ones, one permanent."""


@pytest.fixture
async def night() -> AsyncIterator[Night]:
    """Two cabinets at noon; the controller of the second keeps a schedule."""
    town = demo_town(DemoSize(luminaires=10, cabinets=2, monitored=0, buildings=0))
    endpoints = tuple(
        replace(e, profile=PROFILE_CABINET_WITH_SCHEDULE) if e.id == f"{KEEPER}-plc" else e for e in town.endpoints
    )
    made = Night(town=replace(town, endpoints=endpoints))
    await made.start()
    yield made
    await made.stop()


def closed(night: Night, hours: float) -> list[bool]:
    """The contactors at hours after noon, nobody commanding."""
    world = night.simulator.world
    world.advance((NOON + timedelta(hours=hours)).timestamp())
    return world.cabinets[KEEPER].closed[:2]


async def test_without_lichtbuch_the_street_is_lit_by_what_the_controller_was_given(night: Night):
    for _ in range(4):
        await night.step(10.0)
    schedule = night.simulator.world.cabinets[KEEPER].schedule
    assert schedule is not None
    assert schedule.enabled
    assert not any(schedule.half_night)
    # The plan is on from 16:00 UTC until 6:12, with the sun down from 15:42 until 6:31.
    assert 900 <= schedule.on_offset_s <= 1260
    assert -1380 <= schedule.off_offset_s <= -900
    await night.control.close()

    # Somebody sets the watch and lets one feeder rest for the middle of the night, by the same profile.
    bus = Fieldbus(now=lambda: datetime.fromtimestamp(night.simulator.world.now, UTC), require_simulator=True)
    endpoint = next(e for e in night.simulator.town.endpoints if e.id == f"{KEEPER}-plc")
    device = bus.open(endpoint.url, endpoint.profile)
    settings = {"half_night_off": 0.0, "half_night_on": 10_800.0, "half_night_enabled": 1.0}
    writes = [WriteRequest(PointAddress(name, 1), value) for name, value in settings.items()]
    results = await device.write([*writes, WriteRequest(PointAddress("heartbeat_timeout"), 60.0)], verify=True)
    assert [result.outcome for result in results] == [WriteOutcome.CONFIRMED] * 4
    await bus.close()

    assert closed(night, 4.7) == [False, False]  # sunset is over, but the plan is not on yet
    assert closed(night, 5.1) == [True, True]
    assert closed(night, 11.9) == [True, True]
    assert closed(night, 12.1) == [True, False]  # 23:06 UTC: a few minutes past midnight in winter time
    assert closed(night, 14.9) == [True, False]
    assert closed(night, 15.1) == [True, True]
    assert closed(night, 19.0) == [True, True]
    assert closed(night, 19.4) == [False, False]
    assert closed(night, 29.1) == [True, True]  # and so every evening


async def test_with_a_feeder_locked_out_the_controller_stays_as_it_was_commanded(night: Night):
    feeder = next(f.uid for f in night.inventory.feeders if f.cabinet_uid == KEEPER and f.uid.endswith("F1"))
    orders = Orders(2, {"g0": PLAN}, lockouts=(LockoutRecord("k", "t1", feeder),))
    night.knowledge.set(replace(night.knowledge.known, orders=orders))
    for _ in range(4):
        await night.step(10.0)
    state = night.simulator.world.cabinets[KEEPER]
    assert state.schedule is not None
    assert not state.schedule.enabled
    await night.control.close()
    night.simulator.world.set_heartbeat_timeout(KEEPER, 60)
    assert closed(night, 12.0) == [False, False]


def test_of_a_larger_town_some_controllers_keep_a_schedule():
    for cabinets, keepers in ((6, 0), (20, 1), (100, 5)):
        town = demo_town(DemoSize(luminaires=cabinets * 4, cabinets=cabinets, monitored=0, buildings=0))
        profiles = [e.profile for e in town.endpoints if e.id.endswith("-plc")]
        assert profiles.count(PROFILE_CABINET_WITH_SCHEDULE) == keepers
        assert profiles.count(PROFILE_CABINET) == cabinets - keepers
