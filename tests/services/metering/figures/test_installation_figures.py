"""What figures come to of meters of which somebody says, at any time, when they were hung up and what they showed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlmodel import Session

from domain.errors import FailedPrecondition, InvalidInput
from domain.names import new_uid
from servicekit.database import Database
from services.metering.figures import evidence
from services.metering.figures.consumption import Step, boundaries
from services.metering.life import Installation, Origin
from services.metering.meter import Cycle, Kind
from services.metering.reading import Readings, Status
from services.metering.slot import SLOT_MS, to_ms
from services.metering.store import figures, gaps, ingest, meters, rollups
from services.metering.store.amounts import amounts
from services.metering.store.installations import install
from services.metering.store.lives import lives_of
from services.metering.store.partitions import ensure_partitions, months_between
from services.metering.store.rollup_build import refresh
from services.metering.store.tables import MeterRow
from services.metering.validation.parameters import DEFAULTS
from tests.services.metering.figures.test_rollups import (
    BEGIN_MS,
    BERLIN,
    EVENT,
    SLOTS,
    add_polled,
    assert_same,
    happen,
    now,
    stretch,
)
from tests.services.metering.making import add_meter, source

INSTALL = st.tuples(st.just("install"), st.integers(-2_000, SLOTS), st.sampled_from([0, 500, 1_000, 1_200]))


@pytest.fixture
def store(database_url: str) -> Iterator[Database]:
    """A migrated database with the months of the histories."""
    opened = Database(database_url, "metering", pool_size=2)
    months = months_between(BEGIN_MS - 60 * 96 * SLOT_MS, BEGIN_MS + 60 * 96 * SLOT_MS)
    opened.run_now(lambda session: ensure_partitions(session, months))
    yield opened
    opened.close_now()


def hang(session: Session, row: MeterRow, slot: int, first: int | None) -> bool:
    """Says when a meter was hung up, in slots; False where that contradicts what is stored."""
    lives = lives_of(session, [row.uid])[row.uid]
    try:
        install(session, row, lives, Installation(BEGIN_MS + slot * SLOT_MS, first), source("installation"), DEFAULTS)
    except InvalidInput:
        return False
    return True


def hung(session: Session, row: MeterRow, event: Any) -> bool:
    """Whether a register lived when something happens to it."""
    slot = event[1] if event[0] == "exchange" else event[0]
    return any(life.covers(BEGIN_MS + slot * SLOT_MS) for life in lives_of(session, [row.uid])[row.uid])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=st.lists(st.one_of(EVENT, INSTALL), min_size=2, max_size=7),
    cycle=st.sampled_from([Cycle.QUARTER_HOUR, Cycle.HOUR, Cycle.UNSPECIFIED]),
)
def test_answers_with_roll_ups_are_those_from_every_reading(store: Database, events: list[Any], cycle: Cycle) -> None:
    def check(session: Session) -> None:
        row = add_meter(session, new_uid(), reading_cycle=int(cycle)).row
        for event in events:
            if event[0] == "install":
                hang(session, row, event[1], event[2])
            elif isinstance(event, str) or hung(session, row, event):
                happen(session, row, event)
        assert_same(session, row)
        refresh(session, [row], BERLIN)
        assert_same(session, row)

    store.run_now(check)


def whole(session: Session, row: MeterRow, step: Step = Step.TOTAL) -> list[int]:
    """What a meter came to from long before its first reading until its last one."""
    bounds = boundaries(datetime(2026, 1, 1, tzinfo=BERLIN), datetime(2026, 4, 1, tzinfo=BERLIN), step, BERLIN)
    [found] = amounts(session, [now(session, row)], bounds, step, BERLIN, general=figures.general_in(BERLIN))
    amount: list[int] = found.amount.tolist()
    return amount


@given(first=st.integers(0, 1_000), slot=st.integers(-2_000, -1))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_all_that_was_counted_since_the_installation_is_in_the_sum(store: Database, first: int, slot: int) -> None:
    def check(session: Session) -> None:
        meter = add_polled(session)
        before = whole(session, meter.row)[0]
        assert hang(session, meter.row, slot, first)
        for _ in range(2):
            assert whole(session, meter.row) == [before + 1_000 - first]
            assert sum(whole(session, meter.row, Step.LOCAL_DAY)) == before + 1_000 - first
            refresh(session, [meter.row], BERLIN)

    store.run_now(check)


def test_days_that_are_kept_without_their_readings_stay_as_they_are(store: Database) -> None:
    def check(session: Session) -> None:
        meter = add_polled(session)
        april = to_ms(datetime(2026, 4, 1, tzinfo=BERLIN))
        [state] = rollups.states_of(session, [meter.row.uid]).values()
        session.connection().execute(
            text("UPDATE rollup_meter SET sealed_ms = :at WHERE key = :key"), {"at": april, "key": state.key}
        )
        session.connection().execute(text("DELETE FROM reading WHERE slot_ms < :at"), {"at": april})
        for slot in (-10, SLOTS - 20):
            with pytest.raises(FailedPrecondition, match="are kept without their readings"):
                hang(session, meter.row, slot, 0)

    store.run_now(check)


def test_a_seal_before_anything_was_counted_is_in_nobodys_way(store: Database) -> None:
    def check(session: Session) -> None:
        meter = add_polled(session)
        [state] = rollups.states_of(session, [meter.row.uid]).values()
        early = to_ms(datetime(2026, 3, 20, tzinfo=BERLIN))
        session.connection().execute(
            text("UPDATE rollup_meter SET sealed_ms = :at WHERE key = :key"), {"at": early, "key": state.key}
        )
        assert hang(session, meter.row, -10, 0)
        with pytest.raises(FailedPrecondition):
            hang(session, meter.row, -2_000, 0)

    store.run_now(check)


@pytest.mark.parametrize("kind", [Kind.INTERVAL, Kind.STOCK])
def test_a_date_alone_changes_no_figure(store: Database, kind: Kind) -> None:
    def check(session: Session) -> None:
        facts = {"medium": 5, "unit": 2} if kind is Kind.STOCK else {}
        row = add_meter(session, new_uid(), kind=int(kind), reading_cycle=int(Cycle.QUARTER_HOUR), **facts).row
        readings = stretch(now(session, row).lives[0].key, 0, 200)
        readings.value = readings.value[::-1].copy()
        ingest.write(session, readings, source())
        before = whole(session, row, Step.LOCAL_DAY)
        assert hang(session, row, -50, None)
        for _ in range(2):
            assert whole(session, row, Step.LOCAL_DAY) == before
            refresh(session, [row], BERLIN)

    store.run_now(check)


def test_what_was_in_doubt_before_it_hung_there_is_not_the_newest_that_it_showed(store: Database) -> None:
    def check(session: Session) -> None:
        stored = add_meter(session, new_uid())
        life = stored.lives[0]
        doubted = Readings.of([life.key], [BEGIN_MS], [77], [3])
        ingest.write(session, doubted, source())
        assert hang(session, stored.row, 10, 5)
        assert meters.whole(session, [stored.row])[0].latest is None
        assert hang(session, stored.row, -10, 5)
        latest = meters.whole(session, [stored.row])[0].latest
        assert latest is not None
        assert latest.latest_value == 77

    store.run_now(check)


def test_evidence_goes_to_the_first_and_last_counter_only_where_no_reading_is_nearer(store: Database) -> None:
    def check(session: Session) -> None:
        meter = add_polled(session)
        assert hang(session, meter.row, -100, 5)
        meter = now(session, meter.row)
        begin = meter.lives[0].begin_ms
        none, near = Readings.none(), stretch(meter.lives[0].key, 10, 1)
        bounds = (BEGIN_MS + 20 * SLOT_MS, BEGIN_MS + 40 * SLOT_MS)
        assert evidence.evidence_of("m", meter.lives, none, bounds).span == (begin, bounds[1])
        assert evidence.evidence_of("m", meter.lives, near, bounds).span == (BEGIN_MS + 10 * SLOT_MS, bounds[1])
        end = BEGIN_MS + 90 * SLOT_MS
        taken_down = replace(meter.lives[0], removed_ms=end, final_reading=9_000, ended_by=Origin.DISMOUNTED)
        assert evidence.evidence_of("m", [taken_down], none, bounds).span == (begin, end)
        after = stretch(meter.lives[0].key, 50, 1)
        assert evidence.evidence_of("m", [taken_down], after, bounds).span == (begin, BEGIN_MS + 50 * SLOT_MS)

    store.run_now(check)


def test_an_installation_of_long_ago_is_summed_up_day_by_day(store: Database) -> None:
    def check(session: Session) -> None:
        meter = add_polled(session)
        slot = (to_ms(datetime(1990, 5, 1, tzinfo=UTC)) - BEGIN_MS) // SLOT_MS
        assert hang(session, meter.row, slot, 0)
        assert refresh(session, [meter.row], BERLIN) > 35 * 365
        assert_same(session, now(session, meter.row).row)

    store.run_now(check)


def test_what_a_device_remembers_of_before_it_hung_there_fills_none_of_its_gaps(store: Database) -> None:
    def check(session: Session) -> None:
        stored = add_meter(session, new_uid())
        key = stored.lives[0].key
        ingest.write(session, stretch(key, 0, 20, status=Status.GAP), source())
        assert hang(session, stored.row, 10, 1_050)
        filled, unwanted = gaps.fill_gaps(session, stretch(key, 5, 10), [stored.row.uid], source("history"), DEFAULTS)
        assert filled.slot_ms.tolist() == [BEGIN_MS + place * SLOT_MS for place in range(10, 15)]
        assert unwanted == 5
        assert hang(session, stored.row, 9, 1_050)

    store.run_now(check)
