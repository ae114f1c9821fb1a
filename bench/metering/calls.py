"""Part 3: readings over real gRPC, many in one call, beside one call for each.

The same service, token, checks, validation, audit and store on both sides; the caller waits for each answer before the
next call. So the difference is what a call and a transaction cost, which is why the contract takes readings in columns.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta
from typing import Any, Final

import structlog

from bench.metering.ground import KINDS, TITLES, ground
from bench.report import Report
from bench.timing import Comparison
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.database import Database
from services.metering.slot import SLOT_MS, to_ms
from services.metering.store.partitions import ensure_partitions, months_between
from tests.services.metering.making import NOW
from tests.services.metering.running import PARENT, Metering, name_of, running_metering
from tests.support.issuer import Issuer

PART = "3"
BATCH, SINGLE, METERS, ROUNDS = 100_000, 300, 10, 5
TARGET: Final = 300.0


def run(report: Report, quick: bool) -> None:
    """Both ways in turn, on both databases."""
    batch, single, rounds = (5_000, 20, 1) if quick else (BATCH, SINGLE, ROUNDS)
    logs, issuer = structlog.get_config(), Issuer()
    # Neither side writes a line about each call.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        with ground() as here:
            for kind in KINDS:
                with here.fresh(kind, to_ms(NOW), to_ms(NOW)) as database:
                    asyncio.run(_compare(report, issuer, database, kind, batch, single, rounds))
    finally:
        issuer.close()
        structlog.configure(**logs)
    report.notes.append(f"part {PART}: {single} unary calls of one reading each; compared per reading")


async def _compare(
    report: Report, issuer: Issuer, database: Database, kind: str, batch: int, single: int, rounds: int
) -> None:
    async with running_metering(issuer, database) as metering:
        for number in range(METERS):
            await metering.meter(f"m-{number}")
        each = (batch + single) // METERS + 1
        first_ms = to_ms(NOW) - rounds * each * SLOT_MS
        await database.run(lambda session: ensure_partitions(session, months_between(first_ms, to_ms(NOW))))
        # What is set up with the first call of a channel is no part of either.
        await metering.ingest(_columns(first_ms - SLOT_MS, 0, 1))
        ours, peer = [], []
        for number in range(rounds):
            begin_ms = first_ms + number * each * SLOT_MS
            ours.append(await _timed(report, metering, [_columns(begin_ms, 0, batch)], batch))
            peer.append(
                await _timed(report, metering, [_columns(begin_ms, batch + n, 1) for n in range(single)], single)
            )
    what = f"{batch:,} readings in one call to the service on {TITLES[kind]}"
    report.compare(PART, Comparison(what, "a unary call for each", batch, tuple(ours), tuple(peer), single), TARGET)


def _columns(begin_ms: int, first: int, count: int) -> pb.ReadingColumns:
    """Readings `first` and following of a span, going round the meters."""
    numbers = range(first, first + count)
    return pb.ReadingColumns(
        meters=[name_of(f"m-{number}") for number in range(METERS)],
        meter_indexes=[number % METERS for number in numbers],
        slots_unix_ms=[begin_ms + number // METERS * SLOT_MS for number in numbers],
        values=[
            (begin_ms - to_ms(NOW - timedelta(days=3650))) // SLOT_MS * 25 + number // METERS * 25 for number in numbers
        ],
    )


async def _timed(report: Report, metering: Metering, pieces: list[pb.ReadingColumns], readings: int) -> float:
    """Seconds until the last piece is acknowledged."""
    stub: Any = metering.as_()
    requests = [pb.IngestReadingsRequest(parent=PARENT, readings=one, source="import:bench") for one in pieces]
    stored = 0
    began = time.perf_counter()
    for request in requests:
        stored += (await stub.IngestReadings(request)).stored
    took = time.perf_counter() - began
    if stored != readings:
        report.failures.append(f"part {PART}: {stored} of {readings} readings were stored")
    return took
