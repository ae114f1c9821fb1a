"""A simulated town behind running lighting, for trying what happens when things break, and the judge of it.

Real parts: Modbus TCP and OPC UA to the simulator, gRPC, a database. Time is stepped, so that days take seconds; a pass
is one interval of the reconcile loop. What is due is worked out by the scalar reference from what the test itself
ordered, what lamps show and who wrote what is the simulator's own truth, asked over its control interface.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from mmap import mmap
from pathlib import Path
from typing import Any

import httpx
from sqlmodel import Session, col, select

from cli.demo import inventory as demo
from domain.plan import Plan, from_unix_ms
from domain.priority import Priority
from fieldbus.client import Fieldbus
from fieldbus.device import Limits
from lichtbuch.lighting.v1 import control_pb2 as ctl
from lichtbuch.lighting.v1 import faults_pb2 as flt
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from servicekit.audit import AuditRecord
from servicekit.clock import Clock, SteppedClock, system_time
from servicekit.database import Database
from servicekit.server import Server
from servicekit.tenants import FixedTenants
from services.lighting.app import MIGRATIONS, fill
from services.lighting.ground import Tuning
from services.lighting.records import EndpointRecord, EndpointState, LockoutRecord, Orders, OverrideRecord
from services.lighting.settings import LightingSettings
from services.lighting.store.endpoints import replace_endpoints
from simulator.app import Simulator
from simulator.demo import DemoSize, demo_town
from simulator.town import Town, town_to_json
from tests.services.lighting.any_town import reference
from tests.services.lighting.bench import NOON
from tests.services.lighting.running import SCHEDULER, H, Lighting, T, at
from tests.services.lighting.test_simulated_town import inventory_of
from tests.support.issuer import Issuer
from tests.support.running import BINDINGS, HERSFELD, TOWNS, access_from, authenticator_for
from tests.support.waiting import eventually

PASS_S = 10.0
"""Between two regular passes: as in operation."""
FADE_S = 5.0
"""Lamps are judged so long after a pass: less than until the next one."""
LOCKED = ("C-002-F1", "C-003-F2", "C-005-F1")
"""Feeders that are locked out all the time: two switched ones beside others of their cabinets, a permanent one."""
NIGHT = ((0, 0), (5, 1000), (10.5, 700), (16.5, 1000), (19.2, 0))
"""Hours after noon and levels of every night's plan."""
TOLERANCE = 20
"""Per mille that a make of gateway may be off by its steps."""
_PRIORITIES = {
    Priority.EMERGENCY: ctl.OVERRIDE_PRIORITY_EMERGENCY,
    Priority.MAINTENANCE: ctl.OVERRIDE_PRIORITY_MAINTENANCE,
    Priority.OPERATOR: ctl.OVERRIDE_PRIORITY_OPERATOR,
}
_COMMANDS = ("CreateOverride", "ReleaseOverride", "CreateLockout", "ReleaseLockout", "PutPlan")
_OF_PROTO = {number: priority for priority, number in _PRIORITIES.items()}


class WallClock:
    """Lighting's clock, which may be wrong: `off` is by how much. Who sleeps is woken when so much time has passed."""

    speed: float = math.inf

    def __init__(self, true: SteppedClock) -> None:
        self.true = true
        self.off = timedelta(0)

    def now(self) -> datetime:
        """What this clock shows."""
        return self.true.now() + self.off

    def real(self) -> datetime:
        """Real instant."""
        return system_time()

    async def sleep(self, domain_seconds: float) -> None:
        """Sleeps for seconds."""
        await self.true.sleep(domain_seconds)

    async def sleep_until(self, domain_instant: datetime) -> None:
        """Sleeps as long as it takes by what the clock shows now."""
        await self.true.sleep_until(domain_instant - self.off)

    async def sleep_real(self, seconds: float) -> None:
        """Sleeps for real seconds."""
        await self.true.sleep_real(seconds)


class SharedClock(SteppedClock):
    """A stepped clock whose time stands in a file: other processes see it move. Who steps it writes."""

    def __init__(self, file: Path, start: datetime) -> None:
        if not file.exists():
            file.write_bytes(bytes(8))
        with file.open("r+b") as opened:
            self._page = mmap(opened.fileno(), 8)
        super().__init__(start)

    @property
    def _now(self) -> datetime:
        return datetime.fromtimestamp(struct.unpack("<d", self._page)[0], UTC)

    @_now.setter
    def _now(self, instant: datetime) -> None:
        self._page[:] = struct.pack("<d", instant.timestamp())


