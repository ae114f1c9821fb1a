"""What the lamps of the simulator really did, change by change and without a gap: nothing is sampled.

Stands in for the simulator's own history, which keeps some days. A fade counts as done when it begins; what burned is
counted by the lamps themselves to the second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.history import LevelHistory
from simulator.world import World

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Span:
    """What was seen from `start_s` until `end_s`. `levels[n]` holds from `instants[n]` until the next one, per lamp."""

    start_s: float
    end_s: float
    instants: Floats
    levels: Floats
    burning_s: Floats
    energy_wh: Floats

    def at(self, instants: Floats) -> Floats:
        """Levels of all lamps at instants within the span."""
        found: Floats = self.levels[np.searchsorted(self.instants, instants, side="right") - 1]
        return found

    @property
    def lengths_s(self) -> Floats:
        """How long each row of `levels` holds."""
        lengths: Floats = np.diff(np.append(self.instants, self.end_s))
        return lengths


class Witness(LevelHistory):
    """Takes the place of a world's history, and hands out what was seen since the last time."""

    def __init__(self, world: World) -> None:
        super().__init__(len(world.town.luminaires))
        self._world = world
        self._seen: list[tuple[float, Rows, Floats]] = []
        self._since = world.now
        self._light = self._burning = self._energy = np.empty(0)
        world.history = self
        self._begin()

    def record(self, t: float, index: Rows, start: Floats, target: Floats, until: Floats) -> None:
        """Notes what some lamps do from `t` on."""
        self._seen.append((t, index, target))

    def take(self) -> Span:
        """What was seen since the last time, until now."""
        world = self._world
        instants = np.unique(np.array([self._since, *(t for t, _, _ in self._seen)]))
        levels = np.empty((instants.size, self._light.size))
        light, place = self._light.copy(), 0
        for row, instant in enumerate(instants.tolist()):
            while place < len(self._seen) and self._seen[place][0] <= instant:
                _, index, target = self._seen[place]
                light[index] = target
                place += 1
            levels[row] = light
        burning, energy = world.lamps.burning_s(world.now), world.lamps.energy_wh(world.now)
        span = Span(self._since, world.now, instants, levels, burning - self._burning, energy - self._energy)
        self._begin()
        return span

    def _begin(self) -> None:
        world = self._world
        self._seen.clear()
        self._since = world.now
        self._light = world.lamps.light_level(world.now)
        self._burning, self._energy = world.lamps.burning_s(world.now), world.lamps.energy_wh(world.now)
