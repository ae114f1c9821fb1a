"""School holidays that municipalities were given: stored with every revision, found, listed, deleted."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session

from domain.names import ResourceName
from services.scheduler.days import Days
from services.scheduler.records import StoredSchoolHolidays, days_of
from services.scheduler.store.documents import school_holidays_from_document, school_holidays_to_document
from services.scheduler.store.shelf import Kept, Moment, Shelf
from services.scheduler.store.tables import SchoolHolidaysRevisionRow, SchoolHolidaysRow

SHELF = Shelf(SchoolHolidaysRow, SchoolHolidaysRevisionRow)


def add_school_holidays(session: Session, given: StoredSchoolHolidays, name: str, at: Moment) -> None:
    """Stores new school holidays. Raises AlreadyExists with their name."""
    SHELF.add(session, _kept(given), name, at)


def get_school_holidays(
    session: Session, municipality_uid: str, name: ResourceName, *, lock: bool = False
) -> StoredSchoolHolidays:
    """School holidays by name, locked until the end of the transaction where they are about to change.

    Raises NotFound.
    """
    return _of(SHELF.get(session, municipality_uid, name, lock=lock))


def replace_school_holidays(session: Session, after: StoredSchoolHolidays, at: Moment) -> StoredSchoolHolidays:
    """Stores changed ones as their next revision. They were read with their lock in the same transaction."""
    return _of(SHELF.replace(session, _kept(after), at))


def remove_school_holidays(session: Session, given: StoredSchoolHolidays, at: Moment) -> None:
    """Deletes school holidays; their history stays."""
    SHELF.remove(session, given.uid, at)


def list_school_holidays(
    session: Session, municipality_uid: str, *, after_id: str | None = None, limit: int | None = None
) -> Sequence[StoredSchoolHolidays]:
    """School holidays of a municipality in the order of their ids, those after `after_id` only."""
    return [_of(kept) for kept in SHELF.list(session, municipality_uid, after_id=after_id, limit=limit)]


def load_days(session: Session, municipality_uid: str) -> Days:
    """What is known of days in a municipality."""
    return days_of(list_school_holidays(session, municipality_uid))


def _of(kept: Kept) -> StoredSchoolHolidays:
    return StoredSchoolHolidays(
        kept.uid, kept.municipality_uid, kept.id, school_holidays_from_document(kept.content), kept.revision
    )


def _kept(given: StoredSchoolHolidays) -> Kept:
    content = school_holidays_to_document(given.content)
    return Kept(given.uid, given.municipality_uid, given.id, "", content, given.revision)
