"""What the luminaires of a group draw at which level, summed into parts that always show the same level. Pure.

A part has one sun, one floor, and may be dimmed or not, as control sees it (columns.py): whoever knows a group's plan
and its parts can say what its lamps will show and draw. Not here: what they drew (energy.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from domain.level import FULL_PERMILLE, PowerCurve
from services.lighting.columns import NONE, Columns, Levels, Rows
from services.lighting.energy import Drawn
from services.lighting.records import WaiverRecord
from services.lighting.waiver import WaivedSpan, floor_over


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


@dataclass(frozen=True, slots=True)
class GroupLoad:
    """The parts of a group, and how many of its luminaires are guessed at, cannot be dimmed, are switched by others."""

    parts: tuple[LoadPart, ...]
    luminaires: int
    estimated: int
    undimmed: int
    foreign: int


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


def group_load(columns: Columns, rows: Rows, drawn: Mapping[str, Drawn], floors: Levels | None = None) -> GroupLoad:
    """What the luminaires of some rows draw; `drawn` by their uid. A luminaire that is not in it draws nothing.

    Without a gateway, or where no command reduces it, a luminaire follows its feeder: any light costs full power.
    floors: those that hold, where waivers are to be heeded; else the classes' own.
    """
    floors = columns.floor if floors is None else floors
    members: defaultdict[tuple[int, int, bool], list[int]] = defaultdict(list)
    for row in rows.tolist():
        key = int(columns.place[row]), int(floors[row]), bool(columns.dimmable[row])
        members[key].append(row)
    parts, estimated = [], 0
    for (place, floor, dimmable), mine in sorted(members.items()):
        curves: defaultdict[PowerCurve, int] = defaultdict(int)
        standby_w = 0.0
        for row in mine:
            found = drawn.get(columns.uids[row], _NOTHING)
            estimated += found.estimated
            curve = found.curve
            if columns.gateway[row] == NONE or not columns.commanded[row]:
                curve = PowerCurve.not_dimmable(curve.rated_w, curve.standby_w)
            curves[curve] += 1
            if _stays_supplied(columns, row):
                standby_w += curve.standby_w
        levels = sorted({level for curve in curves for level, _ in curve.points})
        powers = sum((count * curve.power_w_array(levels) for curve, count in curves.items()), np.zeros(len(levels)))
        parts.append(
            LoadPart(
                float(columns.place_latitude[place]),
                float(columns.place_longitude[place]),
                floor,
                dimmable,
                len(mine),
                tuple(levels),
                tuple(powers.tolist()),
                standby_w,
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
    )


def _stays_supplied(columns: Columns, row: int) -> bool:
    """Whether the gear has voltage while its lamp is off: not so behind a contactor, which opens by day."""
    feeder = columns.feeder[row]
    return bool(feeder == NONE or not columns.feeder_switched[feeder])


_NOTHING = Drawn(PowerCurve(((FULL_PERMILLE, FULL_PERMILLE),), 0.0), estimated=True)
