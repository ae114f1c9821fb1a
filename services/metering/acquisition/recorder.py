"""Keeps what polling reads: in the database, or in the spool while that is away; drains the spool when it is back.

Readings count as kept once the database has committed them or the spool has them on the disk. Everything goes through
one queue, so polling never waits for a database. While anything is spooled, all goes to the spool: the order is kept.
What neither takes waits in memory, in its order, and is tried again; that is bounded, and what is lost is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from domain.errors import Exhausted, LichtbuchError, RetryableError, TimedOut, Unavailable
from servicekit.clock import Clock
from servicekit.database import Database
from servicekit.waiting import happens_within
from services.metering.acquisition.spool import Record, Spool
from services.metering.metrics import READINGS_REFUSED, READINGS_STORED
from services.metering.reading import Readings, Status
from services.metering.slot import SLOT_MS
from services.metering.store.feed import OURSELVES, Source
from services.metering.store.partitions import Partitions, months_between
from services.metering.store.polled import MOST_FLAGGED, Polled, write_polled
from services.metering.validation.parameters import DEFAULTS, Parameters

_log = logging.getLogger(__name__)

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
MOST_IN_MEMORY: Final = 500_000
"""Most readings that wait in memory while neither database nor disk takes them: half a day of ten thousand meters."""
TAKE_OVER_EVERY_S: Final = 60.0
"""How often (real time) a living worker looks for what dead ones have left."""


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
        parameters: Parameters = DEFAULTS,
    ) -> None:
        """`stored` is called after readings were committed: whoever watches may look. `ready` says whether the database
        has its schema; by `parameters` is judged what turns out to be another register's."""
        self._partitions = Partitions(database)
        self._spool = spool
        self._clock = clock
        self._stored = stored
        self._ready = ready
        self._parameters = parameters
        self._queue: asyncio.Queue[Record] = asyncio.Queue()
        self._backlog = asyncio.Event()
        self._hurry = asyncio.Event()
        # In their order: the spool, what waits in memory, what is being gathered, the queue.
        self._waiting: deque[Record] = deque()
        self._gathered: list[Record] = []
        self._problem: str | None = None
        self._most = MOST_TOGETHER
        if spool.depth:
            self._backlog.set()

    @property
    def is_settled(self) -> bool:
        """True if what was handed over is in the database: nothing waits in the spool, or in memory for lack of one."""
        return not self._spool.depth and self._problem is None

    @property
    def problem(self) -> str | None:
        """Why readings wait in memory, where a kill would lose them; None as long as they are kept."""
        return self._problem

    def submit(self, readings: Readings, lives: Mapping[int, str]) -> None:
        """Hands over polled readings. Does not wait; what is in the queue when the process is killed was never kept."""
        if len(readings):
            self._queue.put_nowait(Record(readings, lives))

    async def settle(self) -> None:
        """Waits until everything handed over so far is kept, or waits in memory with a `problem`."""
        self._hurry.set()
        await self._queue.join()

    async def settle_within(self, seconds: float) -> None:
        """Keeps what is still on its way, for the end of the process: the loops have ended already. What neither
        database nor disk takes now is lost."""
        self._take_queue()
        self._waiting.extend(self._gathered)
        self._gathered_is_dealt_with()
        await self._empty(seconds)
        while self._waiting:
            self._lose(self._waiting.popleft(), "the process ends")

    async def keep(self, beat: Callable[[], None]) -> None:
        """The loop that empties the queue, and tries again what waits in memory."""
        while True:
            await self._gather()
            if self._gathered:
                self._waiting.append(_together(self._gathered))
            try:
                await self._empty(beat=beat)
            except asyncio.CancelledError:
                # The process ends in order, and nobody knows whether the commit came through: twice is no harm.
                with contextlib.suppress(LichtbuchError):
                    while self._waiting:
                        self._spool.append(self._waiting[0])
                        self._waiting.popleft()
                raise
            finally:
                self._gathered_is_dealt_with()
            beat()

    async def drain(self, beat: Callable[[], None]) -> None:
        """The loop that empties the spool, oldest first, as long as the database takes it."""
        pause_s = FIRST_PAUSE_S
        look_s = 0.0
        waits_for = ""
        while True:
            beat()
            if (now_s := asyncio.get_running_loop().time()) >= look_s:
                look_s = now_s + TAKE_OVER_EVERY_S
                await self._take_over()
            if not self._spool.depth:
                self._backlog.clear()
                if not await happens_within(self._backlog, _BEAT_EVERY_S):
                    continue
            try:
                while await self.drain_one():
                    pause_s, waits_for = FIRST_PAUSE_S, ""
                    beat()
            except RetryableError as error:
                # Once for each reason: it may be a disk that cannot be read, and then it waits for a person.
                if str(error) != waits_for:
                    waits_for = str(error)
                    _log.warning("the spool cannot be drained yet: %s", error)
                await asyncio.sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    async def drain_one(self) -> bool:
        """Stores the oldest spooled records; False if there are none. Raises RetryableError: the database is away."""
        oldest = _agreeing(await asyncio.to_thread(self._spool.oldest, self._most))
        if not oldest:
            return False
        try:
            await self._store(_together([record for _, record in oldest]), DRAIN_PATIENCE_S)
        except TimedOut:
            # The same again would take as long again.
            self._most = max(1, sum(len(record.readings) for _, record in oldest) // 2)
            raise
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
        self._most = min(MOST_TOGETHER, self._most * 2)
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

    async def _take_over(self) -> None:
        """What a dead worker left is this one's now, and is drained like its own."""
        try:
            await asyncio.to_thread(self._spool.take_over)
        except LichtbuchError as error:
            _log.warning("what a dead worker may have left is looked for again later: %s", error)

    async def _gather(self) -> None:
        """Takes all that waits in the queue together; nothing after a while of silence. What is cut off here stays with
        what is gathered."""
        # Not wait_for: it would swallow the end of the loop that comes together with a record.
        try:
            async with asyncio.timeout(_BEAT_EVERY_S):
                self._gathered.append(await self._queue.get())
        except TimeoutError:
            self._hurry.clear()
            return
        await happens_within(self._hurry, GATHER_S)
        self._hurry.clear()
        self._take_queue()

    def _take_queue(self) -> None:
        while not self._queue.empty():
            self._gathered.append(self._queue.get_nowait())

    def _gathered_is_dealt_with(self) -> None:
        for _ in self._gathered:
            self._queue.task_done()
        self._gathered = []

    async def _empty(self, patience_s: float = PATIENCE_S, beat: Callable[[], None] = lambda: None) -> None:
        """Brings what waits in memory to where it lasts, oldest first, as far as database or disk take it."""
        while self._waiting:
            reason = await self._keep(self._waiting[0], patience_s)
            if reason is not None:
                break
            self._waiting.popleft()
            beat()
        else:
            if self._problem is not None:
                _log.info("nothing waits in memory any more")
            self._problem = None
            return
        if self._problem is None:
            _log.error("readings wait in memory, neither database nor spool takes them: %s", reason)
        self._problem = reason
        excess = sum(len(record.readings) for record in self._waiting) - MOST_IN_MEMORY
        while excess > 0:
            record = self._waiting.popleft()
            excess -= len(record.readings)
            self._lose(record, "too many wait in memory")

    async def _keep(self, record: Record, patience_s: float) -> str | None:
        """Keeps a record, if only by giving it up for good. Otherwise returns why it has to be tried again."""
        is_refused = False
        if not self._spool.depth:
            try:
                await self._store(record, patience_s)
                return None
            except LichtbuchError as error:
                is_refused = not isinstance(error, RetryableError)
                _log.log(self._loud(logging.WARNING), "readings go to the spool: %s", error)
            except Exception:
                is_refused = True
                _log.log(self._loud(logging.ERROR), "readings go to the spool after a failure", exc_info=True)
        try:
            await asyncio.to_thread(self._spool.append, record)
        except Exhausted as error:
            self._lose(record, str(error))  # it never fits
            return None
        except Exception as error:
            _log.debug("the spool takes no readings", exc_info=True)
            if is_refused:
                self._waiting.rotate(-1)  # it will be refused again, and must not hold up what the database would take
            return str(error)
        self._backlog.set()
        return None

    def _loud(self, level: int) -> int:
        """Every second the same is no news."""
        return level if self._problem is None else logging.DEBUG

    def _lose(self, record: Record, reason: str) -> None:
        count = len(record.readings)
        READINGS_REFUSED.labels("not_kept").inc(count)
        _log.error("%d readings are lost, neither database nor spool takes them: %s", count, reason)

    async def _store(self, record: Record, patience_s: float) -> None:
        readings = record.readings
        if not self._ready():
            raise Unavailable("the database has no schema yet", 1.0)
        try:
            async with asyncio.timeout(patience_s):
                # Gaps are flagged back to the last slot that was dealt with, which may be months ago.
                first_ms = int(readings.slot_ms.min()) - MOST_FLAGGED * SLOT_MS
                months = months_between(first_ms, int(readings.slot_ms.max()))
                source = Source("poll", OURSELVES, self._clock.now())
                polled = await self._partitions.store(
                    months, lambda s: write_polled(s, readings, record.lives, source, self._parameters)
                )
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
