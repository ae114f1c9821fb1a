"""Queries for stored readings: current revisions of registers over a span, and what lies next to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from sqlalchemy import text
from sqlmodel import Session

from services.metering.life import RegisterLife
from services.metering.reading import USABLE, Readings, Status, current
from services.metering.slot import DAY_MS, SLOT_MS
from services.metering.store.bulk import array, fetch_columns, is_postgresql, key_set
from services.metering.vee import Point

_NEAR_MS: Final = 5 * DAY_MS
_LONGEST_WINDOW_MS: Final = 366 * DAY_MS


def fetch(
    session: Session,
    keys: Sequence[int],
    start_ms: int,
    end_ms: int,
    *,
    compared: bool = False,
    all_revisions: bool = False,
) -> Readings:
    """Current revisions of registers with start <= slot < end, in order of register and slot; or all revisions, in
    order of register, slot and revision.

    With `compared` without the columns of observation.
    """
    if not keys or end_ms <= start_ms:
        return Readings.none()
    found = fetch_columns(session, span_condition(session, keys), (start_ms, end_ms), compared=compared)
    return found if all_revisions else current(found)


def span_condition(session: Session, keys: Sequence[int]) -> str:
    """The condition of `fetch`, for `bulk.fetch_columns`: registers, and start and end as parameters."""
    return f"reading r WHERE r.life_key IN {key_set(session, keys)} AND r.slot_ms >= ? AND r.slot_ms < ?"


def fetch_lives(
    session: Session, lives: Sequence[RegisterLife], start_ms: int, end_ms: int, *, all_revisions: bool = False
) -> Readings:
    """The same, of lives, without what was stored for a register after it had been exchanged (recorded late)."""
    begins = np.array([life.begin_ms for life in lives], np.int64)
    ends = np.array([life.end_ms for life in lives], np.int64)
    keys = np.array([life.key for life in lives], np.int64)
    alive = (begins < end_ms) & (ends > start_ms)
    found = fetch(session, keys[alive].tolist(), start_ms, end_ms, all_revisions=all_revisions)
    if not len(found):
        return found
    order = np.argsort(keys)
    place = order[np.searchsorted(keys[order], found.register)]
    within = (found.slot_ms >= begins[place]) & (found.slot_ms < ends[place])
    return found if bool(within.all()) else found.take(within)


def fetch_batch(session: Session, keys: Sequence[int], batch_id: int, start_ms: int, end_ms: int) -> Readings:
    """Readings of registers that were stored with one batch, start <= slot < end, every revision."""
    registers = key_set(session, keys)
    where = f"reading r WHERE r.life_key IN {registers} AND r.slot_ms >= ? AND r.slot_ms < ? AND r.batch_id = ?"
    return fetch_columns(session, where, (start_ms, end_ms, batch_id))


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a list in order of slot and register goes on: after this reading."""

    slot_ms: int
    register: int


