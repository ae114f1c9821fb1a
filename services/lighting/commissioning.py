"""Levels that lamps take by themselves, when supply comes back or nobody speaks to them any more: written where they
differ, since the registers wear, and read back. A gateway's worker gives its turn for it, so that nothing else is on
the wire at the same time.

Gear that is dead by day is asked again until it answers. Not here: who asks for it (api/commissioning.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from domain.errors import LichtbuchError, Unavailable
from fieldbus.values import PointAddress, Quality, WriteRequest
from servicekit.clock import Clock
from servicekit.database import Database
from services.lighting.columns import Rows
from services.lighting.control import Control
from services.lighting.due import NOTHING_DUE
from services.lighting.field import Link
from services.lighting.ground import Ground
from services.lighting.metrics import WRITES
from services.lighting.records import ProtectionSeen, ProtectionWish
from services.lighting.state import Power, Switch
from services.lighting.store.protection import note_seen, pending_wishes

_log = logging.getLogger(__name__)

TURN_EVERY_S: Final = 2.0
"""Real seconds between two looks at what is asked for."""
ASK_AGAIN_S: Final = 300.0
"""Seconds of domain time until a gateway is tried again whose lamps did not answer."""
POINTS: Final = ("level_power_on", "level_communication_loss")
_AT_ONCE: Final = 64
"""Luminaires: a line of gear."""


class Protector:
    """Sees to it that lamps get the levels that are asked for, while this process holds the field."""

    def __init__(
        self, database: Database, control: Control, clock: Clock, *, ready: Callable[[], bool] = lambda: True
    ) -> None:
        self._database, self._control, self._clock, self._ready = database, control, clock, ready
        self._tried: dict[tuple[str, int], float] = {}
        """By gateway and by what was asked when: when it was tried last."""

    async def keep(self, beat: Callable[[], None]) -> None:
        """The loop, for ever. A database that is away does not end it."""
        while True:
            try:
                await self.turn()
            except LichtbuchError as error:
                _log.debug("protection waits for the database: %s", error)
            beat()
            await self._clock.sleep_real(TURN_EVERY_S)

    async def turn(self) -> None:
        """One look: gateways with luminaires that wait for it are visited. Raises where the database is away."""
        if not self._control.holds_field:
            self._tried.clear()
            return
        if not self._ready():
            raise Unavailable("the database has not been there yet", 5.0)
        wishes = await self._database.read(pending_wishes)
        by_gateway: dict[str, list[ProtectionWish]] = {}
        for wish in wishes:
            by_gateway.setdefault(wish.gateway_uid, []).append(wish)
        self._tried = {key: at for key, at in self._tried.items() if key[0] in by_gateway}
        for gateway_uid, mine in by_gateway.items():
            await self._visit(gateway_uid, mine)

    async def _visit(self, gateway_uid: str, wishes: list[ProtectionWish]) -> None:
        """Reads, writes and reads back at one gateway, unless it was tried just now or is busy."""
        key = (gateway_uid, max(wish.asked_ms for wish in wishes))
        now_s = self._clock.now().timestamp()
        if 0 <= now_s - self._tried.get(key, -ASK_AGAIN_S) < ASK_AGAIN_S:  # not of a clock that was set back
            return
        for first in range(0, len(wishes), _AT_ONCE):  # the worker has its turn in between
            seen: list[ProtectionSeen] = []
            errand = partial(_errand, wishes[first : first + _AT_ONCE], seen)
            if not await self._control.lend(gateway_uid, errand):
                return
            if seen:
                await self._database.run(partial(note_seen, seen=seen))
        self._tried[key] = now_s


async def _errand(wishes: Sequence[ProtectionWish], seen: list[ProtectionSeen], ground: Ground, link: Link) -> None:
    seen.extend(await protect(ground, link, wishes))


@dataclass(frozen=True, eq=False)
class _Asked:
    """A wish with the row of its luminaire and its address."""

    wish: ProtectionWish
    row: int
    address: int


async def protect(ground: Ground, link: Link, wishes: Sequence[ProtectionWish]) -> list[ProtectionSeen]:
    """Brings luminaires of one gateway to the levels that are wanted. Those that did not answer, and those that nothing
    may be written to now (no supply, locked out, switch in 0), are left out: they are still to be asked."""
    columns = ground.columns
    asked = [
        _Asked(wish, row, int(columns.address[row]))
        for wish in wishes
        if (row := columns.row_of.get(wish.luminaire_uid)) is not None
    ]
    if not link.may_test or not asked:
        return []
    known = [name for name in POINTS if link.profile.readable(name)]
    able = [name for name in POINTS if link.profile.readable(name) and link.profile.writable(name)]
    if len(able) < len(POINTS):
        # One of the two alone protects nothing: what there is, is shown.
        return await _look(ground, link, _reachable(ground, asked), known, supported=False)
    before = await _look(ground, link, _reachable(ground, asked), known)
    found = [seen for seen in before if seen.confirmed]
    differs = {seen.luminaire_uid for seen in before if not seen.confirmed}
    # Asked once more: a feeder may have been locked out meanwhile.
    rest = [a for a in _reachable(ground, asked) if a.wish.luminaire_uid in differs]
    if rest and await _write(ground, link, rest, before):
        found += await _look(ground, link, rest, known)
    return found


def _reachable(ground: Ground, asked: list[_Asked]) -> list[_Asked]:
    """Those that have supply, are not locked out, and whose cabinet's switch is not in 0."""
    due = ground.due
    if due is None or ground.retired:
        return []
    rows: Rows = np.array([a.row for a in asked], dtype=np.intp)
    cabinet = ground.columns.cabinet[rows]
    stopped = np.zeros(rows.size, dtype=np.bool_)
    if ground.switch.size:
        stopped = (cabinet >= 0) & (ground.switch[np.maximum(cabinet, 0)] == Switch.OFF)
    free = (due.level[rows] != NOTHING_DUE) & (ground.supply_of(rows) != Power.OFF) & ~stopped
    free &= ground.columns.commanded[rows]  # what no command reduces is only observed
    return [a for a, may in zip(asked, free.tolist(), strict=True) if may]


