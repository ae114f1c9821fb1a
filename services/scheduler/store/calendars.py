"""Calendars: stored with every revision, found, listed, deleted where no group follows them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, delete, select

from domain.errors import FailedPrecondition
from domain.names import ResourceName
from services.scheduler.records import StoredCalendar
from services.scheduler.store import profiles
from services.scheduler.store.documents import calendar_from_document, calendar_to_document
from services.scheduler.store.shelf import Kept, Moment, Revision, Shelf
from services.scheduler.store.tables import (
    AssignmentRow,
    CalendarProfileRow,
    CalendarRevisionRow,
    CalendarRow,
    ProfileRevisionRow,
)

SHELF = Shelf(CalendarRow, CalendarRevisionRow)
_MAX_NAMED = 10


def add_calendar(session: Session, calendar: StoredCalendar, name: str, at: Moment) -> None:
    """Stores a new calendar, its profiles looked up in the same transaction. Raises AlreadyExists with its name."""
    SHELF.add(session, _kept(calendar), name, at)
    _note_profiles(session, calendar)


def get_calendar(session: Session, municipality_uid: str, name: ResourceName, *, lock: bool = False) -> StoredCalendar:
    """A calendar by name, locked until the end of the transaction where it is about to change. Raises NotFound."""
    [found] = _with_ids(session, [SHELF.get(session, municipality_uid, name, lock=lock)])
    return found


def replace_calendar(session: Session, after: StoredCalendar, at: Moment) -> StoredCalendar:
    """Stores a changed calendar as its next revision. It was read with its lock in the same transaction."""
    kept = SHELF.replace(session, _kept(after), at)
    session.exec(delete(CalendarProfileRow).where(col(CalendarProfileRow.calendar_uid) == after.uid))
    _note_profiles(session, after)
    [found] = _with_ids(session, [kept])
    return found


def remove_calendar(session: Session, calendar: StoredCalendar, at: Moment) -> None:
    """Deletes a calendar; its history stays. Raises FailedPrecondition that names the groups that follow it."""
    query = (
        select(AssignmentRow.id)
        .where(AssignmentRow.calendar_uid == calendar.uid)
        .order_by(col(AssignmentRow.id))
        .limit(_MAX_NAMED)
    )
    followers = session.exec(query).all()
    if followers:
        raise FailedPrecondition.of("name", f"groups follow the calendar: {', '.join(followers)}")
    session.exec(delete(CalendarProfileRow).where(col(CalendarProfileRow.calendar_uid) == calendar.uid))
    try:
        SHELF.remove(session, calendar.uid, at)
    except IntegrityError as error:  # a group was assigned to it a moment ago
        raise FailedPrecondition.of("name", "a group follows the calendar") from error


def list_calendars(
    session: Session, municipality_uid: str, *, after_id: str | None = None, limit: int | None = None
) -> Sequence[StoredCalendar]:
    """Calendars of a municipality in the order of their ids, those after `after_id` only."""
    return _with_ids(session, SHELF.list(session, municipality_uid, after_id=after_id, limit=limit))


def calendar_history(session: Session, municipality_uid: str, identifier: str) -> Sequence[Revision]:
    """Every revision of the calendars that bore an id, the oldest first: where "all-days@1" is looked up."""
    return SHELF.history(session, municipality_uid, identifier)


def profile_uids(session: Session, municipality_uid: str) -> dict[str, str]:
    """Uids of a municipality's profiles by id, for the profiles that a calendar names."""
    return profiles.SHELF.ids(session, municipality_uid)


def calendar_uids(session: Session, municipality_uid: str) -> dict[str, str]:
    """Uids of a municipality's calendars by id, for the calendar that an assignment names."""
    return SHELF.ids(session, municipality_uid)


def _note_profiles(session: Session, calendar: StoredCalendar) -> None:
    session.add_all(
        CalendarProfileRow(calendar_uid=calendar.uid, profile_uid=profile)
        for profile in sorted(calendar.calendar.profiles())
    )
    session.flush()


def _with_ids(session: Session, found: Collection[Kept]) -> list[StoredCalendar]:
    calendars = [(kept, calendar_from_document(kept.content)) for kept in found]
    wanted = {uid for _, calendar in calendars for uid in calendar.profiles()}
    # Asked of the history: whatever happens between two statements, a profile that was ever there is found.
    query = select(ProfileRevisionRow.uid, ProfileRevisionRow.id).where(
        col(ProfileRevisionRow.uid).in_(wanted), ProfileRevisionRow.revision == 1
    )
    ids = dict(session.exec(query).all())
    return [
        StoredCalendar(
            kept.uid,
            kept.municipality_uid,
            kept.id,
            kept.display_name,
            calendar,
            {uid: ids[uid] for uid in calendar.profiles()},
            kept.revision,
        )
        for kept, calendar in calendars
    ]


def _kept(calendar: StoredCalendar) -> Kept:
    return Kept(
        calendar.uid,
        calendar.municipality_uid,
        calendar.id,
        calendar.display_name,
        calendar_to_document(calendar.calendar),
        calendar.revision,
    )
