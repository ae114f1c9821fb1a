"""Readings from files: zones, clock changes, units and intervals come out right."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.importing.readings import ReadingsFile, read_readings
from cli.importing.tables import Row, Table, read_table
from domain.errors import InvalidInput

REAL = Path(os.environ.get("LICHTBUCH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "meters"
PARENT = "municipalities/town"
METER = f"{PARENT}/meters/m"


def read(rows: list[tuple[str, str]], **arguments: object) -> ReadingsFile:
    table = Table(["time", "value"], [Row(number, {"time": t, "value": v}) for number, (t, v) in enumerate(rows, 2)])
    return read_readings(table, parent=PARENT, units={METER: "WH"}, meter="m", **arguments)  # type: ignore[arg-type]


def instants(found: ReadingsFile) -> list[str]:
    return [datetime.fromtimestamp(ms / 1000, UTC).strftime("%H:%M") for ms in found.slots_unix_ms]


def test_the_hour_that_autumn_repeats_is_two_hours() -> None:
    found = read(
        [("25.10.2026 01:45", "1"), ("25.10.2026 02:30", "2"), ("25.10.2026 02:30", "3"), ("25.10.2026 03:00", "4")]
    )
    assert instants(found) == ["23:45", "00:30", "01:30", "02:00"]
    assert found.values == [1000, 2000, 3000, 4000]


def test_the_hour_that_spring_skips_is_refused() -> None:
    found = read([("29.03.2026 02:30", "1")])
    assert "skips it in spring" in found.refusals[0].reason


@pytest.mark.parametrize(("unit", "value"), [("Wh", 1234), ("kWh", 1_234_000), ("MWh", 1_234_000_000)])
def test_units_are_converted_exactly(unit: str, value: int) -> None:
    assert read([("2026-01-01T00:00Z", "1234")], unit=unit).values == [value]


def test_a_unit_that_the_meter_does_not_count_in_is_refused() -> None:
    with pytest.raises(InvalidInput, match="m3"):
        read([("2026-01-01T00:00Z", "1")], unit="m3")


def test_intervals_are_added_up_without_losing_fractions() -> None:
    found = read([(f"2026-01-01T00:{minute:02d}Z", "0.0003333") for minute in (15, 30, 45)], interval=True)
    assert instants(found) == ["00:00", "00:15", "00:30", "00:45"]
    assert found.values == [0, 0, 1, 1]  # 0, 0.3333, 0.6666, 0.9999 Wh


def test_an_unknown_meter_and_a_wrong_number_are_refused_line_by_line() -> None:
    table = Table(["meter", "time", "value"], [
        Row(2, {"meter": "x", "time": "2026-01-01T00:00Z", "value": "1"}),
        Row(3, {"meter": "m", "time": "yesterday", "value": "1"}),
        Row(4, {"meter": "m", "time": "2026-01-01T00:00Z", "value": "-1"}),
    ])  # fmt: skip
    found = read_readings(table, parent=PARENT, units={METER: "WH"}, meter_column="meter")
    assert [(item.line, item.column) for item in found.refusals] == [(2, "meter"), (3, "time"), (4, "value")]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real meters are not at {REAL}")
def test_a_real_year_of_intervals_adds_up() -> None:
    table = read_table(REAL / "cambridge" / "ucam_b4_hourly_2017_2020.csv")
    found = read_readings(
        table, parent=PARENT, units={METER: "WH"}, meter="m", value_column="electricity", interval=True, stamp="start"
    )
    total = sum(round(float(row.cells["electricity"]) * 1000) for row in table.rows)
    assert not found.refusals
    assert found.values[-1] == total
    assert len(found.values) == len(table.rows) + 1
