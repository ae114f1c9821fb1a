"""When meters were hung up, at the terminal: with the meter, later, put right, and in files that come back."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.commands.meter_imports import write_meters
from cli.session import Session
from tests.cli.metering_command import Command, file_of, metering_command

HEADER = "meter_id,medium,unit,kind,device,installed_at,first_reading"
LINES = [
    "low,electricity,wh,,whole,2015-06-01T12:00,7",
    "whole,electricity,wh,,,2015-06-01T12:00+02:00,0",
    "air,temperature,celsius,instant,,2024-01-01,",
    "old,electricity,wh,,,,",
]


@pytest.fixture
async def command(tmp_path: Path) -> AsyncIterator[Command]:
    async with metering_command(tmp_path) as running:
        yield running


async def test_a_meter_is_hung_up_with_it_or_later_and_put_right(command: Command) -> None:
    code, made = await command.json(
        "meter", "add", "M-1", "--medium", "electricity", "--unit", "wh", "--installed", "2020-05-04",
        "--first-reading", "12",
    )  # fmt: skip
    assert (code, made["installed_at"], made["first_reading"]) == (0, "2020-05-04T00:00+02:00", "12")
    assert [(one["from"], one["first_reading"]) for one in made["registers"]] == [("2020-05-04T00:00+02:00", 12)]
    code, changed = await command.json("meter", "change", "M-1", "--first-reading", "13")
    assert (code, changed["installed_at"], changed["first_reading"]) == (0, "2020-05-04T00:00+02:00", "13")
    await command.run("meter", "add", "M-2", "--medium", "electricity", "--unit", "wh", "--device", "M-1")
    code, _, error = await command.run("meter", "install", "M-1", "--at", "2020-12-04T08:15", "--first", "3")
    assert code != 0
    assert "the first reading is missing of M-2" in " ".join(error.split())
    code, hung = await command.json(
        "meter",
        "install",
        "M-1",
        "--at",
        "2020-12-04T08:15",
        "--first",
        "3",
        "--register",
        "M-2=4",
        "--reason",
        "sheet",
    )
    assert (code, hung["installed_at"], hung["first_reading"]) == (0, "2020-12-04T08:15+01:00", "3")
    code, register = await command.json("meter", "show", "M-2")
    assert (register["installed_at"], register["first_reading"]) == ("2020-12-04T08:15+01:00", "4")
    code, _, error = await command.run("meter", "install", "M-1", "--at", "2020-12-04", "--register", "M-2=4:5")
    assert code != 0
    assert "is not METER=FIRST" in " ".join(error.split())


async def test_a_file_says_since_when_meters_hang_there_and_gets_it_back(command: Command, tmp_path: Path) -> None:
    file = file_of(tmp_path, HEADER, LINES)
    code, first = await command.json("import", "meters", str(file))
    assert (code, first["created"], first["refused"]) == (0, 4, 0)
    code, again = await command.json("import", "meters", str(file))
    assert (code, again["unchanged"], again["updated"]) == (0, 4, 0)
    environment = command.environment("admin")
    addresses = {name: environment[f"LICHTBUCH_{name.upper()}_ADDRESS"] for name in ("registry", "metering")}
    session = Session(token=environment["LICHTBUCH_TOKEN"], addresses=addresses)
    await write_meters(session, tmp_path)
    await session.close()
    with (tmp_path / "meters.csv").open(encoding="utf-8", newline="") as stream:
        written = {row["meter_id"]: (row["installed_at"], row["first_reading"]) for row in csv.DictReader(stream)}
    assert written == {
        "air": ("2023-12-31T23:00:00Z", ""),
        "low": ("2015-06-01T10:00:00Z", "7"),
        "old": ("", ""),
        "whole": ("2015-06-01T10:00:00Z", "0"),
    }
    code, back = await command.json("import", "meters", str(tmp_path / "meters.csv"))
    assert (code, back["unchanged"], back["updated"]) == (0, 4, 0)
    header = "meter_id,building,installed_at,first_reading"
    right = file_of(tmp_path, header, ["old,,2015-07-01,5", "air,,2024-01-01,"])
    code, changed = await command.json("import", "meters", str(right))
    assert (code, changed["updated"], changed["unchanged"]) == (0, 1, 1)
    apart = file_of(tmp_path, header, ["whole,,2015-07-01,5"])
    code, refused = await command.json("import", "meters", str(apart))
    assert (code != 0, refused["updated"], refused["refused"]) == (True, 0, 1)
    assert [item["column"] for item in refused["refusals"]] == ["installed_at"]
    assert "register low in its housing was hung up at" in refused["refusals"][0]["reason"]


async def test_a_line_that_says_half_of_it_is_named(command: Command, tmp_path: Path) -> None:
    lines = [
        "a,electricity,wh,,,,3",
        "b,electricity,wh,,,2015-06-01,",
        "c,electricity,wh,,,first of June,3",
        "d,temperature,celsius,instant,,2015-06-01,3",
    ]
    code, report = await command.json("import", "meters", str(file_of(tmp_path, HEADER, lines)))
    assert (code, report["stored"]) == (2, False)
    assert {(item["line"], item["column"]) for item in report["refusals"]} == {
        (2, "installed_at"),
        (3, "first_reading"),
        (4, "installed_at"),
        (5, "first_reading"),
    }
