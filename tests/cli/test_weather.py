"""lichtbuch import weather and degree-days, the real command against metering over real gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cli.metering_command import Command, metering_command
from tests.support.running import VIEWER

DAYS = """STATIONS_ID;MESS_DATUM;QN_4; TMK;eor
        232;20260101;   10;   5.0;eor
        232;20260102;   10;-999.0;eor
        232;20260103;   10;  -1.5;eor
        232;20260104;   10;  16.0;eor
"""


@pytest.fixture
async def command(tmp_path: Path) -> AsyncIterator[Command]:
    async with metering_command(tmp_path) as running:
        yield running


def write(tmp_path: Path, text: str, name: str = "produkt_klima_tag.txt") -> str:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


async def test_a_station_is_taken_in_once_and_its_degree_days_are_told(command: Command, tmp_path: Path) -> None:
    file = write(tmp_path, DAYS)
    code, out, error = await command.run("import", "weather", file)
    assert code == 0, error
    assert "dwd-00232: 3 days out of 3 days; 3 stored, 0 there before" in out
    assert "1 lines have no temperature" in error
    code, again = await command.json("import", "weather", file)
    assert (code, again["stored"], again["unchanged"], again["station"]) == (0, 0, 3, "dwd-00232")
    period = ("--from", "2026-01-01", "--to", "2026-01-05")
    code, rows = await command.json("degree-days", "dwd-00232", *period)
    assert (code, rows) == (
        0,
        [
            {
                "from": "2026-01-01",
                "until": "2026-01-05",
                "degree_days_centi": 1500 + 2150,
                "mean_centidegrees": 650,
                "heating_days": 2,
                "known_days": 3,
                "days": 4,
            }
        ],
    )
    code, out, error = await command.run("degree-days", "dwd-00232", *period, "--base", "15", subject=VIEWER)
    assert code == 0
    assert "26.5" in out
    assert "not known add nothing" in error


async def test_refused_lines_are_told_and_nothing_is_stored_unless_it_is_wanted(
    command: Command, tmp_path: Path
) -> None:
    file = write(tmp_path, DAYS.replace("-1.5", "warm"))
    code, told = await command.json("import", "weather", file)
    assert (code, told["stored"], told["refusals"]) == (2, 0, ["line 4, TMK: is no number (warm)"])
    code, told = await command.json("import", "weather", file, "--skip-invalid", "--dry-run")
    assert (code, told["stored"], told["dry_run"]) == (3, 2, True)
    code, told = await command.json("import", "weather", file, "--skip-invalid")
    assert (code, told["stored"], told["refused"]) == (3, 2, 1)


async def test_what_the_service_refuses_is_told_by_its_day(command: Command, tmp_path: Path) -> None:
    file = write(tmp_path, "datum;temperatur\n27.03.2026;5\n28.03.2026;6\n", "town.csv")
    code, _, error = await command.run("import", "weather", file)
    assert code == 2
    assert "--station" in error
    code, told = await command.json("import", "weather", file, "--station", "roof")
    assert (code, told["stored"]) == (3, 1)
    assert len(told["refusals"]) == 1
    assert told["refusals"][0].startswith("2026-03-28: ")
    assert "not over" in told["refusals"][0]


async def test_an_unknown_station_names_those_that_there_are(command: Command, tmp_path: Path) -> None:
    await command.run("import", "weather", write(tmp_path, DAYS))
    code, _, error = await command.run("degree-days", "dwd-1", "--from", "2026-01-01", "--to", "2026-01-05")
    assert code == 0
    assert "there are dwd-00232" in error


async def test_wrong_use_names_what_was_wrong(command: Command) -> None:
    for arguments, words in (
        (("s", "--from", "2026-01-05", "--to", "2026-01-05"), "not after"),
        (("s", "--step", "hour"), "day, month, year, total"),
        (("s", "--limit", "0"), "limit"),
        (("s", "--base", "10"), "base_centidegrees"),
        (("meter:nobody",), "nobody"),
    ):
        code, _, error = await command.run("degree-days", *arguments)
        assert code == 2, arguments
        assert words in error