async def _look(
    ground: Ground, link: Link, asked: list[_Asked], known: list[str], *, supported: bool = True
) -> list[ProtectionSeen]:
    """What is stored now; luminaires that did not answer are left out, but where nothing can be read of any."""
    points = tuple(PointAddress(name, a.address) for name in known for a in asked)
    values: dict[PointAddress, float] = {}
    if points:
        batch = await link.read(points)
        if batch is None:
            return []
        good = batch.quality == Quality.GOOD
        values = {p: float(v) for p, v, ok in zip(batch.points, batch.values, good, strict=True) if ok}
    found = []
    for a in asked:
        read = [values.get(PointAddress(name, a.address)) for name in POINTS]
        levels = [None if value is None else round(value) for value in read]
        if known and not any(PointAddress(name, a.address) in values for name in known):
            continue  # one of the two alone may be unreadable: gear that was told "as before" shows no level
        wanted = (a.wish.power_on_permille, a.wish.communication_loss_permille)
        confirmed = supported and all(_same(link, w, r) for w, r in zip(wanted, levels, strict=True))
        found.append(
            ProtectionSeen(a.wish.luminaire_uid, a.wish.asked_ms, ground.now_ms, supported, confirmed, *levels)
        )
    return found


def _same(link: Link, wanted: int, read: int | None) -> bool:
    """Whether a level reads back as it is wanted: after the device's own steps."""
    if read is None or read < 0 or (wanted == 0) != (read == 0):
        return False
    return abs(read - int(link.gateway.expected[wanted])) <= int(link.gateway.tolerance[wanted])


async def _write(ground: Ground, link: Link, asked: list[_Asked], before: Sequence[ProtectionSeen]) -> bool:
    """Writes what differs, if it may still be written. True if anything was sent."""
    due = ground.due
    if due is None or not ground.may_write(due):
        return False
    old = {seen.luminaire_uid: seen for seen in before}
    requests = []
    for a in asked:
        seen = old[a.wish.luminaire_uid]
        for name, wanted, read in (
            (POINTS[0], a.wish.power_on_permille, seen.read_power_on),
            (POINTS[1], a.wish.communication_loss_permille, seen.read_communication_loss),
        ):
            if not _same(link, wanted, read):
                requests.append(WriteRequest(PointAddress(name, a.address), float(wanted)))
    for result in await link.write(requests, verify=True, test=True):
        WRITES.labels("protection", str(result.outcome)).inc()
    return True
