"""The ledger's tables. SQLModel does not validate rows: what gets here has been checked by the pure modules.

leaf, node, entry, evidence and checkpoint are append-only: triggers of the first migration refuse everything else.
`entry` is an index over leaves, for finding and for uniqueness; what counts is the leaf.
"""

from datetime import datetime

from sqlalchemy import BigInteger, Column, ForeignKey, LargeBinary, SmallInteger, String, UniqueConstraint
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from servicekit.columns import UtcDateTime


def _identifier(length: int) -> String:
    """Text that is compared byte by byte on both databases, so that pages are in the same order everywhere."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


class LedgerTable(SQLModel, registry=registry()):
    """Base of the ledger's tables: their names are its own affair, whatever other services call theirs."""


class MeasureRow(LedgerTable, table=True):
    """A measure. `definition` is the contract's Measure as it was taken; the terms that count are evidence."""

    __tablename__ = "measure"
    __table_args__ = (UniqueConstraint("municipality_uid", "measure_id", name="measure_id"),)

    uid: str = Field(primary_key=True)
    municipality_uid: str
    measure_id: str = Field(sa_column=Column(_identifier(63), nullable=False))
    terms_hash: str
    definition: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    post_automatically: bool
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class LogRow(LedgerTable, table=True):
    """The log of a municipality. Whoever appends locks this row."""

    __tablename__ = "log"

    municipality_uid: str = Field(primary_key=True)
    tree_size: int = Field(sa_column=Column(BigInteger, nullable=False))


class LeafRow(LedgerTable, table=True):
    """A leaf: canonical bytes and their hash."""

    __tablename__ = "leaf"

    municipality_uid: str = Field(primary_key=True)
    leaf_index: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    data: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class NodeRow(LedgerTable, table=True):
    """Root of a complete subtree of two leaves and more (level 1 and above)."""

    __tablename__ = "node"

    municipality_uid: str = Field(primary_key=True)
    level: int = Field(sa_column=Column(SmallInteger, primary_key=True, autoincrement=False))
    node_index: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class EntryRow(LedgerTable, table=True):
    """Where an entry is found. `reverses_uid` is unique: nothing is reversed twice."""

    __tablename__ = "entry"
    __table_args__ = (
        UniqueConstraint("measure_uid", "number", name="entry_number"),
        UniqueConstraint("municipality_uid", "leaf_index", name="entry_leaf"),
        UniqueConstraint("reverses_uid", name="entry_reversed_once"),
    )

    uid: str = Field(primary_key=True)
    municipality_uid: str
    measure_uid: str = Field(sa_column=Column(ForeignKey("measure.uid"), nullable=False))
    number: int
    leaf_index: int = Field(sa_column=Column(BigInteger, nullable=False))
    kind: str
    start_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    end_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    reverses_uid: str | None = Field(sa_column=Column(ForeignKey("entry.uid"), nullable=True))


class EvidenceRow(LedgerTable, table=True):
    """A blob under the hash of its bytes, per municipality."""

    __tablename__ = "evidence"

    municipality_uid: str = Field(primary_key=True)
    hash: str = Field(primary_key=True)
    label: str
    data: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class CheckpointRow(LedgerTable, table=True):
    """A signed tree head, one per size."""

    __tablename__ = "checkpoint"

    municipality_uid: str = Field(primary_key=True)
    tree_size: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    root_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    signed_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    note: str
    signature: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    public_key: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
