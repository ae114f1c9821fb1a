"""A small town's services for tests of the web UI: real gRPC behind the real gate, with everything in memory.

Each servicer does what its contract says for the calls that the page makes. Roles come from a table; tokens are those
of the real issuer's demonstration users.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from domain.errors import FailedPrecondition, InvalidInput, NotFound
from lichtbuch.audit.v1 import audit_pb2, audit_pb2_grpc
from lichtbuch.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from lichtbuch.lighting.v1 import (
    commissioning_pb2,
    control_pb2,
    faults_pb2,
    gears_pb2,
    inventory_pb2,
    lighting_pb2,
    lighting_pb2_grpc,
    sensors_pb2,
    waivers_pb2,
)
from lichtbuch.metering.v1 import metering_pb2, metering_pb2_grpc
from lichtbuch.registry.v1 import registry_pb2, registry_pb2_grpc
from lichtbuch.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from lichtbuch.type.v1 import types_pb2
from servicekit.access import Binding, Role
from servicekit.auth import Authenticator, IssuerKeys, TokenValidator
from servicekit.clock import Clock, SystemClock
from servicekit.context import Tenant, current_caller, current_tenant
from servicekit.convert import timestamp_to_proto, unix_ms
from servicekit.server import Server
from servicekit.tenants import FixedTenants
from services.registry.endpoint import Endpoint
from tests.services.admin.town_book import MeterBook
from tests.services.admin.town_endpoints import AttachedCalls, AuditTrail, EndpointCalls
from tests.services.admin.town_gears import GearCalls
from tests.services.admin.town_meters import MeterCalls
from tests.services.admin.town_planning import PlanningCalls, Scheduler
from tests.support.ports import free_port
from tests.support.running import HERSFELD, SCHWALM, access_from, settings_for

PARENT = HERSFELD.name
VIEWER, OPERATOR, AUDITOR, CONTRACTOR = "u-3f9a1c72", "u-b4408e15", "u-91e35bd4", "u-d85a94c3"
ADMIN = "u-0c7b62ef"
BINDINGS: dict[str, list[Binding]] = {
    VIEWER: [Binding(Role.VIEWER, HERSFELD.id)],
    OPERATOR: [Binding(Role.OPERATOR, HERSFELD.id)],
    AUDITOR: [Binding(Role.AUDITOR, HERSFELD.id), Binding(Role.AUDITOR, SCHWALM.id)],
    ADMIN: [Binding(Role.ADMIN, HERSFELD.id)],
    CONTRACTOR: [Binding(Role.CONTRACTOR, HERSFELD.id, (f"{PARENT}/measures/led",))],
}
"""Of the issuer's demonstration users; its "planner" has no role here."""

SERVICES = ("registry", "lighting", "scheduler", "metering", "ledger")


def name(collection: str, identity: str) -> str:
    """A resource name in the town."""
    return f"{PARENT}/{collection}/{identity}"


