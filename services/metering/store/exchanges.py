"""The exchange of a register in the database: one life ends, another begins, and readings go to whom they belong.

What was read since the exchange is stored once more for the new register, by the source, the person and the reason it
had, so that an edit stays somebody's. The old copies stay where they are and are no longer looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from sqlalchemy import text
from sqlmodel import Session, select

from domain.errors import FailedPrecondition
from domain.names import new_uid
from services.metering.life import Exchange, Origin, RegisterLife, amend_reset, reread, split
from services.metering.reading import VALUE_MAX, Int64, Mask, Readings, Status
from services.metering.slot import SLOT_MS, slot_text
from services.metering.store import edits, feed, rollups
from services.metering.store.bulk import fetch_columns, fetch_rows
from services.metering.store.ingest import write
from services.metering.store.lives import end_life, heads_of, life_of, row_of, rules_of, state_before
from services.metering.store.neighbours import judge_among_stored
from services.metering.store.readings import READ, fetch, first_read, nearest_usable, span_condition
from services.metering.store.tables import MeterRow, RegisterHeadRow, RegisterLifeRow
from services.metering.validation.parameters import Parameters
from services.metering.vee import Point, RegisterRules, RegisterState, judge_all


@dataclass(frozen=True, slots=True)
class _Record:
    """Whose readings become another register's, on whose behalf, and by which numbers they are judged."""

    meter: MeterRow
    source: feed.Source
    parameters: Parameters

    def rules(self, life: RegisterLife) -> RegisterRules:
        """What is known of a register of the meter."""
        return rules_of(self.meter, life, self.parameters)


def exchange(
    session: Session,
    meter: MeterRow,
    lives: Sequence[RegisterLife],
    what: Exchange,
    source: feed.Source,
    parameters: Parameters,
) -> tuple[RegisterLife, RegisterLife]:
    """Ends the life that an exchange falls into and begins the next one. Returns both. Raises as `life.split` does, and
    FailedPrecondition where figures since then are kept in the old unit without their readings.

    What was stored for the old register after that instant was read from the new one (an exchange is often entered
    late): it goes over to the new register, in its scale and with its ratio as `life.reread` says, and is judged anew
    by its rules, whose numbers are `parameters`. Where the unit has become another one, what was polled stands in
    doubt: the number came from a point that counts in the old unit. Edits and estimates go along; an estimate that does
    not lie between what the new register showed, or lies above the final reading of the old one, becomes a gap again.

    An exchange that polling has seen already, as a reset, puts right what was recorded then.
    """
    record = _Record(meter, source, parameters)
    seen = _seen_as_reset(session, lives, what)
    ended, begun = split(lives, what, new_uid()) if seen is None else amend_reset(*seen, what)
    if begun.unit != ended.unit:
        _check_kept(session, meter, what.at_ms)
    if seen is not None:
        _amend(session, record, seen, ended, begun)
        return ended, begun
    _store_boundary(session, ended, begun)
    row = row_of(begun)
    session.add(row)
    session.flush()
    begun = life_of(row)
    _move_readings(session, record, ended, begun)
    return ended, begun


def _check_kept(session: Session, meter: MeterRow, at_ms: int) -> None:
    """Raises FailedPrecondition where days since an instant are kept whose readings were deleted: they are in the unit
    that was counted then, and nobody can work them out anew."""
    state = rollups.states_of(session, [meter.uid]).get(meter.uid)
    if state is not None and at_ms < state.sealed_ms:
        raise FailedPrecondition.of(
            "exchanged_at", f"figures until {slot_text(state.sealed_ms)} are kept without their readings, as they are"
        )


def dismount(session: Session, life: RegisterLife, at_ms: int, final_reading: int) -> None:
    """Ends a life without another one to follow. What was stored since is no longer looked at: nothing hung there."""
    end_life(session, life, at_ms, final_reading, Origin.DISMOUNTED)
    _set_head(session, replace(life, removed_ms=at_ms))


