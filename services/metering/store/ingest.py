"""Storing readings: each once, none overwritten.

The rules of a key (register, slot): what is there with the same value changes nothing; a gap says nothing new about a
slot that has a reading; a value for a slot that was flagged as a gap or estimated becomes the next revision; any other
value is in conflict, and refused. So is one for a slot whose value a person has put there. What a person has put right
or rejected does not come back with a repetition of it: a value that stood there before changes nothing either. A
reading's status and instant of observation are not part of this: the first one stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from sqlalchemy import text
from sqlmodel import Session

from domain.errors import Unavailable
from services.metering.reading import Int64, Mask, Readings, Status, current
from services.metering.slot import SLOT_MS
from services.metering.store import feed
from services.metering.store.bulk import fetch_columns, is_postgresql, key_set
from services.metering.store.insertion import insert
from services.metering.store.readings import any_stored, span_condition

_DENSE: Final = 4
"""A span is read as a whole where at least one in so many of its slots is asked for."""
_ATTEMPTS: Final = 4
_GIVING_WAY: Final = (Status.GAP, Status.ESTIMATED)
_PUT_BY_PEOPLE: Final = (Status.EDITED, Status.SUBSTITUTED)
_SLOT_RANGE: Final = 2**42
"""More than any instant in Unix ms until the year 2109: register and slot then fit one int64 for comparing."""


class Outcome(IntEnum):
    """What became of a reading."""

    STORED = 0
    UNCHANGED = 1
    CONFLICT = 2
    PROTECTED = 3
    """A person has put another value there: only a person puts one in its place."""


@dataclass(frozen=True, slots=True)
class Written:
    """Outcome of each reading that was given, in its order; the batch, 0 if nothing was stored."""

    outcome: Int64
    batch_id: int

    def count(self, outcome: Outcome) -> int:
        """How many came out so."""
        return int(np.count_nonzero(self.outcome == outcome))


def write(
    session: Session, ordered: Readings, source: feed.Source, *, polled: bool = False, dry_run: bool = False
) -> Written:
    """Stores readings, in order of register and slot, each key once. `dry_run` only says what would become of them.

    `polled` moves each register's mark of what polling has dealt with. The months need their partitions beforehand.
    """
    if not len(ordered):
        return Written(np.empty(0, np.int64), 0)
    batch_id = 0
    for _ in range(_ATTEMPTS):
        outcome, revision = _judge(session, ordered)
        fresh = outcome == Outcome.STORED
        if dry_run:
            return Written(outcome, 0)
        if not fresh.any():
            break
        new = ordered.take(fresh) if not fresh.all() else ordered
        new.revision = revision[fresh]
        if not batch_id:
            slots = new.slot_ms
            batch_id = feed.open_batch(session, source, int(slots.min()), int(slots.max()), len(new))
        if insert(session, new, batch_id):
            break
    else:
        raise Unavailable("other transactions store the same readings over and over", 0.5)
    if batch_id and not fresh.any():
        # Somebody else was quicker with all of them.
        session.connection().execute(text("DELETE FROM reading_batch WHERE id = :id"), {"id": batch_id})
        batch_id = 0
    _move_heads(session, ordered.take(~np.isin(outcome, (Outcome.CONFLICT, Outcome.PROTECTED))), polled)
    if batch_id:
        feed.publish(session, batch_id)
    return Written(outcome, batch_id)


def _judge(session: Session, ordered: Readings) -> tuple[Int64, Int64]:
    """Outcome, and the revision that a stored one gets."""
    count = len(ordered)
    outcome, revision = np.full(count, Outcome.STORED, np.int64), np.zeros(count, np.int64)
    keys = np.unique(ordered.register).tolist()
    if not any_stored(session, keys, int(ordered.slot_ms.min()), int(ordered.slot_ms.max())):
        return outcome, revision
    revisions = _stored_at(session, ordered, keys)
    stored = current(revisions)
    known, place = _match(ordered, stored)
    rows = np.flatnonzero(known)
    if not len(rows):
        return outcome, revision
    there = stored.take(place[rows])
    outcome[rows] = _against(ordered.take(rows), there)
    revision[rows] = there.revision + 1
    revised = rows[(there.revision > 0) & (outcome[rows] != Outcome.UNCHANGED)]
    if len(revised):
        outcome[revised[_stood_before(ordered.take(revised), revisions)]] = Outcome.UNCHANGED
    return outcome, revision


def _against(given: Readings, there: Readings) -> Int64:
    """Outcome of each reading against the current one of its key."""
    same = ~there.is_gap & (given.value == there.value)
    # A measured value takes the place of an estimate also where that was right.
    same &= (there.status != Status.ESTIMATED) | (given.status == Status.ESTIMATED)
    gives_way = np.isin(there.status, _GIVING_WAY)
    by_hand = np.isin(there.status, _PUT_BY_PEOPLE)
    outcomes = (Outcome.UNCHANGED, Outcome.STORED, Outcome.PROTECTED)
    found: Int64 = np.select(
        [given.is_gap | same, gives_way, by_hand], [int(one) for one in outcomes], int(Outcome.CONFLICT)
    )
    return found


def _stood_before(given: Readings, revisions: Readings) -> Mask:
    """Which readings repeat a value that stood at their key before somebody put another one there, or none."""
    # With nothing before it, no reading repeats anything: most keys have a gap and what came later.
    before = revisions.take(~np.isin(revisions.status, _GIVING_WAY))
    stood = set(zip(before.register.tolist(), before.slot_ms.tolist(), before.value.tolist(), strict=True))
    keys = zip(given.register.tolist(), given.slot_ms.tolist(), given.value.tolist(), strict=True)
    return np.fromiter((key in stood for key in keys), np.bool_, len(given))


def _match(ordered: Readings, stored: Readings) -> tuple[Mask, Int64]:
    """For each reading whether its key is stored, and where in `stored`."""
    if not len(stored):
        return np.zeros(len(ordered), np.bool_), np.zeros(len(ordered), np.int64)
    registers = np.unique(stored.register)
    number = np.minimum(np.searchsorted(registers, ordered.register), len(registers) - 1)
    wanted = number * _SLOT_RANGE + ordered.slot_ms
    there = np.searchsorted(registers, stored.register) * _SLOT_RANGE + stored.slot_ms
    place = np.minimum(np.searchsorted(there, wanted), len(there) - 1).astype(np.int64)
    known: Mask = (registers[number] == ordered.register) & (there[place] == wanted)
    return known, place


def _stored_at(session: Session, ordered: Readings, keys: list[int]) -> Readings:
    """All revisions at the keys of the given readings (and more, where a whole span is cheaper), in order."""
    first, last = int(ordered.slot_ms.min()), int(ordered.slot_ms.max())
    span = ((last - first) // SLOT_MS + 1) * len(keys)
    if len(ordered) * _DENSE >= span:
        return fetch_columns(session, span_condition(session, keys), (first, last + 1), compared=True)
    if is_postgresql(session):
        registers, slots = ordered.register.tolist(), ordered.slot_ms.tolist()
        wanted = f"unnest('{{{_joined(registers)}}}'::bigint[], '{{{_joined(slots)}}}'::bigint[])"
        # OFFSET 0 keeps the planner from turning the join round: of the newest readings it believes that there are next
        # to none until the table is analysed, and would then compare each of them with every pair that is asked for.
        # The span in plain numbers lets it leave out the months that cannot hold any of them.
        where = (
            f"{wanted} AS k(life_key, slot_ms) CROSS JOIN LATERAL (SELECT * FROM reading"
            " WHERE life_key = k.life_key AND slot_ms = k.slot_ms AND slot_ms >= ? AND slot_ms <= ? OFFSET 0) AS r"
        )
        return fetch_columns(session, where, (first, last), compared=True)
    slots_set = key_set(session, np.unique(ordered.slot_ms).tolist())
    where = f"reading r WHERE r.life_key IN {key_set(session, keys)} AND r.slot_ms IN {slots_set}"
    return fetch_columns(session, where, (), compared=True)


def _joined(numbers: list[int]) -> str:
    return ",".join(map(str, numbers))


_HEAD_COLUMNS: Final = ("life_key", "latest_slot_ms", "latest_value", "polled_slot_ms")
_ONE_BY_ONE: Final = f"VALUES ({', '.join(f':{name}' for name in _HEAD_COLUMNS)})"
_ALL_AT_ONCE: Final = f"SELECT * FROM unnest({', '.join(f'CAST(:{name} AS bigint[])' for name in _HEAD_COLUMNS)})"
_HEADS: Final = f"""
INSERT INTO register_head ({", ".join(_HEAD_COLUMNS)})
%s
ON CONFLICT (life_key) DO UPDATE SET
  latest_value = CASE WHEN excluded.latest_slot_ms > register_head.latest_slot_ms
                      THEN excluded.latest_value ELSE register_head.latest_value END,
  latest_slot_ms = CASE WHEN excluded.latest_slot_ms > register_head.latest_slot_ms
                        THEN excluded.latest_slot_ms ELSE register_head.latest_slot_ms END,
  polled_slot_ms = CASE WHEN excluded.polled_slot_ms > register_head.polled_slot_ms
                        THEN excluded.polled_slot_ms ELSE register_head.polled_slot_ms END
"""


def _move_heads(session: Session, ordered: Readings, polled: bool) -> None:
    if not len(ordered):
        return
    register, gap = ordered.register, ordered.is_gap
    ends = np.flatnonzero(np.r_[register[1:] != register[:-1], True])
    # Place of the last reading up to here that is no gap, and belongs to the register if it is not before its start.
    last_value = np.maximum.accumulate(np.where(gap, -1, np.arange(len(register))))
    rows = []
    start = 0
    for end in ends.tolist():
        valued = int(last_value[end])
        rows.append(
            {
                "life_key": int(register[end]),
                "latest_slot_ms": int(ordered.slot_ms[valued]) if valued >= start else 0,
                "latest_value": int(ordered.value[valued]) if valued >= start else 0,
                "polled_slot_ms": int(ordered.slot_ms[end]) if polled else 0,
            }
        )
        start = end + 1
    if is_postgresql(session):
        # A round trip for each of ten thousand registers takes longer than everything else of a slot.
        columns = {name: [row[name] for row in rows] for name in _HEAD_COLUMNS}
        session.connection().execute(text(_HEADS % _ALL_AT_ONCE), columns)
    else:
        session.connection().execute(text(_HEADS % _ONE_BY_ONE), rows)
