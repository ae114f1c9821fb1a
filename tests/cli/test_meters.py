"""Meters at the terminal: made, changed, exchanged, and taken in from files that may come twice."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.commands.meter_imports import AT_ONCE
from cli.importing.meters import Line, independent
from cli.session import Session
from lichtbuch.metering.v1 import metering_pb2 as pb
from tests.cli.metering_command import Command, file_of, metering_command

TOWN = "municipalities/bad-hersfeld"
HEADER = "meter_id,display_name,medium,unit,kind,building,obis_code,serial_number,device,main_meter,rollover,terms"
LINES = [
    'use,Use,electricity,wh,virtual,Rathaus,,,,,,"[{""meter"": ""whole""}, {""meter"": ""pv""}]"',
    "low,NT,electricity,wh,counter,Rathaus,1.8.2,,whole,,,",
    "whole,All,electricity,wh,,Rathaus,1-0:1.8.0,4711,,,1000000000000,",
    "pv,Roof,electricity,wh,,Rathaus,,4712,,,,",
    "kitchen,Kitchen,electricity,wh,,Rathaus,,,,whole,,",
]


@pytest.fixture
async def command(tmp_path: Path) -> AsyncIterator[Command]:
    async with metering_command(tmp_path) as running:
        yield running


async def test_a_meter_is_added_shown_changed_exchanged_and_removed(command: Command) -> None:
    code, made = await command.json(
        "meter", "add", "M-1", "--medium", "electricity", "--unit", "wh", "--serial", "4711", "--building", "Rathaus",
        "--obis", "1.8.0", "--set", "rollover=100000000000", "--set", "reading_cycle=quarter hour",
    )  # fmt: skip
    assert (code, made["obis_code"], made["rollover"], made["reading_cycle"]) == (
        0,
        "1-0:1.8.0",
        "100000000000",
        "quarter hour",
    )
    await command.run("meter", "add", "M-2", "--medium", "electricity", "--unit", "wh", "--device", "M-1")
    code, changed = await command.json("meter", "change", "M-1", "--name", "Main", "--building", "")
    assert (code, changed["display_name"], changed.get("building")) == (0, "Main", None)
    code, exchanged = await command.json(
        "meter", "exchange", "M-1", "--at", "2026-03-20T12:00", "--final", "900", "--serial", "4712",
        "--register", "M-2=300:5", "--ratio", "40",
    )  # fmt: skip
    assert code == 0
    assert [life["serial"] for life in exchanged["registers"]] == ["4711", "4712"]
    code, housed = await command.json("meter", "list", "--behind", "M-1")
    assert [(row["meter"], row["serial"], row["housing"]) for row in housed] == [("M-2", "4712", "M-1")]
    code, _, error = await command.run("meter", "remove", "M-1", "--reason", "gone")
    assert code != 0
    assert "M-2" in error
    for meter in ("M-2", "M-1"):
        assert (await command.run("meter", "remove", meter, "--reason", "gone"))[0] == 0
    code, left, _ = await command.run("meter", "list")
    assert "there are no such meters" in left


async def test_a_file_of_meters_is_taken_in_once_and_changes_what_it_tells(command: Command, tmp_path: Path) -> None:
    file = file_of(tmp_path, HEADER, LINES)
    code, tried = await command.json("import", "meters", str(file), "--dry-run")
    assert (code, tried["created"], tried["stored"]) == (0, 5, False)
    code, first = await command.json("import", "meters", str(file))
    assert (code, first["created"], first["refused"]) == (0, 5, 0)
    code, again = await command.json("import", "meters", str(file))
    assert (code, again["created"], again["updated"], again["unchanged"]) == (0, 0, 0, 5)
    meter = await command.metering.GetMeter(pb.GetMeterRequest(name=f"{TOWN}/meters/low"))
    assert (meter.serial_number, meter.obis_code) == ("4711", "1-0:1.8.2")
    fewer = file_of(tmp_path, "meter_id,serial_number", ["whole,4713", "kitchen,"])
    code, changed = await command.json("import", "meters", str(fewer))
    assert (code, changed["updated"], changed["unchanged"]) == (0, 1, 1)
    meter = await command.metering.GetMeter(pb.GetMeterRequest(name=f"{TOWN}/meters/low"))
    assert (meter.serial_number, meter.display_name) == ("4713", "NT")


async def test_a_wrong_line_is_named_and_nothing_is_stored_without_being_told_to(
    command: Command, tmp_path: Path
) -> None:
    wrong = [
        *LINES,
        "tank,,oil,percent,stock,,,,,,,",
        "a,,electricity,wh,,,8-0:1.0.0,,,,,",
        "b,,electricity,wh,,,,,nowhere,,,",
        "c,,electricity,wh,,,,,,,many,",
        "pv,,electricity,wh,,,,,,,,",
    ]
    file = file_of(tmp_path, HEADER, wrong)
    code, report = await command.json("import", "meters", str(file))
    assert (code, report["stored"], report["refused"]) == (2, False, 5)
    assert {(item["line"], item["column"]) for item in report["refusals"]} == {
        (7, "kind"),
        (8, "obis_code"),
        (9, "device"),
        (10, "rollover"),
        (11, "meter_id"),
    }
    code, report = await command.json("import", "meters", str(file), "--skip-invalid")
    assert (code, report["created"], report["refused"]) == (3, 5, 5)


async def test_what_only_the_service_knows_ends_the_import_at_its_line(command: Command, tmp_path: Path) -> None:
    await command.run("meter", "add", "other", "--medium", "electricity", "--unit", "wh", "--serial", "4711")
    code, report = await command.json("import", "meters", str(file_of(tmp_path, HEADER, LINES)))
    assert code in (2, 3)
    assert [(item["line"], item["column"]) for item in report["refusals"]] == [(4, "serial_number")]
    assert "other" in report["refusals"][0]["reason"]


@pytest.mark.parametrize(("skip_invalid", "looked_at"), [(False, AT_ONCE), (True, AT_ONCE + 5)])
async def test_a_meter_that_somebody_creates_meanwhile_is_a_refusal_like_others(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skip_invalid: bool, looked_at: int
) -> None:
    from cli.commands import meter_imports
    from cli.importing.tables import read_table

    lines = [f"M-{number},Meter,electricity,wh,,Rathaus,,,,,," for number in range(AT_ONCE + 5)]
    table = read_table(file_of(tmp_path, HEADER, lines))
    await command.run("import", "meters", str(file_of(tmp_path, HEADER, lines)))

    async def before_they_were_created(_: object) -> list[pb.Meter]:
        return []

    monkeypatch.setattr(meter_imports, "list_all", before_they_were_created)
    session = session_of(command)
    report = await meter_imports.take_meters(session, table, skip_invalid=skip_invalid, dry_run=False)
    await session.close()
    # Those that were on their way when the first one was refused are told of too.
    told = [(number + 2, "somebody has created it meanwhile") for number in range(looked_at)]
    found = [(item.line, item.reason) for item in report.refusals]
    assert found == (told if skip_invalid else told[: len(found)])
    assert 1 <= len(found) <= looked_at
    assert len(report.notes) == (0 if skip_invalid else 1)
    assert (report.created, report.stored) == (0, False)


async def test_an_export_that_fails_leaves_no_half_file(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cli.commands import meter_imports

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(meter_imports, "write_sheet", full)
    session, before = session_of(command), os.listdir(tmp_path)
    with pytest.raises(OSError, match="space"):
        await meter_imports.write_meters(session, tmp_path)
    await session.close()
    assert os.listdir(tmp_path) == before


def session_of(command: Command) -> Session:
    environment = command.environment("admin")
    addresses = {name: environment[f"LICHTBUCH_{name.upper()}_ADDRESS"] for name in ("registry", "metering")}
    return Session(token=environment["LICHTBUCH_TOKEN"], addresses=addresses)


async def test_meters_go_out_into_a_file_that_comes_in_as_it_was(command: Command, tmp_path: Path) -> None:
    from cli.commands.meter_imports import write_meters

    await command.run("import", "meters", str(file_of(tmp_path, HEADER, LINES)))
    gas = pb.Meter(
        medium=pb.MEDIUM_GAS,
        unit=pb.UNIT_L,
        scale_exponent=1,
        obis_code="7-0:3.0.0",
        purpose=pb.METER_PURPOSE_BILLING,
        market_location="41373559241",
        metering_location="DE0002116366500000000000001234567",
        metering_operator="Stadtwerke; Netz",
        gas_factors=[pb.GasFactor(valid_from="2026-01-01", calorific_value_wh_per_m3=11_350, state_number_e4=9_524)],
        avoidable_price_micro_eur=80_000,
        rests_on_weekends=True,
    )
    await command.metering.CreateMeter(pb.CreateMeterRequest(parent=TOWN, meter_id="gas", meter=gas))
    session = session_of(command)
    written = await write_meters(session, tmp_path)
    first = (tmp_path / "meters.csv").read_bytes()
    assert (written["lines"], len(list(csv.DictReader(io.StringIO(first.decode()))))) == (6, 6)
    code, again = await command.json("import", "meters", str(tmp_path / "meters.csv"))
    assert (code, again["unchanged"], again["updated"], again["created"]) == (0, 6, 0, 0)
    for meter in ("use", "low", "kitchen", "pv", "whole", "gas"):
        await command.metering.DeleteMeter(pb.DeleteMeterRequest(name=f"{TOWN}/meters/{meter}"))
    code, anew = await command.json("import", "meters", str(tmp_path / "meters.csv"))
    assert (code, anew["created"], anew["refused"]) == (0, 6, 0)
    await write_meters(session, tmp_path)
    await session.close()
    assert (tmp_path / "meters.csv").read_bytes() == first


async def test_lines_that_touch_one_another_have_the_outcome_that_they_would_have_one_by_one(
    command: Command, tmp_path: Path
) -> None:
    header = "meter_id,medium,unit,building,serial_number,main_meter"
    many = [f"M-{number},electricity,wh,Rathaus,S-{number},{'M-0' if number else ''}" for number in range(40)]
    code, first = await command.json("import", "meters", str(file_of(tmp_path, header, many)))
    assert (code, first["created"], first["refusals"]) == (0, 40, [])
    # A number goes from one meter to the next one of the file, and one line is wrong only to the service.
    moved = ["M-1,electricity,wh,Rathaus,S-new,M-0", "M-2,electricity,wh,Rathaus,S-1,M-0"]
    twice = ["M-3,electricity,wh,Rathaus,S-twice,M-0", "M-4,electricity,wh,Rathaus,s-twice,M-0"]
    file = file_of(tmp_path, header, [*moved, *twice])
    code, report = await command.json("import", "meters", str(file), "--skip-invalid")
    assert (code, report["updated"], report["refused"]) == (3, 3, 1)
    assert [(one["line"], one["column"]) for one in report["refusals"]] == [(5, "serial_number")]


async def test_an_import_that_ends_at_a_line_says_which_and_looks_at_no_further_lines(
    command: Command, tmp_path: Path
) -> None:
    header = "meter_id,medium,unit,serial_number,main_meter"
    await command.json("import", "meters", str(file_of(tmp_path, header, ["A,electricity,wh,S-1,"])))
    lines = ["B,electricity,wh,S-1,", "C,electricity,wh,,B"]
    code, report = await command.json("import", "meters", str(file_of(tmp_path, header, lines)))
    assert (code, report["created"], report["stored"]) == (2, 0, False)
    assert report["notes"] == ["line 2 was refused: no further lines were looked at"]
    assert [one["line"] for one in report["refusals"]] == [2]


def test_lines_go_together_that_need_nothing_of_one_another() -> None:
    def line(number: int, meter: str, **facts: str) -> Line:
        names = {key: f"{TOWN}/meters/{value}" for key, value in facts.items() if key != "serial_number"}
        return Line(number, pb.Meter(name=f"{TOWN}/meters/{meter}", **({**facts, **names})), ())  # type: ignore[arg-type]

    old, whole = (f"{TOWN}/meters/{meter}" for meter in ("old", "whole"))
    stored = {old: pb.Meter(name=old, serial_number="X", main_meter=whole)}
    lines = [
        line(1, "old"), line(2, "whole"), line(3, "low", device="whole"), line(4, "high", device="whole"),
        line(5, "sub", main_meter="whole"), line(6, "alone", serial_number="x"), line(7, "other"),
    ]  # fmt: skip
    assert [[one.number for one in group] for group in independent(lines, stored)] == [[1, 7], [2, 6], [3, 5], [4]]
