"""What the luminaires of a group draw at which level, summed into parts that always show the same level. Pure.

A part has one sun, one floor, and may be dimmed or not, as control sees it (columns.py): whoever knows a group's plan
and its parts can say what its lamps will show and draw. Not here: what they drew (energy.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.level import FULL_PERMILLE, PowerCurve
from services.lighting.columns import NONE, Columns, Levels, Rows
from services.lighting.energy import Drawn
from services.lighting.own_reduction import OwnWindow, OwnWindows
from services.lighting.records import WaiverRecord
from services.lighting.waiver import WaivedSpan, floor_over
from services.lighting.written_level import light_level, written_level


@dataclass(frozen=True, slots=True)
class LoadWindow:
    """A stretch of the night in which they draw less by themselves, and the power of all of them together then."""

    window: OwnWindow
    power_w: float


@dataclass(frozen=True, slots=True)
class LoadPart:
    """Luminaires that always show the same level. Degrees (WGS84) of their sun; powers in W of all of them together.

    Power runs straight between `levels_permille`, which ascend to 1000; below the first one it stays that of the first.
    standby_power_w: at level 0, of those whose gear stays supplied then.
    """

    latitude_deg: float
    longitude_deg: float
    floor_permille: int
    dimmable: bool
    luminaires: int
    levels_permille: tuple[int, ...]
    powers_w: tuple[float, ...]
    standby_power_w: float
    windows: tuple[LoadWindow, ...] = ()
    """Where something else than a command reduces them: outside these full light while lit."""
    longest_ramp_s: int = 0
    """The longest ramp that their gear follows; 0 where they change at once."""
    stays_supplied: bool = False
    """Whether their gear has voltage at level 0, so that it ramps out of darkness and into it."""
    cabinet: int = NONE
    """Row of their cabinet."""


@dataclass(frozen=True, slots=True)
class GroupLoad:
    """The parts of a group, and how many of its luminaires are guessed at, cannot be dimmed, are switched by others, or
    are reduced by something else at times that nobody knows."""

    parts: tuple[LoadPart, ...]
    luminaires: int
    estimated: int
    undimmed: int
    foreign: int
    unknown_reduction: int = 0


@dataclass(frozen=True, slots=True)
class GearKnown:
    """What is known of gear beside the columns. own_windows: by uid of the luminaires that no command reduces, None for
    unknown. longest_ramp_s: by row of the endpoint of their gateway."""

    own_windows: Mapping[str, OwnWindows | None] = field(default_factory=dict)
    longest_ramp_s: Mapping[int, int] = field(default_factory=dict)


def floors_over(columns: Columns, waivers: Iterable[WaiverRecord], start_ms: int, end_ms: int) -> Levels:
    """The floor of every luminaire that holds at any instant of [start, end), as plans are held to (waiver.floor_over).

    Unix ms. Waivers lower it as far as they hold all the time.
    """
    spans: defaultdict[int, list[WaivedSpan]] = defaultdict(list)
    for waiver in waivers:
        span = WaivedSpan(waiver.uid, waiver.floor_permille, waiver.start_ms, waiver.end_ms)
        for row in {int(row) for uid in waiver.targets for row in columns.rows_of_target(uid)}:
            spans[row].append(span)
    floors = columns.floor.copy()
    for row, mine in spans.items():
        floors[row] = floor_over(int(floors[row]), mine, start_ms, end_ms)
    return floors


def group_load(
    columns: Columns,
    rows: Rows,
    drawn: Mapping[str, Drawn],
    floors: Levels | None = None,
    known: GearKnown | None = None,
) -> GroupLoad:
    """What the luminaires of some rows draw; `drawn` by their uid. A luminaire that is not in it draws nothing.

    Without a gateway, or where no command reduces it, a luminaire follows its feeder: any light costs full power, but
    where something else reduces it at times that are known. Levels are light: what is written for them, and so drawn,
    is less with a virtual output and no less than the driver can hold (written_level.py).
    floors: those that hold, where waivers are to be heeded; else the classes' own.
    """
    floors = columns.floor if floors is None else floors
    known = known or GearKnown()
    members: defaultdict[_Key, list[int]] = defaultdict(list)
    for row in rows.tolist():
        members[_key(columns, row, int(floors[row]), known)].append(row)
    parts, estimated = [], 0
    for key, mine in sorted(members.items()):
        curves: defaultdict[_Driven, int] = defaultdict(int)
        standby_w = 0.0
        window_w = [0.0] * len(key.windows)
        for row in mine:
            found = drawn.get(columns.uids[row], _NOTHING)
            estimated += found.estimated
            curve = found.curve
            for number, window in enumerate(key.windows):
                window_w[number] += window.power_w(curve)
            if columns.gateway[row] == NONE or not columns.commanded[row]:
                curve = PowerCurve.not_dimmable(curve.rated_w, curve.standby_w)
            curves[_Driven(curve, int(columns.output[row]), int(columns.least[row]), int(columns.inner[row]))] += 1
            if _stays_supplied(columns, row):
                standby_w += curve.standby_w
        levels = sorted({level for driven in curves for level in driven.levels})
        powers = sum((count * driven.power_w(levels) for driven, count in curves.items()), np.zeros(len(levels)))
        parts.append(
            LoadPart(
                float(columns.place_latitude[key.place]),
                float(columns.place_longitude[key.place]),
                key.floor,
                key.dimmable,
                len(mine),
                tuple(levels),
                tuple(powers.tolist()),
                standby_w,
                tuple(map(LoadWindow, key.windows, window_w)),
                key.longest_ramp_s,
                key.stays_supplied,
                key.cabinet,
            )
        )
    cabinet = columns.cabinet[rows]
    foreign = (cabinet != NONE) & ~np.append(columns.cabinet_ours, True)[cabinet]
    return GroupLoad(
        tuple(parts),
        luminaires=int(rows.size),
        estimated=estimated,
        undimmed=int(np.count_nonzero((columns.gateway[rows] == NONE) | ~columns.commanded[rows])),
        foreign=int(np.count_nonzero(foreign)),
        unknown_reduction=sum(known.own_windows.get(columns.uids[row], ()) is None for row in rows.tolist()),
    )


class _Key(NamedTuple):
    """What luminaires of one part have in common."""

    place: int
    floor: int
    dimmable: bool
    cabinet: int
    longest_ramp_s: int
    stays_supplied: bool
    windows: OwnWindows


def _key(columns: Columns, row: int, floor: int, known: GearKnown) -> _Key:
    gateway = int(columns.gateway[row])
    ramp_s = 0
    if gateway != NONE and columns.commanded[row]:
        ramp_s = known.longest_ramp_s.get(int(columns.gateway_endpoint[gateway]), 0)
    return _Key(
        int(columns.place[row]),
        floor,
        bool(columns.dimmable[row]),
        int(columns.cabinet[row]),
        ramp_s,
        ramp_s > 0 and _stays_supplied(columns, row),
        known.own_windows.get(columns.uids[row]) or (),
    )


class _Driven(NamedTuple):
    """A curve over what is driven, what is commanded for a level of light (per mille of the driver for full light, and
    the least that it can hold), and what the driver makes of that by itself."""

    curve: PowerCurve
    output: int
    least: int
    inner: int

    @property
    def levels(self) -> set[int]:
        """Levels of light in per mille between which power runs straight, the last 1000."""
        commands = [light_level(driven, self.inner) for driven, _ in self.curve.points]
        commands += [self.least] if self.least > 1 else []
        return {FULL_PERMILLE, *(light_level(command, self.output) for command in commands if command)}

    def power_w(self, levels: list[int]) -> NDArray[np.float64]:
        """Power in W at levels of light."""
        commands = [written_level(level, self.output, self.least) for level in levels]
        return self.curve.power_w_array([written_level(command, self.inner) for command in commands])


def _stays_supplied(columns: Columns, row: int) -> bool:
    """Whether the gear has voltage while its lamp is off: not so behind a contactor, which opens by day."""
    feeder = columns.feeder[row]
    return bool(feeder == NONE or not columns.feeder_switched[feeder])


_NOTHING = Drawn(PowerCurve(((FULL_PERMILLE, FULL_PERMILLE),), 0.0), estimated=True)
