"""Partitions of the readings by month of UTC, on PostgreSQL. Made ahead by a loop, and on demand before an import.

SQLite has none: there the functions do nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final, TypeVar

import numpy as np
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from servicekit.database import Database
from services.metering.reading import Int64
from services.metering.slot import from_ms, to_ms
from services.metering.store.bulk import is_postgresql

MONTHS_AHEAD: Final = 3
_LOCK: Final = 0x6C62_6D65_7465_7231  # any number, the same in every replica

_BELIEVED_S: Final = 60.0
"""How long (real time) a month is known to have a partition: retention of another replica may drop an empty one."""

_CHECK_VIOLATION: Final = "23514"

Month = tuple[int, int]
Result = TypeVar("Result")


def months_between(first_ms: int, last_ms: int) -> list[Month]:
    """Months of UTC from that of one instant to that of another."""
    first, last = from_ms(first_ms), from_ms(last_ms)
    numbers = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
    return [(number // 12, number % 12 + 1) for number in numbers]


def months_of(slot_ms: Int64) -> set[Month]:
    """Months of UTC in which slots lie."""
    months = np.unique(slot_ms.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64))
    return {(1970 + month // 12, month % 12 + 1) for month in months.tolist()}


def months_ahead(now_ms: int) -> list[Month]:
    """This month and those that the service makes ready for."""
    now = from_ms(now_ms)
    numbers = range(now.year * 12 + now.month - 1, now.year * 12 + now.month + MONTHS_AHEAD)
    return [(number // 12, number % 12 + 1) for number in numbers]


class Partitions:
    """Knows which months have a partition, makes those that are missing, and stores readings in them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[Month, float] = {}

    async def ensure(self, months: Iterable[Month]) -> None:
        """Makes the partitions of these months. Raises Unavailable while the database is away."""
        if self._database.dialect != "postgresql":
            return
        now_s = time.monotonic()
        missing = {month for month in months if now_s - self._known.get(month, -_BELIEVED_S) >= _BELIEVED_S}
        if not missing:
            return
        made = await self._database.run(lambda session: ensure_partitions(session, missing))
        self._known = dict.fromkeys(made, now_s)

    async def store(self, months: Iterable[Month], work: Callable[[Session], Result]) -> Result:
        """Runs one transaction that stores readings of these months, with their partitions. Raises as `Database.run`.

        A month that another replica has dropped as empty since it was seen here is made again, and the work done anew.
        """
        wanted = set(months)
        await self.ensure(wanted)
        try:
            return await self._database.run(work)
        except IntegrityError as error:
            if not _lacks_partition(error):
                raise
        self._known.clear()
        await self.ensure(wanted)
        return await self._database.run(work)


def ensure_partitions(session: Session, months: Iterable[Month]) -> set[Month]:
    """Makes what is missing. Returns all months that have a partition now."""
    if not is_postgresql(session):
        return set()
    connection = session.connection()
    # Replicas that start together take turns: CREATE TABLE IF NOT EXISTS alone does not serialise two creators.
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    existing = _existing(session)
    for month in sorted(set(months) - existing):
        name, (start, end) = partition_name(month), _bounds(month)
        # Attaching a table takes a weaker lock than creating it as a partition: readers and writers go on.
        connection.execute(text(f"CREATE TABLE {name} (LIKE reading INCLUDING ALL)"))
        connection.execute(text(f"ALTER TABLE reading ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})"))
        existing.add(month)
    return existing


def _lacks_partition(error: IntegrityError) -> bool:
    """PostgreSQL has no code of its own for it, and its words are translated: a constraint of the parent that has no
    name is the one that every row has a partition."""
    told = getattr(error.orig, "diag", None)
    return told is not None and told.sqlstate == _CHECK_VIOLATION and not told.constraint_name


def _existing(session: Session) -> set[Month]:
    statement = "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'reading'::regclass"
    rows = session.connection().execute(text(statement))
    return {(int(name[9:13]), int(name[14:16])) for (name,) in rows}


def drop_empty(session: Session, before_ms: int) -> list[str]:
    """Drops the partitions of months that lie before an instant and have no reading left. Returns their names."""
    if not is_postgresql(session):
        return []
    connection = session.connection()
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    dropped: list[str] = []
    for month in sorted(month for month in _existing(session) if _bounds(month)[1] <= before_ms):
        name = partition_name(month)
        if connection.execute(text(f"SELECT 1 FROM {name} LIMIT 1")).first() is not None:
            continue
        # Nobody writes while it is looked at a second time; who waits for longer than this has the right of way.
        connection.execute(text("SET LOCAL lock_timeout = '2s'"))
        connection.execute(text("LOCK TABLE ONLY reading IN ACCESS EXCLUSIVE MODE"))
        if connection.execute(text(f"SELECT 1 FROM {name} LIMIT 1")).first() is None:
            connection.execute(text(f"DROP TABLE {name}"))
            dropped.append(name)
    return dropped


def partition_name(month: Month) -> str:
    """Table of a month: reading_y2026m03."""
    return f"reading_y{month[0]:04d}m{month[1]:02d}"


def _bounds(month: Month) -> tuple[int, int]:
    year, number = month
    start = datetime(year, number, 1, tzinfo=UTC)
    end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return to_ms(start), to_ms(end)
