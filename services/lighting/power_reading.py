"""The power of some luminaires of a gateway at a time, read seldom: what the fault watch compares with their models.

Only settled, lit luminaires are read, and only over links that bear it: a connection that counts its bytes is left
alone. Not here: what is too much or too little (fault_lamps.py).
"""

from __future__ import annotations

import numpy as np

from fieldbus.values import PointAddress
from fieldbus.values import Quality as FieldQuality
from services.lighting.columns import Rows
from services.lighting.field import Link, Pace
from services.lighting.ground import Ground
from services.lighting.state import Quality


class PowerReader:
    """Goes through the luminaires of one gateway, a few at each turn."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._next = 0.0
        self._after = -1

    async def step(self, link: Link, pace: Pace, active: Rows) -> None:
        """Reads some, where that is time. `active`: luminaires with supply, read just now."""
        ground, limits = self._ground, self._ground.tuning.faults
        monotonic = ground.monotonic()
        first_last = link.gateway.power_range
        if first_last is None or pace.least_s > 0 or link.over_budget or monotonic < self._next:
            return
        self._next = monotonic + max(ground.tuning.poll_real_s, limits.power_every_s / ground.clock.speed)
        rows = self._choose(active, first_last, limits.power_at_once)
        if not rows.size:
            return
        addresses = ground.columns.address[rows].tolist()
        level, told = ground.state.lamps.actual[rows].copy(), ground.following.told[rows].copy()
        batch = await link.read(tuple(PointAddress("lamp_power", address) for address in addresses))
        if batch is None or ground.retired:
            return
        lamps, following = ground.state.lamps, ground.following
        same = (lamps.actual[rows] == level) & (following.told[rows] == told)
        good = same & (batch.quality <= FieldQuality.UNCERTAIN) & ~np.isnan(batch.values)
        ground.signs.power_read(
            rows[good], batch.values[good], ground.recorder.driven(rows[good], level[good]), ground.now_ms
        )

    def _choose(self, active: Rows, first_last: tuple[int, int], most: int) -> Rows:
        """The next lit and settled ones in a circle."""
        ground = self._ground
        lamps, following = ground.state.lamps, ground.following
        address = ground.columns.address[active]
        fit = (lamps.quality[active] == Quality.GOOD) & (lamps.actual[active] > 0)
        fit &= following.is_settled(active, ground.now_ms) & ~following.lamp_failure[active]
        fit &= (address >= first_last[0]) & (address <= first_last[1])
        rows = active[fit]
        start = int(np.searchsorted(rows, self._after, side="right")) if np.all(np.diff(rows) > 0) else 0
        chosen: Rows = np.concatenate([rows[start:], rows[:start]])[:most]
        if chosen.size:
            self._after = int(chosen[-1])
        return chosen
