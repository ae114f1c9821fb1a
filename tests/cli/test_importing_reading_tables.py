"""Files of readings as they lie about, and mappings of them: each habit is read, and what is wrong is named."""

from __future__ import annotations

import gzip
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from cli.importing.readings.collect import Piece
from cli.importing.readings.declared import Declared, Series, read_mapping
from cli.importing.readings.known import Status
from cli.importing.readings.reader import open_readings
from domain.errors import InvalidInput
from tests.cli.reading_tables import COUNTER, HOURS, TOWN, opened, read, taken


def test_a_mapping_says_which_column_is_which_meter(tmp_path: Path) -> None:
    mapping = tmp_path / "map.toml"
    mapping.write_text(
        """[readings]
stamp = "start"
time_zone = "UTC"
[readings.quality_words]
W1 = "measured"
[[readings.series]]
column = "strom"
meter = "h"
unit = "kWh"
missing = ["zero"]
[[readings.series]]
column = "aussen"
meter = "t"
unit = "°C"
""",
        encoding="utf-8",
    )
    file = tmp_path / "x.csv"
    file.write_text("time;strom;aussen\n2026-01-01 00:00;0;0\n2026-01-01 01:00;2;-1,5\n", encoding="utf-8")
    declared = read_mapping(mapping)
    found = open_readings(file, declared, TOWN, time_zone="Europe/Berlin")
    assert taken(found) == [("01 01:00", 0), ("01 00:00", 0), ("01 02:00", 2000), ("01 01:00", -150)]
    assert found.tally.missing == 1
    assert declared.quality("w1") is Status.MEASURED


def test_the_entry_of_a_mapping_that_says_most_counts(tmp_path: Path) -> None:
    series = (
        Series(name="9", column="a", meter="m"), Series(name="9", column="b", meter="h"), Series(name="8", skip=True),
    )  # fmt: skip
    text = "no;time;a;b\n9;2026-01-01T00:00Z;1;2\n8;2026-01-01T00:00Z;1;2\n"
    found = opened(tmp_path, text, meter_column="no", unit="kWh", stamp="end", series=series)
    pieces: list[Piece] = list(found.pieces)
    assert pieces[0].meters == [COUNTER.name, HOURS.name]
    assert found.tally.skipped == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[readings]\nstapm = 'end'", "there is no 'stapm'"),
        ("[readings]\nstamp = 'middle'", "none of start, end"),
        ("[[readings.series]]\nmeter = 'm'", "neither name, column nor obis"),
        ("[readings]\nmissing = [1]", "missing is a text"),
        ("[readings]\nheader_line = 'x'", "wrong kind"),
        ("[readings.quality_words]\nX = 'good'", "is none of measured"),
        ("stamp = ", "Invalid value"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_named(tmp_path: Path, text: str, reason: str) -> None:
    mapping = tmp_path / "map.toml"
    mapping.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput) as refused:
        read_mapping(mapping)
    assert reason in f"{refused.value} {[violation.reason for violation in refused.value.violations]}"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_are_told_apart(tmp_path: Path, encoding: str) -> None:
    text = "Zähler;Zeit;kWh\r\nm;01.01.2026 01:00;1,5\r\n"
    assert read(tmp_path, text.encode(encoding), meter="", meter_column="Zähler") == [("01 00:00", 1500)]


def test_lines_above_the_header_are_passed_over(tmp_path: Path) -> None:
    text = "Zählpunkt;DE1\nEinheit;kWh\n\nZeit;Wert\n01.01.2026 01:00;1,5\n"
    assert read(tmp_path, text, header_line=4) == [("01 00:00", 1500)]


