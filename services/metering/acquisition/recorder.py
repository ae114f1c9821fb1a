"""Keeps what polling reads: in the database, or in the spool while that is away; drains the spool when it is back.

Readings count as kept once the database has committed them or the spool has them on the disk. Everything goes through
one queue, so polling never waits for a database. While anything is spooled, all goes to the spool: the order is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import numpy as np

from domain.errors import LichtbuchError, RetryableError, TimedOut, Unavailable
from servicekit.clock import Clock
from servicekit.database import Database
from services.metering.acquisition.spool import Record, Spool
from services.metering.metrics import READINGS_REFUSED, READINGS_STORED
from services.metering.reading import Readings, Status
from services.metering.slot import SLOT_MS
from services.metering.store.feed import Source
from services.metering.store.partitions import Partitions, months_between
from services.metering.store.polled import MOST_FLAGGED, Polled, write_polled

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

ACTOR: Final = "service:metering"
PATIENCE_S: Final = 5.0
"""How long (real time) the database may take for what one cycle has read before that goes to the spool."""
DRAIN_PATIENCE_S: Final = 30.0
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0
_BEAT_EVERY_S: Final = 1.0
GATHER_S: Final = 0.25
"""How long (real time) readings are gathered before they are stored together, unless somebody waits for them."""
MOST_TOGETHER: Final = 20_000
"""Most readings of the spool that are stored in one transaction."""


class Recorder:
    """The way of polled readings to where they last. One per process; `keep` and `drain` are its loops."""

    def __init__(
        self,
        database: Database,
        spool: Spool,
        clock: Clock,
        *,
        stored: Callable[[], None] = lambda: None,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        """`stored` is called after readings were committed: whoever watches may look. `ready` says whether the database
        has its schema."""
        self._database = database
        self._partitions = Partitions(database)
        self._spool = spool
        self._clock = clock
        self._stored = stored
        self._ready = ready
        self._queue: asyncio.Queue[Record] = asyncio.Queue()
        self._backlog = asyncio.Event()
        self._hurry = asyncio.Event()
        if spool.depth:
            self._backlog.set()

    @property
    def is_settled(self) -> bool:
        """True if what is kept is in the database: nothing waits in the spool."""
        return not self._spool.depth

    def submit(self, readings: Readings, lives: Mapping[int, str]) -> None:
        """Hands over polled readings. Does not wait; what is in the queue when the process is killed was never kept."""
        if len(readings):
            self._queue.put_nowait(Record(readings, lives))

    async def settle(self) -> None:
        """Waits until everything handed over so far is kept."""
        self._hurry.set()
        await self._queue.join()

    async def settle_within(self, seconds: float) -> None:
        """Keeps what is still in the queue, for the end of the process: the loops may have ended already."""
        records: list[Record] = []
        while not self._queue.empty():
            records.append(self._queue.get_nowait())
            self._queue.task_done()
        for record in records:
            await self._keep(record, seconds)

    async def keep(self, beat: Callable[[], None]) -> None:
        """The loop that empties the queue."""
        while True:
            record, count = await self._next()
            if record is not None:
                try:
                    await self._keep(record)
                except asyncio.CancelledError:
                    # The process ends in order, and nobody knows whether the commit came through: twice is no harm.
                    self._spool.append(record)
                    raise
                finally:
                    for _ in range(count):
                        self._queue.task_done()
            beat()

    async def drain(self, beat: Callable[[], None]) -> None:
        """The loop that empties the spool, oldest first, as long as the database takes it."""
        pause_s = FIRST_PAUSE_S
        while True:
            beat()
            if not self._spool.depth:
                self._backlog.clear()
                try:
                    await asyncio.wait_for(self._backlog.wait(), _BEAT_EVERY_S)
                except TimeoutError:
                    continue
            try:
                while await self.drain_one():
                    pause_s = FIRST_PAUSE_S
                    beat()
            except RetryableError as error:
                _log.debug("the spool waits for the database: %s", error)
                await asyncio.sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    async def drain_one(self) -> bool:
        """Stores the oldest spooled records; False if there are none. Raises RetryableError: the database is away."""
        oldest = _agreeing(await asyncio.to_thread(self._spool.oldest, MOST_TOGETHER))
        if not oldest:
            return False
        try:
            await self._store(_together([record for _, record in oldest]), DRAIN_PATIENCE_S)
        except RetryableError:
            raise
        except Exception as error:
            if len(oldest) > 1:
                return await self._drain_singly(oldest)
            # It will fail again and would block everything behind it.
            _log.exception("a spooled record cannot be stored")
            await asyncio.to_thread(self._spool.put_aside, oldest[0][0], str(error))
            return True
        for name, _ in oldest:
            await asyncio.to_thread(self._spool.remove, name)
        if not self._spool.depth:
            _log.info("the spool is drained")
        return True

    async def _drain_singly(self, oldest: Sequence[tuple[str, Record]]) -> bool:
        """One of them cannot be stored: each on its own, so that only that one is put aside."""
        for name, record in oldest:
            try:
                await self._store(record, DRAIN_PATIENCE_S)
            except RetryableError:
                raise
            except Exception as error:
                _log.exception("a spooled record cannot be stored")
                await asyncio.to_thread(self._spool.put_aside, name, str(error))
            else:
                await asyncio.to_thread(self._spool.remove, name)
        return True

    async def _next(self) -> tuple[Record | None, int]:
        """All that waits in the queue as one record, and how many they were; nothing after a while of silence."""
        try:
            first = await asyncio.wait_for(self._queue.get(), _BEAT_EVERY_S)
        except TimeoutError:
            self._hurry.clear()
            return None, 0
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), GATHER_S)
        self._hurry.clear()
        records = [first]
        while not self._queue.empty():
            records.append(self._queue.get_nowait())
        return _together(records), len(records)

    async def _keep(self, record: Record, patience_s: float = PATIENCE_S) -> None:
        if not self._spool.depth:
            try:
                await self._store(record, patience_s)
                return
            except LichtbuchError as error:
                _log.warning("readings go to the spool: %s", error)
            except Exception:
                _log.exception("readings go to the spool after an unexpected failure")
        try:
            await asyncio.to_thread(self._spool.append, record)
        except LichtbuchError as error:
            READINGS_REFUSED.labels("not_kept").inc(len(record.readings))
            _log.error("%d readings are lost, neither database nor spool takes them: %s", len(record.readings), error)
            return
        self._backlog.set()

    async def _store(self, record: Record, patience_s: float) -> None:
        readings = record.readings
        if not self._ready():
            raise Unavailable("the database has no schema yet", 1.0)
        try:
            async with asyncio.timeout(patience_s):
                # Gaps are flagged back to the last slot that was dealt with, which may be months ago.
                first_ms = int(readings.slot_ms.min()) - MOST_FLAGGED * SLOT_MS
                await self._partitions.ensure(months_between(first_ms, int(readings.slot_ms.max())))
                source = Source("poll", ACTOR, self._clock.now())
                polled = await self._database.run(lambda s: write_polled(s, readings, record.lives, source))
        except TimeoutError:
            raise TimedOut(f"the database took more than {patience_s:g} s") from None
        self._count(polled)
        if len(polled.stored):
            self._stored()

    def _count(self, polled: Polled) -> None:
        numbers, counts = np.unique(polled.stored.status, return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            READINGS_STORED.labels(Status(number).name.lower()).inc(count)
        for reason, count in (("conflict", polled.conflicts), ("no_register", polled.orphans)):
            if count:
                READINGS_REFUSED.labels(reason).inc(count)


def _together(records: Sequence[Record]) -> Record:
    """Several records as one, in their order."""
    lives = {key: uid for record in records for key, uid in record.lives.items()}
    return Record(Readings.concatenate([record.readings for record in records]), lives)


def _agreeing(records: Sequence[tuple[str, Record]]) -> list[tuple[str, Record]]:
    """As many of them, from the first one on, as mean the same registers by their keys: a restored database may have
    numbered them anew in between."""
    lives: dict[int, str] = {}
    for place, (_, record) in enumerate(records):
        if any(lives.get(key, uid) != uid for key, uid in record.lives.items()):
            return list(records[:place])
        lives.update(record.lives)
    return list(records)
