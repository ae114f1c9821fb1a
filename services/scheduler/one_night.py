"""One night at one place: the profile's levels, the events over them, and the sensor rules that listen in it. Pure.

How nights become a plan is planning.py's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TypeAlias

from domain.level import OFF_PERMILLE
from domain.night import night_bounds
from domain.plan import to_unix_ms
from domain.plan_rule import PlanRule
from domain.sun import SunEvents
from services.scheduler.calendar import NightRules, Rule
from services.scheduler.moment import Place, clock_instant, sun_of_night
from services.scheduler.profile import Profile

Step: TypeAlias = "tuple[datetime, int, int]"
"""From an instant on a level in per mille, with the ramp into it in seconds."""


@dataclass(frozen=True, slots=True)
class NightCourse:
    """What a night brings. steps: ascending, the first at noon. rules: ascending by (from, position).

    is_dark: False for a night that never gets dark, into which no switch point falls.
    """

    steps: tuple[Step, ...]
    rules: tuple[PlanRule, ...] = ()
    is_dark: bool = True


def course_of_night(
    said: NightRules, profiles: Mapping[str, Profile], place: Place, night: date, sun: SunEvents | None = None
) -> NightCourse:
    """What a calendar's rules for a night come to. Raises InvalidInput with the night where a profile goes wrong.

    An event with a profile has that profile's levels in its hours, one with a level has that level in those of its
    hours that lie between sunset and sunrise; sensor rules are those of the profile that holds at the moment, and none
    where a level does.
    """
    sun = sun or sun_of_night(night, place)
    found = _of_profile(profiles[said.profile], place, night, sun)
    # The last one first: where two are on at once, what is laid over last is what holds.
    for event in reversed(said.events):
        hours = _hours_of(event, place, night, sun)
        if hours is not None:
            over = (
                _of_profile(profiles[event.profile], place, night, sun)
                if event.level_permille is None
                else NightCourse(((night_bounds(night, place.tz)[0], event.level_permille, 0),))
            )
            found = _laid_over(found, over, *hours, night_bounds(night, place.tz)[1])
    return found


def _of_profile(profile: Profile, place: Place, night: date, sun: SunEvents) -> NightCourse:
    noon, end = night_bounds(night, place.tz)
    instants = profile.instants(night, place, sun)
    # Every night starts dark by itself: one that was dark to its end leaves nothing to the next.
    steps: list[Step] = [(noon, OFF_PERMILLE, 0)]
    for point, instant in zip(profile.points, instants, strict=False):
        if instant == noon:
            steps.pop()
        if instant < end:
            steps.append((instant, point.level_permille, point.ramp_s))
    return NightCourse(tuple(steps), tuple(profile.sensor_rules(night, place, sun)), bool(instants))


def _hours_of(event: Rule, place: Place, night: date, sun: SunEvents) -> tuple[datetime, datetime] | None:
    """Begin and end of an event; None where nothing is left of it."""
    assert event.hours is not None  # what has none is no event
    noon, next_noon = night_bounds(night, place.tz)
    begin = clock_instant(night, event.hours[0], place.tz)
    end = clock_instant(night, event.hours[1], place.tz)
    if end <= noon:
        end = next_noon
    if event.level_permille is not None:
        dark = sun.dark()
        if dark is None:
            return None
        begin, end = max(begin, dark[0].replace(microsecond=0)), min(end, dark[1].replace(microsecond=0))
    begin, end = max(begin, noon), min(end, next_noon)
    return (begin, end) if begin < end else None


def _laid_over(
    base: NightCourse, over: NightCourse, begin: datetime, end: datetime, night_end: datetime
) -> NightCourse:
    """One course with another one in its place from `begin` until `end`."""
    steps = [step for step in base.steps if step[0] < begin]
    steps.append(_step_at(over.steps, begin))
    steps += [step for step in over.steps if begin < step[0] < end]
    if end < night_end:
        steps.append(_step_at(base.steps, end))
        steps += [step for step in base.steps if step[0] > end]
    begin_ms, end_ms = to_unix_ms(begin), to_unix_ms(end)
    rules = [
        *_clipped(base.rules, to_unix_ms(base.steps[0][0]), begin_ms),
        *_clipped(over.rules, begin_ms, end_ms),
        *_clipped(base.rules, end_ms, to_unix_ms(night_end)),
    ]
    rules.sort(key=lambda rule: (rule.from_ms, rule.position))
    return NightCourse(tuple(steps), tuple(rules), base.is_dark)


def _step_at(steps: Sequence[Step], instant: datetime) -> Step:
    """What begins at an instant where a course is taken up: its level there, with its ramp if it begins just then."""
    since, level, ramp = next(step for step in reversed(steps) if step[0] <= instant)
    return instant, level, ramp if since == instant else 0


def _clipped(rules: Iterable[PlanRule], begin_ms: int, end_ms: int) -> list[PlanRule]:
    clipped = [
        replace(rule, from_ms=max(rule.from_ms, begin_ms), until_ms=min(rule.until_ms, end_ms)) for rule in rules
    ]
    return [rule for rule in clipped if rule.from_ms < rule.until_ms]
