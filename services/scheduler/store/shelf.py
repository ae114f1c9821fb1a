"""Things with a history: a head that says which revision holds, and revisions that stay for ever.

Knows neither profiles nor calendars: each has a shelf of its own, with its two tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, and_, col, select

from domain.errors import AlreadyExists, NotFound
from domain.names import ResourceName
from services.scheduler.store.tables import HeadRow, RevisionRow


@dataclass(frozen=True, slots=True)
class Kept:
    """A thing as one of its revisions has it. `content` is in the form of documents.py."""

    uid: str
    municipality_uid: str
    id: str
    display_name: str
    content: dict[str, Any]
    revision: int


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant on both clocks: domain time, by which things hold, and real time, at which they were recorded."""

    domain: datetime
    real: datetime


@dataclass(frozen=True, slots=True)
class Revision:
    """A revision and when it held (domain time); `held_until` None means that it still does."""

    kept: Kept
    held_from: datetime
    held_until: datetime | None


class Shelf:
    """Where one kind of thing is kept."""

    def __init__(self, head: type[HeadRow], revision: type[RevisionRow]) -> None:
        self._head, self._revision = head, revision

    def add(self, session: Session, kept: Kept, name: str, at: Moment) -> None:
        """Stores a new thing. Raises AlreadyExists with its name."""
        taken = select(self._head.uid).where(
            self._head.municipality_uid == kept.municipality_uid, self._head.id == kept.id
        )
        if session.exec(taken).first():
            raise AlreadyExists(name)
        session.add(
            self._head(uid=kept.uid, municipality_uid=kept.municipality_uid, id=kept.id, revision=kept.revision)
        )
        try:
            session.flush()
        except IntegrityError as error:  # somebody else was faster
            raise AlreadyExists(name) from error
        self._add_revision(session, kept, at)

    def get(self, session: Session, municipality_uid: str, name: ResourceName, *, lock: bool = False) -> Kept:
        """A thing by name, locked until the end of the transaction where it is about to change. Raises NotFound."""
        query = select(self._head).where(self._head.municipality_uid == municipality_uid, self._head.id == name.id)
        head = session.exec(query.with_for_update() if lock else query).first()
        if head is None:
            raise NotFound(str(name))
        row = session.get_one(self._revision, (head.uid, head.revision))
        return _kept(row)

    def replace(self, session: Session, after: Kept, at: Moment) -> Kept:
        """Stores a changed thing as its next revision. It was read with its lock in the same transaction."""
        head = session.get_one(self._head, after.uid)
        self._end_revision(session, head, at)
        stored = replace(after, revision=head.revision + 1)
        head.revision = stored.revision
        self._add_revision(session, stored, at)
        return stored

    def remove(self, session: Session, uid: str, at: Moment) -> None:
        """Deletes a thing; its revisions stay. Raises IntegrityError where something else rests on it."""
        head = session.get_one(self._head, uid)
        self._end_revision(session, head, at)
        session.delete(head)
        session.flush()

    def list(
        self, session: Session, municipality_uid: str, *, after_id: str | None = None, limit: int | None = None
    ) -> Sequence[Kept]:
        """What there is in a municipality, in the order of the ids, those after `after_id` only."""
        query = (
            select(self._revision)
            .join(
                self._head,
                and_(
                    col(self._head.uid) == col(self._revision.uid),
                    col(self._head.revision) == col(self._revision.revision),
                ),
            )
            .where(self._head.municipality_uid == municipality_uid)
            .order_by(col(self._head.id))
        )
        if after_id is not None:
            query = query.where(col(self._head.id) > after_id)
        if limit is not None:
            query = query.limit(limit)
        return [_kept(row) for row in session.exec(query)]

    def ids(self, session: Session, municipality_uid: str) -> dict[str, str]:
        """Uids of what there is in a municipality, by id."""
        query = select(self._head.id, self._head.uid).where(self._head.municipality_uid == municipality_uid)
        return dict(session.exec(query).all())

    def history(self, session: Session, municipality_uid: str, identifier: str) -> Sequence[Revision]:
        """Every revision that bore an id, of things deleted since too, the oldest first."""
        query = (
            select(self._revision)
            .where(self._revision.municipality_uid == municipality_uid, self._revision.id == identifier)
            .order_by(col(self._revision.held_from), col(self._revision.uid), col(self._revision.revision))
        )
        return [Revision(_kept(row), row.held_from, row.held_until) for row in session.exec(query)]

    def _add_revision(self, session: Session, kept: Kept, at: Moment) -> None:
        session.add(
            self._revision(
                uid=kept.uid,
                revision=kept.revision,
                municipality_uid=kept.municipality_uid,
                id=kept.id,
                display_name=kept.display_name,
                content=kept.content,
                held_from=at.domain,
                held_until=None,
                recorded_at=at.real,
            )
        )
        session.flush()

    def _end_revision(self, session: Session, head: HeadRow, at: Moment) -> None:
        session.get_one(self._revision, (head.uid, head.revision)).held_until = at.domain
        session.flush()


def _kept(row: RevisionRow) -> Kept:
    return Kept(row.uid, row.municipality_uid, row.id, row.display_name, row.content, row.revision)
