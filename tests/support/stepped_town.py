"""A town in one process on one stepped clock: the real scheduler and lighting over gRPC, and the simulator's devices
over Modbus and OPC UA, all on loopback. Time goes on from event to event, and only once what an event set off is done.

Not here: what is due by whom (almanac.py), and what the lamps did (witness.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any, Final

from cli.demo import inventory as demo
from cli.demo.seed import Seeding
from fieldbus.client import Fieldbus
from fieldbus.device import Limits
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from lichtbuch.lighting.v1 import lighting_pb2_grpc
from lichtbuch.scheduler.v1 import scheduler_pb2_grpc
from servicekit.client import ServiceChannel, connect
from servicekit.clock import SteppedClock
from servicekit.convert import timestamp_to_proto
from servicekit.database import Database
from servicekit.migrate import migrations_of
from servicekit.server import Server
from servicekit.settings import ServiceSettings
from servicekit.tenants import FixedTenants
from servicekit.tokens import StaticToken
from services.lighting.api import Parts
from services.lighting.app import fill
from services.lighting.records import EndpointRecord, EndpointState
from services.lighting.settings import LightingSettings
from services.lighting.store.endpoints import replace_endpoints
from services.scheduler.app import assemble
from services.scheduler.lighting import Lighting
from simulator.app import Simulator
from simulator.town import Town, town_to_json
from tests.support.issuer import Issuer
from tests.support.running import ADMIN, BINDINGS, HERSFELD, access_from, authenticator_for, settings_for
from tests.support.waiting import eventually
from tests.support.witness import Witness

COARSE_S: Final = 6 * 3600.0
"""Between two passes of lighting while nothing is due to change."""
FINE_S: Final = 10.0
"""Between two passes after something was due: what lighting does all the time where nobody is in a hurry."""
SETTLED: Final = timedelta(seconds=35)
"""So long after a switching instant passes are made that often."""
EARLY: Final = timedelta(seconds=10)
"""So long before: the almanac's sun and the plan's differ by some seconds."""
PATIENT: Final = Limits(
    connect_timeout_s=60.0, request_timeout_s=60.0, read_deadline_s=300.0, write_deadline_s=300.0,
    backoff_initial_s=0.05, backoff_max_s=0.2,
)  # fmt: skip
"""A machine that is busy with other things for some seconds must not look like a device that is dead for hours."""
TOKENS_LAST_S: Final = 6 * 3600
_CLOSE: Final = timedelta(seconds=60)


class SimulatorClock:
    """The simulator's view of the one clock."""

    speed = 0.0

    def __init__(self, clock: SteppedClock) -> None:
        self._clock = clock
        self.start_s = self.now_s()

    def now_s(self) -> float:
        """Domain time in seconds."""
        return self._clock.now().timestamp()

    def step(self, seconds: float) -> None:
        """The test steps it."""


@dataclass
class Desk:
    """What seeding and tests call: the services as the administrator."""

    lighting: Any
    scheduler: Any
    municipality_id: str = HERSFELD.id

    async def parent(self) -> str:
        """The municipality."""
        return demo.PARENT


@dataclass
class SteppedTown:
    """A running town."""

    clock: SteppedClock
    simulator: Simulator
    witness: Witness
    parts: Parts
    desk: Desk

    @property
    def town(self) -> Town:
        """What it consists of."""
        return self.simulator.town

    def pace(self, seconds: float) -> None:
        """So long between two passes of lighting from the next one on."""
        self.parts.control.tuning = replace(self.parts.control.tuning, interval_s=seconds)

    async def to(self, until: datetime, switching: Iterable[datetime] = ()) -> None:
        """Goes on until an instant, with passes close together after each instant at which something is due, and at the
        end: whatever is changed then is seen at once."""
        # Lighting looks for new plans once a real second, in which a night may have passed here.
        await self.parts.memory.refresh()
        for begin, end in _together(sorted(at for at in switching if self.clock.now() < at <= until)):
            await self._coarsely(begin - EARLY)
            await self._advance(min(end + SETTLED, until))
        await self._coarsely(until)

    async def _coarsely(self, until: datetime) -> None:
        """With few passes until shortly before an instant. A pace counts from the next pass on, which is 10 s away."""
        left_s = (until - self.clock.now()).total_seconds()
        if left_s > 4 * FINE_S:
            self.pace((left_s - 1.2 * FINE_S) / ceil(left_s / COARSE_S))
            await self._advance(until - timedelta(seconds=1.3 * FINE_S))
        self.pace(FINE_S)
        await self._advance(until)

    async def _advance(self, until: datetime) -> None:
        if until > self.clock.now():
            await self.clock.advance(until - self.clock.now(), settle_s=600.0)
        self.simulator.catch_up()

    async def burning_s(self, start: datetime, end: datetime) -> dict[str, tuple[int, int, int]]:
        """From lighting's own history, by id of the luminaire: seconds lit, seconds known, energy in mWh."""
        request = pb.ComputeEnergyRequest(
            parent=demo.PARENT, start_time=timestamp_to_proto(start), end_time=timestamp_to_proto(end)
        )
        found = (await self.desk.lighting.ComputeEnergy(request, timeout=300)).energies
        names = (name.rsplit("/", 1)[-1] for name in found.names)
        return dict(
            zip(names, zip(found.lit_seconds, found.known_seconds, found.energies_mwh, strict=True), strict=True)
        )


