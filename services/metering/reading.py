"""Readings in columns, what they are and what is refused about them. Not: whether a counter is plausible (vee.py).

A reading is (register, slot, revision, value, status, observed_at, time source). Element i of every column belongs to
reading i. `register` is the store's integer key of a register life. Values are whole numbers of 10^scale_exponent of
the meter's unit with the transformer ratio in them: states of a counter, amounts of intervals, what a sensor or a gauge
showed. The value of a gap is 0 and means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from domain.errors import InvalidInput
from services.metering.slot import EARLIEST_SLOT_MS, SLOT_MS, slot_text

Int64: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

VALUE_MAX: Final = 2**53 - 1
"""Largest value: what a float64 of the field still holds exactly."""


class Status(IntEnum):
    """What kind of reading it is. The numbers are stored and are those of the contract."""

    MEASURED = 1
    GAP = 2
    DOUBTFUL = 3
    HAND = 4
    ESTIMATED = 5
    EDITED = 6
    SUBSTITUTED = 7


USABLE: Final = (Status.MEASURED, Status.HAND, Status.ESTIMATED, Status.EDITED, Status.SUBSTITUTED)
"""What figures may rest on; estimates count as estimated in every one of them."""


BY_PEOPLE: Final = (Status.HAND, Status.EDITED, Status.SUBSTITUTED)
"""What stands at the minute at which somebody looked; everything else stands on quarter hours."""
MINUTE_MS: Final = 60_000


class TimeSource(IntEnum):
    """Who stamped `observed_at`. The numbers are stored and are those of the contract."""

    DEVICE = 1
    SYSTEM = 2


@dataclass(slots=True)
class Readings:
    """Readings as int64 columns of equal length."""

    register: Int64
    slot_ms: Int64
    value: Int64
    status: Int64
    observed_ms: Int64
    time_source: Int64
    revision: Int64

    def __post_init__(self) -> None:
        if len({len(getattr(self, f.name)) for f in fields(self)}) != 1:
            raise InvalidInput.of("readings", "columns have different lengths")

    @classmethod
    def of(
        cls,
        register: Sequence[int] | Int64,
        slot_ms: Sequence[int] | Int64,
        value: Sequence[int] | Int64,
        status: Sequence[int] | Int64 | None = None,
        observed_ms: Sequence[int] | Int64 | None = None,
        time_source: Sequence[int] | Int64 | None = None,
        revision: Sequence[int] | Int64 | None = None,
    ) -> Readings:
        """From sequences. Left out: measured, observed at the slot, stamped by us, revision 0."""
        slots = column(slot_ms)
        count = len(slots)
        return cls(
            column(register),
            slots,
            column(value),
            np.full(count, Status.MEASURED, np.int64) if status is None else column(status),
            slots.copy() if observed_ms is None else column(observed_ms),
            np.full(count, TimeSource.SYSTEM, np.int64) if time_source is None else column(time_source),
            np.zeros(count, np.int64) if revision is None else column(revision),
        )

    @classmethod
    def none(cls) -> Readings:
        """No reading."""
        return cls.of([], [], [])

    @classmethod
    def gaps(cls, register: int, slots: Int64) -> Readings:
        """Flagged gaps of one register: each says that its slot could not be read."""
        count = len(slots)
        zeros = np.zeros(count, np.int64)
        return cls.of(np.full(count, register, np.int64), slots, zeros, np.full(count, Status.GAP, np.int64))

    @classmethod
    def concatenate(cls, parts: Sequence[Readings]) -> Readings:
        """One after the other."""
        if not parts:
            return cls.none()
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def __len__(self) -> int:
        return len(self.slot_ms)

    def take(self, rows: Int64 | Mask | slice) -> Readings:
        """The chosen rows, in the order given."""
        return Readings(*(getattr(self, f.name)[rows] for f in fields(self)))

    def columns(self) -> tuple[Int64, ...]:
        """The columns in the order of the fields."""
        return tuple(getattr(self, f.name) for f in fields(self))

    @property
    def is_gap(self) -> Mask:
        """Mask of the flagged gaps."""
        return np.equal(self.status, Status.GAP)


def column(values: Sequence[int] | Int64) -> Int64:
    """An int64 column of whatever holds integers."""
    if isinstance(values, np.ndarray):
        return values.astype(np.int64, copy=False)
    return np.fromiter(values, dtype=np.int64, count=len(values))


def order_by_register(readings: Readings) -> Int64:
    """Row numbers in order of register, slot and place; the cheap way where they are in order already."""
    register, slot = readings.register, readings.slot_ms
    ascending = (register[1:] > register[:-1]) | ((register[1:] == register[:-1]) & (slot[1:] >= slot[:-1]))
    if bool(np.all(ascending)):
        return np.arange(len(readings), dtype=np.int64)
    return np.lexsort((slot, register)).astype(np.int64)


def repeats(ordered: Readings) -> tuple[Mask, Mask]:
    """Of readings in order: which repeat the key of the one before with the same value, and which with another.

    The first of a key counts; a gap never contradicts and a value never contradicts a gap before it.
    """
    count = len(ordered)
    same_key = np.zeros(count, np.bool_)
    same_key[1:] = (ordered.register[1:] == ordered.register[:-1]) & (ordered.slot_ms[1:] == ordered.slot_ms[:-1])
    if not same_key.any():
        return same_key, same_key.copy()
    first = np.maximum.accumulate(np.where(same_key, 0, np.arange(count)))
    differs = (ordered.value != ordered.value[first]) | (ordered.is_gap != ordered.is_gap[first])
    other = same_key & differs & ~ordered.is_gap
    return same_key & ~other, other


def current(ordered: Readings) -> Readings:
    """Of readings in order of register, slot and revision: the highest revision of each slot."""
    if len(ordered) < 2:
        return ordered
    last = np.ones(len(ordered), np.bool_)
    last[:-1] = (ordered.register[1:] != ordered.register[:-1]) | (ordered.slot_ms[1:] != ordered.slot_ms[:-1])
    return ordered if bool(last.all()) else ordered.take(last)


class Refusals:
    """Which readings are refused, and why: the first reason found counts."""

    def __init__(self, count: int) -> None:
        self.mask: Mask = np.zeros(count, np.bool_)
        self._reasons: dict[int, str] = {}

    def add(self, rows: Mask | Int64, reason: str, details: Int64 | None = None) -> None:
        """Refuses rows. `{}` in the reason is filled with the row's detail."""
        indexes = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        fresh = indexes[~self.mask[indexes]]
        self.mask[fresh] = True
        # Words for the first thousand only: a million identical sentences help nobody.
        for row in fresh[: max(0, 1000 - len(self._reasons))].tolist():
            self._reasons[row] = reason if details is None else reason.format(int(details[row]))

    @property
    def count(self) -> int:
        """How many are refused."""
        return int(self.mask.sum())

    def sentences(self) -> list[str]:
        """At most a thousand, by index: "17: ..."."""
        return [f"{row}: {reason}" for row, reason in sorted(self._reasons.items())[:1000]]


