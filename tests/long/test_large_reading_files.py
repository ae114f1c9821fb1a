"""A file of five million lines with one bad line goes into metering, and the command stays small."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lichtbuch.metering.v1 import metering_pb2 as pb
from tests.cli.metering_command import metering_command
from tests.support.running import ADMIN, HERSFELD

LINES = 5_000_000
METERS = 50
BAD = 3_456_789
PARENT = f"municipalities/{HERSFELD.id}"
MOST_KIB = 260_000
"""The interpreter with gRPC and everything imported takes half of it; the file has 170 MB."""
PEAK = Path(__file__).parents[1] / "support" / "peak_memory.py"

pytestmark = pytest.mark.long


def _write(file: Path) -> None:
    per_meter = LINES // METERS
    begin = datetime(2023, 1, 1, tzinfo=UTC)
    stamps = [(begin + timedelta(minutes=15 * number)).strftime("%Y-%m-%dT%H:%MZ") for number in range(per_meter)]
    line = 0
    with file.open("w", encoding="utf-8") as stream:
        stream.write("meter;time;kWh\n")
        for meter in range(METERS):
            for number, stamp in enumerate(stamps):
                line += 1
                stream.write(f"M-{meter};{stamp};{'kaputt' if line == BAD else number % 400 / 100}\n")


async def test_five_million_lines_with_a_bad_one_are_taken_in_bounded_memory(tmp_path: Path) -> None:
    file, peak = tmp_path / "large.csv", tmp_path / "peak"
    await asyncio.to_thread(_write, file)
    async with metering_command(tmp_path) as command:
        for number in range(METERS):
            meter = pb.Meter(
                medium=pb.MEDIUM_ELECTRICITY,
                unit=pb.UNIT_WH,
                kind=pb.READING_KIND_INTERVAL,
                reading_cycle=pb.READING_CYCLE_QUARTER_HOUR,
            )
            request = pb.CreateMeterRequest(parent=PARENT, meter_id=f"M-{number}", meter=meter)
            await command.metering.CreateMeter(request)
        arguments = ("import", "readings", str(file), "--meter-column", "meter", "--stamp", "end", "--json")
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(PEAK), str(peak), *arguments,
            env=command.environment(ADMIN), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, error = await process.communicate()
        assert process.returncode == 3, error.decode()
        told = json.loads(out)
        assert (told["lines"], told["stored"], told["refused"]) == (LINES, LINES - 1, 1)
        assert [(one["line"], one["value"]) for one in told["refusals"]] == [(BAD + 1, "kaputt")]
        assert int(peak.read_text(encoding="utf-8")) < MOST_KIB
