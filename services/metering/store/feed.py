"""The feed: batches of readings in the order of their commits, for whoever wants to be sent what is stored.

Numbers have no holes and follow the order of commits, since the counter's row is locked from the moment a number is
taken until the commit. So a reader that has seen number n misses nothing by asking for what is above n, on any replica.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel import Session, col, select

from services.metering.store.tables import BatchRow

ESTIMATE: Final = "estimate"
"""The source of what `EstimateReadings` made."""
OURSELVES: Final = "service:metering"
"""Who brings what the service itself has read, and multiplied by the ratio that it knew."""
_NAME: Final = "readings"


@dataclass(frozen=True, slots=True)
class Source:
    """Where readings come from ("poll", "hand", "import:FILE"), who brought them (a subject), when (domain time), and
    why, where somebody has to say."""

    source: str
    actor: str
    stored_at: datetime
    reason: str = ""


def open_batch(session: Session, source: Source, first_slot_ms: int, last_slot_ms: int, count: int) -> int:
    """Id of a new batch, which has no place in the feed yet."""
    row = BatchRow(
        source=source.source,
        actor=source.actor,
        stored_at=source.stored_at,
        first_slot_ms=first_slot_ms,
        last_slot_ms=last_slot_ms,
        readings=count,
        reason=source.reason,
    )
    session.add(row)
    session.flush()
    if row.id is None:
        raise AssertionError("the database numbers batches")
    return row.id


def hold(session: Session) -> None:
    """Waits for others who store readings, and has them wait until the commit. SQLite has one writer anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.connection().execute(text("SELECT 1 FROM reading_feed WHERE name = :name FOR UPDATE"), {"name": _NAME})


def publish(session: Session, batch_id: int) -> int:
    """Gives a batch its place in the feed. Done last in a transaction: the counter stays locked until its end."""
    connection = session.connection()
    sequence = connection.execute(
        text("UPDATE reading_feed SET sequence = sequence + 1 WHERE name = :name RETURNING sequence"), {"name": _NAME}
    ).scalar_one()
    connection.execute(
        text("UPDATE reading_batch SET feed_sequence = :sequence WHERE id = :id"),
        {"sequence": sequence, "id": batch_id},
    )
    return int(sequence)


def newest(session: Session) -> int:
    """Number of the newest batch; 0 if there is none."""
    statement = text("SELECT sequence FROM reading_feed WHERE name = :name")
    return int(session.connection().execute(statement, {"name": _NAME}).scalar_one())


def batches_after(session: Session, sequence: int, limit: int) -> list[BatchRow]:
    """Batches with a higher number, in order."""
    statement = (
        select(BatchRow)
        .where(col(BatchRow.feed_sequence) > sequence)
        .order_by(col(BatchRow.feed_sequence))
        .limit(limit)
    )
    return list(session.exec(statement))
