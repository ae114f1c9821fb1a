"""What one reading of a gateway says of its luminaires, in columns. Not here: what follows from it (gateway.py)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldbus.values import Quality, ValueBatch
from services.lighting.columns import Flags, Levels, Rows
from services.lighting.field import Link
from services.lighting.state import UNKNOWN_LEVEL


@dataclass(frozen=True, slots=True)
class LampReading:
    """What was heard of some luminaires."""

    rows: Rows
    level: Levels
    """Per mille; UNKNOWN_LEVEL where the gear did not answer."""
    moving: Flags
    lamp_failure: Flags
    gear_failure: Flags
    at_ms: NDArray[np.int64]

    def without(self, rows: Rows) -> LampReading:
        """What was heard of all but these."""
        if not rows.size:
            return self
        kept = ~np.isin(self.rows, rows)
        return LampReading(
            self.rows[kept], self.level[kept], self.moving[kept], self.lamp_failure[kept], self.gear_failure[kept],
            self.at_ms[kept],
        )  # fmt: skip


def parse(batch: ValueBatch, rows: Rows, link: Link) -> tuple[LampReading, Rows]:
    """A reading of level and flags of the same luminaires, in this order; and the luminaires that were not asked for
    because the link has carried its bytes for now: of these the reading says nothing."""
    names = (link.gateway.level_point, *link.gateway.flags)
    values = batch.values.reshape(len(names), rows.size)
    quality = batch.quality.reshape(values.shape)
    usable = quality <= Quality.UNCERTAIN
    flags = {name: usable[index] & (np.nan_to_num(values[index]) != 0) for index, name in enumerate(names) if index > 0}
    none = np.zeros(rows.size, dtype=np.bool_)
    gear_failure = flags.get("gear_failure", none)
    answered = usable[0] & ~gear_failure
    level = np.where(answered, np.rint(np.nan_to_num(values[0])), UNKNOWN_LEVEL).astype(np.int16)
    unasked = (quality == Quality.MISSING).any(axis=0) & link.over_budget
    heard = ~unasked
    return LampReading(
        rows=rows[heard],
        level=level[heard],
        moving=flags.get("fade_running", none)[heard],
        lamp_failure=flags.get("lamp_failure", none)[heard],
        gear_failure=gear_failure[heard],
        at_ms=batch.observed_at.reshape(values.shape)[0][heard],
    ), rows[unasked]
