"""Keeps the level history: from the recorder into the local spool at once, from there into the database when it can.

Not here: what is a change (history.py), the file (spool.py), the tables (store/history.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from sqlmodel import Session

from domain.errors import Exhausted, LichtbuchError, Unavailable
from servicekit.clock import Clock
from servicekit.database import Database
from services.lighting import metrics
from services.lighting.history import Change, LevelRecorder
from services.lighting.spool import LastLevels, LevelSpool
from services.lighting.store.history import add_changes, last_changes, set_watched_until, watched_until

_log = logging.getLogger(__name__)

DRAIN_EVERY_S: Final = 2.0
SAVE_EVERY_S: Final = 60.0
_BATCH: Final = 5_000


class Historian:
    """Moves changes along. `recorder` and `watched` are asked anew each time: control replaces its recorder."""

    def __init__(
        self,
        database: Database,
        open_spool: Callable[[], LevelSpool],
        clock: Clock,
        *,
        recorder: Callable[[], LevelRecorder],
        watched: Callable[[], int],
        memory: LastLevels | None = None,
        ready: Callable[[], bool] = lambda: True,
        alone: Callable[[], bool] = lambda: True,
    ) -> None:
        """open_spool: called when no other process of this instance has the file any more. watched: domain time in Unix
        ms until which levels were watched; 0 for not yet.

        memory: a file for what was recorded last, for a start without the database. ready: whether the database has its
        schema. alone: whether no other process of this instance is there; once it is so it stays so.
        """
        self._ready, self._memory, self._alone = ready, memory, alone
        self._open_spool = open_spool
        self._opened: LevelSpool | None = None
        self._last: dict[str, Change] = {}
        self._saved_at = 0.0
        self._dirty = False
        self._draining = asyncio.Lock()
        self._database, self._clock = database, clock
        self._recorder, self._watched = recorder, watched
        self._numbers: dict[str, int] = {}
        self._stored_until = 0
        self._full = False

    async def last_known(self) -> tuple[dict[str, Change], int]:
        """What earlier runs recorded last, and until when they watched: by the database, else by the local files."""

        def ask(session: Session) -> tuple[dict[str, Change], int | None]:
            return last_changes(session), watched_until(session)

        last: dict[str, Change] = {}
        until: int | None = None
        # Before the database is asked: what is drained meanwhile would be found in neither of them.
        waiting = self._waiting()
        try:
            self._check()
            last, until = await self._database.read(ask)
        except LichtbuchError as error:
            _log.warning("what was recorded before is asked of the local files: %s", error)
            if self._memory is not None:
                last, until = self._memory.load()
        for change in waiting:
            known = last.get(change.uid)
            if known is None or known.at_ms < change.at_ms:
                last[change.uid] = change
            until = max(until or 0, change.at_ms)
        self._last = dict(last)
        return last, until or 0

    def collect(self) -> None:
        """Takes what was recorded into the spool: after each pass."""
        changes = self._recorder().take()
        if not changes:
            return
        self._last.update((change.uid, change) for change in changes)
        self._dirty = True
        try:
            spool = self._spool()
            if spool is None:
                raise Unavailable("another process of this instance has it", 1.0)
            spool.append(changes)
            self._full = False
            metrics.SPOOLED.set(len(spool))
        except Exhausted as error:
            metrics.SPOOL_DROPPED.inc(len(changes))
            if not self._full:
                _log.error("level changes are lost: %s", error)
            self._full = True
        except (OSError, Unavailable) as error:
            metrics.SPOOL_DROPPED.inc(len(changes))
            _log.error("level changes are lost, the spool cannot be written: %s", error)

    async def drain(self) -> None:
        """Hands everything that waits to the database. Raises where it is away; nothing is lost then."""
        # One at a time: who drops from the front of the spool must be the one who stored it.
        async with self._draining:
            await self._drain()

    async def _drain(self) -> None:
        spool = self._spool()
        if spool is None:
            return
        self._check()
        while True:
            until = self._watched()
            batch = spool.peek(_BATCH)
            finished = len(batch) == len(spool)
            if not batch and until <= self._stored_until:
                return
            new = await self._store(batch, until if finished else 0)
            spool.drop(len(batch))
            metrics.STORED.inc(new)
            metrics.SPOOLED.set(len(spool))
            if finished:
                self._stored_until = until
                return

    async def keep_draining(self, beat: Callable[[], None]) -> None:
        """The loop: every few seconds, for ever. A database that is away does not end it."""
        while True:
            try:
                await self.drain()
            except LichtbuchError as error:
                _log.debug("the level history waits for the database: %s", error)
            if asyncio.get_running_loop().time() - self._saved_at > SAVE_EVERY_S:
                await self._save()
            beat()
            await self._clock.sleep_real(DRAIN_EVERY_S)

    async def close(self) -> None:
        """Stores what can be stored and closes the spool."""
        self.collect()
        await self._save()
        try:
            await self.drain()
        except LichtbuchError as error:
            _log.warning("%d level changes stay in the spool: %s", len(self._opened or ()), error)
        if self._opened is not None:
            self._opened.close()

    async def _save(self) -> None:
        if self._memory is None or not self._dirty:
            return
        self._saved_at, self._dirty = asyncio.get_running_loop().time(), False
        try:
            await asyncio.to_thread(self._memory.save, dict(self._last), self._watched())
        except OSError as error:
            _log.warning("what was recorded last cannot be kept: %s", error)

    def _spool(self) -> LevelSpool | None:
        """The spool; None as long as another process may have it. Raises Unavailable where the disk fails."""
        if self._opened is None and self._alone():
            try:
                self._opened = self._open_spool()
            except OSError as error:
                raise Unavailable(f"the spool of level changes cannot be opened: {error}", 5.0) from error
        return self._opened

    def _waiting(self) -> list[Change]:
        try:
            spool = self._spool()
            return [] if spool is None else spool.peek(len(spool))
        except (OSError, Unavailable) as error:
            _log.error("what waits in the spool of level changes is not known: %s", error)
            return []

    def _check(self) -> None:
        if not self._ready():
            raise Unavailable("the database has not been there yet", 5.0)

    async def _store(self, batch: list[Change], until: int) -> int:
        numbers = dict(self._numbers)

        def store(session: Session) -> int:
            new = add_changes(session, batch, numbers)
            if until:
                set_watched_until(session, until)
            return new

        new = await self._database.run(store)
        # Only now are numbers that the transaction gave out sure to stay.
        self._numbers = numbers
        return new