class TownClock:
    """The simulator's view of the true time."""

    speed = 0.0

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.start_s = self.now_s()

    def now_s(self) -> float:
        """Domain time in seconds."""
        return self._now().timestamp()

    def step(self, seconds: float) -> None:
        """The test steps it."""


@dataclass
class Deeds:
    """What was ordered and acknowledged: the audit trail must know exactly this."""

    acknowledged: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By action and resource."""

    def note(self, action: str, resource: str) -> None:
        """A command was acknowledged."""
        self.acknowledged[action, resource] += 1


class ChaosTown:
    """The simulated town, what is ordered in it, and the judge."""

    def __init__(self, issuer: Issuer, folder: Path, now: Callable[[], datetime]) -> None:
        self.issuer, self.folder, self.now = issuer, folder, now
        self.simulator = Simulator(
            demo_town(DemoSize(luminaires=40, cabinets=6, monitored=0, buildings=0)), TownClock(now)
        )
        self.orders = Orders()
        self.deeds = Deeds()
        self.plan = Plan.of(NOON, NOON + timedelta(days=1), [NOON], [0])
        self._http: httpx.AsyncClient | None = None
        self._untouched: dict[str, float] = {}
        self._overrides = 0

    @property
    def town(self) -> Town:
        """The town with the addresses of its devices."""
        return self.simulator.town

    # --- the simulator ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Binds the devices' ports."""
        await self.simulator.start()
        self.inventory = inventory_of(self.town)
        transport = httpx.ASGITransport(app=self.simulator.control().application())
        self._http = httpx.AsyncClient(transport=transport, base_url="http://simulator")
        self.locked_lamps = {lamp.id for lamp in self.town.luminaires if lamp.feeder in LOCKED}
        self._untouched = {k: v for k, v in (await self.levels()).items() if k in self.locked_lamps}

    async def stop(self) -> None:
        """Closes them."""
        if self._http is not None:
            await self._http.aclose()
        await self.simulator.stop()

    async def ask(self, path: str, **query: str) -> Any:
        """What the simulator answers."""
        assert self._http is not None
        answer = await self._http.get(path, params=query)
        answer.raise_for_status()
        return answer.json()

    async def break_(self, **fault: Any) -> str:
        """Begins a fault of the simulator; its id."""
        assert self._http is not None
        answer = await self._http.post("/faults", json=fault)
        answer.raise_for_status()
        found: str = answer.json()["id"]
        return found

    async def mend(self, fault: str) -> None:
        """Ends a fault."""
        assert self._http is not None
        (await self._http.delete("/faults", params={"id": fault})).raise_for_status()

    async def levels(self) -> dict[str, float]:
        """What every lamp really shows, in per mille."""
        answer = await self.ask("/truth/luminaires")
        return {row["id"]: row["level_permille"] for row in answer["luminaires"]}

    async def writes(self, after: int = 0) -> dict[str, list[tuple[Any, ...]]]:
        """Writes to lamps and contactors after one of a number, by endpoint in order: when and what."""
        answer = await self.ask("/writes", after=str(after))
        assert answer["matching"] == len(answer["writes"])
        found: dict[str, list[tuple[Any, ...]]] = {}
        for w in answer["writes"]:
            if w["kind"] != "heartbeat":
                found.setdefault(w["endpoint"], []).append((w["at"], w["register"], w["kind"], tuple(w["values"])))
        return found

    async def written(self) -> int:
        """Number of the last write."""
        answer: int = (await self.ask("/writes", limit="0"))["total"]
        return answer

    # --- what is ordered --------------------------------------------------------------------------------------------

    async def seed(self, lighting: Lighting) -> None:
        """Puts the town in, with its feeders locked out before anything may be written to a device."""
        town, planner = town_to_json(self.town), lighting.planner
        for item in town["models"]:
            await planner.CreateLuminaireModel(
                pb.CreateLuminaireModelRequest(
                    parent=T, luminaire_model_id=item["id"], luminaire_model=demo.model(item)
                )
            )
        await self.endpoints(lighting.parts.database, EndpointState.PLANNED)
        for item in town["cabinets"]:
            await planner.CreateCabinet(
                pb.CreateCabinetRequest(parent=T, cabinet_id=item["id"], cabinet=demo.cabinet(item))
            )
        for item in town["feeders"]:
            await planner.CreateFeeder(pb.CreateFeederRequest(parent=T, feeder_id=item["id"], feeder=demo.feeder(item)))
        for key, item in demo.gateways(town).items():
            await planner.CreateGateway(pb.CreateGatewayRequest(parent=T, gateway_id=key, gateway=item))
        for feeder in LOCKED:
            await self.lock_out(lighting, feeder)
        lamps = self.town.luminaires
        report = await lighting.import_lines(
            luminaire_ids=[x.id for x in lamps], model_ids=[x.model for x in lamps],
            feeder_ids=[x.feeder for x in lamps], gateway_ids=[x.gateway for x in lamps],
            gateway_addresses=[x.line * 64 + x.gear for x in lamps], floors_permille=[x.floor_permille for x in lamps],
            conflict_areas=[x.crossing for x in lamps], latitudes_deg=[x.latitude for x in lamps],
            longitudes_deg=[x.longitude for x in lamps],
        )  # fmt: skip
        assert report.committed, report
        await self.endpoints(lighting.parts.database, EndpointState.IN_CONTROL)
        await lighting.parts.memory.refresh()

    async def endpoints(self, database: Database, state: EndpointState = EndpointState.IN_CONTROL) -> None:
        """The field endpoints as the registry would have told."""
        records = [
            EndpointRecord(f"{0xE0000 + number:032x}", HERSFELD.uid, e.id, e.url, e.profile, state)
            for number, e in enumerate(self.town.endpoints) if e.owner == "lighting"
        ]  # fmt: skip
        await database.run(lambda session: replace_endpoints(session, records, 0))

    async def lock_out(self, lighting: Lighting, feeder: str, request_id: str = "") -> None:
        """Locks a feeder out: its lamps stay as they are."""
        lockout = ctl.Lockout(feeder=f"{T}/feeders/{feeder}", reason="cable works")
        request = pb.CreateLockoutRequest(parent=T, lockout=lockout, request_id=request_id)
        made = await lighting.operator.CreateLockout(request)
        lamps = {lamp.id for lamp in self.town.luminaires if lamp.feeder == feeder}
        self._untouched |= {k: v for k, v in (await self.levels()).items() if k in lamps}
        self.orders = replace(
            self.orders, lockouts=(*self.orders.lockouts, LockoutRecord(made.uid, "t1", feeder))
        )  # fmt: skip
        self.deeds.note("CreateLockout", made.name)

    async def put_plan(self, lighting: Lighting, days: int = 3) -> None:
        """The same night again and again, put by the scheduler."""
        before, self.plan = self.plan, nights(days)
        made = await lighting.as_(SCHEDULER).PutPlan(
            pb.PutPlanRequest(parent=f"{T}/groups/default", plan=plan_message(self.plan))
        )
        self.take_plan(self.plan)
        if self.plan.hash != before.hash:  # the same plan again changes nothing
            self.deeds.note("PutPlan", made.name)
        await lighting.parts.memory.refresh()

    def take_plan(self, plan: Plan) -> None:
        """This plan holds."""
        self.orders = replace(self.orders, plans={"g0": plan})

    async def override(
        self, lighting: Lighting, level: int, start: float | None, end: float, *,
        priority: Priority = Priority.OPERATOR, request_id: str = "", known_as: str = T,
    ) -> ctl.Override:  # fmt: skip
        """Commands the whole town from and until hours after noon; None for now."""
        return self.noted(await lighting.operator.CreateOverride(
            override_request(level, start, end, priority=priority, request_id=request_id, target=known_as)
        ))  # fmt: skip

    def noted(self, made: ctl.Override, uid: str = "t1") -> ctl.Override:
        """An override was acknowledged."""
        self.deeds.note("CreateOverride", made.name)
        self._overrides += 1
        row = OverrideRecord(
            made.uid, "t1", _OF_PROTO[made.priority], made.level_permille, self._overrides,
            round(made.start_time.ToMicroseconds() / 1000), round(made.expire_time.ToMicroseconds() / 1000), (uid,),
        )  # fmt: skip
        self.orders = replace(self.orders, overrides=(*self.orders.overrides, row))
        return made

    # --- the judge --------------------------------------------------------------------------------------------------

    def due(self, now: datetime | None = None) -> dict[str, int | None]:
        """The due level of every lamp, by the scalar reference; None where locked out."""
        now = now or self.now()
        return {
            lamp.id: reference(self.inventory, self.orders, {}, lamp, now)[0].level_permille
            for lamp in self.inventory.luminaires
        }

    async def wrong(self, now: datetime | None = None) -> list[str]:
        """Lamps that do not show what is due, in words. Locked-out ones must be as they were."""
        found, shown = [], await self.levels()
        for lamp, level in self.due(now).items():
            want = self._untouched[lamp] if level is None else level
            if abs(shown[lamp] - want) > TOLERANCE or (want == 0) != (shown[lamp] == 0):
                found.append(f"{lamp}: due {want}, shows {shown[lamp]}")
        return found

    async def assert_locked_out_untouched(self) -> None:
        """Neither lamps nor contactor of a locked-out feeder were ever written, by the simulator's own record."""
        town = await self.ask("/writes", limit="0")
        assert town["total"] > 0, "nothing was written at all"
        assert town["total"] <= 200_000, "the record does not reach back to the beginning"
        for lockout in self.orders.lockouts:
            if lockout.feeder_uid in LOCKED:
                found = await self.ask("/writes", feeder=lockout.feeder_uid)
                assert found["matching"] == 0, found["writes"][:3]
        assert {k: v for k, v in (await self.levels()).items() if k in self._untouched} == self._untouched

    async def assert_trail_is_whole(self, lighting: Lighting, database: Database, *, counted: bool = True) -> None:
        """Each acknowledged command is recorded once, nobody commanded anything else, and records follow each other.

        counted: by numbers without a gap, as SQLite gives them.
        """
        records = await lighting.trail()
        commands = Counter((r.action.rpartition("/")[2], r.resource) for r in records)
        assert {key: count for key, count in commands.items() if key[0] in _COMMANDS} == self.deeds.acknowledged
        assert len({r.uid for r in records}) == len(records)
        real = [r.recorded_at.ToMicroseconds() for r in reversed(records)]
        assert real == sorted(real)
        assert all(r.actor and r.after_json for r in records)
        if counted:
            numbers = await database.read(sequences)
            assert numbers == list(range(1, len(records) + 1))


