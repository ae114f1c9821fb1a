"""Validation of counters: digits, negative step, spike against connected load, reset. Pure; nothing is stored here.

Steps are judged one by one here, as polling meets them; whole series, and what is no counter, by
services/metering/validation. Estimation and editing are not here. A check never changes a value: it says MEASURED or
DOUBTFUL, and for a register that was reset it says so once the next reading confirms it (one wrong answer of a device
is not a reset). The numbers are those of the file of rules (validation/parameters.py), by medium; whoever knows a
register puts them into its RegisterRules once (store/lives.py).

The rules, in the order in which a reading meets them; "good" is the last reading that passed:
- digits: a counter at or above the rollover is doubtful;
- rollover: a drop that is a plausible step across the rollover is measured;
- spike behind: a drop to where the good reading before the last one plausibly led proves that the last one was wrong
  (where nobody knows the load, nothing else does); it is measured, and domain/intervals.py leaves the spike out;
- noise: a small step back (one count; what a meter that saves now and then may lose) is doubtful;
- drop: any other step back is doubtful, and a suspected reset or exchange;
- reset: a second reading that goes on from the dropped one confirms it;
- spike: a step above what the connected load can draw is doubtful, unless that rule is switched off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np

from services.metering.reading import VALUE_MAX, Int64, Readings, Status
from services.metering.slot import HOUR_MS

NOISE: Final = 100
"""One count of 0.1 kWh (or 100 l): to step back by it is noise; times the transformer ratio."""
MARGIN_PERMILLE: Final = 1_500
"""Connected load is what is written on the plates; inrush, replaced lamps and clock error may exceed it."""
LATENESS_S: Final = 900
"""A slot may be read late and the one before early: the energy of one slot more is no spike."""
SAVING_INTERVAL_S: Final = 300
"""Some meters store their energy every five minutes and step back by that much after a power loss (Janitza UMG 96)."""
ASSUMED_LOAD_W: Final = 100_000
"""Where the load is unknown: only to tell a counter that restarted at zero from one that came with a value."""
ROLLOVER_PERMILLE: Final = 100
"""Where the load is unknown, a generous step across the rollover: a reset half-way through a register is none."""


class Finding(StrEnum):
    """What a check found."""

    NONE = ""
    DIGITS = "digits"
    ROLLOVER = "rollover"
    NOISE = "noise"
    DROP = "drop"
    RESET = "reset"
    SPIKE = "spike"


@dataclass(frozen=True, slots=True)
class RegisterRules:
    """What is known of a register, in the numbers that it stores, transformer ratio included; 0 is unknown or never.

    connected_load_w: the most that it can count in an hour, for Wh the load in W. assumed_load: taken where that is
    unknown, only to tell a restart at zero. one_count: largest step back that is noise, ratio not included. is_counter:
    False for amounts, sensors and stocks, whose values may do anything.

    saving_s: seconds at the connected load that it may lose with the mains. margin_permille, lateness_ms: share of the
    connected load that is believed, and how much later than its slot a reading may come. rollover_permille: largest
    step across the rollover where the load is not known, as a share of the register. doubts_spikes: False where a step
    above what is believed is measured all the same.
    """

    rollover: int = 0
    connected_load_w: int = 0
    transformer_ratio: int = 1
    one_count: int = NOISE
    assumed_load: int = ASSUMED_LOAD_W
    is_counter: bool = True
    saving_s: int = SAVING_INTERVAL_S
    margin_permille: int = MARGIN_PERMILLE
    lateness_ms: int = LATENESS_S * 1000
    rollover_permille: int = ROLLOVER_PERMILLE
    doubts_spikes: bool = True

    @property
    def noise(self) -> int:
        """Largest step back that is noise; no more than a reading can be."""
        saved = self.connected_load_w * self.saving_s // 3600
        return min(max(self.one_count * self.transformer_ratio, saved), VALUE_MAX)

    def is_noise(self, before: int, after: int) -> bool:
        """True if a counter below another one is no more than noise. One that loses half of itself began anew."""
        return before - after <= self.noise and after * 2 >= before

    def largest_step(self, elapsed_ms: int) -> int | None:
        """Largest plausible step in a span; None where the connected load is unknown."""
        return self.drawn(self.connected_load_w, elapsed_ms) if self.connected_load_w else None

    def drawn(self, load: int, elapsed_ms: int) -> int:
        """Most that is believed to be counted in a span at a load."""
        return load * self.margin_permille * (elapsed_ms + self.lateness_ms) // (1000 * HOUR_MS) + 1

    def rollover_step(self) -> int:
        """Largest step across the rollover where the load is not known."""
        return min(self.rollover * self.rollover_permille // 1000, self.rollover // 2)


class Point(NamedTuple):
    """A counter at a slot."""

    slot_ms: int
    value: int


@dataclass(frozen=True, slots=True)
class RegisterState:
    """What the next reading is judged against.

    `good` is the last reading that passed; `suspect` the first one of a suspected reset, `latest` the newest one of it.
    `before` is the good reading before the last one: what tells a spike that was taken for good from a reset.
    """

    good: Point | None = None
    suspect: Point | None = None
    latest: Point | None = None
    before: Point | None = None


class Reset(NamedTuple):
    """A register that began anew: when (as far as is known), the old one's last good counter, the new one's first."""

    at_ms: int
    final_reading: int
    first_reading: int


class Verdict(NamedTuple):
    """What became of one reading."""

    status: Status
    state: RegisterState
    finding: Finding = Finding.NONE
    reset: Reset | None = None


def judge(state: RegisterState, rules: RegisterRules, slot_ms: int, value: int) -> Verdict:
    """Judges the next reading of a register, in order of slots. A reading not newer than the last good one passes."""
    here = Point(slot_ms, value)
    if not rules.is_counter:
        is_newer = state.good is None or slot_ms > state.good.slot_ms
        return Verdict(Status.MEASURED, RegisterState(here) if is_newer else state)
    if rules.rollover and value >= rules.rollover:
        return Verdict(Status.DOUBTFUL, state, Finding.DIGITS)
    if state.good is None:
        return Verdict(Status.MEASURED, RegisterState(here))
    elapsed_ms = slot_ms - state.good.slot_ms
    if elapsed_ms <= 0:
        return Verdict(Status.MEASURED, state)
    step = value - state.good.value
    if step >= 0:
        limit = rules.largest_step(elapsed_ms) if rules.doubts_spikes else None
        if limit is not None and step > limit:
            return Verdict(Status.DOUBTFUL, state, Finding.SPIKE)
        return Verdict(Status.MEASURED, RegisterState(here, before=state.good))
    is_noise = rules.is_noise(state.good.value, value)
    if not is_noise and not rules.connected_load_w and (behind := _spike_behind(state, rules, here)):
        return behind  # a register that rolled over would have made more than a whole turn in two readings
    # A fall that was no rollover in its own time does not become one because more time has passed since.
    if not _goes_on_below(state, rules, here) and _rolled_over(rules, elapsed_ms, step):
        return Verdict(Status.MEASURED, RegisterState(here, before=state.good), Finding.ROLLOVER)
    if is_noise:
        return Verdict(Status.DOUBTFUL, state, Finding.NOISE)
    return _spike_behind(state, rules, here) or _dropped(state, state.good, rules, here)


def _spike_behind(state: RegisterState, rules: RegisterRules, here: Point) -> Verdict | None:
    """What becomes of a reading below the last good one that goes on from the one before it; None if it does not."""
    before = state.before
    if before is None:
        return None
    step, limit = here.value - before.value, rules.largest_step(here.slot_ms - before.slot_ms)
    if step < 0:
        is_noise = rules.is_noise(before.value, here.value)
        return Verdict(Status.DOUBTFUL, RegisterState(before), Finding.NOISE) if is_noise else None
    if limit is not None and step > limit:
        return None
    return Verdict(Status.MEASURED, RegisterState(here, before=before), Finding.SPIKE)


def _rolled_over(rules: RegisterRules, elapsed_ms: int, step: int) -> bool:
    if not rules.rollover:
        return False
    limit = rules.largest_step(elapsed_ms)
    return step + rules.rollover <= (rules.rollover_step() if limit is None else min(limit, rules.rollover // 2))


def _goes_on_below(state: RegisterState, rules: RegisterRules, here: Point) -> bool:
    """True if a counter that fell counts on from where it fell to: a reset, however long it waits to be recorded."""
    latest = state.latest
    if state.suspect is None or latest is None or here.value < latest.value:
        return False
    limit = rules.largest_step(here.slot_ms - latest.slot_ms)
    return limit is None or here.value - latest.value <= limit


def _dropped(state: RegisterState, good: Point, rules: RegisterRules, here: Point) -> Verdict:
    first, latest = state.suspect, state.latest
    if first is None or latest is None or here.value < latest.value:
        return Verdict(Status.DOUBTFUL, replace(state, suspect=here, latest=here), Finding.DROP)
    if not _goes_on_below(state, rules, here):
        return Verdict(Status.DOUBTFUL, state, Finding.SPIKE)
    return Verdict(Status.MEASURED, RegisterState(here, before=latest), Finding.RESET, _reset(good, rules, first))


def _reset(good: Point, rules: RegisterRules, first: Point) -> Reset:
    """From zero, if what the new register shows can have been drawn since; else with what it shows.

    From zero the energy since the reset is kept; what was drawn between the last good reading and the reset is lost
    with the old counter, and nobody can know it. When it happened nobody knows either: half-way is taken.
    """
    drawn = rules.drawn(rules.connected_load_w or rules.assumed_load, first.slot_ms - good.slot_ms)
    if first.value <= drawn:
        return Reset((good.slot_ms + first.slot_ms) // 2, good.value, 0)
    return Reset(first.slot_ms, good.value, first.value)


def judge_all(ordered: Readings, states: Mapping[int, RegisterState], rules: Mapping[int, RegisterRules]) -> Int64:
    """Statuses of many readings, in order of register and slot. A suspected reset stays in doubt: a person decides.

    Only readings given as measured or by hand are judged. Registers without any negative or high step, nearly all of
    them, are passed by vector arithmetic; the others are judged one by one.
    """
    status = ordered.status.copy()
    judged = np.flatnonzero((status == Status.MEASURED) | (status == Status.HAND))
    if not len(judged):
        return status
    register = ordered.register[judged]
    starts = np.flatnonzero(np.r_[True, register[1:] != register[:-1]])
    ends = np.r_[starts[1:], len(register)]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        rows = judged[start:end]
        key = int(register[start])
        state, rule = states.get(key, RegisterState()), rules.get(key, RegisterRules())
        if not _all_plausible(ordered.slot_ms[rows], ordered.value[rows], state, rule):
            _judge_rows(ordered, rows, state, rule, status)
    return status


def _all_plausible(slot_ms: Int64, value: Int64, state: RegisterState, rules: RegisterRules) -> bool:
    if not rules.is_counter:
        return True
    if state.suspect is not None or (state.good is not None and slot_ms[0] <= state.good.slot_ms):
        return False
    if rules.rollover and bool((value >= rules.rollover).any()):
        return False
    if state.good is not None:
        slot_ms, value = np.r_[state.good.slot_ms, slot_ms], np.r_[state.good.value, value]
    step, elapsed = np.diff(value), np.diff(slot_ms)
    if bool((step < 0).any()):
        return False
    if not rules.connected_load_w or not rules.doubts_spikes:
        return True
    # In float64: a year's gap times a load in W overflows nothing and a rounding of 1e-16 decides nothing.
    limit = rules.connected_load_w * (rules.margin_permille / 1000) * (elapsed + rules.lateness_ms) / HOUR_MS
    return bool((step <= limit).all())


def _judge_rows(ordered: Readings, rows: Int64, state: RegisterState, rules: RegisterRules, status: Int64) -> None:
    slots, values = ordered.slot_ms[rows].tolist(), ordered.value[rows].tolist()
    last_good = -1
    for row, slot_ms, value in zip(rows.tolist(), slots, values, strict=True):
        if rules.connected_load_w and rules.doubts_spikes:
            # What the load allowed is not put in doubt by one reading below it: of a whole series a person decides.
            state = replace(state, before=None)
        verdict = judge(state, rules, slot_ms, value)
        if verdict.reset is not None:
            # Stay with the old register: every further reading is below it and in doubt until the exchange is recorded.
            status[row] = Status.DOUBTFUL
            continue
        state = verdict.state
        if verdict.status is Status.DOUBTFUL:
            status[row] = Status.DOUBTFUL
            continue
        if verdict.finding is Finding.SPIKE and last_good >= 0:
            status[last_good] = Status.DOUBTFUL
        last_good = row
