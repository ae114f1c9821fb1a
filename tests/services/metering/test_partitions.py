"""On PostgreSQL readings lie in partitions by month, made ahead, and queries leave out the months they do not need."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from servicekit.database import Database, Session
from services.metering.reading import Readings
from services.metering.slot import SLOT_MS
from services.metering.store import ingest, readings
from services.metering.store.bulk import query_text
from services.metering.store.partitions import Partitions, months_ahead, months_between, partition_name
from tests.services.metering.making import NOON_MS, add_meter, series, source

MONTH_MS = 30 * 96 * SLOT_MS

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


async def test_a_query_of_one_month_plans_the_partition_of_that_month_only(database: Database) -> None:
    await Partitions(database).ensure(months_between(NOON_MS - 12 * MONTH_MS, NOON_MS))
    meter = await database.run(add_meter)
    key = meter.lives[0].key

    def explain(session: Session) -> str:
        query = query_text(readings.span_condition(session, [key]), (NOON_MS - 96 * SLOT_MS, NOON_MS))
        return "\n".join(row[0] for row in session.connection().exec_driver_sql(f"EXPLAIN {query}"))

    plan = await database.read(explain)
    assert "reading_y2026m03" in plan
    assert plan.count(" on reading_y") == 1


async def test_readings_of_several_months_land_each_in_its_own(database: Database) -> None:
    await Partitions(database).ensure(months_between(NOON_MS - MONTH_MS, NOON_MS))
    meter = await database.run(add_meter)
    given = Readings.of([meter.lives[0].key] * 2, [NOON_MS - MONTH_MS, NOON_MS], [1, 2])
    await database.run(lambda session: ingest.write(session, given, source()))
    found = await database.read(
        lambda s: s.connection().exec_driver_sql("SELECT tableoid::regclass::text FROM reading ORDER BY 1").all()
    )
    assert [row[0] for row in found] == ["reading_y2026m02", "reading_y2026m03"]


async def test_partitions_are_made_ahead_and_only_once_by_replicas_that_start_together(database: Database) -> None:
    await asyncio.gather(*(Partitions(database).ensure(months_ahead(NOON_MS)) for _ in range(3)))
    found = await database.read(
        lambda s: s.connection().execute(text("SELECT relname FROM pg_class WHERE relname LIKE 'reading_y%'")).all()
    )
    tables = sorted(row[0] for row in found if row[0][9:].replace("m", "").isdigit())
    assert tables == [partition_name((2026, month)) for month in (3, 4, 5, 6)]


async def test_two_writers_of_the_same_slot_store_it_once(database: Database) -> None:
    await Partitions(database).ensure(months_between(NOON_MS, NOON_MS))
    meter = await database.run(add_meter)
    given = series(meter.lives[0].key, NOON_MS - 50 * SLOT_MS, range(50))
    outcomes = await asyncio.gather(
        *(database.run(lambda session: ingest.write(session, given, source())) for _ in range(3))
    )
    assert sum(outcome.count(ingest.Outcome.STORED) for outcome in outcomes) == 50
    assert sum(outcome.count(ingest.Outcome.UNCHANGED) for outcome in outcomes) == 100
    counts = await database.read(
        lambda s: (
            s.connection().execute(text("SELECT count(*) FROM reading")).scalar_one(),
            s.connection().execute(text("SELECT sequence FROM reading_feed")).scalar_one(),
        )
    )
    assert counts == (50, 1)


async def test_a_month_without_a_partition_refuses_readings_instead_of_losing_them(database: Database) -> None:
    meter = await database.run(add_meter)
    with pytest.raises(DBAPIError, match="no partition"):
        await database.run(lambda s: ingest.write(s, series(meter.lives[0].key, NOON_MS, [1]), source()))
