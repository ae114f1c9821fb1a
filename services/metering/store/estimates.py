"""What estimation knows of a meter, out of the tables, and what it makes of it. The arithmetic: estimation.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from sqlmodel import Session, col, select

from domain.errors import OutOfLimits
from services.metering.cycle import FIXED, length_ms, usual_interval_ms
from services.metering.estimation import (
    PROFILE_WEEKS,
    Estimate,
    Known,
    Method,
    Wanted,
    check_estimable,
    estimate,
    is_of_bills,
)
from services.metering.figures.consumption import usable
from services.metering.life import RegisterLife
from services.metering.meter import Cycle, Kind
from services.metering.reading import Readings, Status, TimeSource
from services.metering.slot import DAY_MS, HOUR_MS, SLOT_MS, WEEK_MS
from services.metering.store.edits import current_at
from services.metering.store.lives import lives_of, rules_of
from services.metering.store.readings import with_neighbours
from services.metering.store.tables import MeterRow
from services.metering.validation.parameters import Parameters

MOST_SLOTS: Final = 400_000
"""Slots in one request: eleven years of quarter hours."""
_AROUND_MS: Final = (PROFILE_WEEKS + 1) * WEEK_MS


@dataclass(frozen=True, slots=True)
class Estimated:
    """New revisions in order of register and slot, and what stays missing, in words."""

    readings: Readings
    unfilled: list[str]


def cycle_of(row: MeterRow, readings: Readings) -> Cycle:
    """How often a meter is read: as it is set, by the service every quarter hour, else as its readings mostly come."""
    if row.reading_cycle:
        return Cycle(row.reading_cycle)
    if row.endpoint_uid:
        return Cycle.QUARTER_HOUR
    usual = usual_interval_ms(np.sort(readings.slot_ms))
    for cycle in FIXED:
        if usual == length_ms(cycle):
            return cycle
    return Cycle.DAY if abs(usual - DAY_MS) <= HOUR_MS else Cycle.IRREGULAR


def made(
    session: Session,
    row: MeterRow,
    lives: Sequence[RegisterLife],
    span: tuple[int, int],
    method: Method,
    tz: ZoneInfo,
    parameters: Parameters,
) -> Estimated:
    """Estimates for the slots of a meter in a span (Unix ms, half open) that have no usable reading.

    Readings in doubt count as missing; estimates of the span are made anew, but those of bills stand: beside one that
    its supplier estimated there is no room for another. Raises OutOfLimits for too long a span, and as
    `estimation.check_estimable` does.
    """
    start_ms, end_ms = span
    if (end_ms - start_ms) // SLOT_MS > MOST_SLOTS:
        raise OutOfLimits.of("end_time", f"more than {MOST_SLOTS} slots at once")
    kind = Kind(row.kind)
    found = usable(with_neighbours(session, lives, start_ms - _AROUND_MS, end_ms + _AROUND_MS))
    cycle = cycle_of(row, found)
    check_estimable(kind, cycle, method)
    anew = (found.status == Status.ESTIMATED) & (found.slot_ms >= start_ms) & (found.slot_ms < end_ms)
    known = found if is_of_bills(kind, cycle) else found.take(~anew)
    total = _totals(session, row) if kind is Kind.INTERVAL else None
    parts: list[Readings] = []
    unfilled: list[str] = []
    for life in lives:
        begin, end = max(start_ms, life.begin_ms), min(end_ms, life.end_ms)
        if begin >= end:
            continue
        wanted = Wanted(
            kind, cycle, begin, end, method, tz, life.rollover, is_noise=rules_of(row, life, parameters).is_noise
        )
        if total is not None:
            wanted = replace(wanted, total=total)
        one = estimate(_known(life, known.take(known.register == life.key), kind), wanted)
        parts.append(_as_readings(life.key, one))
        unfilled += one.unfilled
    return Estimated(_revised(session, Readings.concatenate(parts)), unfilled)


def _known(life: RegisterLife, mine: Readings, kind: Kind) -> Known:
    counts = kind is Kind.COUNTER
    return Known(
        mine.slot_ms,
        mine.value,
        mine.status == Status.ESTIMATED,
        first=(life.begin_ms, life.first_reading) if counts and life.is_first_known else None,
        last=(life.end_ms, life.final_reading) if counts and life.is_final_known else None,
    )


def _as_readings(key: int, one: Estimate) -> Readings:
    count = len(one.slot_ms)
    status = np.full(count, Status.ESTIMATED, np.int64)
    source = np.full(count, TimeSource.SYSTEM, np.int64)
    return Readings.of(np.full(count, key, np.int64), one.slot_ms, one.value, status, one.slot_ms, source)


def _revised(session: Session, estimates: Readings) -> Readings:
    """The estimates with the revisions that they get, without those that stand there already."""
    if not len(estimates):
        return estimates
    estimates = estimates.take(np.lexsort((estimates.slot_ms, estimates.register)))
    there = current_at(session, np.unique(estimates.register).tolist(), estimates.slot_ms)
    rows = zip(there.register.tolist(), there.slot_ms.tolist(), strict=True)
    standing = {key: number for number, key in enumerate(rows)}
    wanted = zip(estimates.register.tolist(), estimates.slot_ms.tolist(), strict=True)
    place = np.fromiter((standing.get(key, -1) for key in wanted), np.int64, len(estimates))
    known = place >= 0
    estimates.revision[known] = there.revision[place[known]] + 1
    fresh = np.ones(len(estimates), np.bool_)
    before = there.take(place[known])
    fresh[known] = (before.status != Status.ESTIMATED) | (before.value != estimates.value[known])
    return estimates.take(fresh)


def _totals(session: Session, row: MeterRow) -> Callable[[int, int], int | None] | None:
    """What the counter in the same housing as a load profile counted between two instants at which it was read."""
    housing = row.device_uid or row.uid
    statement = select(MeterRow).where(
        (col(MeterRow.device_uid) == housing) | (col(MeterRow.uid) == housing),
        col(MeterRow.kind) == int(Kind.COUNTER),
        col(MeterRow.medium) == row.medium,
        col(MeterRow.unit) == row.unit,
        col(MeterRow.scale_exponent) == row.scale_exponent,
        col(MeterRow.flow) == row.flow,
        col(MeterRow.deleted_at).is_(None),
    )
    counters = list(session.exec(statement))
    if len(counters) != 1:
        # With several, as of tariffs, nobody has said which of them counts what the profile tells.
        return None
    lives = lives_of(session, [counters[0].uid])[counters[0].uid]

    def total(start_ms: int, end_ms: int) -> int | None:
        life = next((one for one in lives if one.covers(start_ms) and one.covers(end_ms)), None)
        if life is None:
            return None
        ends = usable(current_at(session, [life.key], np.array([start_ms, end_ms], np.int64)))
        ends = ends.take(ends.status != Status.ESTIMATED)
        if len(ends) != 2 or ends.value[1] < ends.value[0]:
            return None
        return int(ends.value[1] - ends.value[0])

    return total
