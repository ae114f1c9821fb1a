"""lichtbuch import readings and export readings: the real command against metering over real gRPC."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.importing.readings.declared import Declared
from cli.importing.readings.known import Directory, Kind, KnownMeter
from cli.importing.readings.reader import open_readings
from lichtbuch.metering.v1 import metering_pb2 as pb
from tests.cli.metering_command import Command, metering_command
from tests.support.running import HERSFELD, VIEWER

PARENT = f"municipalities/{HERSFELD.id}"
GOOD = "time;kWh\n01.03.2026 01:00;1,5\n01.03.2026 01:15;2,5\n"


@pytest.fixture
async def command(tmp_path: Path) -> AsyncIterator[Command]:
    async with metering_command(tmp_path) as running:
        for meter_id, kind in (("m", pb.READING_KIND_COUNTER), ("p", pb.READING_KIND_INTERVAL)):
            meter = pb.Meter(
                medium=pb.MEDIUM_ELECTRICITY,
                unit=pb.UNIT_WH,
                kind=kind,
                reading_cycle=pb.READING_CYCLE_QUARTER_HOUR,
                serial_number=f"1EMH-{meter_id}",
            )
            await running.metering.CreateMeter(pb.CreateMeterRequest(parent=PARENT, meter_id=meter_id, meter=meter))
        yield running


def write(tmp_path: Path, text: str, name: str = "readings.csv") -> str:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


async def test_a_file_is_stored_once_and_the_report_tells_what_became_of_it(command: Command, tmp_path: Path) -> None:
    file, report = write(tmp_path, GOOD), tmp_path / "report.json"
    code, out, error = await command.run("import", "readings", file, "--meter", "m", "--dry-run")
    assert (code, error.strip()) == (0, "")
    assert "2 would be stored" in out
    code, out, error = await command.run("import", "readings", file, "--meter", "m", "--report", str(report))
    assert (code, error.strip()) == (0, "")
    assert "2 readings of 1 meters in 2 lines: 2 stored, 0 there before, 0 refused" in out
    told = json.loads(report.read_text(encoding="utf-8"))
    assert (told["stored"], told["unchanged"], told["refused"], told["lines"]) == (2, 0, 0, 2)
    assert told["meters"] == [{"meter": "m", "readings": 2, "from": "2026-03-01T00:00Z", "until": "2026-03-01T00:15Z"}]
    code, again = await command.json("import", "readings", file, "--meter", "m")
    assert (code, again["stored"], again["unchanged"]) == (0, 0, 2)


async def test_exit_codes_tell_all_some_or_none(command: Command, tmp_path: Path) -> None:
    some = write(tmp_path, GOOD + "gestern;3\n01.03.2026 01:30;viel\n")
    code, out, _ = await command.run("import", "readings", some, "--meter", "m", "--dry-run")
    assert code == 2
    assert "is no time" in out
    code, told = await command.json("import", "readings", some, "--meter", "m")
    assert (code, told["stored"], told["refused"]) == (3, 2, 2)
    assert told["refused_by_reason"] == {"is no time": 1, "is no number": 1}
    assert [(one["line"], one["value"]) for one in told["refusals"]] == [(4, "gestern"), (5, "viel")]
    code, told = await command.json("import", "readings", some, "--meter", "m")
    assert (code, told["unchanged"]) == (3, 2)
    none = write(tmp_path, "time;kWh\ngestern;3\n")
    assert (await command.run("import", "readings", none, "--meter", "m"))[0] == 2


DECLARATIONS = (
    (("--meter", "p"), "start or the end"),
    (("--meter", "m", "--unit", "m3"), "counts Wh, which m3 is not"),
    (("--meter", "m", "--values", "interval"), "a meter of the other kind is needed"),
    (("--meter", "m", "--layout", "mscons"), "neither UNA nor UNB"),
    ((), "--meter-column"),
)


async def test_a_declaration_that_does_not_fit_stores_nothing(command: Command, tmp_path: Path) -> None:
    file = write(tmp_path, GOOD)
    for options, told in DECLARATIONS:
        code, _, error = await command.run("import", "readings", file, *options)
        assert code == 2
        assert told in error


async def test_a_directory_a_broken_file_and_a_viewer_are_refused(command: Command, tmp_path: Path) -> None:
    for given, told in ((str(tmp_path), "is a directory"), (write(tmp_path, GOOD + "\0\0"), "line 4 holds a NUL")):
        code, _, error = await command.run("import", "readings", given, "--meter", "m")
        assert (code, told in error) == (2, True)
    code, _, _ = await command.run("import", "readings", write(tmp_path, GOOD), "--meter", "m", subject=VIEWER)
    assert code == 5


async def test_a_mapping_takes_several_meters_and_an_export_brings_them_back(command: Command, tmp_path: Path) -> None:
    mapping = write(
        tmp_path,
        """[readings]
