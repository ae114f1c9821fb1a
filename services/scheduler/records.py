"""What the scheduler keeps: profiles, calendars, assignments, with identity and revision; and the groups of lighting.

Pure. What a profile or a calendar says is in profile.py and calendar.py, how plans are made of them in compiling.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from services.scheduler.calendar import Calendar
from services.scheduler.days import Days, SchoolHolidays
from services.scheduler.profile import Profile


@dataclass(frozen=True, slots=True)
class StoredProfile:
    """A profile as it stands. `id` is today's alias, `uid` never changes; `revision` counts the changes from 1."""

    uid: str
    municipality_uid: str
    id: str
    display_name: str
    profile: Profile
    revision: int = 1


@dataclass(frozen=True, slots=True)
class StoredCalendar:
    """A calendar as it stands. Its profiles are uids; `profile_ids` gives their aliases of today."""

    uid: str
    municipality_uid: str
    id: str
    display_name: str
    calendar: Calendar
    profile_ids: Mapping[str, str] = field(compare=False)
    revision: int = 1


@dataclass(frozen=True, slots=True)
class StoredSchoolHolidays:
    """School holidays that a municipality was given. `id` is the subdivision (ISO 3166-2) that they are of."""

    uid: str
    municipality_uid: str
    id: str
    content: SchoolHolidays
    revision: int = 1


@dataclass(frozen=True, slots=True)
class Assignment:
    """A group follows a calendar. `id` is the group's alias when it was assigned; the group is known by its uid.

    planned_until: until when the plan speaks that lighting was last seen to hold; None before the first one.
    refusal: why there is no newer one; empty where all is well. refused_key: what exactly was refused, so that it is
    not tried again until something changes. `version` counts the changes that people make.
    """

    uid: str
    municipality_uid: str
    id: str
    group_uid: str
    calendar_uid: str
    calendar_id: str
    planned_until: datetime | None = None
    refusal: str = ""
    refused_key: str = ""
    version: int = 1


@dataclass(frozen=True, slots=True)
class Town:
    """Everything that the plans of a municipality are made from; calendars and profiles by uid."""

    assignments: tuple[Assignment, ...]
    calendars: Mapping[str, StoredCalendar]
    profiles: Mapping[str, StoredProfile]
    school_holidays: tuple[StoredSchoolHolidays, ...] = ()

    @property
    def days(self) -> Days:
        """What is known of days in this municipality."""
        return days_of(self.school_holidays)


def days_of(given: Iterable[StoredSchoolHolidays]) -> Days:
    """What is known of days where these school holidays were given."""
    return Days({stored.id: stored.content for stored in given})


@dataclass(frozen=True, slots=True)
class Group:
    """A group as lighting knows it. Degrees (WGS84) of the middle of its members; None where it has none."""

    name: str
    uid: str
    latitude_deg: float | None
    longitude_deg: float | None
    limits: str
    """Everything about it that a plan may be refused for, as one text to compare."""
