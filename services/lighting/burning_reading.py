"""Burning hours as gear reports them, of luminaires whose light Lichtbuch keeps constant: each asked once a night.

Only lit luminaires are asked, a few at a time, and only over links that bear it: a connection that counts its bytes is
left alone. Not here: what follows from it (burning.py, ageing.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from domain.plan import to_unix_ms
from fieldbus.values import PointAddress
from fieldbus.values import Quality as FieldQuality
from services.lighting.columns import Rows
from services.lighting.fault_kinds import HOUR_MS
from services.lighting.field import Link, Pace
from services.lighting.ground import Ground
from services.lighting.state import Quality

_AGAIN_AFTER_MS: Final = 20 * HOUR_MS
"""Less than a day, lest the hour at which a lamp is asked moves on from night to night."""
_AT_ONCE: Final = 16


class BurningReader:
    """Goes through the luminaires of one gateway."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    async def step(self, link: Link, pace: Pace, active: Rows) -> None:
        """Asks some of those that were not asked this night. `active`: luminaires with supply, read just now."""
        ground = self._ground
        first_last = link.gateway.hours_range
        if first_last is None or pace.least_s > 0 or link.over_budget:
            return
        columns, lamps, signs, now_ms = ground.columns, ground.state.lamps, ground.signs, to_unix_ms(ground.clock.now())
        rows = active[columns.ages[active]]
        if not rows.size:
            return
        address = columns.address[rows]
        fit = (lamps.quality[rows] == Quality.GOOD) & (lamps.actual[rows] > 0)
        fit &= (address >= first_last[0]) & (address <= first_last[1])
        fit &= signs.burning_asked_ms[rows] <= now_ms - _AGAIN_AFTER_MS
        rows = rows[fit][:_AT_ONCE]
        if not rows.size:
            return
        signs.burning_asked_ms[rows] = now_ms
        batch = await link.read(tuple(PointAddress("burning_hours", a) for a in columns.address[rows].tolist()))
        if batch is None or ground.retired:
            return
        good = (batch.quality <= FieldQuality.UNCERTAIN) & (np.nan_to_num(batch.values, nan=-1.0) >= 0)
        signs.burning_s[rows[good]] = batch.values[good]
