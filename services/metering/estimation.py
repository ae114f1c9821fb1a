"""Estimation: what may have been where readings are missing. Pure; nothing is stored here.

An estimate is a value at a slot at which the meter should have been read. Between the readings on both sides of a gap
the counter knows how much it was in all: estimates spread just that, to the unit, so whatever is asked for across the
gap is what it was. A gap without an end is not filled, nor one across which a counter fell (a reset or an exchange that
is not recorded): there is nothing to spread. Holidays get no profile of their own. Bills are missed where two ends lie
further apart than one bill may last, and never within one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from domain.counters import Register, Step, classify_step
from domain.errors import FailedPrecondition, InvalidInput
from domain.night import local_date, local_day_bounds, local_month_bounds
from services.metering.cycle import BILLED, FIXED, length_ms, longest_ms, may_last
from services.metering.figures.kinds import months_from
from services.metering.meter import Cycle, Kind
from services.metering.reading import Int64, Mask
from services.metering.slot import DAY_MS, HOUR_MS, WEEK_MS, from_ms, slot_text, to_ms

PROFILE_WEEKS: Final = 4
"""Weeks before and after a gap whose same weekdays tell its profile."""
LONGEST_SENSOR_GAP_MS: Final = 3 * HOUR_MS
"""A sensor's values are drawn through no longer gap than this: further on nobody knows."""


class Method(IntEnum):
    """How. The numbers are those of the contract."""

    LINEAR = 1
    WEEKDAY_PROFILE = 2


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one register: usable readings in order of slot.

    estimated: which of them are estimates; no profile rests on them. first, last: instant and counter at installation
    and removal, where they are recorded; they count like readings.
    """

    slot_ms: Int64
    value: Int64
    estimated: Mask
    first: tuple[int, int] | None = None
    last: tuple[int, int] | None = None

    def knots(self) -> tuple[list[int], list[int]]:
        """Instants and values between which gaps lie."""
        slots, values = self.slot_ms.tolist(), self.value.tolist()
        if self.first is not None and (not slots or self.first[0] < slots[0]):
            slots, values = [self.first[0], *slots], [self.first[1], *values]
        if self.last is not None and (not slots or self.last[0] > slots[-1]):
            slots, values = [*slots, self.last[0]], [*values, self.last[1]]
        return slots, values


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be estimated: slots with start <= slot < end of a meter, and how.

    rollover: of the register. total: tells how much was counted from one instant to another, where something else does
    (the counter beside a load profile); None where nobody knows. is_noise: tells whether a counter that falls from one
    value to another does so by no more than noise.
    """

    kind: Kind
    cycle: Cycle
    start_ms: int
    end_ms: int
    method: Method
    tz: ZoneInfo
    rollover: int = 0
    total: Callable[[int, int], int | None] = lambda start_ms, end_ms: None
    is_noise: Callable[[int, int], bool] = lambda before, after: False


@dataclass(slots=True)
class Estimate:
    """Estimated slots and values in order, and what stays missing, as sentences."""

    slot_ms: list[int] = field(default_factory=list)
    value: list[int] = field(default_factory=list)
    unfilled: list[str] = field(default_factory=list)
    gaps: int = 0

    def leave(self, slots: Sequence[int], reason: str) -> None:
        """Says why slots are not filled."""
        span = slot_text(slots[0]) if len(slots) == 1 else f"{slot_text(slots[0])} to {slot_text(slots[-1])}"
        self.unfilled.append(f"{span}: {reason}")


def check_estimable(kind: Kind, cycle: Cycle, method: Method) -> None:
    """Raises FailedPrecondition for a meter that is not estimated, InvalidInput for a method that it does not suit."""
    if kind is Kind.VIRTUAL:
        raise FailedPrecondition.of("name", "a virtual meter has no readings: estimate those of its parts")
    if kind is Kind.STOCK:
        raise FailedPrecondition.of("name", "what lies in a store is not estimated: deliveries come in between")
    if cycle in (Cycle.YEAR, Cycle.IRREGULAR):
        word = "once a year" if cycle is Cycle.YEAR else "irregularly (or has a reading cycle that nobody has set)"
        raise FailedPrecondition.of("name", f"a meter that is read {word} misses nothing that could be estimated")
    if kind is Kind.INSTANT and method is Method.WEEKDAY_PROFILE:
        raise InvalidInput.of("method", "the values of a sensor follow no weekday: use the straight line")


