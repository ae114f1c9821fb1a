"""The live state of every luminaire and cabinet, in memory, with a revision per luminaire for those who watch.

Control writes it, the API and the streams read it; both run in one event loop. Not here: how it comes about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from domain.names import new_uid
from services.lighting.columns import NONE, Columns, Flags, Ints, Rows, build_columns
from services.lighting.due import NOTHING_DUE, Due, DueSource
from services.lighting.records import Inventory

UNKNOWN_LEVEL: Final = -1


class Power(IntEnum):
    """Whether gear or a feeder has supply."""

    UNKNOWN = -1
    OFF = 0
    ON = 1


class Quality(IntEnum):
    """How far a level may be trusted; numbers as in the contract."""

    GOOD = 1
    UNCERTAIN = 2
    """Told and not read back yet, or inferred from the supply."""
    BAD = 3
    MISSING = 4


class Switch(IntEnum):
    """Position of a cabinet's switch; numbers as in the contract."""

    UNKNOWN = 0
    HAND = 1
    OFF = 2
    AUTO = 3


@dataclass
class CabinetLive:
    """A cabinet as last seen. `observed_at_ms` is domain time, 0 for never."""

    switch: Switch = Switch.UNKNOWN
    door_open: bool = False
    quality: Quality = Quality.MISSING
    observed_at_ms: int = 0


_SHOWN: Final = ("due", "written", "source", "actual", "quality", "powered", "faults", "in_control")
"""What a watcher is told of; the instant of reading alone is no change."""


@dataclass(eq=False)
class LampStates:
    """Columns per luminaire, rows as in `columns`."""

    columns: Columns
    due: NDArray[np.int16] = field(init=False)
    """Light, in per mille."""
    written: NDArray[np.int16] = field(init=False)
    """The command for it, in per mille of rated output."""
    source: NDArray[np.uint8] = field(init=False)
    actual: NDArray[np.int16] = field(init=False)
    """As gear reads back: a command, to be held against `written`."""
    quality: NDArray[np.uint8] = field(init=False)
    observed_at_ms: NDArray[np.int64] = field(init=False)
    powered: NDArray[np.int8] = field(init=False)
    faults: NDArray[np.uint8] = field(init=False)
    in_control: Flags = field(init=False)

    def __post_init__(self) -> None:
        count = self.columns.count
        self.due = np.full(count, NOTHING_DUE, dtype=np.int16)
        self.written = np.full(count, NOTHING_DUE, dtype=np.int16)
        self.source = np.full(count, DueSource.DEFAULT, dtype=np.uint8)
        self.actual = np.full(count, UNKNOWN_LEVEL, dtype=np.int16)
        self.quality = np.full(count, Quality.MISSING, dtype=np.uint8)
        self.observed_at_ms = np.zeros(count, dtype=np.int64)
        self.powered = np.full(count, Power.UNKNOWN, dtype=np.int8)
        self.faults = np.zeros(count, dtype=np.uint8)
        self.in_control = np.zeros(count, dtype=np.bool_)

    def take_over(self, other: LampStates, pairs: tuple[Rows, Rows]) -> None:
        """Keeps what is known of luminaires that stay: rows there, rows here."""
        there, here = pairs
        for name in (*_SHOWN, "observed_at_ms"):
            getattr(self, name)[here] = getattr(other, name)[there]


