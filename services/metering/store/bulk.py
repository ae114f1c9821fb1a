"""Bulk means: columns into the database and out of it, as fast as each database takes and gives them.

PostgreSQL: COPY in its binary format on the way in, rows packed by the server on the way out. SQLite: executemany and
fetchall. What the drivers raise beneath SQLAlchemy is raised as SQLAlchemy would, so that `servicekit.database`
understands it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
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
_FIELDS: Final = ("life_key", "slot_ms", "value", "status", "observed_ms", "time_source", "revision")
"""Columns in the order of the fields of `Readings`."""
_COMPARED: Final = ("life_key", "slot_ms", "value", "status", "revision")
"""What tells whether a reading is stored already."""


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


def fetch_columns(session: Session, where: str, parameters: Sequence[int], *, compared: bool = False) -> Readings:
    """Readings that meet a condition on table `r`, in the order of register, slot and revision.

    `where` has a "?" for each parameter; all of them are integers, so they can stand in the text.
    With `compared` the columns of observation are left out (zero): half as much to carry.
    """
    names = _COMPARED if compared else _FIELDS
    if is_postgresql(session):
        columns = _fetch_packed(session, query_text(where, parameters, names), names)
        columns = columns if _in_order(columns) else _ordered(columns)
    else:
        columns = _fetch_plain(session, _query(where, names), names, parameters)
    nothing = np.zeros(len(columns["slot_ms"]), np.int64)
    return Readings(*(columns.get(name, nothing) for name in _FIELDS))


def query_text(where: str, parameters: Sequence[int], names: Sequence[str] = _FIELDS) -> str:
    """The query of `fetch_columns` with its parameters filled in: what PostgreSQL plans."""
    pieces = _query(where, names).split("?")
    texts = [str(int(parameter)) for parameter in parameters] + [""]
    return "".join(piece + text for piece, text in zip(pieces, texts, strict=True))


def _query(where: str, names: Sequence[str]) -> str:
    columns = ", ".join(f"r.{name}" for name in names)
    return f"SELECT {columns} FROM {where} ORDER BY r.life_key, r.slot_ms, r.revision"


def _fetch_packed(session: Session, query: str, names: Sequence[str]) -> dict[str, Int64]:
    """Rows of a query as one value, packed by the server: a row at a time takes the client ten times as long. In the
    order of the query wherever we have looked; nobody promises it of an aggregate."""
    widths = {name: _WIDTHS.get(name, 8) for name in names}
    packed = " || ".join(f"int{width}send({name}::int{width})" for name, width in widths.items())
    statement = f"SELECT string_agg({packed}, ''::bytea) FROM ({query}) AS r"
    with _driver_cursor(session, statement, binary=True) as cursor:
        data = cursor.execute(statement).fetchone()[0] or b""
    records = np.frombuffer(data, np.dtype([(name, f">i{width}") for name, width in widths.items()]))
    return {name: records[name].astype(np.int64) for name in names}


def _fetch_plain(
    session: Session, query: str, names: Sequence[str], parameters: Sequence[int] = ()
) -> dict[str, Int64]:
    """Rows of a query in its order. Beneath SQLAlchemy: wrapping a row as an object takes as long as fetching it."""
    with _driver_cursor(session, query) as cursor:
        rows = cursor.execute(query, tuple(parameters)).fetchall()
    flat = np.fromiter(chain.from_iterable(rows), np.int64, len(rows) * len(names)).reshape(-1, len(names))
    return {name: np.ascontiguousarray(flat[:, place]) for place, name in enumerate(names)}


def fetch_integers(session: Session, query: str, names: Sequence[str]) -> dict[str, Int64]:
    """Columns of a query that gives exactly these, whole numbers without a null. In no particular order."""
    fetch = _fetch_packed if is_postgresql(session) else _fetch_plain
    return fetch(session, query, names)


def fetch_rows(session: Session, statement: str) -> list[tuple[Any, ...]]:
    """Rows of a query whose parameters stand in its text, as the driver gives them: for many small rows."""
    with _driver_cursor(session, statement) as cursor:
        rows: list[tuple[Any, ...]] = cursor.execute(statement).fetchall()
    return rows


def upsert_rows(
    session: Session,
    table: str,
    columns: Sequence[str],
    key: Sequence[str],
    rows: Sequence[tuple[int, ...]],
    *,
    counted: str = "",
) -> None:
    """Stores rows of integers, replacing those of the same key. On PostgreSQL by one statement, however many.

    counted: a column that grows by one with each replacement.
    """
    if not rows:
        return
    names, keys = ", ".join(columns), ", ".join(key)
    replaced = ", ".join(
        f"{name} = {table}.{name} + 1" if name == counted else f"{name} = excluded.{name}"
        for name in columns
        if name not in key
    )
    conflict = f"ON CONFLICT ({keys}) DO " + (f"UPDATE SET {replaced}" if replaced else "NOTHING")
    if is_postgresql(session):
        arrays = ", ".join(array(values) for values in zip(*rows, strict=True))
        statement = f"INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays}) {conflict}"
        with _driver_cursor(session, statement) as cursor:
            cursor.execute(statement)
        return
    marks = ",".join("?" * len(columns))
    session.connection().exec_driver_sql(f"INSERT INTO {table} ({names}) VALUES ({marks}) {conflict}", list(rows))


def array(numbers: Iterable[int]) -> str:
    """PostgreSQL's text of an array of integers."""
    return f"'{{{','.join(str(int(number)) for number in numbers)}}}'::bigint[]"


