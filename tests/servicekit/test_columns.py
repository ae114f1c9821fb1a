"""Bulk means do the same on SQLite and PostgreSQL."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from servicekit.columns import insert_ignore
from servicekit.database import Database
from servicekit.idempotency import IdempotencyKey
from tests.support.meter_service import MIGRATIONS


@pytest.fixture
async def migrated(database_url: str) -> AsyncIterator[Database]:
    """A migrated database of either kind."""
    opened = Database(database_url, "metering", pool_size=2)
    await opened.migrate(MIGRATIONS)
    yield opened
    await opened.close()


def rows(*request_ids: int) -> list[dict[str, object]]:
    now = datetime.now(UTC)
    return [
        {
            "subject": "u-1",
            "action": "test",
            "municipality_uid": "",
            "request_id": str(request_id),
            "request_hash": "",
            "answer": None,
            "created_at": now,
        }
        for request_id in request_ids
    ]


async def test_inserting_tells_how_many_rows_were_new(migrated: Database) -> None:
    async def new(*request_ids: int) -> int:
        return await migrated.run(lambda session: insert_ignore(session, IdempotencyKey, rows(*request_ids)))

    assert await new(1) == 1
    assert await new(1) == 0
    assert await new(1, 2, 3) == 2
    assert await new(*range(5000)) == 4997  # more than one statement's worth
