"""Files of readings into a running metering service and out of it again: real exports, once and twice."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli.commands import reading_imports
from cli.commands.reading_exports import writer_to
from cli.commands.reading_imports import directory_of, facts_of, known_meter, send_readings
from cli.exporting.readings import Format, rows_of
from cli.importing.readings.declared import Declared, Series, read_mapping
from cli.importing.readings.reader import open_readings
from domain.errors import Unavailable
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.convert import timestamp_to_proto
from servicekit.database import Database
from tests.services.metering.importing import (
    BERLIN,
    HALF_HOURS,
    HOURS,
    REAL,
    Town,
    amount,
    bring,
    bring_twice,
    with_real_files,
)
from tests.services.metering.running import PARENT, Metering, running_metering
from tests.support.issuer import Issuer

sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
MSCONS = """UNA:+.? '
UNB+UNOC:3+A:500+B:500+260102:1200+R1'
UNH+1+MSCONS:D:04B:UN:2.4c'
BGM+7+D1+9'
NAD+DP'
LOC+172+DE0001234567800000000000000012345'
LIN+1'
PIA+5+1-1?:1.29.0:SRW'
QTY+{}:{}:KWH'
DTM+163:202601012300?+00:303'
DTM+164:202601012315?+00:303'
UNT+10+1'
UNZ+1+R1'
"""


@pytest.fixture
async def metering(issuer: Issuer, database: Database) -> AsyncIterator[Metering]:
    async with running_metering(issuer, database) as running:
        yield running


async def write_out(metering: Metering, file: Path, form: Format = Format.CSV) -> int:
    session: Any = Town(metering)
    listed = (await session.metering.ListMeters(pb.ListMetersRequest(parent=PARENT, page_size=1000))).meters
    by_name = {one.name: one for one in listed}
    known = {one.name: known_meter(one, by_name.get(one.device)) for one in listed}
    request = pb.ExportReadingsRequest(
        parent=PARENT,
        start_time=timestamp_to_proto(datetime(2010, 1, 1, tzinfo=UTC)),
        end_time=timestamp_to_proto(datetime(2026, 12, 1, tzinfo=UTC)),
    )
    written = 0
    with writer_to(file, form, BERLIN) as writer:
        async for part in session.metering.ExportReadings(request):
            written += writer.write(rows_of(part.readings, known))
    return written


# --- real files --------------------------------------------------------------------------------------------


@with_real_files
@pytest.mark.parametrize(("name", "readings"), [("example.csv", 480), ("example-missing-half-hours.csv", 526)])
async def test_british_half_hours_are_taken_by_serial_number_and_their_estimates_stay_estimates(
    metering: Metering, name: str, readings: int
) -> None:
    file = REAL / "amr_exports" / name
    numbers = sorted({line.split(",")[0] for line in file.read_text(encoding="utf-8").splitlines()[2:]})
    for place, number in enumerate(numbers):
        await metering.meter(f"S-{place}", serial_number=number, **HALF_HOURS)
    declared = Declared(meter_column="MPR", stamp="end")
    outcome = await bring_twice(metering, file, declared, zone="Europe/London")
    assert (outcome.stored, outcome.all_refused) == (readings, 0)
    facts = facts_of(file, outcome, False)
    assert len(facts["meters"]) == len(numbers)
    assert facts["lines"] == readings
    response = await metering.as_().ListReadings(
        pb.ListReadingsRequest(
            parent=PARENT,
            start_time=timestamp_to_proto(datetime(2019, 8, 1, tzinfo=UTC)),
            end_time=timestamp_to_proto(datetime(2019, 9, 1, tzinfo=UTC)),
        )
    )
    estimated = sum("Estimated" in line for line in file.read_text(encoding="utf-8").splitlines())
    assert list(response.readings.statuses).count(pb.READING_STATUS_ESTIMATED) == estimated == 48


@with_real_files
@sqlite_only
async def test_days_of_a_british_council_are_taken_as_intervals(metering: Metering) -> None:
    file = REAL / "amr_exports/sheffield_export.csv"
    numbers = sorted({line.split(",")[1] for line in file.read_text(encoding="utf-8").splitlines()[1:]})
    for number in numbers:
        await metering.meter(number, **HALF_HOURS)
    outcome = await bring_twice(metering, file, Declared(meter_column="MPAN"), zone="Europe/London")
    assert (outcome.stored, outcome.all_refused) == (24 * 48, 0)
    day = datetime(2018, 11, 6, tzinfo=UTC), datetime(2018, 11, 7, tzinfo=UTC)
    cells = file.read_text(encoding="utf-8").splitlines()[1].split(",")
    assert await amount(metering, cells[1], *day) == sum(round(float(cell) * 1000) for cell in cells[3:51])


@with_real_files
@sqlite_only
@pytest.mark.parametrize(("building", "missing"), [("b4", 10_621), ("b58", 1_071)])
async def test_four_years_of_a_building_are_taken_by_a_mapping_and_zeros_are_gaps(
    metering: Metering, tmp_path: Path, building: str, missing: int
) -> None:
    mapping = tmp_path / "cambridge.toml"
    mapping.write_text(
        """[readings]
