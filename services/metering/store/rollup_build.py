"""Making and sealing roll-ups: what is kept of meters is brought up to date in one transaction. When: ../rolling.py.

Writers of readings wait meanwhile (`feed.hold`), and this waits for them: nobody stores a reading between what is read
here and what is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from sqlmodel import Session

from domain.intervals import Consumption
from services.metering.figures.consumption import Step
from services.metering.figures.rollups import (
    Span,
    basis_of,
    day_bounds,
    day_ceil_ms,
    day_floor_ms,
    joined,
    month_floor_ms,
    whole_months,
)
from services.metering.meter import Kind, Medium
from services.metering.reading import Int64
from services.metering.store import feed, lock, rollups, runs
from services.metering.store.amounts import Metered, amounts
from services.metering.store.figures import general_in, metered
from services.metering.store.readings import delete_before as delete_readings
from services.metering.store.readings import usable_beside
from services.metering.store.relations import rows_by_uid
from services.metering.store.tables import MeterRow

ROLLED_UP: Final = (Kind.COUNTER, Kind.INTERVAL)
EVERY_MEDIUM: Final = frozenset(Medium)


def may_be_kept(meter: Metered, media: Collection[int] = EVERY_MEDIUM) -> bool:
    """True if days of this meter add up, each can be worked out by itself, and its medium is one of those kept."""
    whole_units = all(life.scale_exponent >= 0 for life in meter.lives)
    return meter.row.kind in ROLLED_UP and meter.row.medium in media and meter.is_interval_sure and whole_units


def refresh(session: Session, rows: Sequence[MeterRow], tz: ZoneInfo, media: Collection[int] = EVERY_MEDIUM) -> int:
    """Brings roll-ups of meters of one time zone up to date. Returns how many days were made.

    Of meters that are to have none (any more) they go, all but what is sealed: no reading tells of that.
    """
    _hold(session)
    states = rollups.states_of(session, [row.uid for row in rows])
    marks = rollups.marks_of(session, [state.key for state in states.values()])
    made = 0
    for meter in metered(session, list(rows_by_uid(session, [row.uid for row in rows]).values())):
        state = states.get(meter.row.uid)
        if may_be_kept(meter, media):
            made += _refresh(session, meter, tz, state, marks.get(state.key) if state else None)
        elif state is not None:
            rollups.take_away(session, state)
    return made


def _refresh(
    session: Session,
    meter: Metered,
    tz: ZoneInfo,
    state: rollups.State | None,
    marks: rollups.Marks | None,
) -> int:
    newest, oldest = rollups.newest_usable_ms(session, meter.lives), rollups.oldest_known_ms(session, meter.lives)
    if newest is None or oldest is None:
        return 0
    basis, zone_name = basis_of(meter.row, meter.lives), str(tz)
    start, end = month_floor_ms(oldest, tz), day_floor_ms(_proven_ms(session, meter, newest), tz)
    if state is None:
        for life in meter.lives:
            runs.index(session, life.key, meter.row.kind)
        new = rollups.State(0, meter.row.uid, zone_name, basis, start, end, 0)
        state = rollups.put_state(session, replace(new, until_ms=start))
        spans = [(start, end)]
    elif state.basis != basis or state.time_zone != zone_name:
        # Months that the seal cuts are kept as they are up to it.
        start = min(start, state.from_ms) if state.sealed_ms else start
        spans = [(start, end)]
    else:
        start = min(start, state.from_ms)
        spans = [(start, state.from_ms), *_marked(marks), (state.until_ms, end)]
    days = 0
    for first, last in _merged(spans, max(start, state.sealed_ms), end):
        days += _make(session, meter, tz, state.key, (first, last), (start, end))
    if marks is not None:
        rollups.clear(session, marks)
    now = replace(state, time_zone=zone_name, basis=basis, from_ms=start, until_ms=max(end, state.sealed_ms))
    if now != state:
        rollups.put_state(session, now)
    return days


def _proven_ms(session: Session, meter: Metered, newest_ms: int) -> int:
    """The slot from which on no newer reading changes anything any more. The next two readings of a counter may prove
    its newest one a spike, and a day that was made with that would not be made anew."""
    if meter.row.kind != Kind.COUNTER:
        return newest_ms
    for life in meter.lives:
        if life.begin_ms <= newest_ms < life.end_ms:
            for _ in range(2):
                alive = (life.begin_ms, life.end_ms)
                before = usable_beside(session, life.key, alive, newest_ms, before=True)
                newest_ms = newest_ms if before is None else before
            break
    return newest_ms


def _marked(marks: rollups.Marks | None) -> list[tuple[int, int]]:
    if marks is None:
        return []
    return list(zip(marks.from_ms.tolist(), marks.until_ms.tolist(), strict=True))


def _merged(spans: Iterable[tuple[int, int]], first_ms: int, last_ms: int) -> list[tuple[int, int]]:
    """Spans within two bounds, those that overlap made one."""
    merged: list[tuple[int, int]] = []
    for begin, end in sorted((max(begin, first_ms), min(end, last_ms)) for begin, end in spans):
        if end <= begin:
            continue
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((begin, end))
    return merged


def _make(
    session: Session,
    meter: Metered,
    tz: ZoneInfo,
    key: int,
    span: tuple[int, int],
    kept: tuple[int, int],
) -> int:
    """Makes the local days that a span touches, and the whole months that these belong to."""
    first, last = day_floor_ms(span[0], tz), day_ceil_ms(span[1], tz)
    bounds = day_bounds(first, last, tz)
    [days] = amounts(session, [meter], bounds, Step.LOCAL_DAY, general=general_in(tz))
    rollups.put(session, key, Span.DAY, days)
    months = whole_months(max(month_floor_ms(first, tz), kept[0]), kept[1], tz)
    months = [month for month in months if month[0] < last and month[1] > first]
    if months:
        _make_months(session, key, months)
    return len(days.amount)


def _make_months(session: Session, key: int, months: list[tuple[int, int]]) -> None:
    days = rollups.kept(session, [key], Span.DAY, months[0][0], months[-1][1]).of(key)
    if days is None or not _is_whole(days, months[0][0], months[-1][1]):
        return  # days of the first month were never kept: then the month is none either
    bounds: Int64 = np.array([months[0][0], *(end for _, end in months)], np.int64)
    rollups.put(session, key, Span.MONTH, joined(days, bounds))


def _is_whole(days: Consumption, start_ms: int, end_ms: int) -> bool:
    """True if days follow one another from a begin to an end."""
    inside = bool((days.starts_ms[1:] == days.ends_ms[:-1]).all())
    return inside and int(days.starts_ms[0]) == start_ms and int(days.ends_ms[-1]) == end_ms


def _hold(session: Session) -> None:
    """Has writers of readings wait, and whoever changes registers: from here on both are as they are seen."""
    lock.to_store_readings(session)
    feed.hold(session)


@dataclass(frozen=True, slots=True)
class Gone:
    """Readings that were deleted: how many, and the slot before which none is left."""

    count: int
    before_ms: int


def delete_older(session: Session, row: MeterRow, tz: ZoneInfo, cutoff_ms: int) -> Gone | None:
    """Deletes readings of a meter before the begin of a local month, and seals its days until then.

    None, and nothing is deleted, as long as the roll-ups before it are not all there and true. Meters that have no
    roll-ups keep their readings. One that has counted in another unit keeps those from the month on in which a register
    did so that is not sealed: its days are kept in one unit, and its energy is worked out from both.
    """
    _hold(session)
    [meter] = metered(session, list(rows_by_uid(session, [row.uid]).values()))
    keys = [life.key for life in meter.lives]
    state = rollups.states_of(session, [row.uid]).get(row.uid)
    if not may_be_kept(meter) or not keys:
        return Gone(0, cutoff_ms)
    if state is None:
        return None if rollups.newest_usable_ms(session, meter.lives) is not None else Gone(0, cutoff_ms)
    oldest = rollups.oldest_known_ms(session, meter.lives)
    is_true = state.basis == basis_of(meter.row, meter.lives) and state.time_zone == str(tz)
    cutoff_ms = min(cutoff_ms, state.until_ms)
    if not is_true or rollups.marks_of(session, [state.key]) or (oldest is not None and oldest < state.from_ms):
        return None
    for life in meter.others:
        if life.end_ms > state.sealed_ms and life.begin_ms < cutoff_ms:
            cutoff_ms = min(cutoff_ms, max(month_floor_ms(life.begin_ms, tz), state.sealed_ms))
    # What the first kept day begins with: the reading at its begin, or the last one before.
    begins = [
        usable_beside(session, life.key, (life.begin_ms, life.end_ms), cutoff_ms + 1, before=True)
        for life in meter.lives
    ]
    before_ms = max((slot for slot in begins if slot is not None), default=cutoff_ms)
    runs.trim(session, keys, before_ms)
    count = delete_readings(session, keys, before_ms)
    if cutoff_ms > state.sealed_ms:
        rollups.put_state(session, replace(state, sealed_ms=cutoff_ms))
    return Gone(count, before_ms)