def some_cabinets(town: Town, indices: Iterable[int]) -> Town:
    """The same town with only some of its cabinets, and what hangs on them; without meters and buildings."""
    chosen = set(indices)
    cabinets = tuple(replace(cabinet, meter="") for index, cabinet in enumerate(town.cabinets) if index in chosen)
    kept = {cabinet.id for cabinet in cabinets}
    return replace(
        town,
        cabinets=cabinets,
        feeders=tuple(feeder for feeder in town.feeders if feeder.cabinet in kept),
        luminaires=tuple(lamp for lamp in town.luminaires if lamp.cabinet in kept),
        endpoints=tuple(e for e in town.endpoints if e.owner == "lighting" and (not e.cabinet or e.cabinet in kept)),
        meters=(),
        buildings=(),
    )


def _together(instants: Sequence[datetime]) -> list[tuple[datetime, datetime]]:
    """Instants that are close to each other as one span."""
    spans: list[tuple[datetime, datetime]] = []
    for at in instants:
        if spans and at - spans[-1][1] <= _CLOSE:
            spans[-1] = spans[-1][0], at
        else:
            spans.append((at, at))
    return spans


@asynccontextmanager
async def stepped_town(
    folder: Path, start: datetime, town: Town, *, scheduler_every_s: float = 6 * 3600.0
) -> AsyncIterator[SteppedTown]:
    """A simulated town, its lamps known and in control; nothing is planned yet.

    scheduler_every_s: between two of the scheduler's comparisons of plans, which take half a real second at least.
    """
    issuer = Issuer()
    issuer.token_life_s = TOKENS_LAST_S
    clock = SteppedClock(start)
    simulator = Simulator(town, SimulatorClock(clock))
    witness = Witness(simulator.world)
    channels: list[ServiceChannel] = []

    def channel(server: Server, subject: str) -> ServiceChannel:
        identity = StaticToken(issuer.token(subject))
        channels.append(connect(f"127.0.0.1:{server.port}", identity=identity, deadline_s=60))
        return channels[-1]

    await simulator.start()
    lighting, parts = await _lighting(folder, clock, issuer)
    scheduler = await _scheduler(folder, clock, issuer, channel(lighting, "service:scheduler"), scheduler_every_s)
    desk = Desk(
        lighting_pb2_grpc.LightingServiceStub(channel(lighting, ADMIN)),
        scheduler_pb2_grpc.SchedulerServiceStub(channel(scheduler, ADMIN)),
    )
    running = SteppedTown(clock, simulator, witness, parts, desk)
    try:
        await _seed(running, folder)
        yield running
    finally:
        for opened in channels:
            await opened.close()
        await scheduler.stop(0.2)
        await lighting.stop(0.2)
        await simulator.stop()
        issuer.close()


async def _lighting(folder: Path, clock: SteppedClock, issuer: Issuer) -> tuple[Server, Parts]:
    settings = LightingSettings(
        listen="127.0.0.1:0", metrics_listen="off", database_url=f"sqlite:///{folder / 'lighting.db'}",
        data_dir=folder, drain_s=0.5, holder="test",
    )  # fmt: skip
    tuning = replace(
        settings.tuning,
        interval_s=COARSE_S,
        # All in domain time here, as nothing real passes: read back once a lamp has faded, and seldom otherwise.
        poll_real_s=0.9 * COARSE_S,
        confirm_real_s=FINE_S - 2,
        stale_real_s=2 * COARSE_S,
        patience_real_s=PATIENT.read_deadline_s,
    )
    began = clock.now()
    server = await _server(settings, clock, issuer)
    bus = Fieldbus(now=clock.now, require_simulator=True, limits=PATIENT)
    parts = await fill(
        server, settings, bus, tuning, monotonic=lambda: (clock.now() - began).total_seconds() + 10 * COARSE_S
    )
    # The first pass after the plans came must not be hours away.
    parts.control.tuning = replace(tuning, interval_s=FINE_S)
    await server.start()
    await eventually(lambda: parts.control.holds_field and clock.sleeping > 0)
    return server, parts


async def _scheduler(
    folder: Path, clock: SteppedClock, issuer: Issuer, lighting: ServiceChannel, every_s: float
) -> Server:
    settings = settings_for("scheduler", metrics_listen="off", database_url=f"sqlite:///{folder / 'scheduler.db'}")
    server = await _server(settings, clock, issuer)
    assert server.database is not None
    assemble(server, server.database, Lighting(lighting), every_s=every_s)
    await server.start()
    return server


async def _server(settings: ServiceSettings, clock: SteppedClock, issuer: Issuer) -> Server:
    database = Database(settings.resolved_database_url, settings.service, pool_size=4)
    await database.migrate(migrations_of(settings.service))
    server = Server(
        settings, authenticator=authenticator_for(issuer), access=access_from(BINDINGS),
        tenants=FixedTenants([HERSFELD]), database=database, clock=clock,
    )  # fmt: skip
    server.database_ready.set()
    return server


async def _seed(town: SteppedTown, folder: Path) -> None:
    """The town as lighting knows it: endpoints, as the registry would have told, and all else by lighting's methods."""
    endpoints = [
        EndpointRecord(f"{number:032x}", HERSFELD.uid, e.id, e.url, e.profile, EndpointState.IN_CONTROL)
        for number, e in enumerate(town.town.endpoints, start=0xE0000)
        if e.owner == "lighting"
    ]
    await town.parts.database.run(lambda session: replace_endpoints(session, endpoints, 0))
    await Seeding(town.desk, town_to_json(town.town), lambda _line: None).lighting(folder / "town")  # type: ignore[arg-type]
    await town.parts.memory.refresh()
