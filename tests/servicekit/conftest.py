"""What the tests of servicekit share: an issuer, and a small meter service behind the real server."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from lichtbuch.metering.v1 import metering_pb2_grpc
from servicekit.clock import SystemClock
from servicekit.database import Database
from servicekit.settings import ServiceSettings
from tests.support.issuer import Issuer
from tests.support.meter_service import MIGRATIONS, MeterServicer
from tests.support.running import RunningService, running_service, settings_for


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    """An issuer of tokens."""
    made = Issuer()
    yield made
    made.close()


@pytest.fixture
async def database(sqlite_url: str) -> AsyncIterator[Database]:
    """A migrated database of the meter service on SQLite."""
    opened = Database(sqlite_url, "metering", pool_size=4)
    await opened.migrate(MIGRATIONS)
    yield opened
    await opened.close()


@dataclass
class Meters:
    """A running meter service."""

    running: RunningService
    servicer: MeterServicer
    database: Database

    def stub(self, subject: str | None = "planner", **options: Any) -> "metering_pb2_grpc.MeteringServiceAsyncStub":
        """A stub as a person."""
        return metering_pb2_grpc.MeteringServiceStub(self.running.channel(subject, **options))


@pytest.fixture
def settings() -> ServiceSettings:
    """Settings of the meter service; a test module may override them."""
    return settings_for()


@pytest.fixture
async def meters(issuer: Issuer, database: Database, settings: ServiceSettings) -> AsyncIterator[Meters]:
    """The meter service on SQLite."""
    servicer = MeterServicer(database, SystemClock())  # type: ignore[abstract]  # a few methods are enough
    async with running_service(issuer, servicer.add_to, database=database, settings=settings) as running:
        yield Meters(running, servicer, database)
