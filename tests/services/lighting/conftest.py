"""What lighting's tests share: an issuer, migrated databases of both kinds, and a running lighting service."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from servicekit.database import Database
from services.lighting.app import MIGRATIONS
from services.lighting.store.tables import LightingTable
from tests.services.lighting.running import Lighting, running_lighting
from tests.support.issuer import Issuer
from tests.support.patient_loop import loop_factories
from tests.support.postgres import PostgresServer

COMMON_TABLES = ("audit_record", "idempotency_key", "tenant_cache", "lease")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Devices live in the tests' own process: a pause that the machine makes is nobody's silence."""
    return loop_factories()


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    """An issuer of tokens."""
    made = Issuer()
    yield made
    made.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy: migrating once is enough."""
    file = tmp_path_factory.mktemp("sqlite") / "template.db"
    _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def migrated_postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A migrated PostgreSQL database, which each test finds empty."""
    url = postgres_server.create_database()
    _migrate(url)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty, migrated database, once of each kind."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "lighting.db")
        return f"sqlite:///{tmp_path}/lighting.db"
    url: str = request.getfixturevalue("migrated_postgres_url")
    tables = ", ".join(f'lighting."{name}"' for name in (*LightingTable.metadata.tables, *COMMON_TABLES))
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"TRUNCATE {tables}"))
    engine.dispose()
    return url


@pytest.fixture
def one_database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of an empty, migrated SQLite database: for what does not depend on its kind."""
    shutil.copy(sqlite_template, tmp_path / "lighting.db")
    return f"sqlite:///{tmp_path}/lighting.db"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An empty store, once of each kind."""
    opened = Database(database_url, "lighting", pool_size=4)
    yield opened
    await opened.close()


@pytest.fixture
async def lighting(issuer: Issuer, database_url: str, tmp_path: Path) -> AsyncIterator[Lighting]:
    """A running lighting service, once on each kind of database."""
    async with running_lighting(issuer, database_url, tmp_path) as running:
        yield running


@pytest.fixture
async def light(issuer: Issuer, one_database_url: str, tmp_path: Path) -> AsyncIterator[Lighting]:
    """A running lighting service on SQLite: for what does not depend on the database."""
    async with running_lighting(issuer, one_database_url, tmp_path) as running:
        yield running


def _migrate(url: str) -> None:
    opened = Database(url, "lighting", pool_size=1)
    opened.migrate_now(MIGRATIONS)
    opened.close_now()
