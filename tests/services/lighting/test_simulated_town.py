"""A night of the simulated town over real Modbus TCP and OPC UA: every lamp follows, and the energy agrees."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from domain.level import PowerCurve
from domain.plan import Plan, to_unix_ms
from fieldbus.client import Fieldbus
from fieldbus.device import Limits
from servicekit.clock import SteppedClock
from services.lighting.control import Control
from services.lighting.energy import LevelChanges, drawn_by, energies
from services.lighting.fault_book import FaultBook
from services.lighting.fault_watch import FaultWatch
from services.lighting.field import Field
from services.lighting.gear_board import GearBoard
from services.lighting.ground import Tuning
from services.lighting.history import Change
from services.lighting.records import (
    CabinetRecord,
    EndpointRecord,
    EndpointState,
    FeederRecord,
    FeederSupply,
    GatewayRecord,
    GroupRecord,
    Inventory,
    Known,
    LockoutRecord,
    LuminaireRecord,
    Orders,
    TownRecord,
)
from services.lighting.state import TownState
from simulator.app import Simulator
from simulator.demo import DemoSize, demo_town
from simulator.town import Town
from tests.services.lighting.bench import NOON, GivenKnowledge

H = timedelta(hours=1)
PLAN = Plan.of(NOON, NOON + timedelta(days=1), [NOON + h * H for h in (0, 5, 11, 16.5, 19.2)], [0, 1000, 700, 1000, 0])


class SimulatorClock:
    """The simulator's view of the test's clock."""

    speed = 0.0

    def __init__(self, clock: SteppedClock) -> None:
        self._clock = clock
        self.start_s = self.now_s()

    def now_s(self) -> float:
        """Domain time in seconds."""
        return self._clock.now().timestamp()

    def step(self, seconds: float) -> None:
        """The test steps it."""


def inventory_of(town: Town) -> Inventory:
    """The simulated town as lighting knows it."""
    uid = {lamp.id: f"{number:032x}" for number, lamp in enumerate(town.luminaires)}
    return Inventory(
        1,
        (TownRecord("t1", "bad-hersfeld", town.latitude, town.longitude),),
        tuple(
            CabinetRecord(c.id, "t1", c.id, c.controller, latitude_deg=c.latitude, longitude_deg=c.longitude)
            for c in town.cabinets
        ),
        tuple(
            FeederRecord(
                f.id, "t1", f.id, f.cabinet, max(f.channel, 0),
                FeederSupply.PERMANENT if f.supply == "permanent" else FeederSupply.SWITCHED,
            )
            for f in town.feeders
        ),
        tuple(GatewayRecord(c.gateway, "t1", c.gateway, c.id, c.gateway) for c in town.cabinets),
        (GroupRecord("g0", "t1", "default"),),
        tuple(
            LuminaireRecord(
                uid[x.id], "t1", x.id, "g0", x.feeder, x.gateway, x.line * 64 + x.gear, x.floor_permille, x.crossing
            )
            for x in town.luminaires
        ),
        tuple(
            EndpointRecord(e.id, "t1", e.id, e.url, e.profile, EndpointState.IN_CONTROL)
            for e in town.endpoints if e.owner == "lighting"
        ),
    )  # fmt: skip


class Night:
    """The town, its control and what was recorded."""

    def __init__(self, luminaires: int = 200, town: Town | None = None) -> None:
        """town: in place of a demonstration town of so many luminaires."""
        self.clock = SteppedClock(NOON)
        size = DemoSize(luminaires=luminaires, cabinets=6, monitored=0, buildings=0)
        self.simulator = Simulator(town or demo_town(size), SimulatorClock(self.clock))
        self.knowledge = GivenKnowledge()
        self.state = TownState()
        self.changes: list[Change] = []
        self.book = FaultBook()
        self.gears = GearBoard()
        self.curves: dict[str, PowerCurve] = {}
        rests = Limits(request_timeout_s=0.5, read_deadline_s=2.0, backoff_initial_s=0.05, backoff_max_s=0.2)
        bus = Fieldbus(now=self.clock.now, require_simulator=True, limits=rests)
        tuning = Tuning(patience_real_s=20.0, poll_real_s=0.0, confirm_real_s=0.0, inrush_step_s=0.5)
        self.control = Control(
            self.knowledge, self.state, Field(bus), self.clock, holds=lambda: True, tuning=tuning,
            monotonic=lambda: (self.clock.now() - NOON).total_seconds() + 1000.0,
            after_pass=lambda: self.changes.extend(self.control.recorder.take()),
            watch_faults=FaultWatch(self.book, tuning.faults, lambda: self.curves, self.gears).look,
        )  # fmt: skip

    async def start(self) -> None:
        """Binds the ports and takes the inventory."""
        await self.simulator.start()
        self.inventory = inventory_of(self.simulator.town)
        self.knowledge.set(Known(self.inventory, Orders(1, {"g0": PLAN})))

    async def step(self, seconds: float) -> None:
        """Goes on, with a pass."""
        await self.clock.advance(timedelta(seconds=seconds))
        await self.control.once()

    async def to(self, hours: float, step_s: float = 1800.0) -> None:
        """Goes on to hours after noon, meeting each instant at which the plan switches."""
        until = NOON + hours * H
        while self.clock.now() < until:
            now_ms = to_unix_ms(self.clock.now())
            switching = [i for i in PLAN.instants_ms if i > now_ms]
            left = (until - self.clock.now()).total_seconds()
            await self.step(min([step_s, left, *((i - now_ms) / 1000 for i in switching)]))
            if to_unix_ms(self.clock.now()) in PLAN.instants_ms:
                for _ in range(3):
                    await self.step(10.0)

    def faults(self) -> list[tuple[str, str]]:
        """What stands in the book of faults: (kind, id of what it is on) each, in a fixed order."""
        lamps = {lamp.uid: lamp.id for lamp in self.inventory.luminaires}
        return sorted(
            (key.kind.name.lower(), lamps.get(key.subject_uid, key.subject_uid)) for key in self.book.standing
        )

    def truth(self) -> np.ndarray:
        """What every lamp really shows, in per mille, in the order of the inventory."""
        self.simulator.catch_up()
        return self.simulator.world.lamps.light_level(self.simulator.world.now)

    async def stop(self) -> None:
        """Closes everything."""
        await self.control.close()
        await self.simulator.stop()


@pytest.fixture
async def night() -> AsyncIterator[Night]:
    """A town at noon."""
    made = Night()
    await made.start()
    yield made
    await made.stop()


async def test_every_lamp_of_every_make_follows_the_night_and_the_energy_is_that_of_the_lamps(night: Night):
    lamps = night.simulator.world.lamps
    night.simulator.catch_up()
    await night.step(1.0)
    began = lamps.energy_wh(night.simulator.world.now).copy()
    crossings = np.array([lamp.conflict_area for lamp in night.inventory.luminaires])
    for hours, level in ((1, 0), (5.1, 1000), (10.9, 1000), (11.1, 700), (16.4, 700), (16.6, 1000), (19.4, 0)):
        await night.to(hours)
        truth = night.truth()
        wanted = np.where(crossings & (level > 0), 1000, level)
        assert np.abs(truth - wanted).max() <= 20, hours
        assert (truth[wanted == 0] == 0).all()
        assert night.state.lamps.due.tolist() == wanted.tolist()
        assert not night.state.lamps.faults.any()
        assert night.faults() == []
    await night.to(20)
    counted = lamps.energy_wh(night.simulator.world.now) - began
    computed = computed_wh(night, 1.0)
    assert abs(computed.sum() - counted.sum()) / counted.sum() < 0.001
    assert np.abs(computed - counted).max() < 0.02 * counted.max()


def computed_wh(night: Night, start_s: float) -> np.ndarray:
    """Energy of each lamp from the recorded history and its model's curve."""
    models = {model.id: model for model in night.simulator.town.models}
    drawn = [
        drawn_by(
            rated_power_w=models[lamp.model].rated_w,
            standby_power_w=models[lamp.model].standby_w,
            curve=models[lamp.model].curve,
            installed_power_w=0.0,
        )
        for lamp in night.simulator.town.luminaires
    ]
    rows = {lamp.uid: row for row, lamp in enumerate(night.inventory.luminaires)}
    changes = sorted((rows[c.uid], c.at_ms, c.level_permille, c.powered) for c in night.changes)
    columns = [np.array(column) for column in zip(*changes, strict=True)]
    start, end = to_unix_ms(NOON) + round(start_s * 1000), to_unix_ms(night.clock.now())
    return energies(LevelChanges(*columns), drawn, start, end).energy_mwh / 1000.0


