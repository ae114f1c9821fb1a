"""Readings from long tables: zones, clock changes, units, kinds come out right, and what is wrong is named."""

from __future__ import annotations

import gzip
import os
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from cli.importing.readings.collect import Piece
from cli.importing.readings.declared import Declared, Series, read_mapping
from cli.importing.readings.known import Directory, Kind, KnownMeter, Status, Step
from cli.importing.readings.reader import ReadingsFile, open_readings
from cli.importing.readings.stamps import Stamps, parse_time, zone_of
from domain.errors import InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb

REAL = Path(os.environ.get("LICHTBUCH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "meters"
COUNTER = KnownMeter("municipalities/town/meters/m")
PROFILE = KnownMeter("municipalities/town/meters/p", kind=Kind.INTERVAL, aliases=("DE 0001",))
HOURS = KnownMeter("municipalities/town/meters/h", kind=Kind.INTERVAL, step=Step.HOUR)
SENSOR = KnownMeter("municipalities/town/meters/t", "CELSIUS", Kind.INSTANT, -2, None)
TOWN = Directory([COUNTER, PROFILE, HOURS, SENSOR])


def opened(tmp_path: Path, text: str | bytes, **declared: Any) -> ReadingsFile:
    file = tmp_path / "readings.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return open_readings(file, Declared().with_options(**declared), TOWN, time_zone="Europe/Berlin")


def taken(found: ReadingsFile) -> list[tuple[str, int]]:
    """(UTC as day, hour and minute, value) of all readings."""
    return [
        (datetime.fromtimestamp(slot / 1000, UTC).strftime("%d %H:%M"), value)
        for piece in found.pieces
        for slot, value in zip(piece.slots, piece.values, strict=True)
    ]


def read(tmp_path: Path, text: str | bytes, **declared: Any) -> list[tuple[str, int]]:
    found = opened(tmp_path, text, **{"meter": "m", "unit": "kWh", **declared})
    values = taken(found)
    assert not found.tally.refusals
    return values


def refusals(tmp_path: Path, text: str, **declared: Any) -> list[tuple[int, str, str]]:
    found = opened(tmp_path, text, **{"meter": "m", "unit": "kWh", **declared})
    taken(found)
    return [(one.line, one.column, one.reason) for one in found.tally.refusals]


def test_statuses_and_kinds_are_numbered_as_the_contract_numbers_them() -> None:
    for status in Status:
        assert int(pb.ReadingStatus.Value(f"READING_STATUS_{status.name}")) == status
    for kind in Kind:
        assert int(pb.ReadingKind.Value(f"READING_KIND_{kind.name}")) == kind


# --- times -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31 13:05", "2026-01-31T13:05:00", "31.01.2026 13:05", "31.1.26 13:05:00", "31/01/2026 13:05",
        "31 Jan 2026 13:05:00", "31-Jan-2026 13:05", "31. Januar 2026 13:05", "202601311305",
        "2026/01/31 13:05",
    ],
)  # fmt: skip
def test_times_are_read_as_people_write_them(text: str) -> None:
    assert parse_time(text) == datetime(2026, 1, 31, 13, 5)


def test_24_o_clock_is_the_next_midnight() -> None:
    assert parse_time("31.12.2025 24:00") == datetime(2026, 1, 1)


