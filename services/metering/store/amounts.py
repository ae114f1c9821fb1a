"""Amounts of many meters in steps, by the shortest way that is true: from roll-ups where a step is made of whole days
that are kept (store/rollups.py), from differences at the ends of runs where it lies in one (store/runs.py), else the
general way over every reading (services/metering/figures/consumption.py).

All ways come to the same; the tests hold them against each other over random histories.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
from sqlmodel import Session

from domain.intervals import Consumption, Flag
from services.metering.figures.consumption import Step, boundaries, factor
from services.metering.figures.rollups import Span, basis_of, joined
from services.metering.life import RegisterLife
from services.metering.meter import Cycle, Kind
from services.metering.reading import Int64, Mask
from services.metering.scale import fits
from services.metering.slot import SLOT_MS, from_ms
from services.metering.store import rollups, runs
from services.metering.store.limits import limits_of
from services.metering.store.tables import MeterRow

LONG_STEPS: Final = (Step.LOCAL_DAY, Step.GAS_DAY, Step.LOCAL_MONTH, Step.LOCAL_YEAR, Step.TOTAL)
"""Steps for which two probes of the primary key are less work than reading what lies between."""

_SURE_CYCLES: Final = (Cycle.QUARTER_HOUR, Cycle.HALF_HOUR, Cycle.HOUR, Cycle.DAY)
_RARE_CYCLES: Final = (Cycle.MONTH, Cycle.YEAR)
_COARSE_CYCLES: Final = (Cycle.MONTH, Cycle.YEAR, Cycle.IRREGULAR)


@dataclass(frozen=True, slots=True)
class Metered:
    """A meter with its register lives, oldest first; `others` are those that count in another unit and are left out."""

    row: MeterRow
    lives: Sequence[RegisterLife]
    others: Sequence[RegisterLife] = ()

    @property
    def is_interval_sure(self) -> bool:
        """True if how far apart timely readings are does not depend on the period that is looked at: then steps can be
        worked out each by itself. A meter that is read each month or year tells no days, whoever reads it."""
        cycle = self.row.reading_cycle
        return cycle in _SURE_CYCLES or (bool(self.row.endpoint_uid) and cycle not in _RARE_CYCLES)

    @property
    def removed_ms(self) -> int | None:
        """Since when no register of it hangs there (Unix ms); None while one does, and of sums, which hang nowhere."""
        lives = [*self.lives, *self.others]
        if self.row.kind == Kind.VIRTUAL or any(life.removed_ms is None for life in lives):
            return None
        return max((life.end_ms for life in lives), default=None)


General: TypeAlias = Callable[[Session, Metered, Int64, Step], Consumption]
"""Works out the consumption of one meter between boundaries from every reading."""


def amounts(
    session: Session,
    meters: Sequence[Metered],
    bounds_ms: Int64,
    step: Step,
    tz: ZoneInfo | None = None,
    *,
    general: General,
) -> list[Consumption]:
    """Consumption of each meter in each step. tz: of the municipality, for roll-ups; None makes no use of them."""
    if step not in LONG_STEPS:
        return [general(session, meter, bounds_ms, step) for meter in meters]
    if step in (Step.TOTAL, Step.LOCAL_YEAR) and tz is not None:
        return _by_months(session, meters, bounds_ms, step, tz, general)
    return _drafted(session, meters, bounds_ms, step, tz, general)


def _drafted(
    session: Session, meters: Sequence[Metered], bounds_ms: Int64, step: Step, tz: ZoneInfo | None, general: General
) -> list[Consumption]:
    drafts = drafts_of(bounds_ms, len(meters))
    if tz is not None and step is not Step.GAS_DAY:
        from_rollups(session, meters, drafts, step)
    in_runs(session, meters, drafts)
    for draft, meter in zip(drafts, meters, strict=True):
        fill(session, draft, meter, step, general)
    return [draft.consumption() for draft in drafts]


def _by_months(
    session: Session, meters: Sequence[Metered], bounds_ms: Int64, step: Step, tz: ZoneInfo, general: General
) -> list[Consumption]:
    """By months, which are few and kept, where months add up: where what is timely does not depend on the period. The
    readings of a year's first months may be gone while its last one is not over."""
    within = boundaries(from_ms(int(bounds_ms[0])), from_ms(int(bounds_ms[-1])), Step.LOCAL_MONTH, tz)
    months = np.union1d(bounds_ms, within)
    sure = [meter for meter in meters if meter.is_interval_sure]
    others = [meter for meter in meters if not meter.is_interval_sure]
    by_month = _drafted(session, sure, months, Step.LOCAL_MONTH, tz, general)
    parts = [_joined(meter, one, bounds_ms) for meter, one in zip(sure, by_month, strict=True)]
    whole = _drafted(session, others, bounds_ms, step, tz, general)
    by_uid = {meter.row.uid: one for meter, one in zip([*sure, *others], [*parts, *whole], strict=True)}
    return [by_uid[meter.row.uid] for meter in meters]


