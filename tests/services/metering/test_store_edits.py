"""Edits and estimates in the store: every way of working out a figure sees them, and totals are conserved."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
import pytest
from sqlmodel import Session

from domain.errors import Unavailable
from domain.night import zone
from servicekit.database import Database
from services.metering.estimation import Method
from services.metering.figures.consumption import Step, boundaries, usable
from services.metering.meter import Cycle, Kind
from services.metering.reading import Readings, Status
from services.metering.slot import SLOT_MS, to_ms
from services.metering.store import edits, estimates, figures, ingest
from services.metering.store.lives import lives_of
from services.metering.store.partitions import ensure_partitions, months_between
from services.metering.store.readings import fetch
from services.metering.store.rollup_build import refresh
from services.metering.store.tables import EndpointRow, MeterRow
from services.metering.store.targets import load
from services.metering.validation.parameters import DEFAULTS
from services.metering.vee import Point
from tests.services.metering.making import TOWN, add_meter, source

BERLIN = zone("Europe/Berlin")
BEGIN = datetime(2026, 3, 28, tzinfo=BERLIN)
BEGIN_MS = to_ms(BEGIN)
DAYS = 4
SLOTS = 96 * DAYS


@pytest.fixture
def store(database_url: str) -> Iterator[Database]:
    opened = Database(database_url, "metering", pool_size=2)
    months = months_between(BEGIN_MS - 40 * 96 * SLOT_MS, BEGIN_MS + 40 * 96 * SLOT_MS)
    opened.run_now(lambda session: ensure_partitions(session, months))
    yield opened
    opened.close_now()


def counters(key: int, rows: np.ndarray[tuple[int], np.dtype[np.int64]], values: list[int], status: Status) -> Readings:
    count = len(rows)
    return Readings.of([key] * count, BEGIN_MS + rows * SLOT_MS, values, [int(status)] * count)


def estimate(session: Session, row: MeterRow, first: int, last: int, method: Method) -> Readings:
    span = BEGIN_MS + first * SLOT_MS, BEGIN_MS + last * SLOT_MS
    made = estimates.made(session, row, lives_of(session, [row.uid])[row.uid], span, method, BERLIN, DEFAULTS)
    edits.put(session, made.readings, source("estimate"))
    return made.readings


def check_every_way(session: Session, row: MeterRow) -> None:
    """Days from roll-ups and runs are those of the readings, and quarter hours add up to them."""
    for step in (Step.LOCAL_DAY, Step.TOTAL):
        bounds = boundaries(BEGIN, BEGIN + timedelta(days=DAYS + 1), step, BERLIN)
        [short] = figures.consumption_of(session, [row], bounds, step, BERLIN)
        long = figures.from_readings(session, figures.metered(session, [row])[0], bounds, step, BERLIN)
        assert short.amount.tolist() == long.amount.tolist()
        assert short.estimated_amount.tolist() == long.estimated_amount.tolist()
        assert short.measured_ms.tolist() == long.measured_ms.tolist()


@pytest.mark.parametrize("kind", [Kind.COUNTER, Kind.INTERVAL])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_figures_follow_whatever_is_brought_edited_and_estimated_by_every_way(
    store: Database, kind: Kind, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    truth = np.cumsum(rng.integers(0, 40, SLOTS + 1)) + 1_000
    values = truth if kind is Kind.COUNTER else np.diff(truth, prepend=truth[0])

    def some(most: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        first = int(rng.integers(0, SLOTS - 1))
        return np.arange(first, min(SLOTS, first + int(rng.integers(1, most))), dtype=np.int64)

    with_meter = store.run_now(
        lambda session: add_meter(session, kind=int(kind), reading_cycle=int(Cycle.QUARTER_HOUR))
    )
    key, uid = with_meter.lives[0].key, with_meter.row.uid
    for number in range(12):
        brought, edited, guessed = some(150), some(6), some(200)
        wrong = rng.random() < 0.3

        def change(
            session: Session, number: int = number, brought: np.ndarray[tuple[int], np.dtype[np.int64]] = brought,
            edited: np.ndarray[tuple[int], np.dtype[np.int64]] = edited,
            guessed: np.ndarray[tuple[int], np.dtype[np.int64]] = guessed, wrong: bool = wrong,
        ) -> None:  # fmt: skip
            row = session.get_one(MeterRow, uid)
            status = Status.DOUBTFUL if wrong else Status.MEASURED
            part = counters(key, brought, values[brought].tolist(), status)
            ingest.write(session, part, source("import:a"))
            if number % 3 == 1:
                new = counters(key, edited, values[edited].tolist(), Status.EDITED)
                there = edits.current_at(session, [key], new.slot_ms)
                known = np.isin(new.slot_ms, there.slot_ms)
                new.revision[known] = there.revision + 1
                edits.put(session, new, source("edit"))
            if number % 3 == 2:
                estimate(session, row, int(guessed[0]), int(guessed[-1]) + 1, Method(1 + number % 2))
            if number % 4 == 0:
                refresh(session, [row], BERLIN)
            check_every_way(session, row)

        store.run_now(change)


def test_an_estimate_conserves_the_total_and_is_marked_in_every_figure(store: Database) -> None:
    def change(session: Session) -> None:
        meter = add_meter(session, reading_cycle=int(Cycle.QUARTER_HOUR))
        key, row = meter.lives[0].key, meter.row
        rows = np.concatenate((np.arange(0, 100), np.arange(250, SLOTS)))
        ingest.write(session, counters(key, rows, (rows * 7).tolist(), Status.MEASURED), source())
        bounds = boundaries(BEGIN, BEGIN + timedelta(days=3), Step.LOCAL_DAY, BERLIN)
        [before] = figures.consumption_of(session, [row], bounds, Step.LOCAL_DAY, BERLIN)
        made = estimate(session, row, 0, SLOTS, Method.WEEKDAY_PROFILE)
        assert len(made) == 150
        [after] = figures.consumption_of(session, [row], bounds, Step.LOCAL_DAY, BERLIN)
        assert after.amount.tolist() == before.amount.tolist()
        assert after.estimated_amount.sum() == before.estimated_amount.sum() == 151 * 7
        assert after.measured_ms.tolist() == before.measured_ms.tolist()
        later = np.arange(100, 250)
        ingest.write(session, counters(key, later, (later * 7).tolist(), Status.MEASURED), source())
        [measured] = figures.consumption_of(session, [row], bounds, Step.LOCAL_DAY, BERLIN)
        assert measured.estimated_amount.sum() == 0

    store.run_now(change)


def test_intervals_get_the_total_of_the_counter_in_their_housing(store: Database) -> None:
    def change(session: Session) -> None:
        housing = add_meter(session, "C-1", reading_cycle=int(Cycle.QUARTER_HOUR))
        profile = add_meter(
            session, "P-1", kind=int(Kind.INTERVAL), reading_cycle=int(Cycle.QUARTER_HOUR), device_uid=housing.row.uid
        )
        ends = np.array([9, 13])
        ingest.write(session, counters(housing.lives[0].key, ends, [1_000, 1_101], Status.MEASURED), source())
        known = np.concatenate((np.arange(0, 10), np.arange(14, 20)))
        ingest.write(session, counters(profile.lives[0].key, known, [5] * 16, Status.MEASURED), source())
        made = estimate(session, profile.row, 0, 20, Method.LINEAR)
        assert made.value.tolist() == [25, 25, 25, 26]
        assert int(made.value.sum()) == 101

    store.run_now(change)


def test_of_two_who_write_the_same_slot_the_second_is_sent_to_look_again(store: Database) -> None:
    def change(session: Session) -> None:
        key = add_meter(session).lives[0].key
        one = counters(key, np.array([0]), [5], Status.EDITED)
        edits.put(session, one, source("edit"))
        if session.get_bind().dialect.name == "postgresql":
            with pytest.raises(Unavailable):
                edits.put(session, one, source("edit"))
        assert usable(fetch(session, [key], BEGIN_MS, BEGIN_MS + 1)).value.tolist() == [5]

    store.run_now(change)


def test_polling_compares_with_what_people_have_put_right(store: Database) -> None:
    def change(session: Session) -> None:
        endpoint = EndpointRow(
            uid="E1", municipality_uid=TOWN, endpoint_id="gw", url="modbus+tcp://127.0.0.1:1", profile="eastron-sdm630",
            state=2, etag="", seen_at=BEGIN,
        )  # fmt: skip
        session.add(endpoint)
        meter = add_meter(session, endpoint_uid="E1", endpoint_id="gw")
        key = meter.lives[0].key
        rows = np.arange(3)
        ingest.write(session, counters(key, rows, [10, 20, 9_999], Status.MEASURED), source(), polled=True)
        [target] = load(session, {}, DEFAULTS)[0]
        assert target.state.good == Point(BEGIN_MS + 2 * SLOT_MS, 9_999)
        rejected = counters(key, rows[2:], [0], Status.GAP)
        rejected.revision += 1
        edits.put(session, rejected, source("edit"))
        [again] = load(session, {target.identity: target}, DEFAULTS)[0]
        assert again.state.good == Point(BEGIN_MS + SLOT_MS, 20)
        assert again.settled_ms == target.settled_ms

    store.run_now(change)