def _store_boundary(session: Session, ended: RegisterLife, begun: RegisterLife) -> None:
    """Writes the end of one life and, where it is stored already, the begin of the next."""
    old = session.exec(select(RegisterLifeRow).where(RegisterLifeRow.key == ended.key)).one()
    old.removed_ms, old.final_reading = ended.removed_ms, ended.final_reading
    old.ended_by = ended.ended_by.value if ended.ended_by else ""
    session.add(old)
    if begun.key:
        new = session.exec(select(RegisterLifeRow).where(RegisterLifeRow.key == begun.key)).one()
        new.installed_ms, new.first_reading, new.origin = begun.installed_ms, begun.first_reading, begun.origin.value
        new.serial_number, new.obis_code, new.unit = begun.serial_number, begun.obis_code, begun.unit
        new.scale_exponent, new.transformer_ratio, new.rollover = (
            begun.scale_exponent,
            begun.transformer_ratio,
            begun.rollover,
        )
        session.add(new)
    session.flush()


def _seen_as_reset(
    session: Session, lives: Sequence[RegisterLife], what: Exchange
) -> tuple[RegisterLife, RegisterLife] | None:
    """The lives on both sides of a reset that is this exchange: no register was read between the one and the other."""
    if what.origin is not Origin.EXCHANGE:
        return None
    for before, after in pairwise(lives):
        boundary = after.begin_ms
        if before.ended_by is not Origin.RESET or not before.begin_ms < what.at_ms < after.end_ms:
            continue
        if what.at_ms < boundary:
            between = nearest_usable(session, before, what.at_ms - 1, before=False, among=READ)
        else:
            between = nearest_usable(session, after, what.at_ms, before=True, among=READ)
        if between is None:
            return before, after
    return None


def _amend(
    session: Session,
    record: _Record,
    seen: tuple[RegisterLife, RegisterLife],
    ended: RegisterLife,
    begun: RegisterLife,
) -> None:
    """Puts the lives on both sides of a reset right, and what they were read."""
    before, after = seen
    _store_boundary(session, ended, begun)
    _revise(session, record, after, begun)
    # Gaps lie between the two instants, estimates, and what is in doubt: nothing else. They go along to the register
    # whose time it is now, and are judged by what stands around them there.
    for giver, taker, start, end in (
        (before, begun, begun.begin_ms, before.end_ms),
        (after, ended, after.begin_ms, ended.end_ms),
    ):
        moved = fetch(session, [giver.key], start, end)
        known = state_before(session, ended, start) if taker is ended else None
        for part, of in _as_read(session, record, moved, giver, taker, known):
            part.revision = np.zeros(len(part), np.int64)
            part.status = judge_among_stored(session, part, {taker.key: taker}, {taker.key: record.rules(taker)})
            write(session, part, of)
    _drop_estimates(session, record, ended)
    _drop_first_estimates(session, record, begun)
    _set_head(session, ended)
    _set_head(session, begun)


def _revise(session: Session, record: _Record, was: RegisterLife, now: RegisterLife) -> None:
    """Stores what a register has shown once more where its ratio, scale or unit turns out to be another one.

    As the next revision of each reading, since the register stays the same.
    """
    if (was.transformer_ratio, was.scale_exponent, was.unit) == (
        now.transformer_ratio,
        now.scale_exponent,
        now.unit,
    ):
        return
    stored = fetch(session, [was.key], now.begin_ms, now.end_ms)
    revision = stored.revision.copy()
    for part, of in _as_read(session, record, stored, was, now):
        before = stored.take(_rows(stored, part))
        is_doubted = (part.status == Status.DOUBTFUL) & (before.status != Status.DOUBTFUL)
        changed = part.take((part.value != before.value) | is_doubted)
        changed.revision = revision[_rows(stored, changed)] + 1
        edits.put(session, changed, of)


def _rows(among: Readings, part: Readings) -> Int64:
    """Where readings of one register stand among others of it, by slot."""
    return np.searchsorted(among.slot_ms, part.slot_ms).astype(np.int64)