@dataclass
class Town:
    """Everything there is, and who is to be told when it changes."""

    clock: Clock = field(default_factory=SystemClock)
    luminaires: list[inventory_pb2.Luminaire] = field(default_factory=list)
    cabinets: list[inventory_pb2.Cabinet] = field(default_factory=list)
    groups: list[inventory_pb2.Group] = field(default_factory=list)
    states: dict[str, dict[str, int]] = field(default_factory=dict)
    cabinet_states: list[control_pb2.CabinetState] = field(default_factory=list)
    overrides: dict[str, control_pb2.Override] = field(default_factory=dict)
    faults: dict[str, faults_pb2.Fault] = field(default_factory=dict)
    """By name, in the order in which they are listed."""
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    """By name."""
    moves: list[audit_pb2.AuditRecord] = field(default_factory=list)
    """What the registry's audit trail says, oldest first."""
    gateways: list[inventory_pb2.Gateway] = field(default_factory=list)
    waivers: dict[str, waivers_pb2.Waiver] = field(default_factory=dict)
    sensors: dict[str, sensors_pb2.Sensor] = field(default_factory=dict)
    sensor_values: dict[str, tuple[float, datetime]] = field(default_factory=dict)
    protections: list[commissioning_pb2.LuminaireProtection] = field(default_factory=list)
    gears: dict[str, gears_pb2.LuminaireGear] = field(default_factory=dict)
    """By name of the luminaire."""
    profiles: dict[str, scheduler_pb2.Profile] = field(default_factory=dict)
    calendars: list[scheduler_pb2.Calendar] = field(default_factory=list)
    assignments: list[scheduler_pb2.Assignment] = field(default_factory=list)
    preview_warnings: list[str] = field(default_factory=list)
    meters: list[metering_pb2.Meter] = field(default_factory=list)
    gaps: dict[str, int] = field(default_factory=dict)
    book: MeterBook = field(default_factory=MeterBook)
    entries: list[ledger_pb2.StatementLine] = field(default_factory=list)
    nights: dict[date, tuple[int, int]] = field(default_factory=dict)
    """Actual and saved Wh of lighting by the day of a night's noon."""
    log_is_valid: bool = True
    calls: list[str] = field(default_factory=list)
    """Method and subject of every call that changes something, or tries to."""
    asked: list[str] = field(default_factory=list)
    """Methods of metering that were asked for what the overview shows."""
    watches: int = 0
    _revision: int = 0
    _changed: dict[str, int] = field(default_factory=dict)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def show(self, luminaires: Iterable[str], **columns: int) -> None:
        """Lamps (by id) change: columns as in LampState, for instance actual=500, faults=1."""
        async with self._news:
            self._revision += 1
            for identity in luminaires:
                self.states.setdefault(identity, dict(SWITCHED_ON)).update(columns)
                self._changed[identity] = self._revision
            self._news.notify_all()

    async def changes(self, seen: int) -> tuple[list[str], int]:
        """Ids of lamps that changed after a revision; waits until there are some."""
        async with self._news:
            await self._news.wait_for(lambda: self._revision > seen)
            return [key for key, revision in self._changed.items() if revision > seen], self._revision

    def columns(self, identities: Iterable[str]) -> control_pb2.LuminaireStateColumns:
        """The states of some lamps."""
        found = [(key, self.states.get(key, SWITCHED_ON)) for key in identities]
        return control_pb2.LuminaireStateColumns(
            names=[name("luminaires", key) for key, _ in found],
            due_permille=[state["due"] for _, state in found],
            due_sources=[state["source"] for _, state in found],  # type: ignore[misc]
            actual_permille=[state["actual"] for _, state in found],
            qualities=[state["quality"] for _, state in found],  # type: ignore[misc]
            observed_at_unix_ms=[unix_ms(self.clock.now()) for _ in found],
            powered=[bool(state["powered"]) for _, state in found],
            faults=[state["faults"] for _, state in found],
            in_control=[bool(state["in_control"]) for _, state in found],
        )


def fault_on(subject: str, kind: Any, *, key: str = "", street: str = "", **changes: Any) -> faults_pb2.Fault:
    """A fault on "luminaires/L-0001" or the like, since this morning."""
    raised = timestamp_to_proto(datetime(2026, 11, 22, 6, 30, tzinfo=UTC))
    return faults_pb2.Fault(
        name=name("faults", key or subject.replace("/", "-").lower()), kind=kind, subject=f"{PARENT}/{subject}",
        street=street, cabinet=name("cabinets", "C-001"), raised_at=raised, last_seen_at=raised, **changes,
    )  # fmt: skip


SWITCHED_ON = {
    "due": 1000,
    "actual": 1000,
    "source": control_pb2.DUE_SOURCE_PLAN,
    "quality": types_pb2.QUALITY_GOOD,
    "powered": 1,
    "faults": 0,
    "in_control": 1,
}


