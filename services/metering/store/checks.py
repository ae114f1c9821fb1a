"""The rules of validation over what is brought and over what is stored: out of the tables into series, and back.

What the rules are is services/metering/validation's; how steps are judged one by one, store/neighbours.py's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from sqlmodel import Session

from services.metering.cycle import longest_ms, usual_interval_ms
from services.metering.life import RegisterLife
from services.metering.meter import Kind, Medium
from services.metering.reading import BY_PEOPLE, USABLE, Int64, Mask, Readings, Status
from services.metering.slot import DAY_MS, SLOT_MS, WEEK_MS
from services.metering.store.estimates import cycle_of
from services.metering.store.lives import heads_of
from services.metering.store.readings import fetch, fetch_lives, nearest_usable
from services.metering.store.tables import MeterRow
from services.metering.validation.overlap_rule import near, shortest_ms
from services.metering.validation.parameters import Parameters
from services.metering.validation.series import RuleFinding, Series
from services.metering.validation.table import check
from services.metering.vee import RegisterRules

WORTH_CHECKING: Final = 300
"""Fewer readings of a register that came together are looked at only where single steps are in doubt already."""
_AROUND_MS: Final = 4 * WEEK_MS
_DENSE_PERCENT: Final = 90
"""Of readings that fill so much of their span what is stored between them is not looked at, only what lies around."""
_AT_ONCE: Final = 500_000
"""Readings that are looked at together, as far as can be told."""
_YEAR_MS: Final = 366 * DAY_MS
_ALWAYS: Final = ("overlap",)
"""What even a single amount is looked at for."""
_STEPWISE: Final = ("digits", "spike", "negative_step", "small_step_back")
_JUDGED: Final = (Status.MEASURED, Status.HAND)


@dataclass(frozen=True, slots=True)
class Subject:
    """A register whose readings are checked."""

    row: MeterRow
    life: RegisterLife
    rules: RegisterRules


@dataclass(frozen=True, slots=True)
class Found:
    """A finding about a register."""

    key: int
    finding: RuleFinding


def series_of(subject: Subject, readings: Readings, now_ms: int) -> Series:
    """Readings of one register, in order of slot, as the rules are given them; gaps are no readings."""
    there = readings.take(~readings.is_gap) if bool(readings.is_gap.any()) else readings
    return Series(
        kind=Kind(subject.row.kind),
        medium=Medium(subject.row.medium).name.lower(),
        slot_ms=there.slot_ms,
        value=there.value,
        cycle_ms=longest_ms(cycle_of(subject.row, there)),
        interval_ms=longest_ms(subject.row.reading_cycle) if subject.row.kind == Kind.INTERVAL else 0,
        observed_ms=there.observed_ms,
        time_source=there.time_source,
        doubted=there.status == Status.DOUBTFUL,
        by_people=np.isin(there.status, BY_PEOPLE),
        scale_exponent=subject.life.scale_exponent,
        rollover=subject.life.rollover,
        noise=subject.rules.noise,
        most_per_h=subject.rules.connected_load_w,
        margin_permille=subject.rules.margin_permille,
        lateness_ms=subject.rules.lateness_ms,
        rollover_permille=subject.rules.rollover_permille,
        now_ms=now_ms,
    )


def check_brought(
    session: Session,
    ordered: Readings,
    judged: Int64,
    subjects: Mapping[int, Subject],
    parameters: Parameters,
    now_ms: int,
) -> tuple[Int64, list[Found]]:
    """Statuses of readings that are brought, in order of register and slot, and what the rules found among them.

    judged: their statuses as the judge of single steps has them. Where the rules have looked at a whole series they
    have the last word, since they see what comes after a reading too; late readings stay in doubt if either doubts.
    """
    status, found = judged.copy(), list[Found]()
    if not len(ordered):
        return status, found
    changed = judged != ordered.status
    chosen = [
        (key, rows)
        for key, rows in _registers(ordered)
        if Kind(subjects[key].row.kind) is not Kind.VIRTUAL
        and (rows.stop - rows.start >= WORTH_CHECKING or bool(changed[rows].any()) or _may_overlap(subjects[key].row))
    ]
    heads = heads_of(session, [key for key, _ in chosen])
    stored = _Stored(session, ordered, [(key, rows) for key, rows in chosen if key in heads])
    for key, rows in chosen:
        mine = ordered.take(rows)
        head = heads.get(key)
        around = stored.around(subjects[key], mine) if head is not None else Readings.none()
        before = _before(session, subjects[key], mine, around)
        whole = Readings.concatenate([before, around, mine])
        order = np.argsort(whole.slot_ms, kind="stable")
        series = series_of(subjects[key], whole.take(order), now_ms)
        is_few = len(mine) < WORTH_CHECKING and not bool(changed[rows].any())
        findings, doubtful = check(series, parameters, _ALWAYS if is_few else ())
        doubted = series.slot_ms[doubtful]
        mask: Mask = np.isin(mine.slot_ms, doubted) & np.isin(mine.status, _JUDGED)
        is_late = head is not None and head.latest_slot_ms > int(mine.slot_ms[-1])
        if is_late:
            mask |= judged[rows] == Status.DOUBTFUL
        mask |= _overlapping(series, mine, around, parameters) & np.isin(mine.status, _JUDGED)
        status[rows] = np.where(mask, int(Status.DOUBTFUL), mine.status)
        first, last = int(mine.slot_ms[0]), int(mine.slot_ms[-1])
        found += [Found(key, one) for one in findings if one.last_slot_ms >= first and one.first_slot_ms <= last]
    return status, found


def _may_overlap(row: MeterRow) -> bool:
    """True for amounts of intervals longer than the quarter hours that they are stored at."""
    return row.kind == Kind.INTERVAL and longest_ms(row.reading_cycle) > SLOT_MS


def _overlapping(series: Series, mine: Readings, around: Readings, parameters: Parameters) -> Mask:
    """What is brought and overlaps with what is stored, before or after: that was there first."""
    chosen = parameters.of("overlap", series.medium)
    shortest = shortest_ms(series.interval_ms, chosen) if chosen["enabled"] else 0
    return near(mine.slot_ms, around.slot_ms, shortest)


def _registers(ordered: Readings) -> Iterator[tuple[int, slice]]:
    register = ordered.register
    starts = np.flatnonzero(np.r_[True, register[1:] != register[:-1]]).tolist()
    for start, end in zip(starts, [*starts[1:], len(register)], strict=True):
        yield int(register[start]), slice(start, end)


class _Stored:
    """What is stored near readings that are brought, and usable, without those slots themselves.

    Registers that come with the same dense span, as in an import, are looked up together: before it and after it.
    """

    def __init__(self, session: Session, ordered: Readings, chosen: Sequence[tuple[int, slice]]) -> None:
        self._session = session
        self._margins: dict[int, Readings] = {}
        dense = {key: rows for key, rows in chosen if _is_dense(ordered.slot_ms[rows])}
        firsts = [int(ordered.slot_ms[rows.start]) for rows in dense.values()]
        lasts = [int(ordered.slot_ms[rows.stop - 1]) for rows in dense.values()]
        if len(dense) < 2 or max(firsts) - min(firsts) > WEEK_MS or max(lasts) - min(lasts) > WEEK_MS:
            return
        keys = list(dense)
        before = fetch(session, keys, min(firsts) - _AROUND_MS, max(firsts))
        after = fetch(session, keys, min(lasts) + 1, max(lasts) + _AROUND_MS)
        both = Readings.concatenate([before, after])
        both = both.take(np.lexsort((both.slot_ms, both.register)))
        edges = np.searchsorted(both.register, keys, "left"), np.searchsorted(both.register, keys, "right")
        for key, begin, end in zip(keys, *(edge.tolist() for edge in edges), strict=True):
            self._margins[key] = both.take(slice(begin, end))

    def around(self, subject: Subject, mine: Readings) -> Readings:
        """What is stored within four weeks of the readings of a life, or the interval of one that is longer."""
        life, width = subject.life, _width_ms(subject.row)
        first, last = int(mine.slot_ms[0]), int(mine.slot_ms[-1])
        there = self._margins.get(life.key) if width == _AROUND_MS else None
        if there is None:
            spans = [(first - width, last + width)]
            if _is_dense(mine.slot_ms):
                spans = [(first - width, first), (last + 1, last + width)]
            there = Readings.concatenate([fetch(self._session, [life.key], begin, end) for begin, end in spans])
        inside = (there.slot_ms >= life.begin_ms) & (there.slot_ms < life.end_ms)
        return there.take(inside & np.isin(there.status, USABLE) & ~np.isin(there.slot_ms, mine.slot_ms))


def _width_ms(row: MeterRow) -> int:
    return max(_AROUND_MS, longest_ms(row.reading_cycle) if row.kind == Kind.INTERVAL else 0)


def _is_dense(slot_ms: Int64) -> bool:
    filled = len(slot_ms) * usual_interval_ms(slot_ms)
    return len(slot_ms) > 2 and filled * 100 >= int(slot_ms[-1] - slot_ms[0]) * _DENSE_PERCENT


def _before(session: Session, subject: Subject, mine: Readings, around: Readings) -> Readings:
    """The last thing known of a counter before all that: a reading further back, or its first one."""
    life = subject.life
    first = int(mine.slot_ms[0])
    if subject.row.kind != Kind.COUNTER or (len(around) and int(around.slot_ms[0]) < first):
        return Readings.none()
    slot = nearest_usable(session, life, first, before=True)
    if slot is not None:
        return fetch(session, [life.key], slot, slot + 1)
    if life.is_first_known and life.begin_ms < first:
        return Readings.of([life.key], [life.begin_ms], [life.first_reading])
    return Readings.none()


def check_stored(
    session: Session, subjects: Sequence[Subject], span: tuple[int, int], parameters: Parameters, now_ms: int
) -> Iterator[Found]:
    """What the rules find in the current readings of a span (Unix ms, half open), by register and rule.

    The weeks around the span are looked at too, as they tell what is usual; told is what touches the span.
    """
    start_ms, end_ms = span
    width = max((_width_ms(one.row) for one in subjects), default=_AROUND_MS)
    begin, end = start_ms - width, end_ms + width
    alive = [one for one in subjects if one.life.begin_ms < end and one.life.end_ms > begin]
    at_once = max(1, _AT_ONCE // max(1, (min(end, now_ms) - begin) // SLOT_MS))
    for first in range(0, len(alive), at_once):
        part = {one.life.key: one for one in alive[first : first + at_once]}
        readings = fetch_lives(session, [one.life for one in part.values()], begin, end)
        for key, rows in _registers(readings) if len(readings) else ():
            findings, _ = check(series_of(part[key], readings.take(rows), now_ms), parameters)
            for one in findings:
                if one.last_slot_ms >= start_ms and one.first_slot_ms < end_ms:
                    yield Found(key, one)


def lifted(session: Session, subject: Subject, edited_ms: Int64, parameters: Parameters, now_ms: int) -> Readings:
    """New revisions of readings that were in doubt only because of one that has been edited: measured after all.

    Looked at are those right after the edited slots, as far as doubt goes without a break. Doubt that the rules still
    have stays, and none is cast: what a person has put there is not for a rule to doubt.
    """
    if subject.row.kind != Kind.COUNTER or not len(edited_ms):
        return Readings.none()
    life, first, last = subject.life, int(edited_ms.min()), int(edited_ms.max())
    there = fetch(session, [life.key], max(first - _AROUND_MS, life.begin_ms), min(last + _YEAR_MS, life.end_ms))
    there = there.take(~there.is_gap | np.isin(there.slot_ms, edited_ms))
    suspects = _right_after(np.isin(there.slot_ms, edited_ms), there.status == Status.DOUBTFUL)
    if not suspects.any():
        return Readings.none()
    whole = there.take(suspects | np.isin(there.status, USABLE))
    series = replace(series_of(subject, whole, now_ms), doubted=np.zeros(len(whole), np.bool_))
    _, doubtful = check(series, parameters, _STEPWISE)
    good = there.take(suspects & ~np.isin(there.slot_ms, series.slot_ms[doubtful]))
    good.status, good.revision = np.full(len(good), Status.MEASURED, np.int64), good.revision + 1
    return good


def _right_after(edited: Mask, doubted: Mask) -> Mask:
    """Rows in doubt that follow an edited one without a break."""
    chosen = np.zeros(len(edited), np.bool_)
    follows = False
    for row, (is_edited, is_doubted) in enumerate(zip(edited.tolist(), doubted.tolist(), strict=True)):
        follows = is_edited or (follows and is_doubted)
        chosen[row] = follows and not is_edited
    return chosen
