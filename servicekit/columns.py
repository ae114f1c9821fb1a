"""Column types and bulk means that mean the same on SQLite and PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import BigInteger, CursorResult, DateTime, Dialect, Integer, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeDecorator
from sqlmodel import Session, SQLModel


class UtcDateTime(TypeDecorator[datetime]):
    """An instant. Naive datetimes are refused on the way in; what comes out is UTC, which SQLite alone would forget."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database: UTC."""
        if value is None:
            return None
        if value.utcoffset() is None:
            raise ValueError("an instant with a time zone is needed")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database: UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


BigKey = BigInteger().with_variant(Integer, "sqlite")
"""64-bit key that counts by itself on both (SQLite does so for INTEGER only)."""


def table_of(model: Table | type[SQLModel]) -> Table:
    """The table behind a SQLModel class."""
    return model if isinstance(model, Table) else cast(Table, cast(Any, model).__table__)


def insert_ignore(session: Session, model: Table | type[SQLModel], rows: Sequence[Mapping[str, Any]]) -> int:
    """Inserts many rows at once; those whose key is there already change nothing. Returns how many were new.

    Every row has the same keys. SQLModel does not validate here: the caller has.
    """
    if not rows:
        return 0
    table = table_of(model)
    maker = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = maker(table).on_conflict_do_nothing()
    # Without this option SQLAlchemy sends many rows in one statement to PostgreSQL and forgets how many were new.
    result = session.connection().execute(statement, list(rows), execution_options={"preserve_rowcount": True})
    return max(0, cast(CursorResult[Any], result).rowcount)