def test_a_gzipped_file_is_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "x.csv.gz"
    content = gzip.compress(b"time,kWh\n2026-01-01T00:00Z,1\n" * 1)
    file.write_bytes(content)
    declared = Declared(meter="m")
    assert taken(open_readings(file, declared, TOWN, time_zone="UTC")) == [("01 00:00", 1000)]
    file.write_bytes(content[:-6])
    with pytest.raises(InvalidInput, match="cannot be read"):
        taken(open_readings(file, declared, TOWN, time_zone="UTC"))
    # The stream is damaged where it begins.
    file.write_bytes(content[:10] + b"\xff" * 4 + content[14:])
    with pytest.raises(InvalidInput, match=r"x\.csv\.gz cannot be read: .*invalid block type"):
        open_readings(file, declared, TOWN, time_zone="UTC")


def test_a_spreadsheet_is_read_with_its_dates_and_numbers(tmp_path: Path) -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["Zeit", "kWh"], [datetime(2026, 1, 1), 1.5], [datetime(2026, 1, 1, 0, 14, 59, 999_990), 2]):
        sheet.append(row)
    file = tmp_path / "x.xlsx"
    book.save(file)
    found = open_readings(file, Declared(meter="m"), TOWN, time_zone="Europe/Berlin")
    assert taken(found) == [("31 23:00", 1500), ("31 23:15", 2000)]


@pytest.mark.parametrize(
    ("content", "declared", "reason"),
    [
        (b"", {}, "is empty"),
        (b"time;kWh\n2026-01-01T00:00Z;1\n\0\0\0\n", {}, "line 3 holds a NUL byte"),
        (b"time;kWh\n2026-01-01T00:00Z;1\n\xe4;1\n", {"encoding": "utf-8"}, "line 3 is not"),
        (b"\xef\xbb\xbftime;kWh\n\xe4;1\n", {}, "line 2 is not"),
        (b"time;kWh\n", {"encoding": "latein"}, "is no encoding"),
        (b"a;b\n1;2\n", {}, "no column looks like it"),
        (b"time;kWh\n2026-01-01T00:00Z;1\n", {"value_column": "MWh"}, "has no column MWh"),
        (b"time;kWh\n2026-01-01T00:00Z;1\n", {"meter": ""}, "say which meter"),
        (b"time;kWh\n2026-01-01T00:00Z;1\n", {"step": "7m"}, "none of 15m"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(
    tmp_path: Path, content: bytes, declared: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidInput, match=reason):
        taken(opened(tmp_path, content, **{"meter": "p", "stamp": "end", **declared}))


def test_a_directory_and_a_file_that_is_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is a directory"):
        open_readings(tmp_path, Declared(), TOWN, time_zone="UTC")
    with pytest.raises(InvalidInput, match="is not a file"):
        open_readings(tmp_path / "x.csv", Declared(), TOWN, time_zone="UTC")


def test_a_quote_that_never_closes_ends_the_reading_with_the_line(tmp_path: Path) -> None:
    text = "time;kWh\n" + "2026-01-01T00:00Z;1\n" * 10 + '"2026-01-01T00:15Z;1\n' + "2026-01-01T00:15Z;1\n" * 9_000
    with pytest.raises(InvalidInput, match="does a quote never close"):
        taken(opened(tmp_path, text, meter="m"))


def test_a_file_that_may_be_cut_off_is_told(tmp_path: Path) -> None:
    found = opened(tmp_path, "time;kWh\n2026-01-01T00:00Z;1\n2026-01-01T00:15Z;1", meter="m")
    assert len(taken(found)) == 2
    assert "cut off?" in found.tally.notes[0]


@pytest.mark.parametrize("end", ["\n", "", "\n\n"])
def test_how_far_a_table_has_been_read_is_told_in_lines_of_the_file(tmp_path: Path, end: str) -> None:
    file = tmp_path / "x.csv"
    rows = [f"{datetime(2026, 1, 1, hour).isoformat()}Z;1" for hour in range(6)]
    file.write_text("from the logger\n\ntime;kWh\n" + "\n".join(rows) + end, encoding="utf-8")
    found = open_readings(file, Declared(meter="m", header_line=3), TOWN, time_zone="UTC", size=2)
    assert [found.done() for _ in found.pieces] == [5, 7, 9, 9]
    assert found.size == 9 + (end == "\n\n")