class TownState:
    """Everything live, and who waits for news of it."""

    def __init__(self, run_id: str | None = None) -> None:
        self.run_id = run_id or new_uid()
        """Tokens of another run mean nothing here."""
        self.columns = build_columns(Inventory())
        self.lamps = LampStates(self.columns)
        self.cabinets: dict[str, CabinetLive] = {}
        self.feeder_power: NDArray[np.int8] = np.empty(0, dtype=np.int8)
        self.at_ms = 0
        """Domain time of the last pass, Unix ms; 0 before the first."""
        self.revision = 0
        self.changed: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        """Revision at which each luminaire changed last, or came to another group, feeder, cabinet or street."""
        self.cleared: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        """Revision at which the last fault of each luminaire cleared; 0 for never."""
        self.moved_at = 0
        """Revision at which luminaires went last, or came to another group, feeder, cabinet or street."""
        self._published = LampStates(self.columns)
        self._news = asyncio.Event()

    def move_to(self, columns: Columns) -> tuple[Rows, Rows]:
        """Goes on with another inventory. Returns the rows of luminaires that stay: before and now."""
        before, old = self.columns, self.lamps
        pairs = same_rows(before.row_of, columns.row_of)
        self.lamps = LampStates(columns)
        self.lamps.take_over(old, pairs)
        published = LampStates(columns)
        published.take_over(self._published, pairs)
        changed = np.full(columns.count, self.revision + 1, dtype=np.int64)
        changed[pairs[1]] = self.changed[pairs[0]]
        cleared = np.zeros(columns.count, dtype=np.int64)
        cleared[pairs[1]] = self.cleared[pairs[0]]
        moved = pairs[1][elsewhere(before, columns, pairs)]
        changed[moved] = self.revision + 1
        if moved.size or pairs[0].size < before.count:
            self.moved_at = self.revision + 1
        power = np.full(len(columns.inventory.feeders), Power.UNKNOWN, dtype=np.int8)
        there, here = same_rows(before.feeder_of, columns.feeder_of)
        power[here] = self.feeder_power[there]
        self.columns, self._published, self.changed, self.feeder_power = columns, published, changed, power
        self.cleared = cleared
        self.cabinets = {c.uid: self.cabinets.get(c.uid, CabinetLive()) for c in columns.inventory.cabinets}
        self.revision += 1
        self._wake()
        return pairs

    @property
    def published(self) -> LampStates:
        """States as watchers are told of them: as of the last pass. Instants of reading stand in `lamps` only."""
        return self._published

    def forget(self) -> None:
        """Knows nothing of the field any more: somebody else works on it."""
        self.lamps = LampStates(self.columns)
        self.feeder_power.fill(Power.UNKNOWN)
        self.cabinets = {uid: CabinetLive() for uid in self.cabinets}

    def set_due(self, due: Due) -> None:
        """Takes what is due now."""
        self.lamps.due = due.level
        self.lamps.written = due.written
        self.lamps.source = due.source

    def publish(self, at_ms: int) -> int:
        """Makes what changed since the last time visible to watchers. Returns how many luminaires that were."""
        self.at_ms = at_ms
        differs = np.zeros(self.columns.count, dtype=np.bool_)
        for name in _SHOWN:
            now, before = getattr(self.lamps, name), getattr(self._published, name)
            differs |= now != before
        rows = np.flatnonzero(differs)
        if rows.size:
            self.revision += 1
            self.changed[rows] = self.revision
            self.cleared[(self._published.faults != 0) & (self.lamps.faults == 0)] = self.revision
            for name in _SHOWN:
                getattr(self._published, name)[rows] = getattr(self.lamps, name)[rows]
            self._wake()
        return int(rows.size)

    async def wait_for_news(self, seen: int) -> None:
        """Returns when there is a revision newer than `seen`."""
        while self.revision <= seen:
            await self._news.wait()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


def same_rows(before: dict[str, int], after: dict[str, int]) -> tuple[Rows, Rows]:
    """Rows of what is in both, by uid: before and after."""
    shared = [(row, after[uid]) for uid, row in before.items() if uid in after]
    columns = np.array(shared, dtype=np.intp).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]


def elsewhere(before: Columns, after: Columns, pairs: tuple[Rows, Rows]) -> Flags:
    """Which of the luminaires that stay (rows before and after) are in another group, feeder, cabinet or street now."""
    there, here = pairs

    def follows(old: Ints, new: Ints, records: Sequence[Any], rows: dict[str, int]) -> Flags:
        # The last one is for NONE (-1); what is gone is like nothing that is there.
        row_now = np.array([*(rows.get(record.uid, NONE - 1) for record in records), NONE])
        same_place: Flags = row_now[old[there]] == new[here]
        return same_place

    was = before.inventory
    same: Flags = before.streets[there] == after.streets[here]
    same &= follows(before.group, after.group, was.groups, after.group_of)
    same &= follows(before.feeder, after.feeder, was.feeders, after.feeder_of)
    same &= follows(before.cabinet, after.cabinet, was.cabinets, after.cabinet_of)
    return ~same
