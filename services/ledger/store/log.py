"""The log of a municipality in the database: appending under a lock, reading leaves, nodes, evidence and checkpoints.

An append writes leaf, nodes, index, evidence and checkpoint in the caller's transaction. Nothing here changes a row but
the size of the log.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, select

from domain.errors import Corrupted
from servicekit.columns import insert_ignore, table_of
from services.ledger import merkle
from services.ledger.checkpoint import Checkpoint
from services.ledger.entry import Entry, entry_bytes
from services.ledger.evidence import Blob
from services.ledger.store.tables import CheckpointRow, EntryRow, EvidenceRow, LeafRow, LogRow, NodeRow

_BATCH = 500


@dataclass(frozen=True, slots=True)
class StoredLeaf:
    """A leaf as it is stored."""

    index: int
    data: bytes
    hash: bytes


def lock_log(session: Session, municipality_uid: str) -> int:
    """Locks the log of a municipality until the end of the transaction. Answers its size."""
    insert_ignore(session, LogRow, [{"municipality_uid": municipality_uid, "tree_size": 0}])
    row = session.get(LogRow, municipality_uid, with_for_update=True, populate_existing=True)
    if row is None:
        raise Corrupted("the log vanished within its own transaction")
    return row.tree_size


def log_size(session: Session, municipality_uid: str) -> int:
    """Number of leaves."""
    row = session.get(LogRow, municipality_uid)
    return 0 if row is None else row.tree_size


def append(session: Session, entry: Entry, blobs: Sequence[Blob]) -> StoredLeaf:
    """Appends an entry with its evidence. The log is locked by `lock_log` in this transaction."""
    uid = entry.municipality_uid
    size = lock_log(session, uid)
    data = entry_bytes(entry)
    leaf = StoredLeaf(size, data, merkle.leaf_hash(data))
    add_evidence(session, uid, blobs)
    placed = merkle.completed_by(size, leaf.hash, lambda level, index: node_at(session, uid, level, index))
    session.add(LeafRow(municipality_uid=uid, leaf_index=size, data=data, hash=leaf.hash))
    session.add_all(
        NodeRow(municipality_uid=uid, level=level, node_index=index, hash=digest)
        for level, index, digest in placed
        if level > 0
    )
    session.add(
        EntryRow(
            uid=entry.uid,
            municipality_uid=uid,
            measure_uid=entry.measure_uid,
            number=entry.number,
            leaf_index=size,
            kind=entry.kind.value,
            start_at=entry.start,
            end_at=entry.end,
            reverses_uid=entry.reverses_uid or None,
        )
    )
    log = session.get_one(LogRow, uid)
    log.tree_size = size + 1
    session.add(log)
    session.flush()
    return leaf


def node_at(session: Session, municipality_uid: str, level: int, index: int) -> bytes:
    """Hash of a complete subtree. Raises Corrupted where it is gone."""
    if level == 0:
        leaf = session.get(LeafRow, (municipality_uid, index))
        found = None if leaf is None else leaf.hash
    else:
        node = session.get(NodeRow, (municipality_uid, level, index))
        found = None if node is None else node.hash
    if found is None:
        raise Corrupted(f"the hash of the tree at level {level}, index {index} is gone")
    return found


def root_of(session: Session, municipality_uid: str, size: int) -> bytes:
    """Root hash of the first `size` leaves by the stored hashes."""
    return merkle.root(size, lambda level, index: node_at(session, municipality_uid, level, index))


def add_evidence(session: Session, municipality_uid: str, blobs: Sequence[Blob]) -> None:
    """Stores blobs; those that are there already stay as they are."""
    rows = {
        blob.hash: {"municipality_uid": municipality_uid, "hash": blob.hash, "label": blob.label, "data": blob.data}
        for blob in blobs
    }
    insert_ignore(session, EvidenceRow, list(rows.values()))


def evidence_bytes(session: Session, municipality_uid: str, digest: str) -> bytes | None:
    """The bytes that are stored under a hash; None if there are none."""
    table = table_of(EvidenceRow)
    found = session.connection().execute(
        select(table.c.data).where(table.c.municipality_uid == municipality_uid, table.c.hash == digest)
    )
    return found.scalar()


def leaves(session: Session, municipality_uid: str, first: int = 0, limit: int | None = None) -> Iterator[StoredLeaf]:
    """Leaves in order, from `first` on, fetched in batches."""
    table = table_of(LeafRow)
    left = limit
    while left is None or left > 0:
        batch = _BATCH if left is None else min(_BATCH, left)
        rows = (
            session.connection()
            .execute(
                select(table.c.leaf_index, table.c.data, table.c.hash)
                .where(table.c.municipality_uid == municipality_uid, table.c.leaf_index >= first)
                .order_by(table.c.leaf_index)
                .limit(batch)
            )
            .all()
        )
        for index, data, digest in rows:
            yield StoredLeaf(index, data, digest)
        if len(rows) < batch:
            return
        first = rows[-1][0] + 1
        left = None if left is None else left - batch


def nodes(session: Session, municipality_uid: str) -> dict[tuple[int, int], bytes]:
    """Every stored node of a log."""
    table = table_of(NodeRow)
    rows = session.connection().execute(
        select(table.c.level, table.c.node_index, table.c.hash).where(table.c.municipality_uid == municipality_uid)
    )
    return {(level, index): digest for level, index, digest in rows}


def add_checkpoint(session: Session, checkpoint: Checkpoint) -> None:
    """Stores a checkpoint; one of the same size that is there already stays."""
    row = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__ if name != "origin"}
    insert_ignore(session, CheckpointRow, [{"municipality_uid": checkpoint.origin, **row}])


def checkpoint_at(session: Session, municipality_uid: str, size: int) -> Checkpoint | None:
    """The checkpoint of a size; None if there is none."""
    row = session.get(CheckpointRow, (municipality_uid, size))
    return None if row is None else _checkpoint(row)


def checkpoints(session: Session, municipality_uid: str, larger_than: int = -1) -> list[Checkpoint]:
    """Checkpoints by size, those of more leaves than `larger_than` only."""
    query = (
        select(CheckpointRow)
        .where(CheckpointRow.municipality_uid == municipality_uid, col(CheckpointRow.tree_size) > larger_than)
        .order_by(col(CheckpointRow.tree_size))
    )
    return [_checkpoint(row) for row in session.exec(query)]


def _checkpoint(row: CheckpointRow) -> Checkpoint:
    return Checkpoint(
        origin=row.municipality_uid,
        tree_size=row.tree_size,
        root_hash=row.root_hash,
        signed_at=row.signed_at,
        note=row.note,
        signature=row.signature,
        public_key=row.public_key,
    )
