"""From counter readings to consumption: what a meter counted between any two instants, and how well that is known.

Consumption is read off one curve, the counted amount over time, a straight line between readings. So energy is
conserved across any gap, and the quarter hours of a day add up to the day, whatever is asked for: slots, local days,
months. A gap at the edge needs the reading beyond it: give one reading before and one after what is asked for.

Amounts are whole base units of the meter (Wh, litre), instants are Unix milliseconds. Not here: counters themselves
(counters.py), tariffs, and estimates by anything but the counter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.counters import Ints, Life, Register, Step, classify_step, is_spike
from domain.errors import InvalidInput
from domain.night import QUARTER_HOUR_S, instant_from_unix_ms, quarter_hours, unix_ms

__all__ = ["Consumption", "Curve", "Flag", "Life", "Register", "SlotConsumption", "Step", "StepEvent"]

QUARTER_HOUR_MS: Final = QUARTER_HOUR_S * 1000


class Flag(IntEnum):
    """How well the amount of an interval is known; the worst of what it is made of."""

    MEASURED = 1
    """Readings follow one another as they should."""
    GAP = 2
    """Readings are missing or estimated: the counter conserves the amount of the whole gap, its place in time is a
    straight line from one reading or estimate to the next."""
    ESTIMATED = 3
    """The counter tells a part only: it was reset meanwhile, or the interval is not covered from end to end."""
    MISSING = 4
    """Nothing is known: before the first reading, after the last, between two lives, or across an unexplained step."""


@dataclass(frozen=True, slots=True)
class StepEvent:
    """A step that was not simply forward: from which reading to which, and what was counted for it."""

    step: Step
    from_ms: int
    to_ms: int
    previous: int
    current: int
    amount: int


@dataclass(frozen=True, slots=True)
class Consumption:
    """Consumption of consecutive intervals, in columns.

    amount: base units, 0 where MISSING. estimated_amount: the part of it that no pair of timely readings encloses.
    measured_ms: how much of the interval timely readings cover. flag: `Flag` as uint8.
    """

    starts_ms: Ints
    ends_ms: Ints
    amount: Ints
    estimated_amount: Ints
    measured_ms: Ints
    flag: NDArray[np.uint8]

    def coverage_permille(self) -> Ints:
        """Share of each interval that timely readings cover, in per mille, rounded down."""
        length = np.maximum(self.ends_ms - self.starts_ms, 1)
        covered: Ints = self.measured_ms * 1000 // length
        return covered


@dataclass(frozen=True, slots=True)
class SlotConsumption:
    """Consumption of one interval; amount None where nothing is known."""

    start: datetime
    end: datetime
    amount: int | None
    estimated_amount: int
    flag: Flag


class Curve:
    """The amount counted over time by one meter through all its lives."""

    def __init__(self, lives: Sequence[Life], *, reading_interval_ms: int = QUARTER_HOUR_MS) -> None:
        """Lives in any order; they must not overlap. Readings further apart than one and a half of
        `reading_interval_ms` enclose a gap. Raises InvalidInput."""
        if reading_interval_ms < 1:
            raise InvalidInput.of("reading_interval_ms", f"{reading_interval_ms} is no interval")
        self.events: list[StepEvent] = []
        """Every step that was not simply forward, by time."""
        longest = reading_interval_ms * 3 // 2
        parts = sorted((part for life in lives if (part := self._trace(life, longest)) is not None), key=_begin_of)
        for before, after in pairwise(parts):
            if int(before.knots[-1]) > int(after.knots[0]):
                raise InvalidInput.of("lives", "two lives of a register overlap")
        self.events.sort(key=lambda event: (event.from_ms, event.to_ms))
        self._join(parts)

    def consumption(self, boundaries_ms: ArrayLike) -> Consumption:
        """Consumption between consecutive boundaries (ascending): n + 1 boundaries make n intervals."""
        bounds = np.asarray(boundaries_ms, dtype=np.int64)
        if bounds.ndim != 1 or bounds.size < 2 or bool(np.any(np.diff(bounds) <= 0)):
            raise InvalidInput.of("boundaries_ms", "two instants at least are needed, ascending")
        # Before the first knot the line stands still at its beginning; after the last it rises by nothing.
        index = np.maximum(np.searchsorted(self._knots, bounds, side="right") - 1, 0)
        inside = np.maximum(bounds - self._knots[index], 0)
        amount, estimated = np.diff(self._amounts.at(index, inside)), np.diff(self._estimated.at(index, inside))
        known = {f: np.diff(self._lasted[f][index] + self._is[f][index] * inside) for f in self._lasted}
        unknown = np.diff(bounds) - sum(known.values())
        flag = np.full(amount.shape, Flag.MEASURED, dtype=np.uint8)
        flag[known[Flag.GAP] > 0] = Flag.GAP
        flag[(known[Flag.ESTIMATED] > 0) | (unknown > 0)] = Flag.ESTIMATED
        flag[unknown == np.diff(bounds)] = Flag.MISSING
        return Consumption(bounds[:-1], bounds[1:], amount, estimated, known[Flag.MEASURED], flag)

    def between(self, start: datetime, end: datetime) -> SlotConsumption:
        """Consumption from one instant to another."""
        return _rows(self.consumption([unix_ms(start), unix_ms(end)]))[0]

    def quarter_hours(self, start: datetime, end: datetime) -> list[SlotConsumption]:
        """Consumption of the quarter hours that begin in [start, end)."""
        begins = [unix_ms(slot) for slot in quarter_hours(start, end)]
        return _rows(self.consumption([*begins, begins[-1] + QUARTER_HOUR_MS])) if begins else []

    def _trace(self, life: Life, longest_ms: int) -> "_Part | None":
        instants, counters = life.ordered()
        if instants.size < 2:
            return None
        part = self._steps(life, instants, counters, longest_ms)
        if life.estimated_ms.size:
            # Between estimates the counter conserves the amount of the whole gap, as without them.
            guessed = np.isin(part.knots, life.estimated_ms)
            part.kinds[(guessed[1:] | guessed[:-1]) & (part.kinds == Flag.MEASURED)] = Flag.GAP
        return part

    def _steps(self, life: Life, instants: Ints, counters: Ints, longest_ms: int) -> "_Part":
        steps, elapsed = np.diff(counters), np.diff(instants)
        # Almost always every step is a plain one, and there is nothing to tell apart.
        if bool(np.all((steps >= 0) & (steps <= life.register.plainly_most(elapsed)))):
            kinds = np.where(elapsed <= longest_ms, Flag.MEASURED, Flag.GAP).astype(np.uint8)
            return _Part(instants, steps, kinds)
        return self._walk(life.register, instants.tolist(), counters.tolist(), longest_ms)

    def _walk(self, register: Register, instants: list[int], counters: list[int], longest_ms: int) -> "_Part":
        knots, amounts, kinds = [instants[0]], [], []
        base, last = counters[0], len(counters) - 1
        for i in range(1, last + 1):
            elapsed = instants[i] - knots[-1]
            step, amount = classify_step(register, base, counters[i], elapsed)
            if step in (Step.BREAK, Step.RESET) and i < last:
                following = (counters[i + 1], instants[i + 1])
                if is_spike(register, (base, knots[-1]), (counters[i], instants[i]), following):
                    self.events.append(StepEvent(Step.SPIKE, knots[-1], instants[i], base, counters[i], 0))
                    continue
            if step is not Step.FORWARD:
                self.events.append(StepEvent(step, knots[-1], instants[i], base, counters[i], amount))
            knots.append(instants[i])
            amounts.append(amount)
            kinds.append(_kind(step, elapsed, longest_ms))
            # After noise the higher counter stays the base: what was counted once is not counted again.
            base = base if step is Step.NOISE else counters[i]
        return _Part(np.array(knots, np.int64), np.array(amounts, np.int64), np.array(kinds, np.uint8))

    def _join(self, parts: "list[_Part]") -> None:
        """All parts in a row; between two of them, and after the last, nothing is known."""
        knots: list[Ints] = [part.knots for part in parts]
        amounts: list[Ints] = []
        kinds: list[NDArray[np.uint8]] = []
        for part in parts:
            amounts += [part.amounts, np.zeros(1, np.int64)]
            kinds += [part.kinds, np.full(1, Flag.MISSING, np.uint8)]
        self._knots = np.concatenate(knots) if knots else np.zeros(1, np.int64)
        amount = np.concatenate(amounts) if amounts else np.zeros(1, np.int64)
        kind = np.concatenate(kinds) if kinds else np.full(1, Flag.MISSING, np.uint8)
        spans = np.append(np.diff(self._knots), 0)
        self._amounts = _Line(amount, spans)
        self._estimated = _Line(np.where(kind == Flag.MEASURED, 0, amount), spans)
        self._is = {f: (kind == f).astype(np.int64) for f in (Flag.MEASURED, Flag.GAP, Flag.ESTIMATED)}
        self._lasted = {f: _before(here * spans) for f, here in self._is.items()}


@dataclass(frozen=True, slots=True)
class _Part:
    """One life: knots in time, and between them what was counted and how well that is known."""

    knots: Ints
    amounts: Ints
    kinds: NDArray[np.uint8]


class _Line:
    """A rising line through whole numbers, rounded down between them: differences add up exactly."""

    def __init__(self, amounts: Ints, spans: Ints) -> None:
        self._start = _before(amounts)
        self._amounts = amounts
        # A span of more than 24 days is counted in units of 1.024 s, so that products stay within 64 bits.
        self._shift = np.where(spans < 2**31, 0, 10)
        self._spans = np.maximum(spans >> self._shift, 1)
        self._quotient, self._remainder = np.divmod(amounts, self._spans)

    def at(self, index: NDArray[np.intp], inside: Ints) -> Ints:
        distance = inside >> self._shift[index]
        moved = self._quotient[index] * distance + self._remainder[index] * distance // self._spans[index]
        value: Ints = self._start[index] + moved
        return value


def _before(amounts: Ints) -> Ints:
    """Sum of everything before each element."""
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(amounts)[:-1]))


def _kind(step: Step, elapsed_ms: int, longest_ms: int) -> Flag:
    if step is Step.BREAK:
        return Flag.MISSING
    if step is Step.RESET:
        return Flag.ESTIMATED
    return Flag.MEASURED if elapsed_ms <= longest_ms else Flag.GAP


def _begin_of(part: _Part) -> int:
    return int(part.knots[0])


def _rows(consumption: Consumption) -> list[SlotConsumption]:
    return [
        SlotConsumption(
            instant_from_unix_ms(start),
            instant_from_unix_ms(end),
            None if flag == Flag.MISSING else amount,
            estimated,
            Flag(flag),
        )
        for start, end, amount, estimated, flag in zip(
            consumption.starts_ms.tolist(),
            consumption.ends_ms.tolist(),
            consumption.amount.tolist(),
            consumption.estimated_amount.tolist(),
            consumption.flag.tolist(),
            strict=True,
        )
    ]