def windows(
    session: Session,
    lives: Sequence[RegisterLife],
    start_ms: int,
    end_ms: int,
    size: int,
    after: Cursor | None = None,
    *,
    all_revisions: bool = False,
) -> Iterator[Readings]:
    """Current readings (or all revisions) in order of slot and register, in pieces of about `size`.

    The table lies in order of register and slot, so a whole period cannot be had in order of slot without sorting it.
    Here it is walked in windows of time that hold about one piece each; empty ones grow.
    """
    per_slot = max(1, len(lives))
    width = max(1, size // per_slot) * SLOT_MS
    begin = start_ms if after is None else max(start_ms, after.slot_ms)
    while begin < end_ms and lives:
        end = min(end_ms, begin + width)
        found = by_slot(fetch_lives(session, lives, begin, end, all_revisions=all_revisions))
        if after is not None:
            found = found.take(
                (found.slot_ms > after.slot_ms) | ((found.slot_ms == after.slot_ms) & (found.register > after.register))
            )
        begin = end
        if len(found):
            yield found
        if len(found) < size // 4:
            width = min(width * 2, _LONGEST_WINDOW_MS)
        elif len(found) > size * 2:
            width = max(SLOT_MS, width // 2)


def by_slot(readings: Readings) -> Readings:
    """In order of slot and register; revisions of one slot stay in their order."""
    return readings.take(np.lexsort((readings.register, readings.slot_ms)))


def page(
    session: Session,
    lives: Sequence[RegisterLife],
    start_ms: int,
    end_ms: int,
    size: int,
    after: Cursor | None,
    *,
    all_revisions: bool = False,
) -> tuple[Readings, Cursor | None]:
    """One page in order of slot and register, and where the next one begins (None on the last).

    Revisions of one slot stay together: a page may be a few longer for it.
    """
    parts: list[Readings] = []
    count = 0
    for found in windows(session, lives, start_ms, end_ms, size + 1, after, all_revisions=all_revisions):
        parts.append(found)
        count += len(found)
        if count > size:
            break
    whole = Readings.concatenate(parts)
    if len(whole) <= size:
        return whole, None
    same = (whole.slot_ms[size:] == whole.slot_ms[size - 1]) & (whole.register[size:] == whole.register[size - 1])
    end = size + (int(np.argmin(same)) if not bool(same.all()) else len(same))
    if end == len(whole):
        return whole, Cursor(int(whole.slot_ms[-1]), int(whole.register[-1]))
    taken = whole.take(slice(0, end))
    return taken, Cursor(int(taken.slot_ms[-1]), int(taken.register[-1]))


READ: Final = tuple(status for status in USABLE if status is not Status.ESTIMATED)
"""What was read, or put there by a person: estimates follow from what stands around them."""


def nearest_usable(
    session: Session, life: RegisterLife, at_ms: int, *, before: bool, among: Sequence[Status] = USABLE
) -> int | None:
    """Slot of the nearest usable reading of a life before (or after) an instant, that instant excluded."""
    return usable_beside(session, life.key, (life.begin_ms, life.end_ms), at_ms, before=before, among=among)


def first_read(session: Session, life: RegisterLife, since_ms: int) -> Point | None:
    """The first reading of a register from an instant on, until its end: no estimate, none in doubt."""
    slot_ms = usable_beside(session, life.key, (since_ms, life.end_ms), since_ms - 1, before=False, among=READ)
    if slot_ms is None:
        return None
    return Point(slot_ms, int(fetch(session, [life.key], slot_ms, slot_ms + 1).value[0]))


def usable_beside(
    session: Session,
    key: int,
    alive: tuple[int, int],
    at_ms: int,
    *,
    before: bool,
    among: Sequence[Status] = USABLE,
) -> int | None:
    """Slot of the nearest reading beside an instant whose newest revision is usable, in a register's life.

    alive: begin and end of that life. among: other statuses to look for.
    """
    order, comparison = ("DESC", "<") if before else ("ASC", ">")
    usable = ", ".join(str(int(one)) for one in among)
    # The bounds are said of the newer revision too: PostgreSQL may look for it in months that are out of them else.
    statement = text(
        f"SELECT slot_ms FROM reading r WHERE life_key = :key AND slot_ms {comparison} :at AND slot_ms >= :begin"
        f" AND slot_ms < :end AND status IN ({usable}) AND NOT EXISTS (SELECT 1 FROM reading n WHERE n.life_key = :key"
        f" AND n.slot_ms = r.slot_ms AND n.revision > r.revision AND n.slot_ms {comparison} :at AND n.slot_ms >= :begin"
        f" AND n.slot_ms < :end) ORDER BY slot_ms {order} LIMIT 1"
    )
    values = {"key": key, "at": at_ms, "begin": alive[0], "end": alive[1]}
    found = session.connection().execute(statement, values).scalar()
    return None if found is None else int(found)


def with_neighbours(session: Session, lives: Sequence[RegisterLife], start_ms: int, end_ms: int) -> Readings:
    """Current readings of one meter's lives with start <= slot <= end, and the nearest usable one on each side.

    A side is looked at only where no usable reading stands on the bound itself: then what lies beyond tells nothing.
    """
    parts = [fetch_lives(session, lives, start_ms, end_ms + 1)]
    usable = parts[0].take(np.isin(parts[0].status, USABLE))
    for before, at_ms in ((True, start_ms), (False, end_ms)):
        if bool((usable.slot_ms == at_ms).any()):
            continue
        found = [
            (slot, life) for life in lives if (slot := nearest_usable(session, life, at_ms, before=before)) is not None
        ]
        if found:
            slot, life = max(found, key=lambda pair: pair[0] if before else -pair[0])
            parts.append(fetch(session, [life.key], slot, slot + 1))
    whole = Readings.concatenate(parts)
    return whole.take(np.lexsort((whole.slot_ms, whole.register)))


def with_context(session: Session, lives: Sequence[RegisterLife], usable: Readings) -> Readings:
    """Usable readings of counters with what tells whether the first and the last one of a life are spikes, where that
    is in question: the reading before a first one that it lies above or from
    which the second one falls, the reading after a last one that steps back or that it lies below.

    So what a counter comes to does not depend on the period that is asked for.
    """
    parts = [usable]
    for life in lives:
        rows = np.flatnonzero(usable.register == life.key)
        if not len(rows):
            continue
        slots, values = usable.slot_ms[rows], usable.value[rows]
        before = _near_first(session, life, int(slots[0]), before=True)
        if before is not None:
            found = fetch(session, [life.key], before, before + 1)
            if int(found.value[0]) > values[0] or (len(rows) > 1 and values[1] < values[0]):
                parts.insert(0, found)
        after = _near_first(session, life, int(slots[-1]), before=False)
        if after is not None:
            found = fetch(session, [life.key], after, after + 1)
            if int(found.value[0]) < values[-1] or (len(rows) > 1 and values[-1] < values[-2]):
                parts.append(found)
    if len(parts) == 1:
        return usable
    whole = Readings.concatenate(parts)
    return whole.take(np.lexsort((whole.slot_ms, whole.register)))


def _near_first(session: Session, life: RegisterLife, at_ms: int, *, before: bool) -> int | None:
    """As `nearest_usable`; with a look at some days first, which is in one month or two and mostly enough."""
    begin_ms, end_ms = (at_ms - _NEAR_MS, at_ms) if before else (at_ms, at_ms + _NEAR_MS)
    near = max(begin_ms, life.begin_ms), min(end_ms, life.end_ms)
    found = usable_beside(session, life.key, near, at_ms, before=before)
    return nearest_usable(session, life, at_ms, before=before) if found is None else found


def any_stored(session: Session, keys: Sequence[int], start_ms: int, end_ms: int) -> bool:
    """True if any reading of these registers lies in start <= slot <= end. One probe of the primary key each."""
    within = "r.slot_ms >= :start AND r.slot_ms <= :end LIMIT 1"
    query = f"SELECT 1 FROM reading r WHERE r.life_key IN {key_set(session, keys)} AND {within}"
    if is_postgresql(session):
        # LATERAL with a limit is never made a join, which for ten thousand registers may read months to find nothing.
        query = (
            f"SELECT 1 FROM unnest({array(keys)}) AS k(life_key) CROSS JOIN LATERAL"
            f" (SELECT 1 FROM reading r WHERE r.life_key = k.life_key AND {within}) AS found LIMIT 1"
        )
    return session.connection().execute(text(query), {"start": start_ms, "end": end_ms}).first() is not None


def delete_before(session: Session, keys: Sequence[int], before_ms: int) -> int:
    """Deletes every revision of what registers have before an instant. Returns how many rows went.

    Retention's, and nobody else's: what is deleted here is in roll-ups already.
    """
    for table in ("reading_between_slots", "reading"):
        statement = text(f"DELETE FROM {table} WHERE life_key IN {key_set(session, keys)} AND slot_ms < :before")
        result = session.connection().execute(statement, {"before": before_ms})
    return max(0, result.rowcount)
