"""Rows of roll-ups: what is kept of which meter, which of it is to be made anew, and reading it for answers.

Marks are written in the transaction that stores readings, by whoever stores them. They reach two readings before
and after what was stored: what lies between was a straight line, and the nearest may prove a spike. Newer readings than
a meter's newest whole day need none: there is no roll-up yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from sqlalchemy import text
from sqlmodel import Session

from domain.intervals import Consumption, Flag
from services.metering.figures.rollups import Span
from services.metering.life import FOREVER_MS, RegisterLife
from services.metering.reading import USABLE, Int64, Mask, Readings
from services.metering.store.bulk import (
    array,
    fetch_integers,
    fetch_rows,
    is_postgresql,
    key_set,
    text_set,
    upsert_rows,
)
from services.metering.store.readings import usable_beside

_STATE: Final = "key, meter_uid, time_zone, basis, from_ms, until_ms, sealed_ms"
_COLUMNS: Final = (
    "meter_key", "span", "start_ms", "end_ms", "amount", "estimated_amount", "measured_ms", "flag", "version",
)  # fmt: skip
_KEY: Final = ("meter_key", "span", "start_ms")


@dataclass(frozen=True, slots=True)
class State:
    """What is kept of a meter: local days of `time_zone` in [from, until), as they were on `basis`.

    Days before `sealed_ms` stay as they are whatever happens: the readings that they came from may be gone.
    """

    key: int
    meter_uid: str
    time_zone: str
    basis: str
    from_ms: int
    until_ms: int
    sealed_ms: int


@dataclass(frozen=True, slots=True)
class Marks:
    """Spans that are to be made anew, of one meter. ids: their rows."""

    ids: Sequence[int]
    from_ms: Int64
    until_ms: Int64

    def touch(self, starts_ms: Int64, ends_ms: Int64) -> Mask:
        """Which of some steps share time with any of the spans."""
        touched: Mask = np.zeros(len(starts_ms), np.bool_)
        for begin, end in zip(self.from_ms.tolist(), self.until_ms.tolist(), strict=True):
            touched |= (starts_ms < end) & (ends_ms > begin)
        return touched


def states_of(session: Session, meter_uids: Iterable[str]) -> dict[str, State]:
    """What is kept of meters, by their uid; those of which nothing is are left out."""
    given = json.dumps(list(meter_uids))
    statement = text(f"SELECT {_STATE} FROM rollup_meter WHERE meter_uid IN {text_set(session, 'uids')}")
    rows = session.connection().execute(statement, {"uids": given})
    return {row[1]: State(*row) for row in rows}


def seals(session: Session, meter_uids: Iterable[str], start_ms: int) -> bool:
    """True if readings of any of these meters since an instant may have been deleted: there is no hash of them then."""
    return any(state.sealed_ms > start_ms for state in states_of(session, meter_uids).values())


def states_and_marks(session: Session, meter_uids: Iterable[str]) -> tuple[dict[str, State], dict[int, Marks]]:
    """`states_of` and `marks_of` in one question: answers out of roll-ups are made of little else."""
    columns = ", ".join(f"s.{name}" for name in State.__slots__)
    statement = text(
        f"SELECT {columns}, d.id, d.from_ms, d.until_ms FROM rollup_meter s LEFT JOIN rollup_dirty d"
        f" ON d.meter_key = s.key WHERE s.meter_uid IN {text_set(session, 'uids')}"
    )
    states: dict[str, State] = {}
    marked: dict[int, list[tuple[int, int, int]]] = {}
    count = len(State.__slots__)
    for row in session.connection().execute(statement, {"uids": json.dumps(list(meter_uids))}).all():
        if row[1] not in states:
            states[row[1]] = State(*row[:count])
        if row[count] is not None:
            marked.setdefault(row[0], []).append((row[count], row[count + 1], row[count + 2]))
    return states, _grouped(marked)


def put_state(session: Session, state: State) -> State:
    """Stores what is kept of a meter. Returns it with its key, which a new one (key 0) gets here."""
    values = {name: getattr(state, name) for name in State.__slots__}
    if state.key:
        assigned = ", ".join(f"{name} = :{name}" for name in State.__slots__ if name not in ("key", "meter_uid"))
        session.connection().execute(text(f"UPDATE rollup_meter SET {assigned} WHERE key = :key"), values)
        return state
    names = [name for name in State.__slots__ if name != "key"]
    marks = ", ".join(f":{name}" for name in names)
    statement = text(f"INSERT INTO rollup_meter ({', '.join(names)}) VALUES ({marks}) RETURNING key")
    values["key"] = int(session.connection().execute(statement, values).scalar_one())
    return State(**values)


def mark(session: Session, ordered: Readings) -> None:
    """Marks what readings that have just been inserted, in order of register and slot, may change."""
    tells = ordered.take(np.isin(ordered.status, USABLE) | (ordered.revision > 0))
    if not len(tells):
        return
    keys = np.unique(tells.register)
    kept = fetch_rows(
        session,
        "SELECT l.key, s.key, s.until_ms, l.installed_ms, l.removed_ms FROM rollup_meter s"
        f" JOIN register_life l ON l.meter_uid = s.meter_uid WHERE l.key IN {key_set(session, keys.tolist())}"
        f" AND s.until_ms > {int(tells.slot_ms.min())}",
    )
    rows = []
    for life_key, meter_key, until_ms, installed_ms, removed_ms in kept:
        first, last = np.searchsorted(tells.register, [life_key, life_key + 1]).tolist()
        slots = tells.slot_ms[first:last]
        if int(slots[0]) >= until_ms:
            continue
        begin = installed_ms or 0, FOREVER_MS if removed_ms is None else removed_ms
        span = _around(session, life_key, begin, int(slots[0]), int(slots[-1]))
        rows.append({"meter_key": meter_key, "from_ms": span[0], "until_ms": min(span[1], FOREVER_MS)})
    if rows:
        statement = text(
            "INSERT INTO rollup_dirty (meter_key, from_ms, until_ms) VALUES (:meter_key, :from_ms, :until_ms)"
        )
        session.connection().execute(statement, rows)


def _around(session: Session, key: int, alive: tuple[int, int], first_ms: int, last_ms: int) -> tuple[int, int]:
    """From the second reading before to the second one after: a reading may tell that the one beside it is a spike."""
    for _ in range(2):
        before = usable_beside(session, key, alive, first_ms, before=True)
        first_ms = alive[0] if before is None else before
        after = usable_beside(session, key, alive, last_ms, before=False)
        last_ms = alive[1] if after is None else after
    return first_ms, last_ms


def marks_of(session: Session, meter_keys: Sequence[int]) -> dict[int, Marks]:
    """What is to be made anew, by key of the meter; meters without any are left out."""
    rows = fetch_rows(
        session,
        f"SELECT meter_key, id, from_ms, until_ms FROM rollup_dirty WHERE meter_key IN {key_set(session, meter_keys)}",
    )
    found: dict[int, list[tuple[int, int, int]]] = {}
    for meter_key, *mark_row in rows:
        found.setdefault(meter_key, []).append((mark_row[0], mark_row[1], mark_row[2]))
    return _grouped(found)


def _grouped(found: Mapping[int, Sequence[tuple[int, int, int]]]) -> dict[int, Marks]:
    return {
        key: Marks(
            [one[0] for one in several],
            np.array([one[1] for one in several], np.int64),
            np.array([one[2] for one in several], np.int64),
        )
        for key, several in found.items()
    }


def clear(session: Session, marks: Marks) -> None:
    """Takes marks away whose spans have been made anew."""
    session.connection().execute(text("DELETE FROM rollup_dirty WHERE id = :id"), [{"id": one} for one in marks.ids])


def take_away(session: Session, state: State) -> None:
    """Takes away what is kept of a meter, and its marks. What is sealed stays: readings that it came from are gone."""
    connection, values = session.connection(), {"key": state.key, "sealed": state.sealed_ms}
    connection.execute(text("DELETE FROM rollup WHERE meter_key = :key AND end_ms > :sealed"), values)
    connection.execute(text("DELETE FROM rollup_dirty WHERE meter_key = :key"), values)
    if state.sealed_ms:
        put_state(session, replace(state, until_ms=state.sealed_ms))
    else:
        connection.execute(text("DELETE FROM rollup_meter WHERE key = :key"), values)


def put(session: Session, meter_key: int, span: Span, parts: Consumption) -> None:
    """Stores roll-ups, replacing those of the same time; `version` counts how often each was made."""
    count = len(parts.amount)
    columns = (
        [meter_key] * count,
        [int(span)] * count,
        parts.starts_ms.tolist(),
        parts.ends_ms.tolist(),
        parts.amount.tolist(),
        parts.estimated_amount.tolist(),
        parts.measured_ms.tolist(),
        parts.flag.tolist(),
        [1] * count,
    )
    rows = list(zip(*columns, strict=True))
    upsert_rows(session, "rollup", _COLUMNS, _KEY, rows, counted="version")


class Kept:
    """Roll-ups of one span of many meters, in columns; those of a meter follow each other in order of time."""

    def __init__(self, columns: Mapping[str, Int64]) -> None:
        """columns: `meter_key` and the fields of roll-ups, in any order of rows."""
        order = np.lexsort((columns["start_ms"], columns["meter_key"]))
        self._starts, self._ends = columns["start_ms"][order], columns["end_ms"][order]
        self._amounts, self._estimated = columns["amount"][order], columns["estimated_amount"][order]
        self._measured = columns["measured_ms"][order]
        self._flags = columns["flag"][order].astype(np.uint8)
        keys = columns["meter_key"][order]
        self._keys, self._begins, self._counts = np.unique(keys, return_index=True, return_counts=True)
        ends = (self._begins + self._counts).tolist()
        self._places = dict(zip(self._keys.tolist(), map(slice, self._begins.tolist(), ends), strict=True))

    def of(self, meter_key: int) -> Consumption | None:
        """Those of one meter; None without any."""
        place = self._places.get(meter_key)
        if place is None:
            return None
        return Consumption(
            self._starts[place],
            self._ends[place],
            self._amounts[place],
            self._estimated[place],
            self._measured[place],
            self._flags[place],
        )

    def that_are(self, bounds_ms: Int64) -> frozenset[int]:
        """Keys of meters whose roll-ups are exactly the steps between boundaries."""
        steps = len(bounds_ms) - 1
        as_many = self._counts == steps
        rows = self._begins[as_many][:, None] + np.arange(steps)
        exact = (self._starts[rows] == bounds_ms[:-1]) & (self._ends[rows] == bounds_ms[1:])
        return frozenset(self._keys[as_many][exact.all(axis=1)].tolist())


def kept(session: Session, meter_keys: Sequence[int], span: Span, start_ms: int, end_ms: int) -> Kept:
    """Roll-ups that lie in a span of time."""
    names = ("meter_key", "start_ms", "end_ms", "amount", "estimated_amount", "measured_ms", "flag")
    return Kept(
        fetch_integers(
            session,
            f"SELECT {', '.join(names)} FROM rollup"
            f" WHERE {_any_of(session, 'meter_key', meter_keys)} AND span = {int(span)}"
            f" AND start_ms >= {int(start_ms)} AND start_ms < {int(end_ms)} AND end_ms <= {int(end_ms)}",
            names,
        )
    )


def _any_of(session: Session, column: str, keys: Sequence[int]) -> str:
    """Condition on a key. On PostgreSQL one that the primary key answers, whatever is known of the table's size yet."""
    if is_postgresql(session):
        return f"{column} = ANY({array(keys)})"
    return f"{column} IN {key_set(session, keys)}"


def tells_before(session: Session, meter_key: int, before_ms: int) -> bool:
    """True if any kept day of a meter that begins before an instant tells of anything."""
    statement = text(
        "SELECT 1 FROM rollup WHERE meter_key = :key AND span = :span AND start_ms < :before"
        " AND flag <> :missing LIMIT 1"
    )
    values = {"key": meter_key, "span": int(Span.DAY), "before": before_ms, "missing": int(Flag.MISSING)}
    return session.connection().execute(statement, values).first() is not None


def newest_usable_ms(session: Session, lives: Sequence[RegisterLife]) -> int | None:
    """Slot of a meter's newest usable reading."""
    for life in reversed(lives):
        found = usable_beside(session, life.key, (life.begin_ms, life.end_ms), FOREVER_MS, before=True)
        if found is not None:
            return found
    return None


def oldest_known_ms(session: Session, lives: Sequence[RegisterLife]) -> int | None:
    """The first instant of which anything is known: a meter's first usable reading, or an installation with one."""
    known = [life.begin_ms for life in lives if life.is_first_known]
    for life in lives:
        found = usable_beside(session, life.key, (life.begin_ms, life.end_ms), -1, before=False)
        if found is not None:
            known.append(found)
            break
    return min(known, default=None)