stamp = "start"
unit = "kWh"
missing = "zero"
[[readings.series]]
column = "electricity"
meter = "strom"
[[readings.series]]
column = "gas"
meter = "gas"
""",
        encoding="utf-8",
    )
    await metering.meter("strom", **HOURS)
    await metering.meter("gas", medium=pb.MEDIUM_GAS, **HOURS)
    file = REAL / f"cambridge/ucam_{building}_hourly_2017_2020.csv"
    outcome = await bring_twice(metering, file, read_mapping(mapping))
    assert (outcome.stored, outcome.all_refused) == (2 * 35_064, 0)
    assert outcome.file.tally.missing == missing
    assert outcome.found["gap"] == missing
    assert ("unit_break" in outcome.found) == (building == "b58")  # its gas has tenths in some years only
    year = datetime(2018, 1, 1, tzinfo=UTC), datetime(2019, 1, 1, tzinfo=UTC)
    lines = [line.split(",") for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("2018")]
    assert len(lines) == 8760
    stored = await metering.as_().GetMeter(pb.GetMeterRequest(name=f"{PARENT}/meters/strom"))
    assert stored.latest_slot.ToDatetime(tzinfo=UTC) == datetime(2021, 1, 1, tzinfo=UTC)
    measured = sum(round(float(line[1]) * 1000) for line in lines)
    assert await amount(metering, "strom", *year) >= measured


ZEROS = {
    ("b4", "electricity"): [("2019-10-04T03:00:00Z", "2019-10-06T00:00:00Z", 46)],
    ("b58", "electricity"): [("2017-03-26T02:00:00Z", "2017-03-26T02:00:00Z", 1)],
    ("b4", "gas"): [
        ("2017-11-27T12:00:00Z", "2018-01-01T00:00:00Z", 829),
        ("2018-03-12T13:00:00Z", "2018-03-13T06:00:00Z", 18),
        ("2018-11-10T01:00:00Z", "2018-11-11T13:00:00Z", 37),
        ("2020-11-27T16:00:00Z", "2020-11-27T21:00:00Z", 6),
    ],
    ("b58", "gas"): [
        ("2017-11-18T11:00:00Z", "2018-01-01T00:00:00Z", 1_046),
        ("2018-06-04T02:00:00Z", "2018-06-05T00:00:00Z", 23),
    ],
}
"""By building and medium: the zeros that stand for missing values, by the ends of the first and the last hour. Zeros of
a boiler that is off in summer are none of them."""


@with_real_files
@sqlite_only
@pytest.mark.parametrize(("building", "medium"), ZEROS)
async def test_zeros_that_nobody_declared_missing_are_found_by_the_rules_and_only_those(
    metering: Metering, building: str, medium: str
) -> None:
    await metering.meter("m", medium=pb.MEDIUM_GAS if medium == "gas" else pb.MEDIUM_ELECTRICITY, **HOURS)
    file = REAL / f"cambridge/ucam_{building}_hourly_2017_2020.csv"
    outcome = await bring_twice(metering, file, Declared(meter="m", value_column=medium, unit="kWh", stamp="start"))
    assert (outcome.stored, outcome.all_refused, outcome.file.tally.missing) == (35_064, 0, 0)
    facts = facts_of(file, outcome, False)
    span = {"from": "2017-01-01T01:00Z", "until": "2021-01-01T00:00Z"}
    assert facts["meters"] == [{"meter": "m", "readings": 35_064, **span}]
    zeros = ZEROS[building, medium]
    breaks = ["2018-01-01T01:00:00Z", "2018-06-05T01:00:00Z"] if (building, medium) == ("b58", "gas") else []
    count = {"zero": sum(one[2] for one in zeros), "unit_break": len(breaks)}
    assert facts["findings_by_rule"] == {rule: number for rule, number in count.items() if number}
    found = facts["findings"]
    assert [(one["from"], one["until"], one["count"]) for one in found if one["rule"] == "zero"] == zeros
    assert [one["until"] for one in found if one["rule"] == "unit_break"] == breaks
    assert {one["doubted"] for one in found if one["rule"] == "zero"} == {True}
    request = pb.ListReadingsRequest(
        parent=PARENT,
        start_time=timestamp_to_proto(datetime.fromisoformat(zeros[0][0])),
        end_time=timestamp_to_proto(datetime.fromisoformat(zeros[0][1]) + timedelta(milliseconds=1)),
    )
    listed = (await metering.as_().ListReadings(request)).readings
    assert list(listed.statuses) == [pb.READING_STATUS_DOUBTFUL] * zeros[0][2]
    assert set(listed.values) == {0}


@with_real_files
@sqlite_only
async def test_a_heat_meter_s_counters_of_energy_and_volume_are_taken_side_by_side(metering: Metering) -> None:
    counter = {"medium": pb.MEDIUM_HEAT, "reading_cycle": pb.READING_CYCLE_HOUR}
    await metering.meter("heat", serial_number="660", **counter)
    await metering.meter("volume", **{**counter, "medium": pb.MEDIUM_WATER, "unit": pb.UNIT_L, "scale_exponent": -3})
    series = (Series(column="energy_heat_kwh", meter="heat"), Series(column="volume_flow_m3", meter="volume"))
    file = REAL / "danish_heat_hourly_sample.csv"
    outcome = await bring_twice(metering, file, Declared(meter_column="meter_id", series=series))
    assert (outcome.stored, outcome.all_refused) == (2 * 26_256, 0)
    span = datetime(2018, 1, 2, 23, tzinfo=UTC), datetime(2020, 12, 31, 22, tzinfo=UTC)
    assert await amount(metering, "heat", *span) == round((56_974.8571428571 - 5_347.61445783133) * 1000)


# --- habits of the import ----------------------------------------------------------------------------------


async def test_a_dry_run_stores_nothing_and_tells_what_would_be(metering: Metering, tmp_path: Path) -> None:
    await metering.meter("m")
    file = tmp_path / "x.csv"
    file.write_text("time;kWh\n2026-03-01T00:00Z;1\n2026-03-01T00:15Z;2\n", encoding="utf-8")
    outcome = await bring(metering, file, Declared(meter="m"), dry_run=True)
    assert (outcome.stored, outcome.unchanged) == (2, 0)
    assert (await bring(metering, file, Declared(meter="m"))).stored == 2


@sqlite_only
async def test_what_the_service_refuses_is_told_with_the_line_of_the_file(metering: Metering, tmp_path: Path) -> None:
    await metering.meter("m")
    file = tmp_path / "x.csv"
    text = "time;kWh\n2026-03-01T00:00Z;1\n2026-03-01T00:15Z;2\n2030-01-01T00:00Z;3\nyesterday;4\n"
    file.write_text(text, encoding="utf-8")
    await bring(metering, file, Declared(meter="m"))
    file.write_text(text.replace("15Z;2", "15Z;7"), encoding="utf-8")
    outcome = await bring(metering, file, Declared(meter="m"), size=2)
    facts = facts_of(file, outcome, False)
    assert (outcome.stored, outcome.unchanged, outcome.all_refused) == (0, 1, 3)
    assert [refusal["line"] for refusal in facts["refusals"]] == [5, 3, 4]
    assert sum(facts["refused_by_reason"].values()) == 3
    assert any("the future" in reason for reason in facts["refused_by_reason"])
    json.dumps(facts)


@sqlite_only
async def test_a_file_that_breaks_in_the_middle_keeps_what_was_stored_before(
    metering: Metering, tmp_path: Path
) -> None:
    await metering.meter("m")
    slots = [datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=15 * number) for number in range(300)]
    rows = [f"{slot.isoformat()};{number}" for number, slot in enumerate(slots)]
    file = tmp_path / "x.csv"
    file.write_text("time;kWh\n" + "\n".join(rows) + '\n"' + "x" * 200_000 + "\n", encoding="utf-8")
    outcome = await bring(metering, file, Declared(meter="m"), size=100)
    assert outcome.stored == 300
    assert "does a quote never close" in str(outcome.error)


@sqlite_only
@pytest.mark.parametrize("is_watched", [True, False])
async def test_who_sits_before_a_terminal_sees_how_far_an_import_is_and_a_file_of_notes_is_left_alone(
    metering: Metering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_watched: bool
) -> None:
    await metering.meter("m")
    slots = [datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=15 * number) for number in range(30)]
    file = tmp_path / "x.csv"
    file.write_text("time;kWh\n" + "".join(f"{slot.isoformat()};1\n" for slot in slots), encoding="utf-8")
    shown = io.StringIO()
    terminal = Console(file=shown, width=80, force_terminal=is_watched, _environ={"TERM": "xterm"})
    monkeypatch.setattr(reading_imports, "notes", terminal)
    assert (await bring(metering, file, Declared(meter="m"), size=10)).stored == 30
    assert ("importing" in shown.getvalue()) == is_watched
    assert ("100%" in shown.getvalue()) == is_watched
    assert is_watched or not shown.getvalue()


class GoneAfter:
    """Metering that goes away after some calls."""

    def __init__(self, metering: Any, calls: int) -> None:
        self._metering, self._calls = metering, calls

    async def IngestReadings(self, request: pb.IngestReadingsRequest, **options: Any) -> Any:
        self._calls -= 1
        if self._calls < 0:
            raise Unavailable("metering is away", 1.0)
        return await self._metering.IngestReadings(request, **options)


@sqlite_only
async def test_an_outage_in_the_middle_is_told_and_the_same_command_goes_on_from_there(
    metering: Metering, tmp_path: Path
) -> None:
    await metering.meter("m")
    slots = [datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=15 * number) for number in range(30)]
    file = tmp_path / "x.csv"
    file.write_text("time;kWh\n" + "".join(f"{slot.isoformat()};1\n" for slot in slots), encoding="utf-8")
    session: Any = Town(metering)
    opened = open_readings(file, Declared(meter="m"), await directory_of(session), time_zone="UTC", size=10)
    session.metering = GoneAfter(session.metering, 2)
    outcome = await send_readings(session, opened, "import:x.csv", dry_run=False)
    assert (outcome.stored, str(outcome.error)) == (20, "metering is away")
    assert facts_of(file, outcome, False)["ended_by"] == "metering is away"
    again = await bring(metering, file, Declared(meter="m"))
    assert (again.stored, again.unchanged) == (10, 20)
    session.metering = GoneAfter(session.metering, 0)
    opened = open_readings(file, Declared(meter="m"), await directory_of(Town(metering)), time_zone="UTC")  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        await send_readings(session, opened, "import:x.csv", dry_run=False)


@sqlite_only
async def test_a_grid_operator_s_substitute_gives_way_to_the_true_value(metering: Metering, tmp_path: Path) -> None:
    cycle = pb.READING_CYCLE_QUARTER_HOUR
    await metering.meter(
        "lp",
        metering_location="DE0001234567800000000000000012345",
        obis_code="1-1:1.29.0",
        **{**HALF_HOURS, "reading_cycle": cycle},
    )
    file = tmp_path / "mscons.txt"

    async def brought(qualifier: str, value: str) -> tuple[int, int, int]:
        file.write_text(MSCONS.format(qualifier, value), encoding="utf-8")
        outcome = await bring(metering, file, Declared())
        assert not outcome.file.tally.refused
        return outcome.stored, outcome.unchanged, outcome.refused

    assert await brought("67", "12.5") == (1, 0, 0)
    assert await brought("67", "12.5") == (0, 1, 0)
    assert await brought("220", "13") == (1, 0, 0)
    # The old file once more says nothing new, and overrules nothing.
    assert (await brought("67", "12.5"))[0] == 0
    assert (await brought("220", "13")) == (0, 1, 0)
    begin = datetime(2026, 1, 1, 23, tzinfo=UTC)
    assert await amount(metering, "lp", begin, begin + timedelta(minutes=15)) == 13_000


# --- and out again -----------------------------------------------------------------------------------------


async def filled(metering: Metering, tmp_path: Path) -> None:
    """Meters of several kinds and units, with gaps, estimates and readings by hand."""
    await metering.meter("counter", reading_cycle=pb.READING_CYCLE_QUARTER_HOUR)
    await metering.meter("profile", **{**HALF_HOURS, "reading_cycle": pb.READING_CYCLE_QUARTER_HOUR})
    water = {"medium": pb.MEDIUM_WATER, "unit": pb.UNIT_L, "scale_exponent": -3}
    await metering.meter("water", reading_cycle=pb.READING_CYCLE_IRREGULAR, **water)
    sensor = {"medium": pb.MEDIUM_TEMPERATURE, "unit": pb.UNIT_CELSIUS, "scale_exponent": -2}
    await metering.meter("outside", kind=pb.READING_KIND_INSTANT, reading_cycle=pb.READING_CYCLE_HOUR, **sensor)
    given = {
        "counter": ("kWh", "2025-10-26T00:00Z;1,5;\n2025-10-26T00:15Z;;\n2025-10-26T01:30Z;2;estimated\n"),
        "profile": ("Wh", "2025-10-26T00:30Z;7;\n2025-10-26T00:45Z;9;substituted\n2025-10-26T01:30Z;0;\n"),
        "outside": ("°C", "2026-01-01T00:00Z;-3,25;\n2026-01-01T01:00Z;0;\n"),
    }
    for meter, (unit, rows) in given.items():
        file = tmp_path / f"{meter}.csv"
        file.write_text("time;value;status\n" + rows, encoding="utf-8")
        outcome = await bring(metering, file, Declared(meter=meter, unit=unit, stamp="end", decimal=","))
        assert outcome.stored == rows.count("\n")
    file = tmp_path / "water.csv"
    file.write_text("time;m3\n2026-01-03T07:13;12,345678\n", encoding="utf-8")
    assert (await bring(metering, file, Declared(meter="water"), hand=True)).stored == 1


def _copied(template: Path, file: Path) -> str:
    shutil.copy(template, file)
    return f"sqlite:///{file}"


async def test_an_export_can_be_taken_in_again_elsewhere_and_is_the_same_there(
    metering: Metering, tmp_path: Path, issuer: Issuer, sqlite_template: Path
) -> None:
    await filled(metering, tmp_path)
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    assert await write_out(metering, first) == 9
    again = await bring(metering, first, Declared())
    assert (again.stored, again.unchanged, again.all_refused) == (0, 9, 0)
    elsewhere = Database(_copied(sqlite_template, tmp_path / "elsewhere.db"), "metering", pool_size=2)
    try:
        async with running_metering(issuer, elsewhere) as other:
            for meter in (await metering.as_().ListMeters(pb.ListMetersRequest(parent=PARENT))).meters:
                request = pb.CreateMeterRequest(parent=PARENT, meter_id=meter.name.rsplit("/", 1)[-1], meter=meter)
                await other.as_().CreateMeter(request)
            taken = await bring(other, first, Declared())
            assert (taken.stored, taken.all_refused) == (9, 0)
            await write_out(other, second)
    finally:
        await elsewhere.close()

    def but_the_source(file: Path) -> list[list[str]]:
        rows = [line.split(",") for line in file.read_text(encoding="utf-8").splitlines()]
        return [[cell for number, cell in enumerate(row) if number != 5] for row in rows]

    assert but_the_source(first) == but_the_source(second)


@sqlite_only
async def test_values_are_written_in_their_unit_and_gaps_without_a_value(metering: Metering, tmp_path: Path) -> None:
    await filled(metering, tmp_path)
    file = tmp_path / "out.csv"
    await write_out(metering, file)
    lines = file.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "meter,slot,value,unit,status,source,observed_at,revision"
    told = [line.split(",") for line in lines[1:]]
    assert ["counter", "2025-10-26T02:15:00+02:00", "", "Wh", "gap"] in [row[:5] for row in told]
    assert {row[5] for row in told if row[0] == "counter"} == {"import:counter.csv"}
    assert ["outside", "2026-01-01T01:00:00+01:00", "-3.25", "°C", "measured"] in [row[:5] for row in told]
    assert ["water", "2026-01-03T07:13:00+01:00", "12345.678", "l", "hand"] in [row[:5] for row in told]


@sqlite_only
async def test_json_lines_and_parquet_say_the_same(metering: Metering, tmp_path: Path) -> None:
    from pyarrow import parquet

    await filled(metering, tmp_path)
    lines, table = tmp_path / "out.jsonl", tmp_path / "out.parquet"
    assert await write_out(metering, lines, Format.JSONL) == await write_out(metering, table, Format.PARQUET) == 9
    told = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    rows = parquet.read_table(table).to_pylist()
    assert [row["meter"] for row in rows] == [line["meter"] for line in told]
    for row, line in zip(rows, told, strict=True):
        assert row["slot"] == datetime.fromisoformat(line["slot"])
        assert (None if row["value"] is None else float(row["value"])) == line["value"]
        assert (row["unit"], row["status"]) == (line["unit"], line["status"])


async def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    from domain.errors import InvalidInput

    with (
        pytest.raises(InvalidInput, match="cannot be written"),
        writer_to(tmp_path / "no" / "x.csv", Format.CSV, BERLIN),
    ):
        pass
