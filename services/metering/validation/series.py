"""What a rule of validation is given, and what it answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from services.metering.meter import Kind
from services.metering.reading import Int64, Mask, TimeSource
from services.metering.slot import DAY_MS, HOUR_MS, from_ms, slot_text
from services.metering.vee import LATENESS_S, MARGIN_PERMILLE, ROLLOVER_PERMILLE

MOST_FINDINGS: Final = 200
"""Findings of one rule about one series that are told one by one; the last of them sums up the rest."""


@dataclass(frozen=True, slots=True)
class Series:
    """Values of one register in order of their slots, each slot once.

    slot_ms, value: columns; values are whole numbers of 10^scale_exponent of the unit, transformer ratio included. An
    INTERVAL's value is the amount of the interval that ends at its slot. observed_ms, time_source: may be empty.
    doubted: rows that are in doubt already and are left out; by_people: rows that somebody read at any minute; both may
    be empty. cycle_ms: how far apart readings are, of days, months and years the longest, 0 where nobody knows.
    interval_ms: how long the intervals of an INTERVAL are at most, where its meter says so; else 0.
    rollover: largest counter plus one, 0 for never. noise: largest step back that is noise. most_per_h: most that can
    be counted in an hour, 0 if unknown. margin_permille, lateness_ms: share of that which is believed of a counter, and
    how much later than its slot it may be read. rollover_permille: share of the register that may be made across the
    rollover where nobody knows what can flow. doubts_spikes: False where nothing is too much. All of these are those by
    which single steps are judged, too (services/metering/vee.py). now_ms: the time.
    """

    kind: Kind
    medium: str
    slot_ms: Int64
    value: Int64
    cycle_ms: int = 0
    interval_ms: int = 0
    observed_ms: Int64 = field(default_factory=lambda: np.empty(0, np.int64))
    time_source: Int64 = field(default_factory=lambda: np.empty(0, np.int64))
    doubted: Mask = field(default_factory=lambda: np.zeros(0, np.bool_))
    by_people: Mask = field(default_factory=lambda: np.zeros(0, np.bool_))
    scale_exponent: int = 0
    rollover: int = 0
    noise: int = 1
    most_per_h: int = 0
    margin_permille: int = MARGIN_PERMILLE
    lateness_ms: int = LATENESS_S * 1000
    rollover_permille: int = ROLLOVER_PERMILLE
    doubts_spikes: bool = True
    now_ms: int = 2**62

    def __len__(self) -> int:
        return len(self.slot_ms)

    @property
    def good(self) -> Mask:
        """Rows that are not in doubt."""
        return ~self.doubted if len(self.doubted) else np.ones(len(self), np.bool_)

    @property
    def stamped_by_device(self) -> Mask:
        """Rows whose instant of observation comes from a clock in the field."""
        if not len(self.observed_ms) or not len(self.time_source):
            return np.zeros(len(self), np.bool_)
        return np.equal(self.time_source, TimeSource.DEVICE)

    def of_rows(self, rows: Mask) -> Series:
        """The series without the other rows."""
        return replace(
            self,
            slot_ms=self.slot_ms[rows],
            value=self.value[rows],
            observed_ms=self.observed_ms[rows] if len(self.observed_ms) else self.observed_ms,
            time_source=self.time_source[rows] if len(self.time_source) else self.time_source,
            doubted=self.doubted[rows] if len(self.doubted) else self.doubted,
            by_people=self.by_people[rows] if len(self.by_people) else self.by_people,
        )


@dataclass(frozen=True, slots=True)
class RuleFinding:
    """What one rule found: about which slots (Unix ms, both inclusive), how many readings or missing slots, in words.

    is_doubted: the readings are not to be believed, and no figure rests on them.
    """

    rule: str
    first_slot_ms: int
    last_slot_ms: int
    count: int
    detail: str
    is_doubted: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule answers: its findings, and a mask of the rows that are to be in doubt."""

    findings: list[RuleFinding]
    doubtful: Mask

    @classmethod
    def nothing(cls, series: Series) -> Verdict:
        """No objection."""
        return cls([], np.zeros(len(series), np.bool_))


def runs(mask: Mask) -> tuple[Int64, Int64]:
    """First rows, and rows after the last, of the stretches in which a mask holds."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return edges[::2].astype(np.int64), edges[1::2].astype(np.int64)


def in_runs(starts: Int64, ends: Int64, count: int) -> Mask:
    """Mask of the rows of stretches that do not overlap; the inverse of `runs`."""
    steps = np.zeros(count + 1, np.int64)
    np.add.at(steps, starts, 1)
    np.add.at(steps, ends, -1)
    covered: Mask = np.cumsum(steps)[:-1] > 0
    return covered


def limited(findings: Iterable[RuleFinding]) -> list[RuleFinding]:
    """Findings of one rule, in order of time; of very many the last one sums up what is not told."""
    found = sorted(findings, key=lambda one: one.first_slot_ms)
    if len(found) <= MOST_FINDINGS:
        return found
    rest = found[MOST_FINDINGS - 1 :]
    count = sum(one.count for one in rest)
    last = max(one.last_slot_ms for one in rest)
    detail = f"{len(rest)} more places like these"
    return [
        *found[: MOST_FINDINGS - 1],
        RuleFinding(rest[0].rule, rest[0].first_slot_ms, last, count, detail, any(one.is_doubted for one in rest)),
    ]


def span_text(first_ms: int, last_ms: int) -> str:
    """A span as people read it."""
    return slot_text(first_ms) if first_ms == last_ms else f"{slot_text(first_ms)} to {slot_text(last_ms)}"


def duration_text(milliseconds: int) -> str:
    """A length of time as people say it."""
    if milliseconds >= 2 * DAY_MS:
        return f"{milliseconds / DAY_MS:.3g} days"
    if milliseconds >= HOUR_MS:
        return f"{milliseconds / HOUR_MS:.3g} h"
    return f"{milliseconds / 60_000:.3g} min"


def month_of(unix_ms: int) -> int:
    """Calendar month (UTC) of an instant, 1 to 12: for seasons, to which some hours do not matter."""
    return from_ms(unix_ms).month