def small_town(lamps: int = 6) -> Town:
    """A few lamps in two streets, two cabinets, a group, two meters, three nights of savings."""
    town = Town()
    for number in range(lamps):
        identity = f"L-{number + 1:04}"
        town.luminaires.append(
            inventory_pb2.Luminaire(
                name=name("luminaires", identity),
                pole=str(700 + number),
                street="Sternweg" if number % 2 else "Mondgasse",
                position=types_pb2.Position(
                    latitude_deg=50.868 + number * 0.0003, longitude_deg=9.707 + (number % 2) * 0.001
                ),
                group=name("groups", "residential"),
                cabinet=name("cabinets", f"C-{number % 2 + 1:03}"),
                lighting_class="P4",
                installed_power_w=24.0,
            )
        )
        town.states[identity] = dict(SWITCHED_ON)
        town._changed[identity] = 0
    for number, street in ((1, "Mondgasse"), (2, "Sternweg")):
        key = name("cabinets", f"C-{number:03}")
        position = types_pb2.Position(latitude_deg=50.8681, longitude_deg=9.7065 + number * 0.001)
        town.cabinets.append(inventory_pb2.Cabinet(name=key, display_name=f"Schaltstelle {street}", position=position))
        town.cabinet_states.append(
            control_pb2.CabinetState(
                name=key,
                switch_position=control_pb2.SWITCH_POSITION_AUTO,
                feeders=[name("feeders", f"C-{number:03}-F1")],
                energised=[True],
                quality=types_pb2.QUALITY_GOOD,
            )
        )
    town.groups.append(
        inventory_pb2.Group(name=name("groups", "residential"), display_name="Wohngebiete", luminaire_count=lamps)
    )
    slot = datetime(2026, 11, 22, 17, 15, tzinfo=UTC)
    for number, cabinet, building in ((1, name("cabinets", "C-001"), ""), (2, "", "Rathaus")):
        town.meters.append(
            metering_pb2.Meter(
                name=name("meters", f"M-{number:03}"),
                display_name=f"Zähler {number}",
                medium=metering_pb2.MEDIUM_ELECTRICITY,
                unit=metering_pb2.UNIT_WH,
                reading_cycle=metering_pb2.READING_CYCLE_QUARTER_HOUR,
                latest_value=1_234_500 * number,
                latest_slot=timestamp_to_proto(slot),
                cabinet=cabinet,
                building=building,
            )
        )
    town.entries.append(
        ledger_pb2.StatementLine(
            measure=name("measures", "led"),
            display_name="LED und Dimmen",
            entries=3,
            actual_wh=300_000,
            baseline_wh=1_000_000,
            saved_wh=700_000,
            saved_eur="201.25",
            avoided_co2_g=254_100,
            uncertainty_wh=35_000,
        )
    )
    return town


class Registry(EndpointCalls, registry_pb2_grpc.RegistryServiceServicer):
    """Two municipalities, one of them synthetic."""

    def __init__(self, town: Town) -> None:
        self._town = town

    async def ListMunicipalities(
        self, request: registry_pb2.ListMunicipalitiesRequest, context: Any
    ) -> registry_pb2.ListMunicipalitiesResponse:
        """Those that the caller may see."""
        caller = current_caller()
        seen = [tenant for tenant in (HERSFELD, SCHWALM) if caller.may("registry.municipalities.read", tenant.id)]
        return registry_pb2.ListMunicipalitiesResponse(municipalities=map(_municipality, seen))

    async def GetMunicipality(
        self, request: registry_pb2.GetMunicipalityRequest, context: Any
    ) -> registry_pb2.Municipality:
        """One of them."""
        return _municipality(current_tenant())


def _municipality(tenant: Tenant) -> registry_pb2.Municipality:
    return registry_pb2.Municipality(
        name=tenant.name,
        uid=tenant.uid,
        display_name=tenant.display_name,
        time_zone=tenant.time_zone,
        synthetic=tenant.id == HERSFELD.id,
    )


