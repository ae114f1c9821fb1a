"""On PostgreSQL readings lie in partitions by month, made ahead, and queries leave out the months they do not need."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from servicekit.database import Database, Session
from services.metering.figures.consumption import Step, boundaries
from services.metering.meter import Cycle
from services.metering.reading import Readings
from services.metering.slot import SLOT_MS
from services.metering.store import figures, ingest, readings
from services.metering.store.amounts import Metered, amounts
from services.metering.store.bulk import query_text
from services.metering.store.partitions import Partitions, drop_empty, months_ahead, months_between, partition_name
from services.metering.store.rollup_build import refresh
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


class Plans:
    """The months whose partitions queries have looked into, as PostgreSQL itself explains them (auto_explain)."""

    def __init__(self, session: Session) -> None:
        self._notices: list[str] = []
        self._connection = connection = session.connection()
        for statement in (
            "LOAD 'auto_explain'",
            "SET auto_explain.log_min_duration = 0",
            "SET auto_explain.log_analyze = on",
            "SET auto_explain.log_timing = off",
            "SET auto_explain.log_level = notice",
        ):
            connection.exec_driver_sql(statement)
        driver: Any = connection.connection.driver_connection
        driver.add_notice_handler(lambda notice: self._notices.append(notice.message_primary or ""))

    def months(self) -> set[str]:
        """Months that were really looked into, and not only planned for."""
        for _ in range(2):  # a query is explained when the next one takes its place
            self._connection.exec_driver_sql("SELECT 1")
        lines = [line for notice in self._notices for line in notice.splitlines() if "never executed" not in line]
        return {month for line in lines for month in re.findall(r" on reading_y(\d{4}m\d{2})", line)}


def a_year(session: Session) -> Metered:
    """A meter with thirteen months of readings, the newest at noon of the test's day."""
    meter = add_meter(session, reading_cycle=int(Cycle.QUARTER_HOUR))
    count = 13 * 30 * 96
    key = meter.lives[0].key
    ingest.write(session, series(key, NOON_MS - count * SLOT_MS, range(0, count * 10, 10)), source())
    return figures.metered(session, [meter.row])[0]


@pytest.fixture
async def year(database: Database) -> Metered:
    """A stored meter of `a_year`."""
    await Partitions(database).ensure(months_between(NOON_MS - 14 * MONTH_MS, NOON_MS))
    meter = await database.run(a_year)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE reading")
    return meter


BERLIN = ZoneInfo("Europe/Berlin")


async def test_a_list_looks_into_the_months_of_its_period_only(database: Database, year: Metered) -> None:
    def look(session: Session) -> set[str]:
        plans = Plans(session)
        begin = NOON_MS - 20 * 96 * SLOT_MS
        found, _ = readings.page(session, year.lives, begin, begin + 96 * SLOT_MS, 1000, None)
        assert len(found) == 96
        return plans.months()

    assert await database.read(look) == {"2026m03"}


async def test_the_profile_of_a_day_looks_into_its_month_only(database: Database, year: Metered) -> None:
    def look(session: Session) -> set[str]:
        plans = Plans(session)
        start = datetime(2026, 1, 20, tzinfo=BERLIN)
        bounds = boundaries(start, start + timedelta(days=1), Step.QUARTER_HOUR, BERLIN)
        found = figures.from_readings(session, year, bounds, Step.QUARTER_HOUR, BERLIN)
        assert found.measured_ms.sum() == 96 * SLOT_MS
        return plans.months()

    assert await database.read(look) == {"2026m01"}


async def test_sums_of_months_look_into_the_months_of_their_bounds_only(database: Database, year: Metered) -> None:
    def look(session: Session) -> set[str]:
        plans = Plans(session)
        start, end = datetime(2025, 11, 1, tzinfo=BERLIN), datetime(2026, 2, 1, tzinfo=BERLIN)
        bounds = boundaries(start, end, Step.LOCAL_MONTH, BERLIN)
        [found] = amounts(session, [year], bounds, Step.LOCAL_MONTH, general=figures.general_in(BERLIN))
        assert found.amount.tolist() == [days * 960 for days in (30, 31, 31)]
        return plans.months()

    # Local months begin in the last hour of the month before, on the clock of UTC.
    assert await database.read(look) == {"2025m10", "2025m11", "2025m12", "2026m01"}


async def test_what_is_kept_of_months_needs_no_partition_at_all(database: Database, year: Metered) -> None:
    await database.run(lambda session: refresh(session, [year.row], BERLIN))

    def look(session: Session) -> set[str]:
        plans = Plans(session)
        start, end = datetime(2025, 11, 1, tzinfo=BERLIN), datetime(2026, 3, 1, tzinfo=BERLIN)
        bounds = boundaries(start, end, Step.LOCAL_MONTH, BERLIN)
        [found] = amounts(session, [year], bounds, Step.LOCAL_MONTH, BERLIN, general=figures.general_in(BERLIN))
        assert found.amount.tolist() == [days * 960 for days in (30, 31, 31, 28)]
        return plans.months()

    assert await database.read(look) == set()


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


async def test_a_month_that_another_replica_dropped_as_empty_meanwhile_is_made_again(database: Database) -> None:
    partitions, months = Partitions(database), [(2026, 2), (2026, 3)]
    meter = await database.run(add_meter)
    key = meter.lives[0].key

    def bring(slot_ms: int) -> Callable[[Session], ingest.Written]:
        return lambda session: ingest.write(session, Readings.of([key], [slot_ms], [1]), source())

    await partitions.store(months, bring(NOON_MS))
    assert await database.run(lambda session: drop_empty(session, NOON_MS)) == ["reading_y2026m02"]
    written = await partitions.store(months, bring(NOON_MS - MONTH_MS))
    assert written.count(ingest.Outcome.STORED) == 1


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