def _joined(meter: Metered, parts: Consumption, bounds_ms: Int64) -> Consumption:
    with limits_of(meter.row):
        return joined(parts, bounds_ms)


@dataclass(slots=True)
class Draft:
    """The consumption of a meter while it is put together: which steps are settled, and what they came to."""

    bounds_ms: Int64
    settled: Mask
    amount: Int64
    estimated_amount: Int64
    measured_ms: Int64
    flag: np.ndarray[tuple[int], np.dtype[np.uint8]]
    is_taken: bool = False

    @property
    def is_settled(self) -> bool:
        """True once nothing is open."""
        if self.is_taken:
            return True
        if len(self.settled) and not self.settled[-1]:
            return False  # as of every draft that nothing has been put into, without a look at each step
        return bool(self.settled.all())

    def open_bounds_ms(self) -> tuple[int, int]:
        """Begin of the first and end of the last step that is not settled."""
        if len(self.settled) and not self.settled[0] and not self.settled[-1]:
            return int(self.bounds_ms[0]), int(self.bounds_ms[-1])
        places = np.flatnonzero(~self.settled)
        return int(self.bounds_ms[places[0]]), int(self.bounds_ms[places[-1] + 1])

    def put(self, at: slice | Int64, part: Consumption) -> None:
        """Settles steps."""
        self.settled[at] = True
        self.amount[at], self.estimated_amount[at] = part.amount, part.estimated_amount
        self.measured_ms[at], self.flag[at] = part.measured_ms, part.flag

    def take(self, whole: Consumption) -> None:
        """Settles all steps."""
        self.settled[:] = self.is_taken = True
        self.amount, self.estimated_amount = whole.amount, whole.estimated_amount
        self.measured_ms, self.flag = whole.measured_ms, whole.flag

    def put_measured(self, at: slice, amount: Int64) -> None:
        """Settles steps that timely readings cover from end to end."""
        self.settled[at] = True
        self.amount[at], self.flag[at] = amount, Flag.MEASURED
        self.measured_ms[at] = (self.bounds_ms[1:] - self.bounds_ms[:-1])[at]

    def open_spans(self) -> list[slice[int, int, None]]:
        """Steps that are not settled yet, neighbours together."""
        edges = np.flatnonzero(np.diff(np.r_[True, self.settled, True].astype(np.int8)))
        return [slice(start, end) for start, end in edges.reshape(-1, 2).tolist()]

    def consumption(self) -> Consumption:
        """What was put together."""
        starts, ends = self.bounds_ms[:-1], self.bounds_ms[1:]
        return Consumption(starts, ends, self.amount, self.estimated_amount, self.measured_ms, self.flag)


