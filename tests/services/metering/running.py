"""A running metering service over real gRPC, with a small registry of endpoints beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from domain.errors import NotFound
from lichtbuch.metering.v1 import metering_pb2 as pb
from lichtbuch.metering.v1 import metering_pb2_grpc
from lichtbuch.registry.v1 import registry_pb2, registry_pb2_grpc
from servicekit.access import Binding
from servicekit.clock import SteppedClock
from servicekit.convert import timestamp_to_proto
from servicekit.database import Database
from servicekit.tenants import FixedTenants
from services.metering.api import MeteringServicer
from services.metering.endpoints import EndpointReplica
from services.metering.slot import SLOT_MS, from_ms
from services.metering.validation.parameters import Parameters
from services.metering.watch import Bell
from tests.services.metering.making import NOON_MS, NOW
from tests.support.issuer import Issuer
from tests.support.running import (
    ADMIN,
    BINDINGS,
    HERSFELD,
    TOWNS,
    RunningService,
    access_from,
    running_service,
    settings_for,
)

PARENT = f"municipalities/{HERSFELD.id}"


class Registry(registry_pb2_grpc.RegistryServiceServicer):
    """The registry as far as endpoints go."""

    def __init__(self) -> None:
        self.endpoints: dict[str, registry_pb2.Endpoint] = {}

    def add(self, endpoint_id: str, owner: int = registry_pb2.ENDPOINT_OWNER_METERING, **changes: Any) -> str:
        """Registers an endpoint that is observed, and answers its name."""
        name = f"{PARENT}/endpoints/{endpoint_id}"
        values: dict[str, Any] = {"state": registry_pb2.ENDPOINT_STATE_OBSERVED, "profile": "eastron-sdm630", **changes}
        self.endpoints[name] = registry_pb2.Endpoint(
            name=name,
            uid=endpoint_id.rjust(32, "0"),
            url="modbus+tcp://127.0.0.1:1?unit=1",
            owner=owner,  # type: ignore[arg-type]
            **values,
        )
        return name

    async def ListEndpoints(self, request: registry_pb2.ListEndpointsRequest, context: Any) -> Any:
        """All of one owner."""
        found = [one for one in self.endpoints.values() if request.owner in (0, one.owner)]
        return registry_pb2.ListEndpointsResponse(endpoints=found)

    async def GetEndpoint(self, request: registry_pb2.GetEndpointRequest, context: Any) -> Any:
        """One by name."""
        if request.name not in self.endpoints:
            raise NotFound(request.name)
        return self.endpoints[request.name]


class Metering:
    """Metering as people see it."""

    def __init__(self, running: RunningService, registry: Registry, servicer: MeteringServicer) -> None:
        self.running = running
        self.registry = registry
        self.servicer = servicer

    def as_(self, subject: str = ADMIN) -> Any:
        """A stub as a person; its calls raise our own errors."""
        return metering_pb2_grpc.MeteringServiceStub(self.running.channel(subject))

    async def meter(self, meter_id: str = "M-1", **changes: Any) -> pb.Meter:
        """A new meter read by hand."""
        values: dict[str, Any] = {"medium": pb.MEDIUM_ELECTRICITY, "unit": pb.UNIT_WH, **changes}
        request = pb.CreateMeterRequest(parent=PARENT, meter_id=meter_id, meter=pb.Meter(**values))
        created: pb.Meter = await self.as_().CreateMeter(request)
        return created

    async def ingest(self, columns: pb.ReadingColumns, **options: Any) -> pb.IngestReadingsResponse:
        """Brings readings."""
        request = pb.IngestReadingsRequest(parent=PARENT, readings=columns, source="import:test.csv", **options)
        answer: pb.IngestReadingsResponse = await self.as_().IngestReadings(request)
        return answer


def name_of(meter_id: str = "M-1") -> str:
    """Resource name of a meter."""
    return f"{PARENT}/meters/{meter_id}"


def columns(values: list[int], *, first: int = -8, meter_id: str = "M-1", **more: Any) -> pb.ReadingColumns:
    """Readings of a meter, a quarter hour apart; `first` counts slots from noon of the test's day."""
    return pb.ReadingColumns(
        meters=[name_of(meter_id)],
        meter_indexes=[0] * len(values),
        slots_unix_ms=[NOON_MS + (first + n) * SLOT_MS for n in range(len(values))],
        values=values,
        **more,
    )


def stamp(slots: int) -> Timestamp:
    """An instant so many slots after noon of the test's day."""
    return timestamp_to_proto(from_ms(NOON_MS + slots * SLOT_MS))


@asynccontextmanager
async def running_metering(
    issuer: Issuer,
    database: Database,
    more: dict[str, list[Binding]] | None = None,
    parameters: Parameters | None = None,
) -> AsyncIterator[Metering]:
    """Metering at noon of the test's day, and its registry. `more` binds further people to roles; by `parameters`
    readings are judged."""
    clock = SteppedClock(NOW + timedelta(seconds=1))
    registry = Registry()  # type: ignore[abstract]  # as far as endpoints go
    add_registry = registry_pb2_grpc.add_RegistryServiceServicer_to_server
    async with running_service(
        issuer, lambda server: server.add_servicer(add_registry, registry), settings=settings_for("registry")
    ) as beside:
        replica = EndpointReplica(beside.channel(ADMIN), database, FixedTenants(TOWNS), clock)
        servicer = MeteringServicer(database, clock, replica, Bell(), parameters=parameters)
        async with running_service(
            issuer,
            lambda server: server.add_servicer(metering_pb2_grpc.add_MeteringServiceServicer_to_server, servicer),
            settings=settings_for(max_message_bytes=64 * 1024 * 1024),
            database=database,
            clock=clock,
            access=access_from({**BINDINGS, **(more or {})}),
        ) as running:
            yield Metering(running, registry, servicer)
