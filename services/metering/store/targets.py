"""What polling reads, out of the tables: living meters whose endpoint may be read, and where their registers stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlmodel import Session

from services.metering.life import FOREVER_MS, RegisterLife
from services.metering.reading import Status
from services.metering.store.endpoints import all_rows as all_endpoints
from services.metering.store.lives import heads_of, lives_of, rules_of, state_before
from services.metering.store.meters import all_rows as all_meters
from services.metering.store.readings import fetch
from services.metering.target import Target
from services.metering.vee import RegisterRules, RegisterState, judge

READABLE_STATES: Final = (2, 3, 4)
"""Observed, tested, in control: to what is only planned nothing connects. The numbers are the registry's."""


def load(session: Session, known: Mapping[tuple[str, int], Target]) -> tuple[list[Target], int]:
    """Every register that is polled, and how many meters are not. What is known keeps its place in time."""
    endpoints = {row.uid: row for row in all_endpoints(session) if row.state in READABLE_STATES}
    rows = all_meters(session)
    polled = [row for row in rows if row.endpoint_uid in endpoints]
    lives = lives_of(session, [row.uid for row in polled])
    targets: list[Target] = []
    for row in polled:
        life = next((one for one in lives[row.uid] if one.removed_ms is None), None)
        if life is None:
            continue
        endpoint, rules = endpoints[row.endpoint_uid], rules_of(row, life)
        before = known.get((row.uid, life.key))
        state, settled_ms = (before.state, before.settled_ms) if before else _standing(session, life, rules)
        targets.append(
            Target(
                name=f"{row.municipality_uid}/{row.meter_id}",
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
            )
        )
    return targets, len(rows) - len(targets)


def _standing(session: Session, life: RegisterLife, rules: RegisterRules) -> tuple[RegisterState, int]:
    """What the next reading is judged against, a suspected reset included, and the newest slot that was dealt with."""
    heads = heads_of(session, [life.key])
    state = state_before(session, life, FOREVER_MS)
    if life.key not in heads:
        return state, 0
    since = state.good.slot_ms + 1 if state.good else 0
    tail = fetch(session, [life.key], since, FOREVER_MS)
    for slot_ms, value, status in zip(tail.slot_ms.tolist(), tail.value.tolist(), tail.status.tolist(), strict=True):
        if status == Status.DOUBTFUL:
            verdict = judge(state, rules, slot_ms, value)
            # A reset that was confirmed while nobody could record it: the next reading confirms it once more.
            state = state if verdict.reset is not None else verdict.state
    return state, heads[life.key].polled_slot_ms
