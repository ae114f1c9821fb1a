"""An honest small field: meters whose counters run with the clock, what goes wrong with them, and a metering worker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from domain.errors import InvalidInput
from domain.names import new_uid
from fieldbus.budget import MobileLink
from fieldbus.values import DeviceHealth, DeviceState, Identity, PointAddress, Quality, TimeSource, ValueBatch, unix_ms
from servicekit.clock import SteppedClock
from servicekit.database import Database, Session
from services.metering.acquisition.book import TargetBook
from services.metering.acquisition.devices import Devices, Opener
from services.metering.acquisition.polling import Poller
from services.metering.acquisition.recorder import Recorder
from services.metering.acquisition.resets import Resets, StoredResets
from services.metering.acquisition.spool import Record, Spool
from services.metering.life import RegisterLife
from services.metering.reading import Readings
from services.metering.slot import SLOT_MS, ceil_slot_ms, from_ms, to_ms
from services.metering.store import lives, meters, readings
from services.metering.store.tables import EndpointRow
from services.metering.validation.parameters import DEFAULTS, Parameters
from tests.services.metering.making import NOW, TOWN, add_meter
from tests.support.waiting import eventually


class FieldMeter:
    """A meter on the wire: draws `load_w` all the time and shows what it has counted."""

    def __init__(self, clock: SteppedClock, load_w: int = 4_000, counter_wh: float = 1_000_000) -> None:
        self._clock = clock
        self.load_w = load_w
        self._counted_from = clock.now()
        self._counter_wh = counter_wh
        self.answers = True
        self.shows_sentinel = False
        self.wrong_once: float | None = None
        self.reads = 0
        self.closed = False

    @property
    def counter_wh(self) -> float:
        """What it has counted."""
        hours = (self._clock.now() - self._counted_from).total_seconds() / 3600
        return self._counter_wh + self.load_w * hours

    def begin_anew(self, counter_wh: float = 0.0) -> None:
        """A reset, or another meter in its place."""
        self._counter_wh, self._counted_from = counter_wh, self._clock.now()

    async def read(self, points: Sequence[PointAddress]) -> ValueBatch:
        """The counter for every point that is asked for."""
        if self.closed:
            raise InvalidInput.of("device", "was closed")
        self.reads += 1
        await asyncio.sleep(0)
        if not self.answers:
            return ValueBatch.missing(points, self._clock.now())
        value, quality = float(int(self.counter_wh)), Quality.GOOD
        if self.wrong_once is not None:
            value, self.wrong_once = self.wrong_once, None
        if self.shows_sentinel:
            value, quality = float("nan"), Quality.BAD
        count = len(points)
        return ValueBatch(
            points,
            np.full(count, value),
            np.full(count, quality, np.uint8),
            np.full(count, unix_ms(self._clock.now()), np.int64),
            np.full(count, TimeSource.OURS, np.uint8),
        )

    async def write(self, writes: object, verify: bool = True) -> list[object]:
        """Meters are not written."""
        raise InvalidInput.of("point", "a meter is only read")

    async def subscribe(self, points: object, callback: object, *, interval_s: float | None = None) -> object:
        """Meters are polled."""
        raise InvalidInput.of("point", "a meter is only read")

    def health(self) -> DeviceHealth:
        """Whether it answers."""
        return DeviceHealth(DeviceState.ONLINE if self.answers else DeviceState.BACKING_OFF)

    async def identify(self) -> Identity:
        """What it is."""
        return Identity("Test", "Meter", "1")

    async def close(self) -> None:
        """Nobody reads it any more."""
        self.closed = True


class Field:
    """Meters by their URL."""

    def __init__(self) -> None:
        self.meters: dict[str, FieldMeter] = {}

    def open(self, url: str, profile: str, *, link: MobileLink | None = None) -> FieldMeter:
        """The meter at a URL. Raises InvalidInput where none hangs."""
        if url not in self.meters:
            raise InvalidInput.of("url", f"{url} leads nowhere")
        self.meters[url].closed = False
        return self.meters[url]


class Town:
    """A clock, a field and a database in which its meters stand; workers come and go."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        start: datetime = NOW - timedelta(minutes=2),
        clock: type[SteppedClock] = SteppedClock,
    ) -> None:
        self.clock = clock(start)
        self.field = Field()
        self.database = database
        self.folder = folder
        self.stored: dict[str, meters.StoredMeter] = {}

    async def add(self, meter_id: str = "M-1", **changes: object) -> FieldMeter:
        """A meter in the field and in the database."""
        url = f"test://{meter_id}"
        meter = self.field.meters[url] = FieldMeter(self.clock)
        await self.add_at(url, "eastron-sdm630", meter_id, **changes)
        return meter

    async def add_at(self, url: str, profile: str, meter_id: str = "M-1", **changes: object) -> None:
        """A meter in the database, at a URL that somebody else answers for."""
        endpoint_uid = new_uid()

        def store(session: Session) -> meters.StoredMeter:
            session.add(
                EndpointRow(
                    uid=endpoint_uid,
                    municipality_uid=TOWN,
                    endpoint_id=meter_id,
                    url=url,
                    profile=profile,
                    state=2,
                    etag="",
                    seen_at=NOW,
                )
            )
            fields = {"endpoint_uid": endpoint_uid, "endpoint_id": meter_id, "connected_load_w": 10_000, **changes}
            return add_meter(session, meter_id, **fields)

        self.stored[meter_id] = await self.database.run(store)

    async def lives(self, meter_id: str = "M-1") -> list[RegisterLife]:
        """The meter's registers."""
        uid = self.stored[meter_id].row.uid
        return (await self.database.read(lambda session: lives.lives_of(session, [uid])))[uid]

    async def readings(self, meter_id: str = "M-1") -> Readings:
        """What is stored of a meter."""
        found = await self.lives(meter_id)
        return await self.database.read(lambda session: readings.fetch_lives(session, found, 0, 2**42))


