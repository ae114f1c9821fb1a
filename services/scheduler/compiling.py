"""Plans for the groups of a town, each compiled once per night: what nobody changed is not computed again.

What a plan is made of and how is planning.py's; who asks and where plans go is synchronising.py's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypeAlias

from domain.errors import InvalidInput
from domain.night import lighting_night
from domain.plan import Plan
from services.scheduler.days import BUILT_IN, Days
from services.scheduler.metrics import COMPILE_DURATION
from services.scheduler.planning import NIGHTS, compile_plan
from services.scheduler.profile import Place
from services.scheduler.records import StoredCalendar, StoredProfile, Town

Revisions: TypeAlias = "tuple[tuple[str, int], ...]"
Key: TypeAlias = "tuple[str, int, Revisions, Revisions, Place, date]"
"""Whatever a plan is compiled from: calendar, profiles and school holidays with their revisions, place, first night."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A plan and what it was compiled from; without a plan, why there is none.

    warnings: what the calendar cannot decide in the time ahead (`Calendar.warnings`).
    """

    plan: Plan | None
    origin: str
    problem: str = ""
    warnings: tuple[str, ...] = ()


class PlanCompiler:
    """The plans of one municipality, kept for as long as they are asked for."""

    def __init__(self) -> None:
        self._kept: dict[Key, Compiled] = {}

    def compile_all(self, town: Town, wanted: Sequence[tuple[str, Place]], now: datetime) -> list[Compiled]:
        """The plans that hold now for calendars (by uid) at places. What is no longer asked for is forgotten.

        Raises KeyError for a calendar that the town does not have with all its profiles.
        """
        used: dict[Key, Compiled] = {}
        found = []
        for calendar_uid, place in wanted:
            calendar = town.calendars[calendar_uid]
            key = _key(calendar, town, place, now)
            compiled = used.get(key) or self._kept.get(key) or _compiled(calendar, town, place, now)
            used[key] = compiled
            found.append(compiled)
        self._kept = used
        return found


def is_whole(town: Town, calendar_uid: str) -> bool:
    """True if the town has the calendar with all its profiles: not so where somebody changed it while it was read."""
    calendar = town.calendars.get(calendar_uid)
    return calendar is not None and calendar.calendar.profiles() <= town.profiles.keys()


def origin_of(
    calendar: StoredCalendar,
    profiles: Mapping[str, StoredProfile],
    first_night: date,
    nights: int,
    days: Days = BUILT_IN,
) -> str:
    """What a plan is compiled from: "night-dim@3 via all-days@1", several profiles joined by "+" as they come."""
    said = [calendar.calendar.of_night(first_night + timedelta(days=number), days) for number in range(nights)]
    found = (uid for night in said for uid in (night.profile, *(event.profile for event in night.events)))
    uids = dict.fromkeys(uid for uid in found if uid)
    names = "+".join(f"{profiles[uid].id}@{profiles[uid].revision}" for uid in uids)
    return f"{names} via {calendar.id}@{calendar.revision}"


def _key(calendar: StoredCalendar, town: Town, place: Place, now: datetime) -> Key:
    profiles = tuple(sorted((uid, town.profiles[uid].revision) for uid in calendar.calendar.profiles()))
    holidays = tuple(sorted((given.uid, given.revision) for given in town.school_holidays))
    return calendar.uid, calendar.revision, profiles, holidays, place, lighting_night(now, place.tz)


def _compiled(calendar: StoredCalendar, town: Town, place: Place, now: datetime) -> Compiled:
    began = time.perf_counter()
    days, first_night = town.days, lighting_night(now, place.tz)
    origin = origin_of(calendar, town.profiles, first_night, NIGHTS, days)
    contents = {uid: town.profiles[uid].profile for uid in calendar.calendar.profiles()}
    warnings = tuple(calendar.calendar.warnings(first_night, days=days))
    try:
        plan = compile_plan(calendar.calendar, contents, place, now, days=days)
    except InvalidInput as error:
        # The profile was right at the municipality's position for a year ahead; elsewhere or later it need not be.
        return Compiled(None, origin, f"{origin} cannot be compiled: {error.message}", warnings)
    finally:
        COMPILE_DURATION.observe(time.perf_counter() - began)
    return Compiled(plan, origin, warnings=warnings)
