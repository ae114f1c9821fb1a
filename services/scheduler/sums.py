"""How long which level holds, summed over months: of a plan, and of that what lies in the civil night. Pure, in arrays.

Lamps of one group may have their sun elsewhere than the group's plan (lighting has it at the cabinet), so sums are made
for views: the plan of one place, seen under the sun of another. Arrays are [view, month]; seconds are whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from domain.level import FULL_PERMILLE, OFF_PERMILLE
from domain.plan_rule import SensorOperation
from services.scheduler.nights import Courses, Ints, NightKind, ProfileNights
from services.scheduler.sky import Flags, Nights, Seconds, Sky

Levels = NDArray[np.int16]
Stretch = tuple[Seconds, Seconds]
"""Begin and end of something in each night, [place, night]."""


class Months:
    """The months of some nights. A night belongs to the month of its starting noon."""

    def __init__(self, nights: Nights) -> None:
        days = nights.dates()
        self.names = list(dict.fromkeys(f"{day:%Y-%m}" for day in days))
        places = {name: number for number, name in enumerate(self.names)}
        self.of_night = np.array([places[f"{day:%Y-%m}"] for day in days], dtype=np.intp)

    @property
    def count(self) -> int:
        """How many."""
        return len(self.names)

    def sums(self, values: Seconds, nights: Ints) -> Seconds:
        """Sums [row, month] of values [row, night] of some nights, which ascend."""
        months = self.of_night[nights]
        begins = np.flatnonzero(np.append(True, months[1:] != months[:-1]))
        found = np.zeros((values.shape[0], self.count))
        found[:, months[begins]] = np.add.reduceat(values, begins, axis=1)
        return found


@dataclass(frozen=True, eq=False)
class Views:
    """Plans seen under a sun: rows of the sky of the plans, and of the sky of the lamps. One of each per view."""

    plan_rows: Ints
    sun_rows: Ints

    @property
    def count(self) -> int:
        """How many."""
        return int(self.plan_rows.size)

    @cached_property
    def sees_itself(self) -> bool:
        """Every plan is seen once, in its order."""
        return bool(np.array_equal(self.plan_rows, np.arange(self.count)))


class CivilNight:
    """The civil night at the lamps' places, from dusk to dawn, however the noons of the clock cut it.

    around: another dusk and dawn in its place, [place, night] with one night before and one after (`Sky.dark_around`).
    """

    def __init__(self, sky: Sky, around: Stretch | None = None) -> None:
        self._sky = sky
        self._dusk, self._dawn = sky.civil_around if around is None else around
        self._offsets = (0,) if _is_between_noons(sky, self._dusk, self._dawn) else (-1, 0, 1)

    def over(self, nights: Ints, rows: Ints) -> CivilSpans:
        """What of it concerns some nights, seen from rows of the sky."""
        everywhere = np.array_equal(rows, np.arange(self._dusk.shape[0]))
        every_night = nights.size == self._sky.nights.count
        spans = []
        for offset in self._offsets:
            night = slice(1 + offset, 1 + offset + nights.size) if every_night else nights + 1 + offset
            spans.append((self._dusk[:, night], self._dawn[:, night]))
        return CivilSpans([span if everywhere else (span[0][rows], span[1][rows]) for span in spans])


@dataclass(frozen=True, eq=False)
class CivilSpans:
    """Dusks and dawns [row, night] that may lie in a night."""

    spans: list[tuple[Seconds, Seconds]]

    def passed(self, instants: Seconds) -> Seconds:
        """Seconds of civil night until instants [row, night], counted from an origin of each night."""
        found = np.clip(instants, *self.spans[0])
        for dusk, dawn in self.spans[1:]:
            found = found + np.clip(instants, dusk, dawn)
        return found


def night_seconds(sky: Sky, months: Months) -> Seconds:
    """Seconds from sunset to sunrise at each place, [place, month]: when lighting's default is full light."""
    nights = sky.nights
    sunset, sunrise = sky.dark_around
    count = nights.count
    found: Seconds | float = 0.0
    for offset in (0,) if _is_between_noons(sky, sunset, sunrise) else (-1, 0, 1):
        some = slice(1 + offset, 1 + offset + count)
        edges = (np.clip(noons, sunset[:, some], sunrise[:, some]) for noons in (nights.starts, nights.ends))
        begin, end = edges
        found = found + (end - begin)
    return months.sums(np.asarray(found), np.arange(count, dtype=np.intp))


