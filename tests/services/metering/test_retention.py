"""What is older than it has to be kept goes, once its days and months are there; the figures stay as they were."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import text
from sqlmodel import Session

from domain.errors import LichtbuchError
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


def keeper(
    database: Database, months: dict[Medium, int], media: Collection[Medium] = frozenset(Medium)
) -> RollupKeeper:
    """What keeps roll-ups, with retention."""
    clock, tenants = SteppedClock(NOW), FixedTenants([HERSFELD])
    retention = Retention(database, tenants, clock, months)
    return RollupKeeper(database, tenants, clock, AlwaysHeld(), retention=retention, media=media)  # type: ignore[arg-type]


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


async def sums(database: Database, row: MeterRow, step: Step = Step.LOCAL_DAY, until: datetime = LAST) -> Consumption:
    """What the meter used."""
    bounds = boundaries(FIRST, until, step, BERLIN)
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


@pytest.mark.parametrize("step", [Step.LOCAL_YEAR, Step.TOTAL])
async def test_a_year_that_is_not_over_keeps_its_figure_and_its_coverage(store: Database, step: Step) -> None:
    row = await filled(store)
    new_year = datetime(2027, 1, 1, tzinfo=BERLIN)
    before = await sums(store, row, step, new_year)
    await keeper(store, {}).bring_up_to_date()
    assert await retention(store, {Medium.ELECTRICITY: 1}).apply() > 0
    after = await sums(store, row, step, new_year)
    assert after.amount.tolist() == before.amount.tolist()
    assert after.measured_ms.tolist() == before.measured_ms.tolist()
    assert after.estimated_amount.tolist() == before.estimated_amount.tolist()


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


async def kept_rows(database: Database) -> tuple[int, int]:
    """How many sums are kept, and of how many meters."""
    statement = text("SELECT (SELECT count(*) FROM rollup), (SELECT count(*) FROM rollup_meter)")
    return tuple(await database.read(lambda session: session.connection().execute(statement).one()))


def same(one: Consumption, other: Consumption) -> bool:
    """Whether two answers agree in everything they say."""
    columns = ("amount", "estimated_amount", "measured_ms", "flag")
    return all(getattr(one, name).tolist() == getattr(other, name).tolist() for name in columns)


async def test_roll_ups_are_kept_of_the_media_that_are_said_and_figures_are_the_same_without(store: Database) -> None:
    heat = await filled(store, medium=int(Medium.HEAT))
    power = await filled(store, meter_id="M-2")
    steps = (Step.LOCAL_DAY, Step.LOCAL_MONTH, Step.TOTAL)
    plain = {row.uid: [await sums(store, row, step) for step in steps] for row in (heat, power)}

    async def figures_are_the_same() -> bool:
        pairs = [(plain[row.uid], [await sums(store, row, step) for step in steps]) for row in (heat, power)]
        return all(same(one, other) for before, now in pairs for one, other in zip(before, now, strict=True))

    await keeper(store, {}).bring_up_to_date()
    everything, meters = await kept_rows(store)
    assert meters == 2
    assert await figures_are_the_same()
    only_heat = keeper(store, {}, {Medium.HEAT})
    await only_heat.bring_up_to_date()
    assert await kept_rows(store) == (everything // 2, 1)
    assert await figures_are_the_same()
    assert await only_heat.bring_up_to_date() == 0
    await keeper(store, {}, ()).bring_up_to_date()
    assert await kept_rows(store) == (0, 0)
    assert await figures_are_the_same()
    assert await keeper(store, {}).bring_up_to_date() > 0
    assert await kept_rows(store) == (everything, 2)
    assert await figures_are_the_same()


async def test_days_whose_readings_are_gone_stay_where_roll_ups_are_switched_off(store: Database) -> None:
    row = await filled(store)
    await keeper(store, {}).bring_up_to_date()
    await retention(store, {Medium.ELECTRICITY: 1}).apply()
    before = [await sums(store, row, step) for step in (Step.LOCAL_DAY, Step.LOCAL_MONTH)]
    without = keeper(store, {}, ())
    for _ in range(2):
        await without.bring_up_to_date()
        after = [await sums(store, row, step) for step in (Step.LOCAL_DAY, Step.LOCAL_MONTH)]
        assert all(same(one, other) for one, other in zip(before, after, strict=True))
    [state] = (await store.read(lambda session: states_of(session, [row.uid]))).values()
    assert state.until_ms == state.sealed_ms == FEBRUARY_MS
    await keeper(store, {}).bring_up_to_date()
    after = [await sums(store, row, step) for step in (Step.LOCAL_DAY, Step.LOCAL_MONTH)]
    assert all(same(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("cycle", [Cycle.MONTH, Cycle.YEAR])
async def test_a_meter_that_is_polled_each_month_or_year_has_no_roll_ups_and_keeps_its_readings(
    store: Database, cycle: Cycle
) -> None:
    polled = {"endpoint_uid": "0" * 32, "endpoint_id": "E-1"}
    row = await filled(store, reading_cycle=int(cycle), **polled)
    plain = await sums(store, row, Step.LOCAL_MONTH)
    before = await stored(store)
    await keeper(store, {}).bring_up_to_date()
    assert await kept_rows(store) == (0, 0)
    assert await retention(store, {Medium.ELECTRICITY: 1}).apply() == 0
    assert await stored(store) == before
    assert same(await sums(store, row, Step.LOCAL_MONTH), plain)


async def test_roll_ups_of_a_meter_that_is_to_be_read_each_month_from_now_on_go(store: Database) -> None:
    row = await filled(store, endpoint_uid="0" * 32, endpoint_id="E-1")
    await keeper(store, {}).bring_up_to_date()
    assert (await kept_rows(store))[1] == 1

    def change(session: Session) -> MeterRow:
        changed = session.get_one(MeterRow, row.uid)
        changed.reading_cycle = int(Cycle.MONTH)
        session.add(changed)
        session.flush()
        session.refresh(changed)
        session.expunge(changed)
        return changed

    changed = await store.run(change)
    at_once = await sums(store, changed, Step.LOCAL_MONTH)
    await keeper(store, {}).bring_up_to_date()
    assert await kept_rows(store) == (0, 0)
    assert same(await sums(store, changed, Step.LOCAL_MONTH), at_once)


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


async def partitions_of(database: Database) -> list[str]:
    """The months that have a table."""
    names = text(
        "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'reading'::regclass"
    )
    return await database.read(lambda session: sorted(session.connection().execute(names).scalars()))


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_month_without_a_reading_is_dropped_and_comes_back_when_it_is_needed(store: Database) -> None:
    row = await filled(store)
    await keeper(store, {Medium.ELECTRICITY: 1}).bring_up_to_date()
    await retention(store, {Medium.ELECTRICITY: 1}).apply()
    left = await partitions_of(store)
    # The month of UTC that the local February begins in has its first reading yet.
    assert left == ["reading_y2026m01", "reading_y2026m02", "reading_y2026m03"]
    assert await store.run(lambda session: drop_empty(session, FEBRUARY_MS)) == []
    made = await store.run(lambda session: ensure_partitions(session, [(2025, 12)]))
    assert (2025, 12) in made
    assert (await sums(store, row)).amount.sum() > 0


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_month_that_could_not_be_dropped_is_dropped_with_the_next_pass(store: Database) -> None:
    await filled(store)
    await keeper(store, {}).bring_up_to_date()
    work = retention(store, {Medium.ELECTRICITY: 1})
    is_held, is_over = threading.Event(), threading.Event()

    def hold(session: Session) -> None:
        """Somebody who looks at readings for longer than dropping waits: it gives way."""
        session.connection().execute(text("LOCK TABLE ONLY reading IN ACCESS SHARE MODE"))
        is_held.set()
        is_over.wait()

    reader = asyncio.create_task(store.run(hold))
    try:
        await asyncio.to_thread(is_held.wait)
        with pytest.raises(LichtbuchError):
            await work.apply()
    finally:
        is_over.set()
        await reader
    assert (await stored(store))[1] == FEBRUARY_MS
    assert "reading_y2025m12" in await partitions_of(store)
    assert await work.apply() == 0
    assert "reading_y2025m12" not in await partitions_of(store)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_months_that_were_left_empty_are_dropped_by_whoever_comes_next(store: Database) -> None:
    await filled(store)
    assert "reading_y2025m12" in await partitions_of(store)
    await keeper(store, {}).bring_up_to_date()
    [tenant] = await FixedTenants([HERSFELD]).all()
    # What a process leaves that ends between deleting and dropping.
    await retention(store, {Medium.ELECTRICITY: 1})._of_medium(tenant, Medium.ELECTRICITY, FEBRUARY_MS, lambda: None)
    assert "reading_y2025m12" in await partitions_of(store)
    assert await retention(store, {Medium.ELECTRICITY: 1}).apply() == 0
    assert "reading_y2025m12" not in await partitions_of(store)
