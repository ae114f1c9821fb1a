"""The short way to an amount comes to what the general one does, whatever was stored in whatever order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import Session

from domain.names import new_uid
from servicekit.database import Database
from services.metering.figures.consumption import Step
from services.metering.life import Exchange, Origin
from services.metering.meter import Cycle, Kind
from services.metering.reading import Int64, Readings, Status
from services.metering.slot import SLOT_MS
from services.metering.store import figures, ingest, runs
from services.metering.store.amounts import Metered, amounts, drafts_of, in_runs
from services.metering.store.exchanges import exchange
from services.metering.store.partitions import ensure_partitions, months_between
from services.metering.store.readings import fetch
from services.metering.store.tables import MeterRow
from services.metering.validation.parameters import DEFAULTS
from tests.services.metering.making import NOON_MS, add_meter, series, source

BERLIN = ZoneInfo("Europe/Berlin")
SLOTS = 420
BEGIN_MS = NOON_MS - SLOTS * SLOT_MS


@pytest.fixture
def store(database_url: str) -> Iterator[Database]:
    """A migrated database with the months of the histories."""
    opened = Database(database_url, "metering", pool_size=2)
    opened.run_now(lambda session: ensure_partitions(session, months_between(BEGIN_MS - 40 * 96 * SLOT_MS, NOON_MS)))
    yield opened
    opened.close_now()


@dataclass(frozen=True)
class Part:
    """Readings that are stored together: a dense stretch, with what is odd about some of them."""

    first: int
    steps: list[int]
    odd: dict[int, tuple[Status, int]]

    def readings(self, key: int) -> Readings:
        """As columns. A reading by hand stands seven minutes after its slot."""
        slots = BEGIN_MS + (self.first + np.arange(len(self.steps), dtype=np.int64)) * SLOT_MS
        values = 1_000 + self.first * 10 + np.cumsum(np.array(self.steps, np.int64))
        status = np.full(len(slots), Status.MEASURED, np.int64)
        for place, (kind, shift) in self.odd.items():
            at = place % len(slots)
            status[at] = kind
            values[at] = 0 if kind is Status.GAP else max(0, values[at] + shift)
            slots[at] += 7 * 60_000 if kind is Status.HAND else 0
        return Readings.of(np.full(len(slots), key, np.int64), slots, values, status)


STATUSES = st.sampled_from([Status.MEASURED, Status.GAP, Status.DOUBTFUL, Status.HAND])
PARTS = st.builds(
    Part,
    st.integers(0, SLOTS - 1),
    st.integers(1, 260).flatmap(lambda n: st.lists(st.sampled_from([0, 10, 11, 25]), min_size=n, max_size=n)),
    st.dictionaries(st.integers(0, 300), st.tuples(STATUSES, st.integers(-200, 200)), max_size=3),
)
HISTORIES = st.lists(PARTS, min_size=1, max_size=5)
BOUNDS = st.lists(st.integers(-20, SLOTS + 20), min_size=2, max_size=12, unique=True).map(sorted)
EXCHANGES = st.none() | st.tuples(st.integers(5, SLOTS - 5), st.sampled_from([0, 400_000]))


def store_history(session: Session, history: list[Part], exchanged: tuple[int, int] | None, **facts: object) -> Metered:
    """A meter with a history: stretches in any order, the register exchanged after them."""
    meter = add_meter(session, new_uid(), **facts)
    for part in history:
        ingest.write(session, part.readings(meter.lives[0].key), source())
    if exchanged is not None:
        at, moved_ms = exchanged
        what = Exchange(BEGIN_MS + at * SLOT_MS + moved_ms, 9_999, 0, Origin.EXCHANGE, "new")
        exchange(session, meter.row, meter.lives, what, source("exchange"), DEFAULTS)
    return metered(session, meter.row)


def metered(session: Session, row: MeterRow) -> Metered:
    """The meter as it stands now."""
    return figures.metered(session, [row])[0]


def agree(
    session: Session, meter: Metered, bounds: Int64, step: Step = Step.LOCAL_DAY, tz: ZoneInfo | None = None
) -> None:
    """Both ways come to the same."""
    [short] = amounts(session, [meter], bounds, step, tz, general=figures.general_in(BERLIN))
    general = figures.from_readings(session, meter, bounds, step, BERLIN)
    for name in ("starts_ms", "ends_ms", "amount", "estimated_amount", "measured_ms", "flag"):
        assert getattr(short, name).tolist() == getattr(general, name).tolist(), name


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    history=HISTORIES,
    bounds=BOUNDS,
    exchanged=EXCHANGES,
    endpoint=st.sampled_from(["", "e"]),
    cycle=st.sampled_from([Cycle.UNSPECIFIED, Cycle.QUARTER_HOUR]),
    rollover=st.sampled_from([0, 100_000]),
    kind=st.sampled_from([Kind.COUNTER, Kind.COUNTER, Kind.INTERVAL]),
)
def test_both_ways_come_to_the_same(
    store: Database,
    history: list[Part],
    bounds: list[int],
    exchanged: tuple[int, int] | None,
    endpoint: str,
    cycle: Cycle,
    rollover: int,
    kind: Kind,
) -> None:
    instants = np.array([BEGIN_MS + bound * SLOT_MS for bound in bounds], np.int64)

    def check(session: Session) -> None:
        facts = {"endpoint_uid": endpoint, "reading_cycle": int(cycle), "rollover": rollover, "kind": int(kind)}
        agree(session, store_history(session, history, exchanged, **facts), instants)

    store.run_now(check)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=HISTORIES)
def test_a_run_says_nothing_that_the_readings_do_not(store: Database, history: list[Part]) -> None:
    def check(session: Session) -> None:
        meter = store_history(session, history, None)
        key = meter.lives[0].key
        readings = fetch(session, [key], 0, 2**62)
        current = dict(
            zip(
                readings.slot_ms.tolist(),
                zip(readings.value.tolist(), readings.status.tolist(), strict=True),
                strict=True,
            )
        )
        for run in runs.of_lives(session, [key], 0, 2**62).get(key, []):
            inside = [slot for slot in current if run.first_ms <= slot <= run.last_ms]
            assert inside == list(range(run.first_ms, run.last_ms + 1, SLOT_MS))
            values = [current[slot][0] for slot in inside]
            assert values == sorted(values)
            assert (values[0], values[-1]) == (run.first_value, run.last_value)
            assert {current[slot][1] for slot in inside} == {Status.MEASURED}

    store.run_now(check)


def test_a_register_that_is_polled_has_one_run_that_grows(store: Database) -> None:
    def check(session: Session) -> None:
        meter = add_meter(session)
        key = meter.lives[0].key
        for slot in range(200):
            ingest.write(session, series(key, BEGIN_MS + slot * SLOT_MS, [slot * 5]), source(), polled=True)
        [run] = runs.of_lives(session, [key], 0, 2**62)[key]
        assert (run.slots, run.first_value, run.last_value) == (200, 0, 199 * 5)

    store.run_now(check)


def test_a_register_that_is_read_hourly_leaves_no_run_per_reading(store: Database) -> None:
    def check(session: Session) -> None:
        meter = add_meter(session)
        key = meter.lives[0].key
        for hour in range(100):
            ingest.write(session, series(key, BEGIN_MS + 4 * hour * SLOT_MS, [hour]), source())
        assert len(runs.of_lives(session, [key], 0, 2**62)[key]) == 1

    store.run_now(check)


def test_steps_in_a_run_need_no_reading_between_their_bounds(store: Database) -> None:
    def check(session: Session) -> None:
        meter = add_meter(session)
        ingest.write(session, series(meter.lives[0].key, BEGIN_MS, range(0, 4_000, 10)), source())
        bounds = np.array([BEGIN_MS + 10 * SLOT_MS, BEGIN_MS + 106 * SLOT_MS, BEGIN_MS + 300 * SLOT_MS], np.int64)
        [draft] = drafts_of(bounds, 1)
        in_runs(session, [metered(session, meter.row)], [draft])
        assert draft.settled.all()
        assert draft.amount.tolist() == [960, 1940]

    store.run_now(check)


def test_amounts_of_quarter_hours_are_summed_by_the_database(store: Database) -> None:
    def check(session: Session) -> None:
        meter = add_meter(session, kind=int(Kind.INTERVAL), reading_cycle=int(Cycle.QUARTER_HOUR))
        values = [7 * n % 50 for n in range(300)]
        ingest.write(session, series(meter.lives[0].key, BEGIN_MS, values), source())
        bounds = np.array([BEGIN_MS + n * SLOT_MS for n in (2, 98, 299)], np.int64)
        [draft] = drafts_of(bounds, 1)
        in_runs(session, [metered(session, meter.row)], [draft])
        assert draft.settled.all()
        assert draft.amount.tolist() == [sum(values[3:99]), sum(values[99:300])]

    store.run_now(check)
