"""Engines: how SQLite and PostgreSQL are set up to keep what they acknowledge. Not: transactions (database.py)."""

from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.pool import QueuePool

from domain.errors import InvalidInput

WRITES: Final = "lichtbuch_writes"
"""Execution option of a connection whose transaction may write."""

CONNECT_TIMEOUT_S: Final = 3
BUSY_TIMEOUT_S: Final = 10.0
STATEMENT_TIMEOUT_S: Final = 60.0
LOCK_TIMEOUT_S: Final = 15.0


def parse_url(url: str) -> URL:
    """The URL with its driver named. Raises InvalidInput for anything but SQLite and PostgreSQL."""
    try:
        parsed = make_url(url)
    except Exception as error:
        raise InvalidInput.of("database_url", "not a database URL") from error
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if not parsed.database or parsed.database == ":memory:":
            raise InvalidInput.of("database_url", "SQLite needs a file: what is in memory is gone with the process")
        return parsed.set(drivername="sqlite+pysqlite")
    raise InvalidInput.of("database_url", f"{parsed.drivername} is neither SQLite nor PostgreSQL")


def build_engine(url: URL, schema: str, pool_size: int, statement_timeout_s: float = STATEMENT_TIMEOUT_S) -> Engine:
    """An engine that has not connected yet."""
    if url.drivername.startswith("sqlite"):
        return _sqlite_engine(url, pool_size)
    return _postgresql_engine(url, schema, pool_size, statement_timeout_s)


def _sqlite_engine(url: URL, pool_size: int) -> Engine:
    Path(str(url.database)).expanduser().parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=2,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions are ours: see `begin`
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",  # what was acknowledged survives a power cut
            "foreign_keys=ON",
            f"busy_timeout={int(BUSY_TIMEOUT_S * 1000)}",
            "cache_size=-65536",
            "temp_store=MEMORY",
            "journal_size_limit=67108864",
            # 32 MiB instead of 4: a page that each of several transactions touches is copied once for all of them.
            "wal_autocheckpoint=8192",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A write takes the lock at once: upgrading a read transaction may fail with no way but to start anew.
        if connection.get_execution_options().get(WRITES, True):
            connection.exec_driver_sql("PRAGMA query_only=OFF")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql("PRAGMA query_only=ON")
            connection.exec_driver_sql("BEGIN")

    return engine


def _postgresql_engine(url: URL, schema: str, pool_size: int, statement_timeout_s: float) -> Engine:
    if not schema.isidentifier():
        raise InvalidInput.of("service", f"{schema!r} cannot name a schema")
    given = url.query.get("options", "")
    options = [given if isinstance(given, str) else " ".join(given)]
    options += [
        f"-csearch_path={schema}",
        f"-cstatement_timeout={int(statement_timeout_s * 1000)}",
        f"-clock_timeout={int(LOCK_TIMEOUT_S * 1000)}",
        f"-cidle_in_transaction_session_timeout={int(statement_timeout_s * 2000)}",
        "-ctimezone=UTC",
    ]
    query = {key: value for key, value in url.query.items() if key != "options"}
    return create_engine(
        url.set(query=query),
        pool_size=pool_size,
        max_overflow=2,
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={
            "options": " ".join(option for option in options if option),
            "connect_timeout": CONNECT_TIMEOUT_S,
            # A server that vanished without a word is noticed in seconds, not in the hours of TCP's defaults.
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
            "application_name": f"lichtbuch-{schema}",
        },
    )
