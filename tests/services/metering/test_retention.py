"""What is older than it has to be kept goes, once its days and months are there; the figures stay as they were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import text
from sqlmodel import Session

from domain.intervals import Consumption
from servicekit.clock import SteppedClock
from servicekit.context import Tenant
from servicekit.database import Database
from servicekit.tenants import FixedTenants
from services.metering.figures.consumption import Step, boundaries
from services.metering.meter import Cycle, Medium
from services.metering.reading import Readings
from services.metering.retention import ACTION, Retention
from services.metering.rolling import RollupKeeper
from services.metering.slot import SLOT_MS, to_ms
from services.metering.store import ingest
from services.metering.store.figures import consumption_of
from services.metering.store.lives import lives_of
from services.metering.store.partitions import Partitions, drop_empty, ensure_partitions, months_between
from services.metering.store.rollups import states_of
from services.metering.store.tables import MeterRow
from tests.services.metering.figures.test_rollups import BERLIN
from tests.services.metering.making import TOWN, add_meter, source

HERSFELD = Tenant(TOWN, "town", "Town", "Europe/Berlin", 50.87, 9.71)
FIRST = datetime(2025, 12, 20, tzinfo=BERLIN)
LAST = datetime(2026, 3, 3, tzinfo=BERLIN)
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
FEBRUARY_MS = to_ms(datetime(2026, 2, 1, tzinfo=BERLIN))


class AlwaysHeld:
    """A lease that nobody else wants."""

    def holds(self) -> bool:
        """Always."""
        return True


@pytest.fixture
async def store(database: Database) -> Database:
    """A database with the months of the readings."""
    await Partitions(database).ensure(months_between(to_ms(FIRST), to_ms(LAST)))
    return database


def keeper(database: Database, months: dict[Medium, int]) -> RollupKeeper:
    """What keeps roll-ups, with retention."""
    clock, tenants = SteppedClock(NOW), FixedTenants([HERSFELD])
    retention = Retention(database, tenants, clock, months)
    return RollupKeeper(database, tenants, clock, AlwaysHeld(), retention=retention)  # type: ignore[arg-type]


def retention(database: Database, months: dict[Medium, int]) -> Retention:
    """Retention alone."""
    return Retention(database, FixedTenants([HERSFELD]), SteppedClock(NOW), months)


def readings(key: int, first: datetime = FIRST, last: datetime = LAST) -> Readings:
    """A reading at every quarter hour between two instants."""
    slots = np.arange(to_ms(first), to_ms(last) + 1, SLOT_MS, dtype=np.int64)
    return Readings.of(np.full(len(slots), key, np.int64), slots, 1_000 + (slots - to_ms(FIRST)) // SLOT_MS * 7)


async def filled(database: Database, **facts: object) -> MeterRow:
    """A meter with readings of ten weeks."""

    def fill(session: Session) -> MeterRow:
        row = add_meter(session, **{"reading_cycle": int(Cycle.QUARTER_HOUR), **facts}).row  # type: ignore[arg-type]
        ingest.write(session, readings(lives_of(session, [row.uid])[row.uid][0].key), source())
        return row

    return await database.run(fill)


async def sums(database: Database, row: MeterRow, step: Step = Step.LOCAL_DAY) -> Consumption:
    """What the meter used."""
    bounds = boundaries(FIRST, LAST, step, BERLIN)
    return (await database.read(lambda session: consumption_of(session, [row], bounds, step, BERLIN)))[0]


async def stored(database: Database) -> tuple[int, int]:
    """How many readings there are, and the slot of the first one."""
    statement = text("SELECT count(*), coalesce(min(slot_ms), 0) FROM reading")
    return tuple(await database.read(lambda session: session.connection().execute(statement).one()))


async def test_old_readings_go_and_the_figures_stay(store: Database) -> None:
    row = await filled(store)
    before = [await sums(store, row, step) for step in (Step.LOCAL_DAY, Step.LOCAL_MONTH, Step.TOTAL)]
    work = keeper(store, {})
    await work.bring_up_to_date()
    deleted = await retention(store, {Medium.ELECTRICITY: 1}).apply()
    assert deleted == (FEBRUARY_MS - to_ms(FIRST)) // SLOT_MS
    assert (await stored(store))[1] == FEBRUARY_MS
    after = [await sums(store, row, step) for step in (Step.LOCAL_DAY, Step.LOCAL_MONTH, Step.TOTAL)]
    for one, other in zip(before, after, strict=True):
        assert one.amount.tolist() == other.amount.tolist()
        assert one.flag.tolist() == other.flag.tolist()
    audited = text("SELECT count(*) FROM audit_record WHERE action = :action")
    count = await store.read(lambda session: session.connection().execute(audited, {"action": ACTION}).scalar_one())
    assert count == 1


async def test_nothing_goes_before_its_roll_ups_are_there(store: Database) -> None:
    row = await filled(store)
    before = await stored(store)
    work = retention(store, {Medium.ELECTRICITY: 1})
    assert await work.apply() == 0
    await keeper(store, {}).bring_up_to_date()
    key = (await store.read(lambda session: lives_of(session, [row.uid])))[row.uid][0].key

    def late(session: Session) -> None:
        one = readings(key, FIRST - timedelta(hours=1), FIRST - timedelta(hours=1))
        ingest.write(session, one, source("late"))

    await store.run(late)
    assert await work.apply() == 0
    assert (await stored(store))[0] == before[0] + 1
    await keeper(store, {}).bring_up_to_date()
    assert await work.apply() > 0


async def test_other_media_and_sensors_are_kept_for_ever(store: Database) -> None:
    await filled(store, medium=int(Medium.HEAT))
    await keeper(store, {}).bring_up_to_date()
    before = await stored(store)
    assert await retention(store, {Medium.ELECTRICITY: 1}).apply() == 0
    assert await retention(store, {}).apply() == 0
    assert await stored(store) == before


async def test_what_is_read_before_the_seal_changes_no_kept_figure(store: Database) -> None:
    row = await filled(store)
    await keeper(store, {}).bring_up_to_date()
    work = retention(store, {Medium.ELECTRICITY: 1})
    await work.apply()
    before = await sums(store, row, Step.LOCAL_MONTH)
    key = (await store.read(lambda session: lives_of(session, [row.uid])))[row.uid][0].key
    await Partitions(store).ensure(months_between(to_ms(FIRST), to_ms(LAST)))
    again = readings(key, FIRST, FIRST + timedelta(days=20))
    again.value //= 2
    await store.run(lambda session: ingest.write(session, again, source("again")))
    await keeper(store, {}).bring_up_to_date()
    after = await sums(store, row, Step.LOCAL_MONTH)
    assert after.amount.tolist() == before.amount.tolist()
    [state] = (await store.read(lambda session: states_of(session, [row.uid]))).values()
    assert state.sealed_ms == FEBRUARY_MS


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_month_without_a_reading_is_dropped_and_comes_back_when_it_is_needed(store: Database) -> None:
    row = await filled(store)
    await keeper(store, {Medium.ELECTRICITY: 1}).bring_up_to_date()
    await retention(store, {Medium.ELECTRICITY: 1}).apply()
    names = text(
        "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'reading'::regclass"
    )
    left = await store.read(lambda session: sorted(session.connection().execute(names).scalars()))
    # The month of UTC that the local February begins in has its first reading yet.
    assert left == ["reading_y2026m01", "reading_y2026m02", "reading_y2026m03"]
    assert await store.run(lambda session: drop_empty(session, FEBRUARY_MS)) == []
    made = await store.run(lambda session: ensure_partitions(session, [(2025, 12)]))
    assert (2025, 12) in made
    assert (await sums(store, row)).amount.sum() > 0