def _move_readings(session: Session, record: _Record, ended: RegisterLife, begun: RegisterLife) -> None:
    moved = _beneath_estimates(
        fetch_columns(session, span_condition(session, [ended.key]), (begun.begin_ms, begun.end_ms))
    )
    heads = heads_of(session, [ended.key])
    polled_ms = heads[ended.key].polled_slot_ms if ended.key in heads else 0
    for part, of in _as_read(session, record, moved, ended, begun):
        part.revision = np.zeros(len(part), np.int64)
        write(session, part, of)
    _drop_estimates(session, record, ended)
    _set_head(session, ended)
    if polled_ms:
        # Also where nobody has read it yet: what is missed since is a gap of whichever register hung there then.
        _set_polled(session, begun.key, polled_ms)


def _beneath_estimates(revisions: Readings) -> Readings:
    """Of all revisions of one register the newest of each slot; of one that was estimated what had been read there.

    An estimate over a reading was drawn because that did not go with the old register; with the new one it does.
    What a person had made a gap of stays what it is.
    """
    slots, last = np.unique(revisions.slot_ms[::-1], return_index=True)
    newest = len(revisions) - 1 - last
    read = np.flatnonzero(revisions.status != Status.ESTIMATED)
    if len(read) == len(revisions):
        return revisions.take(newest)
    known, last_read = np.unique(revisions.slot_ms[read][::-1], return_index=True)
    place = read[len(read) - 1 - last_read]
    rows = newest.copy()
    with_value = revisions.status[place] != Status.GAP
    rows[np.searchsorted(slots, known[with_value])] = place[with_value]
    return revisions.take(rows)


def _drop_estimates(session: Session, record: _Record, ended: RegisterLife) -> None:
    """Makes gaps again of estimates above what turns out to be the final reading of a register."""
    if not record.rules(ended).is_counter or ended.rollover:
        return
    because = replace(record.source, reason="estimated beyond the final reading of the register")
    edits.drop_estimates(session, ended.key, (ended.begin_ms, ended.end_ms), (0, ended.final_reading), because)


def _drop_first_estimates(session: Session, record: _Record, begun: RegisterLife) -> None:
    """Makes gaps again of estimates that do not lie between what turns out to be the first counter of a register and
    what it was read next."""
    read = first_read(session, begun, begun.begin_ms)
    if read is None or not record.rules(begun).is_counter or begun.rollover:
        return
    because = replace(record.source, reason="estimated from another counter than the first one of the register")
    between = begun.first_reading, read.value
    edits.drop_estimates(session, begun.key, (begun.begin_ms, read.slot_ms), between, because)