class Lighting(PlanningCalls, GearCalls, AttachedCalls, lighting_pb2_grpc.LightingServiceServicer):
    """Lamps, cabinets, overrides."""

    def __init__(self, town: Town) -> None:
        self._town = town

    async def ListLuminaires(
        self, request: lighting_pb2.ListLuminairesRequest, context: Any
    ) -> lighting_pb2.ListLuminairesResponse:
        """All, in pages as asked for."""
        first = int(request.page_token or 0)
        last = first + (request.page_size or 100)
        token = str(last) if last < len(self._here(self._town.luminaires)) else ""
        return lighting_pb2.ListLuminairesResponse(
            luminaires=self._here(self._town.luminaires)[first:last], next_page_token=token
        )

    async def ListCabinets(
        self, request: lighting_pb2.ListCabinetsRequest, context: Any
    ) -> lighting_pb2.ListCabinetsResponse:
        """All."""
        return lighting_pb2.ListCabinetsResponse(cabinets=self._here(self._town.cabinets))

    async def ListGroups(
        self, request: lighting_pb2.ListGroupsRequest, context: Any
    ) -> lighting_pb2.ListGroupsResponse:
        """All."""
        return lighting_pb2.ListGroupsResponse(groups=self._here(self._town.groups))

    async def ListCabinetStates(
        self, request: lighting_pb2.ListCabinetStatesRequest, context: Any
    ) -> lighting_pb2.ListCabinetStatesResponse:
        """All."""
        return lighting_pb2.ListCabinetStatesResponse(states=self._here(self._town.cabinet_states))

    async def WatchLuminaires(
        self, request: lighting_pb2.WatchLuminairesRequest, context: Any
    ) -> AsyncIterator[lighting_pb2.WatchLuminairesResponse]:
        """All once, then what changes; resumes by the revision."""
        town, ours = self._town, bool(self._here(self._town.luminaires))
        town.watches += 1
        seen = int(request.resume_token) if request.resume_token else None
        if seen is None:
            seen = town._revision
            yield self._news(list(town.states) if ours else [], seen, snapshot=True)
        while True:
            changed, seen = await town.changes(seen)
            yield self._news(changed, seen, snapshot=False)

    async def ListFaults(self, request: faults_pb2.ListFaultsRequest, context: Any) -> faults_pb2.ListFaultsResponse:
        """Those that stand."""
        standing = [item for item in self._town.faults.values() if not item.HasField("cleared_at")]
        return faults_pb2.ListFaultsResponse(faults=self._here(standing))

    async def AcknowledgeFault(self, request: faults_pb2.AcknowledgeFaultRequest, context: Any) -> faults_pb2.Fault:
        """Somebody knows of it."""
        fault = self._fault("AcknowledgeFault", request.name)
        fault.acknowledged_by, fault.acknowledgement_note = current_caller().subject, request.note
        fault.acknowledged_at.CopyFrom(timestamp_to_proto(self._town.clock.now()))
        return fault

    async def ReportFault(self, request: faults_pb2.ReportFaultRequest, context: Any) -> faults_pb2.Fault:
        """Takes it; the same request id again changes nothing."""
        self._town.calls.append(f"ReportFault {current_caller().subject}")
        identity = request.request_id or f"report-{len(self._town.faults)}"
        key = name("faults", identity)
        if key not in self._town.faults:
            self._town.faults[key] = fault_on(
                request.subject.split("/", 2)[2], faults_pb2.FAULT_KIND_REPORTED, key=identity,
                by_hand=True, text=request.text,
            )  # fmt: skip
        return self._town.faults[key]

    async def ClearFault(self, request: faults_pb2.ClearFaultRequest, context: Any) -> faults_pb2.Fault:
        """Ends it."""
        fault = self._fault("ClearFault", request.name)
        fault.cleared_at.CopyFrom(timestamp_to_proto(self._town.clock.now()))
        return fault

    def _fault(self, call: str, identity: str) -> faults_pb2.Fault:
        if identity not in self._town.faults:
            raise NotFound(identity)
        self._town.calls.append(f"{call} {current_caller().subject}")
        return self._town.faults[identity]

    async def ListOverrides(
        self, request: lighting_pb2.ListOverridesRequest, context: Any
    ) -> lighting_pb2.ListOverridesResponse:
        """Those that hold or will."""
        now = self._town.clock.now()
        held = [
            item
            for item in self._here(self._town.overrides.values())
            if not item.HasField("released_at") and item.expire_time.ToDatetime(tzinfo=UTC) > now
        ]
        return lighting_pb2.ListOverridesResponse(overrides=held)

    async def CreateOverride(self, request: lighting_pb2.CreateOverrideRequest, context: Any) -> control_pb2.Override:
        """Takes one; it has to end, within 31 days."""
        town, now = self._town, self._town.clock.now()
        town.calls.append(f"CreateOverride {current_caller().subject}")
        ends = request.override.expire_time.ToDatetime(tzinfo=UTC)
        if not now < ends <= now + timedelta(days=31):
            raise InvalidInput.of("override.expire_time", "it does not lie within the next 31 days")
        override = control_pb2.Override()
        override.CopyFrom(request.override)
        override.name = name("overrides", f"o-{len(town.overrides) + 1}")
        override.author = current_caller().subject
        override.start_time.CopyFrom(timestamp_to_proto(now))
        town.overrides[override.name] = override
        members = [lamp.name.rsplit("/", 1)[-1] for lamp in town.luminaires if self._is_target(lamp, override)]
        await town.show(
            members,
            due=override.level_permille,
            actual=override.level_permille,
            source=control_pb2.DUE_SOURCE_OPERATOR,
        )
        return override

    async def IdentifyLuminaire(
        self, request: commissioning_pb2.IdentifyLuminaireRequest, context: Any
    ) -> commissioning_pb2.Identification:
        """Blinks for half a minute; the second lamp has no gateway."""
        if request.name not in [lamp.name for lamp in self._town.luminaires]:
            raise NotFound(request.name)
        if request.name.endswith("L-0002"):
            raise FailedPrecondition.of("name", "it has no gateway")
        self._town.calls.append(f"IdentifyLuminaire {request.name.rsplit('/', 1)[-1]}")
        end = self._town.clock.now() + timedelta(seconds=30)
        return commissioning_pb2.Identification(luminaire=request.name, end_time=timestamp_to_proto(end))

    async def ReleaseOverride(self, request: lighting_pb2.ReleaseOverrideRequest, context: Any) -> control_pb2.Override:
        """Ends one."""
        override = self._town.overrides.get(request.name)
        if override is None:
            raise NotFound(request.name)
        self._town.calls.append(f"ReleaseOverride {current_caller().subject}")
        override.released_at.CopyFrom(timestamp_to_proto(self._town.clock.now()))
        return override

    def _news(self, changed: list[str], revision: int, *, snapshot: bool) -> lighting_pb2.WatchLuminairesResponse:
        return lighting_pb2.WatchLuminairesResponse(
            states=self._town.columns(changed),
            resume_token=str(revision),
            snapshot=snapshot,
            at=timestamp_to_proto(self._town.clock.now()),
        )

    def _here(self, items: Iterable[Any]) -> list[Any]:
        return [item for item in items if item.name.startswith(f"{current_tenant().name}/")]

    @staticmethod
    def _is_target(lamp: inventory_pb2.Luminaire, override: control_pb2.Override) -> bool:
        return any(target in (lamp.name, lamp.group, lamp.cabinet, PARENT) for target in override.targets)


