"""Runs: spans of a register in which a measured reading stands at every quarter hour, and for counters none below the
one before. What a run encloses is known without looking inside: a counter's amount is the difference at its ends.

Runs are an index over the readings, kept in the transaction that stores them. A run says less than is true where it
is cut short, never more; what lies in none is worked out from the readings themselves (services/metering/figures).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
from sqlalchemy import text
from sqlmodel import Session

from services.metering.life import FOREVER_MS
from services.metering.meter import Kind
from services.metering.reading import USABLE, Int64, Mask, Readings, Status
from services.metering.slot import SLOT_MS
from services.metering.store.bulk import array, fetch_rows, is_postgresql, key_set, upsert_rows
from services.metering.store.readings import fetch

WORTH_KEEPING: Final = 96
"""Shorter runs are dropped once a later one has begun: a register that is read hourly would have one per reading."""

_COLUMNS: Final = ("life_key", "first_slot_ms", "last_slot_ms", "first_value", "last_value")
_OFF_COLUMNS: Final = ("life_key", "slot_ms")
_KEY: Final = ("life_key", "first_slot_ms")


@dataclass(frozen=True, slots=True)
class Run:
    """Readings at first, first + 900 s, ..., last; values are those at both ends."""

    key: int
    first_ms: int
    last_ms: int
    first_value: int
    last_value: int

    @property
    def slots(self) -> int:
        """How many readings it has."""
        return (self.last_ms - self.first_ms) // SLOT_MS + 1


def note(session: Session, ordered: Readings) -> None:
    """Takes account of readings that have just been inserted, in order of register and slot. One writer at a time
    (`feed.hold`): two that go on from the same run would each know of their own readings only."""
    kinds = _kinds(session, np.unique(ordered.register).tolist())
    if not kinds:
        return
    counted = np.isin(ordered.register, np.fromiter(kinds, np.int64))
    mine = ordered if bool(counted.all()) else ordered.take(counted)
    gone_on = _go_on(session, mine, kinds)
    if gone_on.any():
        mine = mine.take(~gone_on)
        kinds = {key: kinds[key] for key in np.unique(mine.register).tolist()}
        if not kinds:
            return
    begun = _begun(mine, kinds)
    first, last = int(mine.slot_ms.min()), int(mine.slot_ms.max())
    near = _near(session, list(kinds), first - WORTH_KEEPING * SLOT_MS, last + SLOT_MS)
    gone: list[Run] = []
    kept: list[Run] = []
    holes = _holes(mine)
    between = _between_slots(session, mine, list(kinds), first - WORTH_KEEPING * SLOT_MS, last + SLOT_MS)
    for key, kind in kinds.items():
        before = near.get(key, [])
        pieces = _without(session, before, holes.get(key, [])) if before else []
        after = _joined(sorted([*pieces, *begun.get(key, [])], key=lambda run: run.first_ms), kind)
        after = _without(session, after, between.get(key, []))
        known = set(before)
        kept += [run for run in after if run not in known]
        staying = {run.first_ms for run in after}
        gone += [run for run in before if run.first_ms not in staying]
    _store(session, kept, gone)


def _go_on(session: Session, ordered: Readings, kinds: Mapping[int, int]) -> Mask:
    """Which of these readings are the next one of their register's only recent run, which then ends with them.

    That is what polling brings, ten thousand at a time, and it needs no run to be taken apart. All else is left.
    """
    register, slot, value = ordered.register, ordered.slot_ms, ordered.value
    none: Mask = np.zeros(len(ordered), np.bool_)
    slot_ms = int(slot[0])
    if slot_ms % SLOT_MS or bool((slot != slot_ms).any()) or bool((register[1:] <= register[:-1]).any()):
        return none
    keys = register.tolist()
    rows = fetch_rows(
        session,
        f"SELECT {', '.join(_COLUMNS)} FROM reading_run WHERE life_key IN {key_set(session, keys)}"
        f" AND last_slot_ms >= {slot_ms - WORTH_KEEPING * SLOT_MS} ORDER BY life_key",
    )
    if not rows:
        return none
    key, first_ms, last_ms, first_value, last_value = np.array(rows, np.int64).T
    alone = np.r_[True, key[1:] != key[:-1]] & np.r_[key[1:] != key[:-1], True] & (last_ms == slot_ms - SLOT_MS)
    between = fetch_rows(
        session,
        f"SELECT life_key FROM reading_between_slots WHERE life_key IN {key_set(session, keys)}"
        f" AND slot_ms > {slot_ms - SLOT_MS} AND slot_ms < {slot_ms + SLOT_MS}",
    )
    if between:
        alone &= ~np.isin(key, [row[0] for row in between])
    place = np.searchsorted(register, key)
    interval = np.isin(key, [one for one, kind in kinds.items() if kind == Kind.INTERVAL])
    is_interval = np.zeros(len(ordered), np.bool_)
    is_interval[place] = interval
    fits = alone & _plain(ordered, is_interval)[place] & (interval | (value[place] >= last_value))
    if fits.any():
        ended = (column[fits].tolist() for column in (key, first_ms, slot[place], first_value, value[place]))
        upsert_rows(session, "reading_run", _COLUMNS, _KEY, list(zip(*ended, strict=True)))
    done = none
    done[place[fits]] = True
    return done


def index(session: Session, key: int, kind: int) -> None:
    """Finds the runs of a register that has none yet: its readings were stored before runs were kept."""
    if _near(session, [key], 0, FOREVER_MS):
        return
    readings = fetch(session, [key], 0, FOREVER_MS, compared=True)
    if len(readings):
        _store(session, [run for run in _begun(readings, {key: kind}).get(key, []) if run.slots >= WORTH_KEEPING], [])


def trim(session: Session, keys: Sequence[int], before_ms: int) -> None:
    """Cuts runs to what begins at an instant or later, since the readings before it are about to be deleted."""
    for before in _near(session, keys, 0, before_ms - 1).values():
        after = _without(session, before, [(0, before_ms - 1)])
        _store(session, after, before)


def of_lives(session: Session, keys: Sequence[int], start_ms: int, end_ms: int) -> dict[int, list[Run]]:
    """Runs of registers that share time with a span, in order, by register."""
    return _near(session, keys, start_ms, end_ms)


def _kinds(session: Session, keys: Sequence[int]) -> dict[int, int]:
    """Kind of the meter of each register that has runs at all: what a sensor shows is no amount."""
    rows = fetch_rows(
        session,
        "SELECT l.key, m.kind FROM register_life l JOIN meter m ON m.uid = l.meter_uid"
        f" WHERE m.kind IN ({int(Kind.COUNTER)}, {int(Kind.INTERVAL)}) AND l.key IN {key_set(session, keys)}",
    )
    return {int(key): int(kind) for key, kind in rows}


def _near(session: Session, keys: Sequence[int], start_ms: int, end_ms: int) -> dict[int, list[Run]]:
    rows = fetch_rows(
        session,
        f"SELECT {', '.join(_COLUMNS)} FROM reading_run WHERE life_key IN {key_set(session, keys)}"
        f" AND last_slot_ms >= {int(start_ms)} AND first_slot_ms <= {int(end_ms)} ORDER BY life_key, first_slot_ms",
    )
    return {key: list(runs) for key, runs in groupby((Run(*row) for row in rows), key=lambda run: run.key)}


def _plain(ordered: Readings, interval: Mask) -> Mask:
    """A revised amount of an interval stands beside the first one, and a sum would count both."""
    plain: Mask = (ordered.status == Status.MEASURED) & (ordered.slot_ms % SLOT_MS == 0)
    plain &= ~interval | (ordered.revision == 0)
    return plain


def _begun(ordered: Readings, kinds: Mapping[int, int]) -> dict[int, list[Run]]:
    """Runs among readings that are new."""
    register, slot, value = ordered.register, ordered.slot_ms, ordered.value
    interval = np.isin(register, [key for key, kind in kinds.items() if kind == Kind.INTERVAL])
    plain = _plain(ordered, interval)
    follows = (
        plain[1:]
        & plain[:-1]
        & (register[1:] == register[:-1])
        & (slot[1:] - slot[:-1] == SLOT_MS)
        & (interval[1:] | (value[1:] >= value[:-1]))
    )
    starts = np.flatnonzero(plain & np.r_[True, ~follows])
    ends = np.flatnonzero(plain & np.r_[~follows, True])
    if len(starts) > len(kinds):
        # Of the short ones only those that something may join: the first and the last of a register.
        edge = register[starts]
        outer = np.r_[True, edge[1:] != edge[:-1]] | np.r_[edge[1:] != edge[:-1], True]
        worth = outer | (ends - starts + 1 >= WORTH_KEEPING)
        starts, ends = starts[worth], ends[worth]
    rows = zip(
        *(c.tolist() for c in (register[starts], slot[starts], slot[ends], value[starts], value[ends])), strict=True
    )
    return {key: list(runs) for key, runs in groupby((Run(*row) for row in rows), key=lambda run: run.key)}


def _holes(ordered: Readings) -> dict[int, list[tuple[int, int]]]:
    """Spans in which something was stored, by register: dense rows make one span."""
    register, slot = ordered.register, ordered.slot_ms
    apart = (register[1:] != register[:-1]) | (slot[1:] - slot[:-1] > SLOT_MS)
    starts, ends = np.flatnonzero(np.r_[True, apart]), np.flatnonzero(np.r_[apart, True])
    spans = zip(register[starts].tolist(), slot[starts].tolist(), slot[ends].tolist(), strict=True)
    return {key: [(a, b) for _, a, b in rows] for key, rows in groupby(spans, key=lambda span: span[0])}


def _between_slots(
    session: Session, ordered: Readings, keys: Sequence[int], start_ms: int, end_ms: int
) -> dict[int, list[tuple[int, int]]]:
    """Readings that stand between two quarter hours, old and new, as spans by register: no run goes across one.

    They are kept in a list of their own: to find one among the readings all around it would have to be looked at.
    """
    off = ordered.slot_ms % SLOT_MS != 0
    if bool(off.any()):
        rows = list(zip(ordered.register[off].tolist(), ordered.slot_ms[off].tolist(), strict=True))
        upsert_rows(session, "reading_between_slots", _OFF_COLUMNS, _OFF_COLUMNS, rows)
    found = fetch_rows(
        session,
        f"SELECT life_key, slot_ms FROM reading_between_slots WHERE life_key IN {key_set(session, keys)}"
        f" AND slot_ms >= {start_ms} AND slot_ms <= {end_ms} ORDER BY life_key, slot_ms",
    )
    return {key: [(slot, slot) for _, slot in rows] for key, rows in groupby(found, key=lambda row: row[0])}


def _without(session: Session, runs: Sequence[Run], holes: Iterable[tuple[int, int]]) -> list[Run]:
    """Runs without the spans in which something was stored anew: a correction, or a reading between two slots."""
    pieces = list(runs)
    for begin, end in holes:
        cut: list[Run] = []
        for run in pieces:
            if end < run.first_ms or begin > run.last_ms:
                cut.append(run)
                continue
            before = run.first_ms + (begin - 1 - run.first_ms) // SLOT_MS * SLOT_MS
            after = run.first_ms + ((end - run.first_ms) // SLOT_MS + 1) * SLOT_MS
            if before >= run.first_ms:
                value = _value_at(session, run.key, before)
                cut.append(Run(run.key, run.first_ms, before, run.first_value, value))
            if after <= run.last_ms:
                cut.append(Run(run.key, after, run.last_ms, _value_at(session, run.key, after), run.last_value))
        pieces = cut
    return pieces


def _value_at(session: Session, key: int, slot_ms: int) -> int:
    statement = text(
        "SELECT value FROM reading WHERE life_key = :key AND slot_ms = :slot ORDER BY revision DESC LIMIT 1"
    )
    return int(session.connection().execute(statement, {"key": key, "slot": slot_ms}).scalar_one())


def _joined(pieces: Sequence[Run], kind: int) -> list[Run]:
    """Pieces in order, those that go on from one another made one, and short ones that are over left out."""
    joined: list[Run] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        goes_on = last is not None and piece.first_ms == last.last_ms + SLOT_MS
        if last is not None and goes_on and (kind == Kind.INTERVAL or piece.first_value >= last.last_value):
            joined[-1] = Run(last.key, last.first_ms, piece.last_ms, last.first_value, piece.last_value)
        else:
            joined.append(piece)
    return [run for run in joined[:-1] if run.slots >= WORTH_KEEPING] + joined[-1:]


def _store(session: Session, kept: Sequence[Run], gone: Sequence[Run]) -> None:
    connection = session.connection()
    if gone:
        statement = text("DELETE FROM reading_run WHERE life_key = :key AND first_slot_ms = :first")
        connection.execute(statement, [{"key": run.key, "first": run.first_ms} for run in gone])
    rows = [(run.key, run.first_ms, run.last_ms, run.first_value, run.last_value) for run in kept]
    upsert_rows(session, "reading_run", _COLUMNS, _KEY, rows)


def values_at(session: Session, keys: Int64, slots: Int64) -> Int64:
    """Values of the current readings at (register, slot) pairs, all of which are stored, by the primary key."""
    if not len(keys):
        return np.empty(0, np.int64)
    if is_postgresql(session):
        # LATERAL with a limit: the newest revision by one probe of the primary key of one month.
        statement = (
            f"SELECT k.life_key, k.slot_ms, r.value FROM unnest({array(keys)}, {array(slots)}) AS k(life_key, slot_ms)"
            " CROSS JOIN LATERAL (SELECT value FROM reading r WHERE r.life_key = k.life_key AND r.slot_ms = k.slot_ms"
            " ORDER BY r.revision DESC LIMIT 1) AS r"
        )
    else:
        registers, instants = (key_set(session, np.unique(column).tolist()) for column in (keys, slots))
        statement = (
            f"SELECT life_key, slot_ms, value FROM reading WHERE life_key IN {registers}"
            f" AND slot_ms IN {instants} ORDER BY life_key, slot_ms, revision"
        )
    found = {(key, slot): value for key, slot, value in fetch_rows(session, statement)}
    return np.fromiter((found[pair] for pair in zip(keys.tolist(), slots.tolist(), strict=True)), np.int64, len(keys))


TOO_LARGE: Final = np.iinfo(np.int64).min
_FEW: Final = 256
"""Readings are at most 2^53, so the sum of so many stays below 2^61."""
_HALVES: Final = (
    "CASE WHEN abs(coalesce(sum(value >> 30), 0)) >= 2147483648 THEN NULL ELSE"
    " CAST(coalesce(sum(value >> 30), 0) * 1073741824 + coalesce(sum(value & 1073741823), 0) AS BIGINT) END"
)
"""The sum of values where it is below 2^61, else NULL."""


def sums_between(session: Session, keys: Int64, begins_ms: Int64, ends_ms: Int64) -> Int64:
    """Sums of the values of registers at slots with begin < slot <= end, where each slot has one revision only.

    `TOO_LARGE` for a sum that no column holds: values that nobody can have measured.
    """
    # As two halves where so many values of 2^53 may come together that their sum is more than a database adds up.
    dense = len(keys) and int((ends_ms - begins_ms).max()) >= _FEW * SLOT_MS
    whole = _HALVES if dense else "CAST(coalesce(sum(value), 0) AS BIGINT)"
    part = f"SELECT {whole} FROM reading r WHERE r.life_key = {{0}} AND r.slot_ms > {{1}} AND r.slot_ms <= {{2}}"
    found = _each(session, part, keys, begins_ms, ends_ms)
    return np.fromiter((TOO_LARGE if value is None else value for value in found), np.int64, len(keys))


def values_before(session: Session, keys: Int64, begins_ms: Int64, slots: Int64) -> list[int | None]:
    """Value of the nearest usable reading of a register before a slot, from the begin of its life on; None for none."""
    return _each(
        session, _NEAREST.format("{0}", "r.slot_ms >= {1} AND r.slot_ms < {2}", "DESC"), keys, begins_ms, slots
    )


def values_after(session: Session, keys: Int64, slots: Int64, ends_ms: Int64) -> list[int | None]:
    """Value of the nearest usable reading of a register after a slot, before the end of its life; None for none."""
    return _each(session, _NEAREST.format("{0}", "r.slot_ms > {1} AND r.slot_ms < {2}", "ASC"), keys, slots, ends_ms)


_NEAREST: Final = (
    "SELECT value FROM reading r WHERE r.life_key = {} AND {}"
    f" AND r.status IN ({', '.join(str(int(one)) for one in USABLE)})"
    " AND NOT EXISTS (SELECT 1 FROM reading n WHERE n.life_key = r.life_key AND n.slot_ms = r.slot_ms"
    " AND n.revision > r.revision) ORDER BY r.slot_ms {} LIMIT 1"
)


def _each(session: Session, part: str, *columns: Int64) -> list[int | None]:
    """The value of a query for each row of columns, whose elements it names {0}, {1}, ...; None where it has none."""
    if not len(columns[0]):
        return []
    if is_postgresql(session):
        names = [f"c{place}" for place in range(len(columns))]
        arrays = ", ".join(array(column) for column in columns)
        wanted = f"unnest({arrays}) WITH ORDINALITY AS k({', '.join(names)}, place)"
        query, order = part.format(*(f"k.{name}" for name in names)), "k.place"
    else:
        rows = [list(row) for row in zip(*(column.tolist() for column in columns), strict=True)]
        wanted, order = f"json_each('{json.dumps(rows)}') AS k", "k.key"
        query = part.format(*(f"json_extract(k.value, '$[{place}]')" for place in range(len(columns))))
    return [row[0] for row in fetch_rows(session, f"SELECT ({query}) FROM {wanted} ORDER BY {order}")]
