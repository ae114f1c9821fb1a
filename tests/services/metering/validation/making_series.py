"""Makers of series for the tests of the rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.metering.meter import Kind
from services.metering.slot import HOUR_MS, SLOT_MS, to_ms
from services.metering.validation.parameters import Parameters
from services.metering.validation.series import RuleFinding, Series
from services.metering.validation.table import check
from tests.services.metering.making import NOW

HOUR = HOUR_MS
DAY = 24 * HOUR
MONDAY_MS = to_ms(NOW) // DAY * DAY - 5 * DAY  # 2026-03-23, 00:00Z
Ints = NDArray[np.int64]


def counter(values: Sequence[int] | Ints, cycle_ms: int = SLOT_MS, **changes: Any) -> Series:
    """A counter read without a gap."""
    return made(Kind.COUNTER, values, cycle_ms, **changes)


def intervals(values: Sequence[int] | Ints, cycle_ms: int = HOUR, **changes: Any) -> Series:
    """Amounts of hours without a gap."""
    return made(Kind.INTERVAL, values, cycle_ms, **changes)


def sensor(
    values: Sequence[int] | Ints, cycle_ms: int = SLOT_MS, medium: str = "temperature", **changes: Any
) -> Series:
    """A sensor's values without a gap."""
    return made(Kind.INSTANT, values, cycle_ms, medium=medium, **changes)


def made(kind: Kind, values: Sequence[int] | Ints, cycle_ms: int, **changes: Any) -> Series:
    """A series of a kind from Monday on."""
    value = np.asarray(values, np.int64)
    fields: dict[str, Any] = {
        "medium": "electricity",
        "slot_ms": MONDAY_MS + np.arange(len(value), dtype=np.int64) * cycle_ms,
        "cycle_ms": cycle_ms,
        **changes,
    }
    return Series(kind, value=value, **fields)


def without(series: Series, first: int, last: int) -> Series:
    """The series without the rows from `first` to before `last`."""
    rows = np.ones(len(series), np.bool_)
    rows[first:last] = False
    return series.of_rows(rows)


def only(rule: str, series: Series, parameters: Parameters | None = None) -> tuple[list[RuleFinding], list[int]]:
    """Findings of one rule, and the rows that it doubts."""
    found, doubtful = check(series, parameters, [rule])
    assert all(one.rule == rule for one in found)
    return found, np.flatnonzero(doubtful).tolist()


def office(weeks: int, seed: int = 1) -> Ints:
    """Hourly amounts of an office: a base load by night, four times as much on weekdays from 7 to 18."""
    hours = np.arange(weeks * 168)
    busy = (hours % 24 >= 7) & (hours % 24 < 18) & (hours // 24 % 7 < 5)
    noise = np.random.default_rng(seed).normal(1, 0.08, len(hours))
    made: Ints = (np.where(busy, 8_000, 2_000) * np.clip(noise, 0.6, 1.4)).astype(np.int64)
    return made
