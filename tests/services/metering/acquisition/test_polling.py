"""Polling on a stepped clock: every quarter hour once, gaps where nothing answered, nothing that is not energy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from sqlmodel import Session, select

from domain.intervals import Consumption
from servicekit.audit import AuditRecord
from servicekit.database import Database
from servicekit.tenants import TenantRow
from services.metering.acquisition.target import Target
from services.metering.figures.consumption import Step, consumption
from services.metering.life import Exchange, Origin
from services.metering.reading import Int64, Status
from services.metering.slot import SLOT_MS, floor_slot_ms, from_ms, to_ms
from services.metering.store import exchanges, figures, readings
from services.metering.validation.parameters import DEFAULTS
from services.metering.vee import Reset
from tests.services.metering.field import Town, Worker
from tests.services.metering.making import NOON_MS, NOW, TOWN, source
from tests.support.waiting import eventually

BERLIN = ZoneInfo("Europe/Berlin")

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
async def town(database: Database, tmp_path: Path) -> Town:
    return Town(database, tmp_path)


@pytest.fixture
async def workers(town: Town) -> AsyncIterator[list[Worker]]:
    """Whoever polls here; all are killed at the end."""
    started: list[Worker] = []
    yield started
    for worker in started:
        await worker.kill()


def start(workers: list[Worker], town: Town, **options: object) -> Worker:
    workers.append(Worker(town, **options))  # type: ignore[arg-type]
    return workers[-1]


async def test_every_meter_is_read_on_the_quarter_hour_and_stored_once(town: Town, workers: list[Worker]) -> None:
    await town.add("M-1")
    await town.add("M-2")
    await start(workers, town).quarter_hours(4)
    for meter in ("M-1", "M-2"):
        found = await town.readings(meter)
        assert found.slot_ms.tolist() == [NOON_MS + n * SLOT_MS for n in range(4)]
        assert set(found.status.tolist()) == {Status.MEASURED}
        assert np.abs(np.diff(found.value) - 1000).max() < 20
        assert (found.observed_ms - found.slot_ms).max() < 30_000


async def test_a_dead_device_leaves_flagged_gaps_and_its_counter_conserves_the_energy(
    town: Town, workers: list[Worker]
) -> None:
    meter = await town.add()
    worker = start(workers, town)
    await worker.quarter_hours(2)
    meter.answers = False
    await worker.quarter_hours(3)
    meter.answers = True
    await worker.quarter_hours(2)
    found = await town.readings()
    assert found.status.tolist() == [1, 1, 2, 2, 2, 1, 1]
    bounds = np.arange(NOON_MS, NOON_MS + 7 * SLOT_MS, SLOT_MS)
    used = consumption(await town.lives(), found, bounds, Step.QUARTER_HOUR, is_polled=True)
    assert int(used.amount.sum()) == 6000
    assert used.estimated_amount.tolist() == [0, 1000, 1000, 1000, 1000, 0]


async def test_a_dead_device_delays_nobody(town: Town, workers: list[Worker]) -> None:
    (await town.add("dead")).answers = False
    await town.add("alive")
    worker = start(workers, town)
    slot = await worker.next_slot()
    assert worker.poller.polled_ms < slot
    assert (await town.readings("alive")).slot_ms.tolist() == [slot]
    assert len(await town.readings("dead")) == 0
    await worker.pass_tolerance()
    assert (await town.readings("dead")).status.tolist() == [Status.GAP]


async def test_a_device_that_answers_late_is_read_for_the_slot_with_its_own_instant(
    town: Town, workers: list[Worker]
) -> None:
    meter = await town.add()
    meter.answers = False
    worker = start(workers, town)
    slot = await worker.next_slot()
    meter.answers = True
    await worker.pass_tolerance()
    found = await town.readings()
    assert (found.slot_ms.tolist(), found.status.tolist()) == ([slot], [Status.MEASURED])
    assert found.observed_ms[0] > slot + 30_000


async def test_a_value_marked_as_not_available_is_never_stored_as_energy(town: Town, workers: list[Worker]) -> None:
    meter = await town.add()
    worker = start(workers, town)
    await worker.quarter_hours(1)
    meter.shows_sentinel = True
    await worker.quarter_hours(1)
    found = await town.readings()
    assert found.status.tolist() == [Status.MEASURED, Status.GAP]
    assert found.value[1] == 0


async def test_a_single_wrong_answer_is_doubtful_and_changes_no_consumption(town: Town, workers: list[Worker]) -> None:
    meter = await town.add()
    worker = start(workers, town)
    await worker.quarter_hours(1)
    for wrong in (3.0, 10_000_000.0):
        meter.wrong_once = wrong
        await worker.quarter_hours(2)
    found = await town.readings()
    assert found.status.tolist() == [1, 3, 1, 3, 1]
    assert len(await town.lives()) == 1


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_wrong_high_answer_that_nothing_limits_becomes_neither_a_reset_nor_consumption(
    town: Town, workers: list[Worker], restarts: bool
) -> None:
    meter = await town.add(connected_load_w=0)
    worker = start(workers, town)
    await worker.quarter_hours(2)
    meter.wrong_once = 90_000_000.0
    await worker.quarter_hours(1)
    if restarts:
        (town.folder / "meters.json").unlink()
        await worker.kill()
        worker = start(workers, town)
    await worker.quarter_hours(4)
    found = await town.readings()
    assert set(found.status.tolist()) == {Status.MEASURED}
    assert found.value[2] == 90_000_000
    assert len(await town.lives()) == 1
    row = town.stored["M-1"].row
    for first, last in [(0, 6), (0, 2), (1, 2), (2, 3), (2, 6), (3, 6)]:
        bounds = np.array([NOON_MS + first * SLOT_MS, NOON_MS + last * SLOT_MS])

        def answers(session: Session, bounds: Int64 = bounds) -> list[Consumption]:
            [metered] = figures.metered(session, [row])
            [kept] = figures.consumption_of(session, [row], bounds, Step.TOTAL, BERLIN)
            return [kept, figures.from_readings(session, metered, bounds, Step.TOTAL, BERLIN)]

        for used in await town.database.read(answers):
            assert abs(int(used.amount[0]) - 1000 * (last - first)) < 20, (first, last)


class UnansweredResets:
    """A database that takes longer to record a reset than a slot may be read."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def record(self, target: Target, reset: Reset) -> bool:
        self.asked.set()
        await asyncio.Event().wait()
        return False