stamp = "start"
[[readings.series]]
column = "Bezug"
meter = "m"
unit = "kWh"
[[readings.series]]
column = "Leistung"
meter = "1EMH-p"
unit = "kW"
""",
        "map.toml",
    )
    text = "Zeit;Bezug;Leistung\n01.03.2026 01:00;1;4\n01.03.2026 01:15;2;8\n"
    code, told = await command.json("import", "readings", write(tmp_path, text), "--mapping", mapping)
    assert (code, told["stored"]) == (0, 4)
    out = tmp_path / "out.csv"
    period = ("--from", "2026-03-01", "--to", "2026-03-02")
    code, _, error = await command.run("export", "readings", *period, "-o", str(out))
    assert (code, error) == (0, "4 readings\n")
    rows = [line.split(",")[:5] for line in out.read_text(encoding="utf-8").splitlines()[1:]]
    assert sorted(rows) == [
        ["m", "2026-03-01T01:00:00+01:00", "1000", "Wh", "measured"],
        ["m", "2026-03-01T01:15:00+01:00", "2000", "Wh", "measured"],
        ["p", "2026-03-01T01:15:00+01:00", "1000", "Wh", "measured"],
        ["p", "2026-03-01T01:30:00+01:00", "2000", "Wh", "measured"],
    ]
    code, told = await command.json("import", "readings", str(out))
    assert (code, told["stored"], told["unchanged"]) == (0, 0, 4)
    code, lines, _ = await command.run("readings", "export", *period, "--meter", "p", "--format", "jsonl")
    assert [json.loads(line)["value"] for line in lines.splitlines()] == [1000, 2000]
    parquet = tmp_path / "out.parquet"
    assert (await command.run("export", "readings", *period, "--format", "parquet", "-o", str(parquet)))[0] == 0
    assert parquet.read_bytes().startswith(b"PAR1")
    assert (await command.run("export", "readings", *period, "--format", "parquet"))[0] == 2


def test_no_other_command_pays_for_parquet() -> None:
    import subprocess

    loaded = "import sys, cli.main; print([name for name in sys.modules if name.startswith('arro3')])"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_a_long_file_takes_no_more_memory_than_a_piece(tmp_path: Path) -> None:
    import tracemalloc

    file = tmp_path / "long.csv"
    with file.open("w", encoding="utf-8") as stream:
        stream.write("meter;time;kWh\n")
        for number in range(60_000):
            slot = number // 2
            bad = "?" if number == 40_000 else ""
            stream.write(f"{'mp'[number % 2]};2026-01-01T{slot % 24:02d}:{slot // 24 % 4 * 15:02d}Z;{bad}{number}\n")
    town = Directory([KnownMeter(f"{PARENT}/meters/m"), KnownMeter(f"{PARENT}/meters/p", kind=Kind.INTERVAL)])
    declared = Declared(meter_column="meter", stamp="end")
    peaks = []
    for size in (1_000, 5_000):
        tracemalloc.start()
        found = open_readings(file, declared, town, time_zone="UTC", size=size)
        assert sum(len(piece) for piece in found.pieces) == 59_999
        assert [one.line for one in found.tally.refusals] == [40_002]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Two megabytes of file; scanning takes a megabyte at a time, a piece six numbers a reading.
    assert max(peaks) < 6_000_000