def _is_between_noons(sky: Sky, begin: Seconds, end: Seconds) -> bool:
    nights = sky.nights
    inside = (begin[:, 1:-1] >= nights.starts) & (end[:, 1:-1] <= nights.ends)
    # A night before or after that reaches into the first or the last one has to be looked at, too.
    return bool(inside.all() and (end[:, 0] <= nights.starts[0]).all() and (begin[:, -1] >= nights.ends[-1]).all())


@dataclass(frozen=True, eq=False)
class Sums:
    """Seconds of each level of the plan in per mille, and what of them lies in the civil night: [view, month]."""

    levels: dict[int, tuple[Seconds, Seconds]]

    def add(self, level: int, total: Seconds, civil: Seconds) -> None:
        """Adds seconds of a level."""
        known = self.levels.get(level)
        self.levels[level] = (total, civil) if known is None else (known[0] + total, known[1] + civil)


def sums_of(
    courses: Courses,
    views: Views,
    civil: CivilNight,
    months: Months,
    within: Callable[[NightKind], Stretch] | None = None,
) -> tuple[Sums, Sums]:
    """Sums of the levels while no sensor is active, and while every rule is active through its whole window.

    within: a stretch of each night of a kind; nothing counts outside it.
    """
    quiet, active = Sums({}), Sums({})
    for kind in courses.kinds:
        spans = civil.over(kind.nights, views.sun_rows)
        stretch = None if within is None else within(kind)
        if kind.is_plain:
            for level, total, dark in _plain(kind, views, spans, months, stretch):
                quiet.add(level, total, dark)
                active.add(level, total, dark)
        else:
            _layered(kind, views, spans, months, quiet, active, stretch)
    return quiet, active


def _plain(
    kind: NightKind, views: Views, civil: CivilSpans, months: Months, within: Stretch | None
) -> Iterator[tuple[int, Seconds, Seconds]]:
    """Level, seconds, and seconds of civil night between each two switch points."""
    levels = [OFF_PERMILLE, *(point.level_permille for point in kind.base.profile.points)]
    passed = []
    for edge in plain_edges(kind):
        inside = edge if within is None else np.clip(edge, *within)
        seen = inside if views.sees_itself else inside[views.plan_rows]
        # Sums over a month come to 1e11 s, exact to microseconds; only their differences are durations.
        passed.append((months.sums(seen - kind.starts, kind.nights), months.sums(civil.passed(seen), kind.nights)))
    for level, (begin, begin_civil), (end, end_civil) in zip(levels, passed, passed[1:], strict=False):
        yield level, end - begin, end_civil - begin_civil


def plain_edges(kind: NightKind) -> list[Seconds]:
    """Between which instants [place, night] a plain night has the levels 0 and those of its points, in turn."""
    shape = kind.base.unlit.shape
    return [np.broadcast_to(kind.starts, shape), *kind.base.times, np.broadcast_to(kind.ends, shape)]


def off_spans(kind: NightKind) -> list[tuple[Seconds, Seconds, Flags | bool]]:
    """Begin, end, and whether the plan is off between them, in the order of the night; sensors are not heeded."""
    if not kind.is_plain:
        return [(begin, end, plan == OFF_PERMILLE) for begin, end, plan, _ in spans_of(kind)]
    edges = plain_edges(kind)
    levels = [OFF_PERMILLE, *(point.level_permille for point in kind.base.profile.points)]
    return [(begin, end, level == OFF_PERMILLE) for begin, end, level in zip(edges, edges[1:], levels, strict=False)]


