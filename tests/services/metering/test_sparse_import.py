"""Late readings here and there among the newest ones, which PostgreSQL's statistics know nothing of yet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sqlmodel import Session

from servicekit.database import Database
from services.metering.reading import Readings
from services.metering.slot import SLOT_MS
from services.metering.store.ingest import Outcome, write
from services.metering.store.partitions import Partitions, months_between
from tests.services.metering.making import NOON_MS, add_meter, source

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

METERS, OLD, NEW = 60, 300, 40


async def test_the_newest_readings_are_found_by_their_keys_before_the_table_is_analysed(database: Database) -> None:
    await Partitions(database).ensure(months_between(NOON_MS - OLD * SLOT_MS, NOON_MS + NEW * SLOT_MS))

    def fill(session: Session) -> np.ndarray[Any, Any]:
        session.connection().exec_driver_sql("ALTER TABLE reading_y2026m03 SET (autovacuum_enabled = false)")
        keys = np.array([add_meter(session, f"M-{n}").lives[0].key for n in range(METERS)], np.int64)
        write(session, _dense(keys, -OLD, 0), source())
        return keys

    keys = await database.run(fill)
    await database.run(lambda s: s.connection().exec_driver_sql("ANALYZE reading"))
    await database.run(lambda s: write(s, _dense(keys, 0, NEW), source()))
    sparse = _dense(keys, 0, NEW).take(slice(None))
    sparse = sparse.take(np.isin(sparse.slot_ms, [NOON_MS, NOON_MS + 17 * SLOT_MS, NOON_MS + (NEW - 1) * SLOT_MS]))
    plans: list[str] = []

    def again(session: Session) -> int:
        connection = session.connection()
        for statement in (
            "LOAD 'auto_explain'",
            "SET auto_explain.log_min_duration = 0",
            "SET auto_explain.log_analyze = on",
            "SET auto_explain.log_level = notice",
        ):
            connection.exec_driver_sql(statement)
        driver: Any = connection.connection.driver_connection
        driver.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
        written = write(session, sparse, source("import:late.csv"))
        connection.exec_driver_sql("SELECT 1")
        return written.count(Outcome.UNCHANGED)

    assert await database.run(again) == len(sparse) == 3 * METERS
    looked = [plan for plan in plans if "AS k(life_key, slot_ms)" in plan]
    assert looked
    assert not [plan for plan in looked if "Join Filter" in plan]


def _dense(keys: np.ndarray[Any, Any], begin: int, end: int) -> Readings:
    slots = NOON_MS + np.arange(begin, end, dtype=np.int64) * SLOT_MS
    registers = np.repeat(keys, len(slots))
    values = np.tile(np.arange(begin + OLD, end + OLD) * 10, len(keys))
    return Readings.of(registers, np.tile(slots, len(keys)), values)
