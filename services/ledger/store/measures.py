"""Measures: stored, found, listed. They are never changed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from domain.errors import AlreadyExists, Corrupted, NotFound
from domain.names import ResourceName
from services.ledger.evidence import Blob
from services.ledger.store.log import add_evidence, evidence_bytes
from services.ledger.store.tables import MeasureRow
from services.ledger.terms import Terms, read_terms


@dataclass(frozen=True, slots=True)
class StoredMeasure:
    """A measure. definition: the contract's Measure in bytes. created_at: domain time."""

    uid: str
    municipality_uid: str
    measure_id: str
    terms_hash: str
    definition: bytes
    post_automatically: bool
    created_at: datetime


def add_measure(session: Session, measure: StoredMeasure, terms: Blob, name: str) -> None:
    """Stores a new measure and its terms. Raises AlreadyExists."""
    taken = select(MeasureRow.uid).where(
        MeasureRow.municipality_uid == measure.municipality_uid, MeasureRow.measure_id == measure.measure_id
    )
    if session.exec(taken).first():
        raise AlreadyExists(name)
    add_evidence(session, measure.municipality_uid, [terms])
    session.add(MeasureRow(**{field: getattr(measure, field) for field in StoredMeasure.__slots__}))
    try:
        session.flush()
    except IntegrityError as error:  # somebody else was faster
        raise AlreadyExists(name) from error


def get_measure(session: Session, municipality_uid: str, name: ResourceName) -> StoredMeasure:
    """The measure of a name, which may be that of one of its entries. Raises NotFound."""
    measure_id = name.ids[1]
    row = session.exec(
        select(MeasureRow).where(MeasureRow.municipality_uid == municipality_uid, MeasureRow.measure_id == measure_id)
    ).first()
    if row is None:
        raise NotFound(f"municipalities/{name.municipality}/measures/{measure_id}")
    return _measure(row)


def list_measures(
    session: Session,
    municipality_uid: str,
    *,
    after: str | None = None,
    limit: int | None = None,
    ids: Collection[str] | None = None,
) -> Sequence[StoredMeasure]:
    """Measures in the order of their ids, those after the id `after` only; `ids` limits them to some."""
    query = (
        select(MeasureRow).where(MeasureRow.municipality_uid == municipality_uid).order_by(col(MeasureRow.measure_id))
    )
    if ids is not None:
        query = query.where(col(MeasureRow.measure_id).in_(ids))
    if after is not None:
        query = query.where(col(MeasureRow.measure_id) > after)
    if limit is not None:
        query = query.limit(limit)
    return [_measure(row) for row in session.exec(query)]


def measures_to_post(session: Session, municipality_uid: str) -> Sequence[StoredMeasure]:
    """Measures of a municipality that are posted automatically, by id."""
    query = (
        select(MeasureRow)
        .where(MeasureRow.municipality_uid == municipality_uid, col(MeasureRow.post_automatically).is_(True))
        .order_by(col(MeasureRow.measure_id))
    )
    return [_measure(row) for row in session.exec(query)]


def terms_of(session: Session, measure: StoredMeasure) -> Terms:
    """The frozen terms of a measure. Raises Corrupted where they are gone or were changed."""
    data = evidence_bytes(session, measure.municipality_uid, measure.terms_hash)
    if data is None or Blob("terms", data).hash != measure.terms_hash:
        raise Corrupted(f"the terms of measure {measure.measure_id} are gone or were changed")
    return read_terms(data)


def _measure(row: MeasureRow) -> StoredMeasure:
    return StoredMeasure(**{field: getattr(row, field) for field in StoredMeasure.__slots__})