def spans_of(kind: NightKind) -> Iterator[tuple[Seconds, Seconds, Levels, Levels]]:
    """Stretches of all nights of a kind, ascending: begin, end, level of the plan, and level with every sensor active.

    Between two neighbouring edges of whatever holds in a night nothing changes; a stretch may be empty in some nights.
    """
    shape = kind.base.unlit.shape
    profiles = [kind.base, *(layer.over for layer in kind.layers if isinstance(layer.over, ProfileNights))]
    edges = [np.broadcast_to(noons, shape) for noons in (kind.starts, kind.ends)]
    edges += [times for profile in profiles for times in profile.times]
    edges += [edge for profile in profiles for window in profile.windows for edge in window]
    edges += [edge for layer in kind.layers for edge in (layer.begin, layer.end)]
    cuts = np.sort(np.stack(edges), axis=0)
    for begin, end in pairwise(cuts):
        if (begin < end).any():
            yield begin, end, *_levels_at(begin, kind)


def _layered(
    kind: NightKind,
    views: Views,
    civil: CivilSpans,
    months: Months,
    quiet: Sums,
    active: Sums,
    within: Stretch | None,
) -> None:
    """The same with events and sensor rules."""
    for first, last, *both in spans_of(kind):
        if within is not None:
            first, last = np.clip(first, *within), np.clip(last, *within)
        begin, end = (first, last) if views.sees_itself else (first[views.plan_rows], last[views.plan_rows])
        seconds, dark = end - begin, civil.passed(end) - civil.passed(begin)
        for levels, sums in zip(both, (quiet, active), strict=True):
            shown = levels if views.sees_itself else levels[views.plan_rows]
            for level in np.flatnonzero(np.bincount(shown.ravel(), minlength=1)).tolist():
                mine = shown == level
                sums.add(
                    level,
                    months.sums(np.where(mine, seconds, 0.0), kind.nights),
                    months.sums(np.where(mine, dark, 0.0), kind.nights),
                )


def _levels_at(instants: Seconds, kind: NightKind) -> tuple[Levels, Levels]:
    """Level of the plan at instants [place, night], and with every sensor rule active that listens then."""
    plan, sensed = levels_of(kind.base, instants)
    # The last event first: where two are on at once, what is laid over last is what holds.
    for layer in reversed(kind.layers):
        on = (layer.begin <= instants) & (instants < layer.end)
        if isinstance(layer.over, int):
            over = over_sensed = np.full(instants.shape, layer.over, dtype=np.int16)
        else:
            over, over_sensed = levels_of(layer.over, instants)
        plan, sensed = np.where(on, over, plan), np.where(on, over_sensed, sensed)
    return plan, sensed


def levels_of(profile: ProfileNights, instants: Seconds) -> tuple[Levels, Levels]:
    """Levels of a profile's points at instants, and with every sensor rule active that listens then."""
    plan = np.zeros(instants.shape, dtype=np.int16)
    for point, times in zip(profile.profile.points, profile.times, strict=True):
        plan = np.where(times <= instants, np.int16(point.level_permille), plan)
    sensed = plan
    for rule, (begin, end) in zip(profile.profile.rules, profile.windows, strict=True):
        listens: Flags = (begin <= instants) & (instants < end)
        sensed = np.where(listens, _operated(rule.operation, sensed, rule.value_permille), sensed)
    return plan, sensed


def _operated(operation: SensorOperation, levels: Levels, value_permille: int) -> Levels:
    """`domain.plan_rule.operate`, in an array."""
    wide = levels.astype(np.int64)
    match operation:
        case SensorOperation.SET:
            found = np.full_like(wide, value_permille)
        case SensorOperation.MAX:
            found = np.maximum(wide, value_permille)
        case SensorOperation.MIN:
            found = np.minimum(wide, value_permille)
        case SensorOperation.ADD:
            found = wide + value_permille
        case SensorOperation.SUB:
            found = wide - value_permille
        case SensorOperation.MUL:
            found = (wide * value_permille + 500) // FULL_PERMILLE
    return np.clip(found, OFF_PERMILLE, FULL_PERMILLE).astype(np.int16)
