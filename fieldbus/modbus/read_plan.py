"""A plan of requests, and how their answers become a batch: values, texts, qualities and times.

How the requests are chosen is planner.py's and blocks.py's business, carrying them out read.py's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fieldbus.codec import Column, RowColumn, UnitColumns, scale_by_powers
from fieldbus.modbus.blocks import Span
from fieldbus.profile import Table
from fieldbus.raw import text_of
from fieldbus.values import (
    NO_TEXTS,
    ByteColumn,
    FloatColumn,
    InstantColumn,
    PointAddress,
    Quality,
    TimeSource,
    ValueBatch,
)

_EARLIEST_S: Final = 946_684_800  # 2000-01-01: clocks that were never set are no clocks
_LATEST_S: Final = 4_102_444_800  # 2100-01-01: nor are those that show nonsense


@dataclass(frozen=True, slots=True)
class Block:
    """One request: `count` addresses from `start`; its data stands in the read buffer from `offset` on."""

    table: Table
    start: int
    count: int
    offset: int
    spans: tuple[Span, ...]
    rows: RowColumn  # rows of the plan that it serves

    @property
    def size(self) -> int:
        """Bytes it takes in the buffer: bits are unpacked to one byte each."""
        return self.count if self.table.is_bits else 2 * self.count


@dataclass(frozen=True, slots=True)
class PlacedColumn:
    """Rows decoded together."""

    column: Column
    rows: RowColumn
    positions: npt.NDArray[np.intp]  # (rows, bytes) into the buffer, most significant byte first


@dataclass(frozen=True, slots=True)
class PlacedText:
    """A row that is a text."""

    row: int
    positions: npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Companions:
    """Registers that are read along with points. They stand in rows of their own after those of the points.

    Each member pairs rows of points with the rows of what belongs to them; in one pair a point occurs once.
    """

    sums: tuple[tuple[RowColumn, RowColumn], ...] = ()
    factors: tuple[RowColumn, RowColumn] | None = None
    requirements: tuple[tuple[RowColumn, RowColumn, npt.NDArray[np.float64]], ...] = ()
    times: tuple[tuple[RowColumn, RowColumn, int], ...] = ()  # with the epoch in Unix seconds

    def apply(self, count: int, values: FloatColumn, status: ByteColumn) -> tuple[FloatColumn, ByteColumn]:
        """The first `count` rows with all that belongs to them: a value is as good as the worst part of it."""
        own, quality = values[:count], status[:count].copy()
        with np.errstate(invalid="ignore", over="ignore"):  # a device may send infinities: what they make is refused
            for rows, parts in self.sums:
                own[rows] += values[parts]
                quality[rows] = np.maximum(quality[rows], status[parts])
            if self.factors is not None:
                rows, factors = self.factors
                own[rows] = scale_by_powers(own[rows], values[factors])
                quality[rows] = np.maximum(quality[rows], status[factors])
        for rows, conditions, allowed in self.requirements:
            quality[rows] = np.maximum(quality[rows], status[conditions])
            refuted = rows[~np.isin(values[conditions], allowed)]
            quality[refuted] = np.maximum(quality[refuted], np.uint8(Quality.BAD))
        return own, quality

    def stamp(self, values: FloatColumn, status: ByteColumn, observed_at: InstantColumn, source: ByteColumn) -> None:
        """Put the device's times into `observed_at` (Unix ms) and say so in `source`, where the device has one."""
        for rows, times, epoch_s in self.times:
            seconds = values[times] + epoch_s
            known = (status[times] == Quality.GOOD) & (seconds >= _EARLIEST_S) & (seconds < _LATEST_S)
            observed_at[rows[known]] = seconds[known].astype(np.int64) * 1000
            source[rows[known]] = TimeSource.DEVICE


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """Requests, and how their answers become values.

    Its rows are those of `points`, and after them the registers read along with these. `spans` has the place of each.
    """

    points: tuple[PointAddress, ...]
    blocks: tuple[Block, ...]
    buffer_size: int
    spans: tuple[Span, ...]
    refused_rows: RowColumn  # what the device refuses or does not have, which is not asked for
    columns: tuple[PlacedColumn, ...]
    units: UnitColumns
    texts: tuple[PlacedText, ...] = ()
    companions: Companions | None = None

    @property
    def row_count(self) -> int:
        """Rows of the points and of what is read along with them: the length of the columns to pass in."""
        return len(self.spans)

    def decode(self, buffer: ByteColumn, status: ByteColumn) -> tuple[FloatColumn, ByteColumn]:
        """Values and quality of the points. Texts are good as far as they arrived; see `batch`.

        `status`, of `row_count`, holds GOOD for the rows whose bytes stand in the buffer and the final quality for all
        others.
        """
        _, own, own_status = self._raw(buffer, status)
        return own, self.units.finish(own, own_status)

    def batch(self, buffer: ByteColumn, status: ByteColumn, observed_at: InstantColumn) -> ValueBatch:
        """The answers as a batch. `status` as in `decode`; `observed_at`, of `row_count` too, is when they came."""
        values, own, own_status = self._raw(buffer, status)
        count = len(self.points)
        source = np.full(count, TimeSource.OURS, dtype=np.uint8)
        instants = observed_at
        if self.companions is not None:
            instants = observed_at[:count].copy()
            if self.companions.times:
                self.companions.stamp(values, status, instants, source)
        texts = NO_TEXTS
        if self.texts:
            found: dict[int, str] = {}
            for place in self.texts:
                text = (
                    text_of(buffer[place.positions].tobytes()) if own_status[place.row] <= Quality.UNCERTAIN else None
                )
                if text is not None:
                    found[place.row] = text
                elif own_status[place.row] <= Quality.UNCERTAIN:
                    own_status[place.row] = Quality.BAD
            texts = found
        quality = self.units.finish(own, own_status)
        return ValueBatch(self.points, own, quality, instants, source, texts)

    def _raw(self, buffer: ByteColumn, status: ByteColumn) -> tuple[FloatColumn, FloatColumn, ByteColumn]:
        """Raw values of all rows, and of the points alone with their status."""
        count = len(self.points)
        if len(self.columns) == 1 and len(self.columns[0].rows) == len(self.spans):
            # Rows of a column rise, so one column of all rows is the batch.
            values = self.columns[0].column.decode(buffer.take(self.columns[0].positions))
        else:
            values = np.full(len(self.spans), np.nan)
            for placed in self.columns:
                values[placed.rows] = placed.column.decode(buffer.take(placed.positions))
        if self.companions is None:
            return values, values, status
        return values, *self.companions.apply(count, values, status)