def sequences(session: Session) -> list[int]:
    """The numbers of the audit trail, in order."""
    number = col(AuditRecord.sequence)
    return [int(found or 0) for found in session.exec(select(number).order_by(number))]


def nights(days: int) -> Plan:
    """A plan of some nights, each the same."""
    steps = [(NOON + timedelta(days=day) + hours * H, level) for day in range(days) for hours, level in NIGHT]
    return Plan.of(NOON, NOON + timedelta(days=days), [when for when, _ in steps], [level for _, level in steps])


def plan_message(plan: Plan) -> ctl.Plan:
    """A plan as it is put."""
    message = ctl.Plan(
        instants_unix_ms=plan.instants_ms, levels_permille=plan.levels_permille, ramps_s=plan.ramps_s, hash=plan.hash,
        origin="night@1 via all-days@1",
    )  # fmt: skip
    message.valid_from.FromDatetime(plan.valid_from)
    message.valid_until.FromDatetime(plan.valid_until)
    return message


def override_request(
    level: int, start: float | None, end: float, *, priority: Priority = Priority.OPERATOR, request_id: str = "",
    target: str = T,
) -> pb.CreateOverrideRequest:  # fmt: skip
    """A command for the whole town from and until hours after noon."""
    override = ctl.Override(
        targets=[target], level_permille=level, expire_time=at(end), reason="street festival",
        priority=_PRIORITIES[priority],
    )  # fmt: skip
    if start is not None:
        override.start_time.CopyFrom(at(start))
    return pb.CreateOverrideRequest(parent=T, override=override, request_id=request_id)


