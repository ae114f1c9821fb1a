"""Stored readings as CSV or JSON Lines, piece by piece: no more of an export is in memory than a piece.

The columns are those that an import takes again (cli/importing/readings/long_table.py): values are exact decimals of
the unit beside them, times say their offset, a gap has no value.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from enum import StrEnum
from typing import IO, NamedTuple, Protocol

from cli.importing.readings.amounts import SYMBOLS
from cli.importing.readings.known import KnownMeter, Status
from cli.importing.readings.long_table import OWN_COLUMNS
from lichtbuch.metering.v1 import metering_pb2 as pb


class Format(StrEnum):
    """What a file is written as."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class Row(NamedTuple):
    """A reading as an export says it; `value` is None for a gap, `observed_ms` is Unix ms."""

    meter: str
    slot_ms: int
    value: Decimal | None
    unit: str
    status: str
    source: str
    observed_ms: int
    revision: int


def rows_of(columns: pb.ReadingColumns, known: Mapping[str, KnownMeter]) -> Iterator[Row]:
    """Readings of a piece; `known` are the meters by name."""
    sources = [batch.source for batch in columns.batches]
    revisions, batches = list(columns.revisions), list(columns.batch_indexes)
    words = {int(status): status.name.lower() for status in Status}
    for index, (meter, slot, value, status, observed) in enumerate(
        zip(
            columns.meter_indexes,
            columns.slots_unix_ms,
            columns.values,
            columns.statuses,
            columns.observed_at_unix_ms,
            strict=True,
        )
    ):
        name = columns.meters[meter]
        unit, scale = known[name].counts_at(slot) if name in known else ("", 0)
        yield Row(
            name.rsplit("/", 1)[-1],
            slot,
            None if int(status) == Status.GAP else plain(value, scale),
            SYMBOLS.get(unit, ""),
            words.get(int(status), ""),
            sources[batches[index]] if batches else "",
            observed or slot,
            revisions[index] if revisions else 0,
        )


def plain(value: int, scale_exponent: int) -> Decimal:
    """A stored value in its unit, exactly, and without an exponent when written."""
    number = Decimal(value).scaleb(scale_exponent)
    return number if scale_exponent <= 0 else number.quantize(Decimal(1))


class Writer(Protocol):
    """Takes rows as they come."""

    def write(self, rows: Iterator[Row]) -> int:
        """Writes rows and returns how many."""
        ...

    def close(self) -> None:
        """Writes what is left."""
        ...


class _Times:
    """Instants as local time with its offset; neighbours are often the same."""

    def __init__(self, tz: tzinfo) -> None:
        self._tz = tz
        self._last: tuple[int, str] = (-1, "")

    def __call__(self, unix_ms: int) -> str:
        if self._last[0] != unix_ms:
            local = datetime.fromtimestamp(unix_ms / 1000, UTC).astimezone(self._tz)
            self._last = unix_ms, local.isoformat(timespec="milliseconds" if unix_ms % 1000 else "seconds")
        return self._last[1]


class CsvWriter:
    """CSV with a header: comma, decimal point."""

    def __init__(self, stream: IO[str], tz: tzinfo) -> None:
        self._writer = csv.writer(stream, lineterminator="\n")
        self._writer.writerow(OWN_COLUMNS)
        self._slot, self._observed = _Times(tz), _Times(tz)

    def write(self, rows: Iterator[Row]) -> int:
        """Writes rows and returns how many."""
        count = 0
        for row in rows:
            count += 1
            value = "" if row.value is None else f"{row.value:f}"
            observed = self._observed(row.observed_ms)
            self._writer.writerow(
                (row.meter, self._slot(row.slot_ms), value, row.unit, row.status, row.source, observed, row.revision)
            )
        return count

    def close(self) -> None:
        """Nothing is left."""


class JsonLinesWriter:
    """A JSON object a line; values are numbers with all their digits."""

    def __init__(self, stream: IO[str], tz: tzinfo) -> None:
        self._stream = stream
        self._slot, self._observed = _Times(tz), _Times(tz)

    def write(self, rows: Iterator[Row]) -> int:
        """Writes rows and returns how many."""
        count = 0
        for row in rows:
            count += 1
            value = "null" if row.value is None else f"{row.value:f}"
            self._stream.write(
                f'{{"meter": {_text(row.meter)}, "slot": "{self._slot(row.slot_ms)}", "value": {value},'
                f' "unit": {_text(row.unit)}, "status": "{row.status}", "source": {_text(row.source)},'
                f' "observed_at": "{self._observed(row.observed_ms)}", "revision": {row.revision}}}\n'
            )
        return count

    def close(self) -> None:
        """Nothing is left."""


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
