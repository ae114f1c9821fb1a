"""What lamps draw and show of a plan's hours: levels, windows in which something else reduces them, ramps. In arrays.

Arrays are [part, month]. Not here: the hours themselves (sums.py, own_hours.py, ramps.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from domain.level import FULL_PERMILLE, OFF_PERMILLE
from services.scheduler.lamp_columns import Floats, LampColumns
from services.scheduler.loads import Window
from services.scheduler.nights import Courses, Ints
from services.scheduler.own_hours import window_sums
from services.scheduler.ramps import RampSums, has_ramps, ramps_of
from services.scheduler.sky import Seconds
from services.scheduler.sums import CivilNight, Months, Sums, Views, sums_of


@dataclass(frozen=True, eq=False)
class Hours:
    """Hours of a plan: by level, within windows, of ramps by the longest that gear can take."""

    levels: Sums
    windows: dict[Window, Sums] = field(default_factory=dict)
    ramps: dict[int, RampSums] = field(default_factory=dict)

    def equals(self, other: Hours) -> bool:
        """Whether both have the same seconds at each level."""
        mine, theirs = self.levels.levels, other.levels.levels
        return mine.keys() == theirs.keys() and all(np.array_equal(mine[level][0], theirs[level][0]) for level in mine)


class LampEnergy:
    """Parts, each seen in a view."""

    def __init__(self, lamps: LampColumns, part_view: Ints, months: Months) -> None:
        self._lamps, self._view, self._months = lamps, part_view, months
        self._windows: defaultdict[Window, list[tuple[int, int, float]]] = defaultdict(list)
        for row, windows in enumerate(lamps.windows):
            for each in windows:
                self._windows[each.window].append((row, each.level_permille, each.power_w))
        self._by_itself = np.array([bool(windows) for windows in lamps.windows], dtype=np.bool_)
        self._longest = [longest for longest in np.unique(lamps.longest_ramp_s).tolist() if longest]

    def hours(self, courses: Courses, views: Views, civil: CivilNight) -> tuple[Hours, Hours]:
        """All hours that these lamps ask for, while no sensor is active and while every one is."""
        levels = sums_of(courses, views, civil, self._months)
        windows = {window: window_sums(courses, views, civil, self._months, window) for window in self._windows}
        longest = self._longest if self._longest and has_ramps(courses) else []
        ramps = {each: ramps_of(courses, views, civil, self._months, each) for each in longest}
        quiet, active = (
            Hours(
                levels[which],
                {window: sums[which] for window, sums in windows.items()},
                {each: sums[which] for each, sums in ramps.items()},
            )
            for which in (0, 1)
        )
        return quiet, active

    def drawn(self, hours: Hours) -> tuple[Floats, Seconds]:
        """Ws, and seconds of lit luminaires."""
        energy_ws, lit = (np.zeros((self._lamps.count, self._months.count)) for _ in range(2))
        levels = sorted(hours.levels.levels)
        lit_of_one = self._lamps.luminaires[:, None]
        for civil_night in (False, True):
            shown = self._lamps.shown(levels, civil_night=civil_night)
            power_w = self._lamps.power_w(shown)
            for number, level in enumerate(levels):
                seconds = _seconds(hours.levels, level, civil_night)[self._view]
                energy_ws += power_w[:, number, None] * seconds
                lit += np.where(shown[:, number, None] != OFF_PERMILLE, lit_of_one * seconds, 0.0)
        self._reduce(hours, energy_ws)
        self._ramp(hours, energy_ws)
        return energy_ws, lit

    def _reduce(self, hours: Hours, energy_ws: Floats) -> None:
        """Takes off what lamps save in their own windows."""
        for window, sums in hours.windows.items():
            rows = np.array([row for row, _, _ in self._windows[window]], dtype=np.intp)
            inside_w = np.array([power for _, _, power in self._windows[window]])
            levels = sorted(sums.levels)
            for civil_night in (False, True):
                shown = self._lamps.shown(levels, civil_night=civil_night)
                saved_w = np.where(shown != OFF_PERMILLE, self._lamps.power_w(shown), 0.0)[rows]
                saved_w -= np.where(shown[rows] != OFF_PERMILLE, inside_w[:, None], 0.0)
                for number, level in enumerate(levels):
                    seconds = _seconds(sums, level, civil_night)[self._view[rows]]
                    energy_ws[rows] -= saved_w[:, number, None] * seconds

    def _ramp(self, hours: Hours, energy_ws: Floats) -> None:
        """Puts ramps in the place of the levels that they lead to."""
        for longest, sums in hours.ramps.items():
            mine = (self._lamps.longest_ramp_s == longest) & ~self._by_itself
            for (first, last, wanted), (total, civil) in sums.ramps.items():
                for civil_night, seconds in ((False, total - civil), (True, civil)):
                    shown = self._lamps.shown((first, last, wanted), civil_night=civil_night)
                    begin, end, goal = (shown[:, [each]] for each in range(3))
                    # Out of darkness and into it only with voltage: a contactor knows no ramp.
                    dark = (begin == OFF_PERMILLE) | (goal == OFF_PERMILLE)
                    ramps = mine[:, None] & (begin != goal) & (~dark | self._lamps.stays_supplied[:, None])
                    gained_w = self._lamps.mean_power_w(begin, end) - self._lamps.power_w(goal)
                    energy_ws += np.where(ramps, gained_w, 0.0) * seconds[self._view]

    def shown(self, hours: Hours) -> Iterable[tuple[Ints, Ints, Floats]]:
        """Parts, levels and seconds of luminaires that show them; some negative, to be summed up."""
        levels = sorted(hours.levels.levels)
        count = self._lamps.luminaires
        every = np.arange(self._lamps.count, dtype=np.intp)
        for civil_night in (False, True):
            shown = self._lamps.shown(levels, civil_night=civil_night)
            shown = np.where(self._by_itself[:, None] & (shown != OFF_PERMILLE), FULL_PERMILLE, shown)
            for number, level in enumerate(levels):
                seconds = _seconds(hours.levels, level, civil_night).sum(axis=1)[self._view]
                yield every, shown[:, number].astype(np.intp), seconds * count
        for window, sums in hours.windows.items():
            for row, reduced, _ in self._windows[window]:
                lit = 0.0
                for civil_night in (False, True):
                    levels = sorted(sums.levels)
                    shown = self._lamps.shown(levels, civil_night=civil_night)[row]
                    for number, level in enumerate(levels):
                        if shown[number] != OFF_PERMILLE:
                            lit += float(_seconds(sums, level, civil_night)[self._view[row]].sum())
                both = np.array([row, row], dtype=np.intp)
                yield both, np.array([FULL_PERMILLE, reduced], dtype=np.intp), np.array([-lit, lit]) * count[row]


def _seconds(sums: Sums, level: int, civil_night: bool) -> Seconds:
    total, civil = sums.levels[level]
    return civil if civil_night else total - civil