def estimate(known: Known, wanted: Wanted) -> Estimate:
    """Values for the slots that miss one. Raises as `check_estimable` does."""
    check_estimable(wanted.kind, wanted.cycle, wanted.method)
    made = Estimate()
    slots, values = known.knots()
    missing = _missing(slots, wanted)
    place = np.searchsorted(np.array(slots, np.int64), missing)
    asked = (missing >= wanted.start_ms) & (missing < wanted.end_ms)
    for number in np.unique(place[asked]).tolist():
        gap = missing[place == number].tolist()
        inside = [slot for slot in gap if wanted.start_ms <= slot < wanted.end_ms]
        if not 0 < number < len(slots):
            made.leave(inside, "there is no reading after it" if number else "there is no reading before it")
            continue
        knots = (slots[number - 1], values[number - 1]), (slots[number], values[number])
        found = _fill(known, wanted, knots, gap)
        if isinstance(found, str):
            made.leave(inside, found)
            continue
        made.gaps += 1
        for slot, value in zip(gap, found, strict=True):
            if wanted.start_ms <= slot < wanted.end_ms:
                made.slot_ms.append(slot)
                made.value.append(value)
    return made


Knots = tuple[tuple[int, int], tuple[int, int]]


def _fill(known: Known, wanted: Wanted, knots: Knots, gap: Sequence[int]) -> list[int] | str:
    """Values of the missing slots of one gap, or why there are none."""
    (start_ms, before), (end_ms, after) = knots
    if wanted.kind is Kind.COUNTER:
        # By however much a counter may fall: what fell is in doubt, and no gap begins or ends with it. That it does not
        # falls to people who put it right, and to a file without the rule of small steps back.
        step, amount = classify_step(Register(wanted.rollover, noise=0), before, after, end_ms - start_ms)
        if step not in (Step.FORWARD, Step.ROLLOVER):
            if wanted.is_noise(before, after):
                return f"the counter falls from {before} to {after}, no more than noise: put one of the two right first"
            return f"the counter falls from {before} to {after}: record the exchange or the reset first"
        weights = _weights(known, wanted, [start_ms, *gap, end_ms])
        values = [before + part for part in spread(amount, weights)[:-1]]
        return [value % wanted.rollover for value in values] if wanted.rollover else values
    if wanted.kind is Kind.INTERVAL:
        if is_of_bills(wanted.kind, wanted.cycle) and not may_last(wanted.cycle, end_ms - gap[-1]):
            days = (end_ms - start_ms) / DAY_MS
            return f"between the bills on both sides lie {days:.4g} days, which whole months do not fill"
        return _amounts(known, wanted, knots, gap)
    if end_ms - start_ms > LONGEST_SENSOR_GAP_MS:
        hours = LONGEST_SENSOR_GAP_MS / HOUR_MS
        return f"a sensor's values are not drawn through more than {hours:.3g} h"
    return [before + _rounded((after - before) * (slot - start_ms), end_ms - start_ms) for slot in gap]


def _amounts(known: Known, wanted: Wanted, knots: Knots, gap: Sequence[int]) -> list[int]:
    (start_ms, before), (end_ms, after) = knots
    pieces = len(gap) + 1
    line = [before + _rounded((after - before) * number, pieces) for number in range(1, pieces)]
    total = wanted.total(start_ms, gap[-1])
    if total is not None:
        weights = _weights(known, wanted, [start_ms, *gap])
        cumulated = [0, *spread(total, weights)]
        return [high - low for low, high in pairwise(cumulated)]
    if wanted.method is Method.LINEAR:
        return line
    means = _profile(known, wanted, start_ms, end_ms)
    keys = _keys(np.array(gap, np.int64), wanted).tolist()
    return [_rounded(means[key], 1000) if key in means else plain for key, plain in zip(keys, line, strict=True)]


