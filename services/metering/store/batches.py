"""Which batch each revision of a reading was stored with: where it comes from, who brought it, when and why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlmodel import Session, col, select

from services.metering.reading import Int64, Readings
from services.metering.store.bulk import fetch_rows, key_set
from services.metering.store.tables import BatchRow


def batch_ids(session: Session, readings: Readings) -> Int64:
    """Id of the batch of each reading, all of which are stored."""
    if not len(readings):
        return np.empty(0, np.int64)
    first, last = int(readings.slot_ms.min()), int(readings.slot_ms.max())
    keys = key_set(session, np.unique(readings.register).tolist())
    rows = fetch_rows(
        session,
        f"SELECT life_key, slot_ms, revision, batch_id FROM reading WHERE life_key IN {keys}"
        f" AND slot_ms >= {first} AND slot_ms <= {last}",
    )
    found = {(key, slot, revision): batch for key, slot, revision, batch in rows}
    wanted = zip(readings.register.tolist(), readings.slot_ms.tolist(), readings.revision.tolist(), strict=True)
    return np.fromiter((found[key] for key in wanted), np.int64, len(readings))


def rows_of(session: Session, ids: Sequence[int]) -> dict[int, BatchRow]:
    """Batches by their id."""
    found: dict[int, BatchRow] = {}
    for start in range(0, len(ids), 500):
        statement = select(BatchRow).where(col(BatchRow.id).in_(ids[start : start + 500]))
        found.update({row.id: row for row in session.exec(statement) if row.id is not None})
    return found
