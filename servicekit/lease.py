"""Leases: one worker at a time for what must not be done twice, and what happens when that cannot be asked.

On PostgreSQL a row with holder, epoch, expiry by the database's clock; on SQLite, where all is on one machine,
a file lock. Both count epochs. Whoever holds a lease and is cut off from the database goes on until it sees a newer
epoch: two masters are excluded on crash, tolerated and counted under partition. A process that crashed meanwhile takes
up again what it held, from a small file beside its data.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import text
from sqlmodel import Session

from domain.errors import LichtbuchError
from servicekit.clock import Clock
from servicekit.database import Database
from servicekit.local_lease import LocalLease
from servicekit.metrics import LEASE_CUT_OFF, LEASE_LOST, LEASE_OVERLAP

_log = logging.getLogger(__name__)

DEFAULT_TTL_S: Final = 15.0


class Lease(Protocol):
    """The right to be the one who works on something."""

    @property
    def name(self) -> str:
        """What it is the right to."""
        ...

    @property
    def epoch(self) -> int:
        """Counts the holders; grows with each acquisition. 0 before the first."""
        ...

    @property
    def is_only_process(self) -> bool:
        """Whether no other process of this instance is there."""
        ...

    def holds(self) -> bool:
        """True while this process is to act as the holder."""
        ...

    async def try_acquire(self) -> bool:
        """Takes or renews the lease if that can be had now. True if held afterwards."""
        ...

    def on_held(self, listener: Callable[[], None]) -> None:
        """Adds what is called whenever the lease was taken: `holds` is true by then."""
        ...

    async def wait_held(self) -> None:
        """Waits until the lease is held. `keep` has to run beside it."""
        ...

    async def keep(self, beat: Callable[[], None]) -> None:
        """Takes the lease when it is free and renews it for ever: a loop for the server."""
        ...

    async def release(self) -> None:
        """Gives it up, so that another may take it at once."""
        ...


_TAKE: Final = text(
    """
    INSERT INTO lease (name, holder, epoch, acquired_at, expires_at)
    VALUES (:name, :holder, :epoch + 1, clock_timestamp(), clock_timestamp() + make_interval(secs => :ttl_s))
    ON CONFLICT (name) DO UPDATE SET
        holder = excluded.holder,
        epoch = GREATEST(lease.epoch + 1, excluded.epoch),
        acquired_at = excluded.acquired_at,
        expires_at = excluded.expires_at
    WHERE lease.expires_at < clock_timestamp() OR (lease.holder = :holder AND lease.epoch = :epoch)
    RETURNING epoch
    """
)
_RENEW: Final = text(
    """
    UPDATE lease SET expires_at = clock_timestamp() + make_interval(secs => :ttl_s)
    WHERE name = :name AND holder = :holder AND epoch = :epoch
    RETURNING epoch
    """
)
_LOOK: Final = text(
    """
    SELECT holder, epoch, EXTRACT(EPOCH FROM clock_timestamp() - acquired_at) AS held_s
    FROM lease WHERE name = :name
    """
)
_FREE: Final = text(
    """
    UPDATE lease SET expires_at = clock_timestamp()
    WHERE name = :name AND holder = :holder AND epoch = :epoch
    """
)


class DatabaseLease(LocalLease):
    """A row in PostgreSQL. `holder` names this instance, stable over restarts; `ttl_s` is in real seconds."""

    def __init__(
        self,
        name: str,
        database: Database,
        folder: Path,
        *,
        holder: str,
        ttl_s: float = DEFAULT_TTL_S,
        clock: Clock | None = None,
        on_take: Callable[[Session], None] | None = None,
    ) -> None:
        """on_take: what else is stored in the transaction that takes it."""
        self._on_take = on_take
        super().__init__(name, folder, clock=clock, retry_s=ttl_s / 3)
        self._database, self._holder, self._ttl_s = database, holder, ttl_s
        self.cut_off = False

    async def try_acquire(self) -> bool:
        """Takes or renews the lease. Cut off from the database, what is held stays held."""
        if not self.lock():  # another process of this instance is still there
            return False
        try:
            async with asyncio.timeout(max(1.0, self._ttl_s / 2)):
                if self.holds():
                    await self._renew()
                else:
                    await self._take()
        except (LichtbuchError, TimeoutError) as error:
            self._go_on_alone(error)
        else:
            self._set_cut_off(False)
        return self.holds()

    async def release(self) -> None:
        """Gives it up, so that another may take it at once.

        Where the database cannot be told, it stays this instance's: whoever starts here next goes on with it.
        """
        held, epoch = self.holds(), self._epoch
        self._give_up()
        told = True
        if held:
            try:
                async with asyncio.timeout(max(1.0, self._ttl_s / 2)):
                    await self._database.run(lambda session: session.connection().execute(_FREE, self._values(epoch)))
            except (LichtbuchError, TimeoutError):
                told = False
        self.unlock(epoch if told else 0)

    async def _take(self) -> None:
        known = max(self._epoch, self.recall().epoch)

        def take(session: Session) -> int | None:
            epoch: int | None = session.connection().execute(_TAKE, self._values(known)).scalar()
            if epoch is not None and self._on_take is not None:
                self._on_take(session)
            return epoch

        epoch = await self._database.run(take)
        if epoch is not None:
            self._become(epoch)

    async def _renew(self) -> None:
        def renew(session: Session) -> tuple[int, float] | None:
            connection = session.connection()
            if connection.execute(_RENEW, self._values(self._epoch)).scalar() is not None:
                return None
            row = connection.execute(_LOOK, {"name": self._name}).one_or_none()
            return (0, 0.0) if row is None else (int(row.epoch), float(row.held_s))

        other = await self._database.run(renew)
        if other is None:
            return
        epoch, held_s = other
        if epoch <= self._epoch:
            # The row is gone or older than ours: the database was restored. Take it anew, under a newer epoch.
            await self._take()
            return
        self._give_up()
        LEASE_LOST.labels(self._name).inc()
        LEASE_OVERLAP.labels(self._name).inc(max(0.0, held_s))
        _log.warning("lease %s: epoch %d is newer than ours (%d); it is given up", self._name, epoch, self._epoch)
        self.remember(self._epoch, held=False)

    def _go_on_alone(self, error: Exception) -> None:
        if not self.holds():
            memory = self.recall()
            if not memory.held:
                return
            # This instance held it when it went down, and nobody can be asked: it is ours until we hear otherwise.
            _log.warning("lease %s: taken up again without the database, epoch %d", self._name, memory.epoch)
            self._become(memory.epoch)
        if not self.cut_off:
            _log.warning("lease %s: cut off from the database, going on as its holder: %s", self._name, error)
        self._set_cut_off(True)

    def _set_cut_off(self, cut_off: bool) -> None:
        self.cut_off = cut_off
        LEASE_CUT_OFF.labels(self._name).set(1 if cut_off else 0)

    def _values(self, epoch: int) -> dict[str, object]:
        return {"name": self._name, "holder": self._holder, "epoch": epoch, "ttl_s": self._ttl_s}


def lease_for(
    name: str,
    database: Database | None,
    folder: Path,
    *,
    holder: str,
    ttl_s: float = DEFAULT_TTL_S,
    clock: Clock | None = None,
    on_take: Callable[[Session], None] | None = None,
    before_held: Callable[[], Awaitable[None]] | None = None,
) -> Lease:
    """The lease that fits the database: a row on PostgreSQL, a file lock on SQLite and without any.

    folder: where the lock and the memory of it are kept, a folder of this instance's data. on_take: stored in the
    transaction that takes the row; before_held: awaited between taking the file's lock and acting on it.
    """
    if database is not None and database.dialect == "postgresql":
        return DatabaseLease(name, database, folder, holder=holder, ttl_s=ttl_s, clock=clock, on_take=on_take)
    return LocalLease(name, folder, clock=clock, retry_s=ttl_s / 3, before_held=before_held)
