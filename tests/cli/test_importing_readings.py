"""Readings from long tables and real files: qualities, gaps and meters come out right, and what is wrong is named."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.importing.readings.declared import Declared, Series
from cli.importing.readings.known import Directory, Kind, KnownMeter, Status, Step
from cli.importing.readings.reader import open_readings
from domain.errors import InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb
from tests.cli.reading_tables import REAL, opened, read, refusals, taken


def test_statuses_and_kinds_are_numbered_as_the_contract_numbers_them() -> None:
    for status in Status:
        assert int(pb.ReadingStatus.Value(f"READING_STATUS_{status.name}")) == status
    for kind in Kind:
        assert int(pb.ReadingKind.Value(f"READING_KIND_{kind.name}")) == kind


def test_the_quality_is_told_by_its_column(tmp_path: Path) -> None:
    text = "sep=,\nMPR,ReadDatetime,kWh,ReadType\nm,01 Jan 2026 00:30:00,1,Actual\nm,01 Jan 2026 01:00:00,2,Estimated\n"
    found = opened(tmp_path, text, meter_column="MPR")
    assert list(next(found.pieces).statuses) == [Status.MEASURED, Status.ESTIMATED]


def test_a_quality_that_nobody_knows_is_refused_unless_it_is_said_what_it_means(tmp_path: Path) -> None:
    text = "time;kWh;status\n2026-01-01T00:00Z;1;X7\n"
    assert refusals(tmp_path, text) == [(2, "status", "is no quality that is known: say what it means")]
    found = opened(tmp_path, text, meter="m", quality_words={"x7": Status.DOUBTFUL})
    assert list(next(found.pieces).statuses) == [Status.DOUBTFUL]


def test_a_value_that_is_missing_is_a_gap_and_no_zero(tmp_path: Path) -> None:
    text = "time;kWh\n2026-01-01T00:00Z;0\n2026-01-01T00:15Z;\n2026-01-01T00:30Z;-999\n2026-01-01T00:45Z;5\n"
    found = opened(tmp_path, text, meter="m", missing=("zero", "-999"))
    piece = next(found.pieces)
    assert list(piece.statuses) == [Status.GAP, Status.GAP, Status.GAP, Status.MEASURED]
    assert found.tally.missing == 3


def test_a_meter_is_found_by_id_name_serial_number_or_location(tmp_path: Path) -> None:
    names = ("p", "municipalities/town/meters/p", "de0001", "DE 0001")
    rows = [f"{name};2026-01-01T00:{15 * number:02d}Z;1\n" for number, name in enumerate(names)]
    assert len(read(tmp_path, "meter;time;kWh\n" + "".join(rows), meter="", meter_column="meter", stamp="end")) == 4


def test_a_serial_number_that_two_meters_claim_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("meter;time;kWh\n77;2026-01-01T00:00Z;1\n", encoding="utf-8")
    town = Directory([KnownMeter(f"municipalities/town/meters/{one}", aliases=("77",)) for one in ("a", "b")])
    found = open_readings(file, Declared(meter_column="meter"), town, time_zone="UTC")
    taken(found)
    assert found.tally.refusals[0].reason == "means a and b: say which in a mapping"


def test_a_meter_that_does_not_fit_keeps_the_others_of_its_file(tmp_path: Path) -> None:
    text = "meter;time;kWh\nt;2026-01-01T00:00Z;1\nm;2026-01-01T00:00Z;1\np;2026-01-01T00:00Z;1\n"
    found = opened(tmp_path, text, meter_column="meter")
    assert taken(found) == [("01 00:00", 1000)]
    assert [one.reason.partition(":")[0] for one in found.tally.refusals] == ["unit", "stamp"]


def test_lines_that_cannot_be_taken_are_named_and_the_others_are_taken(tmp_path: Path) -> None:
    text = (
        "meter;time;kWh\nx;2026-01-01T00:00Z;1\nm;yesterday;1\nm;2026-01-01T00:00Z;-1\nm;2026-01-01T00:00Z\n"
        "m;2026-01-01T00:00Z;1O\nm;2026-01-01T00:15Z;7\n"
    )
    found = opened(tmp_path, text, meter_column="meter")
    assert taken(found) == [("01 00:15", 7000)]
    assert [(one.line, one.column) for one in found.tally.refusals] == [
        (2, "meter"), (3, "time"), (4, "kWh"), (5, ""), (6, "kWh"),
    ]  # fmt: skip
    assert (found.tally.refused, found.tally.readings) == (5, 1)


def test_a_file_of_which_nothing_can_be_taken_is_given_up_early(tmp_path: Path) -> None:
    text = "time;kWh\n" + "yesterday;1\n" * 5_000
    with pytest.raises(InvalidInput, match="the first 1000 values are refused"):
        taken(opened(tmp_path, text, meter="m"))


def test_an_exchange_that_brought_another_unit_changes_the_factor_from_then_on(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("time;m3\n2026-01-01T00:00Z;1\n2026-02-01T00:00Z;1\n", encoding="utf-8")
    since = int(datetime(2026, 1, 15, tzinfo=UTC).timestamp() * 1000)
    meter = KnownMeter("municipalities/t/meters/g", "L", changes=((0, "L", 0), (since, "L", 3)))
    found = open_readings(file, Declared(meter="g"), Directory([meter]), time_zone="UTC")
    assert [value for _, value in taken(found)] == [1000, 1]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real meters are not at {REAL}")
@pytest.mark.parametrize(("name", "readings"), [("example.csv", 480), ("example-missing-half-hours.csv", 526)])
def test_exports_of_british_schools_are_read_as_they_are(name: str, readings: int) -> None:
    numbers = {"1710035168313": "s"}
    town = Directory([KnownMeter("municipalities/t/meters/s", kind=Kind.INTERVAL, step=Step.HALF_HOUR)])
    series = tuple(Series(name=name, meter=meter) for name, meter in numbers.items())
    declared = Declared(meter_column="MPR", stamp="end", series=series)
    found = open_readings(REAL / "amr_exports" / name, declared, town, time_zone="Europe/London")
    values = taken(found)
    assert found.tally.lines == readings
    assert values[0] == ("25 23:30", 14_400)
    assert len(values) == 48
    assert found.tally.by_reason == {"is no meter of the town": readings - 48}


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real meters are not at {REAL}")
def test_four_real_years_stay_intervals_and_their_zeros_are_gaps() -> None:
    town = Directory([KnownMeter("municipalities/t/meters/e", kind=Kind.INTERVAL, step=Step.HOUR)])
    declared = Declared(value_column="electricity", meter="e", unit="kWh", stamp="start", missing=("zero",))
    found = open_readings(REAL / "cambridge/ucam_b4_hourly_2017_2020.csv", declared, town, time_zone="Europe/Berlin")
    values = taken(found)
    assert len(values) == 35_064
    assert (values[0], values[-1]) == (("01 01:00", 5_700), ("01 00:00", 8_400))
    assert found.tally.missing == 46


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real meters are not at {REAL}")
@pytest.mark.parametrize(
    ("name", "step", "zone", "lines", "slots"),
    [
        ("il-electricity-cdd-hdd-hourly.csv.gz", Step.HOUR, "America/Chicago", 19_417, 19_417),
        ("il-electricity-cdd-hdd-daily.csv.gz", Step.DAY, "-06:00", 810, 809),  # the last day has no value
        # Once a month a midnight stands there twice, with the same value.
        ("uk-electricity-hdd-only-hourly-sample-1.csv.gz", Step.HALF_HOUR, "UTC", 22_536, 22_521),
    ],
)
def test_samples_of_meters_are_read_gzipped(name: str, step: Step, zone: str, lines: int, slots: int) -> None:
    town = Directory([KnownMeter("municipalities/t/meters/e", kind=Kind.INTERVAL, step=step)])
    declared = Declared(meter="e", unit="kWh", stamp="start", time_zone=zone)
    found = open_readings(REAL / "eemeter_samples" / name, declared, town, time_zone="Europe/Berlin")
    assert len({slot for piece in found.pieces for slot in piece.slots}) == slots
    assert (found.tally.lines, found.tally.refused) == (lines, 0)
