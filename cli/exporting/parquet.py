"""Stored readings as Parquet, a row group at a time; the columns are those of cli/exporting/readings.py."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BufferedWriter, FileIO
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any, Final

from cli.exporting.readings import Row
from cli.importing.readings.long_table import OWN_COLUMNS

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

ROW_GROUP: Final = 100_000
"""Rows that are written together: enough to be read quickly, few enough to be held."""
# A stored value has at most 16 digits and a scale of 10^-6 to 10^6 (services/metering): 22 before the point, 6 after.
_DIGITS, _PLACES = 28, 6


class ParquetWriter:
    """Parquet with instants of UTC and exact decimals. Raises OSError where the file cannot be written.

    The library takes rows when it wants them, so it runs in a thread of its own and gets a row group at a time. Whoever
    makes one has to close it.
    """

    def __init__(self, path: Path) -> None:
        # 30 MB that no other command needs, asked for before there is a file or a thread.
        from arro3 import core
        from arro3.io import write_parquet

        self._arrow, self._write_parquet = core, write_parquet
        kind = core.DataType
        text, whole = kind.string(), kind.int64()
        word, instant = kind.dictionary(kind.int32(), text), kind.timestamp("ms", tz="UTC")
        # What a column is given as, and what it becomes.
        self._kinds = {
            "meter": (text, word),
            "slot": (whole, instant),
            "value": (text, kind.decimal128(_DIGITS, _PLACES)),
            "unit": (text, word),
            "status": (text, word),
            "source": (text, word),
            "observed_at": (whole, instant),
            "revision": (whole, kind.int32()),
        }
        self._schema = core.Schema([core.Field(name, self._kinds[name][1], nullable=True) for name in OWN_COLUMNS])
        self._waiting: list[Row] = []
        self._groups: Queue[Any] = Queue(maxsize=1)
        self._sink = _Sink(path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="parquet")
        self._end = self._thread.submit(self._drain)

    def write(self, rows: Iterator[Row]) -> int:
        """Writes rows and returns how many."""
        count = 0
        for row in rows:
            count += 1
            self._waiting.append(row)
            if len(self._waiting) >= ROW_GROUP:
                self._flush()
        return count

    def close(self) -> None:
        """Writes the last row group and the footer."""
        try:
            if self._waiting:
                self._flush()
        finally:
            self._groups.put(None)
            self._thread.shutdown()
            self._sink.close()
            self._end.result()

    def _flush(self) -> None:
        self._sink.check()
        columns = dict(zip(OWN_COLUMNS, zip(*self._waiting, strict=True), strict=True))
        self._waiting.clear()
        columns["value"] = tuple(None if value is None else f"{value:f}" for value in columns["value"])
        arrays = [
            self._arrow.Array(columns[name], type=given).cast(wanted) for name, (given, wanted) in self._kinds.items()
        ]
        self._groups.put(self._arrow.RecordBatch(arrays, schema=self._schema))

    def _drain(self) -> None:
        groups = iter(self._groups.get, None)
        try:
            batches = self._arrow.RecordBatchReader.from_batches(self._schema, groups)
            self._write_parquet(batches, self._sink, compression="zstd(3)", max_row_group_size=ROW_GROUP)
        except BaseException:
            # Nobody takes row groups any more, and who brings them must not wait for ever. The same iterator: if the
            # library has been told the end, it does not come again.
            for _ in groups:
                pass
            raise


class _Sink(BufferedWriter):
    """A file that keeps its first error until it is closed: given one, the library panics and prints where it did."""

    def __init__(self, path: Path) -> None:
        super().__init__(FileIO(path, "wb"))
        self._error: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        """Writes, or forgets after an error."""
        if self._error is None:
            try:
                return super().write(data)
            except OSError as error:
                self._error = error
        return len(memoryview(data))

    def check(self) -> None:
        """Raises the first OSError there was."""
        if self._error is not None:
            raise self._error

    def flush(self) -> None:
        """Nobody reads before it is closed."""

    def close(self) -> None:
        """Raises the first OSError there was."""
        try:
            super().flush()
        except OSError as error:
            self._error = self._error or error
        finally:
            self.raw.close()
        self.check()
