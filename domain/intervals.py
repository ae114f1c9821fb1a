"""From counter readings to consumption: what a meter counted between any two instants, and how well that is known.

Consumption is read off one curve, the counted amount over time, a straight line between readings. So energy is
conserved across any gap, and the quarter hours of a day add up to the day, whatever is asked for: slots, local days,
months. A gap at the edge needs the reading beyond it: give one reading before and one after what is asked for.

Meters that deliver amounts of intervals instead of a counter make such a curve too; nothing is conserved across their
holes, which are missing.

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

from domain.counters import Ints, Life, Register, Step, classify_step, is_overshoot, is_spike
from domain.errors import InvalidInput, OutOfLimits
from domain.night import QUARTER_HOUR_S, instant_from_unix_ms, quarter_hours, unix_ms

__all__ = ["Consumption", "Curve", "Flag", "Intervals", "Life", "Register", "SlotConsumption", "Step", "StepEvent"]

_NO_LIMIT: Final = 2.0**61
"""More than that a meter does not count, and sums, differences and quarter hours of it stay within 64 bits."""
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


@dataclass(frozen=True, slots=True)
class Intervals:
    """Amounts of intervals, begin and end in Unix ms, in any order; they must not overlap.

    is_estimated: mask of the amounts that nobody measured; None for none of them. Raises OutOfLimits for amounts that
    no integer of 64 bits holds together.
    """

    begins_ms: Ints
    ends_ms: Ints
    amounts: Ints
    is_estimated: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        _check_countable(self.amounts, self.begins_ms, self.ends_ms)


class Curve:
    """The amount counted over time by one meter through all its lives."""

    def __init__(
        self,
        lives: Sequence[Life] = (),
        *,
        intervals: Sequence[Intervals] = (),
        reading_interval_ms: int = QUARTER_HOUR_MS,
        per_unit: int = 1,
    ) -> None:
        """Lives, or series of intervals, in any order; they must not overlap. Readings further apart than one and a
        half of `reading_interval_ms` enclose a gap. per_unit: how many of what is given make one base unit (1000 for a
        counter of mL answered in litres); amounts are cut to whole units where the counter itself passes them, so that
        they add up and do not depend on what period is asked for. Raises InvalidInput, and OutOfLimits for more than
        can be counted."""
        if reading_interval_ms < 1:
            raise InvalidInput.of("reading_interval_ms", f"{reading_interval_ms} is no interval")
        if per_unit < 1:
            raise InvalidInput.of("per_unit", f"{per_unit} parts make no unit")
        self.events: list[StepEvent] = []
        """Every step that was not simply forward, by time."""
        longest = reading_interval_ms * 3 // 2
        found = [*(self._trace(life, longest) for life in lives), *(_series(one) for one in intervals)]
        parts = sorted((part for part in found if part is not None), key=_begin_of)
        for before, after in pairwise(parts):
            if int(before.knots[-1]) > int(after.knots[0]):
                raise InvalidInput.of("lives", "two lives of a register overlap")
        self.events.sort(key=lambda event: (event.from_ms, event.to_ms))
        self._per_unit = per_unit
        self._join(parts)

    def consumption(self, boundaries_ms: ArrayLike) -> Consumption:
        """Consumption between consecutive boundaries (ascending): n + 1 boundaries make n intervals."""
        bounds = np.asarray(boundaries_ms, dtype=np.int64)
        if bounds.ndim != 1 or bounds.size < 2 or bool(np.any(np.diff(bounds) <= 0)):
            raise InvalidInput.of("boundaries_ms", "two instants at least are needed, ascending")
        # Before the first knot the line stands still at its beginning; after the last it rises by nothing.
        index = np.maximum(np.searchsorted(self._knots, bounds, side="right") - 1, 0)
        inside = np.maximum(bounds - self._knots[index], 0)
        amount, estimated = self._counted(index, inside)
        known = {f: np.diff(self._lasted[f][index] + self._is[f][index] * inside) for f in self._lasted}
        unknown = np.diff(bounds) - sum(known.values())
        flag = np.full(amount.shape, Flag.MEASURED, dtype=np.uint8)
        flag[known[Flag.GAP] > 0] = Flag.GAP
        flag[(known[Flag.ESTIMATED] > 0) | (unknown > 0)] = Flag.ESTIMATED
        flag[unknown == np.diff(bounds)] = Flag.MISSING
        return Consumption(bounds[:-1], bounds[1:], amount, estimated, known[Flag.MEASURED], flag)

    def _counted(self, index: NDArray[np.intp], inside: Ints) -> tuple[Ints, Ints]:
        """What was counted between instants, and how much of it is estimated: whole base units."""
        counted, estimated = self._amounts.at(index, inside), self._estimated.at(index, inside)
        if self._per_unit == 1:
            return np.diff(counted), np.diff(estimated)
        amount: Ints = np.diff(self._whole[index] + (counted + self._shown[index]) // self._per_unit)
        part: Ints = np.diff(estimated // self._per_unit)
        # Both are cut at their own instants: what is estimated is no more than what there is.
        return amount, np.where(amount >= 0, np.minimum(part, amount), part)

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
            return _Part(instants, steps, kinds, int(counters[0]))
        return self._walk(life.register, instants.tolist(), counters.tolist(), longest_ms)

    def _walk(self, register: Register, instants: list[int], counters: list[int], longest_ms: int) -> "_Part":
        knots: list[int] = [instants[0]]
        amounts: list[int] = []
        kinds: list[Flag] = []
        base, last = counters[0], len(counters) - 1
        ahead: tuple[int, int] | None = None  # base and its instant, where the last step was simply forward from there
        for i in range(1, last + 1):
            elapsed = instants[i] - knots[-1]
            step, amount = classify_step(register, base, counters[i], elapsed)
            if step in (Step.BREAK, Step.RESET) and i < last:
                following = (counters[i + 1], instants[i + 1])
                if is_spike(register, (base, knots[-1]), (counters[i], instants[i]), following):
                    self.events.append(StepEvent(Step.SPIKE, knots[-1], instants[i], base, counters[i], 0))
                    continue
            if (
                ahead is not None
                and step in (Step.BREAK, Step.RESET, Step.ROLLOVER)
                and is_overshoot(register, ahead, (base, knots[-1]), (counters[i], instants[i]))
            ):
                self.events.append(StepEvent(Step.SPIKE, ahead[1], knots[-1], ahead[0], base, 0))
                del knots[-1], amounts[-1], kinds[-1]
                base, elapsed = ahead[0], instants[i] - ahead[1]
                step, amount = classify_step(register, base, counters[i], elapsed)
            ahead = (base, knots[-1]) if step is Step.FORWARD else None
            if step is not Step.FORWARD:
                self.events.append(StepEvent(step, knots[-1], instants[i], base, counters[i], amount))
            knots.append(instants[i])
            amounts.append(amount)
            kinds.append(_kind(step, elapsed, longest_ms))
            # After noise the higher counter stays the base: what was counted once is not counted again.
            base = base if step is Step.NOISE else counters[i]
        return _Part(np.array(knots, np.int64), np.array(amounts, np.int64), np.array(kinds, np.uint8), counters[0])

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
        _check_countable(amount, self._knots, self._knots[1:])
        spans = np.append(np.diff(self._knots), 0)
        self._amounts = _Line(amount, spans)
        self._estimated = _Line(np.where(kind == Flag.MEASURED, 0, amount), spans)
        self._is = {f: (kind == f).astype(np.int64) for f in (Flag.MEASURED, Flag.GAP, Flag.ESTIMATED)}
        self._lasted = {f: _before(here * spans) for f, here in self._is.items()}
        if self._per_unit > 1:
            self._cut(parts)

    def _cut(self, parts: "list[_Part]") -> None:
        """For each knot what turns the amount so far into what its register shows, and the whole units before that."""
        shown, whole = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        counted = units = 0
        for part in parts:
            total = int(part.amounts.sum())
            units -= part.first // self._per_unit
            shown.append(np.full(part.knots.shape, part.first - counted, np.int64))
            whole.append(np.full(part.knots.shape, units, np.int64))
            units += (part.first + total) // self._per_unit
            counted += total
        self._shown = np.concatenate(shown) if parts else np.zeros(1, np.int64)
        self._whole = np.concatenate(whole) if parts else np.zeros(1, np.int64)


@dataclass(frozen=True, slots=True)
class _Part:
    """One life: knots in time, between them what was counted and how well that is known, and the first counter."""

    knots: Ints
    amounts: Ints
    kinds: NDArray[np.uint8]
    first: int = 0


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


def _check_countable(amounts: Ints, begins_ms: Ints, ends_ms: Ints) -> None:
    """Raises OutOfLimits for amounts that no integer of 64 bits holds together; it names the largest of them."""
    # In float64: what is near the limit is over it.
    sizes = np.abs(np.asarray(amounts).astype(np.float64))
    if float(sizes.sum()) > _NO_LIMIT:
        worst = int(np.argmax(sizes))
        since, until = (instant_from_unix_ms(int(one[worst])).isoformat() for one in (begins_ms, ends_ms))
        reason = (
            f"together they are more than can be counted; the largest is {int(amounts[worst])} from {since} to {until}"
        )
        raise OutOfLimits.of("amounts", reason)


def _before(amounts: Ints) -> Ints:
    """Sum of everything before each element."""
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(amounts)[:-1]))


def _series(given: Intervals) -> "_Part | None":
    """A series of intervals as one part: between two that do not touch nothing is known."""
    begins, ends, amounts = (np.asarray(one, np.int64) for one in (given.begins_ms, given.ends_ms, given.amounts))
    if not (begins.shape == ends.shape == amounts.shape) or begins.ndim != 1:
        raise InvalidInput.of("intervals", "begins, ends and amounts are not columns of one length")
    if not begins.size:
        return None
    if bool(np.any(ends <= begins)):
        raise InvalidInput.of("intervals", "an interval ends before it begins")
    order = np.argsort(begins, kind="stable")
    begins, ends, amounts = begins[order], ends[order], amounts[order]
    if bool(np.any(begins[1:] < ends[:-1])):
        raise InvalidInput.of("intervals", "two intervals overlap")
    kinds = np.full(begins.shape, Flag.MEASURED, np.uint8)
    if given.is_estimated is not None:
        kinds[np.asarray(given.is_estimated, np.bool_)[order]] = Flag.GAP
    # Every end is a knot; a begin is one where no interval ends there. Before such a begin lies a hole.
    opens = np.flatnonzero(np.r_[True, begins[1:] > ends[:-1]])
    knots = np.insert(ends, opens, begins[opens])
    return _Part(
        knots, np.insert(amounts, opens, 0)[1:], np.insert(kinds, opens, np.uint8(Flag.MISSING))[1:].astype(np.uint8)
    )


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