def fill(session: Session, draft: Draft, meter: Metered, step: Step, general: General) -> None:
    """Settles what is open by the general way."""
    if draft.is_settled:
        return
    spans = draft.open_spans()
    if not meter.is_interval_sure:
        # Which readings are timely follows from all of the period: only the whole answer is the right one.
        whole = general(session, meter, draft.bounds_ms, step)
        for span in spans:
            draft.put(span, _part(whole, span))
        return
    for span in spans:
        part = general(session, meter, draft.bounds_ms[span.start : span.stop + 1], step)
        draft.put(span, part)


def drafts_of(bounds_ms: Int64, count: int) -> list[Draft]:
    """Drafts with nothing in them: one for each meter of an answer, out of common blocks, as there may be thousands."""
    steps = len(bounds_ms) - 1
    settled, flags = np.zeros((count, steps), np.bool_), np.full((count, steps), Flag.MISSING, np.uint8)
    amount, estimated, measured = np.zeros((3, count, steps), np.int64)
    return [
        Draft(bounds_ms, settled[place], amount[place], estimated[place], measured[place], flags[place])
        for place in range(count)
    ]


Place: TypeAlias = tuple[Draft, RegisterLife, int, int]
"""Steps begin..end (exclusive) of a draft that lie in a run of a register."""


def from_rollups(session: Session, meters: Sequence[Metered], drafts: Sequence[Draft], step: Step) -> None:
    """Settles the steps that are made of whole days which are kept, and which nothing has touched since."""
    states, marks = rollups.states_and_marks(session, [meter.row.uid for meter in meters])
    known = [
        (draft, meter, state)
        for draft, meter in zip(drafts, meters, strict=True)
        if (state := states.get(meter.row.uid)) is not None
    ]
    for span in (Span.MONTH, Span.DAY) if step is not Step.LOCAL_DAY else (Span.DAY,):
        known = [one for one in known if not one[0].is_settled]
        if not known:
            return
        spans = [draft.open_bounds_ms() for draft, _, _ in known]
        first, last = min(begin for begin, _ in spans), max(end for _, end in spans)
        found = rollups.kept(session, [state.key for _, _, state in known], span, first, last)
        exact = found.that_are(drafts[0].bounds_ms)
        for draft, meter, state in known:
            part = found.of(state.key)
            if part is None:
                continue
            holds = _holds(meter, state, marks.get(state.key), part)
            if holds is None and state.key in exact:
                draft.take(part)
                continue
            with limits_of(meter.row):
                _settle(draft, part, holds)


def _holds(meter: Metered, state: rollups.State, marks: rollups.Marks | None, kept: Consumption) -> Mask | None:
    """Which roll-ups may be used: what is sealed, and the rest while the meter is the same and nothing touched them.
    None for all of them, as nearly always."""
    is_same = meter.is_interval_sure and basis_of(meter.row, meter.lives) == state.basis
    inside = int(kept.starts_ms[0]) >= state.from_ms and int(kept.ends_ms[-1]) <= state.until_ms
    if is_same and inside and marks is None and not meter.others:
        return None
    holds: Mask = kept.ends_ms <= state.sealed_ms
    if is_same:
        fresh = (kept.starts_ms >= state.from_ms) & (kept.ends_ms <= state.until_ms)
        holds |= fresh if marks is None else fresh & ~marks.touch(kept.starts_ms, kept.ends_ms)
    for life in meter.others:
        # What is sealed stays in the unit that was counted then, also in roll-ups that were brought up to date since,
        # and in months that the seal cuts: it is none of the meter's now.
        holds &= (kept.ends_ms <= life.begin_ms) | (kept.starts_ms >= life.end_ms)
    return holds


