"""Small makers of profiles, calendars and assignments, in the words of the contract and of the domain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import time
from typing import Any

from domain.names import new_uid
from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from services.scheduler.calendar import Calendar, Rule
from services.scheduler.profile import Anchor, Profile, SwitchPoint
from services.scheduler.records import Assignment, StoredCalendar, StoredProfile

HERSFELD_NAME = "municipalities/bad-hersfeld"


def sunset(level_permille: int = 1000, **changes: Any) -> pb.SwitchPoint:
    """A switch point at sunset."""
    return pb.SwitchPoint(anchor=pb.ANCHOR_SUNSET, level_permille=level_permille, **changes)


def sunrise(level_permille: int = 0, **changes: Any) -> pb.SwitchPoint:
    """A switch point at sunrise: off."""
    return pb.SwitchPoint(anchor=pb.ANCHOR_SUNRISE, level_permille=level_permille, **changes)


def at(clock_time: str, level_permille: int, **changes: Any) -> pb.SwitchPoint:
    """A switch point at a clock time."""
    return pb.SwitchPoint(anchor=pb.ANCHOR_CLOCK, clock_time=clock_time, level_permille=level_permille, **changes)


def night_dim(level_permille: int = 500) -> list[pb.SwitchPoint]:
    """Full light, reduced from 22:30 to 04:30."""
    return [sunset(), at("22:30", level_permille), at("04:30", 1000), sunrise()]


def profile_request(
    profile_id: str = "night-dim", points: Sequence[pb.SwitchPoint] | None = None, **changes: Any
) -> pb.CreateProfileRequest:
    """Asks for a profile."""
    profile = pb.Profile(display_name="Night dimming", points=night_dim() if points is None else points)
    given: dict[str, Any] = {"parent": HERSFELD_NAME, "profile_id": profile_id, "profile": profile}
    return pb.CreateProfileRequest(**given | changes)


def calendar_request(
    calendar_id: str = "all-days",
    default_profile: str = "night-dim",
    rules: Sequence[pb.CalendarRule] = (),
    **changes: Any,
) -> pb.CreateCalendarRequest:
    """Asks for a calendar."""
    calendar = pb.Calendar(
        display_name="All days", default_profile=f"{HERSFELD_NAME}/profiles/{default_profile}", rules=rules
    )
    given: dict[str, Any] = {"parent": HERSFELD_NAME, "calendar_id": calendar_id, "calendar": calendar}
    return pb.CreateCalendarRequest(**given | changes)


def assignment_request(group: str, calendar_id: str = "all-days", **changes: Any) -> pb.CreateAssignmentRequest:
    """Asks for a group to follow a calendar."""
    assignment = pb.Assignment(group=group, calendar=f"{HERSFELD_NAME}/calendars/{calendar_id}")
    given: dict[str, Any] = {"parent": HERSFELD_NAME, "assignment": assignment}
    return pb.CreateAssignmentRequest(**given | changes)


ALL_NIGHT = Profile((SwitchPoint(Anchor.SUNSET, 1000), SwitchPoint(Anchor.SUNRISE, 0)))


def dimmed(level_permille: int, begin: time = time(22, 30), end: time = time(4, 30)) -> Profile:
    """Full light, reduced in the middle of the night."""
    return Profile(
        (
            SwitchPoint(Anchor.SUNSET, 1000),
            SwitchPoint(Anchor.CLOCK, level_permille, clock_time=begin),
            SwitchPoint(Anchor.CLOCK, 1000, clock_time=end),
            SwitchPoint(Anchor.SUNRISE, 0),
        )
    )


def stored_profile(
    municipality_uid: str, identifier: str = "night-dim", profile: Profile | None = None
) -> StoredProfile:
    """A profile to be stored."""
    return StoredProfile(new_uid(), municipality_uid, identifier, identifier, profile or dimmed(500))


def stored_calendar(default: StoredProfile, identifier: str = "all-days", *rules: tuple[Rule, str]) -> StoredCalendar:
    """A calendar to be stored; rules come with the id of their profile."""
    ids = {default.uid: default.id} | {rule.profile: name for rule, name in rules}
    calendar = Calendar(tuple(rule for rule, _ in rules), default.uid)
    return StoredCalendar(new_uid(), default.municipality_uid, identifier, identifier, calendar, ids)


def assigned(calendar: StoredCalendar, group_id: str, group_uid: str | None = None) -> Assignment:
    """An assignment to be stored."""
    return Assignment(new_uid(), calendar.municipality_uid, group_id, group_uid or new_uid(), calendar.uid, calendar.id)
