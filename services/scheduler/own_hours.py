"""How long lamps are lit within stretches of the night in which something else than a command reduces them. In arrays.

A half-night conductor goes by the clock; a profile stored in a lamp counts from the middle of the time that the lamp is
lit: here from the first instant at which the plan says light until the last one, for a lamp knows no more.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from domain.level import OFF_PERMILLE
from services.scheduler.loads import Window
from services.scheduler.nights import Courses, NightKind
from services.scheduler.sums import CivilNight, Months, Stretch, Sums, Views, plain_edges, spans_of, sums_of


def window_sums(courses: Courses, views: Views, civil: CivilNight, months: Months, window: Window) -> tuple[Sums, Sums]:
    """`sums_of` of what lies within a window. One that begins after it ends, as the night goes, goes over noon."""
    if window.begin is None or window.end is None:
        return sums_of(courses, views, civil, months, partial(_around_middle, window=window))
    nights = courses.sky.nights
    begin, end = nights.clock(window.begin), nights.clock(window.end)
    if (begin < end).all():
        return sums_of(courses, views, civil, months, lambda kind: _both(kind, begin[kind.nights], end[kind.nights]))
    evening = sums_of(courses, views, civil, months, lambda kind: _both(kind, kind.starts, end[kind.nights]))
    morning = sums_of(courses, views, civil, months, lambda kind: _both(kind, begin[kind.nights], kind.ends))
    for first, second in zip(evening, morning, strict=True):
        for level, (total, dark) in second.levels.items():
            first.add(level, total, dark)
    return evening


def _both(kind: NightKind, begin: object, end: object) -> Stretch:
    shape = kind.base.unlit.shape
    first, last = (np.clip(np.asarray(edge, dtype=np.float64), kind.starts, kind.ends) for edge in (begin, end))
    return np.broadcast_to(first, shape), np.broadcast_to(last, shape)


def _around_middle(kind: NightKind, window: Window) -> Stretch:
    on, off = lit_between(kind)
    middle = np.floor((on + off) / 2)
    begin, end = (np.clip(middle + offset, on, off) for offset in (window.begin_offset_s, window.end_offset_s))
    return begin, end


def lit_between(kind: NightKind) -> Stretch:
    """From when the plan says light in a night for the first time, until when for the last; equal where never."""
    shape = kind.base.unlit.shape
    on, off = np.full(shape, np.inf), np.full(shape, -np.inf)
    if kind.is_plain:
        edges = plain_edges(kind)[1:]
        levels = [point.level_permille for point in kind.base.profile.points]
        stretches = [
            (begin, end, np.full(shape, level > OFF_PERMILLE))
            for begin, end, level in zip(edges, edges[1:], levels, strict=False)
        ]
    else:
        stretches = [(begin, end, plan > OFF_PERMILLE) for begin, end, plan, _ in spans_of(kind)]
    for begin, end, lit in stretches:
        here = lit & (begin < end)
        on = np.where(here, np.minimum(on, begin), on)
        off = np.where(here, np.maximum(off, end), off)
    never = on > off
    return np.where(never, kind.ends, on), np.where(never, kind.ends, off)
