"""Meters are read at the slots of their own cycle: nobody asks in between, and gaps are flagged at those slots only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from servicekit.database import Database, Session
from servicekit.tenants import TenantRow
from services.metering.acquisition.watching import _cycles
from services.metering.meter import Acquisition, Cycle
from services.metering.reading import Status
from services.metering.slot import SLOT_MS, floor_slot_ms, from_ms, to_ms
from services.metering.store.gaps import gaps_of
from tests.services.metering.field import Town, Worker
from tests.services.metering.making import NOON_MS, NOW, TOWN
from tests.support.waiting import eventually

HOUR_MS = 4 * SLOT_MS
BERLIN = ZoneInfo("Europe/Berlin")


def local(*parts: int) -> int:
    return to_ms(datetime(*parts, tzinfo=BERLIN))  # type: ignore[misc, arg-type]


@pytest.fixture
async def town(database: Database, tmp_path: Path, request: pytest.FixtureRequest) -> Town:
    """A town whose clock stands where the test wants it: two minutes before noon, unless it says else."""
    start = getattr(request, "param", None)
    town = Town(database, tmp_path, from_ms(start)) if start else Town(database, tmp_path)

    def known(session: Session) -> None:
        session.add(
            TenantRow(
                uid=TOWN, id="town", display_name="", time_zone="Europe/Berlin",
                latitude_deg=50.87, longitude_deg=9.71, seen_at=NOW,
            )
        )  # fmt: skip

    await database.run(known)
    return town


@pytest.fixture
async def workers(town: Town) -> AsyncIterator[list[Worker]]:
    """Whoever polls here; all are killed at the end."""
    started: list[Worker] = []
    yield started
    for worker in started:
        await worker.kill()


def start(workers: list[Worker], town: Town) -> Worker:
    workers.append(Worker(town))
    return workers[-1]


async def pass_slots(worker: Worker, until_ms: int) -> None:
    """Lets quarter hours pass, whether anybody is read in them or not."""
    clock, poller = worker.town.clock, worker.poller
    while poller.polled_ms < until_ms:
        await eventually(worker._waits_for_the_clock)
        now_ms = to_ms(clock.now())
        slot_ms = floor_slot_ms(now_ms)
        is_done = poller.polled_ms >= slot_ms
        step_ms = slot_ms + SLOT_MS - now_ms if is_done else 30_000
        await clock.advance(timedelta(milliseconds=step_ms), settle_s=0)
        if is_done:
            slot_ms += SLOT_MS
            await eventually(lambda: clock._is_asleep(worker._tasks[0]) or worker._waits_for_the_clock())
    await worker.recorder.settle()


async def test_a_meter_is_read_at_the_slots_of_its_cycle_and_only_then(town: Town, workers: list[Worker]) -> None:
    quarter, half, hour = [
        await town.add(name, reading_cycle=int(cycle))
        for name, cycle in (("quarter", Cycle.UNSPECIFIED), ("half", Cycle.HALF_HOUR), ("hour", Cycle.HOUR))
    ]
    await town.add("irregular", reading_cycle=int(Cycle.IRREGULAR))
    await pass_slots(start(workers, town), NOON_MS + 2 * HOUR_MS)
    for name, apart in (("quarter", 1), ("half", 2), ("hour", 4), ("irregular", 1)):
        found = await town.readings(name)
        assert found.slot_ms.tolist() == list(range(NOON_MS, NOON_MS + 2 * HOUR_MS + 1, apart * SLOT_MS)), name
        assert set(found.status.tolist()) == {Status.MEASURED}
    assert (quarter.reads, half.reads, hour.reads) == (9, 5, 3)


async def test_registers_of_one_endpoint_with_different_cycles_share_their_requests(
    town: Town, workers: list[Worker]
) -> None:
    meter = await town.add("quarter", reading_cycle=int(Cycle.QUARTER_HOUR))
    uid = town.stored["quarter"].row.endpoint_uid
    await town.add_at(
        "test://quarter", "eastron-sdm630", "hour", reading_cycle=int(Cycle.HOUR), endpoint_uid=uid,
        point="energy_active_export",
    )  # fmt: skip
    await pass_slots(start(workers, town), NOON_MS + HOUR_MS)
    assert meter.reads == 5
    assert len(await town.readings("quarter")) == 5
    assert (await town.readings("hour")).slot_ms.tolist() == [NOON_MS, NOON_MS + HOUR_MS]


async def test_a_slot_of_the_cycle_that_could_not_be_read_is_one_gap(town: Town, workers: list[Worker]) -> None:
    meter = await town.add("hour", reading_cycle=int(Cycle.HOUR))
    worker = start(workers, town)
    await pass_slots(worker, NOON_MS)
    meter.answers = False
    await pass_slots(worker, NOON_MS + HOUR_MS)
    meter.answers = True
    await pass_slots(worker, NOON_MS + 2 * HOUR_MS)
    found = await town.readings("hour")
    assert found.slot_ms.tolist() == [NOON_MS + n * HOUR_MS for n in range(3)]
    assert found.status.tolist() == [Status.MEASURED, Status.GAP, Status.MEASURED]


async def test_slots_missed_while_nobody_polled_are_flagged_as_soon_as_somebody_does(
    town: Town, workers: list[Worker]
) -> None:
    await town.add("hour", reading_cycle=int(Cycle.HOUR))
    first = start(workers, town)
    await pass_slots(first, NOON_MS)
    await first.kill()
    await town.clock.advance(timedelta(hours=3, minutes=20))
    second = start(workers, town)
    await pass_slots(second, NOON_MS + 3 * HOUR_MS + 2 * SLOT_MS)
    missed = [NOON_MS + n * HOUR_MS for n in (1, 2, 3)]
    key = (await town.lives("hour"))[0].key
    gaps = await town.database.read(lambda session: gaps_of(session, [key], 0, 2**42))
    assert gaps[key].tolist() == missed
    await pass_slots(second, NOON_MS + 4 * HOUR_MS)
    found = await town.readings("hour")
    assert found.slot_ms.tolist() == [NOON_MS, *missed, NOON_MS + 4 * HOUR_MS]


async def test_what_waited_in_the_spool_leaves_no_gap_between_the_slots_of_a_cycle(
    town: Town, workers: list[Worker]
) -> None:
    await town.add("hour", reading_cycle=int(Cycle.HOUR))
    await town.add("quarter")
    worker = start(workers, town)
    await pass_slots(worker, NOON_MS)
    is_ready = False
    worker.recorder._ready = lambda: is_ready
    await pass_slots(worker, NOON_MS + 3 * HOUR_MS)
    assert worker.spool.depth
    is_ready = True
    await eventually(lambda: worker.recorder.is_settled)
    found = await town.readings("hour")
    assert found.slot_ms.tolist() == [NOON_MS + n * HOUR_MS for n in range(4)]
    assert set(found.status.tolist()) == {Status.MEASURED}
    assert len(await town.readings("quarter")) == 13


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("town", "day"),
    [(local(2026, 3, 28, 23, 40), (2026, 3, 29)), (local(2026, 10, 24, 23, 40), (2026, 10, 25))],
    indirect=["town"],
)
async def test_a_daily_meter_is_read_at_local_midnight_also_where_a_day_has_23_or_25_hours(
    town: Town, workers: list[Worker], day: tuple[int, int, int]
) -> None:
    meter = await town.add("day", reading_cycle=int(Cycle.DAY))
    year, month, number = day
    midnights = [local(year, month, number), local(year, month, number + 1)]
    assert midnights[1] - midnights[0] != 24 * HOUR_MS
    worker = start(workers, town)
    for slot in range(midnights[0] - SLOT_MS, midnights[1] + SLOT_MS + 1, SLOT_MS):
        await worker.poller.poll(slot) if slot not in midnights else await pass_slots(worker, slot)
    found = await town.readings("day")
    assert found.slot_ms.tolist() == midnights
    assert meter.reads == 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("town", [local(2026, 12, 31, 23, 40)], indirect=True)
async def test_a_monthly_and_a_yearly_meter_are_read_on_the_first(town: Town, workers: list[Worker]) -> None:
    await town.add("month", reading_cycle=int(Cycle.MONTH))
    await town.add("year", reading_cycle=int(Cycle.YEAR))
    new_year = local(2027, 1, 1)
    worker = start(workers, town)
    await pass_slots(worker, new_year + SLOT_MS)
    for name in ("month", "year"):
        assert (await town.readings(name)).slot_ms.tolist() == [new_year], name
    await worker.kill()
    # Nobody polls for the turn of a month; who comes next flags it at once, and nothing of the year.
    await town.clock.advance(from_ms(local(2027, 2, 3, 12, 7)) - town.clock.now())
    await pass_slots(start(workers, town), local(2027, 2, 3, 12, 15))
    found = await town.readings("month")
    assert found.slot_ms.tolist() == [new_year, local(2027, 2, 1)]
    assert found.status.tolist() == [Status.MEASURED, Status.GAP]
    assert (await town.readings("year")).slot_ms.tolist() == [new_year]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("acquisition", [Acquisition.POLL, Acquisition.SUBSCRIBE])
async def test_a_time_zone_that_nobody_knows_keeps_no_meter_of_any_town_from_being_read(
    town: Town, workers: list[Worker], caplog: pytest.LogCaptureFixture, acquisition: Acquisition
) -> None:
    name = f"Europe/Atlantis-{acquisition.name}"

    def misspell(session: Session) -> None:
        row = session.get_one(TenantRow, TOWN)
        row.time_zone = name
        session.add(row)

    await town.database.run(misspell)
    await town.add("quarter", acquisition=int(acquisition))
    await town.add("day", reading_cycle=int(Cycle.DAY))
    worker = start(workers, town)
    await pass_slots(worker, NOON_MS + SLOT_MS)
    assert (await town.readings("quarter")).slot_ms.tolist() == [NOON_MS, NOON_MS + SLOT_MS]
    of_day = next(target for target in worker.book.targets if target.cycle == Cycle.DAY)
    assert of_day.due_ms(NOON_MS) == local(2026, 3, 28)
    assert _cycles([of_day]) == {of_day.address: (Cycle.DAY, BERLIN)}
    assert len([record for record in caplog.records if name in record.message]) == 1
