"""Luminaires that blink so that a person at the pole sees which address it is: laid over what is due, as a function of
time. Pure.

It is an order with an end like any other, so that it ends by itself, outlives a restart and is never taken for a lamp
that does not follow. Lock-outs, emergency and maintenance stand above it. Not here: whether a luminaire may blink
(api/commissioning.py) and what is written to it (gateway.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.level import FULL_PERMILLE, OFF_PERMILLE
from services.lighting.columns import Columns, Flags, Levels, Rows
from services.lighting.records import IdentificationRecord

PHASE_MS: Final = 3000
"""So long it stays bright, and so long dim: gear fades for up to two seconds."""
LEAST_LOW_PERMILLE: Final = 100
"""By night it never goes darker, even where a waiver allows it: nobody is to stand in the dark for a test."""
LARGEST_LOW_PERMILLE: Final = 800
"""A floor above this leaves a blink that nobody sees."""
GIVE_BACK_MS: Final = 120_000
"""So long after the end a luminaire whose gateway is only tested may still be told its due level: it gets it back."""
_NEVER: Final = 2**62


def low_permille(floor_permille: int, *, dimmable: bool, night: bool) -> int:
    """The lower of the two levels: off by day, by night the floor, and full light where nothing may be dimmed."""
    if not night:
        return OFF_PERMILLE
    return max(floor_permille, LEAST_LOW_PERMILLE) if dimmable else FULL_PERMILLE


@dataclass(frozen=True, eq=False)
class Blink:
    """What blinks at an instant. `rows` are due `bright` (full) or else low; `tested` may be written in a test."""

    rows: Rows
    bright: Flags
    tested: Rows

    def levels(self, floor: Levels, dimmable: Flags, night: Flags) -> Levels:
        """The levels of `rows`; arguments per luminaire of the town."""
        lit = np.maximum(floor[self.rows], LEAST_LOW_PERMILLE)
        low = np.where(night[self.rows], np.where(dimmable[self.rows], lit, FULL_PERMILLE), OFF_PERMILLE)
        return np.where(self.bright, FULL_PERMILLE, low).astype(np.int16)


class Identifying:
    """The luminaires of a town that blink, now or soon."""

    def __init__(self, columns: Columns, records: Sequence[IdentificationRecord]) -> None:
        known = [(columns.row_of[r.luminaire_uid], r) for r in records if r.luminaire_uid in columns.row_of]
        self._rows: Rows = np.array([row for row, _ in known], dtype=np.intp)
        self._start: NDArray[np.int64] = np.array([r.start_ms for _, r in known], dtype=np.int64)
        self._end: NDArray[np.int64] = np.array([r.end_ms for _, r in known], dtype=np.int64)

    def at(self, now_ms: int) -> Blink | None:
        """What blinks; None where nothing does and nothing is given back."""
        if not self._rows.size:
            return None
        tested = (self._start <= now_ms) & (now_ms < self._end + GIVE_BACK_MS)
        if not tested.any():
            return None
        holds = tested & (now_ms < self._end)
        # Counted from the end: the last phase is bright, whatever the length.
        bright = self._phases_left(now_ms)[holds] % 2 == 0
        return Blink(self._rows[holds], bright, self._rows[tested])

    def next_change(self, now_ms: int) -> int:
        """The next instant after `now_ms` at which one begins, turns or ends; far away where none does."""
        if not self._rows.size:
            return _NEVER
        turns = np.where(self._start > now_ms, self._start, self._end - self._phases_left(now_ms) * PHASE_MS)
        turns = turns[self._end > now_ms]
        return int(turns.min(initial=_NEVER))

    def _phases_left(self, now_ms: int) -> NDArray[np.int64]:
        """Phases after the one of now."""
        left: NDArray[np.int64] = (self._end - now_ms - 1) // PHASE_MS
        return left
