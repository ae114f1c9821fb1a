"""Carries the book of faults to the database and back, whenever it is there, and counts what stands for Prometheus.

What was raised while the database was away goes in once when it is back; what another process booked before is taken
up. Not here: the book (fault_book.py), its tables (store/faults.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from domain.errors import LichtbuchError, Unavailable
from domain.level import PowerCurve
from servicekit.clock import Clock
from servicekit.database import Database
from services.lighting import metrics
from services.lighting.fault_book import FaultBook
from services.lighting.fault_kinds import FaultEntry, FaultKind
from services.lighting.store.faults import book, power_curves, standing_counts, standing_faults

_log = logging.getLogger(__name__)

TURN_EVERY_S: Final = 2.0
COUNT_EVERY_TURNS: Final = 5
_BATCH: Final = 500


class FaultClerk:
    """Keeps book and database the same, for the process that holds the field."""

    def __init__(
        self,
        database: Database,
        the_book: FaultBook,
        clock: Clock,
        *,
        holds: Callable[[], bool],
        inventory_revision: Callable[[], int],
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        """holds: whether this process works on the field. inventory_revision: grows when curves may have changed.

        ready: whether the database has its schema.
        """
        self._database, self._book, self._clock = database, the_book, clock
        self._holds, self._revision, self._ready = holds, inventory_revision, ready
        self._held = False
        self._taken_up = False
        self._curves: Mapping[str, PowerCurve] = {}
        self._curves_of: int | None = None
        self._turns = 0
        self._given_up = 0

    @property
    def curves(self) -> Mapping[str, PowerCurve]:
        """Power over level of luminaires by uid, as far as it is known; a new object whenever it may have changed."""
        return self._curves

    async def keep(self, beat: Callable[[], None]) -> None:
        """The loop: every few seconds, for ever. A database that is away does not end it."""
        while True:
            try:
                await self.turn()
            except LichtbuchError as error:
                _log.debug("the book of faults waits for the database: %s", error)
            beat()
            await self._clock.sleep_real(TURN_EVERY_S)

    async def turn(self) -> None:
        """Takes up what stands, hands over what is new, counts. Raises where the database is away; nothing is lost."""
        self._change_hands()
        self._note_given_up()
        if not self._ready():
            raise Unavailable("the database has not been there yet", 5.0)
        if self._held:
            await self._take_up()
        await self.hand_over()
        if self._held and self._turns % COUNT_EVERY_TURNS == 0:
            self._tell(await self._database.read(standing_counts))
        self._turns += 1

    async def hand_over(self) -> None:
        """Stores everything that waits."""
        while entries := self._book.waiting(_BATCH):
            renamed = await self._store(entries)
            self._book.stored(entries)
            if renamed:
                self._book.renamed(renamed)

    async def close(self) -> None:
        """Stores what can be stored."""
        try:
            if self._ready():
                await self.hand_over()
        except LichtbuchError as error:
            _log.warning("%d changes of the book of faults are not stored: %s", len(self._book), error)

    def _change_hands(self) -> None:
        if self._holds() == self._held:
            return
        self._held, self._taken_up, self._turns = self._holds(), False, 0
        if not self._held:
            self._book.forget()
            self._tell({})

    async def _take_up(self) -> None:
        if not self._taken_up:
            self._book.adopt(await self._database.read(standing_faults))
            self._taken_up = True
        revision = self._revision()
        if revision != self._curves_of:
            self._curves = await self._database.read(power_curves)
            self._curves_of = revision

    async def _store(self, entries: list[FaultEntry]) -> dict[str, FaultEntry]:
        def store(session: Session) -> dict[str, FaultEntry]:
            try:
                return book(session, entries)
            except IntegrityError as error:
                # Another process raised the same at the same moment: the next turn finds it.
                raise Unavailable("the book of faults is being written to by another process", TURN_EVERY_S) from error

        return await self._database.run(store)

    def _note_given_up(self) -> None:
        new = self._book.given_up - self._given_up
        if new:
            metrics.FAULTS_GIVEN_UP.inc(new)
            self._given_up = self._book.given_up
            _log.error("%d faults of the past are lost: the database has been away for too long", new)

    def _tell(self, counts: Mapping[FaultKind, tuple[int, int]]) -> None:
        for kind in FaultKind:
            standing, unacknowledged = counts.get(kind, (0, 0))
            metrics.OPEN_FAULTS.labels(kind.name.lower()).set(standing)
            metrics.UNACKNOWLEDGED_FAULTS.labels(kind.name.lower()).set(unacknowledged)
