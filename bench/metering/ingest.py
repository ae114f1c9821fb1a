"""Part 1: a million readings in time order through the store's own way, beside what writes the same rows with less.

Ours is `services.metering.store.ingest.write` as every caller has it: each key looked up, gaps and conflicts told
apart, heads moved, runs kept, the batch and its place in the feed. The peers check nothing and keep nothing but the
rows: SQLModel's add_all, executemany on SQLite, COPY in PostgreSQL's binary format (the fastest there is, packed by our
own packer). All begin with the same columns and commit every 10 000 readings. add_all is given a declared part of the
million, its first transactions, and is compared per reading.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import BigInteger, SmallInteger, text
from sqlmodel import Field, Session, SQLModel

from bench.metering.ground import KINDS, SOURCE, TITLES, Ground, add_meters, counters, ground, seconds
from bench.report import Report
from bench.timing import Comparison
from servicekit.database import Database
from services.metering.reading import Int64, Readings, column
from services.metering.slot import SLOT_MS
from services.metering.store import ingest
from services.metering.store.bulk import insert_new
from services.metering.store.feed import newest

PART = "1"
READINGS, ADD_ALL_READINGS, TRANSACTION, METERS, ROUNDS = 1_000_000, 50_000, 10_000, 100, 5
FIRST_MS: Final = 1_735_689_600_000  # 2025-01-01T00:00Z
BARE: Final = {"sqlite": ("bare executemany", 0.7), "postgresql": ("bare binary COPY", 0.5)}


class PlainReading(SQLModel, table=True):
    """The table of readings as a class, as somebody without us would have it."""

    __tablename__ = "reading"

    life_key: int = Field(primary_key=True, sa_type=BigInteger)
    slot_ms: int = Field(primary_key=True, sa_type=BigInteger)
    revision: int = Field(primary_key=True, sa_type=SmallInteger)
    value: int = Field(sa_type=BigInteger)
    observed_ms: int = Field(sa_type=BigInteger)
    batch_id: int = Field(sa_type=BigInteger)
    status: int = Field(sa_type=SmallInteger)
    time_source: int = Field(sa_type=SmallInteger)


Write = Callable[[Session, Readings], object]


def run(report: Report, quick: bool) -> None:
    """Every way in turn, on both databases."""
    readings, add_all, rounds = (20_000, 10_000, 1) if quick else (READINGS, ADD_ALL_READINGS, ROUNDS)
    with ground() as here:
        for kind in KINDS:
            _compare(report, here, kind, readings, add_all, rounds)
    report.notes.append(
        f"part {PART}: add_all was given {add_all:,} of the {readings:,} readings; compared per reading"
    )


def _compare(report: Report, here: Ground, kind: str, readings: int, add_all: int, rounds: int) -> None:
    ours, again, bare, plain = [], [], [], []
    for _ in range(rounds):
        first, repeated = _ours(report, here, kind, readings)
        ours.append(first)
        again.append(repeated)
        bare.append(_peer(report, here, kind, readings, _insert_bare))
        plain.append(_peer(report, here, kind, add_all, _add_all))
    what = f"{readings:,} readings into {TITLES[kind]}"
    name, least = BARE[kind]
    for peer, times, items, target in (("SQLModel add_all", plain, add_all, 20.0), (name, bare, readings, least)):
        report.compare(PART, Comparison(what, peer, readings, tuple(ours), tuple(times), items), target)
    same = Comparison(f"the same {what} again", "the first time", readings, tuple(again), tuple(ours), readings)
    report.compare(PART, same, 1)


def _batches(keys: Int64, readings: int) -> list[Readings]:
    """Transactions in order of time: some quarter hours of all meters each."""
    slots = TRANSACTION // len(keys)
    return [counters(keys, FIRST_MS, number * slots, slots) for number in range(readings // TRANSACTION)]


def _ours(report: Report, here: Ground, kind: str, readings: int) -> tuple[float, float]:
    with here.fresh(kind, FIRST_MS, _last_ms(readings)) as database:
        keys = _keys(database)
        batches = _batches(keys, readings)
        first = seconds(lambda: _store_all(database, batches, lambda s, one: ingest.write(s, one, SOURCE)))
        stored = _sum(database), database.run_now(newest)
        again = seconds(lambda: _store_all(database, batches, lambda s, one: ingest.write(s, one, SOURCE)))
        if (_sum(database), database.run_now(newest)) != stored:
            report.failures.append(f"part {PART}: storing the same once more changed something on {kind}")
        _check(report, f"ours on {kind}", stored[0], batches)
    return first, again


def _peer(report: Report, here: Ground, kind: str, readings: int, write: Write) -> float:
    with here.fresh(kind, FIRST_MS, _last_ms(readings)) as database:
        batches = _batches(_keys(database), readings)
        took = seconds(lambda: _store_all(database, batches, write))
        _check(report, f"{write.__name__} on {kind}", _sum(database), batches)
    return took


def _keys(database: Database) -> Int64:
    made = database.run_now(lambda session: add_meters(session, METERS))
    return column([meter.lives[0].key for meter in made])


def _store_all(database: Database, batches: list[Readings], write: Write) -> None:
    for batch in batches:
        database.run_now(lambda session, batch=batch: write(session, batch))  # type: ignore[misc]


def _insert_bare(session: Session, readings: Readings) -> None:
    insert_new(session, readings, 1)


def _add_all(session: Session, readings: Readings) -> None:
    columns = (
        readings.register, readings.slot_ms, readings.value, readings.observed_ms,
        readings.revision, readings.status, readings.time_source,
    )  # fmt: skip
    session.add_all(
        PlainReading(
            life_key=key, slot_ms=slot, value=value, observed_ms=observed, batch_id=1,
            revision=revision, status=status, time_source=source,
        )
        for key, slot, value, observed, revision, status, source in zip(*(c.tolist() for c in columns), strict=True)
    )  # fmt: skip


def _last_ms(readings: int) -> int:
    return FIRST_MS + readings // METERS * SLOT_MS


def _sum(database: Database) -> tuple[int, int]:
    statement = text("SELECT count(*), CAST(sum(value + slot_ms / 1000) AS BIGINT) FROM reading")
    count, total = database.run_now(lambda session: session.connection().execute(statement).one())
    return int(count), int(total)


def _check(report: Report, whose: str, found: tuple[int, int], batches: list[Readings]) -> None:
    wanted = sum(len(one) for one in batches), sum(int((one.value + one.slot_ms // 1000).sum()) for one in batches)
    if found != wanted:
        report.failures.append(f"part {PART}: {whose} stored {found}, not {wanted}")
