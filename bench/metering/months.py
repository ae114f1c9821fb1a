"""Part 2: sums of the local months (Europe/Berlin) of a year of 100 meters, 3.5 million readings, from what is stored.

Ours from raw readings: differences at the ends of runs (store/runs.py), by the primary key. Ours from roll-ups: rows of
months that the service keeps. The peers are what one writes who knows the database, over the same table and keys: the
first counter of each local month, less that of the month before, with local time by the best means that each database
has. Counters need no difference of every two neighbours, which would be slower. All have to come to the same sums.

Told besides, without a promise: the same from raw readings where each register has a gap in each month, so that no run
reaches over one, and the readings themselves have to be read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import text
from sqlmodel import Session

from bench.metering.ground import KINDS, SOURCE, TITLES, TOWN, add_meters, counters, ground, seconds
from bench.report import Report
from bench.timing import Comparison
from domain.night import local_month_bounds
from servicekit.database import Database
from services.metering.figures.consumption import Step, boundaries
from services.metering.reading import Int64, column
from services.metering.slot import DAY_MS, SLOT_MS
from services.metering.store import ingest
from services.metering.store import meters as meter_store
from services.metering.store.amounts import amounts
from services.metering.store.figures import general_in, metered
from services.metering.store.rollup_build import refresh
from services.metering.store.tables import MeterRow

PART = "2"
METERS, ROUNDS, CHUNK = 100, 5, 10
REPEATS: Final = {"raw": 5, "rolled up": 20, "peer": 1}
"""How often each way is run in a round: what takes milliseconds is told by the mean of several."""
BERLIN: Final = ZoneInfo("Europe/Berlin")
YEAR: Final = 2025
LEAST: Final = {"sqlite": 8.0, "postgresql": 3.0}
LEAST_ROLLED_UP: Final = 100.0

_PEER: Final = """
SELECT life_key, lead(first) OVER (PARTITION BY life_key ORDER BY month) - first, readings FROM (
  SELECT life_key, {month} AS month, min(value) AS first, count(*) AS readings FROM reading
  WHERE slot_ms >= {start} AND slot_ms <= {end} GROUP BY life_key, {month}
) AS months ORDER BY life_key, month
"""
_MONTH: Final = {
    # With TZ=Europe/Berlin: SQLite knows no zone but the process's own.
    "sqlite": "strftime('%Y-%m', slot_ms / 1000, 'unixepoch', 'localtime')",
    "postgresql": "date_trunc('month', to_timestamp(slot_ms / 1000), 'Europe/Berlin')",
}
_PEER_NAME: Final = {"sqlite": "grouping by strftime", "postgresql": "grouping by date_trunc"}

Sums = list[list[int]]
"""Amounts of the months, by meter."""


def run(report: Report, quick: bool) -> None:
    """All ways in turn, on both databases."""
    meters, months, rounds = (10, 2, 1) if quick else (METERS, 12, ROUNDS)
    start = local_month_bounds(YEAR, 1, BERLIN)[0]
    end = local_month_bounds(YEAR, months, BERLIN)[1]
    bounds = boundaries(start, end, Step.LOCAL_MONTH, BERLIN)
    with ground() as here, _local_time("Europe/Berlin"):
        for kind in KINDS:
            with here.fresh(kind, int(bounds[0]), int(bounds[-1])) as database:
                _fill(database, meters, bounds)
                _compare(report, database, kind, bounds, meters, rounds)
            with here.fresh(kind, int(bounds[0]), int(bounds[-1])) as database:
                _fill(database, meters, bounds, with_gaps=True)
                _tell_of_gaps(report, database, kind, bounds, meters, rounds)


def _compare(report: Report, database: Database, kind: str, bounds: Int64, meters: int, rounds: int) -> None:
    query = _PEER.format(month=_MONTH[kind], start=int(bounds[0]), end=int(bounds[-1]))
    rows = database.run_now(lambda session: meter_store.all_rows(session, [TOWN]))
    ways: dict[str, Callable[[Session], Sums]] = {
        "raw": lambda session: _ours(session, rows, bounds, None),
        "rolled up": lambda session: _ours(session, rows, bounds, BERLIN),
        "peer": lambda session: _peer(session, query),
    }
    _check(report, kind, {name: database.run_now(way) for name, way in ways.items()})
    made_s = seconds(lambda: database.run_now(lambda session: refresh(session, rows, BERLIN)))
    _check(report, kind, {name: database.run_now(way) for name, way in ways.items()})
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            took = [seconds(lambda way=way: database.run_now(way)) for _ in range(REPEATS[name])]  # type: ignore[misc]
            times[name].append(sum(took) / len(took))
    count = text("SELECT count(*) FROM reading")
    readings = database.run_now(lambda session: int(session.connection().execute(count).scalar_one()))
    what = f"{len(bounds) - 1} local months of {meters} meters, {readings:,} readings in {TITLES[kind]}"
    peer = tuple(times["peer"])
    for name, source, least in (
        ("raw", "from raw readings", LEAST[kind]),
        ("rolled up", "from roll-ups", LEAST_ROLLED_UP),
    ):
        ours = tuple(times[name])
        report.compare(PART, Comparison(f"{what}, {source}", _PEER_NAME[kind], readings, ours, peer, readings), least)
    report.tell(PART, f"s to make the roll-ups of all days and months of them in {TITLES[kind]}", made_s)


def _tell_of_gaps(report: Report, database: Database, kind: str, bounds: Int64, meters: int, rounds: int) -> None:
    """How long ours takes from raw readings with gaps, and SQL beside it, which never looks at what is missing."""
    query = _PEER.format(month=_MONTH[kind], start=int(bounds[0]), end=int(bounds[-1]))
    rows = database.run_now(lambda session: meter_store.all_rows(session, [TOWN]))
    ways: dict[str, Callable[[Session], Sums]] = {
        "ours": lambda session: _ours(session, rows, bounds, None),
        _PEER_NAME[kind]: lambda session: _peer(session, query),
    }
    _check(
        report, kind, {"with gaps": database.run_now(ways["ours"]), "peer": database.run_now(ways[_PEER_NAME[kind]])}
    )
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(seconds(lambda way=way: database.run_now(way)))  # type: ignore[misc]
    for name, took in times.items():
        what = (
            f"s for {len(bounds) - 1} local months of {meters} meters with a gap in each, raw, {TITLES[kind]}: {name}"
        )
        report.tell(PART, what, median(took))


def _fill(database: Database, meters: int, bounds: Int64, *, with_gaps: bool = False) -> None:
    """A year of each meter through the store's own way; the statistics that every way may use.

    with_gaps: a day into each month one reading is missing.
    """
    missing = bounds[:-1] + DAY_MS
    made = database.run_now(lambda session: add_meters(session, meters))
    # Two readings after the year: a day is kept once two more prove that the last one it rests on is no spike.
    slots = int(bounds[-1] - bounds[0]) // SLOT_MS + 3
    for begin in range(0, meters, CHUNK):
        keys = column([meter.lives[0].key for meter in made[begin : begin + CHUNK]])
        readings = counters(keys, int(bounds[0]), 0, slots)
        if with_gaps:
            readings = readings.take(~np.isin(readings.slot_ms, missing))
        database.run_now(lambda session, readings=readings: ingest.write(session, readings, SOURCE))  # type: ignore[misc]
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE" if database.dialect == "sqlite" else "VACUUM ANALYZE")


def _ours(session: Session, rows: list[MeterRow], bounds: Int64, tz: ZoneInfo | None) -> Sums:
    """By the means that QueryConsumption has; without a zone it makes no use of roll-ups."""
    meters = metered(session, rows)
    found = amounts(session, meters, bounds, Step.LOCAL_MONTH, tz, general=general_in(BERLIN))
    return [one.amount.tolist() for one in found]


def _peer(session: Session, query: str) -> Sums:
    sums: dict[int, list[int]] = {}
    for key, amount, _ in session.connection().exec_driver_sql(query):
        if amount is not None:
            sums.setdefault(key, []).append(int(amount))
    return list(sums.values())


def _check(report: Report, kind: str, found: dict[str, Sums]) -> None:
    for name, sums in found.items():
        if sums != found["peer"]:
            report.failures.append(f"part {PART}: {name} on {kind} comes to other sums than SQL")


@contextmanager
def _local_time(name: str) -> Iterator[None]:
    """The process's own zone for a while."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()