class Metering(MeterCalls):
    """Meters with gaps; those of the book with all that follows from their readings."""

    def __init__(self, town: Town) -> None:
        self._town = town

    async def ListMeters(
        self, request: metering_pb2.ListMetersRequest, context: Any
    ) -> metering_pb2.ListMetersResponse:
        """All."""
        self._town.asked.append("ListMeters")
        here = [meter for meter in self._town.meters if meter.name.startswith(f"{current_tenant().name}/")]
        return metering_pb2.ListMetersResponse(meters=here)

    async def ListReadings(
        self, request: metering_pb2.ListReadingsRequest, context: Any
    ) -> metering_pb2.ListReadingsResponse:
        """What the book has of one meter."""
        self._town.asked.append("ListReadings")
        if list(request.meters[1:]) == [] and request.meters and request.meters[0] in self._town.book.readings:
            start, end = (unix_ms(each.ToDatetime(tzinfo=UTC)) for each in (request.start_time, request.end_time))
            held = self._columns(request.meters[0], start, end, all_revisions=request.all_revisions)
            return metering_pb2.ListReadingsResponse(readings=held)
        return metering_pb2.ListReadingsResponse(readings=metering_pb2.ReadingColumns(meters=request.meters))

    async def QueryConsumption(
        self, request: metering_pb2.QueryConsumptionRequest, context: Any
    ) -> metering_pb2.QueryConsumptionResponse:
        """What follows from the book; 12.3 kWh each where it has no readings."""
        self._town.asked.append("QueryConsumption")
        if self._town.book.readings:
            return self._consumption(request)
        start, end = (unix_ms(each.ToDatetime(tzinfo=UTC)) for each in (request.start_time, request.end_time))
        missing = [self._town.gaps.get(meter.rsplit("/", 1)[-1], 0) for meter in request.meters]
        count = len(request.meters)
        return metering_pb2.QueryConsumptionResponse(
            meters=request.meters,
            meter_indexes=range(count),
            starts_unix_ms=[start] * count,
            ends_unix_ms=[end] * count,
            amounts=[12_300] * count,
            coverages_permille=[(96 - gaps) * 1000 // 96 for gaps in missing],
        )


class Ledger(ledger_pb2_grpc.LedgerServiceServicer):
    """A statement, nights and a log."""

    def __init__(self, town: Town) -> None:
        self._town = town

    async def GetStatement(self, request: ledger_pb2.GetStatementRequest, context: Any) -> ledger_pb2.Statement:
        """Everything, or one night where a period is given."""
        lines = [line for line in self._town.entries if line.measure.startswith(f"{current_tenant().name}/")]
        total = ledger_pb2.StatementLine(saved_eur=f"{sum(float(line.saved_eur) for line in lines):.2f}")
        for part in ("entries", "actual_wh", "baseline_wh", "saved_wh", "avoided_co2_g", "uncertainty_wh"):
            setattr(total, part, sum(getattr(line, part) for line in lines))
        if request.HasField("start_time"):
            day = request.start_time.ToDatetime(tzinfo=UTC).date()
            actual, saved = self._town.nights.get(day, (0, 0))
            total = ledger_pb2.StatementLine(entries=int(day in self._town.nights), actual_wh=actual, saved_wh=saved)
        checkpoint = ledger_pb2.Checkpoint(
            tree_size=total.entries,
            root_hash=bytes.fromhex("0123456789abcdef" * 4),
            signed_at=timestamp_to_proto(datetime(2026, 11, 22, 11, 5, tzinfo=UTC)),
        )
        return ledger_pb2.Statement(lines=lines, total=total, checkpoint=checkpoint)

    async def VerifyLog(self, request: ledger_pb2.VerifyLogRequest, context: Any) -> ledger_pb2.VerifyLogResponse:
        """As valid as the test says."""
        problems = [] if self._town.log_is_valid else ["leaf 1: the hash is another one"]
        return ledger_pb2.VerifyLogResponse(valid=self._town.log_is_valid, leaves=3, problems=problems)


def _fill_registry(server: Server, town: Town) -> None:
    server.add_servicer(
        registry_pb2_grpc.add_RegistryServiceServicer_to_server,
        Registry(town),  # type: ignore[abstract]
    )
    server.add_servicer(audit_pb2_grpc.add_AuditServiceServicer_to_server, AuditTrail(town))


def _fillers(town: Town) -> dict[str, Callable[[Server], None]]:
    return {
        "registry": lambda server: _fill_registry(server, town),
        "lighting": lambda server: server.add_servicer(
            lighting_pb2_grpc.add_LightingServiceServicer_to_server,
            Lighting(town),  # type: ignore[abstract]
        ),
        "scheduler": lambda server: server.add_servicer(
            scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server,
            Scheduler(town),  # type: ignore[abstract]
        ),
        "metering": lambda server: server.add_servicer(
            metering_pb2_grpc.add_MeteringServiceServicer_to_server,
            Metering(town),  # type: ignore[abstract]
        ),
        "ledger": lambda server: server.add_servicer(
            ledger_pb2_grpc.add_LedgerServiceServicer_to_server,
            Ledger(town),  # type: ignore[abstract]
        ),
    }


class TownServices:
    """The town's services, each on a port of its own that stays the same over stops and starts."""

    def __init__(self, town: Town, issuer_url: str) -> None:
        self.town = town
        keys = IssuerKeys(issuer_url)
        self._authenticator = Authenticator(TokenValidator(keys, issuer=issuer_url, audience="lichtbuch"))
        self._servers: dict[str, Server] = {}
        self._ports = {service: free_port() for service in SERVICES}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "TownServices":
        for service in SERVICES:
            await self.start(service)
        return self

    async def __aexit__(self, *_error: object) -> None:
        for service in list(self._servers):
            await self.stop(service)

    def address(self, service: str) -> str:
        """Where a service listens."""
        return f"127.0.0.1:{self._ports[service]}"

    def environment(self) -> dict[str, str]:
        """The addresses as settings."""
        return {f"LICHTBUCH_{service.upper()}_ADDRESS": self.address(service) for service in SERVICES}

    async def start(self, service: str) -> None:
        """Starts a service, or starts it again."""
        server = Server(
            settings_for(service, listen=f"127.0.0.1:{self._ports[service]}", metrics_listen="off"),
            authenticator=self._authenticator,
            access=access_from(BINDINGS),
            tenants=FixedTenants((HERSFELD, SCHWALM)),
            clock=self.town.clock,
        )
        _fillers(self.town)[service](server)
        await server.start()
        self._ports[service], self._servers[service] = server.port, server

    async def stop(self, service: str) -> None:
        """Stops a service, as a crash would."""
        await self._servers.pop(service).stop(0)
