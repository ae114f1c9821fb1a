"""Times of files of readings: zones, both odd days and every way of writing come out as the right instants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from cli.importing.readings.declared import Declared
from cli.importing.readings.known import Directory, Kind, KnownMeter, Step
from cli.importing.readings.reader import open_readings
from cli.importing.readings.stamps import Stamps, parse_time, zone_of
from tests.cli.reading_tables import read, refusals, taken


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
