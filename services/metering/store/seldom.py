"""Storing what polling has read, of meters of every reading cycle: gaps are flagged at the slots of their cycle only.

Of what is read every quarter hour polled.py flags whatever lies between two slots. What is read less often has its own
slots: those that polling has passed over are flagged here, and then polled.py is told that nothing lies between.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import text
from sqlmodel import Session

from domain.night import DEFAULT_TIME_ZONE, zone
from servicekit.tenants import time_zones
from services.metering.life import FOREVER_MS
from services.metering.reading import Readings, order_by_register
from services.metering.schedule import SELDOM, slots_between
from services.metering.slot import SLOT_MS
from services.metering.store import feed, lock
from services.metering.store.bulk import fetch_rows, text_set
from services.metering.store.heads import polled_slots, spans_of
from services.metering.store.ingest import Outcome, write
from services.metering.store.lives import keys_of_uids
from services.metering.store.polled import MOST_FLAGGED, Polled, write_polled

_LOOK_BACK_MS: Final = MOST_FLAGGED * SLOT_MS


@dataclass(frozen=True, slots=True)
class _Schedule:
    """When a meter is read."""

    meter_uid: str
    cycle: int
    tz: ZoneInfo


def write_read(session: Session, readings: Readings, lives: Mapping[int, str], source: feed.Source) -> Polled:
    """Stores polled readings. `lives` gives the uid of each key that occurs, which is what counts."""
    lock.to_store_readings(session)
    schedules = _schedules(session)
    seldom = {key: schedules[uid] for key, uid in lives.items() if uid in schedules}
    mine = np.isin(readings.register, list(seldom)) if seldom else np.zeros(len(readings), np.bool_)
    if not mine.any():
        return write_polled(session, readings, lives, source)
    parts = [write_polled(session, readings.take(~mine), lives, source)]
    rows = readings.take(mine)
    parts.append(_flag_between(session, rows, lives, seldom, source))
    meters = [schedule.meter_uid for schedule in seldom.values()]
    for slot_ms in np.unique(rows.slot_ms).tolist():
        _pass_over(session, meters, slot_ms)
        parts.append(write_polled(session, rows.take(rows.slot_ms == slot_ms), lives, source))
    stored = Readings.concatenate([part.stored for part in parts])
    return Polled(stored, sum(part.conflicts for part in parts), sum(part.orphans for part in parts))


def _schedules(session: Session) -> dict[str, _Schedule]:
    """Of the registers whose meters are read less often than every quarter hour, by the uid of their life."""
    cycles = ", ".join(str(int(cycle)) for cycle in SELDOM)
    rows = fetch_rows(
        session,
        "SELECT l.uid, m.uid, m.reading_cycle, m.municipality_uid FROM meter m"
        " JOIN register_life l ON l.meter_uid = m.uid"
        f" WHERE m.reading_cycle IN ({cycles}) AND m.endpoint_uid <> '' AND m.deleted_at IS NULL",
    )
    zones = time_zones(session) if rows else {}
    return {
        life: _Schedule(meter, cycle, zone(zones.get(municipality, DEFAULT_TIME_ZONE)))
        for life, meter, cycle, municipality in rows
    }


def _flag_between(
    session: Session,
    rows: Readings,
    lives: Mapping[int, str],
    seldom: Mapping[int, _Schedule],
    source: feed.Source,
) -> Polled:
    """Flags the slots that polling has passed over since the last one it dealt with, as far as the register lived."""
    known = keys_of_uids(session, [lives[key] for key in seldom])
    polled = polled_slots(session, list(known.values()))
    spans = {span.key: span for span in spans_of(session, list(known.values()))}
    order = np.lexsort((rows.slot_ms, rows.register))
    register, slot = rows.register[order], rows.slot_ms[order]
    starts = np.flatnonzero(np.r_[True, register[1:] != register[:-1]])
    between = cache(slots_between)  # nearly all of them were read last at one and the same slot
    parts: list[Readings] = []
    for given, slots in zip(register[starts].tolist(), np.split(slot, starts[1:]), strict=True):
        key, schedule = known.get(lives[given]), seldom[given]
        if key is None:
            continue
        first_ms, last_ms = polled.get(key, 0) or int(slots[0]), int(slots[-1])
        missing = between(schedule.cycle, max(first_ms, last_ms - _LOOK_BACK_MS), last_ms, schedule.tz)
        if not len(missing):
            continue
        missing = missing[(missing >= spans[key].begin_ms) & (missing < spans[key].end_ms)]
        parts.append(Readings.gaps(key, np.setdiff1d(missing, slots)))
    gaps = Readings.concatenate(parts)
    gaps = gaps.take(order_by_register(gaps))
    written = write(session, gaps, source, polled=True)
    return Polled(gaps.take(written.outcome == Outcome.STORED), 0, 0)


def _pass_over(session: Session, meter_uids: Sequence[str], slot_ms: int) -> None:
    """Says of the registers that live at a slot that polling has dealt with all quarter hours before it."""
    statement = text(
        "UPDATE register_head SET polled_slot_ms = :before WHERE polled_slot_ms > 0 AND polled_slot_ms < :before"
        " AND life_key IN (SELECT key FROM register_life WHERE coalesce(installed_ms, 0) <= :slot"
        f" AND coalesce(removed_ms, {FOREVER_MS}) > :slot AND meter_uid IN {text_set(session, 'uids')})"
    )
    values = {"before": slot_ms - SLOT_MS, "slot": slot_ms, "uids": json.dumps(list(meter_uids))}
    session.connection().execute(statement, values)
