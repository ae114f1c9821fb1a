"""A gateway whose lamps have no supply: is it still there? Asked now and then, so that one that dies by day is told by
day and not in the evening.

Most gateways stand in the cabinet and have a supply of their own; some hang behind the contactor with their lamps, and
their silence by day is none. Which is which is learned: whoever has answered while its lamps had been without supply
for a while has one of its own. Until then silence proves nothing. Not here: what is a fault (fault_places.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from fieldbus.values import PointAddress, Quality
from services.lighting.field import Link, Pace
from services.lighting.ground import Ground

_DARK_FOR_S: Final = 600.0
"""Domain seconds without supply until an answer proves something: capacitors and switching take their time."""
_EVERY_S: Final = 300.0
"""Domain seconds between two questions."""


class Asleep:
    """Asks one gateway while its lamps sleep."""

    def __init__(self, ground: Ground, gateway: int) -> None:
        self._ground, self._gateway = ground, gateway
        self._since_ms = 0
        self._asked_ms = 0

    def awake(self) -> None:
        """Some lamp of it has supply, or may have."""
        self._since_ms = 0

    async def step(self, link: Link, pace: Pace, points: tuple[PointAddress, ...]) -> None:
        """Asks where that is time and the link has bytes for it. points: of one lamp; only whether anything answers."""
        ground, now_ms = self._ground, self._ground.now_ms
        self._since_ms = self._since_ms or now_ms
        is_time = now_ms - self._since_ms >= _DARK_FOR_S * 1000 and now_ms - self._asked_ms >= _EVERY_S * 1000
        if not is_time or not points or link.over_budget or not pace.may_ask(ground.monotonic()):
            return
        self._asked_ms, pace.asked_at = now_ms, ground.monotonic()
        batch = await link.read(points)
        if ground.retired:
            return
        answered = batch is not None and not bool(np.all(batch.quality == Quality.MISSING))
        signs = ground.signs
        if answered:
            signs.own_supply[self._gateway] = True
        if bool(signs.own_supply[self._gateway]):
            signs.gateway_read(self._gateway, answered, ground.now_ms)
