"""Who follows what is stored: the end of a stream is its end."""

from __future__ import annotations

import pytest

from servicekit.database import Database
from services.metering.watch import Bell, Position, follow
from tests.support.ending import ends_beside_news

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def test_a_stream_ends_though_something_is_stored_at_that_moment(database: Database) -> None:
    bell = Bell()

    async def read() -> None:
        await anext(follow(database, bell, lambda _: [], Position(0)))

    await ends_beside_news(read, lambda: bool(bell.ticket()._waiters), bell.ring)
