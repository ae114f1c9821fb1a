"""What is read less often than every quarter hour, in the database: only slots that were due are ever gaps, also where
the cycle, the register or its number becomes another one meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy import text
from sqlmodel import Session

from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.database import Database
from servicekit.tenants import TenantRow
from services.metering.acquisition.polling import _by_turn
from services.metering.life import Exchange, Origin, RegisterLife
from services.metering.meter import Cycle
from services.metering.reading import Readings, Status
from services.metering.slot import SLOT_MS, from_ms
from services.metering.store import exchanges, feed, meters
from services.metering.store.heads import polled_slots
from services.metering.store.lives import lives_of
from services.metering.store.partitions import Partitions, months_between
from services.metering.store.polled import write_polled
from services.metering.store.readings import fetch_lives
from services.metering.store.tables import MeterRow
from services.metering.store.targets import load
from services.metering.validation.parameters import DEFAULTS
from tests.services.metering.making import NOON_MS, NOW, TOWN, add_meter, source
from tests.services.metering.running import Metering, name_of, running_metering
from tests.support.issuer import Issuer

HOUR_MS = 4 * SLOT_MS
DAY_MS = 24 * HOUR_MS
MIDNIGHT_MS = NOON_MS - 13 * HOUR_MS
"""Local midnight of the test's day."""
FIRST_MS = MIDNIGHT_MS - 27 * DAY_MS
"""The first of its month; what changes the clock comes a day later."""

postgresql_only = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
async def partitions(database: Database) -> None:
    await Partitions(database).ensure(months_between(FIRST_MS, NOON_MS))


@pytest.fixture
async def metering(issuer: Issuer, database: Database) -> AsyncIterator[Metering]:
    async with running_metering(issuer, database) as running:
        yield running


def read(session: Session, life: RegisterLife, slots: Sequence[int]) -> None:
    """Stores what polling has read at slots."""
    store(session, [life.key] * len(slots), slots, {life.key: life.uid})


