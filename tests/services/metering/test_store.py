"""The store on both databases: a reading is stored once, never overwritten, and found again where it belongs."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from sqlalchemy import text

from domain.errors import AlreadyExists, FailedPrecondition
from servicekit.database import Database
from services.metering.life import Exchange, Origin
from services.metering.reading import Readings, Status
from services.metering.slot import SLOT_MS
from services.metering.store import exchanges, feed, ingest, lives, meters, partitions, readings
from services.metering.validation.parameters import DEFAULTS
from tests.services.metering.making import NOON_MS, TOWN, add_meter, series, source

DAY_MS = 96 * SLOT_MS


async def prepared(database: Database, first_ms: int = NOON_MS, last_ms: int = NOON_MS) -> meters.StoredMeter:
    """A meter, and the partitions of its months."""
    await partitions.Partitions(database).ensure(partitions.months_between(first_ms, last_ms))
    return await database.run(add_meter)


async def test_readings_are_found_again_as_they_were_stored(database: Database) -> None:
    meter = await prepared(database)
    key = meter.lives[0].key
    given = Readings.of([key] * 3, [NOON_MS - 2 * SLOT_MS, NOON_MS - SLOT_MS, NOON_MS], [1, 0, 2**53 - 1], [1, 2, 3])
    given.observed_ms = given.slot_ms + 1234
    written = await database.run(lambda session: ingest.write(session, given, source()))
    assert written.outcome.tolist() == [ingest.Outcome.STORED] * 3
    found = await database.read(lambda session: readings.fetch(session, [key], 0, NOON_MS + 1))
    for one, other in zip(found.columns(), given.columns(), strict=True):
        assert one.tolist() == other.tolist()


async def test_storing_the_same_again_changes_nothing(database: Database) -> None:
    meter = await prepared(database)
    given = series(meter.lives[0].key, NOON_MS - 10 * SLOT_MS, range(10))
    first = await database.run(lambda session: ingest.write(session, given, source()))
    again = await database.run(lambda session: ingest.write(session, given, source()))
    assert first.count(ingest.Outcome.STORED) == 10
    assert again.count(ingest.Outcome.UNCHANGED) == 10
    assert again.batch_id == 0
    rows, batches = await database.read(
        lambda s: (
            s.connection().execute(text("SELECT count(*) FROM reading")).scalar_one(),
            s.connection().execute(text("SELECT count(*) FROM reading_batch")).scalar_one(),
        )
    )
    assert (rows, batches) == (10, 1)


async def test_another_value_for_a_stored_slot_is_a_conflict_and_the_first_one_stays(database: Database) -> None:
    meter = await prepared(database)
    key = meter.lives[0].key
    await database.run(lambda session: ingest.write(session, series(key, NOON_MS, [100]), source()))
    mixed = series(key, NOON_MS - SLOT_MS, [90, 101])
    written = await database.run(lambda session: ingest.write(session, mixed, source()))
    assert written.outcome.tolist() == [ingest.Outcome.STORED, ingest.Outcome.CONFLICT]
    found = await database.read(lambda session: readings.fetch(session, [key], 0, NOON_MS + 1))
    assert found.value.tolist() == [90, 100]


async def test_a_late_value_follows_a_flagged_gap_as_its_next_revision_and_a_late_gap_says_nothing(
    database: Database,
) -> None:
    meter = await prepared(database)
    key = meter.lives[0].key
    gap = Readings.gaps(key, np.array([NOON_MS]))
    await database.run(lambda session: ingest.write(session, gap, source(), polled=True))
    value = await database.run(lambda session: ingest.write(session, series(key, NOON_MS, [7]), source("hand")))
    assert value.outcome.tolist() == [ingest.Outcome.STORED]
    late_gap = await database.run(lambda session: ingest.write(session, gap, source()))
    assert late_gap.outcome.tolist() == [ingest.Outcome.UNCHANGED]
    found = await database.read(lambda session: readings.fetch(session, [key], 0, NOON_MS + 1))
    assert (found.value.tolist(), found.revision.tolist(), found.status.tolist()) == ([7], [1], [Status.MEASURED])
    kept = await database.read(lambda s: s.connection().execute(text("SELECT count(*) FROM reading")).scalar_one())
    assert kept == 2


async def test_a_dry_run_tells_the_outcome_and_stores_nothing(database: Database) -> None:
    meter = await prepared(database)
    key = meter.lives[0].key
    await database.run(lambda session: ingest.write(session, series(key, NOON_MS, [5]), source()))
    tried = await database.run(
        lambda session: ingest.write(session, series(key, NOON_MS - SLOT_MS, [4, 6]), source(), dry_run=True)
    )
    assert tried.outcome.tolist() == [ingest.Outcome.STORED, ingest.Outcome.CONFLICT]
    found = await database.read(lambda session: readings.fetch(session, [key], 0, NOON_MS + 1))
    assert found.value.tolist() == [5]


async def test_sparse_readings_over_years_are_compared_by_key(database: Database) -> None:
    meter = await prepared(database, NOON_MS - 3 * 365 * DAY_MS, NOON_MS)
    key = meter.lives[0].key
    slots = [NOON_MS - year * 365 * DAY_MS for year in (3, 2, 1, 0)]
    given = Readings.of([key] * 4, slots, [10, 20, 30, 40])
    await database.run(lambda session: ingest.write(session, given, source("hand")))
    changed = Readings.of([key] * 4, slots, [10, 21, 30, 40])
    written = await database.run(lambda session: ingest.write(session, changed, source("hand")))
    assert written.outcome.tolist() == [1, 2, 1, 1]


async def test_the_feed_numbers_batches_without_holes_in_the_order_of_commits(database: Database) -> None:
    meter = await prepared(database)
    key = meter.lives[0].key
    for number in range(3):
        given = series(key, NOON_MS - number * SLOT_MS, [9 - number])
        await database.run(partial(ingest.write, ordered=given, source=source()))
    await database.run(lambda s: ingest.write(s, series(key, NOON_MS, [9]), source()))  # nothing new: no batch
    batches = await database.read(lambda session: feed.batches_after(session, 0, 10))
    assert [batch.feed_sequence for batch in batches] == [1, 2, 3]
    assert await database.read(feed.newest) == 3
    second = batches[1]
    found = await database.read(
        lambda s: readings.fetch_batch(s, [key], second.id or 0, second.first_slot_ms, second.last_slot_ms + 1)
    )
    assert found.slot_ms.tolist() == [NOON_MS - SLOT_MS]


async def test_the_newest_reading_is_kept_with_the_register(database: Database) -> None:
    meter = await prepared(database)
    key = meter.lives[0].key
    given = Readings.concatenate([series(key, NOON_MS - 3 * SLOT_MS, [1, 2]), Readings.gaps(key, np.array([NOON_MS]))])
    await database.run(lambda session: ingest.write(session, given, source(), polled=True))
    await database.run(lambda session: ingest.write(session, series(key, NOON_MS - 9 * SLOT_MS, [0]), source("hand")))
    head = (await database.read(lambda session: lives.heads_of(session, [key])))[key]
    assert (head.latest_slot_ms, head.latest_value, head.polled_slot_ms) == (NOON_MS - 2 * SLOT_MS, 2, NOON_MS)


async def test_pages_in_order_of_slot_and_register_neither_skip_nor_repeat(database: Database) -> None:
    await partitions.Partitions(database).ensure(partitions.months_between(NOON_MS, NOON_MS))
    stored = [await database.run(partial(add_meter, meter_id=f"M-{n}")) for n in range(3)]
    all_lives = [life for meter in stored for life in meter.lives]
    for life in all_lives:
        given = series(life.key, NOON_MS - 40 * SLOT_MS, range(40))
        await database.run(partial(ingest.write, ordered=given, source=source()))
    seen: list[tuple[int, int]] = []
    after = None
    while True:
        found, after = await database.read(
            partial(
                readings.page,
                lives=all_lives,
                start_ms=NOON_MS - 40 * SLOT_MS,
                end_ms=NOON_MS,
                size=7,
                after=after,
            )
        )
        seen += zip(found.slot_ms.tolist(), found.register.tolist(), strict=True)
        assert len(found) <= 7
        if after is None:
            break
    assert seen == sorted(seen)
    assert len(set(seen)) == len(seen) == 120


async def test_an_exchange_entered_late_gives_the_new_register_its_readings(database: Database) -> None:
    meter = await prepared(database)
    old_key = meter.lives[0].key
    await database.run(
        lambda s: ingest.write(s, series(old_key, NOON_MS - 3 * SLOT_MS, [900, 1000, 5]), source(), polled=True)
    )
    at = NOON_MS - SLOT_MS - 60_000
    what = Exchange(at, 1010, 0, Origin.EXCHANGE, "new-serial")
    ended, begun = await database.run(
        lambda s: exchanges.exchange(
            s, meter.row, lives.lives_of(s, [meter.row.uid])[meter.row.uid], what, source("exchange"), DEFAULTS
        )
    )
    assert (ended.removed_ms, begun.installed_ms, begun.serial_number) == (at, at, "new-serial")
    both = [ended, begun]
    found = await database.read(lambda s: readings.fetch_lives(s, both, 0, NOON_MS))
    assert list(zip(found.register.tolist(), found.value.tolist(), strict=True)) == [
        (old_key, 900),
        (old_key, 1000),
        (begun.key, 5),
    ]
    heads = await database.read(lambda s: lives.heads_of(s, [old_key, begun.key]))
    assert heads[old_key].latest_value == 1000
    assert heads[begun.key].latest_value == 5
    assert heads[begun.key].polled_slot_ms == NOON_MS - SLOT_MS


async def test_two_meters_claiming_one_serial_number_or_one_name_are_refused(database: Database) -> None:
    await database.run(lambda session: add_meter(session, "M-1", serial_number="4711"))
    with pytest.raises(FailedPrecondition, match="M-1"):
        await database.run(lambda session: add_meter(session, "M-2", serial_number="4711"))
    with pytest.raises(AlreadyExists):
        await database.run(lambda session: add_meter(session, "M-1"))
    elsewhere = await database.run(lambda session: add_meter(session, "M-1", municipality_uid="b" * 32))
    assert elsewhere.row.meter_id == "M-1"


async def test_a_deleted_meter_gives_its_name_free_and_keeps_its_readings(database: Database) -> None:
    meter = await prepared(database)
    await database.run(lambda s: ingest.write(s, series(meter.lives[0].key, NOON_MS, [1]), source()))
    await database.run(lambda s: meters.delete(s, meters.get_row(s, TOWN, "M-1", "M-1"), meter.row.created_at))
    again = await database.run(add_meter)
    assert again.row.uid != meter.row.uid
    kept = await database.read(lambda s: s.connection().execute(text("SELECT count(*) FROM reading")).scalar_one())
    assert kept == 1