def _settle(draft: Draft, kept: Consumption, holds: Mask | None) -> None:
    """Settles the steps that roll-ups make up from end to end without a hole."""
    starts, ends = draft.bounds_ms[:-1], draft.bounds_ms[1:]
    holds = np.ones(len(kept.starts_ms), np.bool_) if holds is None else holds
    first, last = np.searchsorted(kept.starts_ms, starts), np.searchsorted(kept.ends_ms, ends)
    inside = (first < len(kept.starts_ms)) & (last < len(kept.ends_ms)) & (first <= last) & ~draft.settled
    first, last = np.where(inside, first, 0), np.where(inside, last, 0)
    # Without a hole: what holds, and goes on from the one before, as often as there are pieces.
    follows = np.cumsum(np.r_[0, holds[1:] & (kept.starts_ms[1:] == kept.ends_ms[:-1])])
    whole = (follows[last] - follows[first] == last - first) & holds[first]
    done = np.flatnonzero(inside & whole & (kept.starts_ms[first] == starts) & (kept.ends_ms[last] == ends))
    if not bool((last > first)[done].any()):
        draft.put(done, _part(kept, first[done]))
        return
    for place in done.tolist():
        pieces = slice(int(first[place]), int(last[place]) + 1)
        draft.put(slice(place, place + 1), joined(_part(kept, pieces), draft.bounds_ms[place : place + 2]))


def _part(kept: Consumption, at: slice | Int64) -> Consumption:
    return Consumption(
        kept.starts_ms[at],
        kept.ends_ms[at],
        kept.amount[at],
        kept.estimated_amount[at],
        kept.measured_ms[at],
        kept.flag[at],
    )


def in_runs(session: Session, meters: Sequence[Metered], drafts: Sequence[Draft]) -> None:
    """Settles the steps that lie in a run."""
    bounds_ms = drafts[0].bounds_ms if drafts else np.empty(0, np.int64)
    wanted = [(draft, meter) for draft, meter in zip(drafts, meters, strict=True) if not draft.is_settled]
    keys = [life.key for _, meter in wanted for life in meter.lives if _has_runs(meter, life)]
    if not keys:
        return
    found = runs.of_lives(session, keys, int(bounds_ms[0]), int(bounds_ms[-1]))
    dips = _may_begin_with_dip(session, [meter for _, meter in wanted], found, bounds_ms)
    spikes = _may_end_with_spike(session, [meter for _, meter in wanted], found, bounds_ms)
    places: list[Place] = []
    series: list[Place] = []
    for draft, meter in wanted:
        mine = series if meter.row.kind == Kind.INTERVAL else places
        for life in meter.lives:
            for run in found.get(life.key, ()):
                begin, end = _steps_in(run, life, bounds_ms, run in dips, run in spikes)
                for span in draft.open_spans():
                    if min(end, span.stop) > max(begin, span.start):
                        mine.append((draft, life, max(begin, span.start), min(end, span.stop)))
    if places:
        _by_difference(session, places, bounds_ms)
    if series:
        _by_sum(session, series, bounds_ms)


def _by_difference(session: Session, places: Sequence[Place], bounds_ms: Int64) -> None:
    """Settles steps of counters: what a run of them encloses is the difference at its ends."""
    asked_keys = np.concatenate([np.full(b - a + 1, life.key, np.int64) for _, life, a, b in places])
    asked_slots = np.concatenate([bounds_ms[a : b + 1] for _, _, a, b in places])
    values, begin = runs.values_at(session, asked_keys, asked_slots), 0
    for draft, life, a, b in places:
        counters = values[begin : begin + b - a + 1]
        begin += b - a + 1
        if life.rollover and int(counters[-1]) >= life.rollover:
            continue  # more digits than its register is said to have now: what that means the general way says
        amount, by = np.diff(counters), factor(life, 0)
        if fits(counters, by):  # else the general way says which reading is more than can be counted
            draft.put_measured(slice(a, b), amount * by)


