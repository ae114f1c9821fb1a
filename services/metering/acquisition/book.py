"""The book of targets: refreshed from the database, kept in a local snapshot, open to what the spool knows better."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from domain.errors import Corrupted, LichtbuchError, Unavailable
from servicekit.clock import Clock
from servicekit.database import Database
from services.metering.acquisition.spool import Record, Spool
from services.metering.acquisition.target import Snapshot, Target
from services.metering.metrics import METERS
from services.metering.reading import Status
from services.metering.store.targets import load
from services.metering.validation.parameters import DEFAULTS, Parameters
from services.metering.vee import judge

_log = logging.getLogger(__name__)

REFRESH_EVERY_S: Final = 30.0
PATIENCE_S: Final = 20.0
"""Real seconds: ten thousand meters take a busy database a few."""


class TargetBook:
    """What is to be polled. `targets` is the list of now; its entries move on with each slot."""

    def __init__(
        self,
        database: Database,
        snapshot: Path,
        spool: Spool,
        clock: Clock,
        *,
        ready: Callable[[], bool] = lambda: True,
        parameters: Parameters = DEFAULTS,
    ) -> None:
        """`ready` says whether the database has its schema yet; by `parameters` readings are judged."""
        self.targets: list[Target] = []
        self._database = database
        self._snapshot = Snapshot(snapshot)
        self._spool = spool
        self._clock = clock
        self._ready = ready
        self._parameters = parameters
        self._due = asyncio.Event()
        self._due.set()
        self._next_s = 0.0
        self._loaded = False

    def touch(self) -> None:
        """Something about meters or endpoints has changed: look again before the next slot."""
        self._due.set()

    def forget(self) -> None:
        """Another worker polls: where the registers stand is its knowledge now, and is read anew when we are next."""
        if self.targets or self._loaded:
            self.targets, self._loaded = [], False
            self.touch()

    async def refresh(self) -> bool:
        """Reads the list anew where something has changed or time has passed, and says whether it has. Keeps what it
        has while it cannot."""
        now_s = asyncio.get_running_loop().time()
        if not self._due.is_set() and now_s < self._next_s:
            return False
        self._due.clear()
        self._next_s = now_s + REFRESH_EVERY_S
        if self._loaded:
            return await self._read(now_s, ())
        # Before the database is asked: what is drained meanwhile would be found in neither of them.
        waiting = await asyncio.to_thread(self._hold)
        try:
            return await self._read(now_s, waiting)
        finally:
            await asyncio.to_thread(self._spool.release)

    async def save(self) -> None:
        """Writes the snapshot. A disk that fails costs nothing but a worker's start without the database."""
        try:
            await asyncio.to_thread(self._snapshot.write, list(self.targets))
        except OSError as error:
            _log.warning("the snapshot of the meters cannot be written: %s", error)

    async def _read(self, now_s: float, waiting: Iterable[Record]) -> bool:
        """Reads the list from the database, else from the snapshot, and moves it on by what waits in the spool."""
        known = {target.identity: target for target in self.targets}
        try:
            if not self._ready():
                raise Unavailable("the database has no schema yet", 1.0)
            async with asyncio.timeout(PATIENCE_S):
                # What the snapshot knows may be older than what was drained since: where it stands is looked up.
                standing = known if self._loaded else {}
                targets, others = await self._database.read(partial(load, known=standing, parameters=self._parameters))
        except Exception as error:
            # Whatever is wrong with the list: what is known goes on being read.
            if not isinstance(error, LichtbuchError | TimeoutError):
                _log.exception("the list of meters cannot be read")
            self._next_s = now_s + 1.0
            if not self._loaded and not self.targets:
                await self._from_snapshot(error, waiting)
            return False
        # What was dealt with while the database was asked is in the old entries.
        for target in targets:
            before = known.get(target.identity)
            if before is not None and before.settled_ms > target.settled_ms:
                target.state, target.settled_ms = before.state, before.settled_ms
        self.targets = targets
        if not self._loaded:
            await asyncio.to_thread(self._move_on, waiting)
            self._loaded = True
        METERS.labels("not_polled").set(others)
        return True

    def _hold(self) -> Iterator[Record]:
        try:
            self._spool.take_over()  # who polled before may be dead, and what it spooled be the newest there is
        except Unavailable as error:
            _log.warning("what a dead worker may have left is not known: %s", error)
        return self._spool.hold()

    async def _from_snapshot(self, reason: BaseException, waiting: Iterable[Record]) -> None:
        try:
            self.targets = await asyncio.to_thread(self._snapshot.read)
        except Corrupted as error:
            _log.error("%s", error)
            return
        if self.targets:
            _log.warning("%d meters are polled as the local snapshot knows them: %s", len(self.targets), reason)
            await asyncio.to_thread(self._move_on, waiting)

    def _move_on(self, waiting: Iterable[Record]) -> None:
        """Moves the targets on by what waits in the spool, which the database may not know yet."""
        by_life = {target.life_uid: target for target in self.targets}
        for record in waiting:
            readings = record.readings
            for key, slot_ms, value, status in zip(
                readings.register.tolist(),
                readings.slot_ms.tolist(),
                readings.value.tolist(),
                readings.status.tolist(),
                strict=True,
            ):
                target = by_life.get(record.lives.get(key, ""))
                if target is None or slot_ms <= target.settled_ms:
                    continue
                target.settled_ms = slot_ms
                if status != Status.GAP:
                    verdict = judge(target.state, target.rules, slot_ms, value)
                    target.state = target.state if verdict.reset is not None else verdict.state
