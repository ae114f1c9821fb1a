"""What a driver's failure means: try again, away for now, too slow, corrupted, or a mistake of ours."""

import sqlite3
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from domain.errors import Corrupted, Exhausted, LichtbuchError, TimedOut, Unavailable

_SQLITE_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_SQLITE_AWAY: Final = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
    }
)
_SQLITE_BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_PG_AGAIN: Final = frozenset({"40001", "40P01", "55P03"})
_PG_AWAY_CLASSES: Final = frozenset({"08", "53", "57", "58"})
_PG_READ_ONLY: Final = "25006"
_PG_STATEMENT_TIMEOUT: Final = "57014"
_PG_TOO_MANY: Final = "53300"
_PG_BROKEN: Final = frozenset({"XX001", "XX002"})


@dataclass(frozen=True, slots=True)
class Failure:
    """Our error for it, and whether the same transaction may be tried again at once."""

    error: LichtbuchError
    retry: bool = False


def judge(error: DBAPIError) -> Failure | None:
    """What a driver's error means; None for a mistake of ours (SQL, types), which is to be raised as it is."""
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return _judge_sqlite(cause)
    return _judge_postgresql(error, getattr(cause, "sqlstate", None))


def _judge_sqlite(cause: sqlite3.Error) -> Failure | None:
    code = getattr(cause, "sqlite_errorcode", None)
    if code is None:
        return None
    primary = code & 0xFF
    if primary in _SQLITE_BUSY:
        return Failure(Unavailable("another process holds the database's lock", 1.0), retry=True)
    if primary in _SQLITE_AWAY:
        return Failure(Unavailable(f"the database file fails: {cause}", 5.0))
    if primary in _SQLITE_BROKEN:
        return Failure(Corrupted(f"the database file is damaged: {cause}"))
    return None


def _judge_postgresql(error: DBAPIError, state: str | None) -> Failure | None:
    if state in _PG_AGAIN:
        return Failure(Unavailable("other transactions were in the way", 0.5), retry=True)
    if state == _PG_STATEMENT_TIMEOUT:
        return Failure(TimedOut("the database took too long"))
    if state == _PG_TOO_MANY:
        return Failure(Exhausted("the database takes no more connections", 2.0))
    if state in _PG_BROKEN:
        return Failure(Corrupted(f"the database is damaged ({state})"))
    if state == _PG_READ_ONLY:
        return Failure(Unavailable("the database takes no writes for now", 2.0))
    if state is not None and state[:2] in _PG_AWAY_CLASSES:
        return Failure(Unavailable(f"the database is away ({state})", 2.0))
    # No state: the server never answered. A lost connection says so.
    if state is None and (error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)):
        return Failure(Unavailable("the database cannot be reached", 2.0))
    return None
