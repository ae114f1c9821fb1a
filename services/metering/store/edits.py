"""New revisions by people and by estimation: nothing is overwritten, the newest revision of a slot counts.

What may be edited is the caller's to check (services/metering/edit.py); what readings that are brought may put in the
place of others is ingest.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from sqlalchemy import text
from sqlmodel import Session

from domain.errors import Unavailable
from services.metering.life import FOREVER_MS
from services.metering.reading import Int64, Readings, Status, current
from services.metering.store import feed
from services.metering.store.bulk import fetch_columns, key_set
from services.metering.store.insertion import insert
from services.metering.store.readings import span_condition
from services.metering.store.tables import RegisterHeadRow

_LOOKED_AT: Final = 256
"""Rows that are looked at in one go for the newest reading of a register."""


def current_at(session: Session, keys: Sequence[int], slots: Int64) -> Readings:
    """Current readings of registers at slots, in order of register and slot; what is not stored is left out."""
    if not len(slots):
        return Readings.none()
    where = (
        f"reading r WHERE r.life_key IN {key_set(session, keys)} AND r.slot_ms IN {key_set(session, slots.tolist())}"
        " AND r.slot_ms >= ? AND r.slot_ms <= ?"
    )
    return current(fetch_columns(session, where, (int(slots.min()), int(slots.max()))))


def put(session: Session, ordered: Readings, source: feed.Source) -> int:
    """Stores readings, in order of register and slot, as they are: their revisions are those after the current ones.

    Returns the batch; 0 if there was nothing to store. Raises Unavailable if somebody else was quicker with one of
    them: the caller looks again.
    """
    if not len(ordered):
        return 0
    first, last = int(ordered.slot_ms.min()), int(ordered.slot_ms.max())
    batch_id = feed.open_batch(session, source, first, last, len(ordered))
    if not insert(session, ordered, batch_id):
        raise Unavailable("somebody else stores readings at the same slots", 0.5)
    for key in np.unique(ordered.register).tolist():
        _set_head(session, key, int(ordered.slot_ms[ordered.register == key].max()))
    feed.publish(session, batch_id)
    return batch_id


def drop_estimates(
    session: Session,
    key: int,
    span: tuple[int, int],
    between: tuple[int, int],
    source: feed.Source,
    *,
    only_ours: bool = False,
) -> None:
    """Makes gaps again of a register's estimates in a span (Unix ms, half open) that lie below the first or above the
    second of two counters: those between which they were drawn turned out to be others. only_ours: not of estimates
    that others brought."""
    estimated = f"{span_condition(session, [key])} AND r.status = {int(Status.ESTIMATED)}"
    if only_ours:
        estimated += f" AND r.batch_id IN (SELECT id FROM reading_batch WHERE source = '{feed.ESTIMATE}')"
    slots = np.unique(fetch_columns(session, estimated, span).slot_ms)
    found = current_at(session, [key], slots)
    outside = (found.value < between[0]) | (found.value > between[1])
    misplaced = found.take((found.status == Status.ESTIMATED) & outside)
    gaps = Readings.gaps(key, misplaced.slot_ms)
    gaps.revision = misplaced.revision + 1
    put(session, gaps, source)


def _set_head(session: Session, key: int, edited_ms: int) -> None:
    """The newest reading of a register, where the edit may have changed which one that is."""
    head = session.get(RegisterHeadRow, key)
    if head is not None and head.latest_slot_ms > edited_ms:
        return
    head = head or RegisterHeadRow(life_key=key, latest_slot_ms=0, latest_value=0, polled_slot_ms=0)
    head.latest_slot_ms, head.latest_value = newest(session, key)
    session.add(head)
    session.flush()


def newest(session: Session, key: int, before_ms: int = FOREVER_MS) -> tuple[int, int]:
    """Slot and value of a register's newest current reading before an instant that is no gap; (0, 0) for none."""
    statement = text(
        "SELECT slot_ms, value, status FROM reading WHERE life_key = :key AND slot_ms < :before"
        " ORDER BY slot_ms DESC, revision DESC LIMIT :most"
    )
    before = before_ms
    while True:
        parameters = {"key": key, "before": before, "most": _LOOKED_AT}
        rows = [
            (int(slot), int(value), int(status))
            for slot, value, status in session.connection().execute(statement, parameters)
        ]
        if not rows:
            return 0, 0
        seen = before
        for slot, value, status in rows:
            if slot != seen and status != Status.GAP:
                return slot, value
            seen = slot
        before = seen
