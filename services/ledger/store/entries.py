"""Entries: found by name, period or place in the log. What is answered is read from the leaf, never from the index."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import aliased
from sqlmodel import Session, col, func, select

from domain.errors import Corrupted, InvalidInput, NotFound
from domain.names import ResourceName
from services.ledger.entry import Entry, EntryKind, read_entry
from services.ledger.store.measures import get_measure
from services.ledger.store.tables import EntryRow, LeafRow


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry with its place in the log. reversed_by: name of its reversal; empty while it counts."""

    entry: Entry
    leaf_index: int
    leaf_hash: bytes
    reversed_by: str


def get_entry(session: Session, municipality_uid: str, name: ResourceName) -> StoredEntry:
    """The entry of a name. Raises NotFound."""
    measure = get_measure(session, municipality_uid, name)
    number = name.id
    # "01" is no other name of entry 1.
    row = None
    if number.isascii() and number.isdigit() and len(number) <= 9 and not number.startswith("0"):
        row = session.exec(
            select(EntryRow).where(EntryRow.measure_uid == measure.uid, EntryRow.number == int(number))
        ).first()
    if row is None:
        raise NotFound(str(name))
    return _stored(session, [row])[0]


def overlapping(session: Session, measure_uid: str, start: datetime, end: datetime) -> Sequence[StoredEntry]:
    """Counting entries that share time with a period, by start."""
    return _stored(session, _counting_between(session, measure_uid, start, end))


def next_number(session: Session, measure_uid: str) -> int:
    """Number of the measure's next entry. The log is locked."""
    newest = session.exec(select(func.max(EntryRow.number)).where(EntryRow.measure_uid == measure_uid)).one()
    return (newest or 0) + 1


def list_entries(
    session: Session,
    municipality_uid: str,
    *,
    measure_uids: Collection[str] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    after_leaf: int | None = None,
    limit: int | None = None,
) -> list[StoredEntry]:
    """Entries in the order of the log, those after `after_leaf` only.

    `measure_uids` limits them to some measures, `start` and `end` to periods that lie wholly between the two.
    """
    query = select(EntryRow).where(EntryRow.municipality_uid == municipality_uid).order_by(col(EntryRow.leaf_index))
    if measure_uids is not None:
        query = query.where(col(EntryRow.measure_uid).in_(measure_uids))
    if start is not None:
        query = query.where(col(EntryRow.start_at) >= start)
    if end is not None:
        query = query.where(col(EntryRow.end_at) <= end)
    if after_leaf is not None:
        query = query.where(col(EntryRow.leaf_index) > after_leaf)
    if limit is not None:
        query = query.limit(limit)
    return _stored(session, session.exec(query).all())


def posted_periods(session: Session, measure_uid: str, since: datetime) -> list[tuple[datetime, datetime]]:
    """Periods of every saving that ends after an instant, reversed ones included."""
    query = select(EntryRow.start_at, EntryRow.end_at).where(
        EntryRow.measure_uid == measure_uid,
        EntryRow.kind == EntryKind.SAVING.value,
        col(EntryRow.end_at) > since,
    )
    return [(start, end) for start, end in session.exec(query)]


def index_rows(session: Session, municipality_uid: str) -> Sequence[EntryRow]:
    """The whole index of a log, by leaf, for comparing it with the leaves."""
    query = select(EntryRow).where(EntryRow.municipality_uid == municipality_uid).order_by(col(EntryRow.leaf_index))
    return session.exec(query).all()


def _counting_between(session: Session, measure_uid: str, start: datetime, end: datetime) -> list[EntryRow]:
    reversal = aliased(EntryRow)
    query = (
        select(EntryRow)
        .where(
            EntryRow.measure_uid == measure_uid,
            EntryRow.kind == EntryKind.SAVING.value,
            col(EntryRow.start_at) < end,
            col(EntryRow.end_at) > start,
            ~select(reversal.uid).where(reversal.reverses_uid == EntryRow.uid).exists(),
        )
        .order_by(col(EntryRow.start_at))
    )
    return list(session.exec(query))


def _stored(session: Session, rows: Sequence[EntryRow]) -> list[StoredEntry]:
    if not rows:
        return []
    uid = rows[0].municipality_uid
    indexes = [row.leaf_index for row in rows]
    found = session.exec(select(LeafRow).where(LeafRow.municipality_uid == uid, col(LeafRow.leaf_index).in_(indexes)))
    by_index = {leaf.leaf_index: leaf for leaf in found}
    reversals = _reversals(session, [row.uid for row in rows])
    stored = []
    for row in rows:
        leaf = by_index.get(row.leaf_index)
        if leaf is None:
            raise Corrupted(f"leaf {row.leaf_index} of the log is gone")
        try:
            entry = read_entry(leaf.data)
        except InvalidInput as error:
            raise Corrupted(f"leaf {row.leaf_index} of the log cannot be read: {error}") from error
        number = reversals.get(row.uid)
        reversed_by = f"{ResourceName.parse(entry.name).parent}/entries/{number}" if number else ""
        stored.append(StoredEntry(entry, row.leaf_index, leaf.hash, reversed_by))
    return stored


def _reversals(session: Session, uids: Sequence[str]) -> dict[str, int]:
    """Number of the reversal of each entry that has one."""
    found: dict[str, int] = {}
    for begin in range(0, len(uids), 500):
        query = select(EntryRow.reverses_uid, EntryRow.number).where(
            col(EntryRow.reverses_uid).in_(uids[begin : begin + 500])
        )
        found.update({uid: number for uid, number in session.exec(query) if uid})
    return found
