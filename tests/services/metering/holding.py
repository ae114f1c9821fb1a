"""What tests of callers at the same time share: a lock of PostgreSQL that is held until they wait for it. No tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlmodel import Session

from domain.errors import LichtbuchError
from tests.services.metering.running import Metering
from tests.support.waiting import eventually

WAITING = text(
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
"""How many want an advisory lock of this database: beside this test others run on the same server."""


@asynccontextmanager
async def held(metering: Metering, take: Callable[[Session], None]) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    """Takes an advisory lock, gives what waits until so many others want one, and lets go of it after that."""
    database, loop = metering.servicer.database, asyncio.get_running_loop()
    is_held, go_on = asyncio.Event(), threading.Event()

    def hold(session: Session) -> None:
        take(session)
        loop.call_soon_threadsafe(is_held.set)
        assert go_on.wait(120)

    def count(session: Session) -> int:
        return int(session.connection().execute(WAITING).scalar_one())

    async def waiting(others: int) -> None:
        try:
            await eventually(lambda: database.run_now(count) >= others, 120)
        finally:
            go_on.set()

    holding = asyncio.create_task(database.run(hold))
    try:
        await is_held.wait()
        yield waiting
    finally:
        go_on.set()
        await holding


async def outcome(call: Awaitable[object]) -> str:
    """What came of a call: "done", or the name of its error."""
    try:
        await call
    except LichtbuchError as error:
        return type(error).__name__
    return "done"