def _as_read(
    session: Session,
    record: _Record,
    stored: Readings,
    was: RegisterLife,
    now: RegisterLife,
    known: RegisterState | None = None,
) -> Iterator[tuple[Readings, feed.Source]]:
    """Readings of one register as those of another, judged by its rules, in parts of one origin each. known: what the
    other one had shown before, where that is more than its first reading."""
    if not len(stored):
        return
    origins, of = _origins(session, stored)
    polled = np.array([origin.actor == feed.OURSELVES for origin in origins], np.bool_)[of]
    # An estimate is made of what stands around it.
    multiplied = polled | (stored.status == Status.ESTIMATED if polled.any() else np.zeros(len(stored), np.bool_))
    moved = stored.take(slice(None))
    moved.register = np.full(len(moved), now.key, np.int64)
    moved.value = np.where(stored.is_gap, 0, reread(stored.value, was, now, multiplied))
    rules = record.rules(now)
    if rules.is_counter:
        # Doubt was cast by comparing with the old register. Of anything else nobody would look again at why.
        most = now.final_reading if now.is_final_known and not now.rollover else VALUE_MAX
        lifted = (stored.status == Status.DOUBTFUL) & (moved.value <= most)
        moved.status = np.where(lifted, int(Status.MEASURED), stored.status)
    # A reading at the very instant of the exchange is judged too: hence one slot before it.
    start = known or RegisterState(Point(now.begin_ms - SLOT_MS, now.first_reading))
    moved.status = judge_all(moved, {now.key: start}, {now.key: rules})
    beyond = moved.value > VALUE_MAX
    moved.value = np.minimum(moved.value, VALUE_MAX)
    moved.status = np.where(beyond | (polled & ~moved.is_gap & (was.unit != now.unit)), Status.DOUBTFUL, moved.status)
    lost = _misplaced_estimates(moved, start, rules)
    moved.status, moved.value = np.where(lost, Status.GAP, moved.status), np.where(lost, 0, moved.value)
    for number, origin in enumerate(origins):
        mine = np.flatnonzero(of == number)
        because = replace(record.source, source=origin.source, actor=origin.actor, reason=origin.reason)
        yield moved.take(mine), because


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where readings came from, who brought them, and why."""

    source: str
    actor: str
    reason: str


def _origins(session: Session, stored: Readings) -> tuple[list[_Origin], Int64]:
    """The origins of current readings of one register, and the number of its origin for each."""
    span = f"r.life_key = {int(stored.register[0])} AND r.slot_ms >= {int(stored.slot_ms[0])}"
    span += f" AND r.slot_ms <= {int(stored.slot_ms[-1])}"
    rows = fetch_rows(session, f"SELECT r.slot_ms, r.revision, r.batch_id FROM reading r WHERE {span}")
    batch_of = {(slot, revision): batch for slot, revision, batch in rows}
    batches = f"SELECT DISTINCT r.batch_id FROM reading r WHERE {span}"
    found = session.connection().execute(
        text(f"SELECT id, source, actor, reason FROM reading_batch WHERE id IN ({batches}) ORDER BY id")
    )
    origin_of = {int(number): _Origin(source, actor, reason) for number, source, actor, reason in found}
    origins = list(dict.fromkeys(origin_of.values()))
    number_of = {origin: number for number, origin in enumerate(origins)}
    keys = zip(stored.slot_ms.tolist(), stored.revision.tolist(), strict=True)
    return origins, np.array([number_of[origin_of[batch_of[key]]] for key in keys], np.int64)


def _misplaced_estimates(moved: Readings, before: RegisterState, rules: RegisterRules) -> Mask:
    """Estimates of a counter that lie below what it had shown before, or above what it showed next: they were drawn
    between the counters of two meters."""
    estimated = moved.status == Status.ESTIMATED
    if not rules.is_counter or rules.rollover or not estimated.any():
        return np.zeros(len(moved), np.bool_)
    good = ~estimated & ~moved.is_gap & (moved.status != Status.DOUBTFUL)
    shown = before.good.value if before.good is not None else 0
    floor = np.maximum.accumulate(np.where(good, moved.value, shown))
    ceiling = np.minimum.accumulate(np.where(good, moved.value, VALUE_MAX)[::-1])[::-1]
    misplaced: Mask = estimated & ((moved.value < floor) | (moved.value > ceiling))
    return misplaced


def _set_head(session: Session, life: RegisterLife) -> None:
    """The newest reading of a life whose span has just become another one."""
    head = session.get(RegisterHeadRow, life.key, populate_existing=True)
    if head is None or life.begin_ms <= head.latest_slot_ms < life.end_ms:
        return
    newest = edits.newest(session, life.key, life.end_ms)
    head.latest_slot_ms, head.latest_value = newest if newest[0] >= life.begin_ms else (0, 0)
    session.add(head)
    session.flush()


def _set_polled(session: Session, key: int, polled_ms: int) -> None:
    head = session.get(RegisterHeadRow, key) or RegisterHeadRow(
        life_key=key, latest_slot_ms=0, latest_value=0, polled_slot_ms=0
    )
    head.polled_slot_ms = polled_ms
    session.add(head)
