"""A batch of readings as somebody brings it: which register each belongs to, and which are refused and why. Pure.

What is plausible is vee.py's, what is stored already the store's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.metering.life import RegisterLife, keys_at
from services.metering.meter import Kind
from services.metering.reading import (
    Int64,
    Mask,
    Readings,
    Refusals,
    Status,
    TimeSource,
    check_slots,
    check_values,
    order_by_register,
    repeats,
)

_STATUSES: Final = tuple(int(status) for status in Status)


@dataclass(frozen=True, slots=True)
class Brought:
    """Columns as they were brought: `meter` indexes a list of meters; status and observed_at are 0 where not given."""

    meter: Int64
    slot_ms: Int64
    value: Int64
    status: Int64
    observed_ms: Int64
    time_source: Int64


@dataclass(frozen=True, slots=True)
class Sorted:
    """What may be stored, in order of register and slot, each key once; `row` is its place among what was brought.

    unchanged: repetitions within the batch itself.
    """

    readings: Readings
    row: Int64
    unchanged: int


@dataclass(frozen=True, slots=True)
class Owner:
    """A meter that readings are brought for: its kind and its lives."""

    kind: int
    lives: Sequence[RegisterLife]


def sort_out(brought: Brought, meters: Sequence[Owner | None], now_ms: int) -> tuple[Sorted, Refusals]:
    """Assigns readings to the lives of their meters (None for a meter that nobody knows), and refuses what is wrong."""
    count = len(brought.slot_ms)
    refusals = Refusals(count)
    status = np.where(brought.status == 0, int(Status.MEASURED), brought.status)
    observed_ms = np.where(brought.observed_ms == 0, brought.slot_ms, brought.observed_ms)
    source = np.where(brought.time_source == 0, int(TimeSource.SYSTEM), brought.time_source)
    value = np.where(status == Status.GAP, 0, brought.value)

    in_list = (brought.meter >= 0) & (brought.meter < len(meters))
    refusals.add(~in_list, "meter index {} is not in the list of meters", brought.meter)
    refusals.add(~np.isin(status, _STATUSES), "status {} is not known", status)
    refusals.add((source < 1) | (source > 2), "time source {} is not known", source)
    check_slots(brought.slot_ms, status, observed_ms, now_ms, refusals)
    register, rollover, signed = _registers(brought, meters, refusals)
    check_values(value, status, rollover, signed, refusals)

    row = np.flatnonzero(~refusals.mask).astype(np.int64)
    readings = Readings.of(register[row], brought.slot_ms[row], value[row], status[row], observed_ms[row], source[row])
    order = order_by_register(readings)
    readings, row = readings.take(order), row[order]
    twice, contradicts = repeats(readings)
    refusals.add(row[contradicts], "another value for the same meter and slot comes before it")
    once = ~(twice | contradicts)
    return Sorted(readings.take(once), row[once], int(twice.sum())), refusals


def _registers(brought: Brought, meters: Sequence[Owner | None], refusals: Refusals) -> tuple[Int64, Int64, Mask]:
    """Key and rollover of the register that each reading belongs to, and whether its values may be negative. Refuses
    those that belong to none."""
    count = len(brought.slot_ms)
    register, rollover = np.full(count, -1, np.int64), np.zeros(count, np.int64)
    signed = np.zeros(count, np.bool_)
    order = np.argsort(brought.meter, kind="stable")
    ordered = brought.meter[order]
    for index in np.unique(ordered).tolist():
        if not 0 <= index < len(meters):
            continue
        rows = order[np.searchsorted(ordered, index, "left") : np.searchsorted(ordered, index, "right")]
        meter = meters[index]
        if meter is None:
            refusals.add(rows, "the meter does not exist")
            continue
        if meter.kind == Kind.VIRTUAL:
            refusals.add(rows, "the meter is a sum of others: nothing is stored for it")
            continue
        signed[rows] = meter.kind == Kind.INSTANT
        register[rows] = keys_at(meter.lives, brought.slot_ms[rows])
        for life in meter.lives:
            if life.rollover:
                rollover[rows[register[rows] == life.key]] = life.rollover
        refusals.add(rows[register[rows] < 0], "the slot {} (Unix ms) is out of the register's life", brought.slot_ms)
    return register, rollover, signed
