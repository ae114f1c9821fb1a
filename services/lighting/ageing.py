"""Counts the burning hours of light sources whose light is kept constant, once a night, when it is over at local noon.

Hours that drivers report count before those of the level history. Where a light source has come to the next point of
its model's curve, the inventory counts as changed, and control takes the new output: by day, when the lamps are dark,
and not more often. Not here: what hours come to (burning.py, written_level.py), reading them (gear_reading.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

from sqlmodel import Session

from domain.errors import LichtbuchError, Unavailable
from domain.level import FULL_PERMILLE, PowerCurve
from domain.night import lighting_night, local_day_bounds, night_bounds
from domain.plan import to_unix_ms
from servicekit.clock import Clock
from servicekit.database import Database
from services.lighting.burning import Burning
from services.lighting.energy import Drawn, energies
from services.lighting.records import Inventory, TownRecord
from services.lighting.store.burning import Ageing, ageing_luminaires, burning_of_all, keep_burning, reported_by_gear
from services.lighting.store.history import changes_of, watched_until
from services.lighting.store.revisions import INVENTORY, bump
from services.lighting.written_level import clo_permille

_log = logging.getLogger(__name__)

TURN_EVERY_S: Final = 2.0
"""Real seconds between two looks at whether a night is over."""
_AT_ONCE: Final = 200
"""Luminaires of which the history is read at once: the first time it may be that of years."""

_LIT: Final = Drawn(PowerCurve(((FULL_PERMILLE, FULL_PERMILLE),), 0.0), estimated=True)


@dataclass(frozen=True, slots=True)
class _Count:
    """A luminaire's hours as stored, as they are to be counted on, and until when."""

    lamp: Ageing
    stored: Burning
    burning: Burning
    until_ms: int


class AgeingClerk:
    """Keeps the count, while this process holds the field."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        holds: Callable[[], bool],
        inventory: Callable[[], Inventory],
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self._database, self._clock, self._holds, self._ready = database, clock, holds, ready
        self._inventory = inventory
        self._done: tuple[int, ...] = ()
        """Inventory and ends of nights that were counted last."""

    async def keep(self, beat: Callable[[], None]) -> None:
        """The loop, for ever. A database that is away does not end it."""
        while True:
            try:
                await self.turn()
            except LichtbuchError as error:
                _log.debug("burning hours wait for the database: %s", error)
            beat()
            await self._clock.sleep_real(TURN_EVERY_S)

    async def turn(self) -> None:
        """Counts, where a night is over that was not counted yet. Raises where the database is away."""
        if not self._holds():
            self._done = ()
            return
        inventory = self._inventory()
        now = self._clock.now()
        noons = {town.uid: to_unix_ms(_last_noon(town, now)) for town in inventory.towns}
        todo = (inventory.revision, *noons.values())
        if todo == self._done:
            return
        if not any(lamp.ages for lamp in inventory.luminaires):
            self._done = todo
            return
        if not self._ready():
            raise Unavailable("the database has not been there yet", TURN_EVERY_S)
        lamps, stored, watched_ms = await self._database.read(_read)
        if watched_ms < max(noons.values(), default=0):
            return  # the last changes of the night are not stored yet
        towns = {town.uid: town for town in inventory.towns}
        counts = [
            _count(lamp, stored.get(lamp.uid, Burning()), towns[lamp.municipality_uid], noons[lamp.municipality_uid])
            for lamp in lamps
            if lamp.municipality_uid in towns
        ]
        aged = 0
        # Those that were counted until the same instant together: the history is read for one period.
        counts.sort(key=lambda count: (count.until_ms, count.burning.counted_until_ms, count.lamp.uid))
        for at in range(0, len(counts), _AT_ONCE):
            aged += await self._database.run(partial(_keep, counts=counts[at : at + _AT_ONCE]))
            await asyncio.sleep(0)
        self._done = todo
        if aged:
            _log.info("%d light sources have come to the next point of their curve", aged)


def _read(session: Session) -> tuple[list[Ageing], dict[str, Burning], int]:
    return ageing_luminaires(session), burning_of_all(session), watched_until(session) or 0


def _last_noon(town: TownRecord, now: datetime) -> datetime:
    zone = ZoneInfo(town.time_zone)
    return night_bounds(lighting_night(now, zone), zone)[0]


def _count(lamp: Ageing, stored: Burning, town: TownRecord, noon_ms: int) -> _Count:
    installed_ms = 0
    if lamp.installed_on:
        installed = local_day_bounds(date.fromisoformat(lamp.installed_on), ZoneInfo(town.time_zone))[0]
        installed_ms = to_unix_ms(installed)
    return _Count(lamp, stored, stored.of(lamp.installed_on, installed_ms), noon_ms)


def _keep(session: Session, counts: Sequence[_Count]) -> int:
    """Counts on and stores what changed. Returns how many luminaires get another output; then the inventory counts as
    changed."""
    lit_s = _lit_seconds(session, counts)
    reported = reported_by_gear(session, [count.lamp.uid for count in counts])
    changed: dict[str, Burning] = {}
    aged = 0
    for count in counts:
        lamp, burning = count.lamp, count.burning
        if burning.counted_until_ms < count.until_ms:
            burning = burning.counted(lit_s[lamp.uid], count.until_ms)
        if lamp.uid in reported:
            burning = burning.reported(reported[lamp.uid])
        if burning != count.stored:
            changed[lamp.uid] = burning
        before, after = (clo_permille(lamp.curve, b.hours(lamp.initial_hours)) for b in (count.stored, burning))
        aged += before != after
    keep_burning(session, changed)
    if aged:
        bump(session, INVENTORY)
    return aged


def _lit_seconds(session: Session, counts: Sequence[_Count]) -> dict[str, int]:
    """Seconds that luminaires were seen lit since they were counted last, by uid."""
    spans: dict[tuple[int, int], list[str]] = {}
    for count in counts:
        if count.burning.counted_until_ms < count.until_ms:
            spans.setdefault((count.burning.counted_until_ms, count.until_ms), []).append(count.lamp.uid)
    found: dict[str, int] = {}
    for (start_ms, end_ms), uids in spans.items():
        lit_s = energies(changes_of(session, uids, start_ms, end_ms), [_LIT] * len(uids), start_ms, end_ms).lit_s
        found.update(zip(uids, lit_s.tolist(), strict=True))
    return found