def _in_order(columns: dict[str, Int64]) -> bool:
    key, slot, revision = columns["life_key"], columns["slot_ms"], columns["revision"]
    same_key = key[1:] == key[:-1]
    same_slot = same_key & (slot[1:] == slot[:-1])
    ascending = (
        (key[1:] > key[:-1]) | (same_key & (slot[1:] > slot[:-1])) | (same_slot & (revision[1:] > revision[:-1]))
    )
    return bool(ascending.all())


def _ordered(columns: dict[str, Int64]) -> dict[str, Int64]:
    order = np.lexsort((columns["revision"], columns["slot_ms"], columns["life_key"]))
    return {name: values[order] for name, values in columns.items()}


def _layout(names: Sequence[str]) -> np.dtype[Any]:
    """A row of PostgreSQL's binary COPY format: number of fields, then width and value of each, big-endian."""
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for name in names:
        fields += [(f"{name}_width", ">i4"), (name, f">i{_WIDTHS[name]}")]
    return np.dtype(fields)


@contextmanager
def _driver_cursor(session: Session, statement: str, **options: Any) -> Iterator[Any]:
    connection = session.connection()
    driver: Any = connection.connection.driver_connection
    base: type[Exception] = psycopg.Error if is_postgresql(session) else sqlite3.Error
    try:
        with closing(driver.cursor(**options)) as cursor:
            yield cursor
    except (psycopg.Error, sqlite3.Error) as error:
        lost = bool(getattr(driver, "closed", False))
        raised = DBAPIError.instance(
            statement, None, error, base, connection_invalidated=lost, dialect=connection.dialect
        )
        if lost:
            connection.invalidate(error)
        raise raised from error


def text_set(session: Session, name: str) -> str:
    """SQL of a set of texts, for "IN", that are bound under a name as JSON: one text however many there are."""
    if is_postgresql(session):
        return f"(SELECT json_array_elements_text(CAST(:{name} AS json)))"
    return f"(SELECT value FROM json_each(:{name}))"


def key_set(session: Session, keys: Sequence[int]) -> str:
    """SQL of a set of integer keys, for "IN": one text however many there are."""
    numbers = [int(key) for key in keys]
    if is_postgresql(session):
        return f"(SELECT unnest('{{{','.join(map(str, numbers))}}}'::bigint[]))"
    return f"(SELECT value FROM json_each('{json.dumps(numbers)}'))"
