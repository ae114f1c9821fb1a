"""Asks drivers now and then who they are and how long they have burnt, and keeps what follows: their lives, new burning
hours after a swap, its settings asked for again, and a fault that stands until a person has decided.

Gateways are visited in their workers' turn, one after the other. Not here: reading (gear_reading.py), what follows from
it (swapped.py), storing it (store/gears.py), writing settings (commissioning.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from domain.errors import LichtbuchError, Unavailable
from servicekit.clock import Clock
from servicekit.database import Database
from services.lighting.control import Control
from services.lighting.fault_book import FaultBook
from services.lighting.fault_kinds import FaultEnd, FaultKey, FaultKind, SubjectKind
from services.lighting.field import Link
from services.lighting.gear_board import GearBoard
from services.lighting.gear_reading import Round, visit
from services.lighting.ground import Ground
from services.lighting.records import Inventory
from services.lighting.store.gears import Taken, take, undecided_swaps
from services.lighting.swapped import AGAIN_AFTER_MS, Suspicion

_log = logging.getLogger(__name__)

TURN_EVERY_S: Final = 2.0
"""Real seconds between two looks at which gateway is due."""
LINES_EVERY_S: Final = 300.0
"""Domain time between two looks at the lines of a gateway."""
GEARS_EVERY_S: Final = 3600.0
"""Domain time between two rounds of its drivers."""
LEAST_REAL_S: Final = 10.0
"""Real seconds between two visits at a gateway: what a time-lapse is slowed down to."""


class GearKeeper:
    """Keeps the lives of drivers, while this process holds the field."""

    def __init__(
        self,
        database: Database,
        control: Control,
        clock: Clock,
        board: GearBoard,
        book: FaultBook,
        *,
        inventory: Callable[[], Inventory],
        ready: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
        least_real_s: float = LEAST_REAL_S,
    ) -> None:
        """inventory: as control knows it. ready: whether the database has its schema."""
        self._database, self._control, self._clock, self._board, self._book = database, control, clock, board, book
        self._inventory, self._ready, self._monotonic = inventory, ready, monotonic
        self._least_real_s = least_real_s
        self._suspicions: dict[str, Suspicion] = {}
        self._suspects_of: dict[str, set[str]] = {}
        """Luminaires with a suspicion, by gateway."""
        self._visited_real: dict[str, float] = {}
        self._lines_at_s: dict[str, float] = {}
        self._gears_at_s: dict[str, float] = {}

    async def keep(self, beat: Callable[[], None]) -> None:
        """The loop, for ever. A database that is away does not end it: counters are read again when it is back."""
        while True:
            try:
                await self.turn(beat)
            except LichtbuchError as error:
                _log.debug("lives of drivers wait for the database: %s", error)
            beat()
            await self._clock.sleep_real(TURN_EVERY_S)

    async def turn(self, beat: Callable[[], None] = lambda: None) -> None:
        """One look: gateways that are due are visited. Raises where the database is away."""
        if not self._control.holds_field:
            self._forget()
            return
        if not self._ready():
            raise Unavailable("the database has not been there yet", 5.0)
        inventory = self._inventory()
        here = {record.uid for record in inventory.gateways}
        for uid in set(self._board.seen) - here:
            del self._board.seen[uid]
        for record in inventory.gateways:
            if self._is_due(record.uid):
                await self._visit(record.uid)
                beat()
        await self._tell_faults(inventory)

    def _is_due(self, gateway_uid: str) -> bool:
        now_s, monotonic = self._clock.now().timestamp(), self._monotonic()
        # Who takes the field over has something better to do first.
        if monotonic - self._visited_real.setdefault(gateway_uid, monotonic) < self._least_real_s:
            return False
        return now_s - self._lines_at_s.get(gateway_uid, float("-inf")) >= LINES_EVERY_S

    async def _visit(self, gateway_uid: str) -> None:
        now_s, found = self._clock.now().timestamp(), Round()
        every_s = AGAIN_AFTER_MS / 1000 if self._suspects_of.get(gateway_uid) else GEARS_EVERY_S
        gears = now_s - self._gears_at_s.get(gateway_uid, float("-inf")) >= every_s
        errand = partial(_errand, gateway_uid=gateway_uid, found=found, gears=gears)
        if not await self._control.lend(gateway_uid, errand):
            return  # busy: the next turn asks again
        self._visited_real[gateway_uid], self._lines_at_s[gateway_uid] = self._monotonic(), now_s
        if found.lines is not None:
            self._board.seen[gateway_uid] = found.lines
        else:
            self._board.seen.pop(gateway_uid, None)
        if not found.asked:
            return
        if found.readings:
            taken = await self._database.run(
                partial(
                    take, readings=found.readings, suspicions=self._suspicions, rollover_s=found.rollover_s,
                    in_control=found.in_control, now_ms=round(now_s * 1000),
                )
            )  # fmt: skip
            self._remember(gateway_uid, found, taken)
        if gears:
            self._gears_at_s[gateway_uid] = now_s

    def _remember(self, gateway_uid: str, found: Round, taken: Taken) -> None:
        for uid in found.readings:
            self._suspicions.pop(uid, None)
        self._suspicions.update(taken.suspicions)
        waiting = self._suspects_of.get(gateway_uid, set()) - set(found.readings) | set(taken.suspicions)
        self._suspects_of[gateway_uid] = waiting & set(self._suspicions)
        if taken.swapped:
            _log.warning("drivers of %d luminaires seem to have been swapped", len(taken.swapped))

    async def _tell_faults(self, inventory: Inventory) -> None:
        """A swap that nobody has decided stands as a fault; its end is a person's decision."""
        waiting = {one.luminaire_uid: one for one in await self._database.read(undecided_swaps)}
        now_ms = round(self._clock.now().timestamp() * 1000)
        standing = self._book.standing_on(FaultKind.GEAR_SWAPPED)
        for uid in standing.keys() - waiting.keys():
            self._book.clear(FaultKey(FaultKind.GEAR_SWAPPED, uid), now_ms, FaultEnd.CLEARED_BY_PERSON)
        known = {lamp.uid for lamp in inventory.luminaires} if waiting.keys() - standing.keys() else set()
        for uid, one in waiting.items():
            if uid not in standing and uid in known:
                self._book.raise_(
                    FaultKind.GEAR_SWAPPED, SubjectKind.LUMINAIRE, uid, one.municipality_uid, one.since_ms,
                    float("nan"), float("nan"),
                )  # fmt: skip

    def _forget(self) -> None:
        for known in (self._suspicions, self._suspects_of, self._visited_real, self._lines_at_s, self._gears_at_s):
            known.clear()
        self._board.seen.clear()


async def _errand(ground: Ground, link: Link, *, gateway_uid: str, found: Round, gears: bool) -> None:
    await visit(ground, link, gateway_uid, found, gears=gears)
