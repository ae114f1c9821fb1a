"""What the luminaires of a group draw at which level, as lighting describes it, and what they show of a plan. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.level import FULL_PERMILLE, OFF_PERMILLE, PowerCurve
from domain.priority import safe_level


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of each night: by the local clock; without a begin, in seconds around the middle of the lit time."""

    begin: time | None = None
    end: time | None = None
    begin_offset_s: int = 0
    end_offset_s: int = 0


@dataclass(frozen=True, slots=True)
class LoadWindow:
    """When luminaires are reduced by something else than a command: light of all of them together, and power in W."""

    window: Window
    level_permille: int
    power_w: float


@dataclass(frozen=True, slots=True)
class LoadPart:
    """Luminaires that always show the same level: one sun (degrees, WGS84), one floor, dimmable or not.

    Power of all of them together in W runs straight between `levels_permille`, which ascend to 1000; below the first
    one it stays that of the first. standby_power_w: at level 0, of those whose gear stays supplied then.
    windows: none overlapping; outside them full light while lit. longest_ramp_s: a longer ramp is cut to it, 0 where
    they change at once; out of darkness and into it they ramp where their gear `stays_supplied`. cabinet: its name.
    """

    latitude_deg: float
    longitude_deg: float
    floor_permille: int
    dimmable: bool
    luminaires: int
    levels_permille: tuple[int, ...]
    powers_w: tuple[float, ...]
    standby_power_w: float = 0.0
    windows: tuple[LoadWindow, ...] = ()
    longest_ramp_s: int = 0
    stays_supplied: bool = False
    cabinet: str = ""

    def power_w(self, level_permille: ArrayLike) -> NDArray[np.float64]:
        """Power in W at levels."""
        levels = np.asarray(level_permille)
        power = np.interp(levels, self.levels_permille, self.powers_w)
        return np.where(levels == OFF_PERMILLE, self.standby_power_w, power)

    def shown(self, level_permille: int, *, civil_night: bool) -> int:
        """What they show where the plan says a level: lighting holds floors in the civil night (domain.priority)."""
        return safe_level(
            level_permille, floors_hold=civil_night, floor_permille=self.floor_permille, dimmable=self.dimmable
        )


@dataclass(frozen=True, slots=True)
class GroupLoad:
    """The parts of a group, and how many luminaires are guessed at, cannot be dimmed, are switched by others, or are
    reduced by something else at times that nobody knows. floor_known: False where nobody has said the floor."""

    parts: tuple[LoadPart, ...]
    luminaires: int
    estimated: int = 0
    undimmed: int = 0
    foreign: int = 0
    unknown_reduction: int = 0
    floor_known: bool = True

    @property
    def floor_permille(self) -> int:
        """The largest floor among those that may be dimmed: below it lighting refuses a plan. 0 where none may."""
        return max((part.floor_permille for part in self.parts if part.dimmable), default=0)

    @property
    def may_be_dark(self) -> bool:
        """True where a council's waiver leaves no floor: only then lighting takes a plan that is off at night."""
        return self.floor_known and any(part.dimmable for part in self.parts) and not self.floor_permille


def load_of(
    curve: PowerCurve, luminaires: int, latitude_deg: float, longitude_deg: float, floor_permille: int | None = None
) -> GroupLoad:
    """Luminaires of one model at one place, for a preview without a town. No standby: a contactor opens by day.

    floor_permille: None where nobody has said it, which lifts no level and lets no street be dark; 0 is a waiver.
    """
    part = LoadPart(
        latitude_deg,
        longitude_deg,
        floor_permille or 0,
        True,
        luminaires,
        tuple(level for level, _ in curve.points),
        tuple(luminaires * power * curve.rated_w / FULL_PERMILLE for _, power in curve.points),
    )
    return GroupLoad((part,), luminaires, floor_known=floor_permille is not None)


NO_LOAD: Final = GroupLoad((), 0)
