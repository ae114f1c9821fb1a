"""A small, honest service for tests of servicekit: a few methods of MeteringService over one table of meters.

It is no part of metering; it does what any service does with what servicekit gives it.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sqlalchemy.orm import registry
from sqlmodel import Field, Session, SQLModel, col, select

from domain.errors import NotFound
from domain.names import ResourceName, new_uid
from lichtbuch.metering.v1 import metering_pb2 as pb
from lichtbuch.metering.v1 import metering_pb2_grpc
from servicekit import audit
from servicekit.clock import Clock
from servicekit.context import current_scope, current_tenant, current_tenants, scope_aware
from servicekit.database import Database
from servicekit.idempotency import once
from servicekit.paging import page
from servicekit.server import Server

MIGRATIONS = Path(__file__).parent / "meter_migrations"


class OwnTable(SQLModel, registry=registry()):
    """Base of this service's tables: in the tests' one process metering has tables of the same names."""


class MeterRow(OwnTable, table=True):
    """A meter."""

    __tablename__ = "meter"

    uid: str = Field(primary_key=True)
    municipality_uid: str
    id: str
    display_name: str


class MeterServicer(metering_pb2_grpc.MeteringServiceServicer):
    """Creates, gets, lists and watches meters."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self.created = 0
        self.failing: Exception | None = None
        self.pause = asyncio.Event()
        self.pause.set()
        self.started = asyncio.Event()
        self.cut_short = asyncio.Event()

    async def CreateMeter(self, request: pb.CreateMeterRequest, context: Any) -> pb.Meter:
        """Creates a meter."""
        self.started.set()
        try:
            await self.pause.wait()
        except asyncio.CancelledError:
            self.cut_short.set()
            raise
        tenant = current_tenant()

        def create(session: Session) -> pb.Meter:
            if self.failing is not None:
                raise self.failing
            name = str(ResourceName.of(tenant.id, "meters", request.meter_id or "m"))
            uid = new_uid()
            session.add(
                MeterRow(
                    uid=uid,
                    municipality_uid=tenant.uid,
                    id=request.meter_id or "m",
                    display_name=request.meter.display_name,
                )
            )
            audit.record(session, "metering.meters.create", name, uid, tenant.uid, after=request.meter)
            session.flush()
            self.created += 1
            return pb.Meter(name=name, uid=uid, display_name=request.meter.display_name)

        return await self._database.run(
            lambda session: once(
                session,
                request,
                pb.Meter,
                lambda: create(session),
                municipality_uid=tenant.uid,
                real=self._clock.real(),
            )
        )

    async def GetMeter(self, request: pb.GetMeterRequest, context: Any) -> pb.Meter:
        """Gets a meter."""
        if self.failing is not None:
            raise self.failing
        tenant, name = current_tenant(), ResourceName.parse(request.name)

        def get(session: Session) -> MeterRow | None:
            query = select(MeterRow).where(MeterRow.municipality_uid == tenant.uid, MeterRow.id == name.id)
            return session.exec(query).one_or_none()

        row = await self._database.read(get)
        if row is None:
            raise NotFound(request.name)
        return pb.Meter(name=request.name, uid=row.uid, display_name=row.display_name)

    async def UpdateMeter(self, request: pb.UpdateMeterRequest, context: Any) -> pb.Meter:
        """Answers what it was given: for the checks before it."""
        return request.meter

    @scope_aware
    async def ListMeters(self, request: pb.ListMetersRequest, context: Any) -> pb.ListMetersResponse:
        """Lists meters, those in the caller's scope only."""
        tenants = {tenant.uid: tenant for tenant in current_tenants()}

        def fetch_page(session: Session) -> pb.ListMetersResponse:
            def fetch(after: list[str | int | None] | None, limit: int) -> list[MeterRow]:
                query = select(MeterRow).where(col(MeterRow.municipality_uid).in_(list(tenants)))
                if after is not None:
                    query = query.where(col(MeterRow.uid) > after[0])
                return list(session.exec(query.order_by(col(MeterRow.uid)).limit(limit)).all())

            found = page(request, fetch, lambda row: (row.uid,))
            meters = [
                pb.Meter(name=name, uid=row.uid)
                for row in found.items
                if current_scope(tenants[row.municipality_uid]).covers(
                    name := f"{tenants[row.municipality_uid].name}/meters/{row.id}"
                )
            ]
            return pb.ListMetersResponse(meters=meters, next_page_token=found.next_page_token)

        return await self._database.read(fetch_page)

    async def IngestReadings(self, request: pb.IngestReadingsRequest, context: Any) -> pb.IngestReadingsResponse:
        """Counts the readings: for the checks before it."""
        return pb.IngestReadingsResponse(stored=len(request.readings.values))

    async def QueryConsumption(self, request: pb.QueryConsumptionRequest, context: Any) -> pb.QueryConsumptionResponse:
        """Waits until it is let go: for deadlines."""
        self.started.set()
        await self.pause.wait()
        return pb.QueryConsumptionResponse(meters=request.meters)

    async def WatchReadings(
        self, request: pb.WatchReadingsRequest, context: Any
    ) -> AsyncIterator[pb.WatchReadingsResponse]:
        """Sends an answer, then waits for as long as anybody listens."""
        yield pb.WatchReadingsResponse()
        if self.failing is not None:
            raise self.failing
        await asyncio.Event().wait()

    def add_to(self, server: Server) -> None:
        """Adds itself to a server."""
        server.add_servicer(metering_pb2_grpc.add_MeteringServiceServicer_to_server, self)
