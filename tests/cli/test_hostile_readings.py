"""Files of readings that nobody meant well with: refused in words or line by line, never with an error of ours."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.importing.readings.declared import Declared, read_mapping
from cli.importing.readings.known import Directory, Kind, KnownMeter
from cli.importing.readings.reader import open_readings
from domain.errors import InvalidInput

TOWN = Directory([KnownMeter("municipalities/t/meters/m"), KnownMeter("municipalities/t/meters/p", kind=Kind.INTERVAL)])
LONG = b"sep=;\nmeter;time;kWh;status\n" + b"".join(
    f"{meter};25.10.2026 {hour:02d}:00;{hour},5;Actual\n".encode() for meter in "mp" for hour in (0, 1, 2, 2, 3)
)
WIDE = b"meter,date," + b",".join(b"kWh_%d" % n for n in range(1, 101)) + b"\n" + b"".join(
    meter + b"," + day + b"," + b",".join(b"%d.5" % n for n in range(1, 101)) + b"\n"
    for meter in (b"m", b"p") for day in (b"2026-03-29", b"25.10.2026", b"2026-01-01")
)  # fmt: skip
MSCONS = (
    b"UNA:+.? 'UNB+UNOC:3+A:500+B:500+260102:1200+R'UNH+1+MSCONS:D:04B:UN:2.4c'BGM+7+D+9'NAD+DP'LOC+172+p'LIN+1'"
    b"PIA+5+1-1?:1.29.0:SRW'QTY+220:1:KWH'DTM+163:202601012300?+00:303'DTM+164:202601012315?+00:303'UNT+10+1'UNZ+1+R'"
)
SEEDS = (LONG, WIDE, MSCONS)


def gone_through(file: Path, declared: Declared) -> None:
    """Reads a file to its end; only InvalidInput may come of it, and what is taken is a reading."""
    try:
        found = open_readings(file, declared, TOWN, time_zone="Europe/Berlin", size=50)
        for piece in found.pieces:
            assert len(piece.slots) == len(piece.values) == len(piece.statuses) == len(piece.lines)
            assert all(abs(value) < 2**53 for value in piece.values)
            assert all(0 <= index < len(piece.meters) for index in piece.indexes)
    except InvalidInput as error:
        assert error.violations  # noqa: PT017 - whether there is an error at all is open


changes = st.lists(
    st.tuples(st.integers(0, 4_000), st.integers(0, 12), st.one_of(st.binary(max_size=6), st.sampled_from([
        b"\n", b'"', b";", b",", b"'", b"?", b"+", b":", b"\xff\xfe", b"\xe4", b"24:00", b"1e999", b"nan", b"-", b"'\n",
        b"99999999999999999999", "٣".encode(), b"=1+1", b"31.02.2026 00:00", b"UNT+1+1'", b"UNH+2+X'",
    ]))),
    max_size=8,
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(seed=st.sampled_from(SEEDS), edits=changes, cut=st.integers(0, 4_000))
def test_a_damaged_file_is_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, seed: bytes, edits: list[tuple[int, int, bytes]], cut: int
) -> None:
    content = seed
    for at, length, new in edits:
        place = at % (len(content) + 1)
        content = content[:place] + new + content[place + length :]
    if cut % 3 == 0:
        content = content[: cut % (len(content) + 1)]
    file = tmp_path_factory.mktemp("hostile") / "x.csv"
    file.write_bytes(content)
    gone_through(file, Declared(meter_column="meter", stamp="end", unit="kWh"))


@settings(deadline=None, max_examples=60)
@given(content=st.binary(max_size=400), gzipped=st.booleans())
def test_bytes_of_nothing_are_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, gzipped: bool
) -> None:
    file = tmp_path_factory.mktemp("hostile") / ("x.csv.gz" if gzipped else "x.csv")
    file.write_bytes(gzip.compress(content)[: max(len(content), 5)] if gzipped else content)
    gone_through(file, Declared(meter="m", unit="kWh"))


@settings(deadline=None, max_examples=60)
@given(text=st.text(alphabet="[]series.=\"'\nreadigsmtunp01_{}#", max_size=60))
def test_a_mapping_of_nothing_is_refused_in_words(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.mktemp("hostile") / "map.toml"
    file.write_text(text, encoding="utf-8")
    try:
        read_mapping(file)
    except InvalidInput as error:
        assert error.violations  # noqa: PT017


def test_a_line_without_an_end_is_not_read_into_memory(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_bytes(b"time;kWh\n" + b"1" * (6 << 20))
    with pytest.raises(InvalidInput, match="longer than 4 MiB"):
        open_readings(file, Declared(meter="m"), TOWN, time_zone="UTC")
