"""Readings as rows of files: exact values, local times, and nothing lost on the way out and in."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from queue import Queue
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.exporting import parquet as exporting
from cli.exporting.parquet import ParquetWriter
from cli.exporting.readings import CsvWriter, JsonLinesWriter, Row, plain, rows_of
from cli.importing.readings.declared import Declared
from cli.importing.readings.known import Directory, Kind, KnownMeter, Status, Step
from cli.importing.readings.long_table import OWN_COLUMNS
from cli.importing.readings.reader import open_readings
from lichtbuch.metering.v1 import metering_pb2 as pb

BERLIN = ZoneInfo("Europe/Berlin")
QUARTER_MS = 900_000
AUTUMN_MS = int(datetime(2026, 10, 24, 22, tzinfo=UTC).timestamp() * 1000)
METERS = [
    KnownMeter("municipalities/t/meters/counter"),
    KnownMeter("municipalities/t/meters/profile", kind=Kind.INTERVAL),
    KnownMeter("municipalities/t/meters/water", "L", scale_exponent=-3, step=None),
    KnownMeter("municipalities/t/meters/steam", "WH", Kind.INTERVAL, 3, Step.HOUR),
    KnownMeter("municipalities/t/meters/outside", "CELSIUS", Kind.INSTANT, -2, None),
]
KNOWN = {meter.name: meter for meter in METERS}


def columns_of(readings: dict[tuple[int, int], tuple[int, int, int]]) -> pb.ReadingColumns:
    """Columns of (meter, slot): (value, status, seconds that it was observed later)."""
    keys = sorted(readings)
    return pb.ReadingColumns(
        meters=list(KNOWN),
        meter_indexes=[meter for meter, _ in keys],
        slots_unix_ms=[AUTUMN_MS + slot * QUARTER_MS for _, slot in keys],
        values=[readings[key][0] for key in keys],
        statuses=[readings[key][1] for key in keys],  # type: ignore[misc]
        observed_at_unix_ms=[AUTUMN_MS + key[1] * QUARTER_MS + readings[key][2] * 1000 for key in keys],
        batches=[pb.ReadingBatch(source='import:a "b", c.csv')],
        batch_indexes=[0] * len(keys),
    )


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        (1234, 0, "1234"),
        (1234, -3, "1.234"),
        (5, -3, "0.005"),
        (-325, -2, "-3.25"),
        (7, 3, "7000"),
        (0, -6, "0.000000"),
    ],
)
def test_values_are_written_exactly_and_without_exponents(value: int, scale: int, text: str) -> None:
    assert f"{plain(value, scale):f}" == text


def test_a_row_says_unit_status_and_source_and_the_unit_of_its_time() -> None:
    since = AUTUMN_MS + 10 * QUARTER_MS
    meter = KnownMeter("municipalities/t/meters/counter", changes=((0, "WH", 0), (since, "L", -3)))
    columns = columns_of({(0, 9): (5, Status.MEASURED, 0), (0, 10): (5, Status.ESTIMATED, 3)})
    rows = list(rows_of(columns, {meter.name: meter}))
    source = 'import:a "b", c.csv'
    assert rows == [
        Row("counter", since - QUARTER_MS, Decimal(5), "Wh", "measured", source, since - QUARTER_MS, 0),
        Row("counter", since, Decimal("0.005"), "l", "estimated", source, since + 3000, 0),
    ]


def test_json_lines_are_json_whatever_the_source_is_called() -> None:
    stream = io.StringIO()
    columns = columns_of({(0, 0): (5, Status.MEASURED, 0), (0, 1): (0, Status.GAP, 0)})
    assert JsonLinesWriter(stream, BERLIN).write(rows_of(columns, KNOWN)) == 2
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(one["slot"], one["value"]) for one in told] == [
        ("2026-10-25T00:00:00+02:00", 5),
        ("2026-10-25T00:15:00+02:00", None),
    ]


def test_parquet_is_written_by_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow import parquet

    monkeypatch.setattr(exporting, "ROW_GROUP", 10)
    writer = ParquetWriter(tmp_path / "x.parquet")
    for piece in range(3):
        columns = columns_of({(4, piece * 8 + slot): (-325, Status.MEASURED, 0) for slot in range(8)})
        writer.write(rows_of(columns, KNOWN))
    writer.close()
    file = parquet.ParquetFile(tmp_path / "x.parquet")
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [10, 10, 4]
    assert set(file.read().column("value").to_pylist()) == {Decimal("-3.250000")}
    assert file.read().column_names == ["meter", "slot", "value", "unit", "status", "source", "observed_at", "revision"]


def test_what_parquet_says_is_exact_to_the_last_digit_of_the_largest_and_the_smallest(tmp_path: Path) -> None:
    from pyarrow import parquet

    instant = datetime(2026, 10, 25, 0, 59, 59, 999_000, tzinfo=UTC)
    slot_ms = round(instant.timestamp() * 1000)
    values = [plain(sign * (2**53 - 1), scale) for sign in (1, -1) for scale in (-6, 0, 6)] + [None]
    rows = [Row("m", slot_ms, value, "kWh", "measured", "Zähler 'ä'", slot_ms + 1, 3) for value in values]
    with closing(ParquetWriter(tmp_path / "x.parquet")) as writer:
        assert writer.write(iter(rows)) == 7
    told = parquet.read_table(tmp_path / "x.parquet").to_pylist()
    assert [row["value"] for row in told] == values
    assert {(row["slot"], row["observed_at"]) for row in told} == {(instant, instant + timedelta(milliseconds=1))}
    assert {(row["source"], row["revision"]) for row in told} == {("Zähler 'ä'", 3)}


def test_a_period_without_a_reading_is_a_parquet_file_without_a_row(tmp_path: Path) -> None:
    from pyarrow import parquet

    ParquetWriter(tmp_path / "x.parquet").close()
    told = parquet.read_table(tmp_path / "x.parquet")
    assert (told.num_rows, told.column_names) == (0, list(OWN_COLUMNS))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_once_and_prints_nothing_of_the_library(capfd: pytest.CaptureFixture[str]) -> None:
    rows = (Row("m", slot * 900_000, Decimal(slot), "Wh", "measured", "", 0, 0) for slot in range(300_000))
    with pytest.raises(OSError, match="No space left"), closing(ParquetWriter(Path("/dev/full"))) as writer:
        writer.write(rows)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_export_to_a_full_disk_does_not_go_on_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "ROW_GROUP", 10)
    endless = (Row(f"m{slot}", slot * 900_000, Decimal(slot), "Wh", "measured", "", 0, 0) for slot in count())
    with pytest.raises(OSError, match="No space left"), closing(ParquetWriter(Path("/dev/full"))) as writer:
        writer.write(endless)


def test_rows_that_break_off_leave_no_thread_behind(tmp_path: Path) -> None:
    def rows() -> Iterator[Row]:
        yield Row("m", 0, Decimal(1), "Wh", "measured", "", 0, 0)
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"), closing(ParquetWriter(tmp_path / "x.parquet")) as writer:
        writer.write(rows())
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("parquet")]


def test_a_library_that_cannot_write_parquet_is_told_before_anything_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "arro3.io", None)
    with pytest.raises(ImportError, match=r"arro3\.io"):
        ParquetWriter(tmp_path / "x.parquet")
    assert not list(tmp_path.iterdir())


def test_a_library_that_takes_no_row_group_is_told_when_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from arro3 import core

    class Reader:
        @staticmethod
        def from_batches(*given: object) -> None:
            raise RuntimeError("takes none")

    monkeypatch.setattr(core, "RecordBatchReader", Reader)
    monkeypatch.setattr(exporting, "ROW_GROUP", 10)
    rows = (Row("m", slot * 900_000, Decimal(slot), "Wh", "measured", "", 0, 0) for slot in range(100))
    with pytest.raises(RuntimeError, match="takes none"), closing(ParquetWriter(tmp_path / "x.parquet")) as writer:
        assert writer.write(rows) == 100


def test_a_library_that_fails_after_the_last_row_group_is_told_when_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from arro3 import io as library

    class Ended(Queue[Any]):
        """Who asks it for more after the end would wait for ever."""

        has_ended = False

        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            assert not self.has_ended, "asked after the end"
            found = super().get(block, timeout)
            self.has_ended = found is None
            return found

    taken = list[int]()

    def write_parquet(groups: Iterator[Any], *_given: object, **_named: object) -> None:
        taken.extend(group.num_rows for group in groups)
        raise RuntimeError("fails at the end")

    monkeypatch.setattr(library, "write_parquet", write_parquet)
    monkeypatch.setattr(exporting, "Queue", Ended)
    monkeypatch.setattr(exporting, "ROW_GROUP", 10)
    writer = ParquetWriter(tmp_path / "x.parquet")
    writer.write(Row("m", slot * 900_000, Decimal(slot), "Wh", "measured", "", 0, 0) for slot in range(25))
    with pytest.raises(RuntimeError, match="fails at the end"):
        writer.close()
    assert taken == [10, 10, 5]


reading = st.tuples(
    st.integers(0, 2**53 - 1),
    st.sampled_from(
        [Status.MEASURED, Status.ESTIMATED, Status.DOUBTFUL, Status.SUBSTITUTED, Status.EDITED, Status.GAP]
    ),
    st.integers(0, 800),
)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 120)), reading, max_size=60))
def test_whatever_goes_out_as_csv_comes_in_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, readings: dict[tuple[int, int], tuple[int, int, int]]
) -> None:
    columns = columns_of(readings)
    file = tmp_path_factory.mktemp("out") / "x.csv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        CsvWriter(stream, BERLIN).write(rows_of(columns, KNOWN))
    found = open_readings(file, Declared(), Directory(METERS), time_zone="America/New_York", size=7)
    brought = {
        (piece.meters[meter], slot): (value, status, observed)
        for piece in found.pieces
        for meter, slot, value, status, observed in zip(
            piece.indexes, piece.slots, piece.values, piece.statuses, piece.observed, strict=True
        )
    }
    assert not found.tally.refusals
    names = list(KNOWN)
    assert brought == {
        (names[meter], AUTUMN_MS + slot * QUARTER_MS): (0, status, 0)
        if status == Status.GAP
        else (value, status, AUTUMN_MS + slot * QUARTER_MS + late * 1000 if late else 0)
        for (meter, slot), (value, status, late) in readings.items()
    }
