"""Plans out of profiles and calendars: for each group, UTC instants and levels for the nights ahead. Pure.

A plan begins at the noon before now and speaks for NIGHTS nights, so it holds for more than 48 hours at any time and
changes by itself only once a day, at noon, when nothing is lit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from domain.night import lighting_night, night_bounds
from domain.plan import Plan, to_unix_ms
from domain.plan_rule import PlanRule
from services.scheduler.calendar import Calendar
from services.scheduler.days import BUILT_IN, Days
from services.scheduler.one_night import Step, course_of_night
from services.scheduler.profile import Place, Profile

NIGHTS: Final = 4


def compile_plan(
    calendar: Calendar,
    profiles: Mapping[str, Profile],
    place: Place,
    now: datetime,
    nights: int = NIGHTS,
    days: Days = BUILT_IN,
) -> Plan:
    """The plan that holds now: from the last local noon on, for a number of nights.

    The same arguments give the same plan, and so does any `now` of the same night. Raises InvalidInput where a
    profile loses its order in one of the nights.
    """
    first = lighting_night(now, place.tz)
    return compile_nights(calendar, profiles, place, first, nights, days)


def compile_nights(
    calendar: Calendar,
    profiles: Mapping[str, Profile],
    place: Place,
    first_night: date,
    nights: int,
    days: Days = BUILT_IN,
) -> Plan:
    """The plan of `nights` nights from `first_night` on, gapless, starting dark at its first noon."""
    course = follow_nights(calendar, profiles, place, first_night, nights, days)
    return Plan(
        course.valid_from_ms,
        course.valid_until_ms,
        course.instants_ms,
        course.levels_permille,
        course.ramps_s,
        course.rules,
    )


@dataclass(frozen=True)
class Course:
    """Which level begins when, in the columns of a plan, without a plan's limits: a preview may look further ahead."""

    valid_from_ms: int
    valid_until_ms: int
    instants_ms: tuple[int, ...]
    levels_permille: tuple[int, ...]
    ramps_s: tuple[int, ...]
    unlit_nights: tuple[date, ...]
    """Nights that never get dark, so that no switch point falls into them."""
    rules: tuple[PlanRule, ...] = ()
    """What sensors may change, ascending by (from, position); the levels above are those without sensors."""

    def segments(self) -> list[tuple[int, int, int]]:
        """What holds when: (start_ms, end_ms, level_permille), gapless."""
        ends = (*self.instants_ms[1:], self.valid_until_ms)
        return list(zip(self.instants_ms, ends, self.levels_permille, strict=True))


def follow_nights(
    calendar: Calendar,
    profiles: Mapping[str, Profile],
    place: Place,
    first_night: date,
    nights: int,
    days: Days = BUILT_IN,
) -> Course:
    """What `nights` nights from `first_night` on bring. Raises InvalidInput with the first one that goes wrong.

    Night by night: the calendar says which profile and which events hold (`Calendar.of_night`), they make the steps of
    the night (`course_of_night`); then neighbouring steps of one level are joined, the earlier one standing. This is
    the reference that anything quicker has to equal.
    """
    switches: list[Step] = []
    rules: list[PlanRule] = []
    unlit: list[date] = []
    start, end = night_bounds(first_night, place.tz)[0], night_bounds(first_night + timedelta(days=nights), place.tz)[0]
    for night in (first_night + timedelta(days=number) for number in range(nights)):
        course = course_of_night(calendar.of_night(night, days), profiles, place, night)
        switches += course.steps
        rules += course.rules
        if not course.is_dark:
            unlit.append(night)
    changes = [switches[0]]
    for switch in switches[1:]:
        if switch[1] != changes[-1][1]:
            changes.append(switch)
    moments, levels, ramps = zip(*changes, strict=True)
    return Course(
        to_unix_ms(start), to_unix_ms(end), tuple(map(to_unix_ms, moments)), levels, ramps, tuple(unlit), tuple(rules)
    )
