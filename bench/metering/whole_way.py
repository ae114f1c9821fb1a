"""Part 4: the whole way of a cycle, from the field read to the stored reading, at 2 500 to 20 000 registers.

The real poller, recorder and database, real Modbus TCP to meters with ten registers each, which live in a process of
their own so that their work is not counted as ours. Per cycle: what the loop spends on the field (requests and what
fieldbus makes of the answers), on making whole numbers of them, on judging, on handing over, and how long the database
takes. Nothing may grow over linearly: a reading of 20 000 costs no more than one of 2 500, within the noise of a run.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from sqlmodel import Session

from bench.metering.ground import KINDS, TITLES, TOWN, ground
from bench.report import Report, Verdict
from domain.names import new_uid
from fieldbus.client import Fieldbus
from fieldbus.device import Device
from fieldbus.profile_loader import load_profile_file
from servicekit.clock import SteppedClock
from servicekit.database import Database
from services.metering.acquisition import polling
from services.metering.acquisition.book import TargetBook
from services.metering.acquisition.devices import Devices
from services.metering.acquisition.polling import Poller
from services.metering.acquisition.recorder import Recorder
from services.metering.acquisition.resets import StoredResets
from services.metering.acquisition.spool import Spool
from services.metering.acquisition.target import sample_of
from services.metering.meter import Cycle, Medium, Unit
from services.metering.reading import Readings
from services.metering.slot import SLOT_MS, from_ms
from services.metering.store.lives import first_life
from services.metering.store.tables import EndpointRow, MeterRow
from services.metering.vee import judge
from tests.services.metering.soak.station import Station
from tests.services.metering.soak.truth import LOAD_W, POINTS, REGISTERS, ROLLOVER, Truth, make_truth
from tests.services.metering.soak.worker import PROFILE

PART = "4"
SIZES: Final = (2_500, 5_000, 10_000, 20_000)
CYCLES: Final = 12
WARM_UP: Final = 2
SHOWN: Final = 10_000
"""The size whose stages are told."""
MOST_GROWTH: Final = 1.3
STAGES: Final = ("field read", "decode", "judge", "hand over", "store")
FIRST_MS: Final = 1_772_323_200_000  # 2026-03-01T00:00Z


def run(report: Report, quick: bool) -> None:
    """Both kinds of database, every size."""
    logging.getLogger("services.metering").setLevel(logging.ERROR)  # registers roll over here every other moment
    sizes, cycles = ((250, 500), 1) if quick else (SIZES, CYCLES)
    with ground() as here:
        for kind in KINDS:
            costs: dict[int, float] = {}
            for size in sizes:
                last_ms = FIRST_MS + (WARM_UP + cycles + 1) * SLOT_MS
                with here.fresh(kind, FIRST_MS - 100 * 86_400_000, last_ms) as database, _field(size) as far:
                    timed = asyncio.run(_cycles(database, far, size, cycles))
                costs[size] = timed.of_a_reading_us(size)
                if size == SHOWN or quick:
                    report.notes.append(f"part {PART}, {TITLES[kind]}, {size:,} readings per cycle: {timed.told()}")
            growth = costs[sizes[-1]] / costs[sizes[0]]
            target = None if quick else MOST_GROWTH
            claim = f"{TITLES[kind]}: a reading of {sizes[-1]:,} per cycle takes times one of {sizes[0]:,}"
            report.verdicts.append(Verdict(PART, claim, growth, growth, growth, target, at_least=False))
            each = ", ".join(f"{size:,}: {cost:.0f} us" for size, cost in costs.items())
            report.notes.append(f"part {PART}, {TITLES[kind]}, time of a cycle by reading: {each}")


@dataclass
class _Stages:
    """Seconds that stages took, by cycle."""

    now: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    cycles: list[dict[str, float]] = field(default_factory=list)
    walls: list[float] = field(default_factory=list)

    def close(self, loop_s: float, wall_s: float) -> None:
        """A cycle is over, in which the loop's thread worked for so long."""
        now = self.now
        now["field read"] = max(0.0, loop_s - now["decode"] - now["judge"] - now["hand over"])
        self.cycles.append(dict(now))
        self.walls.append(wall_s)
        self.now = dict.fromkeys(STAGES, 0.0)

    def medians(self) -> dict[str, float]:
        """Of each stage."""
        return {stage: statistics.median(cycle[stage] for cycle in self.cycles) for stage in STAGES}

    def of_a_reading_us(self, size: int) -> float:
        """On the wall, from the slot until the last reading is stored: stages of a large cycle overlap.

        The mean: what a database puts off (a checkpoint every so many pages) falls into each cycle of many readings and
        into few of those with few, and belongs to all of them.
        """
        return statistics.fmean(self.walls) / size * 1e6

    def told(self) -> str:
        """For people."""
        medians = self.medians()
        whole = sum(medians.values())
        each = ", ".join(f"{stage} {one * 1000:.0f} ms ({one / whole:.0%})" for stage, one in medians.items())
        return f"{each}; on the wall {statistics.median(self.walls) * 1000:.0f} ms"

    def timed(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same, with its time counted."""

        def count(*arguments: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return work(*arguments, **options)
            finally:
                self.now[stage] += time.perf_counter() - began

        return count


async def _cycles(database: Database, far: _Far, size: int, cycles: int) -> _Stages:
    database.run_now(lambda session: _add_meters(session, far.urls))
    stages = _Stages()
    clock = SteppedClock(from_ms(FIRST_MS) - timedelta(seconds=60))
    with tempfile.TemporaryDirectory(prefix="lichtbuch-bench-spool-") as folder:
        spool = Spool(Path(folder) / "spool")
        spool.open()
        recorder = Recorder(database, spool, clock)
        book = TargetBook(database, Path(folder) / "meters.json", spool, clock)
        fieldbus = Fieldbus(now=clock.now, require_simulator=True)
        poller = Poller(
            clock=clock, devices=Devices(_Opener(fieldbus)), book=book, keeper=_Keeper(recorder, stages),
            resets=StoredResets(database, clock),
        )  # fmt: skip
        keeping = asyncio.create_task(recorder.keep(lambda: None))
        _count(stages, recorder)
        try:
            await book.refresh()
            if len(book.targets) != size:
                raise RuntimeError(f"{len(book.targets)} registers are polled instead of {size}")
            for number in range(WARM_UP + cycles):
                slot_ms = FIRST_MS + number * SLOT_MS
                await clock.advance(from_ms(slot_ms) - clock.now(), settle_s=0)
                far.show(number)
                stages.now = dict.fromkeys(STAGES, 0.0)
                began, loop_s = time.perf_counter(), time.thread_time()
                polled = asyncio.create_task(poller.poll(slot_ms))
                while clock.sleeping <= len(far.urls) and not polled.done():  # noqa: ASYNC110 - and the deadline
                    await asyncio.sleep(0)
                await clock.advance(timedelta(minutes=3), settle_s=0)  # longer than endpoints are spread
                await polled
                await recorder.settle()
                if number >= WARM_UP:
                    stages.close(time.thread_time() - loop_s, time.perf_counter() - began)
        finally:
            _uncount()
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await fieldbus.close()
            spool.close()
        stored = database.run_now(_count_stored)
        if stored != size * (WARM_UP + cycles):
            raise RuntimeError(f"{stored} readings are stored instead of {size * (WARM_UP + cycles)}")
    return stages


_PLAIN: Final[dict[str, Callable[..., Any]]] = {"sample_of": sample_of, "judge": judge}


def _count(stages: _Stages, recorder: Recorder) -> None:
    for stage, name in (("decode", "sample_of"), ("judge", "judge")):
        setattr(polling, name, stages.timed(stage, _PLAIN[name]))
    store = recorder._store

    async def counted(*arguments: Any) -> None:
        began = time.perf_counter()
        await store(*arguments)
        stages.now["store"] += time.perf_counter() - began

    recorder._store = counted  # type: ignore[method-assign, assignment]


def _uncount() -> None:
    for name, plain in _PLAIN.items():
        setattr(polling, name, plain)


class _Keeper:
    """The recorder, with the time of handing over counted."""

    def __init__(self, recorder: Recorder, stages: _Stages) -> None:
        self._recorder = recorder
        self._submit = stages.timed("hand over", recorder.submit)

    @property
    def is_settled(self) -> bool:
        return self._recorder.is_settled

    @property
    def problem(self) -> str | None:
        return self._recorder.problem

    def submit(self, readings: Readings, lives: dict[int, str]) -> None:
        self._submit(readings, lives)

    async def settle(self) -> None:
        await self._recorder.settle()


class _Opener:
    def __init__(self, fieldbus: Fieldbus) -> None:
        self._fieldbus = fieldbus
        self._profile = load_profile_file(PROFILE)

    def open(self, url: str, profile: str, **options: Any) -> Device:
        return self._fieldbus.open(url, self._profile, **options)


def _add_meters(session: Session, urls: Sequence[str]) -> None:
    created = datetime(2020, 1, 1, tzinfo=UTC)
    for number, url in enumerate(urls):
        endpoint = EndpointRow(
            uid=new_uid(), municipality_uid=TOWN, endpoint_id=f"e-{number}", url=url, profile="", state=2, etag="",
            seen_at=created,
        )  # fmt: skip
        session.add(endpoint)
        rows = [
            MeterRow(
                uid=new_uid(), municipality_uid=TOWN, meter_id=f"m-{number}-{place}", display_name="",
                medium=int(Medium.ELECTRICITY), unit=int(Unit.WH), cabinet_id="", building="",
                endpoint_uid=endpoint.uid, endpoint_id=endpoint.endpoint_id, point=point, serial_number="",
                rollover=ROLLOVER, transformer_ratio=1, connected_load_w=LOAD_W, revision=1, created_at=created,
                reading_cycle=int(Cycle.QUARTER_HOUR),
            )
            for place, point in enumerate(POINTS)
        ]  # fmt: skip
        session.add_all(rows)
        session.flush()
        session.add_all([first_life(row, "") for row in rows])


def _count_stored(session: Session) -> int:
    return int(session.connection().exec_driver_sql("SELECT count(*) FROM reading WHERE status = 1").scalar_one())


# --- the field, in a process of its own -----------------------------------------------------------------------------


class _Far:
    """The other end of the wire."""

    def __init__(self, pipe: Connection, process: Any) -> None:
        self._pipe, self._process = pipe, process
        self.urls: list[str] = pipe.recv()

    def show(self, slot: int) -> None:
        """The meters go on to a slot."""
        self._pipe.send(slot)
        self._pipe.recv()

    def __enter__(self) -> _Far:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self._process.join()


def _field(size: int) -> _Far:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_be_the_field, args=(theirs, size // REGISTERS), daemon=True)
    process.start()
    return _Far(ours, process)


def _be_the_field(pipe: Connection, devices: int) -> None:
    slots = WARM_UP + CYCLES + 1
    truth = make_truth(
        4, FIRST_MS, devices=devices, slots=slots, exchanges=0, resets=0, silences=0, no_change=range(0)
    )  # fmt: skip
    asyncio.run(_serve(pipe, truth))


async def _serve(pipe: Connection, truth: Truth) -> None:
    station = Station(truth)
    await station.start()
    pipe.send([station.url(device) for device in range(truth.devices)])
    while (slot := await asyncio.to_thread(pipe.recv)) is not None:
        await station.show(slot)
        pipe.send(slot)
    await station.stop()
