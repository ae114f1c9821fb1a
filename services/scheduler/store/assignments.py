"""Assignments: stored, found, listed; what became of their plans; and all that the plans of a town are made from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import Select

from domain.errors import AlreadyExists, NotFound
from domain.names import ResourceName
from servicekit.columns import table_of
from services.scheduler.records import Assignment, Town
from services.scheduler.store.calendars import list_calendars
from services.scheduler.store.profiles import list_profiles
from services.scheduler.store.school_holidays import list_school_holidays
from services.scheduler.store.tables import AssignmentRow, CalendarRow


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the plan of an assignment at a version of it."""

    uid: str
    version: int
    planned_until: datetime | None
    refusal: str
    refused_key: str


def add_assignment(session: Session, assignment: Assignment, name: str) -> None:
    """Stores a new assignment. Raises AlreadyExists if the group has one."""
    held = select(AssignmentRow.uid).where(
        AssignmentRow.municipality_uid == assignment.municipality_uid,
        (col(AssignmentRow.id) == assignment.id) | (col(AssignmentRow.group_uid) == assignment.group_uid),
    )
    if session.exec(held).first():
        raise AlreadyExists(name, f"{name} exists already: a group follows one calendar")
    session.add(
        AssignmentRow(
            uid=assignment.uid,
            municipality_uid=assignment.municipality_uid,
            id=assignment.id,
            group_uid=assignment.group_uid,
            calendar_uid=assignment.calendar_uid,
            planned_until=assignment.planned_until,
            refusal=assignment.refusal,
            refused_key=assignment.refused_key,
            version=assignment.version,
        )
    )
    try:
        session.flush()
    except IntegrityError as error:  # somebody else was faster
        raise AlreadyExists(name, f"{name} exists already: a group follows one calendar") from error


def get_assignment(session: Session, municipality_uid: str, name: ResourceName, *, lock: bool = False) -> Assignment:
    """An assignment by name, locked until the end of the transaction where it is about to change. Raises NotFound."""
    query = _with_calendar(municipality_uid).where(AssignmentRow.id == name.id)
    found = session.exec(query.with_for_update(of=AssignmentRow) if lock else query).first()
    if found is None:
        raise NotFound(str(name))
    return _assignment(*found)


def follow(session: Session, assignment: Assignment, calendar_uid: str, calendar_id: str) -> Assignment:
    """Lets a group follow another calendar. The assignment was read with its lock in the same transaction.

    What was refused before is tried again; what lighting holds, it holds.
    """
    row = session.get_one(AssignmentRow, assignment.uid)
    row.calendar_uid, row.version = calendar_uid, assignment.version + 1
    row.refusal = row.refused_key = ""
    session.flush()
    return replace(
        assignment,
        calendar_uid=calendar_uid,
        calendar_id=calendar_id,
        refusal="",
        refused_key="",
        version=row.version,
    )


def remove_assignment(session: Session, assignment: Assignment) -> None:
    """Deletes an assignment. It was read with its lock in the same transaction."""
    session.delete(session.get_one(AssignmentRow, assignment.uid))
    session.flush()


def list_assignments(
    session: Session, municipality_uid: str, *, after_id: str | None = None, limit: int | None = None
) -> Sequence[Assignment]:
    """Assignments of a municipality in the order of their ids, those after `after_id` only."""
    query = _with_calendar(municipality_uid).order_by(col(AssignmentRow.id))
    if after_id is not None:
        query = query.where(col(AssignmentRow.id) > after_id)
    if limit is not None:
        query = query.limit(limit)
    return [_assignment(row, calendar_id) for row, calendar_id in session.exec(query)]


def load_town(session: Session, municipality_uid: str) -> Town:
    """Everything that the plans of a municipality are made from.

    Where somebody changes it meanwhile, a calendar or profile that an assignment needs may be missing.
    """
    return Town(
        tuple(list_assignments(session, municipality_uid)),
        {calendar.uid: calendar for calendar in list_calendars(session, municipality_uid)},
        {profile.uid: profile for profile in list_profiles(session, municipality_uid)},
        tuple(list_school_holidays(session, municipality_uid)),
    )


def record_outcomes(session: Session, outcomes: Iterable[Outcome]) -> None:
    """Notes what became of plans. An assignment that somebody changed or deleted meanwhile keeps what it has."""
    table = table_of(AssignmentRow)
    for outcome in outcomes:
        session.connection().execute(
            update(table)
            .where(table.c.uid == outcome.uid, table.c.version == outcome.version)
            .values(planned_until=outcome.planned_until, refusal=outcome.refusal, refused_key=outcome.refused_key)
        )


def _with_calendar(municipality_uid: str) -> Select[AssignmentRow, str]:
    return (
        select(AssignmentRow, CalendarRow.id)
        .join(CalendarRow, col(CalendarRow.uid) == col(AssignmentRow.calendar_uid))
        .where(AssignmentRow.municipality_uid == municipality_uid)
    )


def _assignment(row: AssignmentRow, calendar_id: str) -> Assignment:
    return Assignment(
        uid=row.uid,
        municipality_uid=row.municipality_uid,
        id=row.id,
        group_uid=row.group_uid,
        calendar_uid=row.calendar_uid,
        calendar_id=calendar_id,
        planned_until=row.planned_until,
        refusal=row.refusal,
        refused_key=row.refused_key,
        version=row.version,
    )
