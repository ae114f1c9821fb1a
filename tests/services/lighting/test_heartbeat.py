"""Controllers that watch for a heartbeat hear of whoever commands them; without it their own clock holds."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from domain.plan import Plan
from domain.timelapse import TimeLapse
from fieldbus.client import Fieldbus
from fieldbus.values import PointAddress
from servicekit.clock import TimeLapseClock
from services.lighting.control import Control
from services.lighting.field import Field
from services.lighting.ground import Tuning
from services.lighting.records import EndpointState, Inventory, Known, Orders, SwitchingOwner
from services.lighting.state import TownState
from simulator.app import Simulator
from simulator.cabinet import CabinetState
from simulator.clock import RunningClock
from simulator.demo import DemoSize, demo_town
from tests.services.lighting.bench import NOON, Bench, GivenKnowledge
from tests.services.lighting.test_simulated_town import inventory_of
from tests.support.waiting import eventually

MIDNIGHT = NOON + timedelta(hours=12)
SPEED = 300.0
PATIENCE_S = 900
"""Domain seconds without a heartbeat until the controller follows its own clock: three real ones."""
DARK = Plan.of(MIDNIGHT - timedelta(days=1), MIDNIGHT + timedelta(days=9), [MIDNIGHT - timedelta(days=1)], [0])


class Watched:
    """A simulated town whose controllers fall back without a heartbeat, and processes of lighting that come and go."""

    def __init__(self) -> None:
        town = demo_town(DemoSize(luminaires=8, cabinets=2, monitored=0, buildings=0))
        cabinets = tuple(replace(c, heartbeat_timeout_s=PATIENCE_S) for c in town.cabinets)
        lapse = TimeLapse(MIDNIGHT, datetime.now(UTC), SPEED)
        self.clock = TimeLapseClock(lapse)
        self.simulator = Simulator(replace(town, cabinets=cabinets), RunningClock(lapse))
        self.running: list[tuple[Control, asyncio.Task[None]]] = []

    @property
    def cabinet(self) -> CabinetState:
        """The first cabinet, as its controller holds it now."""
        self.simulator.catch_up()
        return self.simulator.world.cabinets["C-001"]

    @property
    def inventory(self) -> Inventory:
        """The town as lighting knows it."""
        return inventory_of(self.simulator.town)

    def start(self, *, holds: bool = True, state: EndpointState = EndpointState.IN_CONTROL) -> Control:
        """A process whose plan is darkness: the contactors are open as long as it commands them."""
        knowledge = GivenKnowledge()
        endpoints = tuple(replace(e, state=state) for e in self.inventory.endpoints)
        knowledge.set(Known(replace(self.inventory, endpoints=endpoints), Orders(1, {"g0": DARK})))
        bus = Fieldbus(now=self.clock.now, require_simulator=True)
        control = Control(
            knowledge, TownState(), Field(bus), self.clock, holds=lambda: holds, tuning=Tuning(poll_real_s=0.2)
        )
        self.running.append((control, asyncio.create_task(control.run(lambda: None))))
        return control

    async def stop(self) -> None:
        """Ends all processes, in order."""
        for control, task in self.running:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await control.close()
        self.running.clear()


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    made = Watched()
    await made.simulator.start()
    yield made
    await made.stop()
    await made.simulator.stop()


async def test_a_controller_obeys_while_it_hears_of_us_and_follows_its_own_clock_when_we_are_gone(watched: Watched):
    watched.start()
    await eventually(lambda: watched.cabinet.heartbeat > 0)
    heard = watched.cabinet.heartbeat
    await eventually(lambda: watched.cabinet.heartbeat > heard + 2)
    await eventually(lambda: watched.cabinet.fallback_lit is None)
    await watched.stop()
    await eventually(lambda: watched.cabinet.fallback_lit is True)
    lit = [channel for channel in watched.cabinet.channels if watched.cabinet.closed[channel]]
    assert lit == sorted(watched.cabinet.channels)
    watched.start()
    await eventually(lambda: watched.cabinet.fallback_lit is None)


async def test_who_stands_by_or_only_observes_sends_none(watched: Watched):
    watched.start(holds=False)
    observer = watched.start(state=EndpointState.OBSERVED)
    await eventually(lambda: observer.settled_until_ms > 0)  # it has made a pass, however long the machine took for it
    await eventually(lambda: watched.cabinet.fallback_lit is True)
    assert watched.cabinet.heartbeat == 0


async def test_a_heartbeat_goes_on_while_passes_are_slow_and_ends_when_they_end():
    bench = Bench(cabinets=1, interval_s=10.0)
    now = 0.0
    beats = bench.control._heartbeats
    beats._monotonic = lambda: now
    await bench.passes(1)
    cabinet = bench.town.controller(0).cabinet
    await eventually(lambda: cabinet.beats > 0)
    _, watchdog = beats._running["ec0"]
    now = 70.0  # no pass for longer than any takes
    assert beats._may_speak()
    now = 81.0
    assert not beats._may_speak()
    refused = await watchdog._device.write([(PointAddress("heartbeat"), 1.0)], False)
    assert [result.outcome for result in refused] == ["refused"]
    await bench.control.close()
    assert not watchdog.health().running


async def test_a_cabinet_that_somebody_else_switches_or_that_is_withdrawn_hears_nothing():
    bench = Bench(cabinets=2)
    cabinets = bench.knowledge.known.inventory.cabinets
    bench.stock(cabinets=(replace(cabinets[0], switching_owner=SwitchingOwner.ASTRO_CLOCK), cabinets[1]))
    await bench.passes(1)
    assert list(bench.control._heartbeats._running) == ["ec1"]
    bench.endpoint_state("ec1", EndpointState.TESTED)
    await bench.passes(1)
    assert not bench.control._heartbeats._running
    bench.endpoint_state("ec1", EndpointState.IN_CONTROL)
    await bench.passes(1)
    bench.holds = False
    await bench.passes(1)
    assert not bench.control._heartbeats._running
    await bench.control.close()
