"""What the scheduler's tests share: its database, lighting beside it, and the scheduler itself as people see it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import make_url

from domain.names import new_uid
from lichtbuch.audit.v1 import audit_pb2, audit_pb2_grpc
from lichtbuch.scheduler.v1 import scheduler_pb2_grpc
from servicekit.client import ServiceChannel, connect
from servicekit.clock import SteppedClock
from servicekit.context import Tenant
from servicekit.database import Database
from servicekit.migrate import migrations_of
from servicekit.server import Server
from servicekit.tenants import FixedTenants
from servicekit.tokens import StaticToken
from services.scheduler.app import assemble
from services.scheduler.lighting import Lighting
from services.scheduler.synchronising import Synchroniser
from tests.services.scheduler.fake_lighting import FakeLighting, LightingProcess, running_lighting
from tests.support.issuer import Issuer
from tests.support.postgres import PostgresServer
from tests.support.running import ADMIN, PLANNER, TOWNS, RunningService, running_service, settings_for

NOON = datetime(2026, 11, 22, 11, 0, tzinfo=UTC)
"""A November noon in Bad Hersfeld."""

NOWHERE = Tenant("0" * 31 + "3", "nirgendwo", "Nirgendwo")
"""A town that has not said where it lies."""

TENANTS = FixedTenants((*TOWNS, NOWHERE))


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    """An issuer of tokens."""
    made = Issuer()
    yield made
    made.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema in it."""
    file = tmp_path_factory.mktemp("scheduler") / "template.db"
    _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> Iterator[str]:
    """Name of a PostgreSQL database with the schema in it."""
    url = postgres_server.create_database()
    _migrate(url)
    yield str(make_url(url).database)
    postgres_server.drop_database(url)


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of a SQLite database with nothing but the schema in it."""
    shutil.copy(sqlite_template, tmp_path / "scheduler.db")
    return f"sqlite:///{tmp_path / 'scheduler.db'}"


@pytest.fixture
def postgres_database_url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """The URL of a PostgreSQL database with nothing but the schema in it."""
    name = f"test_{new_uid()}"
    postgres_server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{postgres_template}" STRATEGY FILE_COPY')
    url = postgres_server.database_url(name)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
async def either_database(database_url: str) -> AsyncIterator[Database]:
    """A migrated database, once of each kind."""
    opened = Database(database_url, "scheduler", pool_size=3)
    yield opened
    await opened.close()


@pytest.fixture
async def database(sqlite_url: str) -> AsyncIterator[Database]:
    """A migrated database on SQLite."""
    opened = Database(sqlite_url, "scheduler", pool_size=3)
    yield opened
    await opened.close()


@pytest.fixture
def town_lights() -> FakeLighting:
    """What lighting holds."""
    return FakeLighting()  # type: ignore[abstract]  # its other methods answer that they are not there


@pytest.fixture
async def lighting_process(issuer: Issuer, town_lights: FakeLighting) -> AsyncIterator[LightingProcess]:
    """Lighting, running."""
    async with running_lighting(issuer, town_lights, TENANTS) as process:
        yield process


@pytest.fixture
async def lighting_channel(issuer: Issuer, lighting_process: LightingProcess) -> AsyncIterator[ServiceChannel]:
    """The scheduler's channel to it."""
    async with connect(lighting_process.target, identity=StaticToken(issuer.token("service:scheduler"))) as channel:
        yield channel


@dataclass
class Scheduler:
    """A running scheduler, its loop included; domain time stands until it is advanced."""

    running: RunningService
    database: Database
    clock: SteppedClock
    synchroniser: Synchroniser

    def stub(self, subject: str = PLANNER) -> scheduler_pb2_grpc.SchedulerServiceAsyncStub:
        """The scheduler as a person sees it."""
        return scheduler_pb2_grpc.SchedulerServiceStub(self.running.channel(subject))

    async def audit_trail(self, resource: str = "") -> list[audit_pb2.AuditRecord]:
        """Audit records of Bad Hersfeld, the newest first."""
        stub = audit_pb2_grpc.AuditServiceStub(self.running.channel(ADMIN))
        request = audit_pb2.ListAuditRecordsRequest(parent="municipalities/bad-hersfeld", resource=resource)
        return list((await stub.ListAuditRecords(request)).records)


@pytest.fixture
async def scheduler(issuer: Issuer, database: Database, lighting_channel: ServiceChannel) -> AsyncIterator[Scheduler]:
    """The scheduler on SQLite, beside lighting."""
    clock, parts = SteppedClock(NOON), list[Synchroniser]()

    def fill(server: Server) -> None:
        parts.append(assemble(server, database, Lighting(lighting_channel)))
        server.database_ready.set()

    settings = settings_for("scheduler", metrics_listen="off")
    async with running_service(
        issuer, fill, settings=settings, database=database, clock=clock, tenants=TENANTS
    ) as running:
        yield Scheduler(running, database, clock, parts[0])


def _migrate(url: str) -> None:
    opened = Database(url, "scheduler", pool_size=1)
    opened.migrate_now(migrations_of("scheduler"))
    opened.close_now()
