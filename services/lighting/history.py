"""Level history: changes, not samples. Turns what was told and what was observed into the changes worth keeping. Pure.

A level that was told counts from the moment the device acknowledged it, with the value that it reads back later; what
was never confirmed does not count. Recorded is what drivers drive: a command, less what they take off by themselves.
Where nobody watched and the level afterwards is another one, the time between is unknown (-1) and not guessed.
Not here: keeping the changes (spool.py, store/history.py), energy (energy.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.level import FULL_PERMILLE
from services.lighting.columns import Flags, Levels, Rows
from services.lighting.written_level import written_levels

UNKNOWN: Final = -1
NEVER: Final = -2
"""Nothing was recorded of this luminaire yet."""

_NO_TIME: Final = -(2**62)


@dataclass(frozen=True, slots=True)
class Change:
    """From `at_ms` on this level (-1 unknown), powered or not."""

    uid: str
    at_ms: int
    level_permille: int
    powered: bool


class LevelRecorder:
    """What is recorded of each luminaire, and the changes not yet taken. Rows are those of the columns."""

    def __init__(self, uids: tuple[str, ...], inner: Levels | None = None) -> None:
        """inner: what drivers make of commands by themselves, in per mille; None for nothing. What is recorded is what
        they drive, for energy follows that."""
        count = len(uids)
        self.uids = uids
        self._inner = inner if inner is not None and bool((inner < FULL_PERMILLE).any()) else None
        self.level = np.full(count, NEVER, dtype=np.int16)
        self.powered = np.zeros(count, dtype=np.bool_)
        self._last_ms = np.full(count, _NO_TIME, dtype=np.int64)
        # Recorded by an earlier run, and not looked at since.
        self._unsure = np.zeros(count, dtype=np.bool_)
        self._watched_until_ms = _NO_TIME
        self._told = np.full(count, UNKNOWN, dtype=np.int16)
        self._told_ms = np.zeros(count, dtype=np.int64)
        self._changes: list[Change] = []

    def resume(self, last: dict[str, Change], watched_until_ms: int) -> None:
        """Takes up what an earlier run recorded, and until when it watched; only for luminaires not seen yet."""
        self._watched_until_ms = watched_until_ms
        for row, uid in enumerate(self.uids):
            change = last.get(uid)
            if change is not None and self.level[row] == NEVER:
                self.level[row] = change.level_permille
                self.powered[row] = change.powered
                self._last_ms[row] = change.at_ms
                self._unsure[row] = True

    def moved_to(self, uids: tuple[str, ...], inner: Levels | None = None) -> LevelRecorder:
        """The same knowledge over another set of luminaires; changes not yet taken go along."""
        other = LevelRecorder(uids, inner)
        old = {uid: row for row, uid in enumerate(self.uids)}
        pairs = [(old[uid], row) for row, uid in enumerate(uids) if uid in old]
        if pairs:
            source, target = (np.array(side, dtype=np.intp) for side in zip(*pairs, strict=True))
            for name in ("level", "powered", "_last_ms", "_unsure", "_told", "_told_ms"):
                getattr(other, name)[target] = getattr(self, name)[source]
        other._watched_until_ms = self._watched_until_ms
        other._changes = self._changes
        return other

    def told(self, rows: Rows, level_permille: NDArray[np.int16], at_ms: int) -> None:
        """Devices acknowledged levels at an instant."""
        level_permille = self.driven(rows, level_permille)
        told = self._told[rows]
        overtaken = rows[(told != UNKNOWN) & (told != level_permille)]
        for row in overtaken.tolist():
            # The next command came before the last one was confirmed: it held in between, as far as anybody knows.
            self._emit(row, int(self._told_ms[row]), int(self._told[row]), True)
        self._told[overtaken] = UNKNOWN
        new = (self._told[rows] == UNKNOWN) & (level_permille != self.level[rows])
        self._told[rows[new]] = level_permille[new]
        self._told_ms[rows[new]] = at_ms

    def observed(self, rows: Rows, level_permille: NDArray[np.int16], confirmed: Flags, at_ms: int) -> None:
        """Settled levels were read. `confirmed`: the level is what was told, as well as the device can hold it."""
        level_permille = self.driven(rows, level_permille)
        same = (self.level[rows] == level_permille) & self.powered[rows]
        self._unsure[rows[same]] = False
        self._told[rows[same]] = UNKNOWN
        new = ~same
        for row, level, as_told in zip(
            rows[new].tolist(), level_permille[new].tolist(), confirmed[new].tolist(), strict=True
        ):
            told_ms = int(self._told_ms[row]) if self._told[row] != UNKNOWN and as_told else at_ms
            self._told[row] = UNKNOWN
            self._contradicted(row)
            self._emit(row, told_ms, level, True)

    def supply(self, rows: Rows, powered: bool, level_permille: int, at_ms: int) -> None:
        """Supply was seen to come, and the gear starts at a level; or it is off, and the lamps are dark."""
        levels = self.driven(rows, np.full(rows.size, level_permille, dtype=np.int16)).tolist()
        for row, level in zip(rows.tolist(), levels, strict=True):
            if self.powered[row] == powered and self.level[row] not in (NEVER, UNKNOWN):
                if not powered:
                    self._unsure[row] = False
                    self._told[row] = UNKNOWN
                continue
            self._contradicted(row)
            self._told[row] = UNKNOWN
            self._emit(row, at_ms, level if powered else 0, powered)

    def lost(self, rows: Rows, since_ms: int) -> None:
        """Nothing is known of these luminaires since an instant: their gateway has been silent."""
        for row in rows.tolist():
            if self._told[row] != UNKNOWN:
                self._emit(row, int(self._told_ms[row]), int(self._told[row]), True)
                self._told[row] = UNKNOWN
            if self.level[row] not in (UNKNOWN, NEVER):
                self._emit(row, since_ms, UNKNOWN, bool(self.powered[row]))

    def driven(self, rows: Rows, command: Levels) -> Levels:
        """What drivers drive on commands, all in per mille of rated output."""
        if self._inner is None:
            return command
        return written_levels(command, self._inner[rows], np.zeros(rows.size, dtype=np.int16))

    def take(self) -> list[Change]:
        """The changes since the last time, oldest first for each luminaire."""
        changes, self._changes = self._changes, []
        return changes

    def _contradicted(self, row: int) -> None:
        """An earlier run's last word does not hold any more: since that run stopped watching nothing is known."""
        if self._unsure[row]:
            self._unsure[row] = False
            if self.level[row] != UNKNOWN:
                self._emit(row, self._watched_until_ms, UNKNOWN, bool(self.powered[row]))

    def _emit(self, row: int, at_ms: int, level: int, powered: bool) -> None:
        # Strictly rising, whatever order answers came in.
        at_ms = max(at_ms, int(self._last_ms[row]) + 1)
        self._last_ms[row] = at_ms
        self.level[row] = level
        self.powered[row] = powered
        self._changes.append(Change(self.uids[row], at_ms, level, powered))
