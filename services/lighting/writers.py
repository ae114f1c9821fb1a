"""Which processes may write to the field, and which orders each of them obeys: a lock-out is confirmed to its owner
when nobody is left who could write to the feeder without knowing of it.

A process says that it may write in the transaction in which it takes the lease, and takes that back when it has lost
the lease and its last step has ended. One that is cut off from the database cannot: it goes on, so that light does, and
a lock-out that is made meanwhile is stored and obeyed by all others, but not confirmed. The rows stand in the table of
leases: a process holds on to the orders of a revision. Not here: who holds the field (servicekit/lease.py), what a
lock-out does (due.py, telling.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from sqlalchemy import text
from sqlmodel import Session

from domain.errors import FailedPrecondition, LichtbuchError
from servicekit.clock import Clock
from servicekit.database import Database
from servicekit.waiting import happens_within
from services.lighting.records import Known
from services.lighting.store.revisions import ORDERS, revisions

_log = logging.getLogger(__name__)

_PREFIX: Final = "lighting.orders/"
_NOTHING_YET: Final = -1
TURN_EVERY_S: Final = 1.0
"""Real seconds between two looks, where nothing changed."""
CONFIRMED_WITHIN_S: Final = 8.0
"""Real seconds until a process that has not confirmed is told of: longer than its look at the database (1 s) and the
end of a step that is stuck (5 s) take together."""
_ASK_EVERY_S: Final = 0.1

_SAY: Final = text(
    """
    INSERT INTO lease (name, holder, epoch, acquired_at, expires_at)
    VALUES (:name, :holder, :revision, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP)
    ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch, expires_at = excluded.expires_at
    """
)
_TAKE_BACK: Final = text("DELETE FROM lease WHERE name = :name")
_ONLY: Final = text("DELETE FROM lease WHERE name LIKE :any AND name <> :name")
_BEHIND: Final = text("SELECT holder FROM lease WHERE name LIKE :any AND name <> :own AND epoch < :revision")


class Holder(Protocol):
    """What is asked of the lease on the field."""

    @property
    def epoch(self) -> int:
        """Counts the holders."""
        ...

    @property
    def is_only_process(self) -> bool:
        """Whether no other process of this instance is there."""
        ...

    def holds(self) -> bool:
        """True while this process is to act as the holder."""
        ...


class Writers:
    """What this process says of itself, and what others say. Without a lease (a replica that never holds the field) it
    only asks."""

    def __init__(
        self, database: Database, clock: Clock, holder: str, *, ready: Callable[[], bool] = lambda: True
    ) -> None:
        """holder: the name of this instance. ready: whether the database has its schema."""
        self._database, self._clock, self._holder, self._ready = database, clock, holder, ready
        self._name = f"{_PREFIX}{holder}"
        self._lease: Holder | None = None
        self._known: Callable[[], Known] = Known
        self._quiet: Callable[[str], Awaitable[None]] = _nothing
        self._ended: Callable[[], Awaitable[None]] = _nobody
        self._said: tuple[int, int] | None = None
        self._locked: frozenset[str] = frozenset()
        self._taken_back = False
        self._news = asyncio.Event()

    def take_part(
        self,
        lease: Holder,
        *,
        known: Callable[[], Known],
        quiet: Callable[[str], Awaitable[None]],
        ended: Callable[[], Awaitable[None]],
    ) -> None:
        """This process may come to hold the field. known: what it acts on. quiet: returns when nothing is being written
        to a feeder any more; ended: when nothing is at all."""
        self._lease, self._known, self._quiet, self._ended = lease, known, quiet, ended

    # --- what this process says -------------------------------------------------------------------------------------

    def announce(self, session: Session) -> None:
        """Within the transaction that takes the lease: from its commit on this process may write."""
        self._taken_back = False
        self._say(session, _NOTHING_YET)

    async def announce_alone(self) -> None:
        """The same where the lease is a file's lock: no other process of this machine may write any more, either."""
        if not self._ready():
            return

        def say(session: Session) -> None:
            session.connection().execute(_ONLY, {"any": f"{_PREFIX}%", "name": self._name})
            self.announce(session)

        try:
            await self._database.run(say)
        except LichtbuchError as error:
            _log.warning("that this process holds the field cannot be stored: %s", error)

    def look(self) -> None:
        """Something changed: the next look is now."""
        self._news.set()

    async def keep(self, beat: Callable[[], None]) -> None:
        """The loop: says what is obeyed as soon as it is, for ever. A database that is away does not end it."""
        while True:
            self._news.clear()
            try:
                await self.turn()
            except LichtbuchError as error:
                _log.debug("what is obeyed waits for the database: %s", error)
            beat()
            await happens_within(self._news, TURN_EVERY_S)

    async def turn(self) -> None:
        """Says which orders are obeyed, or takes it back. Raises Unavailable while the database is away."""
        if self._lease is None or not self._ready():
            return
        if not self._lease.holds():
            await self._take_back(self._lease)
            return
        epoch, orders = self._lease.epoch, self._known().orders
        if orders.revision < 0 or self._said == (epoch, orders.revision):
            return
        locked = frozenset(lockout.feeder_uid for lockout in orders.lockouts)
        if self._said is None or self._said[0] != epoch:
            self._locked = frozenset()
        await asyncio.gather(*(self._quiet(feeder) for feeder in locked - self._locked))
        if not self._lease.holds():
            return
        await self._database.run(lambda session: self._say(session, orders.revision))
        self._said, self._locked = (epoch, orders.revision), locked

    async def stop(self) -> None:
        """Nothing is written any more: the last step has ended. Where the database is away the word stands until this
        instance starts again."""
        if self._lease is None or not self._ready() or not (self._said or self._lease.holds()):
            return
        try:
            await self._database.run(lambda session: session.connection().execute(_TAKE_BACK, {"name": self._name}))
        except LichtbuchError as error:
            _log.warning("that nothing is written any more cannot be stored: %s", error)

    async def _take_back(self, lease: Holder) -> None:
        """Once after the lease was lost, and once at the start: what an earlier process of this instance said."""
        if self._taken_back or not lease.is_only_process:
            return
        await self._ended()
        if lease.holds():
            return
        await self._database.run(lambda session: session.connection().execute(_TAKE_BACK, {"name": self._name}))
        self._said, self._taken_back = None, not lease.holds()

    def _say(self, session: Session, revision: int) -> None:
        values = {"name": self._name, "holder": self._holder, "revision": revision}
        session.connection().execute(_SAY, values)

    # --- what others say --------------------------------------------------------------------------------------------

    async def confirm(self) -> None:
        """Returns when every other process that may write obeys the orders that are stored now.

        Raises FailedPrecondition that names those that do not, Unavailable while the database is away.
        """
        revision = (await self._database.read(revisions)).get(ORDERS, 0)
        loop = asyncio.get_running_loop()
        give_up = loop.time() + CONFIRMED_WITHIN_S
        while behind := await self._database.read(lambda session: self._behind(session, revision)):
            if loop.time() > give_up:
                raise FailedPrecondition.of(
                    "lockout",
                    f"is stored, but not confirmed: {', '.join(behind)} may still write to the field without knowing of"
                    " it; do not rely on it, and ask again under the same request id",
                )
            await self._clock.sleep_real(_ASK_EVERY_S)

    def _behind(self, session: Session, revision: int) -> list[str]:
        # This process has looked and waited itself before it asks.
        own = self._name if self._lease is not None and self._lease.holds() else ""
        values = {"any": f"{_PREFIX}%", "own": own, "revision": revision}
        return sorted(row.holder for row in session.connection().execute(_BEHIND, values))


async def _nothing(_feeder_uid: str) -> None:
    """Nothing is being written."""


async def _nobody() -> None:
    """Nothing is being written at all."""