class PatientRecorder(Recorder):
    """Waits for a database that is there however long a busy machine takes: what goes to the spool goes there because
    the database is away, not because it is slow."""

    async def _store(self, record: Record, patience_s: float) -> None:
        await super()._store(record, max(patience_s, 100.0))


class Worker:
    """One process of metering, as far as polling goes. `kill` leaves what a SIGKILL leaves."""

    def __init__(
        self,
        town: Town,
        *,
        may_poll: bool = True,
        max_spool_bytes: int = 1_000_000,
        opener: Opener | None = None,
        resets: Resets | None = None,
        parameters: Parameters = DEFAULTS,
    ) -> None:
        self.town = town
        self.spool = Spool(town.folder / "spool", max_spool_bytes)
        self.spool.open()
        self.recorder = PatientRecorder(town.database, self.spool, town.clock, parameters=parameters)
        snapshot = town.folder / "meters.json"
        self.book = TargetBook(town.database, snapshot, self.spool, town.clock, parameters=parameters)
        self.poller = Poller(
            clock=town.clock,
            devices=Devices(opener or town.field),  # type: ignore[arg-type]  # an honest fake of what is used
            book=self.book,
            keeper=self.recorder,
            resets=resets or StoredResets(town.database, town.clock, parameters),
            may_poll=lambda: may_poll,
        )
        self._tasks = [
            asyncio.create_task(work(lambda: None))
            for work in (self.poller.run, self.recorder.keep, self.recorder.drain)
        ]

    async def quarter_hours(self, count: int = 1) -> None:
        """Lets quarter hours pass, each of them wholly polled and kept."""
        for _ in range(count):
            await self.next_slot()
            await self.pass_tolerance()

    async def next_slot(self) -> int:
        """Goes on until every meter has been asked for the next slot."""
        clock, field = self.town.clock, self.town.field
        await eventually(lambda: clock._is_asleep(self._tasks[0]))
        slot_ms = ceil_slot_ms(to_ms(clock.now()) + 1)
        asked = {url: meter.reads for url, meter in field.meters.items()}
        await clock.advance(from_ms(slot_ms) - clock.now(), settle_s=0)
        for _ in range(200):
            await eventually(self._waits_for_the_clock)
            if self.poller.polled_ms >= slot_ms or all(meter.reads > asked[url] for url, meter in field.meters.items()):
                break
            await clock.advance(timedelta(milliseconds=100))
        await self.recorder.settle()
        return slot_ms

    async def pass_tolerance(self) -> None:
        """Goes on until the slot has been dealt with."""
        clock = self.town.clock
        slot_ms = to_ms(clock.now()) // SLOT_MS * SLOT_MS
        for _ in range(15):
            await eventually(self._waits_for_the_clock)
            if self.poller.polled_ms >= slot_ms:
                break
            await clock.advance(timedelta(seconds=60))
        await eventually(lambda: self.poller.polled_ms >= slot_ms)
        await self.recorder.settle()

    def _waits_for_the_clock(self) -> bool:
        """Whether all who poll sleep. While one of them still asks the database, which takes real time, domain time
        must not run away from it: its tolerance is over in a few steps."""
        readings = [task for task in asyncio.all_tasks() if task.get_coro().__qualname__ == Poller._read.__qualname__]  # type: ignore[union-attr]
        return all(map(self.town.clock._is_asleep, readings or self._tasks[:1]))

    async def kill(self) -> None:
        """Ends everything at once: nothing is saved, no lock is given back in order."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.spool._lock is not None:
            os.close(self.spool._lock)
            self.spool._lock = None