async def test_nothing_is_ever_written_to_a_locked_out_feeder(night: Night):
    locked = {feeder.uid for feeder in night.inventory.feeders[::3]}
    orders = replace(
        night.knowledge.known.orders, lockouts=tuple(LockoutRecord(f"k{uid}", "t1", uid) for uid in sorted(locked))
    )
    night.knowledge.set(replace(night.knowledge.known, orders=orders))
    await night.to(13)
    written = {feeder for write in night.simulator.field.writes.select() for feeder in write.feeders}
    assert written, "the town was not written at all"
    assert not locked & written
    lit = {lamp.uid for lamp, level in zip(night.inventory.luminaires, night.truth(), strict=True) if level > 0}
    free = {lamp.uid for lamp in night.inventory.luminaires if lamp.feeder_uid not in locked}
    assert lit == free


async def test_a_line_of_one_level_is_told_by_one_broadcast_and_nothing_is_told_twice(night: Night):
    await night.to(10.9)
    before = len(night.simulator.field.writes.select(kind="level"))
    await night.to(12)
    told = night.simulator.field.writes.select(kind="level")[before:]
    by_endpoint = Counter(write.endpoint for write in told)
    crossings = {lamp.gateway_uid for lamp in night.inventory.luminaires if lamp.conflict_area}
    makes = {endpoint.uid: endpoint.profile for endpoint in night.inventory.endpoints}
    uniform = [uid for uid in by_endpoint if makes[uid] == "intesis-dali" and uid not in crossings]
    assert all(by_endpoint[uid] == 1 for uid in uniform)
    assert sum(write.luminaires for write in told) <= len(night.inventory.luminaires)
    assert all(row.get("exceptions", 0) == 0 for row in night.simulator.devices.traffic())