@pytest.mark.parametrize("text", ["31.02.2026 00:00", "13/31/2026 00:00", "yesterday", "01.01.2026 25:00", "7"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        parse_time(text)


def test_the_month_comes_first_only_where_it_is_declared(tmp_path: Path) -> None:
    text = "time,kWh\n02/03/2026 01:00 PM,1\n"
    assert read(tmp_path, text, time_format="%m/%d/%Y %I:%M %p") == [("03 12:00", 1000)]


def test_the_hour_that_autumn_repeats_is_two_hours(tmp_path: Path) -> None:
    text = "time;kWh\n25.10.2026 01:45;1\n25.10.2026 02:30;2\n25.10.2026 02:30;3\n25.10.2026 03:00;4\n"
    assert read(tmp_path, text) == [("24 23:45", 1000), ("25 00:30", 2000), ("25 01:30", 3000), ("25 02:00", 4000)]


def test_the_repeated_hour_is_told_apart_in_a_file_that_runs_backwards() -> None:
    stamps = Stamps(zone_of("Europe/Berlin"))
    times = ["03:00", "02:45", "02:30", "02:15", "02:00", "02:45", "02:30", "02:15", "02:00", "01:45"]
    instants = [stamps.unix_ms(f"25.10.2026 {time}", "m") for time in times]
    assert [(before - after) // 60_000 for before, after in pairwise(instants)] == [15] * 9


def test_each_meter_has_its_own_repeated_hour() -> None:
    stamps = Stamps(zone_of("Europe/Berlin"))
    both = [[stamps.unix_ms("25.10.2026 02:30", meter) for meter in ("a", "b")] for _ in range(2)]
    assert both[0][0] == both[0][1]
    assert both[1][0] == both[1][1] == both[0][0] + 3_600_000


def test_a_whole_autumn_day_of_quarter_hours_has_a_hundred_slots_whatever_the_stamp() -> None:
    for end in (False, True):
        stamps = Stamps(zone_of("Europe/Berlin"), of_ends=end)
        clock = [f"{hour:02d}:{minute:02d}" for hour in (0, 1, 2, 2, *range(3, 24)) for minute in (0, 15, 30, 45)]
        found = [stamps.unix_ms(f"25.10.2026 {time}", "m") for time in clock]
        assert len(set(found)) == 100
        assert found == sorted(found)


QUARTERS = [f"{hour:02d}:{minute:02d}" for hour in range(24) for minute in (0, 15, 30, 45)]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("clock", "minutes"),
    [
        ([*QUARTERS[1:13], *QUARTERS[9:], "24:00"], 15),
        ([*QUARTERS[1:12], *QUARTERS[8:], "24:00"], 15),
        ([*QUARTERS[2:13:2], *QUARTERS[10::2], "24:00"], 30),
        (["01:00", "02:00", "03:00", "03:00", *QUARTERS[16::4], "24:00"], 60),
        (["01:00", "02:00", "02:00", "03:00", *QUARTERS[16::4], "24:00"], 60),
    ],
)
def test_the_first_pass_of_autumn_s_hour_may_end_at_two_or_at_three(
    tmp_path: Path, clock: list[str], minutes: int, backwards: bool
) -> None:
    meter = KnownMeter(
        "municipalities/t/meters/e",
        kind=Kind.INTERVAL,
        step={15: Step.QUARTER_HOUR, 30: Step.HALF_HOUR}.get(minutes, Step.HOUR),
    )
    file = tmp_path / "autumn.csv"
    rows = [f"25.10.2026 {time};{number}\n" for number, time in enumerate(clock, start=1)]
    later = f"26.10.2026 0{minutes // 60}:{minutes % 60:02d};{len(clock) + 1}\n"
    rows = [*reversed([*rows, later])] if backwards else [*rows, later]
    file.write_text("time;Wh\n" + "".join(rows), encoding="utf-8")
    found = open_readings(file, Declared(meter="e", stamp="end"), Directory([meter]), time_zone="Europe/Berlin")
    midnight = datetime(2026, 10, 24, 22, tzinfo=UTC)
    assert sorted(taken(found)) == sorted(
        ((midnight + timedelta(minutes=minutes * number)).strftime("%d %H:%M"), number)
        for number in range(1, len(clock) + 2)
    )


def test_a_file_that_leaves_out_the_second_pass_goes_on_at_three(tmp_path: Path) -> None:
    text = "".join(f"25.10.2026 {time};1\n" for time in ("02:15", "02:30", "02:45", "03:00", "03:15"))
    values = read(tmp_path, "time;Wh\n" + text, meter="p", unit="Wh", stamp="end")
    assert [time for time, _ in values] == ["25 00:15", "25 00:30", "25 00:45", "25 02:00", "25 02:15"]


def test_the_hour_that_spring_skips_is_refused(tmp_path: Path) -> None:
    reason = "does not exist: the clock skips it in spring"
    assert refusals(tmp_path, "time;kWh\n29.03.2026 02:30;1\n") == [(2, "time", reason)]


def test_an_interval_may_end_at_the_instant_of_the_change_by_the_clock_before_it(tmp_path: Path) -> None:
    text = "time;kWh\n29.03.2026 02:00;1\n29.03.2026 03:15;2\n"
    assert read(tmp_path, text, meter="p", stamp="end") == [("29 01:00", 1000), ("29 01:15", 2000)]


@pytest.mark.parametrize(
    ("zone", "time", "utc"),
    [
        ("UTC", "29.03.2026 02:30", "29 02:30"),
        ("+01:00", "01.07.2026 12:00", "01 11:00"),
        ("", "2026-07-01T12:00:00+02:00", "01 10:00"),
        ("", "01.07.2026 12:00 MEZ", "01 11:00"),
        ("", "01.07.2026 12:00", "01 10:00"),
    ],
)
def test_times_are_in_the_zone_that_is_said(tmp_path: Path, zone: str, time: str, utc: str) -> None:
    assert read(tmp_path, f"time;kWh\n{time};1\n", time_zone=zone) == [(utc, 1000)]


def test_a_column_of_utc_is_utc(tmp_path: Path) -> None:
    assert read(tmp_path, "datetime_utc,kWh\n 2026-07-01 12:00:00,1\n") == [("01 12:00", 1000)]


def test_day_and_time_may_be_two_columns(tmp_path: Path) -> None:
    text = "Datum;Uhrzeit;kWh\n01.01.2026;00:15;1\n01.01.2026;24:00;2\n"
    assert read(tmp_path, text) == [("31 23:15", 1000), ("01 23:00", 2000)]


# --- kinds, stamps, steps ----------------------------------------------------------------------------------


def test_intervals_stay_intervals_and_stand_at_their_end(tmp_path: Path) -> None:
    text = "time;kWh\n2026-01-01T00:00Z;1\n2026-01-01T00:15Z;2\n"
    assert read(tmp_path, text, meter="p", stamp="start") == [("01 00:15", 1000), ("01 00:30", 2000)]
    assert read(tmp_path, text, meter="p", stamp="end") == [("01 00:00", 1000), ("01 00:15", 2000)]


def test_an_interval_whose_stamp_nobody_declared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="start or the end"):
        read(tmp_path, "time;kWh\n2026-01-01T00:00Z;1\n", meter="p")


def test_a_stamp_shifts_no_counter(tmp_path: Path) -> None:
    assert read(tmp_path, "time;kWh\n2026-01-01T00:00Z;1\n", stamp="start") == [("01 00:00", 1000)]


@pytest.mark.parametrize(("meter", "values"), [("m", "interval"), ("p", "counter"), ("t", "counter")])
def test_a_file_of_another_kind_than_the_meter_is_refused_as_a_whole(tmp_path: Path, meter: str, values: str) -> None:
    with pytest.raises(InvalidInput, match="a meter of the other kind is needed"):
        read(tmp_path, "time;kWh\n2026-01-01T00:00Z;1\n", meter=meter, values=values, stamp="end")


def test_intervals_of_another_length_than_the_meter_has_are_refused_as_a_whole(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="intervals of 1h, the file has some of 15m"):
        read(tmp_path, "time;kWh\n2026-01-01T00:00Z;1\n", meter="h", stamp="end", step="15m")


def test_power_times_its_interval_is_energy(tmp_path: Path) -> None:
    text = "time;kW\n2026-01-01T00:15Z;2,5\n"
    assert read(tmp_path, text, meter="p", unit="kW", stamp="end") == [("01 00:15", 625)]
    assert read(tmp_path, text, meter="h", unit="kW", stamp="end") == [("01 00:15", 2500)]


def test_power_is_no_counter(tmp_path: Path) -> None:
    assert "only over an interval" in refusals(tmp_path, "time;kW\n2026-01-01T00:15Z;2,5\n", unit="kW")[0][2]


@pytest.mark.parametrize(
    ("step", "start", "end"),
    [
        (Step.DAY, "2026-03-29", "29 22:00"),
        (Step.DAY, "2026-10-25", "25 23:00"),
        (Step.MONTH, "2025-12-01", "31 23:00"),
        (Step.YEAR, "2025-01-01", "31 23:00"),
    ],
)
def test_days_months_and_years_are_local_ones(tmp_path: Path, step: Step, start: str, end: str) -> None:
    file = tmp_path / "days.csv"
    file.write_text(f"date;kWh\n{start};1\n", encoding="utf-8")
    town = Directory([KnownMeter("municipalities/town/meters/d", kind=Kind.INTERVAL, step=step)])
    declared = Declared(meter="d", stamp="start", unit="kWh")
    assert taken(open_readings(file, declared, town, time_zone="Europe/Berlin")) == [(end, 1000)]


def test_a_stamp_near_a_quarter_hour_is_taken_for_it_only_within_what_is_declared(tmp_path: Path) -> None:
    text = "time;kWh\n2026-01-01T00:15:07Z;1\n"
    assert "not on a quarter hour" in refusals(tmp_path, text)[0][2]
    found = opened(tmp_path, text, meter="m", unit="kWh", tolerance_s=30)
    piece = next(found.pieces)
    assert [(piece.observed[0] - piece.slots[0]) // 1000, piece.values[0]] == [7, 1000]


# --- units and numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "value"), [("Wh", 1234), ("kWh", 1_234_000), ("MWh", 1_234_000_000)])
def test_units_are_converted_exactly(tmp_path: Path, unit: str, value: int) -> None:
    assert read(tmp_path, "time;value\n2026-01-01T00:00Z;1234\n", unit=unit) == [("01 00:00", value)]


def test_a_unit_that_the_meter_does_not_count_in_is_refused_as_a_whole(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="counts Wh, which m3 is not"):
        read(tmp_path, "time;value\n2026-01-01T00:00Z;1\n", unit="m3")


def test_a_unit_that_nothing_says_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nothing says the unit"):
        read(tmp_path, "time;value\n2026-01-01T00:00Z;1\n", unit="")


def test_a_temperature_may_be_below_zero_and_an_amount_may_not(tmp_path: Path) -> None:
    text = "time;value\n2026-01-01T00:00Z;-3,25\n"
    assert read(tmp_path, text, meter="t", unit="°C") == [("01 00:00", -325)]
    assert refusals(tmp_path, text) == [(2, "value", "must be 0 or more")]


def test_digits_that_the_meter_does_not_store_are_rounded_and_counted(tmp_path: Path) -> None:
    found = opened(tmp_path, "time;kWh\n2026-01-01T00:00Z;1,2345\n2026-01-01T00:15Z;1,2355\n", meter="m")
    assert [value for _, value in taken(found)] == [1234, 1236]
    assert found.tally.rounded == 2


# --- qualities, missing values, meters ---------------------------------------------------------------------


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


# --- mapping -----------------------------------------------------------------------------------------------


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


# --- files -------------------------------------------------------------------------------------------------


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


# --- real files --------------------------------------------------------------------------------------------


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
