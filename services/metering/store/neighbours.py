"""What lies next to readings that are about to be stored, for the checks: the usable ones before and after them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sqlmodel import Session

from services.metering.life import RegisterLife
from services.metering.reading import Int64, Readings, Status
from services.metering.store.lives import heads_of, state_before
from services.metering.store.readings import fetch, nearest_usable
from services.metering.vee import RegisterRules, RegisterState, judge_all


def judge_among_stored(
    session: Session, ordered: Readings, lives: Mapping[int, RegisterLife], rules: Mapping[int, RegisterRules]
) -> Int64:
    """Statuses of readings, in order of register and slot, judged by each other and by what is stored around them."""
    if not len(ordered):
        return ordered.status
    keys = np.unique(ordered.register).tolist()
    heads = heads_of(session, keys)
    first = np.searchsorted(ordered.register, keys, "left")
    last = np.searchsorted(ordered.register, keys, "right") - 1
    states: dict[int, RegisterState] = {}
    late: list[tuple[int, int, int]] = []
    for key, begin, end in zip(keys, first.tolist(), last.tolist(), strict=True):
        life = lives[key]
        if not rules[key].is_counter:
            continue
        # A register without readings, as in a first import, needs no query.
        if key in heads or life.is_first_known:
            states[key] = state_before(session, life, int(ordered.slot_ms[begin]))
        if key in heads and heads[key].latest_slot_ms > ordered.slot_ms[end]:
            late.append((key, begin, end))
    status = judge_all(ordered, states, rules)
    for key, begin, end in late:
        _doubt_above_next(session, lives[key], ordered, slice(begin, end + 1), status)
    return status


def _doubt_above_next(session: Session, life: RegisterLife, ordered: Readings, rows: slice, status: Int64) -> None:
    """A late reading above the one that follows it is wrong, or that one is: it is stored, and in doubt."""
    if life.rollover:
        return
    following = nearest_usable(session, life, int(ordered.slot_ms[rows][-1]), before=False)
    if following is None:
        return
    found = fetch(session, [life.key], following, following + 1)
    if not len(found):
        return
    usable = (status[rows] == Status.MEASURED) | (status[rows] == Status.HAND)
    status[rows] = np.where(usable & (ordered.value[rows] > found.value[0]), int(Status.DOUBTFUL), status[rows])


def all_lives(found: Sequence[Sequence[RegisterLife]]) -> dict[int, RegisterLife]:
    """Lives of several meters by their key."""
    return {life.key: life for lives in found for life in lives}
