"""Weather files: the DWD's own format, the real files, hourly values in any clock, and what is refused."""

from __future__ import annotations

import gzip
import os
from datetime import date
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cli.importing import tables
from cli.importing.tables import Table, read_table
from cli.importing.weather import WeatherFile, read_weather
from domain.errors import InvalidInput

BERLIN = ZoneInfo("Europe/Berlin")
_SHARED = Path(os.environ.get("LICHTBUCH_SHARED_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))

KLIMA_TAG = """STATIONS_ID;MESS_DATUM;QN_4; RSK;RSKF; SDK;SHK_TAG;  NM; VPM;  PM; TMK; UPM; TXK; TNK; TGK;eor
        232;20090101;   10;   0.1;   8;   0.0;   0;   7.8;   5.7;  968.5;  -1.1;  100.0;   0.8;  -5.4;  -5.2;eor
        232;20090102;   10;   0.0;   7;   0.0;   0;   7.4;   4.1;  967.9;-999.0;   89.0;  -1.8;  -7.4; -10.7;eor
        232;20090103;   10;   0.0;   0;   7.1;   0;   0.5;   3.2;  967.3;  -7.3;   92.0;  -2.2; -11.6; -14.4;eor
\x1a
"""


def table_of(tmp_path: Path, text: str) -> Table:
    path = tmp_path / "weather.txt"
    path.write_text(text, encoding="utf-8")
    return read_table(path)


def weather_of(tmp_path: Path, text: str, **options: object) -> WeatherFile:
    return read_weather(table_of(tmp_path, text), tz=BERLIN, **options)  # type: ignore[arg-type]


def shared(name: str) -> Table:
    path = _SHARED / name
    if not path.is_file():
        pytest.skip(f"{path} is not here: set LICHTBUCH_SHARED_DATA")
    return read_table(path)


def hourly(day: str, hours: int = 24, start: int = 0) -> list[str]:
    return [f"{day} {hour:02}:00:00,{hour}.5" for hour in range(start, start + hours)]


def refusals(found: WeatherFile) -> list[tuple[int, str, str, str]]:
    return [(one.line, one.column, one.reason, one.value) for one in found.refusals]


def test_the_daily_format_of_the_weather_service_is_read_as_it_comes(tmp_path: Path) -> None:
    found = weather_of(tmp_path, KLIMA_TAG)
    assert found.means == {date(2009, 1, 1): -110, date(2009, 1, 3): -730}
    assert (found.lines, found.missing, found.is_hourly, found.station) == (2, 1, False, "232")
    assert found.refusals == []


def test_ten_years_of_a_real_station() -> None:
    table = shared("weather/dwd_00232_augsburg_daily_2009_2018.csv")
    found = read_weather(table, tz=BERLIN)
    assert (len(found.means), found.lines, found.missing, found.refusals) == (3652, 3652, 0, [])
    assert not found.is_hourly
    for row in table.rows[::97]:
        assert found.means[date.fromisoformat(row.cells["MESS_DATUM"])] == int(Decimal(row.cells["TMK"]) * 100)


def test_hours_of_a_real_station_in_utc_become_local_days() -> None:
    table = shared("meters/cambridge/bedford_weather_hourly_2017_2020.csv")
    found = read_weather(table, tz=ZoneInfo("Europe/London"), times="utc")
    assert found.is_hourly
    assert found.refusals == []
    assert len(found.means) + len(found.thin) == 1461
    # 2017-01-01 is a winter's day: local hours are those of UTC, lines 2 to 25.
    first = [Decimal(row.cells["air_temperature [degC]"]) for row in table.rows[:24]]
    assert abs(Decimal(found.means[date(2017, 1, 1)]) - sum(first, Decimal(0)) * 100 / 24) <= Decimal("0.5")
    # A summer's day begins at 23:00 UTC of the day before.
    begin = next(n for n, row in enumerate(table.rows) if "2018-07-14 23:00" in row.cells["datetime"])
    summer = [Decimal(row.cells["air_temperature [degC]"]) for row in table.rows[begin : begin + 24]]
    assert abs(Decimal(found.means[date(2018, 7, 15)]) - sum(summer, Decimal(0)) * 100 / 24) <= Decimal("0.5")


def test_a_test_reference_year_is_put_into_the_year_that_is_wanted() -> None:
    table = shared("weather/try2010_07_kassel_hourly.csv")
    with pytest.raises(InvalidInput, match="year: the file has months"):
        read_weather(table, tz=BERLIN)
    found = read_weather(table, tz=BERLIN, year=2023)
    assert (len(found.means), found.thin, found.refusals) == (365, [], [])
    # In winter the town's days are those of the file.
    first = [Decimal(row.cells["t_air_C"]) for row in table.rows[:24]]
    assert abs(Decimal(found.means[date(2023, 1, 1)]) - sum(first, Decimal(0)) * 100 / 24) <= Decimal("0.5")
    leap = read_weather(table, tz=BERLIN, year=2024)
    assert date(2024, 2, 29) not in leap.means


def test_hourly_values_of_the_weather_service_are_in_utc(tmp_path: Path) -> None:
    lines = [f"232;201807{14 + (hour + 23) // 24:02}{(hour + 23) % 24:02};3;{hour}.0;50;eor" for hour in range(24)]
    found = weather_of(tmp_path, "\n".join(["STATIONS_ID;MESS_DATUM;QN_9;TT_TU;RF_TU;eor", *lines]))
    # 23:00 UTC is 01:00 in summer, so the first hour of the local day is missing and the last belongs to the next.
    assert found.is_hourly
    assert found.means == {date(2018, 7, 15): 1100}
    assert found.thin == [date(2018, 7, 16)]


@pytest.mark.parametrize(
    ("column", "times", "mean"), [("time", "", 1200), ("time", "utc", 1150), ("time_utc", "", 1150)]
)
def test_clock_times_are_local_unless_something_says_otherwise(
    tmp_path: Path, column: str, times: str, mean: int
) -> None:
    text = "\n".join([f"{column},temperature", *hourly("2024-01-10")])
    found = weather_of(tmp_path, text, times=times, time_column=column)
    assert found.means == {date(2024, 1, 10): mean}


def test_offsets_in_the_file_win_over_everything(tmp_path: Path) -> None:
    lines = [f"2024-01-10T{hour:02}:00:00+01:00,5" for hour in range(24)]
    found = weather_of(tmp_path, "\n".join(["time,temp", *lines]), times="utc")
    assert found.means == {date(2024, 1, 10): 500}


def test_days_of_23_and_25_hours_in_local_time(tmp_path: Path) -> None:
    spring = [f"2024-03-31 {hour:02}:00,10" for hour in range(24) if hour != 2]
    autumn = [f"2024-10-27 {hour:02}:00,10" for hour in (0, 1, 2)] + ["2024-10-27 02:00,35"]
    autumn += [f"2024-10-27 {hour:02}:00,10" for hour in range(3, 24)]
    found = weather_of(tmp_path, "\n".join(["zeit,temperatur", *spring, *autumn]))
    assert found.means == {date(2024, 3, 31): 1000, date(2024, 10, 27): 1100}
    assert found.refusals == []


def test_an_hour_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    found = weather_of(tmp_path, "\n".join(["zeit,temperatur", *hourly("2024-03-31")]))
    assert refusals(found) == [
        (4, "zeit", "does not exist: the clock skips it in spring", "2024-03-31 02:00:00"),
    ]


def test_spaces_around_times_and_values_do_not_matter(tmp_path: Path) -> None:
    lines = [f" 2024-01-10 {hour:02}:00:00 ,  5.0 " for hour in range(24)]
    found = weather_of(tmp_path, "\n".join([" datetime , air_temperature [degC] ", *lines]))
    assert (found.means, found.refusals) == ({date(2024, 1, 10): 500}, [])


def test_a_day_with_too_few_hours_is_told_and_left_out(tmp_path: Path) -> None:
    lines = [*hourly("2024-01-10", 21), *hourly("2024-01-11", 20)]
    found = weather_of(tmp_path, "\n".join(["zeit,temperatur", *lines]))
    assert list(found.means) == [date(2024, 1, 10)]
    assert found.thin == [date(2024, 1, 11)]


def test_daily_values_that_bear_a_midnight_are_daily_values(tmp_path: Path) -> None:
    lines = [f"2024-03-{day:02} 00:00:00,{day}" for day in range(29, 32)]
    found = weather_of(tmp_path, "\n".join(["zeit,temperatur", *lines]))
    assert not found.is_hourly
    assert found.means == {date(2024, 3, 29): 2900, date(2024, 3, 30): 3000, date(2024, 3, 31): 3100}


@pytest.mark.parametrize(
    ("header", "unit", "value", "centi"),
    [
        ("tempF", "", "50", 1000),
        ("temperature [degF]", "", "32", 0),
        ("temperature", "F", "14", -1000),
        ("temperature", "K", "283.15", 1000),
        ("temperature", "C", "-0,05", -5),
        ("temperature", "C", "0.005", 1),
    ],
)
def test_units_are_converted_exactly(tmp_path: Path, header: str, unit: str, value: str, centi: int) -> None:
    found = weather_of(tmp_path, f"date;{header}\n01.02.2024;{value}\n", unit=unit)
    assert found.means == {date(2024, 2, 1): centi}


def test_each_refusal_names_line_column_reason_and_value(tmp_path: Path) -> None:
    text = "\n".join(
        [
            "STATIONS_ID;MESS_DATUM;TMK",
            "232;20240101;5",
            "232;20240102;warm",
            "232;20240103;99",
            "232;20240230;5",
            "232;;5",
            "233;20240104;5",
            "232;20240101;6",
            "232;20240101;5.0",
            "232;20240105",
            "232;20240106;1e999999999",
        ]
    )
    found = weather_of(tmp_path, text)
    assert found.means == {date(2024, 1, 1): 500}
    assert refusals(found) == [
        (3, "TMK", "is no number", "warm"),
        (4, "TMK", "is no temperature of outdoor air", "99"),
        (5, "MESS_DATUM", "is no time", "20240230"),
        (6, "MESS_DATUM", "is missing", ""),
        (7, "STATIONS_ID", "is not station 232 of the lines before", "233"),
        (10, "", "ends after 2 of 3 cells", ""),
        (11, "TMK", "is no temperature of outdoor air", "1e999999999"),
        (8, "MESS_DATUM", "is the time of line 2 too, which has 5", "6"),
    ]


def test_a_line_without_a_time_of_day_among_hours_is_refused(tmp_path: Path) -> None:
    found = weather_of(tmp_path, "\n".join(["zeit,temperatur", *hourly("2024-01-10"), "2024-01-11,4"]))
    assert refusals(found) == [(26, "zeit", "has no time of day, and other lines have", "2024-01-11")]


@pytest.mark.parametrize(
    ("header", "options", "field"),
    [
        ("a,b", {}, "time_column"),
        ("date,b", {}, "temperature_column"),
        ("date,temp", {"time_column": "when"}, "time_column"),
        ("date,temp", {"temperature_column": "warmth"}, "temperature_column"),
        ("date,temp", {"unit": "R"}, "unit"),
        ("date,temp", {"times": "Mars/Olympus"}, "time_zone"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_as_a_whole(
    tmp_path: Path, header: str, options: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        weather_of(tmp_path, f"{header}\n2024-01-01,5\n", **options)
    assert caught.value.violations[0].field == field


def test_a_gzipped_file_is_read_as_it_is_and_a_broken_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "produkt_klima_tag.TXT.gz"
    packed = gzip.compress(KLIMA_TAG.encode())
    path.write_bytes(packed)
    assert read_weather(read_table(path), tz=BERLIN) == weather_of(tmp_path, KLIMA_TAG)
    for content, reason in (
        (packed[:-9], "cannot be read to its end"),
        (b"date;temp\n2024-01-01;5\n", "cannot be read to its end"),
        (gzip.compress(b" \n"), "is empty"),
        (gzip.compress(b"\x00" * 100), "is no text"),
    ):
        path.write_bytes(content)
        with pytest.raises(InvalidInput, match=reason):
            read_table(path)


def test_a_gzipped_file_that_would_fill_the_memory_or_is_an_archive_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_UNPACKED", 1 << 20)
    path = tmp_path / "weather.csv.gz"
    path.write_bytes(gzip.compress(b"date;temp\n" + b"2024-01-01;5\n" * 100_000))
    with pytest.raises(InvalidInput, match="unpacks to more than 1 MiB"):
        read_table(path)
    archive = tmp_path / "weather.xlsx.gz"
    archive.write_bytes(gzip.compress(b"PK"))
    with pytest.raises(InvalidInput, match="only texts are read gzipped"):
        read_table(archive)
