"""What every test may use: a real PostgreSQL that comes up by itself, and a fresh database of each kind."""

import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

_ROOT = Path(__file__).resolve().parent.parent
for _source in (_ROOT, _ROOT / "proto" / "gen"):
    if str(_source) not in sys.path:
        sys.path.insert(0, str(_source))

from tests.support.postgres import PostgresServer, start_postgres  # noqa: E402

# A busy machine is no error of what is tested. Here every run tries other examples; in CI they are equal for equal
# code, so that a change is judged by what it does and not by its luck.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI", "").lower() in ("1", "true") else "here")


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A running PostgreSQL, one for all test processes. In CI its absence fails the tests; elsewhere it skips them."""
    folder = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        folder = folder.parent
    try:
        # The first of several test processes makes it, the last one stops it.
        with FileLock(folder / "postgres.lock", timeout=90):
            data = _open_folder(folder)
            server = start_postgres(data)
    except Exception as error:
        reason = f"PostgreSQL cannot be started: {error}"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    yield server
    server.stop()
    with contextlib.suppress(OSError):  # another test process may still be at it
        data.rmdir()


def _open_folder(folder: Path) -> Path:
    """A folder for the server's data, the same for all processes of a run.

    Not below pytest's own folder: every run that starts closes that to all other users, and PostgreSQL, which refuses
    to run as root, would lose its files in the middle of another run.
    """
    run = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    data = Path(tempfile.gettempdir()) / f"lichtbuch-postgres-{run}"
    data.mkdir(exist_ok=True)
    return data


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    """URL of the server's maintenance database."""
    return postgres_server.url


@pytest.fixture
def postgres_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """URL of a fresh, empty PostgreSQL database."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of a fresh SQLite database."""
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of a fresh, empty database, once of each kind."""
    fixture = "sqlite_url" if request.param == "sqlite" else "postgres_database_url"
    url: str = request.getfixturevalue(fixture)
    return url
