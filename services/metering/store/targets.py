"""What polling reads, out of the tables: living meters whose endpoint may be read, and where their registers stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from sqlalchemy import text
from sqlmodel import Session

from domain.night import DEFAULT_TIME_ZONE
from servicekit.tenants import stored_ids, time_zones
from services.metering.acquisition.target import Target
from services.metering.life import FOREVER_MS, RegisterLife
from services.metering.reading import USABLE, Readings, Status
from services.metering.schedule import slots_differ
from services.metering.store.endpoints import all_rows as all_endpoints
from services.metering.store.heads import polled_slots
from services.metering.store.lives import lives_of, rules_of, state_before
from services.metering.store.meters import all_rows as all_meters
from services.metering.store.readings import fetch, fetch_batch
from services.metering.validation.parameters import Parameters
from services.metering.vee import Point, RegisterRules, RegisterState, judge

READABLE_STATES: Final = (2, 3, 4)
"""Observed, tested, in control: to what is only planned nothing connects. The numbers are the registry's."""
_RECENT_BATCHES: Final = 2_000
"""Far more than are stored between two looks."""
_LOOK_BACK_MS: Final = (2 * 3_600_000, 2 * 86_400_000)


def load(session: Session, known: Mapping[tuple[str, int], Target], parameters: Parameters) -> tuple[list[Target], int]:
    """Every register that is polled, and how many meters are not. What is known keeps its place in time."""
    endpoints = {row.uid: row for row in all_endpoints(session) if row.state in READABLE_STATES}
    rows = all_meters(session)
    polled = [row for row in rows if row.endpoint_uid in endpoints]
    lives = lives_of(session, [row.uid for row in polled])
    living = [
        (row, life) for row in polled if (life := next((one for one in lives[row.uid] if one.removed_ms is None), None))
    ]
    edited = edited_lately(session, [target for target in known.values() if target.state.good is not None])
    changed = edited | {
        life.key
        for row, life in living
        if (before := known.get((row.uid, life.key))) is not None and slots_differ(before.cycle, row.reading_cycle)
    }
    standing = _standings(
        session,
        [
            (life, rules_of(row, life, parameters))
            for row, life in living
            if (row.uid, life.key) not in known or life.key in changed
        ],
    )
    targets: list[Target] = []
    zones = time_zones(session)
    towns = stored_ids(session)
    for row, life in living:
        endpoint, rules = endpoints[row.endpoint_uid], rules_of(row, life, parameters)
        before = known.get((row.uid, life.key))
        state, settled_ms = standing[life.key] if life.key in standing else (RegisterState(), 0)
        if before is not None:
            settled_ms = max(settled_ms, before.settled_ms)
            state = state if life.key in edited else before.state
        targets.append(
            Target(
                name=f"{towns.get(row.municipality_uid, row.municipality_uid)}/{row.meter_id}",
                meter_uid=row.uid,
                municipality_uid=row.municipality_uid,
                life_key=life.key,
                life_uid=life.uid,
                endpoint_uid=endpoint.uid,
                url=endpoint.url,
                profile=endpoint.profile,
                point=row.point,
                rules=rules,
                state=state,
                settled_ms=settled_ms,
                round_trip_ms=endpoint.round_trip_ms,
                monthly_bytes=endpoint.monthly_bytes,
                serial_number=life.serial_number or row.serial_number,
                kind=row.kind,
                scale_exponent=life.scale_exponent,
                acquisition=row.acquisition,
                cycle=row.reading_cycle,
                time_zone=zones.get(row.municipality_uid, DEFAULT_TIME_ZONE),
            )
        )
    return targets, len(rows) - len(targets)


