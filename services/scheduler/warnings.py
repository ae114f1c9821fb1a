"""What a planner should look at before a profile goes live: what lighting would refuse, and unusual nights. Pure.

Of many groups at once. What keeps a profile from being saved at all is no warning: it is refused with its first night.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from domain.level import FULL_PERMILLE, OFF_PERMILLE
from domain.night import night_bounds
from services.scheduler.calendar import Calendar
from services.scheduler.daylight import by_day_warnings, lit_by_day
from services.scheduler.days import BUILT_IN, Days
from services.scheduler.loads import GroupLoad
from services.scheduler.nights import Courses
from services.scheduler.rule_warnings import RuleLows, rule_lows
from services.scheduler.sky import Flags, Nights, Seconds
from services.scheduler.sums import CivilNight, off_spans, plain_edges, spans_of

REFUSED: Final = ": lighting refuses such a plan"
"""In every warning of what lighting would not take."""

DARK_TOLERANCE_S: Final = 900.0
"""Seconds for which lighting lets a plan be off within a civil night: places of one group differ, clocks drift."""


def period_warnings(calendar: Calendar, nights: Nights, days: Days = BUILT_IN) -> list[str]:
    """What is so in the period wherever the groups are: changes of the clock, holidays that nobody knows."""
    found = []
    for night in nights.dates():
        before, after = (bound.astimezone(nights.tz).utcoffset() for bound in night_bounds(night, nights.tz))
        if before != after:
            found.append(f"the clock changes in the night of {night.isoformat()}: see its switch points")
    return found + calendar.warnings(nights.first_night, nights.count, days)


def group_warnings(courses: Courses, rows: Sequence[int], loads: Sequence[GroupLoad | None]) -> list[tuple[str, ...]]:
    """What is so in each group; `rows` are those of their places, `loads` what is known of their lamps."""
    unlit = courses.unlit
    dark_s = _longest_dark(courses)
    lit, levels = _lit_and_lowest(courses)
    by_day = lit_by_day(courses)
    rules = rule_lows(courses)
    found = []
    for row, load in zip(rows, loads, strict=True):
        mine: list[str] = []
        if not lit[row]:
            mine.append("nothing is ever lit")
        if unlit[row].any():
            mine.append(f"{courses.told(unlit[row])} never get dark: nothing is lit")
        mine += by_day_warnings(courses, by_day[row])
        # Where nobody knows the lamps, the street is one like any other: not to be dark.
        if load is None or load.luminaires:
            may_be_dark = load is not None and load.may_be_dark
            mine += _below_floor(courses, row, load, levels[row])
            too_dark = dark_s[row] > DARK_TOLERANCE_S
            if not may_be_dark and too_dark.any():
                mine.append(
                    f"off for up to {round(float(dark_s[row].max()) / 60)} minutes within the civil night, in"
                    f" {courses.told(too_dark)}{REFUSED} unless a waiver allows it"
                )
            mine += _of_rules(courses, row, 0 if load is None else load.floor_permille, may_be_dark, rules)
        mine += _of_load(load)
        found.append(tuple(mine))
    return found


def _of_load(load: GroupLoad | None) -> list[str]:
    if load is None:
        return []
    if not load.luminaires:
        return ["the group has no luminaires"]
    kinds = (
        (load.estimated, "have no measured curve or power: their energy is an estimate"),
        (
            load.undimmed,
            "are not dimmed by command: counted at full power while lit, but when something else reduces them",
        ),
        (load.foreign, "are switched by others: their hours are taken as the plan's"),
        (
            load.unknown_reduction,
            "are reduced by something else than a command, nobody has said when: they are counted at full power",
        ),
    )
    return [f"{count} of {load.luminaires} luminaires {words}" for count, words in kinds if count]


def _below_floor(courses: Courses, row: int, load: GroupLoad | None, lowest: Seconds) -> list[str]:
    floor = 0 if load is None else load.floor_permille
    below = (lowest > OFF_PERMILLE) & (lowest < floor)
    if not below.any():
        return []
    return [f"{lowest[below].min() / 10:g} % is below the floor of {floor / 10:g} % in {courses.told(below)}{REFUSED}"]


def _of_rules(courses: Courses, row: int, floor: int, may_be_dark: bool, rules: RuleLows) -> list[str]:
    """Rules that could lead below the floor, or into the dark, each with its first night."""
    found = []
    for number, lows in sorted(rules.lowest.items()):
        below = lows[row] < floor
        if below.any():
            found.append(
                f"rules[{number}] could go down to {lows[row][below].min() / 10:g} %, below the floor of"
                f" {floor / 10:g} % in {courses.told(below)}{REFUSED}"
            )
    for number, dark_s in sorted(rules.dark_s.items()):
        too_dark = dark_s[row] > DARK_TOLERANCE_S
        if not may_be_dark and too_dark.any():
            found.append(
                f"rules[{number}] could leave the street dark within the civil night, in"
                f" {courses.told(too_dark)}{REFUSED} unless a waiver allows it"
            )
    return found


def _longest_dark(courses: Courses) -> Seconds:
    """[place, night]: the longest stretch at level 0 within the civil night, in seconds."""
    sky = courses.sky
    civil = CivilNight(sky)
    places = np.arange(sky.latitude_deg.size, dtype=np.intp)
    longest = np.zeros(sky.unlit.shape)
    for kind in courses.kinds:
        spans = civil.over(kind.nights, places)
        worst = np.zeros(kind.base.unlit.shape)
        run = np.zeros_like(worst)
        for begin, end, off in off_spans(kind):
            if off is False:
                run = np.zeros_like(worst)
                continue
            dark = spans.passed(end) - spans.passed(begin)
            # What is empty ends no stretch.
            run = run + dark if off is True else np.where(off, run + dark, np.where(begin < end, 0.0, run))
            worst = np.maximum(worst, run)
        longest[:, kind.nights] = worst
    return longest


def _lit_and_lowest(courses: Courses) -> tuple[Flags, Seconds]:
    """[place]: anything is ever lit. [place, night]: the lowest level above 0, else 0."""
    lowest = np.full(courses.sky.unlit.shape, FULL_PERMILLE + 1.0)
    for kind in courses.kinds:
        mine = np.full(kind.base.unlit.shape, FULL_PERMILLE + 1.0)
        if kind.is_plain:
            edges = plain_edges(kind)[1:]
            for begin, end, point in zip(edges, edges[1:], kind.base.profile.points, strict=False):
                if point.level_permille:
                    mine = np.where(begin < end, np.minimum(mine, point.level_permille), mine)
        else:
            for begin, end, plan, _ in spans_of(kind):
                mine = np.where((plan > 0) & (begin < end), np.minimum(mine, plan), mine)
        lowest[:, kind.nights] = mine
    lowest[lowest > FULL_PERMILLE] = OFF_PERMILLE
    lit = np.asarray((lowest > OFF_PERMILLE).any(axis=1))
    return lit, lowest