def tuning_of(settings: LightingSettings) -> Tuning:
    """The pace of the settings, on a clock that is stepped: there is no real time to wait for."""
    return replace(
        settings.tuning, interval_s=PASS_S, poll_real_s=0.0, confirm_real_s=0.0, inrush_step_s=0.2, patience_real_s=20.0
    )


HASTY = Limits(
    connect_timeout_s=2.0, request_timeout_s=0.3, read_deadline_s=2.0, backoff_initial_s=0.001, backoff_max_s=0.002
)
"""Gives a dead device up soon and does not rest long."""
PATIENT = replace(HASTY, connect_timeout_s=20.0, request_timeout_s=10.0, read_deadline_s=40.0)
"""For devices that are all alive, in another process: a busy machine may keep that from answering for a while."""


def opener_of(now: Callable[[], datetime], limits: Limits) -> Fieldbus:
    """Opens real connections, to the simulator only."""
    return Fieldbus(now=now, require_simulator=True, limits=limits)


async def make_server(
    issuer: Any, database_url: str, folder: Path, clock: Clock, seconds: Callable[[], float], *, holder: str = "test",
    limits: Limits = HASTY, **options: Any,
) -> tuple[Server, Any]:  # fmt: skip
    """Lighting with a database that is there, paced by a stepped clock; not started. seconds: true time."""
    settings = LightingSettings(
        listen="127.0.0.1:0", metrics_listen="off", database_url=database_url, data_dir=folder, drain_s=0.5,
        holder=holder,
    )  # fmt: skip
    server = Server(
        settings, authenticator=authenticator_for(issuer), access=access_from(BINDINGS), tenants=FixedTenants(TOWNS),
        database=Database(database_url, "lighting", pool_size=4), clock=clock,
    )  # fmt: skip
    server.database_ready.set()
    parts = await fill(
        server, settings, opener_of(clock.now, limits), tuning_of(settings), monotonic=seconds, **options
    )
    return server, parts