def edited_lately(session: Session, known: Sequence[Target]) -> set[int]:
    """Registers whose newest readings people have put right lately, on whichever replica: what they are compared with
    is another one now."""
    if not known:
        return set()
    oldest_ms = min(target.state.good.slot_ms for target in known if target.state.good is not None)
    keys = [target.life_key for target in known]
    statement = text(
        "SELECT id, first_slot_ms, last_slot_ms FROM reading_batch WHERE last_slot_ms >= :oldest"
        " AND id > (SELECT coalesce(max(id), 0) FROM reading_batch) - :recent"
        " AND source IN ('edit', 'estimate', 'revalidation')"
    )
    found = session.connection().execute(statement, {"oldest": oldest_ms, "recent": _RECENT_BATCHES}).all()
    edited: set[int] = set()
    for batch_id, first_ms, last_ms in found:
        readings = fetch_batch(session, keys, int(batch_id), max(int(first_ms), oldest_ms), int(last_ms) + 1)
        edited.update(readings.register.tolist())
    return edited


def _standings(
    session: Session, registers: Sequence[tuple[RegisterLife, RegisterRules]]
) -> dict[int, tuple[RegisterState, int]]:
    """What the next reading of each register is judged against, a suspected reset included, and the newest slot that
    was dealt with.

    All at once, since ten thousand registers are looked up at a start: nearly all of them have a usable reading within
    the last hours, the rest within the last days, and only what is older is searched for one by one.
    """
    keys = [life.key for life, _ in registers]
    polled = polled_slots(session, keys)
    found: dict[int, tuple[RegisterState, int]] = {
        life.key: (state_before(session, life, FOREVER_MS) if life.is_first_known else RegisterState(), 0)
        for life, _ in registers
        if life.key not in polled
    }
    left = {life.key: (life, rules) for life, rules in registers if life.key in polled}
    newest_ms = max(polled.values(), default=0)
    for span_ms in _LOOK_BACK_MS:
        if not left:
            break
        tails = fetch(session, list(left), newest_ms - span_ms, FOREVER_MS)
        starts = np.flatnonzero(np.r_[len(tails) > 0, tails.register[1:] != tails.register[:-1]]).tolist()
        for start, end in zip(starts, [*starts[1:], len(tails)], strict=False):
            tail = tails.take(slice(start, end))
            good = np.flatnonzero(np.isin(tail.status, USABLE))
            if len(good):
                key, place = int(tail.register[0]), int(good[-1])
                life, rules = left[key]
                state = _state(tail.take(good))
                if state.before is None and span_ms != _LOOK_BACK_MS[-1]:
                    continue  # what was good before it lies further back
                del left[key]
                if state.good and state.before is None and life.is_first_known and life.begin_ms < state.good.slot_ms:
                    state = replace(state, before=Point(life.begin_ms, life.first_reading))
                found[key] = _after(tail.take(slice(place + 1, None)), state, rules), polled[key]
    for key, (life, rules) in left.items():
        state = state_before(session, life, FOREVER_MS)
        since = state.good.slot_ms + 1 if state.good else 0
        found[key] = _after(fetch(session, [key], since, FOREVER_MS), state, rules), polled[key]
    return found


def _state(good: Readings) -> RegisterState:
    """The state after usable readings: the last one, and the newest before it that is not a spike which it proved."""
    last = Point(int(good.slot_ms[-1]), int(good.value[-1]))
    below = np.flatnonzero(good.value[-3:-1] <= last.value)
    if not len(below):
        return RegisterState(last)
    place = max(len(good) - 3, 0) + int(below[-1])
    return RegisterState(last, before=Point(int(good.slot_ms[place]), int(good.value[place])))


def _after(tail: Readings, state: RegisterState, rules: RegisterRules) -> RegisterState:
    """The state after the readings in doubt that follow the last good one."""
    for slot_ms, value, status in zip(tail.slot_ms.tolist(), tail.value.tolist(), tail.status.tolist(), strict=True):
        if status == Status.DOUBTFUL:
            verdict = judge(state, rules, slot_ms, value)
            # A reset that was confirmed while nobody could record it: the next reading confirms it once more.
            state = state if verdict.reset is not None else verdict.state
    return state