async def test_the_reading_that_confirms_a_reset_is_kept_in_doubt_where_the_database_takes_until_the_deadline(
    town: Town, workers: list[Worker]
) -> None:
    meter = await town.add()
    resets = UnansweredResets()
    worker = start(workers, town, resets=resets)
    await worker.quarter_hours(2)
    meter.begin_anew()
    await worker.quarter_hours(1)
    slot_ms = NOON_MS + 3 * SLOT_MS
    await eventually(lambda: town.clock._is_asleep(worker._tasks[0]))
    await town.clock.advance(from_ms(slot_ms + 1_000) - town.clock.now(), settle_s=0)
    await eventually(resets.asked.is_set)
    for _ in range(12):
        await town.clock.advance(timedelta(minutes=1))
        if worker.poller.polled_ms >= slot_ms:
            break
    await eventually(lambda: worker.poller.polled_ms >= slot_ms)
    await worker.recorder.settle()
    found = await town.readings()
    assert found.status.tolist() == [1, 1, 3, 3]
    assert found.value[3] > 0


async def test_a_reset_counter_begins_a_new_register_with_an_audit_record_and_keeps_its_energy(
    town: Town, workers: list[Worker]
) -> None:
    at_home = TenantRow(
        uid=TOWN, id="bad-hersfeld", display_name="", time_zone="UTC", latitude_deg=0, longitude_deg=0, seen_at=NOW
    )
    await town.database.run(lambda session: session.add(at_home))
    meter = await town.add()
    worker = start(workers, town)
    await worker.quarter_hours(3)
    meter.begin_anew()
    await worker.quarter_hours(4)
    old, new = await town.lives()
    assert (old.final_reading, new.first_reading) == (1_002_133, 0)
    found = await town.readings()
    assert set(found.status.tolist()) == {Status.MEASURED}
    assert len(found) == 7
    bounds = np.array([NOON_MS, NOON_MS + 6 * SLOT_MS])
    used = consumption([old, new], found, bounds, Step.TOTAL, is_polled=True)
    assert abs(int(used.amount[0]) - 6000) <= 1000  # at most the slot in which it was reset is unknown
    trail = await town.database.read(lambda session: session.exec(select(AuditRecord)).all())
    assert [(record.action, record.actor) for record in trail] == [("metering.meters.reset", "service:metering")]
    assert trail[0].resource == "municipalities/bad-hersfeld/meters/M-1"


