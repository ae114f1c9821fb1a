"""What happened: counters at every quarter hour, and the light level of every lamp at any past instant.

Kept in memory and bounded; the physics does not need it, tests and the control interface do.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SLOT_S = 900
METER_SLOTS_KEPT = 4 * 24 * 800  # more than two years
LAMP_SLOTS_KEPT = 4 * 24 * 3
LEVEL_ENTRIES_KEPT = 1_000_000
LEVEL_CHANGES_KEPT = 60_000


class SlotLog:
    """Rows of values at quarter hours, oldest first; the oldest are dropped beyond `keep`."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._slots: list[float] = []
        self._rows: list[Sequence[float] | Floats] = []

    def append(self, slot: float, row: Sequence[float] | Floats) -> None:
        """Add a row; slots come in rising order."""
        self._slots.append(slot)
        self._rows.append(row)
        if len(self._slots) > 2 * self._keep:
            del self._slots[: -self._keep]
            del self._rows[: -self._keep]

    def at(self, slot: float) -> Sequence[float] | Floats | None:
        """The row of a slot, or None where there is none."""
        place = bisect_left(self._slots, slot)
        found = place < len(self._slots) and self._slots[place] == slot
        return self._rows[place] if found else None

    @property
    def slots(self) -> Sequence[float]:
        """The slots kept, rising."""
        return self._slots


@dataclass(frozen=True)
class _Change:
    """Some lamps' light from `t` on: a ramp from `start` to `target` until `until`."""

    t: float
    index: NDArray[np.intp]
    start: Floats
    target: Floats
    until: Floats


class LevelHistory:
    """Light levels of all lamps over time. The oldest changes are merged into one once there are too many."""

    def __init__(self, lamps: int) -> None:
        self._lamps = lamps
        self._changes: deque[_Change] = deque()
        self._entries = 0

    def record(self, t: float, index: NDArray[np.intp], start: Floats, target: Floats, until: Floats) -> None:
        """Note what some lamps do from `t` on."""
        self._changes.append(_Change(t, index, start, target, until))
        self._entries += index.size
        if self._entries > LEVEL_ENTRIES_KEPT or len(self._changes) > LEVEL_CHANGES_KEPT:
            self._merge()

    def levels_at(self, t: float) -> Floats:
        """Light of every lamp at an instant, per mille; NaN where the history does not reach back so far."""
        levels = np.full(self._lamps, math.nan)
        open_ = np.ones(self._lamps, dtype=np.bool_)
        missing = self._lamps
        for change in reversed(self._changes):
            if change.t > t:
                continue
            chosen = open_[change.index]
            index = change.index[chosen]
            if index.size:
                start, target, until = change.start[chosen], change.target[chosen], change.until[chosen]
                span = until - change.t
                share = np.divide(np.minimum(t, until) - change.t, span, out=np.ones_like(span), where=span > 0)
                levels[index] = start + (target - start) * share
                open_[index] = False
                missing -= index.size
                if missing == 0:
                    break
        return levels

    def _merge(self) -> None:
        """Fold the older half into one change at its end; ramps that are still under way then are cut there."""
        cut = list(self._changes)[len(self._changes) // 2].t
        levels = self.levels_at(cut)
        known = np.flatnonzero(~np.isnan(levels)).astype(np.intp)
        rest = [change for change in self._changes if change.t > cut]
        folded = _Change(cut, known, levels[known], levels[known], np.full(known.size, cut))
        self._changes = deque([folded, *rest])
        self._entries = sum(change.index.size for change in self._changes)
