"""Bulk means: columns into the database and out of it, as fast as each database takes and gives them.

PostgreSQL: COPY in its binary format, written and read as numpy records. SQLite: executemany and fetchall. What the
drivers raise beneath SQLAlchemy is raised as SQLAlchemy would raise it, so that `servicekit.database` understands it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import psycopg
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import Session

from services.metering.reading import Int64, Readings
from services.metering.store.tables import READING_COLUMNS

_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_WIDTHS: Final = {
    "life_key": 8,
    "slot_ms": 8,
    "value": 8,
    "observed_ms": 8,
    "batch_id": 8,
    "revision": 2,
    "status": 2,
    "time_source": 2,
}
FETCHED: Final = ("life_key", "slot_ms", "value", "status", "observed_ms", "time_source", "revision")
"""Columns of a query for readings, in the order of the fields of `Readings`."""


def is_postgresql(session: Session) -> bool:
    """True on PostgreSQL, false on SQLite."""
    return session.get_bind().dialect.name == "postgresql"


def insert_new(session: Session, readings: Readings, batch_id: int) -> bool:
    """Inserts readings of which none is stored yet, as far as anybody knows.

    False if another transaction was quicker with one of them: then none is inserted, and the caller looks again.
    """
    columns = _table_columns(readings, batch_id)
    if not is_postgresql(session):
        # SQLite has one writer, which we are: nobody can have been quicker.
        marks = ",".join("?" * len(READING_COLUMNS))
        statement = f"INSERT INTO reading ({','.join(READING_COLUMNS)}) VALUES ({marks})"
        rows = list(zip(*(columns[name].tolist() for name in READING_COLUMNS), strict=True))
        session.connection().exec_driver_sql(statement, rows)
        return True
    try:
        with session.begin_nested():
            _copy_in(session, columns)
    except IntegrityError as error:
        if not isinstance(error.orig, psycopg.errors.UniqueViolation):
            raise
        return False
    return True


def _table_columns(readings: Readings, batch_id: int) -> dict[str, Int64]:
    return {
        "life_key": readings.register,
        "slot_ms": readings.slot_ms,
        "value": readings.value,
        "observed_ms": readings.observed_ms,
        "batch_id": np.full(len(readings), batch_id, np.int64),
        "revision": readings.revision,
        "status": readings.status,
        "time_source": readings.time_source,
    }


def _copy_in(session: Session, columns: dict[str, Int64]) -> None:
    layout = _layout(READING_COLUMNS)
    records = np.zeros(len(columns["slot_ms"]), layout)
    records["fields"] = len(READING_COLUMNS)
    for name in READING_COLUMNS:
        records[f"{name}_width"] = _WIDTHS[name]
        records[name] = columns[name]
    statement = f"COPY reading ({', '.join(READING_COLUMNS)}) FROM STDIN (FORMAT BINARY)"
    with _driver_cursor(session, statement) as cursor, cursor.copy(statement) as copy:
        copy.write(_SIGNATURE)
        # In pieces of about a megabyte: one write of it all would be copied once more as a whole.
        for start in range(0, len(records), 16_384):
            copy.write(records[start : start + 16_384].tobytes())
        copy.write(_TRAILER)


def fetch_columns(session: Session, where: str, parameters: Sequence[int]) -> Readings:
    """Readings that meet a condition on table `r`, in the order of register, slot and revision.

    `where` has a "?" for each parameter; all of them are integers, so they can stand in the text of a COPY.
    """
    if is_postgresql(session):
        return _copy_out(session, query_text(where, parameters))
    rows = session.connection().exec_driver_sql(_query(where), tuple(parameters)).fetchall()
    if not rows:
        return Readings.none()
    return Readings(*(np.fromiter(column, np.int64, len(rows)) for column in zip(*rows, strict=True)))


def query_text(where: str, parameters: Sequence[int]) -> str:
    """The query of `fetch_columns` with its parameters filled in: what PostgreSQL plans."""
    pieces = _query(where).split("?")
    texts = [str(int(parameter)) for parameter in parameters] + [""]
    return "".join(piece + text for piece, text in zip(pieces, texts, strict=True))


def _query(where: str) -> str:
    columns = ", ".join(f"r.{name}" for name in FETCHED)
    return f"SELECT {columns} FROM {where} ORDER BY r.life_key, r.slot_ms, r.revision"


def _copy_out(session: Session, query: str) -> Readings:
    statement = f"COPY ({query}) TO STDOUT (FORMAT BINARY)"
    with _driver_cursor(session, statement) as cursor, cursor.copy(statement) as copy:
        data = b"".join(copy)
    records = np.frombuffer(data, _layout(FETCHED), offset=len(_SIGNATURE), count=_count(data))
    return Readings(*(records[name].astype(np.int64) for name in FETCHED))


def _count(data: bytes) -> int:
    return (len(data) - len(_SIGNATURE) - len(_TRAILER)) // _layout(FETCHED).itemsize


def _layout(names: Sequence[str]) -> np.dtype[Any]:
    """A row of PostgreSQL's binary COPY format: number of fields, then width and value of each, big-endian."""
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for name in names:
        fields += [(f"{name}_width", ">i4"), (name, f">i{_WIDTHS[name]}")]
    return np.dtype(fields)


@contextmanager
def _driver_cursor(session: Session, statement: str) -> Iterator[psycopg.Cursor[Any]]:
    connection = session.connection()
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor:
            yield cursor
    except psycopg.Error as error:
        lost = bool(driver.closed)
        raised = DBAPIError.instance(
            statement, None, error, psycopg.Error, connection_invalidated=lost, dialect=connection.dialect
        )
        if lost:
            connection.invalidate(error)
        raise raised from error


def key_set(session: Session, keys: Sequence[int]) -> str:
    """SQL of a set of integer keys, for "IN": one text however many there are."""
    numbers = [int(key) for key in keys]
    if is_postgresql(session):
        return f"(SELECT unnest('{{{','.join(map(str, numbers))}}}'::bigint[]))"
    return f"(SELECT value FROM json_each('{json.dumps(numbers)}'))"