def _by_sum(session: Session, places: Sequence[Place], bounds_ms: Int64) -> None:
    """Settles steps of intervals that are quarter hours, each with its amount: one sum each, by the primary key."""
    keys = np.concatenate([np.full(b - a, life.key, np.int64) for _, life, a, b in places])
    begins = np.concatenate([bounds_ms[a:b] for _, _, a, b in places])
    ends = np.concatenate([bounds_ms[a + 1 : b + 1] for _, _, a, b in places])
    sums, begin = runs.sums_between(session, keys, begins, ends), 0
    for draft, life, a, b in places:
        mine, by = sums[begin : begin + b - a], factor(life, 0)
        begin += b - a
        if fits(mine, by):  # as above
            draft.put_measured(slice(a, b), mine * by)


def _has_runs(meter: Metered, life: RegisterLife) -> bool:
    """False where a run tells nothing: what is read once a month tells no days, however dense somebody stored it."""
    cycle, kind = meter.row.reading_cycle, meter.row.kind
    tells = (kind == Kind.COUNTER and cycle not in _COARSE_CYCLES) or (
        kind == Kind.INTERVAL and cycle == Cycle.QUARTER_HOUR
    )
    return tells and life.scale_exponent >= 0


def _may_begin_with_dip(
    session: Session, meters: Sequence[Metered], found: Mapping[int, Sequence[runs.Run]], bounds_ms: Int64
) -> set[runs.Run]:
    """Runs of counters at whose first reading a step begins, and of which that reading lies below what was before it.

    The next reading may make the dip good: then it is a spike, which the general way leaves out.
    """
    begins_of_steps = set(bounds_ms[:-1].tolist())
    asked = [
        (life, run)
        for meter in meters
        for life in meter.lives
        for run in found.get(life.key, ())
        if meter.row.kind == Kind.COUNTER and run.first_ms >= life.begin_ms and run.first_ms in begins_of_steps
    ]
    columns = [(life.key, life.begin_ms, run.first_ms) for life, run in asked]
    keys, begins, slots = np.array(columns, np.int64).reshape(-1, 3).T
    before = runs.values_before(session, keys, begins, slots)
    return {
        run
        for (life, run), value in zip(asked, before, strict=True)
        if run.first_value < max(value or 0, life.first_reading if life.is_first_known else 0)
    }


def _may_end_with_spike(
    session: Session, meters: Sequence[Metered], found: Mapping[int, Sequence[runs.Run]], bounds_ms: Int64
) -> set[runs.Run]:
    """Runs of counters at whose last reading a step ends, and of which that reading lies above what comes after it.

    It may have been a spike that nobody could know of before: the general way tells, and leaves it out.
    """
    ends_of_steps = set(bounds_ms[1:].tolist())
    asked = [
        (life, run)
        for meter in meters
        for life in meter.lives
        for run in found.get(life.key, ())
        if meter.row.kind == Kind.COUNTER and run.last_ms < life.end_ms and run.last_ms in ends_of_steps
    ]
    columns = [(life.key, run.last_ms, life.end_ms) for life, run in asked]
    keys, slots, ends = np.array(columns, np.int64).reshape(-1, 3).T
    after = runs.values_after(session, keys, slots, ends)
    return {
        run
        for (life, run), value in zip(asked, after, strict=True)
        if (value is not None and value < run.last_value)
        or (life.is_final_known and life.final_reading < run.last_value)
    }


def _steps_in(run: runs.Run, life: RegisterLife, bounds_ms: Int64, has_dip: bool, has_spike: bool) -> tuple[int, int]:
    """Steps begin..end (exclusive) of which both bounds are readings of the run and of the life."""
    # What was recorded at an exchange takes the place of a reading at the very same instant.
    first = max(run.first_ms + (SLOT_MS if has_dip else 0), life.begin_ms + (1 if life.is_first_known else 0))
    last = min(run.last_ms - (SLOT_MS if has_spike else 0), life.end_ms - 1)
    begin = int(np.searchsorted(bounds_ms, first, "left"))
    return begin, int(np.searchsorted(bounds_ms, last, "right")) - 1
