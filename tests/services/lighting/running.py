"""A running lighting service with a town of fake devices behind it, as people and services see it over real gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from domain.plan import Plan
from lichtbuch.audit.v1 import audit_pb2, audit_pb2_grpc
from lichtbuch.lighting.v1 import control_pb2 as ctl
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from lichtbuch.lighting.v1 import lighting_pb2_grpc
from lichtbuch.type.v1.types_pb2 import Position
from servicekit.access import Binding, Role
from servicekit.client import ServiceChannel, connect
from servicekit.clock import SteppedClock
from servicekit.database import Database
from servicekit.server import Server
from servicekit.tenants import FixedTenants
from servicekit.tokens import StaticToken
from services.lighting.api import Parts
from services.lighting.app import fill
from services.lighting.records import EndpointRecord, EndpointState
from services.lighting.settings import LightingSettings
from services.lighting.store.endpoints import replace_endpoints
from tests.services.lighting.bench import NOON
from tests.services.lighting.fake_town import FakeLamp, FakeTown
from tests.support.issuer import Issuer
from tests.support.running import BINDINGS, HERSFELD, SCHWALM, TOWNS, access_from, authenticator_for
from tests.support.waiting import eventually

T = "municipalities/bad-hersfeld"
OTHER = "municipalities/schwalmstadt"
SCHEDULER = "service:scheduler"
LEDGER = "service:ledger"
FITTER = "fitter"
H = timedelta(hours=1)
INTERVAL_S = 120.0
"""Between two passes: longer than usual, so that a night takes few of them."""

PEOPLE = {
    **BINDINGS,
    FITTER: [Binding(Role.FITTER, HERSFELD.id, (f"{T}/cabinets/C-1",))],
    "second": BINDINGS["operator"],
}


class Lighting:
    """Calls a lighting service, each caller with a token of its own."""

    def __init__(self, server: Server, parts: Parts, issuer: Issuer, town: FakeTown, clock: SteppedClock) -> None:
        self.server, self.parts, self.issuer, self.town, self.clock = server, parts, issuer, town, clock
        self._channels: dict[str, ServiceChannel] = {}

    def as_(self, subject: str) -> Any:
        """Lighting as the subject sees it: calls raise our own errors."""
        return lighting_pb2_grpc.LightingServiceStub(self.channel(subject))

    def channel(self, subject: str) -> ServiceChannel:
        """A channel with a token of a subject."""
        if subject not in self._channels:
            token = StaticToken(self.issuer.token(subject))
            self._channels[subject] = connect(f"127.0.0.1:{self.server.port}", identity=token, deadline_s=30)
        return self._channels[subject]

    @property
    def planner(self) -> Any:
        """Lighting as the planner sees it."""
        return self.as_("planner")

    @property
    def operator(self) -> Any:
        """Lighting as the operator sees it."""
        return self.as_("operator")

    async def close(self) -> None:
        """Closes all channels."""
        for channel in self._channels.values():
            await channel.close()

    async def trail(self, resource: str = "") -> list[audit_pb2.AuditRecord]:
        """The audit trail, newest first."""
        stub = audit_pb2_grpc.AuditServiceStub(self.channel("auditor"))
        answer = await stub.ListAuditRecords(
            audit_pb2.ListAuditRecordsRequest(parent=T, resource=resource, page_size=1000)
        )
        return list(answer.records)

    async def endpoints(self, *names: str, state: EndpointState = EndpointState.IN_CONTROL) -> None:
        """Endpoints "c0", "g0" ... as the registry would have told; the fake devices of these names are behind them."""
        records = [
            EndpointRecord(
                f"{0xE0000 + index:032x}", HERSFELD.uid, f"E-{name}", f"fake://{name}",
                "cabinet-plc" if name.startswith("c") else "generic-level-status", state,
            )
            for index, name in enumerate(names)
        ]  # fmt: skip
        await self.parts.database.run(lambda session: replace_endpoints(session, records, 0))

    async def street(self, number: int = 1, lamps: int = 4) -> list[str]:
        """Cabinet C-n with a switched feeder F-n, gateway G-n, model and luminaires; names of the luminaires."""
        planner = self.planner
        self.town.add_cabinet(number, 1, [FakeLamp(0) for _ in range(lamps)])
        await self.endpoints(*(f"{kind}{n}" for n in range(1, number + 1) for kind in "cg"))
        cabinet = inv.Cabinet(
            display_name="Am Markt", controller=f"{T}/endpoints/E-c{number}",
            position=Position(latitude_deg=50.868, longitude_deg=9.707),
        )  # fmt: skip
        await planner.CreateCabinet(pb.CreateCabinetRequest(parent=T, cabinet_id=f"C-{number}", cabinet=cabinet))
        feeder = inv.Feeder(cabinet=f"{T}/cabinets/C-{number}", channel=0, supply=inv.FEEDER_SUPPLY_SWITCHED)
        await planner.CreateFeeder(pb.CreateFeederRequest(parent=T, feeder_id=f"F-{number}", feeder=feeder))
        gateway = inv.Gateway(cabinet=f"{T}/cabinets/C-{number}", endpoint=f"{T}/endpoints/E-g{number}")
        await planner.CreateGateway(pb.CreateGatewayRequest(parent=T, gateway_id=f"G-{number}", gateway=gateway))
        if number == 1:
            await planner.CreateLuminaireModel(model_request())
        report = await self.import_lines(
            luminaire_ids=[f"L-{number}-{n}" for n in range(lamps)],
            model_ids=["LED-23"] * lamps, feeder_ids=[f"F-{number}"] * lamps, gateway_ids=[f"G-{number}"] * lamps,
            gateway_addresses=list(range(lamps)), floors_permille=[400] * lamps,
            latitudes_deg=[50.868] * lamps, longitudes_deg=[9.707 + n / 1000 for n in range(lamps)],
        )  # fmt: skip
        assert report.committed, report
        return [f"{T}/luminaires/L-{number}-{n}" for n in range(lamps)]

    async def import_lines(
        self, *, subject: str = "planner", skip_invalid: bool = False, dry_run: bool = False, request_id: str = "",
        refused_by_reader: int = 0, reason: str = "", **columns: Any,
    ) -> inv.ImportReport:  # fmt: skip
        """Imports columns."""
        settings = pb.ImportSettings(
            parent=T, skip_invalid=skip_invalid, dry_run=dry_run, request_id=request_id,
            refused_by_reader=refused_by_reader, reason=reason,
        )  # fmt: skip
        messages = [
            pb.ImportLuminairesRequest(settings=settings),
            pb.ImportLuminairesRequest(columns=inv.LuminaireColumns(**columns)),
        ]
        return await self.send_import(messages, subject)

    async def send_import(
        self, messages: Iterable[pb.ImportLuminairesRequest], subject: str = "planner"
    ) -> inv.ImportReport:
        """Sends the messages of an import."""

        async def stream() -> AsyncIterator[pb.ImportLuminairesRequest]:
            for message in messages:
                yield message

        report: inv.ImportReport = await self.as_(subject).ImportLuminaires(stream(), timeout=60)
        return report

    async def known(self) -> None:
        """Returns when control has taken what is stored."""
        await self.parts.memory.refresh()
        await self.passes(1)

    async def passes(self, count: int, seconds: float = INTERVAL_S) -> None:
        """Goes on in steps; the loop makes a pass in each, and is done with it when this returns."""
        for _ in range(count):
            await self.clock.advance(timedelta(seconds=seconds))

    async def to(self, hours: float) -> None:
        """Goes on to an instant in hours after noon, in steps of ten minutes, and lets it settle."""
        while self.clock.now() < NOON + hours * H:
            left = NOON + hours * H - self.clock.now()
            await self.passes(1, min(600.0, left.total_seconds()))
        await self.passes(4)

    async def put_plan(self, *steps: tuple[float, int], group: str = "default", days: int = 1) -> ctl.Plan:
        """A plan from noon on, put by the scheduler."""
        request = pb.PutPlanRequest(parent=f"{T}/groups/{group}", plan=plan_message(*steps, days=days))
        plan: ctl.Plan = await self.as_(SCHEDULER).PutPlan(request)
        return plan

    async def states(self, **filters: Any) -> ctl.LuminaireStateColumns:
        """Live states."""
        answer = await self.as_("viewer").QueryLuminaireStates(pb.QueryLuminaireStatesRequest(parent=T, **filters))
        columns: ctl.LuminaireStateColumns = answer.states
        return columns


@asynccontextmanager
async def running_lighting(
    issuer: Issuer, database_url: str, folder: Path, *, clock: SteppedClock | None = None, town: FakeTown | None = None
) -> AsyncIterator[Lighting]:
    """Starts lighting; stops it at the end."""
    clock = clock or SteppedClock(NOON)
    settings = LightingSettings(
        listen="127.0.0.1:0", metrics_listen="off", database_url=database_url, data_dir=folder, drain_s=0.5,
        holder="test",
    )  # fmt: skip
    tuning = replace(
        settings.tuning,
        interval_s=INTERVAL_S,
        poll_real_s=0.0,
        confirm_real_s=0.0,
        inrush_step_s=0.0,
        patience_real_s=5.0,
    )
    town = town or FakeTown(clock.now)
    server = Server(
        settings, authenticator=authenticator_for(issuer), access=access_from(PEOPLE), tenants=FixedTenants(TOWNS),
        database=Database(database_url, "lighting", pool_size=4), clock=clock,
    )  # fmt: skip
    server.database_ready.set()
    parts = await fill(server, settings, town, tuning)
    await server.start()
    running = Lighting(server, parts, issuer, town, clock)
    await eventually(lambda: clock.sleeping > 0)
    try:
        yield running
    finally:
        await running.close()
        await server.stop(0.2)


def stamp(instant: datetime) -> Timestamp:
    """An instant as a message."""
    made = Timestamp()
    made.FromDatetime(instant)
    return made


def at(hours: float) -> Timestamp:
    """Hours after noon."""
    return stamp(NOON + hours * H)


def model_request(identifier: str = "LED-23", **changes: Any) -> pb.CreateLuminaireModelRequest:
    """A luminaire model to be created."""
    values = {
        "display_name": "LED residential 23 W",
        "rated_power_w": 22.8,
        "standby_power_w": 0.3,
        "curve": [
            inv.CurvePoint(level_permille=a, power_permille=b) for a, b in ((100, 330), (500, 610), (1000, 1000))
        ],
        **changes,
    }
    return pb.CreateLuminaireModelRequest(
        parent=T, luminaire_model_id=identifier, luminaire_model=inv.LuminaireModel(**values)
    )


def plan_message(*steps: tuple[float, int], days: int = 1) -> ctl.Plan:
    """A plan from noon on: (hours after noon, level)."""
    plan = Plan.of(NOON, NOON + timedelta(days=days), [NOON + h * H for h, _ in steps], [level for _, level in steps])
    return ctl.Plan(
        valid_from=stamp(plan.valid_from), valid_until=stamp(plan.valid_until), instants_unix_ms=plan.instants_ms,
        levels_permille=plan.levels_permille, ramps_s=plan.ramps_s, hash=plan.hash, origin="night@1 via all-days@1",
    )  # fmt: skip


def override_message(level: int, start: float | None, end: float, *targets: str, **changes: Any) -> ctl.Override:
    """An override from and until hours after noon; for the whole town where no target is given."""
    values: dict[str, Any] = {
        "targets": targets or (T,),
        "level_permille": level,
        "expire_time": at(end),
        "reason": "street festival",
        **changes,
    }
    if start is not None:
        values["start_time"] = at(start)
    return ctl.Override(**values)


__all__ = ["HERSFELD", "SCHWALM"]