@pytest.mark.parametrize("minutes_after_last_reading", [1, 14])
async def test_an_exchange_that_was_taken_for_a_reset_is_put_right_when_a_person_records_it(
    town: Town, workers: list[Worker], minutes_after_last_reading: int
) -> None:
    meter = await town.add(serial_number="old")
    worker = start(workers, town)
    await worker.quarter_hours(3)
    meter.begin_anew()
    await worker.quarter_hours(3)
    assert [life.origin for life in await town.lives()] == [Origin.CREATED, Origin.RESET]
    at = NOON_MS + 2 * SLOT_MS + minutes_after_last_reading * 60_000
    what = Exchange(at, 1_002_133, 0, Origin.EXCHANGE, "new")
    row, known = town.stored["M-1"].row, await town.lives()
    await town.database.run(lambda session: exchanges.exchange(session, row, known, what, source("exchange"), DEFAULTS))
    old, new = await town.lives()
    assert (old.ended_by, new.origin, new.serial_number) == (Origin.EXCHANGE, Origin.EXCHANGE, "new")
    bounds = np.array([NOON_MS, NOON_MS + 5 * SLOT_MS])
    used = consumption([old, new], await town.readings(), bounds, Step.TOTAL, is_polled=True)
    assert abs(int(used.amount[0]) - 5000) < 5
    assert used.coverage_permille().tolist() == [1000]
    worker.book.touch()
    await worker.quarter_hours(1)
    assert (await town.readings()).status.tolist() == [1] * 7


async def test_slots_missed_while_nobody_polled_are_flagged_when_polling_goes_on(
    town: Town, workers: list[Worker]
) -> None:
    await town.add()
    first = start(workers, town)
    await first.quarter_hours(2)
    await first.kill()
    await town.clock.advance(timedelta(minutes=43))
    await start(workers, town).quarter_hours(2)
    found = await town.readings()
    assert found.slot_ms.tolist() == [NOON_MS + n * SLOT_MS for n in range(6)]
    assert found.status.tolist() == [1, 1, 2, 2, 1, 1]


async def test_a_worker_that_restarts_within_a_slot_reads_it_once(town: Town, workers: list[Worker]) -> None:
    meter = await town.add()
    first = start(workers, town)
    await first.quarter_hours(1)
    await first.kill()
    asked = meter.reads
    second = start(workers, town)
    await second.quarter_hours(1)
    assert meter.reads == asked + 1
    assert len(await town.readings()) == 2


async def test_a_worker_without_the_lease_leaves_the_field_alone(town: Town, workers: list[Worker]) -> None:
    meter = await town.add()
    start(workers, town, may_poll=False)
    await town.clock.advance(timedelta(hours=1))
    assert meter.reads == 0


async def test_an_endpoint_that_leads_nowhere_gives_gaps_and_harms_nobody(town: Town, workers: list[Worker]) -> None:
    await town.add("M-1")
    await town.add("lost")
    town.field.meters.pop("test://lost")
    await start(workers, town).quarter_hours(1)
    assert (await town.readings("M-1")).status.tolist() == [Status.MEASURED]
    assert (await town.readings("lost")).status.tolist() == [Status.GAP]


async def test_a_transformer_ratio_is_part_of_the_stored_counter(town: Town, workers: list[Worker]) -> None:
    await town.add(transformer_ratio=40, connected_load_w=0)
    worker = start(workers, town)
    await worker.quarter_hours(2)
    found = await town.readings()
    assert np.diff(found.value).tolist() == [40_000]
    assert floor_slot_ms(to_ms(town.clock.now())) == found.slot_ms[-1]


async def test_the_newest_state_is_read_from_the_database_where_the_snapshot_is_old(
    town: Town, workers: list[Worker]
) -> None:
    await town.add()
    first = start(workers, town)
    await first.quarter_hours(1)
    (town.folder / "meters.json").unlink()
    await first.kill()
    second = start(workers, town)
    await second.quarter_hours(1)
    assert second.book.targets[0].settled_ms == NOON_MS + SLOT_MS
    head = await town.database.read(lambda s: readings.fetch(s, [1], 0, 2**42))
    assert len(head) == 2
