"""What goes wrong at groups in the year ahead: what lighting would refuse, nights of which no plan can be made. Pure.

For whoever saves a profile or a calendar, or lets a group follow one: lighting says no only when the plan is put, some
nights before it holds, and then the plan before goes on for some nights and the default light after it. Not here: what
keeps a profile from being saved at all (nights.py), and who asks lighting (api/year_ahead.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from domain.errors import InvalidInput
from domain.names import ResourceName
from services.scheduler.calendar import Calendar
from services.scheduler.compiling import is_whole
from services.scheduler.days import Days
from services.scheduler.nights import compile_calendar
from services.scheduler.preview import AT_ONCE, Period, PreviewedGroup
from services.scheduler.profile import Profile
from services.scheduler.records import Town
from services.scheduler.sky import Nights, sky_over
from services.scheduler.warnings import REFUSED, group_warnings


def followers_of_calendar(town: Town, calendar_uid: str) -> dict[str, Calendar]:
    """By uid of a group: a calendar, where the group follows it."""
    if not is_whole(town, calendar_uid):
        return {}
    calendar = town.calendars[calendar_uid].calendar
    return {each.group_uid: calendar for each in town.assignments if each.calendar_uid == calendar_uid}


def follower(town: Town, assignment_uid: str) -> dict[str, Calendar]:
    """By uid of the group of an assignment: the calendar that it follows."""
    return {
        each.group_uid: town.calendars[each.calendar_uid].calendar
        for each in town.assignments
        if each.uid == assignment_uid and is_whole(town, each.calendar_uid)
    }


def followers(town: Town, profile_uid: str) -> dict[str, Calendar]:
    """By uid of a group: the calendar that it follows, where that uses a profile."""
    using = {
        uid: stored.calendar
        for uid, stored in town.calendars.items()
        if profile_uid in stored.calendar.profiles() and is_whole(town, uid)
    }
    return {each.group_uid: using[each.calendar_uid] for each in town.assignments if each.calendar_uid in using}


def refused_ahead(
    town: Town,
    changed: Mapping[str, Profile],
    groups: Iterable[tuple[PreviewedGroup, Calendar]],
    period: Period,
) -> list[str]:
    """Warnings "GROUP: what, and from which night on", by the groups' ids. changed: profiles as they would be."""
    profiles = {uid: stored.profile for uid, stored in town.profiles.items()} | dict(changed)
    by_calendar: dict[Calendar, list[PreviewedGroup]] = {}
    for group, calendar in groups:
        by_calendar.setdefault(calendar, []).append(group)
    frame = Nights(period.tz, period.first_night, period.nights)
    found = [
        (ResourceName.parse(group.name).id, warning)
        for calendar, mine in by_calendar.items()
        for begin in range(0, len(mine), AT_ONCE)
        for group, warnings in _looked_at(mine[begin : begin + AT_ONCE], calendar, profiles, frame, town.days)
        for warning in warnings
    ]
    return [f"{identifier}: {warning}" for identifier, warning in sorted(found, key=lambda each: each[0])]


def _looked_at(
    groups: Sequence[PreviewedGroup], calendar: Calendar, profiles: Mapping[str, Profile], frame: Nights, days: Days
) -> Iterator[tuple[PreviewedGroup, list[str]]]:
    """What goes wrong in each group. A preview without its sums: whoever saves waits for it."""
    courses = compile_calendar(calendar, profiles, sky_over(frame, [group.place for group in groups]), days)
    first_wrong = courses.first_wrong().tolist()
    warnings = group_warnings(courses, range(len(groups)), [group.load for group in groups])
    for row, group in enumerate(groups):
        if first_wrong[row] < 0:
            yield group, [warning for warning in warnings[row] if REFUSED in warning]
            continue
        try:
            courses.raise_wrong(row, first_wrong[row])
        except InvalidInput as error:
            yield group, [f"{error.message}: no plan can be made of it"]
