"""Local days and months are kept, and an answer from them is that of the readings, whatever has been stored since."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlmodel import Session

from domain.intervals import Consumption, Flag
from domain.names import new_uid
from servicekit.database import Database
from services.metering.figures.consumption import Step, boundaries
from services.metering.figures.rollups import Span, joined
from services.metering.life import Exchange, Origin
from services.metering.meter import Cycle, Kind
from services.metering.reading import Int64, Readings, Status
from services.metering.slot import SLOT_MS, to_ms
from services.metering.store import figures, ingest, rollups
from services.metering.store.amounts import Draft, Metered, amounts, drafts_of, from_rollups
from services.metering.store.exchanges import exchange
from services.metering.store.insertion import insert
from services.metering.store.lives import lives_of
from services.metering.store.partitions import ensure_partitions, months_between
from services.metering.store.rollup_build import refresh
from services.metering.store.tables import MeterRow
from services.metering.validation.parameters import DEFAULTS
from tests.services.metering.making import add_meter, source

BERLIN = ZoneInfo("Europe/Berlin")
# Over the day of 23 hours (29 March 2026) into April, so that one month is whole.
BEGIN = datetime(2026, 3, 28, 1, tzinfo=BERLIN)
BEGIN_MS = to_ms(BEGIN)
SLOTS = 480
PERIODS = [
    (datetime(2026, 3, 1, tzinfo=BERLIN), datetime(2026, 4, 2, tzinfo=BERLIN)),
    (datetime(2026, 3, 28, 7, tzinfo=BERLIN), datetime(2026, 4, 1, 9, 15, tzinfo=BERLIN)),
    (datetime(2026, 2, 20, tzinfo=BERLIN), datetime(2026, 5, 1, tzinfo=BERLIN)),
]
STEPS = (Step.LOCAL_DAY, Step.LOCAL_MONTH, Step.LOCAL_YEAR, Step.TOTAL, Step.GAS_DAY)


@pytest.fixture
def store(database_url: str) -> Iterator[Database]:
    """A migrated database with the months of the histories."""
    opened = Database(database_url, "metering", pool_size=2)
    months = months_between(BEGIN_MS - 60 * 96 * SLOT_MS, BEGIN_MS + 60 * 96 * SLOT_MS)
    opened.run_now(lambda session: ensure_partitions(session, months))
    yield opened
    opened.close_now()


def stretch(key: int, first: int, count: int, step: int = 10, status: Status = Status.MEASURED) -> Readings:
    """Readings of a stretch of quarter hours, rising by the same each time."""
    place = np.arange(first, first + count, dtype=np.int64)
    return Readings.of(
        np.full(count, key, np.int64),
        BEGIN_MS + place * SLOT_MS,
        place * 0 if status is Status.GAP else 1_000 + place * step,
        np.full(count, status, np.int64),
    )


def now(session: Session, row: MeterRow) -> Metered:
    """The meter as it stands."""
    return figures.metered(session, [row])[0]


def living_key(session: Session, row: MeterRow, first: int) -> int:
    """Register of a slot."""
    at_ms = BEGIN_MS + first * SLOT_MS
    return next(life.key for life in lives_of(session, [row.uid])[row.uid] if life.covers(at_ms))


def assert_same(session: Session, row: MeterRow) -> None:
    """Answers with roll-ups are those from every reading, for each kind of step and cut of the period."""
    meter = now(session, row)
    for step in STEPS:
        for start, end in PERIODS:
            bounds = boundaries(start, end, step, BERLIN)
            [short] = amounts(session, [meter], bounds, step, BERLIN, general=figures.general_in(BERLIN))
            general = figures.from_readings(session, meter, bounds, step, BERLIN)
            for name in ("amount", "estimated_amount", "measured_ms", "flag"):
                assert getattr(short, name).tolist() == getattr(general, name).tolist(), (step, start, name)


STRETCH = st.tuples(
    st.integers(0, SLOTS - 1),
    st.integers(1, 300),
    st.sampled_from([10, 10, 10, 11, 3]),
    st.sampled_from([Status.MEASURED, Status.MEASURED, Status.ESTIMATED, Status.GAP, Status.DOUBTFUL]),
)
EVENT = st.one_of(
    STRETCH, STRETCH, st.just("refresh"), st.tuples(st.just("exchange"), st.integers(2, SLOTS - 2)), st.just("rollover")
)


def happen(session: Session, row: MeterRow, event: Any) -> None:
    """One thing that happens to a meter."""
    if event == "refresh":
        refresh(session, [row], BERLIN)
    elif event == "rollover":
        session.connection().execute(
            text("UPDATE register_life SET rollover = 1000000 - rollover WHERE meter_uid = :uid"), {"uid": row.uid}
        )
        session.expire_all()
    elif event[0] == "exchange":
        lives = lives_of(session, [row.uid])[row.uid]
        at_ms = BEGIN_MS + event[1] * SLOT_MS
        if all(life.begin_ms != at_ms for life in lives):
            what = Exchange(at_ms, 90_000, 0, Origin.EXCHANGE, "new")
            exchange(session, row, lives, what, source("exchange"), DEFAULTS)
    else:
        first, count, step, status = event
        ingest.write(session, stretch(living_key(session, row, first), first, count, step, status), source())


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=st.lists(EVENT, min_size=2, max_size=7),
    cycle=st.sampled_from([Cycle.QUARTER_HOUR, Cycle.HOUR, Cycle.UNSPECIFIED]),
    kind=st.sampled_from([Kind.COUNTER, Kind.COUNTER, Kind.INTERVAL]),
)
def test_answers_with_roll_ups_are_those_from_every_reading(
    store: Database, events: list[Any], cycle: Cycle, kind: Kind
) -> None:
    def check(session: Session) -> None:
        row = add_meter(session, new_uid(), reading_cycle=int(cycle), kind=int(kind)).row
        for event in events:
            happen(session, row, event)
        assert_same(session, row)
        refresh(session, [row], BERLIN)
        assert_same(session, row)

    store.run_now(check)


def add_polled(session: Session, first: int = 0, count: int = SLOTS) -> Metered:
    """A meter with readings at every quarter hour, and roll-ups of them."""
    row = add_meter(session, new_uid(), reading_cycle=int(Cycle.QUARTER_HOUR)).row
    ingest.write(session, stretch(now(session, row).lives[0].key, first, count), source())
    refresh(session, [row], BERLIN)
    return now(session, row)


def from_kept(session: Session, meter: Metered, step: Step = Step.LOCAL_DAY) -> Draft:
    """What roll-ups alone settle of March and the first of April."""
    bounds = boundaries(*PERIODS[0], step, BERLIN)
    [draft] = drafts_of(bounds, 1)
    from_rollups(session, [meter], [draft], step)
    return draft


def test_whole_days_are_answered_without_looking_at_a_reading(store: Database) -> None:
    def check(session: Session) -> None:
        meter = add_polled(session)
        draft = from_kept(session, meter)
        assert draft.settled.all()
        assert draft.amount[-5:].tolist() == [92 * 10, 92 * 10, 96 * 10, 96 * 10, 96 * 10]
        assert draft.measured_ms[-4] == 92 * SLOT_MS
        month = from_kept(session, meter, Step.LOCAL_MONTH)
        assert month.settled.tolist() == [True, True]
        assert month.amount[0] == draft.amount[:-1].sum()

    store.run_now(check)


def test_a_late_reading_dirties_the_days_it_touches_and_no_others(store: Database) -> None:
    def check(session: Session) -> None:
        meter = add_polled(session)
        key = meter.lives[0].key
        corrected = stretch(key, 150, 1)
        corrected.revision[:] = 1
        corrected.value += 4
        insert(session, corrected, 1)
        settled = from_kept(session, meter).settled.tolist()
        assert settled == [True] * 28 + [False] + [True] * 3
        refresh(session, [meter.row], BERLIN)
        assert from_kept(session, meter).settled.all()

    store.run_now(check)


def test_polling_leaves_no_marks_behind(store: Database) -> None:
    def check(session: Session) -> None:
        meter = add_polled(session)
        ingest.write(session, stretch(meter.lives[0].key, SLOTS, 96), source(), polled=True)
        count = session.connection().execute(text("SELECT count(*) FROM rollup_dirty")).scalar_one()
        assert count == 0

    store.run_now(check)


def test_what_is_sealed_stays_when_its_readings_are_gone(store: Database) -> None:
    def check(session: Session) -> None:
        meter = add_polled(session)
        before = from_kept(session, meter)
        april = to_ms(datetime(2026, 4, 1, tzinfo=BERLIN))
        [state] = rollups.states_of(session, [meter.row.uid]).values()
        session.connection().execute(
            text("UPDATE rollup_meter SET sealed_ms = :at, basis = 'another' WHERE key = :key"),
            {"at": april, "key": state.key},
        )
        session.connection().execute(text("DELETE FROM reading WHERE slot_ms < :at"), {"at": april})
        refresh(session, [meter.row], BERLIN)
        after = from_kept(session, meter)
        assert after.settled.all()
        assert after.amount.tolist() == before.amount.tolist()

    store.run_now(check)


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from(list(Flag))), min_size=1, max_size=30), st.data())
def test_joined_steps_bear_the_worst_of_what_they_are_made_of(
    parts: list[tuple[int, Flag]], data: st.DataObject
) -> None:
    bounds: Int64 = np.arange(len(parts) + 1, dtype=np.int64) * 10
    amount = np.array([one for one, _ in parts], np.int64)
    flags = np.array([flag for _, flag in parts], np.uint8)
    small = Consumption(bounds[:-1], bounds[1:], amount, amount // 2, amount // 3, flags)
    inner = data.draw(st.lists(st.integers(1, len(parts)), max_size=4, unique=True).map(sorted))
    cuts = sorted({0, *inner, len(parts)})
    whole = joined(small, bounds[cuts])
    for place, (a, b) in enumerate(pairwise(cuts)):
        mine = set(flags[a:b].tolist())
        wanted = Flag.ESTIMATED if len(mine) > 1 and Flag.MISSING in mine else max(mine)
        assert (whole.amount[place], whole.flag[place]) == (amount[a:b].sum(), wanted)


def test_versions_count_how_often_a_day_was_made(store: Database) -> None:
    def check(session: Session) -> None:
        meter = add_polled(session)
        [state] = rollups.states_of(session, [meter.row.uid]).values()
        days = rollups.kept(session, [state.key], Span.DAY, *(to_ms(at) for at in PERIODS[0])).of(state.key)
        assert days is not None
        rollups.put(session, state.key, Span.DAY, days)
        versions = session.connection().execute(text("SELECT DISTINCT version FROM rollup WHERE span = 1")).all()
        assert {2} <= {row[0] for row in versions}

    store.run_now(check)


@pytest.mark.parametrize("at", [-1, 0, 1, 2])
def test_a_spike_around_midnight_that_later_readings_prove_is_in_no_roll_up(store: Database, at: int) -> None:
    def check(session: Session) -> None:
        row = add_meter(session, new_uid(), reading_cycle=int(Cycle.QUARTER_HOUR), endpoint_uid="e").row
        key, midnight = living_key(session, row, 0), 92 + 92  # the second midnight, of which one is the short day's end
        for place in range(400):
            reading = stretch(key, place, 1)
            if place == midnight + at:
                reading.value += 5_000_000
            ingest.write(session, reading, source(), polled=True)
            if abs(place - midnight) < 8 or place == 399:
                refresh(session, [row], BERLIN)
            if place > midnight + at and abs(place - midnight) < 8:
                assert_same(session, row)
        assert_same(session, row)
        days = boundaries(
            datetime(2026, 3, 29, tzinfo=BERLIN), datetime(2026, 4, 1, tzinfo=BERLIN), Step.LOCAL_DAY, BERLIN
        )
        [used] = amounts(session, [now(session, row)], days, Step.LOCAL_DAY, BERLIN, general=figures.general_in(BERLIN))
        assert used.amount.tolist() == [920, 960, 960]

    store.run_now(check)
