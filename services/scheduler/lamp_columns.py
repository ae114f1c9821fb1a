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
        self.windows = [part.windows for part in parts]
        self.longest_ramp_s = np.array([part.longest_ramp_s for part in parts], dtype=np.int64)
        self.stays_supplied = np.array([part.stays_supplied for part in parts], dtype=np.bool_)

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

    def mean_power_w(self, first_permille: Levels, last_permille: Levels) -> Floats:
        """Mean power in W while the level goes straight from the first to the last, lit all the way, [part, ...].

        Exact, for power runs straight between levels.
        """
        low, high = np.minimum(first_permille, last_permille), np.maximum(first_permille, last_permille)
        ways = np.where(high > low, high - low, 1)
        energy = self._up_to(high) - self._up_to(low)
        return np.where(high > low, energy / ways, self.power_w(first_permille))

    def _up_to(self, levels_permille: Levels) -> Floats:
        """Power summed over the levels from 0 up to one: W times per mille."""
        found = np.empty(levels_permille.shape)
        for rows, points, powers in self._tables:
            levels = levels_permille[rows]
            steps = np.diff(points) * (powers[:, 1:] + powers[:, :-1]) / 2
            whole = np.cumsum(np.concatenate([powers[:, :1] * points[0], steps], axis=1), axis=1)
            upper = np.clip(np.searchsorted(points, levels, side="right"), 1, max(points.size - 1, 1))
            beyond = np.maximum(levels - points[upper - 1], 0)
            if points.size == 1:
                found[rows] = np.where(levels < points[0], powers * levels, whole)
                continue
            low, high = (np.take_along_axis(powers, at, axis=1) for at in (upper - 1, upper))
            slope = (high - low) / (points[upper] - points[upper - 1])
            above = np.take_along_axis(whole, upper - 1, axis=1) + low * beyond + slope * beyond**2 / 2
            found[rows] = np.where(levels < points[0], powers[:, :1] * levels, above)
        return found
