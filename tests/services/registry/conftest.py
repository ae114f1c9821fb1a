"""What the registry's tests share: a running issuer, empty databases of both kinds, and a running registry."""

import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvicorn
from sqlalchemy import create_engine, make_url, text

from servicekit.database import Database
from servicekit.migrate import migrations_of
from services.registry.app import RegistrySettings, build
from services.registry.issuer.__main__ import issuer_url
from services.registry.issuer.app import Parts, create_app
from services.registry.issuer.clients import load_service_clients
from services.registry.issuer.keys import SigningKey
from services.registry.issuer.tokens import TokenMint
from services.registry.store.tables import RegistryTable
from tests.services.registry.helpers import ROOT, Registry
from tests.services.registry.issuer.helpers import Running, Stopwatch, serving
from tests.support.postgres import PostgresServer

COMMON_TABLES = ("audit_record", "idempotency_key", "tenant_cache", "lease")


@pytest.fixture(scope="session")
def running_issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One issuer for all tests, in a thread of its own: starting a server costs more than any test here."""
    data_dir = tmp_path_factory.mktemp("issuer")
    listener = socket.create_server(("127.0.0.1", 0))
    stopwatch = Stopwatch()
    clients = load_service_clients("", data_dir)
    url = issuer_url("127.0.0.1", listener.getsockname()[1])
    key = SigningKey.load(data_dir)
    app = create_app(Parts(url, key, clients, monotonic_s=stopwatch.seconds))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    with serving(server, listener):
        yield Running(url, clients, stopwatch, TokenMint(url, key, lambda: datetime.now(UTC)))


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
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "registry.db")
        return f"sqlite:///{tmp_path}/registry.db"
    url: str = request.getfixturevalue("migrated_postgres_url")
    tables = [f"registry.{name}" for name in (*RegistryTable.metadata.tables, *COMMON_TABLES)]
    _execute(url, f"TRUNCATE {', '.join(tables)}")
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An empty registry."""
    opened = Database(database_url, "registry", pool_size=4)
    yield opened
    await opened.close()


@pytest.fixture
async def registry(database_url: str, running_issuer: Running, tmp_path: Path) -> AsyncIterator[Registry]:
    """A running registry that nobody but its first administrator has a role in."""
    settings = RegistrySettings(
        listen="127.0.0.1:0",
        metrics_listen="off",
        database_url=database_url,
        migrate_on_start=False,
        data_dir=tmp_path,
        oidc_issuer=running_issuer.url,
        oidc_jwks_uri=f"{running_issuer.url}/jwks.json",
        bootstrap_admin=ROOT,
    )
    server = await build(settings)
    await server.start()
    running = Registry(server, running_issuer)
    yield running
    await running.close()
    await server.stop(0)


def _migrate(url: str) -> None:
    opened = Database(url, "registry", pool_size=1)
    opened.migrate_now(migrations_of("registry"))
    opened.close_now()


def _execute(server: str, statement: str) -> None:
    engine = create_engine(make_url(server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
