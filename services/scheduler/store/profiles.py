"""Profiles: stored with every revision, found, listed, deleted where no calendar uses them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from domain.errors import FailedPrecondition
from domain.names import ResourceName
from services.scheduler.records import StoredProfile
from services.scheduler.store.documents import profile_from_document, profile_to_document
from services.scheduler.store.shelf import Kept, Moment, Revision, Shelf
from services.scheduler.store.tables import CalendarProfileRow, CalendarRow, ProfileRevisionRow, ProfileRow

SHELF = Shelf(ProfileRow, ProfileRevisionRow)
_MAX_NAMED = 10


def add_profile(session: Session, profile: StoredProfile, name: str, at: Moment) -> None:
    """Stores a new profile. Raises AlreadyExists with its name."""
    SHELF.add(session, _kept(profile), name, at)


def get_profile(session: Session, municipality_uid: str, name: ResourceName, *, lock: bool = False) -> StoredProfile:
    """A profile by name, locked until the end of the transaction where it is about to change. Raises NotFound."""
    return profile_of(SHELF.get(session, municipality_uid, name, lock=lock))


def replace_profile(session: Session, after: StoredProfile, at: Moment) -> StoredProfile:
    """Stores a changed profile as its next revision. It was read with its lock in the same transaction."""
    return profile_of(SHELF.replace(session, _kept(after), at))


def remove_profile(session: Session, profile: StoredProfile, at: Moment) -> None:
    """Deletes a profile; its history stays. Raises FailedPrecondition that names the calendars that use it."""
    query = (
        select(CalendarRow.id)
        .join(CalendarProfileRow, col(CalendarProfileRow.calendar_uid) == col(CalendarRow.uid))
        .where(CalendarProfileRow.profile_uid == profile.uid)
        .order_by(col(CalendarRow.id))
    )
    users = session.exec(query.limit(_MAX_NAMED)).all()
    if users:
        raise FailedPrecondition.of("name", f"the profile is used by calendars: {', '.join(users)}")
    try:
        SHELF.remove(session, profile.uid, at)
    except IntegrityError as error:  # a calendar took it a moment ago
        raise FailedPrecondition.of("name", "the profile is used by a calendar") from error


def list_profiles(
    session: Session, municipality_uid: str, *, after_id: str | None = None, limit: int | None = None
) -> Sequence[StoredProfile]:
    """Profiles of a municipality in the order of their ids, those after `after_id` only."""
    return [profile_of(kept) for kept in SHELF.list(session, municipality_uid, after_id=after_id, limit=limit)]


def profile_history(session: Session, municipality_uid: str, identifier: str) -> Sequence[Revision]:
    """Every revision of the profiles that bore an id, the oldest first: where "night-dim@3" is looked up."""
    return SHELF.history(session, municipality_uid, identifier)


def profile_of(kept: Kept) -> StoredProfile:
    """A profile as one of its revisions has it."""
    return StoredProfile(
        kept.uid,
        kept.municipality_uid,
        kept.id,
        kept.display_name,
        profile_from_document(kept.content),
        kept.revision,
    )


def _kept(profile: StoredProfile) -> Kept:
    return Kept(
        profile.uid,
        profile.municipality_uid,
        profile.id,
        profile.display_name,
        profile_to_document(profile.profile),
        profile.revision,
    )
