"""Sensor rules that could go below a floor, or leave a street dark: what lighting would refuse. Pure, in arrays.

As lighting judges a plan (services/lighting/plan.py), any of the rules that are open may be active, each in its turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from domain.level import FULL_PERMILLE, OFF_PERMILLE
from domain.plan_rule import operate
from services.scheduler.nights import Courses, NightKind, ProfileNights
from services.scheduler.sensor_rule import SensorRule
from services.scheduler.sky import Flags, Seconds
from services.scheduler.sums import CivilNight, Levels, levels_of, spans_of

_NOTHING = FULL_PERMILLE + 1


@dataclass(eq=False)
class RuleLows:
    """Per rule, by its number in its profile, [place, night]: the lowest level above 0 that it leads to (above 1000 for
    none), and seconds of civil night that it may leave dark."""

    lowest: dict[int, Levels] = field(default_factory=dict)
    dark_s: dict[int, Seconds] = field(default_factory=dict)


def rule_lows(courses: Courses) -> RuleLows:
    """What each rule could lead to in each night."""
    found = RuleLows()
    civil = CivilNight(courses.sky)
    places = np.arange(courses.sky.latitude_deg.size, dtype=np.intp)
    shape = courses.sky.unlit.shape
    for kind in courses.kinds:
        if kind.is_plain or not any(each.profile.rules for each in _with_rules(kind)):
            continue
        passed = civil.over(kind.nights, places)
        for begin, end, _, _ in spans_of(kind):
            here = begin < end
            dark_s = np.where(here, passed.passed(end) - passed.passed(begin), 0.0)
            for profile, on in _holding(kind, begin):
                for mine, rule, level in _reached(profile, begin, here & on):
                    lowest = found.lowest.setdefault(rule, np.full(shape, _NOTHING, dtype=np.int16))
                    dark = found.dark_s.setdefault(rule, np.zeros(shape))
                    if level == OFF_PERMILLE:
                        dark[:, kind.nights] += np.where(mine, dark_s, 0.0)
                    else:
                        lowest[:, kind.nights] = np.where(
                            mine, np.minimum(lowest[:, kind.nights], level), lowest[:, kind.nights]
                        )
    return found


def _reached(profile: ProfileNights, at: Seconds, here: Flags) -> list[tuple[Flags, int, int]]:
    """Where, by which rule, down to which level: over all levels of the plan and all sets of open rules."""
    rules = profile.profile.rules
    if not rules:
        return []
    keys = levels_of(profile, at)[0].astype(np.int64)
    for number, (begin, end) in enumerate(profile.windows):
        keys = keys + np.where((begin <= at) & (at < end), 1001 << number, 0)
    found = []
    for key in np.unique(keys[here]).tolist():
        opened, level = divmod(key, 1001)
        if opened:
            mine = here & (keys == key)
            found += [(mine, rule, low) for rule, low in _led_to(tuple(rules), opened, level)]
    return found


@lru_cache(maxsize=4096)
def _led_to(rules: Sequence[SensorRule], opened: int, level_permille: int) -> list[tuple[int, int]]:
    """Levels below the plan's that open rules (as bits) lead to, each with the rule that leads there first."""
    levels = {level_permille: -1}
    for number, rule in enumerate(rules):
        if opened >> number & 1:
            for level in list(levels):
                levels.setdefault(_applied(rule, level), number)
    return [(number, level) for level, number in levels.items() if number >= 0 and level < level_permille]


def _applied(rule: SensorRule, level_permille: int) -> int:
    return operate(rule.operation, level_permille, rule.value_permille)


def _holding(kind: NightKind, at: Seconds) -> list[tuple[ProfileNights, Flags]]:
    """Which profile holds where at instants; none while an event's level does."""
    free = np.ones(at.shape, dtype=np.bool_)
    found = []
    for layer in kind.layers:
        on = free & (layer.begin <= at) & (at < layer.end)
        free = free & ~on
        if isinstance(layer.over, ProfileNights):
            found.append((layer.over, on))
    return [*found, (kind.base, free)]


def _with_rules(kind: NightKind) -> list[ProfileNights]:
    return [kind.base, *(layer.over for layer in kind.layers if isinstance(layer.over, ProfileNights))]