def store(session: Session, keys: Sequence[int], slots: Sequence[int], lives: dict[int, str]) -> None:
    """Stores what polling has read of registers, one reading each."""
    values = [1_000_000 + (slot - FIRST_MS) // SLOT_MS for slot in slots]
    write_polled(session, Readings.of(list(keys), list(slots), values), lives, source(), DEFAULTS)


def gaps(session: Session, lives: Sequence[RegisterLife]) -> list[int]:
    """Slots that are flagged."""
    found = fetch_lives(session, list(lives), 0, 2**42)
    return found.slot_ms[found.status == Status.GAP].tolist()  # type: ignore[no-any-return]


async def hourly(database: Database, meter_id: str = "M-1", **changes: object) -> RegisterLife:
    """The register of a meter that is read each hour."""
    fields: dict[str, object] = {"reading_cycle": int(Cycle.HOUR), "endpoint_uid": "e" * 32, **changes}
    stored: meters.StoredMeter = await database.run(lambda session: add_meter(session, meter_id, **fields))
    return stored.lives[0]


def hours(*numbers: int) -> list[int]:
    """Hours after noon of the test's day."""
    return [NOON_MS + number * HOUR_MS for number in numbers]


async def change_cycle(metering: Metering, cycle: Cycle) -> None:
    meter = pb.Meter(name=name_of(), reading_cycle=int(cycle))  # type: ignore[arg-type]
    await metering.as_().UpdateMeter(pb.UpdateMeterRequest(meter=meter, update_mask=FieldMask(paths=["reading_cycle"])))


async def monthly(metering: Metering) -> RegisterLife:
    """The register of a meter that was read on the first of the month."""
    endpoint = metering.registry.add("e-1")
    created = await metering.meter(
        endpoint=endpoint, point="energy_active_import", reading_cycle=pb.READING_CYCLE_MONTH
    )

    def begin(session: Session) -> RegisterLife:
        [life] = lives_of(session, [created.uid])[created.uid]
        read(session, life, [FIRST_MS])
        return life

    return await metering.servicer.database.run(begin)


async def test_a_meter_that_is_to_be_read_more_often_has_no_gaps_at_slots_that_were_never_due(
    metering: Metering, database: Database
) -> None:
    life = await monthly(metering)
    await change_cycle(metering, Cycle.QUARTER_HOUR)
    await database.run(lambda session: read(session, life, [NOON_MS + 2 * SLOT_MS]))
    assert await database.read(lambda session: gaps(session, [life])) == [NOON_MS + SLOT_MS]


@sqlite_only
async def test_what_polls_takes_over_a_changed_cycle_from_the_next_slot_on(
    metering: Metering, database: Database
) -> None:
    life = await monthly(metering)
    [before], _ = await database.read(lambda session: load(session, {}, DEFAULTS))
    assert before.settled_ms == FIRST_MS
    await change_cycle(metering, Cycle.DAY)
    known = {before.identity: before}
    [target], _ = await database.read(lambda session: load(session, known, DEFAULTS))
    assert (target.cycle, target.settled_ms) == (Cycle.DAY, NOON_MS)
    assert _by_turn([target], NOON_MS + SLOT_MS) == ([], {})
    # Nor is anything flagged when the next midnight is stored, which comes an hour earlier.
    tomorrow = MIDNIGHT_MS + DAY_MS
    assert _by_turn([target], tomorrow) == ([target], {})
    await database.run(lambda session: read(session, life, [tomorrow]))
    assert await database.read(lambda session: gaps(session, [life])) == []


@sqlite_only
async def test_another_word_for_every_quarter_hour_leaves_what_was_missed_to_be_flagged(
    metering: Metering, database: Database
) -> None:
    created = await metering.meter(endpoint=metering.registry.add("e-1"), point="energy_active_import")
    [life] = await database.read(lambda session: lives_of(session, [created.uid])[created.uid])
    await database.run(lambda session: read(session, life, [NOON_MS - 2 * SLOT_MS]))
    await change_cycle(metering, Cycle.QUARTER_HOUR)
    await database.run(lambda session: read(session, life, [NOON_MS + SLOT_MS]))
    assert await database.read(lambda session: gaps(session, [life])) == [NOON_MS - SLOT_MS, NOON_MS]


@postgresql_only
async def test_who_stores_seldom_meters_waits_for_others_who_store_before_it_touches_a_register(
    database: Database,
) -> None:
    life = await hourly(database)
    await database.run(lambda session: read(session, life, hours(0)))
    holds, is_done = threading.Event(), threading.Event()

    def other(session: Session) -> None:
        """Holds the feed, as whoever stores readings does, and moves the register once somebody waits for it."""
        feed.hold(session)
        holds.set()
        waiting = text("SELECT count(*) FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))")
        limit_s = time.monotonic() + 60
        while not session.connection().execute(waiting).scalar_one():
            assert time.monotonic() < limit_s, "nobody waits for the feed"
        head = text("SELECT 1 FROM register_head WHERE life_key = :key FOR UPDATE NOWAIT")
        session.connection().execute(head, {"key": life.key})
        is_done.set()

    holding = asyncio.create_task(database.run(other))
    await asyncio.to_thread(holds.wait, 60)
    await asyncio.gather(holding, database.run(lambda session: read(session, life, hours(1))))
    assert is_done.is_set()
    assert await database.read(lambda session: gaps(session, [life])) == []


def exchanged(session: Session, life: RegisterLife, what: Exchange) -> RegisterLife:
    """The register that has come."""
    row = session.get_one(MeterRow, life.meter_uid)
    lives = lives_of(session, [row.uid])[row.uid]
    return exchanges.exchange(session, row, lives, what, source("exchange"), DEFAULTS)[1]


async def test_slots_missed_before_an_exchange_are_gaps_of_the_register_that_hung_there(database: Database) -> None:
    first = await hourly(database)
    await database.run(lambda session: read(session, first, hours(0)))
    second, third = [
        await database.run(
            lambda session, hour=hour: exchanged(  # type: ignore[misc]
                session, first, Exchange(NOON_MS + hour * HOUR_MS, 1_001_000_000, 0, Origin.EXCHANGE, f"new{hour}")
            )
        )
        for hour in (3, 5)
    ]
    await database.run(lambda session: read(session, third, hours(7)))
    told = [await database.read(lambda session, life=life: gaps(session, [life])) for life in (first, second, third)]  # type: ignore[misc]
    assert told == [hours(1, 2), hours(3, 4), hours(5, 6)]


async def test_what_the_register_of_before_was_read_at_is_no_gap_where_it_comes_with_the_new_one_s(
    database: Database,
) -> None:
    old = await hourly(database)
    await database.run(lambda session: read(session, old, hours(0)))
    what = Exchange(NOON_MS + 3 * HOUR_MS, 1_001_000_000, 0, Origin.EXCHANGE, "new")
    new = await database.run(lambda session: exchanged(session, old, what))
    lives = {old.key: old.uid, new.key: new.uid}
    both = [old.key, new.key]
    await database.run(lambda session: store(session, both, hours(1, 4), lives))
    told = [await database.read(lambda session, life=life: gaps(session, [life])) for life in (old, new)]  # type: ignore[misc]
    assert told == [hours(2), hours(3)]


@pytest.mark.parametrize("after_the_hour_ms", [0, 300_000])
async def test_slots_missed_since_an_exchange_are_gaps_of_the_new_register(
    database: Database, after_the_hour_ms: int
) -> None:
    life = await hourly(database)
    await database.run(lambda session: read(session, life, hours(0)))
    what = Exchange(NOON_MS + HOUR_MS + after_the_hour_ms, 1_001_000_000, 0, Origin.EXCHANGE, "new")

    begun = await database.run(lambda session: exchanged(session, life, what))
    polled = await database.read(lambda session: polled_slots(session, [begun.key]))
    assert 0 < polled[begun.key] < begun.begin_ms  # hence the newest slot that nobody read is flagged by who comes
    await database.run(lambda session: read(session, begun, hours(4)))
    missed = hours(1, 2, 3) if not after_the_hour_ms else hours(2, 3)
    assert await database.read(lambda session: gaps(session, [begun])) == missed


async def test_a_restored_database_takes_what_was_spooled_under_two_numbers_of_one_register(database: Database) -> None:
    life = await hourly(database)
    await database.run(lambda session: read(session, life, hours(0)))
    before = life.key + 1_000
    lives = {before: life.uid, life.key: life.uid}
    await database.run(lambda session: store(session, [before, life.key], hours(2, 4), lives))
    assert await database.read(lambda session: gaps(session, [life])) == hours(1, 3)


async def test_what_one_meter_was_read_at_says_nothing_about_another(database: Database) -> None:
    up, down = await hourly(database), await hourly(database, "M-2")
    lives = {up.key: up.uid, down.key: down.uid}
    await database.run(lambda session: store(session, [up.key, down.key], hours(0, 0), lives))
    # A full spool has thinned itself: of the one that was down nothing is in the record but its name.
    await database.run(lambda session: store(session, [up.key] * 4, hours(1, 2, 3, 4), lives))
    await database.run(lambda session: store(session, [up.key, down.key], hours(5, 5), lives))
    assert await database.read(lambda session: gaps(session, [up])) == []
    assert await database.read(lambda session: gaps(session, [down])) == hours(1, 2, 3, 4)


@pytest.mark.parametrize("column", ["endpoint_uid", "deleted_at"])
async def test_a_meter_that_is_no_longer_read_keeps_its_cycle_for_what_still_waits(
    database: Database, column: str
) -> None:
    life = await hourly(database)
    await database.run(lambda session: read(session, life, hours(0)))

    def take_away(session: Session) -> None:
        row = session.get_one(MeterRow, life.meter_uid)
        setattr(row, column, "" if column == "endpoint_uid" else NOW + timedelta(hours=3))
        session.add(row)

    await database.run(take_away)
    await database.run(lambda session: read(session, life, hours(1, 2)))
    assert await database.read(lambda session: gaps(session, [life])) == []


@sqlite_only
async def test_a_time_zone_that_nobody_knows_keeps_nothing_from_being_stored(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    def known(session: Session) -> None:
        session.add(
            TenantRow(
                uid=TOWN, id="town", display_name="", time_zone="Europe/Atlantis",
                latitude_deg=50.87, longitude_deg=9.71, seen_at=NOW,
            )
        )  # fmt: skip

    await database.run(known)
    life = await hourly(database, reading_cycle=int(Cycle.DAY))
    days = [MIDNIGHT_MS - n * DAY_MS for n in (3, 2, 0)]
    await database.run(lambda session: read(session, life, days[:1]))
    await database.run(lambda session: read(session, life, days[1:]))
    assert await database.read(lambda session: gaps(session, [life])) == [MIDNIGHT_MS - DAY_MS]
    told = [record.message for record in caplog.records if "Europe/Atlantis" in record.message]
    assert len(told) == 1
    assert from_ms(MIDNIGHT_MS).hour == 23
