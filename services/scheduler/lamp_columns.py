"""Parts of groups as columns: what many of them show and draw at a level, at once. Pure; one by one it is loads.py."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from domain.level import FULL_PERMILLE, OFF_PERMILLE
from services.scheduler.loads import LoadPart

Levels = NDArray[np.int64]
Floats = NDArray[np.float64]


class LampColumns:
    """Parts in the order in which they were given; arrays are [part, ...]."""

    def __init__(self, parts: Sequence[LoadPart]) -> None:
        self.luminaires = np.array([part.luminaires for part in parts], dtype=np.int64)
        self._floor = np.array([part.floor_permille for part in parts], dtype=np.int64)[:, None]
        self._dimmable = np.array([part.dimmable for part in parts], dtype=np.bool_)[:, None]
        self._standby_w = np.array([part.standby_power_w for part in parts], dtype=np.float64)[:, None]
        # Most lamps of a town have one of few models, and so their parts the same points: those are one table.
        rows: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for row, part in enumerate(parts):
            rows[part.levels_permille].append(row)
        self._tables = [
            (
                np.array(mine, dtype=np.intp),
                np.array(points, dtype=np.float64),
                np.array([parts[row].powers_w for row in mine], dtype=np.float64),
            )
            for points, mine in rows.items()
        ]

    @property
    def count(self) -> int:
        """Number of parts."""
        return int(self.luminaires.size)

    def shown(self, levels_permille: Sequence[int], *, civil_night: bool) -> Levels:
        """[part, level]: what they show where the plan says a level; `LoadPart.shown`."""
        asked = np.broadcast_to(np.array(levels_permille, dtype=np.int64), (self.count, len(levels_permille)))
        if civil_night:
            return np.where(self._dimmable, np.maximum(asked, self._floor), FULL_PERMILLE)
        return np.where(self._dimmable | (asked == OFF_PERMILLE), asked, FULL_PERMILLE)

    def power_w(self, levels_permille: Levels) -> Floats:
        """Power in W at levels [part, ...]; `LoadPart.power_w`."""
        found = np.empty(levels_permille.shape)
        for rows, points, powers in self._tables:
            levels = np.maximum(levels_permille[rows], points[0])
            upper = np.clip(np.searchsorted(points, levels), 1, max(points.size - 1, 1))
            if points.size == 1:
                found[rows] = np.broadcast_to(powers, levels.shape)
                continue
            share = (levels - points[upper - 1]) / (points[upper] - points[upper - 1])
            low, high = (np.take_along_axis(powers, at, axis=1) for at in (upper - 1, upper))
            found[rows] = low + share * (high - low)
        return np.where(levels_permille == OFF_PERMILLE, self._standby_w, found)