class Replica(Lighting):
    """A running lighting service on a wall clock of its own."""

    wall: WallClock

    def pace(self, interval_s: float) -> None:
        """Another time between two passes: longer where nothing is looked at."""
        self.parts.control.tuning = replace(self.parts.control.tuning, interval_s=interval_s)

    async def on(self, hours: float, interval_s: float = 600.0) -> None:
        """Goes on by hours, with few passes; at the end they follow each other as in operation."""
        end = self.clock.now() + hours * H
        self.pace(interval_s)
        await self._to(end - timedelta(seconds=interval_s))
        # The loop sleeps as long as it was told: when it wakes, it is told to do so again at the end.
        wake = self.clock.next_wake or end
        if self.clock.sleeping == 1 and wake < end:
            self.pace((end - wake).total_seconds())
            await self._to(wake)
        else:
            self.pace(60.0)
            await self._to(end - timedelta(seconds=60))
        self.pace(PASS_S)
        await self._to(end)

    async def _to(self, instant: datetime) -> None:
        await self.clock.advance(max(instant - self.clock.now(), timedelta(0)))

    async def until(self, hours: float, interval_s: float = 600.0) -> None:
        """Goes on until hours after noon, with few passes."""
        await self.on((NOON + hours * H - self.clock.now()) / H, interval_s)

    async def drain(self) -> None:
        """Hands the level history to the database. Raises where that is away."""
        assert self.parts.historian is not None
        await self.parts.historian.drain()

    async def one_pass(self) -> None:
        """One regular pass of the reconcile loop over all gateways, and no more; then lamps have the time to fade."""
        await self.passes(1, PASS_S)
        await self.passes(1, FADE_S)


@asynccontextmanager
async def running(
    town: ChaosTown, clock: SteppedClock, database_url: str, folder: Path, **options: Any
) -> AsyncIterator[Replica]:
    """Starts lighting in this process; stops it at the end."""
    wall = WallClock(clock)
    server, parts = await make_server(
        town.issuer, database_url, folder, wall, lambda: (clock.now() - NOON).total_seconds() + 1000.0, **options
    )
    await server.start()
    replica = Replica(server, parts, town.issuer, None, clock)  # type: ignore[arg-type]  # no fake town behind it
    replica.wall = wall
    before = clock.sleeping
    await eventually(lambda: clock.sleeping > before or before > 0)
    try:
        yield replica
    finally:
        await replica.close()
        await server.stop(0.2)


@asynccontextmanager
async def chaos_town(issuer: Issuer, folder: Path, clock: SteppedClock) -> AsyncIterator[ChaosTown]:
    """Starts the simulator; stops it at the end."""
    town = ChaosTown(issuer, folder, clock.now)
    await town.start()
    try:
        yield town
    finally:
        await town.stop()


def migrated(folder: Path) -> str:
    """URL of an empty, migrated SQLite database in a folder."""
    folder.mkdir(exist_ok=True)
    url = f"sqlite:///{folder}/lighting.db"
    opened = Database(url, "lighting", pool_size=1)
    opened.migrate_now(MIGRATIONS)
    opened.close_now()
    return url


async def history_of(lighting: Lighting, lamp: str, start: float, end: float) -> list[tuple[int, int, bool]]:
    """What is recorded of a lamp between hours after noon: (Unix ms, level, powered). Instants must rise."""
    request = pb.QueryLevelHistoryRequest(name=f"{T}/luminaires/{lamp}", start_time=at(start), end_time=at(end))
    answer = await lighting.as_("viewer").QueryLevelHistory(request)
    found = list(zip(answer.instants_unix_ms, answer.levels_permille, answer.powered, strict=True))
    assert all(a[0] < b[0] for a, b in pairwise(found)), found
    return found


def hours_of(changes: Sequence[tuple[int, int, bool]]) -> list[tuple[float, int]]:
    """Changes in hours after noon, to the minute."""
    return [(round((from_unix_ms(ms) - NOON) / H, 2), level) for ms, level, _ in changes]


async def stored_faults(lighting: Lighting) -> list[Any]:
    """All faults that were ever booked."""
    answer = await lighting.as_("viewer").ListFaults(flt.ListFaultsRequest(parent=T, page_size=1000))
    return list(answer.faults)
