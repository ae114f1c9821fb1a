"""What is due on which night, worked out once more by other means: the sun by the `astral` package, the rules by hand.

Nothing here uses domain/sun.py, the scheduler, or anything that these rest on. Sunset and sunrise are the usual ones,
the sun's centre 50 minutes of arc below the horizon; astral's own default counts refraction a little differently, so
the elevation is asked for. In the year of the town the two are 3 s apart at most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from astral import Observer, SunDirection
from astral.sun import time_at_elevation
from numpy.typing import NDArray

from tests.support.witness import Span

BERLIN: Final = ZoneInfo("Europe/Berlin")
HORIZON_DEG: Final = -50 / 60
DAY: Final = timedelta(days=1)

Steps = list[tuple[datetime, int]]
"""Which level, in per mille, begins when. Before the first one all is dark."""

Column = NDArray[np.float64]

BEFORE_S: Final = 5.0
"""So long before a switch point nothing is judged: the two suns differ."""
AFTER_S: Final = 30.0
"""So long after: contactors close one after the other over 11 s, and lamps fade for 2 s."""
MOST_TOLD: Final = 20
"""Lamps of a street that are told of one by one."""
LEVEL_TOLERANCE: Final = 0.017
"""Half a step of gear with 254 logarithmic steps, as a share of the level."""


@dataclass(frozen=True)
class Sun:
    """Ends of a night, UTC."""

    sets: datetime
    rises: datetime

    @property
    def middle(self) -> datetime:
        """Half way between."""
        return self.sets + (self.rises - self.sets) / 2


@lru_cache(maxsize=8192)
def sun_of(latitude_deg: float, longitude_deg: float, night: date) -> Sun:
    """The sun of the night that begins at a date's noon."""
    place = Observer(latitude_deg, longitude_deg)
    return Sun(
        time_at_elevation(place, HORIZON_DEG, night, SunDirection.SETTING, with_refraction=False),
        time_at_elevation(place, HORIZON_DEG, night + DAY, SunDirection.RISING, with_refraction=False),
    )


def noon(night: date) -> datetime:
    """When a night begins, UTC."""
    return datetime(night.year, night.month, night.day, 12, tzinfo=BERLIN).astimezone(UTC)


def wall(night: date, clock: str) -> datetime:
    """A clock time of a night: from noon on the first day's, before noon the second's.

    zoneinfo takes a time that spring skips by the offset before the change, and of one that autumn repeats the first.
    """
    hour, minute = map(int, clock.split(":"))
    day = night if hour >= 12 else night + DAY
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=BERLIN).astimezone(UTC)


def lit_s(steps: Steps, end: datetime) -> float:
    """Burning time of a night in seconds."""
    bounds = [*steps, (end, 0)]
    return sum((b - a).total_seconds() for (a, level), (b, _) in pairwise(bounds) if level > 0)


def level_s(steps: Steps, end: datetime) -> dict[int, float]:
    """Seconds by level of a night; the dark ones are left out."""
    found: dict[int, float] = {}
    for (begin, level), (until, _) in pairwise([*steps, (end, 0)]):
        if level > 0:
            found[level] = found.get(level, 0.0) + (until - begin).total_seconds()
    return found


@dataclass(frozen=True, eq=False)
class Street:
    """Lamps that are due the same: their rows in the town, and the rule of their nights."""

    name: str
    rows: NDArray[np.intp]
    latitude_deg: float
    longitude_deg: float
    rule: Callable[[date, Sun], Steps]

    def steps(self, night: date) -> Steps:
        """What is due in a night."""
        return self.rule(night, sun_of(self.latitude_deg, self.longitude_deg, night))


def disagreements(span: Span, street: Street, steps: Steps, ids: Sequence[str]) -> list[str]:
    """Lamps of a street that were not at their level at any moment of a span, but right at switch points; in words."""
    at = np.array([instant.timestamp() for instant, _ in steps])
    due_levels = np.array([0, *(level for _, level in steps)], dtype=np.float64)
    edges = np.concatenate([span.instants, at - BEFORE_S, at + AFTER_S])
    edges = np.unique(edges[(edges >= span.start_s) & (edges < span.end_s)])
    judged = np.ones(edges.size, dtype=np.bool_)
    for instant in at.tolist():
        judged &= (edges < instant - BEFORE_S) | (edges >= instant + AFTER_S)
    edges = edges[judged]
    due = due_levels[np.searchsorted(at, edges, side="right")][:, None]
    seen = span.at(edges)[:, street.rows]
    wrong = np.abs(seen - due) > np.maximum(due * LEVEL_TOLERANCE, 0.5)
    wrong |= (seen > 0) != (due > 0)
    late = np.flatnonzero(wrong.any(axis=0))
    told = [
        _in_words(ids[street.rows[lamp]], edges, due[:, 0], seen[:, lamp], wrong[:, lamp]) for lamp in late[:MOST_TOLD]
    ]
    return [f"{street.name}: {late.size} of {street.rows.size} lamps", *told] if late.size else []


def _in_words(lamp: str, edges: Column, due: Column, seen: Column, wrong: NDArray[np.bool_]) -> str:
    """When a lamp was wrong first and last, and how."""
    first, last = (datetime.fromtimestamp(edges[row], UTC).astimezone(BERLIN) for row in np.flatnonzero(wrong)[[0, -1]])
    shown = sorted({f"{due[row]:g} seen as {seen[row]:g}" for row in np.flatnonzero(wrong)})
    return f"{lamp}: {first} to {last}, due {', '.join(shown)}"


def seen_level_s(span: Span, street: Street, levels: Sequence[int]) -> dict[int, float]:
    """Seconds of all lamps of a street by the level that they really showed: the nearest of those given."""
    seen = span.levels[:, street.rows]
    known = np.array(sorted({0, *levels}), dtype=np.float64)
    middles = (known[1:] + known[:-1]) / 2
    middles[0] = 0.5  # whatever gives light is lit
    which = np.searchsorted(middles, seen)
    sums = np.bincount(which.ravel(), weights=np.repeat(span.lengths_s, seen.shape[1]), minlength=known.size)
    return {int(level): float(total) for level, total in zip(known, sums, strict=True) if level > 0}
