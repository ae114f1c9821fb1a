"""Ramps of a plan: from which level to which, and for how long. Pure, in arrays; energy of them is lamp_energy.py's.

A ramp begins at the instant of its switch and goes straight. One that is cut short by the next switch leaves off at the
level that it has reached, in whole per mille, and the next one starts there. It is the plan's own, or that of an open
sensor rule where that is longer, and none is longer than gear can take (as lighting tells it, services/lighting).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.scheduler.nights import Courses, NightKind, ProfileNights
from services.scheduler.sky import Flags, Seconds
from services.scheduler.sums import CivilNight, CivilSpans, Levels, Months, Views, spans_of

Ramp = tuple[int, int, int]
"""From, reached, and wanted level in per mille."""


@dataclass(eq=False)
class RampSums:
    """Seconds of each ramp, and what of them lies in the civil night: [view, month]."""

    ramps: dict[Ramp, tuple[Seconds, Seconds]] = field(default_factory=dict)

    def add(self, ramp: Ramp, total: Seconds, civil: Seconds) -> None:
        """Adds seconds of a ramp."""
        known = self.ramps.get(ramp)
        self.ramps[ramp] = (total, civil) if known is None else (known[0] + total, known[1] + civil)


def has_ramps(courses: Courses) -> bool:
    """Whether anything ramps at all."""
    return any(_ramp(profile) for kind in courses.kinds for profile in _of_kind(kind))


def ramps_of(
    courses: Courses, views: Views, civil: CivilNight, months: Months, longest_s: int
) -> tuple[RampSums, RampSums]:
    """Ramps while no sensor is active, and while every rule is active through its whole window."""
    quiet, active = RampSums(), RampSums()
    for kind in courses.kinds:
        if not any(_ramp(each) for each in _of_kind(kind)):
            continue
        spans = civil.over(kind.nights, views.sun_rows)
        running = [_Running(kind, sums, longest_s, views, spans, months) for sums in (quiet, active)]
        current = np.zeros(kind.base.unlit.shape, dtype=np.int64)
        before = np.zeros(kind.base.unlit.shape, dtype=np.int16)
        for begin, end, plan, sensed in spans_of(kind):
            here = begin < end
            own, of_rules = _ramps_at(kind, begin)
            current = np.where(here & (plan != before), own, current)
            before = np.where(here, plan, before)
            for one, levels in zip(running, (plan, sensed), strict=True):
                one.go(here, begin, levels, np.maximum(current, of_rules))
        for one in running:
            one.end(np.broadcast_to(kind.ends, kind.base.unlit.shape))
    return quiet, active


class _Running:
    """The ramps that are under way in each night of a kind."""

    def __init__(
        self, kind: NightKind, sums: RampSums, longest_s: int, views: Views, civil: CivilSpans, months: Months
    ) -> None:
        shape = kind.base.unlit.shape
        self._kind, self._sums, self._longest_s = kind, sums, longest_s
        self._views, self._civil, self._months = views, civil, months
        self._level = np.zeros(shape, dtype=np.int64)
        self._from = np.zeros(shape, dtype=np.int64)
        self._began: Seconds = np.zeros(shape)
        self._lasts: Seconds = np.zeros(shape)

    def go(self, here: Flags, at: Seconds, level: Levels, ramp_s: NDArray[np.int64]) -> None:
        """Goes to levels at instants, with ramps, in those nights."""
        changed = here & (level != self._level)
        if not changed.any():
            return
        reached = self._leave(changed, at)
        self._from = np.where(changed, reached, self._from)
        self._level = np.where(changed, level, self._level)
        self._began = np.where(changed, at, self._began)
        ramps = changed & (self._from != self._level)
        self._lasts = np.where(changed, np.where(ramps, np.minimum(ramp_s, self._longest_s), 0.0), self._lasts)

    def end(self, at: Seconds) -> None:
        """The night ends."""
        self._leave(np.ones(at.shape, dtype=np.bool_), at)

    def _leave(self, which: Flags, at: Seconds) -> NDArray[np.int64]:
        """Counts what is under way in those nights; returns the levels that are reached."""
        seconds = np.where(which, np.minimum(self._lasts, at - self._began), 0.0)
        share = np.divide(seconds, self._lasts, out=np.ones_like(seconds), where=self._lasts > 0)
        reached = np.rint(self._from + (self._level - self._from) * share).astype(np.int64)
        running = seconds > 0
        if running.any():
            self._count(running, seconds, reached)
        return reached

    def _count(self, running: Flags, seconds: Seconds, reached: NDArray[np.int64]) -> None:
        keys = (self._from * 1001 + reached) * 1001 + self._level
        rows = self._views.plan_rows
        for key in np.unique(keys[running]).tolist():
            mine = running & (keys == key)
            lasts = np.where(mine, seconds, 0.0)[rows]
            began = self._began[rows]
            dark = self._civil.passed(began + lasts) - self._civil.passed(began)
            nights = self._kind.nights
            rest, wanted = divmod(key, 1001)
            first, last = divmod(rest, 1001)
            self._sums.add((first, last, wanted), self._months.sums(lasts, nights), self._months.sums(dark, nights))


def _ramps_at(kind: NightKind, instants: Seconds) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ramp of the switch that is just then, 0 for none; and the longest of the rules that are open then."""
    own, of_rules = _of_profile(kind.base, instants)
    for layer in reversed(kind.layers):
        on = (layer.begin <= instants) & (instants < layer.end)
        nothing = np.zeros(instants.shape, dtype=np.int64)
        over = (nothing, nothing) if isinstance(layer.over, int) else _of_profile(layer.over, instants)
        own, of_rules = np.where(on, over[0], own), np.where(on, over[1], of_rules)
    return own, of_rules


def _of_profile(profile: ProfileNights, instants: Seconds) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    own = np.zeros(instants.shape, dtype=np.int64)
    of_rules = own
    for point, times in zip(profile.profile.points, profile.times, strict=True):
        own = np.where(times == instants, point.ramp_s, own)
    for rule, (begin, end) in zip(profile.profile.rules, profile.windows, strict=True):
        listens = (begin <= instants) & (instants < end)
        of_rules = np.where(listens, np.maximum(of_rules, rule.ramp_s), of_rules)
    return own, of_rules


def _of_kind(kind: NightKind) -> list[ProfileNights]:
    return [kind.base, *(layer.over for layer in kind.layers if isinstance(layer.over, ProfileNights))]


def _ramp(profile: ProfileNights) -> bool:
    points, rules = profile.profile.points, profile.profile.rules
    return any(point.ramp_s for point in points) or any(rule.ramp_s for rule in rules)
