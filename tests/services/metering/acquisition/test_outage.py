"""The database away: what was read is kept, survives kills, and is stored once and in order when it is back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from servicekit.database import Database
from services.metering.acquisition.spool import Record
from services.metering.figures.consumption import Step, consumption
from services.metering.life import Change, Exchange, Origin
from services.metering.reading import Readings
from services.metering.slot import SLOT_MS
from services.metering.store import exchanges
from services.metering.store.partitions import Partitions, months_between
from services.metering.validation.parameters import DEFAULTS
from tests.services.metering.field import Town, Worker
from tests.services.metering.making import NOON_MS, source
from tests.support.postgres import PostgresServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


class Outage:
    """Takes the database away and gives it back."""

    def __init__(self, server: PostgresServer, url: str) -> None:
        self._server, self._url = server, url

    def begin(self) -> None:
        self._server.cut_off(self._url)

    def end(self) -> None:
        self._server.bring_back(self._url)


@pytest.fixture
def outage(postgres_server: PostgresServer, database_url: str) -> Outage:
    return Outage(postgres_server, database_url)


@pytest.fixture
async def town(database: Database, tmp_path: Path) -> Town:
    await Partitions(database).ensure(months_between(NOON_MS, NOON_MS))
    return Town(database, tmp_path)


@pytest.fixture
async def workers(town: Town) -> AsyncIterator[list[Worker]]:
    started: list[Worker] = []
    yield started
    for worker in started:
        await worker.kill()


async def drained(worker: Worker) -> None:
    await eventually(lambda: worker.spool.depth == 0)


async def all_slots_once(town: Town, count: int) -> None:
    """Every slot is there, measured, with the energy that the meter drew."""
    found = await town.readings()
    assert found.slot_ms.tolist() == [NOON_MS + n * SLOT_MS for n in range(count)]
    assert found.status.tolist() == [1] * count
    assert np.abs(np.diff(found.value) - 1000).max() < 20


async def test_an_hour_without_the_database_is_spooled_and_drained(
    town: Town, workers: list[Worker], outage: Outage
) -> None:
    await town.add()
    worker = Worker(town)
    workers.append(worker)
    await worker.quarter_hours(2)
    outage.begin()
    await worker.quarter_hours(4)
    assert worker.spool.depth == 4
    outage.end()
    await drained(worker)
    await worker.quarter_hours(1)
    await all_slots_once(town, 7)


async def test_a_worker_killed_between_spooling_and_draining_loses_and_doubles_nothing(
    town: Town, workers: list[Worker], outage: Outage
) -> None:
    await town.add()
    first = Worker(town)
    workers.append(first)
    await first.quarter_hours(1)
    outage.begin()
    await first.quarter_hours(2)
    await first.kill()
    # The next one starts without the database: it knows its meters from the snapshot, and where they stand.
    second = Worker(town)
    workers.append(second)
    await second.quarter_hours(2)
    assert second.spool.depth == 4
    await second.kill()
    outage.end()
    third = Worker(town)
    workers.append(third)
    await drained(third)
    await third.quarter_hours(1)
    await all_slots_once(town, 6)


async def test_a_record_that_was_committed_and_not_removed_is_stored_once(
    town: Town, workers: list[Worker], outage: Outage
) -> None:
    await town.add()
    worker = Worker(town)
    workers.append(worker)
    await worker.quarter_hours(1)
    outage.begin()
    await worker.quarter_hours(1)
    kept = {path.name: path.read_bytes() for path in worker.spool._folder.glob("*.rec")}
    outage.end()
    await drained(worker)
    await worker.kill()
    left = town.folder / "spool" / "left-behind"
    left.mkdir()
    for name, data in kept.items():
        (left / name).write_bytes(data)
    again = Worker(town)
    workers.append(again)
    assert again.spool.depth == 1
    await drained(again)
    await all_slots_once(town, 2)


async def test_an_exchange_recorded_before_the_spool_is_drained_takes_its_readings_along(
    town: Town, workers: list[Worker], outage: Outage
) -> None:
    meter = await town.add()
    worker = Worker(town)
    workers.append(worker)
    await worker.quarter_hours(2)
    outage.begin()
    meter.begin_anew()
    final = 1_001_133
    await worker.quarter_hours(2)
    await worker.kill()
    outage.end()
    stored = town.stored["M-1"]
    what = Exchange(NOON_MS + SLOT_MS + 1000, final, 0, Origin.EXCHANGE, "new")
    await town.database.run(
        lambda s: exchanges.exchange(s, stored.row, stored.lives, what, source("exchange"), DEFAULTS)
    )
    await town.clock.advance(timedelta(minutes=13))
    again = Worker(town)
    workers.append(again)
    await drained(again)
    await again.quarter_hours(1)
    found = await town.readings()
    assert found.status.tolist() == [1] * 5
    assert len(set(found.register.tolist())) == 2
    bounds = np.array([NOON_MS, NOON_MS + 4 * SLOT_MS])
    used = consumption(await town.lives(), found, bounds, Step.TOTAL, is_polled=True)
    assert abs(int(used.amount[0]) - 4000) < 20
    assert used.coverage_permille().tolist() == [1000]


async def test_what_waits_in_the_spool_is_brought_to_the_ratio_of_an_exchange(
    town: Town, workers: list[Worker], outage: Outage
) -> None:
    meter = await town.add()
    worker = Worker(town)
    workers.append(worker)
    await worker.quarter_hours(2)
    outage.begin()
    meter.begin_anew()
    await worker.quarter_hours(2)
    await worker.kill()
    outage.end()
    stored = town.stored["M-1"]
    change = Change(transformer_ratio=40)
    what = Exchange(NOON_MS + SLOT_MS + 1000, 1_001_133, 0, Origin.EXCHANGE, "new", change)
    await town.database.run(
        lambda s: exchanges.exchange(s, stored.row, stored.lives, what, source("exchange"), DEFAULTS)
    )
    again = Worker(town)
    workers.append(again)
    await drained(again)
    found = await town.readings()
    moved = found.take(found.register != stored.lives[0].key)
    assert len(moved) >= 1
    assert all(value % 40 == 0 and value >= 40 for value in moved.value.tolist())


async def test_a_full_spool_keeps_the_full_hours_and_the_rest_become_flagged_gaps(
    town: Town, workers: list[Worker], outage: Outage
) -> None:
    await town.add()
    worker = Worker(town, max_spool_bytes=3_500)
    workers.append(worker)
    await worker.quarter_hours(1)
    outage.begin()
    await worker.quarter_hours(12)
    outage.end()
    await drained(worker)
    found = await town.readings()
    assert found.slot_ms.tolist() == [NOON_MS + n * SLOT_MS for n in range(13)]
    statuses = found.status.tolist()
    assert [statuses[n] for n in (0, 4, 8, 12)] == [1, 1, 1, 1]
    assert 2 in statuses
    bounds = np.array([NOON_MS, NOON_MS + 12 * SLOT_MS])
    used = consumption(await town.lives(), found, bounds, Step.TOTAL, is_polled=True)
    assert abs(int(used.amount[0]) - 12_000) < 20


async def test_a_slot_that_was_read_and_not_yet_kept_is_read_again_after_a_kill(
    town: Town, workers: list[Worker], outage: Outage
) -> None:
    await town.add()
    first = Worker(town)
    workers.append(first)
    await first.quarter_hours(1)
    outage.begin()
    first._tasks[1].cancel()  # the recorder is slower than the poll
    await town.clock.advance(timedelta(minutes=15, seconds=1), settle_s=0)
    await eventually(lambda: first.poller.polled_ms == NOON_MS + SLOT_MS)
    await first.kill()
    second = Worker(town)
    workers.append(second)
    await second.pass_tolerance()
    outage.end()
    await drained(second)
    await all_slots_once(town, 2)


async def test_what_a_restored_database_numbered_anew_is_not_stored_together(
    town: Town, workers: list[Worker], outage: Outage
) -> None:
    await town.add("M-1")
    await town.add("M-2")
    worker = Worker(town)
    workers.append(worker)
    await worker.quarter_hours(1)
    (one,), (other,) = await town.lives("M-1"), await town.lives("M-2")
    outage.begin()
    # The same key means one register in the first record, and another in the second.
    for number, life in enumerate((one, other), start=1):
        readings = Readings.of([77], [NOON_MS + SLOT_MS], [1_002_000 + number])
        worker.spool.append(Record(readings, {77: life.uid}))
    outage.end()
    worker.recorder._backlog.set()
    await drained(worker)
    for number, meter in enumerate(("M-1", "M-2"), start=1):
        assert (await town.readings(meter)).value.tolist()[-1] == 1_002_000 + number
