"""Slots that are flagged as gaps and have nothing better yet: what catch-up looks for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlmodel import Session

from services.metering.life import RegisterLife
from services.metering.reading import Int64, Readings, Status
from services.metering.store import lock
from services.metering.store.bulk import fetch_columns
from services.metering.store.feed import Source
from services.metering.store.ingest import Outcome, write
from services.metering.store.lives import lives_of, rules_of
from services.metering.store.neighbours import judge_among_stored
from services.metering.store.readings import fetch, span_condition
from services.metering.store.tables import MeterRow
from services.metering.validation.parameters import Parameters


def gaps_of(session: Session, keys: Sequence[int], start_ms: int, end_ms: int) -> dict[int, Int64]:
    """Slots with start <= slot < end whose newest reading is a flagged gap, ascending, by register."""
    if not keys:
        return {}
    flagged = fetch_columns(
        session, f"{span_condition(session, keys)} AND r.status = {int(Status.GAP)}", (start_ms, end_ms)
    )
    if not len(flagged):
        return {}
    found = np.unique(flagged.register).tolist()
    current = fetch(session, found, int(flagged.slot_ms.min()), int(flagged.slot_ms.max()) + 1)
    current = current.take(current.is_gap)
    starts = np.flatnonzero(np.r_[len(current) > 0, current.register[1:] != current.register[:-1]])
    slots = np.split(current.slot_ms, starts[1:])
    return dict(zip(current.register[starts].tolist(), slots, strict=True)) if len(starts) else {}


def fill_gaps(
    session: Session, readings: Readings, meter_uids: Sequence[str], source: Source, parameters: Parameters
) -> tuple[Readings, int]:
    """Stores readings, in order of register and slot, in place of gaps: each becomes the next revision. Judged by what
    stands around them and `parameters`. Returns those that were stored, and how many were not wanted any more."""
    lock.to_store_readings(session)
    lives: dict[int, RegisterLife] = {
        life.key: life for found in lives_of(session, meter_uids).values() for life in found if life.removed_ms is None
    }
    # Exchanged meanwhile: what the device of now remembers is not the register of then.
    ordered = readings.take(np.isin(readings.register, list(lives)))
    begins = np.array([lives[key].begin_ms for key in ordered.register.tolist()], np.int64)
    # A gap of before the meter was hung up, as somebody has said since, is none of its slots.
    ordered = ordered.take(ordered.slot_ms >= begins)
    meters = {uid: session.get_one(MeterRow, uid) for uid in meter_uids}
    rules = {key: rules_of(meters[life.meter_uid], life, parameters) for key, life in lives.items()}
    ordered.status = judge_among_stored(session, ordered, lives, rules)
    written = write(session, ordered, source)
    stored = ordered.take(written.outcome == Outcome.STORED)
    return stored, len(readings) - len(stored)
