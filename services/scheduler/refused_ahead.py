"""What lighting would refuse of a changed profile in the year ahead, at the groups that follow it. Pure.

For whoever saves a profile: lighting says no only when the plan is put, and then the plan before goes on for some
nights and the default light after it. Not here: what keeps a profile from being saved at all (nights.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from domain.names import ResourceName
from services.scheduler.calendar import Calendar
from services.scheduler.compiling import is_whole
from services.scheduler.preview import Period, PreviewedGroup, preview_groups
from services.scheduler.profile import Profile
from services.scheduler.records import Town
from services.scheduler.warnings import REFUSED


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
    """Warnings "GROUP: what, and from which night on". changed: profiles as they would be, by uid."""
    profiles = {uid: stored.profile for uid, stored in town.profiles.items()} | dict(changed)
    by_calendar: dict[Calendar, list[PreviewedGroup]] = {}
    for group, calendar in groups:
        by_calendar.setdefault(calendar, []).append(group)
    return [
        f"{ResourceName.parse(seen.group.name).id}: {warning}"
        for calendar, mine in by_calendar.items()
        for seen in preview_groups(mine, calendar, profiles, period, town.days).groups
        for warning in seen.warnings
        if REFUSED in warning
    ]
