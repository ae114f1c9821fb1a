"""What values of files of readings are: counters and intervals, their stamps, lengths and units come out right."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.importing.readings.declared import Declared
from cli.importing.readings.known import Directory, Kind, KnownMeter, Step
from cli.importing.readings.reader import open_readings
from domain.errors import InvalidInput
from tests.cli.reading_tables import opened, read, refusals, taken


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
