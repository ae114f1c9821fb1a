"""What the metering tests share: both databases with the schema on them, copied from a template made once."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
from sqlalchemy import make_url

from domain.names import new_uid
from servicekit.database import Database
from servicekit.migrate import migrations_of
from services.metering.acquisition import resets
from tests.support.issuer import Issuer
from tests.support.patient_loop import loop_factories
from tests.support.postgres import PostgresServer


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both ends of a connection live in this process: a pause that the machine makes is nobody's silence."""
    return loop_factories()


@pytest.fixture(scope="module", autouse=True)
def patience() -> Iterator[None]:
    """A reset that a busy machine takes long to record is no reset that cannot be recorded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resets, "PATIENCE_S", 100.0)
        yield


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    """An issuer of tokens."""
    made = Issuer()
    yield made
    made.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema in it."""
    file = tmp_path_factory.mktemp("metering") / "template.db"
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
    shutil.copy(sqlite_template, tmp_path / "metering.db")
    return f"sqlite:///{tmp_path}/metering.db"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A migrated database."""
    opened = Database(database_url, "metering", pool_size=3)
    yield opened
    await opened.close()


def _migrate(url: str) -> None:
    opened = Database(url, "metering", pool_size=1)
    opened.migrate_now(migrations_of("metering"))
    opened.close_now()
