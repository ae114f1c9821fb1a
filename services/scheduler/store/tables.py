"""The scheduler's tables. SQLModel does not validate rows: what gets here has been checked by the pure modules.

A profile or calendar is a head, which says which revision holds, and its revisions, which nobody changes and which stay
when the head is deleted. What a revision says is JSON in the form of documents.py.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from servicekit.columns import UtcDateTime


def identifier(length: int) -> String:
    """Text that is compared byte by byte on both databases, so that pages are in the same order everywhere."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


class SchedulerTable(SQLModel, registry=registry()):
    """Base of the scheduler's tables: their names are its own affair, whatever other services call theirs."""


class HeadRow(SchedulerTable):
    """What heads have in common."""

    uid: str = Field(primary_key=True)
    municipality_uid: str
    id: str = Field(sa_type=identifier(63))
    revision: int


class RevisionRow(SchedulerTable):
    """What revisions have in common. Held in domain time from `held_from` until `held_until` (None: it still holds)."""

    uid: str = Field(primary_key=True)
    revision: int = Field(primary_key=True)
    municipality_uid: str
    id: str = Field(sa_type=identifier(63))
    display_name: str
    content: dict[str, Any] = Field(sa_type=JSON)
    held_from: datetime = Field(sa_type=UtcDateTime)
    held_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    recorded_at: datetime = Field(sa_type=UtcDateTime)


class ProfileRow(HeadRow, table=True):
    """A profile that exists."""

    __tablename__ = "profile"
    __table_args__ = (UniqueConstraint("municipality_uid", "id", name="profile_id"),)


class ProfileRevisionRow(RevisionRow, table=True):
    """What a profile says or said."""

    __tablename__ = "profile_revision"


class CalendarRow(HeadRow, table=True):
    """A calendar that exists."""

    __tablename__ = "calendar"
    __table_args__ = (UniqueConstraint("municipality_uid", "id", name="calendar_id"),)


class CalendarRevisionRow(RevisionRow, table=True):
    """What a calendar says or said."""

    __tablename__ = "calendar_revision"


class CalendarProfileRow(SchedulerTable, table=True):
    """A calendar as it stands uses a profile: the database itself keeps a profile that is used from being deleted."""

    __tablename__ = "calendar_profile"

    calendar_uid: str = Field(sa_column=Column(ForeignKey("calendar.uid"), primary_key=True))
    profile_uid: str = Field(sa_column=Column(ForeignKey("profile.uid"), primary_key=True))


class SchoolHolidaysRow(HeadRow, table=True):
    """School holidays that a municipality was given; the id is the subdivision."""

    __tablename__ = "school_holidays"
    __table_args__ = (UniqueConstraint("municipality_uid", "id", name="school_holidays_id"),)


class SchoolHolidaysRevisionRow(RevisionRow, table=True):
    """What they say or said."""

    __tablename__ = "school_holidays_revision"


class AssignmentRow(SchedulerTable, table=True):
    """A group follows a calendar. A group has one assignment at most."""

    __tablename__ = "assignment"
    __table_args__ = (
        UniqueConstraint("municipality_uid", "id", name="assignment_id"),
        UniqueConstraint("municipality_uid", "group_uid", name="assignment_group"),
    )

    uid: str = Field(primary_key=True)
    municipality_uid: str
    id: str = Field(sa_column=Column(identifier(63), nullable=False))
    group_uid: str
    calendar_uid: str = Field(sa_column=Column(ForeignKey("calendar.uid"), nullable=False))
    planned_until: datetime | None = Field(sa_column=Column(UtcDateTime, nullable=True))
    refusal: str = Field(sa_column=Column(Text, nullable=False))
    refused_key: str
    version: int