def check_slots(slot_ms: Int64, status: Int64, observed_ms: Int64, now_ms: int, refusals: Refusals) -> None:
    """Refuses what is off the quarter hours, in the future or before all memory. People read at any minute."""
    by_people = np.isin(status, BY_PEOPLE)
    off = ~by_people & (slot_ms % SLOT_MS != 0)
    refusals.add(off, "the slot {} (Unix ms) is not the start of a quarter hour", slot_ms)
    refusals.add(by_people & (slot_ms % MINUTE_MS != 0), "the slot {} (Unix ms) is not a whole minute", slot_ms)
    refusals.add(slot_ms < EARLIEST_SLOT_MS, f"the slot lies before {slot_text(EARLIEST_SLOT_MS)}")
    refusals.add(slot_ms > now_ms, "the slot {} (Unix ms) lies in the future", slot_ms)
    refusals.add(observed_ms > now_ms, "observed_at {} (Unix ms) lies in the future", observed_ms)
    refusals.add(observed_ms < 0, "observed_at lies before 1970")


def check_values(value: Int64, status: Int64, rollover: Int64, may_be_negative: Mask, refusals: Refusals) -> None:
    """Refuses values that the register cannot show. `rollover` per reading, 0 where it never rolls over."""
    counted = status != Status.GAP
    refusals.add(counted & ~may_be_negative & (value < 0), "the value {} is negative", value)
    # Not np.abs: the least int64 has no positive counterpart, and its absolute value is itself.
    refusals.add(
        counted & ((value > VALUE_MAX) | (value < -VALUE_MAX)), "the value {} is larger than any register", value
    )
    too_long = counted & (rollover > 0) & (value >= rollover)
    refusals.add(too_long, "the counter {} has more digits than the register", value)
