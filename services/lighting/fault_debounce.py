"""From verdicts to faults: bad is raised once it was seen often and long enough, good clears it likewise. In columns.

Row i is one subject; there is one of these per kind. Pure. Not here: what is bad (fault_lamps.py, fault_places.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.lighting.columns import Flags, Rows
from services.lighting.fault_kinds import Rule, Verdict

Verdicts = NDArray[np.int8]
Instants = NDArray[np.int64]

_MOST: Final = 30_000
_KEPT: Final = ("open", "_sign", "_count", "_lasted_ms", "_since_ms", "_looked_ms")


class Debounce:
    """What is known of one kind of fault on many subjects."""

    def __init__(self, count: int) -> None:
        self.open: Flags = np.zeros(count, dtype=np.bool_)
        """Where a fault stands."""
        self._sign = np.zeros(count, dtype=np.int8)
        """1 while bad is seen, -1 while good is; 0 for nothing worth counting."""
        self._count = np.zeros(count, dtype=np.int16)
        self._lasted_ms = np.zeros(count, dtype=np.int64)
        self._since_ms = np.zeros(count, dtype=np.int64)
        """Last look of the same sign without anything unknown since; 0 where there is none."""
        self._looked_ms = np.zeros(count, dtype=np.int64)

    def take_over(self, other: Debounce, pairs: tuple[Rows, Rows]) -> None:
        """Keeps what is known of subjects that stay: rows there, rows here."""
        there, here = pairs
        for name in _KEPT:
            getattr(self, name)[here] = getattr(other, name)[there]

    def judge(self, verdict: Verdicts, looked_ms: Instants, rule: Rule) -> tuple[Rows, Rows]:
        """Takes one look at every subject; `looked_ms` says when each was read last, and a reading counts once.

        Returns the rows on which a fault is raised by it, and those on which one is cleared.
        """
        rows = np.flatnonzero((verdict == Verdict.BAD) | self.open | (self._sign != 0))
        seen, at_ms = verdict[rows], looked_ms[rows]
        self._since_ms[rows[seen == Verdict.UNKNOWN]] = 0
        # Another instant, not a later one: the clock may have been set back.
        new = (seen != Verdict.UNKNOWN) & (at_ms != self._looked_ms[rows])
        rows, seen, at_ms = rows[new], seen[new], at_ms[new]
        sign = np.where(seen == Verdict.BAD, 1, -1).astype(np.int8)
        again = self._sign[rows] == sign
        known_ms = self._since_ms[rows]
        step_ms = np.where(again & (known_ms > 0), np.maximum(at_ms - known_ms, 0), 0)
        lasted_ms = np.where(again, self._lasted_ms[rows], 0) + step_ms
        count = np.where(again, np.minimum(self._count[rows] + 1, _MOST), 1)
        self._sign[rows], self._count[rows], self._lasted_ms[rows] = sign, count, lasted_ms
        self._since_ms[rows], self._looked_ms[rows] = at_ms, at_ms

        stands, enough = self.open[rows], count >= rule.readings
        raised = rows[(sign > 0) & ~stands & enough & (lasted_ms >= rule.bad_ms)]
        needed_ms = np.where(seen == Verdict.PLAUSIBLE, rule.plausible_ms, rule.good_ms)
        cleared = rows[(sign < 0) & stands & enough & (lasted_ms >= needed_ms)]
        self.open[raised] = True
        self.open[cleared] = False
        idle = rows[(sign < 0) & ~self.open[rows]]
        self._sign[idle], self._count[idle], self._lasted_ms[idle] = 0, 0, 0
        return raised, cleared

    def stands_on(self, rows: Rows) -> None:
        """Faults stand there, as the book says: they were raised before this process looked."""
        self.open[rows] = True

    def drop(self, rows: Rows) -> None:
        """Nothing stands there any more, and nothing is held against it."""
        self.open[rows] = False
        self._sign[rows], self._count[rows], self._lasted_ms[rows] = 0, 0, 0

    @property
    def is_bad(self) -> Flags:
        """Where bad was seen last and a fault stands."""
        bad: Flags = self.open & (self._sign > 0)
        return bad
