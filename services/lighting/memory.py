"""What control rests on, in memory: refreshed from the database whenever it changed, kept while the database is away.

A change made through this process is noticed at once (`refresh`), one made by another replica within a second. The
local snapshot carries it over a restart without a database.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from domain.errors import LichtbuchError, Unavailable
from domain.plan import to_unix_ms
from servicekit.clock import Clock
from servicekit.context import Tenant
from servicekit.database import Database
from servicekit.tenants import TenantDirectory
from services.lighting.records import Inventory, Known, Orders, TownRecord
from services.lighting.snapshot import SnapshotFiles
from services.lighting.store.known import load_inventory, load_orders
from services.lighting.store.revisions import INVENTORY, ORDERS, revisions

_log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
"""Real seconds between two looks at the revisions."""

_UNKNOWN: Final = -1


class Memory:
    """Holds the newest `Known`; waiting for a change is `changed`."""

    def __init__(
        self,
        database: Database,
        tenants: TenantDirectory,
        clock: Clock,
        snapshot: SnapshotFiles | None,
        *,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        """`snapshot` None: this process keeps no file (a replica that never holds the field).

        ready: whether the database has its schema.
        """
        self._database, self._tenants, self._clock, self._snapshot = database, tenants, clock, snapshot
        self._ready = ready
        self._known = Known(Inventory(revision=_UNKNOWN), Orders(revision=_UNKNOWN))
        self._lock = asyncio.Lock()
        self._saving = asyncio.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._failure: LichtbuchError | None = None
        self._saved: Known | None = None
        self._loaded_ms = 0

    @property
    def known(self) -> Known:
        """The newest knowledge. A new object whenever anything changed."""
        return self._known

    @property
    def database_is_away(self) -> bool:
        """True while the last look failed: control goes on from memory."""
        return self._failure is not None

    def on_change(self, listener: Callable[[], None]) -> None:
        """Adds what is called, in the event loop, whenever anything changed."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Knows as much as can be known: from the database, else from the snapshot."""
        await self.refresh()
        if self._failure is None or self._snapshot is None:
            return
        try:
            known = await asyncio.to_thread(self._snapshot.load)
        except LichtbuchError as error:
            _log.error("the local snapshot cannot be used: %s", error)
            return
        self._saved = known
        if known.inventory.luminaires or known.inventory.cabinets:
            count = len(known.inventory.luminaires)
            _log.warning("the database is away: going on with %d luminaires of the local snapshot", count)
            # A revision that no database has: its first answer replaces all of this.
            self._take(Known(replace(known.inventory, revision=_UNKNOWN), replace(known.orders, revision=_UNKNOWN)))

    async def refresh(self) -> None:
        """Looks at the database now. What changed is known when this returns, unless the database is away."""
        async with self._lock:
            try:
                await self._look()
            except LichtbuchError as error:
                if self._failure is None:
                    _log.warning("the database is away, light goes on from memory: %s", error)
                self._failure = error
                return
            if self._failure is not None:
                _log.info("the database is back")
            self._failure = None
        await self._save()

    async def keep_fresh(self, beat: Callable[[], None]) -> None:
        """The loop: looks every second, for ever."""
        while True:
            await self.refresh()
            beat()
            await self._clock.sleep_real(LOOK_EVERY_S)

    async def _look(self) -> None:
        if not self._ready():
            raise Unavailable("the database has not been there yet")
        tenants = await self._tenants.all()
        found = await self._database.read(revisions)
        inventory, orders = self._known.inventory, self._known.orders
        if inventory.revision != found.get(INVENTORY, 0) or inventory.towns != _towns(tenants):
            inventory = await self._database.read(lambda session: load_inventory(session, tenants))
        now_ms = to_unix_ms(self._clock.now())
        # A clock that was set back makes hold again what had expired by it when orders were loaded.
        if orders.revision != found.get(ORDERS, 0) or now_ms < self._loaded_ms:
            self._loaded_ms = now_ms
            orders = await self._database.read(lambda session: load_orders(session, now_ms))
        if inventory is not self._known.inventory or orders is not self._known.orders:
            self._take(Known(inventory, orders))

    def _take(self, known: Known) -> None:
        self._known = known
        for listener in self._listeners:
            listener()

    async def _save(self) -> None:
        if self._snapshot is None:
            return
        # One after the other, lest an older state is left in the file.
        async with self._saving:
            known, saved = self._known, self._saved
            try:
                # Orders first: a feeder must never come back from the files without its lock-out.
                if saved is None or known.orders != saved.orders:
                    await asyncio.to_thread(self._snapshot.save_orders, known.orders)
                if saved is None or known.inventory != saved.inventory:
                    await asyncio.to_thread(self._snapshot.save_inventory, known.inventory)
                self._saved = known
            except OSError as error:
                _log.error("the local snapshot cannot be written: %s", error)


def _towns(tenants: Sequence[Tenant]) -> tuple[TownRecord, ...]:
    return tuple(TownRecord(t.uid, t.id, t.latitude_deg, t.longitude_deg, t.time_zone) for t in tenants)
