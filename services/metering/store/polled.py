"""Storing what polling has read: for the register that lived at each slot, and without unflagged holes between the
slots of its cycle.

Polled readings may come late, out of the spool: meanwhile a register may have been exchanged, and what it was read
under is not what it belongs to.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from sqlmodel import Session

from domain.night import DEFAULT_TIME_ZONE
from services.metering.life import keys_at, reread
from services.metering.meter import Cycle
from services.metering.reading import VALUE_MAX, Int64, Readings, Status, order_by_register, repeats
from services.metering.schedule import slots_between, zone_of
from services.metering.slot import SLOT_MS
from services.metering.store import feed, lock
from services.metering.store.heads import polled_slots, spans_of
from services.metering.store.ingest import Outcome, write
from services.metering.store.lives import keys_of_uids, lives_of, rules_of, state_before
from services.metering.store.seldom import schedules_of
from services.metering.store.tables import MeterRow
from services.metering.validation.parameters import Parameters
from services.metering.vee import judge_all

_log = logging.getLogger(__name__)

MOST_FLAGGED: Final = 9_600
"""Most slots (a hundred days) of a register that are flagged as gaps in one go; older holes stay holes, which count the
same: nothing covers them."""
_EVERY_QUARTER_HOUR: Final = (Cycle.QUARTER_HOUR, zone_of(DEFAULT_TIME_ZONE))


@dataclass(frozen=True, slots=True)
class Polled:
    """What became of polled readings: those newly stored, how many contradict what is stored, how many nobody owns."""

    stored: Readings
    conflicts: int
    orphans: int


def write_polled(
    session: Session, readings: Readings, lives: Mapping[int, str], source: feed.Source, parameters: Parameters
) -> Polled:
    """Stores polled readings. `lives` gives the uid of each key that occurs, which is what counts. By `parameters` is
    judged what moves to another register."""
    given = len(readings)
    if not given:
        return Polled(readings, 0, 0)
    lock.to_store_readings(session)
    readings = _own(session, readings, lives, parameters)
    orphans = given - len(readings)
    if orphans:
        _log.error("%d polled readings belong to no register that lived at their slot", orphans)
    # Of a gap and a value for one slot the value counts, whichever came first.
    ordered = readings.take(np.lexsort((readings.is_gap, readings.slot_ms, readings.register)))
    twice, contradicts = repeats(ordered)
    ordered = ordered.take(~(twice | contradicts))
    whole = _with_gaps_between(session, ordered)
    written = write(session, whole, source, polled=True)
    stored = whole.take(written.outcome == Outcome.STORED)
    return Polled(
        stored, written.count(Outcome.CONFLICT) + written.count(Outcome.PROTECTED) + int(contradicts.sum()), orphans
    )


def _own(session: Session, readings: Readings, lives: Mapping[int, str], parameters: Parameters) -> Readings:
    """The readings under the keys of the registers that lived at their slots."""
    spans = {span.key: span for span in spans_of(session, list(lives))}
    strange = {key: uid for key, uid in lives.items() if key not in spans or spans[key].uid != uid}
    known = np.array(sorted(lives), np.int64)  # every reading comes with the uid of its register
    owners = known
    if strange:
        # The database was restored meanwhile, and has numbered its registers anew.
        now = keys_of_uids(session, set(strange.values()))
        renumbered = {key: now.get(uid, -1) for key, uid in strange.items()}
        owners = np.array([renumbered.get(key, key) for key in known.tolist()], np.int64)
        spans = {span.key: span for span in spans_of(session, np.unique(owners).tolist())}
    place = np.minimum(np.searchsorted(known, readings.register), len(known) - 1)
    register = np.where(known[place] == readings.register, owners[place], -1)
    readings = readings.take(slice(None))
    # The transaction may run again: what was handed in stays as it is.
    readings.register, readings.status = register, readings.status.copy()
    order = np.argsort(register, kind="stable")
    ordered = register[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    slots = readings.slot_ms[order]
    first, last = np.minimum.reduceat(slots, starts), np.maximum.reduceat(slots, starts)
    ends = np.r_[starts[1:], len(order)]
    for key, begin, end, first_ms, last_ms in zip(
        ordered[starts].tolist(), starts.tolist(), ends.tolist(), first.tolist(), last.tolist(), strict=True
    ):
        span = spans.get(key)
        if span is not None and (first_ms < span.begin_ms or last_ms >= span.end_ms):
            _move(session, span.meter_uid, readings, order[begin:end], parameters)
    return readings.take(readings.register >= 0)


def _move(session: Session, meter_uid: str, readings: Readings, rows: Int64, parameters: Parameters) -> None:
    """Puts rows of one meter under the lives that they fall into, and judges what has moved by its new register.

    They were read with the ratio, and in the scale, of the register that they were thought to be of (`life.reread`).
    """
    lives = lives_of(session, [meter_uid])[meter_uid]
    meter = session.get_one(MeterRow, meter_uid)
    known = {life.key: life for life in lives}
    owner = keys_at(lives, readings.slot_ms[rows])
    for life in lives:
        moved = rows[(owner == life.key) & (readings.register[rows] != life.key)]
        if not len(moved):
            continue
        for key in np.unique(readings.register[moved]).tolist():
            of = moved[readings.register[moved] == key]
            values = reread(readings.value[of], known[key], life, np.ones(len(of), np.bool_))
            readings.value[of] = np.minimum(values, VALUE_MAX)
        readings.register[moved] = life.key
        state = state_before(session, life, int(readings.slot_ms[moved].min()))
        rules = {life.key: rules_of(meter, life, parameters)}
        if rules[life.key].is_counter:
            # Doubt was cast by comparing with the other register. Of anything else nobody would look again at why.
            doubted = readings.status[moved] == Status.DOUBTFUL
            readings.status[moved[doubted]] = Status.MEASURED
        readings.status[moved] = judge_all(readings.take(moved), {life.key: state}, rules)
    readings.register[rows[owner < 0]] = -1


def _with_gaps_between(session: Session, ordered: Readings) -> Readings:
    """The readings, and a flagged gap for every slot of its cycle that polling has passed over, by register: since the
    last one it dealt with, or since the first of these readings where there was none. What was passed over before an
    exchange are gaps of the register that hung there then."""
    if not len(ordered):
        return ordered
    starts = np.flatnonzero(np.r_[True, ordered.register[1:] != ordered.register[:-1]])
    keys = ordered.register[starts].tolist()
    polled = polled_slots(session, keys)
    holes: list[tuple[int, int, Int64]] = []
    for key, slots in zip(keys, np.split(ordered.slot_ms, starts[1:]), strict=True):
        first_ms, last_ms = int(slots[0]), int(slots[-1])
        after_ms = polled.get(key, 0) or first_ms
        later = len(slots) if first_ms > after_ms else int(np.count_nonzero(slots > after_ms))
        if last_ms - after_ms > later * SLOT_MS:  # hardly ever of what is read every quarter hour
            holes.append((key, after_ms, slots))
    if not holes:
        return ordered
    schedules = schedules_of(session, [key for key, _, _ in holes])
    between = cache(slots_between)  # nearly all of them were read last at one and the same slot
    missed: dict[int, Int64] = {}
    for key, after_ms, slots in holes:
        cycle, tz = schedules.get(key, _EVERY_QUARTER_HOUR)
        last_ms = int(slots[-1])
        due = between(cycle, max(after_ms, last_ms - MOST_FLAGGED * SLOT_MS), last_ms, tz)
        missing = np.setdiff1d(due, slots, assume_unique=True) if len(due) else due
        if len(missing):
            missed[key] = missing
    if not missed:
        return ordered
    parts, earlier = [ordered], False
    for span in spans_of(session, list(missed)):
        missing = missed[span.key]
        if int(missing[0]) >= span.begin_ms:
            parts.append(Readings.gaps(span.key, missing))
            continue
        owner = keys_at(lives_of(session, [span.meter_uid])[span.meter_uid], missing)
        parts += [Readings.gaps(key, missing[owner == key]) for key in np.unique(owner[owner >= 0]).tolist()]
        earlier = True
    whole = Readings.concatenate(parts)
    if not earlier:
        return whole.take(order_by_register(whole))
    # The register of before may have readings, or gaps, among these too.
    whole = whole.take(np.lexsort((whole.is_gap, whole.slot_ms, whole.register)))
    twice, contradicts = repeats(whole)
    return whole.take(~(twice | contradicts))
