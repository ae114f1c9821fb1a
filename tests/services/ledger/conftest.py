"""What the ledger's tests share: both databases with the schema on them, neighbours, and a running ledger."""

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import make_url

from domain.names import new_uid
from servicekit.clock import SteppedClock
from servicekit.database import Database
from servicekit.migrate import migrations_of
from services.ledger.heads import Heads
from services.ledger.signing import CheckpointFiles, load_or_create_key
from tests.services.ledger.ledger import RunningLedger, running_ledger
from tests.services.ledger.neighbours import Neighbours, running_neighbours
from tests.support.issuer import Issuer
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    """An issuer of tokens."""
    made = Issuer()
    yield made
    made.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema in it."""
    file = tmp_path_factory.mktemp("ledger") / "template.db"
    _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> Iterator[str]:
    """Name of a PostgreSQL database with the schema in it: copying it is several times faster than migrating."""
    url = postgres_server.create_database()
    _migrate(url)
    yield str(make_url(url).database)
    postgres_server.drop_database(url)


@pytest.fixture
def postgres_database_url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """The URL of a PostgreSQL database with nothing but the schema in it."""
    name = f"test_{new_uid()}"
    postgres_server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{postgres_template}" STRATEGY FILE_COPY')
    url = postgres_server.database_url(name)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of a SQLite database with nothing but the schema in it."""
    shutil.copy(sqlite_template, tmp_path / "ledger.db")
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An empty ledger, once on each kind of database."""
    opened = Database(database_url, "ledger", pool_size=4)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> SteppedClock:
    """The town's time: the morning of 5 March 2026."""
    return SteppedClock(datetime(2026, 3, 5, 8, 0, tzinfo=UTC))


@pytest.fixture
def heads(database: Database, clock: SteppedClock, tmp_path: Path) -> Heads:
    """Checkpoints of that ledger."""
    return Heads(database, clock, load_or_create_key(tmp_path), CheckpointFiles(tmp_path))


@pytest.fixture
async def neighbours() -> AsyncIterator[Neighbours]:
    """Lighting and metering, empty."""
    async with running_neighbours() as running:
        yield running


@pytest.fixture
async def ledger(
    sqlite_url: str, issuer: Issuer, clock: SteppedClock, neighbours: Neighbours, tmp_path: Path
) -> AsyncIterator[RunningLedger]:
    """A running ledger on SQLite."""
    async with _ledger(sqlite_url, issuer, clock, neighbours, tmp_path) as running:
        yield running


@pytest.fixture
async def any_ledger(
    database_url: str, issuer: Issuer, clock: SteppedClock, neighbours: Neighbours, tmp_path: Path
) -> AsyncIterator[RunningLedger]:
    """A running ledger, once on each kind of database."""
    async with _ledger(database_url, issuer, clock, neighbours, tmp_path) as running:
        yield running


@asynccontextmanager
async def _ledger(
    url: str, issuer: Issuer, clock: SteppedClock, neighbours: Neighbours, folder: Path
) -> AsyncIterator[RunningLedger]:
    async with running_ledger(Database(url, "ledger", pool_size=4), issuer, clock, neighbours, folder) as running:
        yield running


def _migrate(url: str) -> None:
    opened = Database(url, "ledger", pool_size=1)
    opened.migrate_now(migrations_of("ledger"))
    opened.close_now()