def spread(amount: int, weights: Sequence[int]) -> list[int]:
    """An amount cumulated over pieces by their weights, in whole units, rounded down: the last is the amount itself."""
    whole = sum(weights)
    if whole <= 0:
        weights, whole = [1] * len(weights), len(weights)
    cumulated, reached = [], 0
    for weight in weights:
        reached += weight
        cumulated.append(amount * reached // whole)
    return cumulated


def _weights(known: Known, wanted: Wanted, bounds: Sequence[int]) -> list[int]:
    """Weights of the pieces between instants: their length, or their length times what is usual then."""
    lengths = [high - low for low, high in pairwise(bounds)]
    if wanted.method is Method.LINEAR or wanted.cycle is Cycle.MONTH:
        return lengths
    means = _profile(known, wanted, bounds[0], bounds[-1])
    if not means:
        return lengths
    if wanted.cycle is Cycle.DAY:
        # A local day of 23 or 25 hours is a day.
        lengths = [DAY_MS if abs(length - DAY_MS) <= HOUR_MS else length for length in lengths]
    usual = sum(means.values()) // len(means)
    keys = _keys(np.array(bounds[1:], np.int64), wanted).tolist()
    return [length * means.get(key, usual) for length, key in zip(lengths, keys, strict=True)]


def _profile(known: Known, wanted: Wanted, start_ms: int, end_ms: int) -> dict[int, int]:
    """Mean amount, in thousandths, of each time of the local week, over the weeks on both sides of a gap."""
    slot, value, estimated = known.slot_ms, known.value, known.estimated
    if wanted.kind is Kind.COUNTER:
        apart, amount = np.diff(slot), np.diff(value)
        regular = (apart <= longest_ms(wanted.cycle)) & (amount >= 0) & ~estimated[1:] & ~estimated[:-1]
        slot, amount = slot[1:], amount
    else:
        amount, regular = value, ~estimated
    near = (slot > start_ms - PROFILE_WEEKS * WEEK_MS) & (slot <= end_ms + PROFILE_WEEKS * WEEK_MS)
    chosen = near & regular
    keys, places = np.unique(_keys(slot[chosen], wanted), return_inverse=True)
    sums = np.zeros(len(keys), np.int64)
    np.add.at(sums, places, amount[chosen])
    counts = np.bincount(places, minlength=len(keys))
    rows = zip(keys.tolist(), sums.tolist(), counts.tolist(), strict=True)
    return {key: total * 1000 // count for key, total, count in rows}


def _keys(slot_ms: Int64, wanted: Wanted) -> Int64:
    """The time of the local week at which the interval that ends at a slot begins, in minutes; of days the weekday."""
    begin = slot_ms - (longest_ms(wanted.cycle) if wanted.cycle in FIXED else 1)
    hours, places = np.unique(begin // HOUR_MS, return_inverse=True)
    shift = np.fromiter((_offset_ms(hour, wanted.tz) for hour in hours.tolist()), np.int64, len(hours))
    # 1970-01-01 was a Thursday: with three days on top, weeks begin on Monday.
    minute = (begin + shift[places]) // 60_000 + 3 * 1440
    week_minute: Int64 = minute % (7 * 1440)
    return week_minute if wanted.cycle in FIXED else week_minute // 1440


def _offset_ms(hour: int, tz: ZoneInfo) -> int:
    offset = from_ms(hour * HOUR_MS).astimezone(tz).utcoffset() or timedelta()
    return int(offset.total_seconds()) * 1000


def expected_slots(start_ms: int, end_ms: int, cycle: Cycle, tz: ZoneInfo) -> Int64:
    """Slots with start <= slot < end at which a meter is to be read: of days and months the local midnights."""
    if cycle in FIXED:
        length = longest_ms(cycle)
        return np.arange(-(-start_ms // length) * length, end_ms, length, dtype=np.int64)
    if cycle not in (Cycle.DAY, Cycle.MONTH) or end_ms <= start_ms:
        return np.empty(0, np.int64)
    slots = []
    day, last = local_date(from_ms(start_ms), tz), local_date(from_ms(end_ms), tz)
    while day <= last:
        if cycle is Cycle.DAY:
            slots.append(to_ms(local_day_bounds(day, tz)[0]))
            day += timedelta(days=1)
        else:
            begin, following = local_month_bounds(day.year, day.month, tz)
            slots.append(to_ms(begin))
            day = local_date(following, tz)
    found = np.array(slots, np.int64)
    return found[(found >= start_ms) & (found < end_ms)]


def is_of_bills(kind: Kind, cycle: Cycle) -> bool:
    """Whether a meter's amounts are bills: each begins where the one before ends, wherever in a month that is."""
    return kind is Kind.INTERVAL and cycle in BILLED


def _missing(slots: Sequence[int], wanted: Wanted) -> Int64:
    """Slots without a reading, in order, of all gaps that the wanted span touches."""
    if not slots:
        return np.empty(0, np.int64)
    if is_of_bills(wanted.kind, wanted.cycle):
        return np.array(_missing_bills(slots, wanted), np.int64)
    expected = expected_slots(min(slots[0], wanted.start_ms), max(slots[-1], wanted.end_ms), wanted.cycle, wanted.tz)
    return expected[~np.isin(expected, np.array(slots, np.int64))]


def _missing_bills(ends_ms: Sequence[int], wanted: Wanted) -> list[int]:
    """Ends of the bills that are missing beside those that end at these instants: whole months after the one before;
    before the first, whole months before it. Between two ends that one bill may cover nothing is missing. The last one
    of a gap leaves as much to the bill after it as that may last, where any does."""
    tz, cycle = wanted.tz, wanted.cycle
    found = _months(ends_ms[0], -1, wanted.start_ms, tz)[::-1]
    for before, after in pairwise(ends_ms):
        if after - before < length_ms(cycle) or may_last(cycle, after - before):
            continue
        months = _months(before, 1, after - 1, tz)
        fits = [number for number, end in enumerate(months, start=1) if may_last(cycle, after - end)]
        found += months[: fits[0]] if fits else months
    return found + _months(ends_ms[-1], 1, wanted.end_ms - 1, tz)


def _months(from_ms: int, step: int, to_ms: int, tz: ZoneInfo) -> list[int]:
    """Instants whole months after another one (step 1) or before it (-1), as far as the last one, that one included."""
    found: list[int] = []
    while (to_ms - (at := months_from(from_ms, step * (len(found) + 1), tz))) * step >= 0:
        found.append(at)
    return found


def _rounded(numerator: int, denominator: int) -> int:
    """A quotient to the nearest whole number."""
    return (2 * numerator + denominator) // (2 * denominator)
