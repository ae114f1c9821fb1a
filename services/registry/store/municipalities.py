"""Municipalities and unions: stored, found, listed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from domain.errors import AlreadyExists, InvalidInput, NotFound, Violation
from services.registry.municipality import Municipality, Position, Union
from services.registry.store.tables import MunicipalityRow, UnionMemberRow, UnionRow


@dataclass(frozen=True, slots=True)
class Visible:
    """Which municipalities a caller may see, by id. `ids` None means all of them."""

    ids: frozenset[str] | None

    def includes(self, identifier: str) -> bool:
        """True if the caller may know of it."""
        return self.ids is None or identifier in self.ids


EVERYTHING = Visible(None)


def add_municipality(session: Session, municipality: Municipality) -> None:
    """Stores a new municipality. Raises AlreadyExists."""
    if session.exec(select(MunicipalityRow.uid).where(MunicipalityRow.id == municipality.id)).first():
        raise AlreadyExists(f"municipalities/{municipality.id}")
    session.add(_municipality_row(municipality))
    try:
        session.flush()
    except IntegrityError as error:  # somebody else was faster
        raise AlreadyExists(f"municipalities/{municipality.id}") from error


def get_municipality(session: Session, uid: str, *, lock: bool = False) -> Municipality:
    """A municipality by uid, locked until the end of the transaction where it is about to change. Raises NotFound."""
    row = session.get(MunicipalityRow, uid, with_for_update=lock)
    if row is None:
        raise NotFound("municipalities/?", "the municipality does not exist any more")
    return _municipality(row)


def replace_municipality(session: Session, after: Municipality) -> Municipality:
    """Stores a changed municipality as its next version. It was read with its lock in the same transaction."""
    stored = replace(after, version=after.version + 1)
    session.merge(_municipality_row(stored))
    session.flush()
    return stored


def list_municipalities(
    session: Session, visible: Visible, *, after_id: str | None = None, limit: int | None = None
) -> Sequence[Municipality]:
    """Municipalities in the order of their ids, those after `after_id` only."""
    query = select(MunicipalityRow).order_by(col(MunicipalityRow.id))
    if visible.ids is not None:
        query = query.where(col(MunicipalityRow.id).in_(visible.ids))
    if after_id is not None:
        query = query.where(col(MunicipalityRow.id) > after_id)
    if limit is not None:
        query = query.limit(limit)
    return [_municipality(row) for row in session.exec(query)]


def uids_of(session: Session, ids: Collection[str]) -> dict[str, str]:
    """Uids of municipalities by id; ids that do not exist are missing."""
    query = select(MunicipalityRow.id, MunicipalityRow.uid).where(col(MunicipalityRow.id).in_(ids))
    return dict(session.exec(query).all())


def add_union(session: Session, union: Union, created_at: datetime) -> Sequence[str]:
    """Stores a new union and returns its members' uids. Raises AlreadyExists, and InvalidInput for unknown members."""
    if session.exec(select(UnionRow.uid).where(UnionRow.id == union.id)).first():
        raise AlreadyExists(f"unions/{union.id}")
    uids = uids_of(session, union.members)
    unknown = [member for member in union.members if member not in uids]
    if unknown:
        raise InvalidInput(
            violations=[Violation("municipalities", f"municipalities/{member} does not exist") for member in unknown]
        )
    session.add(UnionRow(uid=union.uid, id=union.id, display_name=union.display_name, created_at=created_at))
    try:
        session.flush()
    except IntegrityError as error:  # somebody else was faster
        raise AlreadyExists(f"unions/{union.id}") from error
    session.add_all(UnionMemberRow(union_uid=union.uid, municipality_uid=uids[member]) for member in union.members)
    session.flush()
    return [uids[member] for member in union.members]


def list_unions(
    session: Session, visible: Visible, *, after_id: str | None = None, limit: int | None = None
) -> Sequence[Union]:
    """Unions in the order of their ids, those whose every member is visible."""
    query = select(UnionRow).order_by(col(UnionRow.id))
    if visible.ids is not None:
        hidden = (
            select(UnionMemberRow.union_uid)
            .join(MunicipalityRow, col(MunicipalityRow.uid) == col(UnionMemberRow.municipality_uid))
            .where(col(MunicipalityRow.id).not_in(visible.ids))
        )
        query = query.where(col(UnionRow.uid).not_in(hidden))
    if after_id is not None:
        query = query.where(col(UnionRow.id) > after_id)
    if limit is not None:
        query = query.limit(limit)
    rows = session.exec(query).all()
    members = _members_of(session, [row.uid for row in rows])
    return [Union(row.uid, row.id, row.display_name, members.get(row.uid, ())) for row in rows]


def _members_of(session: Session, union_uids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    query = (
        select(UnionMemberRow.union_uid, MunicipalityRow.id)
        .join(MunicipalityRow, col(MunicipalityRow.uid) == col(UnionMemberRow.municipality_uid))
        .where(col(UnionMemberRow.union_uid).in_(union_uids))
        .order_by(col(MunicipalityRow.id))
    )
    members: dict[str, tuple[str, ...]] = {}
    for union_uid, identifier in session.exec(query):
        members[union_uid] = (*members.get(union_uid, ()), identifier)
    return members


def _municipality_row(municipality: Municipality) -> MunicipalityRow:
    return MunicipalityRow(
        uid=municipality.uid,
        id=municipality.id,
        display_name=municipality.display_name,
        time_zone=municipality.time_zone,
        latitude_deg=municipality.position.latitude_deg,
        longitude_deg=municipality.position.longitude_deg,
        synthetic=municipality.synthetic,
        created_at=municipality.created_at,
        version=municipality.version,
    )


def _municipality(row: MunicipalityRow) -> Municipality:
    return Municipality(
        uid=row.uid,
        id=row.id,
        display_name=row.display_name,
        time_zone=row.time_zone,
        position=Position(row.latitude_deg, row.longitude_deg),
        created_at=row.created_at,
        synthetic=row.synthetic,
        version=row.version,
    )
