"""For tables of refused input: what is said of a request, and everything that is stored, before and after."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.message import Message
from sqlalchemy import MetaData
from sqlmodel import Session

from domain.errors import FailedPrecondition, InvalidInput
from servicekit.database import Database

Stored = dict[str, list[tuple[Any, ...]]]


async def refused(call: Callable[[Any], Awaitable[Any]], request: Message | Any) -> dict[str, str]:
    """Reasons by field for which a request is refused."""
    with pytest.raises((InvalidInput, FailedPrecondition)) as caught:
        await call(request)
    return {violation.field: violation.reason for violation in caught.value.violations}


async def everything(database: Database, metadata: MetaData, but: Iterable[str] = ()) -> Stored:
    """Every row of every table, the audit trail and request ids included."""

    def read(session: Session) -> Stored:
        connection = session.connection()
        there = sa.inspect(connection).get_table_names()
        common = [sa.Table(n, sa.MetaData(), autoload_with=connection) for n in ("audit_record", "idempotency_key")]
        tables = [table for table in (*metadata.sorted_tables, *common) if table.name in there]
        return {
            table.name: sorted(map(tuple, connection.execute(sa.select(table))), key=repr)
            for table in tables
            if table.name not in but
        }

    return await database.read(read)


def problem(case: str, found: dict[str, str], field: str, reason: str) -> str:
    """What is wrong with how a case was refused; empty where it names the field and says the reason."""
    if field not in found:
        return f"{case}: {field} is not named in {found}"
    return "" if reason in found[field] else f"{case}: {field} is told {found[field]!r}, not {reason!r}"
