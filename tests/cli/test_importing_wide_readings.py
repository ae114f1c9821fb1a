"""Tables of a day in a row: numbered columns and columns of the clock, and both odd days in each habit."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.importing.readings.declared import Declared
from cli.importing.readings.known import Directory, Kind, KnownMeter, Status, Step
from cli.importing.readings.reader import ReadingsFile, open_readings
from domain.errors import InvalidInput

REAL = Path(os.environ.get("LICHTBUCH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "meters"
TOWN = Directory(
    [
        KnownMeter("municipalities/town/meters/q", kind=Kind.INTERVAL),
        KnownMeter("municipalities/town/meters/s", kind=Kind.INTERVAL, step=Step.HALF_HOUR),
        KnownMeter("municipalities/town/meters/h", kind=Kind.INTERVAL, step=Step.HOUR),
        KnownMeter("municipalities/town/meters/c"),
    ]
)
STEPS = {"q": 15, "s": 30, "h": 60}
SPRING, AUTUMN, PLAIN = "29.03.2026", "25.10.2026", "01.02.2026"


def opened(tmp_path: Path, header: list[str], rows: list[list[str]], **declared: Any) -> ReadingsFile:
    file = tmp_path / "days.csv"
    file.write_text("\n".join(";".join(row) for row in [header, *rows]) + "\n", encoding="utf-8")
    told = Declared().with_options(**{"unit": "Wh", **declared})
    return open_readings(file, told, TOWN, time_zone="Europe/Berlin")


def taken(found: ReadingsFile) -> dict[datetime, int]:
    """Values by the UTC end of their interval; gaps left out."""
    values: dict[datetime, int] = {}
    for piece in found.pieces:
        for slot, value, status in zip(piece.slots, piece.values, piece.statuses, strict=True):
            if status != Status.GAP:
                end = datetime.fromtimestamp(slot / 1000, UTC)
                assert end not in values
                values[end] = value
    return values


def sequence(first: datetime, count: int, minutes: int) -> dict[datetime, int]:
    """1, 2, 3 ... at the ends of consecutive intervals."""
    return {first + timedelta(minutes=minutes * number): number for number in range(1, count + 1)}


def counted(total: int, filled: int) -> list[str]:
    return [str(number) for number in range(1, filled + 1)] + [""] * (total - filled)


def numbered(prefix: str, count: int) -> list[str]:
    return ["Datum", *(f"{prefix}{number}" for number in range(1, count + 1))]


MIDNIGHTS = {
    PLAIN: datetime(2026, 1, 31, 23, tzinfo=UTC),
    SPRING: datetime(2026, 3, 28, 23, tzinfo=UTC),
    AUTUMN: datetime(2026, 10, 24, 22, tzinfo=UTC),
}


@pytest.mark.parametrize(("meter", "columns"), [("q", 96), ("q", 100), ("s", 48), ("s", 50), ("h", 24), ("h", 25)])
def test_a_plain_day_fills_its_columns(tmp_path: Path, meter: str, columns: int) -> None:
    usual = 1440 // STEPS[meter]
    found = opened(tmp_path, numbered("kWh_", columns), [[PLAIN, *counted(columns, usual)]], meter=meter)
    assert taken(found) == sequence(MIDNIGHTS[PLAIN], usual, STEPS[meter])
    assert not found.tally.refusals


@pytest.mark.parametrize(("meter", "columns", "real"), [("q", 96, 92), ("q", 100, 92), ("s", 48, 46), ("h", 24, 23)])
def test_a_spring_day_that_counts_its_intervals_leaves_the_last_ones_empty(
    tmp_path: Path, meter: str, columns: int, real: int
) -> None:
    found = opened(tmp_path, numbered("v", columns), [[SPRING, *counted(columns, real)]], meter=meter)
    assert taken(found) == sequence(MIDNIGHTS[SPRING], real, STEPS[meter])
    assert not found.tally.refusals


@pytest.mark.parametrize("blank", ["", "0", "0,000"])
@pytest.mark.parametrize(("meter", "columns", "per_hour"), [("q", 96, 4), ("s", 48, 2), ("h", 24, 1)])
def test_a_spring_day_by_the_clock_leaves_the_skipped_hour_empty(
    tmp_path: Path, meter: str, columns: int, per_hour: int, blank: str
) -> None:
    real = columns - per_hour
    values = counted(real, real)
    row = [SPRING, *values[: 2 * per_hour], *[blank] * per_hour, *values[2 * per_hour :]]
    found = opened(tmp_path, numbered("v", columns), [row], meter=meter)
    assert taken(found) == sequence(MIDNIGHTS[SPRING], real, STEPS[meter])
    assert not found.tally.refusals


def test_a_spring_day_with_a_value_for_every_column_is_refused(tmp_path: Path) -> None:
    found = opened(tmp_path, numbered("v", 48), [[SPRING, *counted(48, 48)]], meter="s")
    assert not taken(found)
    assert "in UTC or in winter time?" in found.tally.refusals[0].reason


def test_a_spring_day_that_shows_neither_habit_is_refused(tmp_path: Path) -> None:
    values = counted(48, 46)
    values[4:6] = ["", ""]
    found = opened(tmp_path, numbered("v", 48), [[SPRING, *values]], meter="s")
    assert not taken(found)
    assert "left out or left empty" in found.tally.refusals[0].reason


@pytest.mark.parametrize(("meter", "columns"), [("q", 100), ("s", 50), ("h", 25)])
def test_an_autumn_day_that_counts_its_intervals_has_an_hour_more(tmp_path: Path, meter: str, columns: int) -> None:
    found = opened(tmp_path, numbered("v", columns), [[AUTUMN, *counted(columns, columns)]], meter=meter)
    assert taken(found) == sequence(MIDNIGHTS[AUTUMN], columns, STEPS[meter])


def test_an_autumn_day_with_one_value_for_the_doubled_hour_keeps_the_rest(tmp_path: Path) -> None:
    found = opened(tmp_path, numbered("v", 48), [[AUTUMN, *counted(48, 48)]], meter="s")
    values = taken(found)
    whole = sequence(MIDNIGHTS[AUTUMN], 50, 30)
    ends = sorted(whole)
    assert values == {**{end: whole[end] for end in ends[:4]}, **{end: whole[end] - 2 for end in ends[8:]}}
    assert [(one.column, one.reason) for one in found.tally.refusals] == [
        (column, "comes twice in autumn, and the row has one value for it") for column in ("v5", "v6")
    ]


def test_columns_of_the_clock_may_double_the_hour_that_comes_twice(tmp_path: Path) -> None:
    clock = [f"{hour:02d}:{minute:02d}" for hour in (0, 1, 2, 2, *range(3, 24)) for minute in (0, 30)]
    whole = counted(48, 48)
    rows = [[AUTUMN, *counted(50, 50)], [PLAIN, *whole[:6], "", "", *whole[6:]]]
    found = opened(tmp_path, ["Datum", *clock], rows, meter="s", stamp="start")
    values = taken(found)
    assert values == {**sequence(MIDNIGHTS[AUTUMN], 50, 30), **sequence(MIDNIGHTS[PLAIN], 48, 30)}
    assert not found.tally.refusals


def test_columns_of_the_clock_say_which_pass_of_the_hour_they_are(tmp_path: Path) -> None:
    hours = ["00:00", "01:00", "02:00 A", "02:00 B", *(f"{hour:02d}:00" for hour in range(3, 24))]
    found = opened(tmp_path, ["Datum", *hours], [[AUTUMN, *counted(25, 25)]], meter="h", stamp="start")
    assert taken(found) == sequence(MIDNIGHTS[AUTUMN], 25, 60)


def test_columns_of_ends_end_with_midnight(tmp_path: Path) -> None:
    for last in ("24:00", "00:00"):
        clock = [f"{minute // 60:02d}:{minute % 60:02d}" for minute in range(30, 1440, 30)] + [last]
        found = opened(tmp_path, ["Datum", *clock], [[PLAIN, *counted(48, 48)]], meter="s")
        assert taken(found) == sequence(MIDNIGHTS[PLAIN], 48, 30)


def test_columns_that_begin_at_midnight_need_a_declaration_and_are_shifted_by_it(tmp_path: Path) -> None:
    clock = [f"{minute // 60:02d}:{minute % 60:02d}" for minute in range(0, 1440, 30)]
    table = (tmp_path, ["Datum", *clock], [[PLAIN, *counted(48, 48)]])
    with pytest.raises(InvalidInput, match="the start or the end"):
        opened(*table, meter="s")
    assert taken(opened(*table, meter="s", stamp="start")) == sequence(MIDNIGHTS[PLAIN], 48, 30)
    earlier = MIDNIGHTS[PLAIN] - timedelta(minutes=30)
    assert taken(opened(*table, meter="s", stamp="end")) == sequence(earlier, 48, 30)


def test_the_first_column_may_end_at_midnight_where_that_is_declared(tmp_path: Path) -> None:
    found = opened(tmp_path, numbered("kWh_", 48), [[PLAIN, *counted(48, 48)]], meter="s", first_ends="00:00")
    assert taken(found) == sequence(MIDNIGHTS[PLAIN] - timedelta(minutes=30), 48, 30)
    found = opened(tmp_path, numbered("kWh_", 50), [[AUTUMN, *counted(50, 50)]], meter="s", first_ends="00:00")
    assert taken(found) == sequence(MIDNIGHTS[AUTUMN] - timedelta(minutes=30), 50, 30)
    with pytest.raises(InvalidInput, match="00:00 or 00:30"):
        opened(tmp_path, numbered("kWh_", 48), [[PLAIN, *counted(48, 48)]], meter="s", first_ends="00:15")


def test_columns_of_ranges_are_what_they_say(tmp_path: Path) -> None:
    clock = [f"{hour:02d}:00 - {hour + 1:02d}:00" for hour in range(24)]
    found = opened(tmp_path, ["Tag", *clock], [[PLAIN, *counted(24, 24)]], meter="h")
    assert taken(found) == sequence(MIDNIGHTS[PLAIN], 24, 60)


def test_a_table_in_utc_has_no_odd_days(tmp_path: Path) -> None:
    rows = [[day, *counted(48, 48)] for day in (SPRING, AUTUMN)]
    values = taken(opened(tmp_path, numbered("v", 48), rows, meter="s", time_zone="UTC"))
    assert len(values) == 96
    assert values[datetime(2026, 3, 29, 1, tzinfo=UTC)] == 2


def test_mean_powers_of_a_day_are_energies(tmp_path: Path) -> None:
    found = opened(tmp_path, numbered("kW_", 96), [[PLAIN, *["2,4"] * 96]], meter="q", unit="kW")
    assert set(taken(found).values()) == {600}


def test_empty_cells_are_gaps_and_short_rows_too(tmp_path: Path) -> None:
    found = opened(tmp_path, numbered("v", 48), [[PLAIN, *counted(40, 39), "-"]], meter="s")
    assert len(taken(found)) == 39
    assert found.tally.missing == 9
    assert found.tally.readings == 48


def test_a_row_of_decimal_commas_between_commas_is_refused_and_not_shifted(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    header = ",".join(["Datum", *(f"v{number}" for number in range(1, 25))])
    file.write_text(f"{header}\n{PLAIN},{','.join(['1,5'] * 24)}\n", encoding="utf-8")
    found = open_readings(file, Declared(meter="h", unit="Wh"), TOWN, time_zone="Europe/Berlin")
    assert not taken(found)
    assert found.tally.refusals[0].reason == "has 49 cells where the header has 25"


def test_a_row_within_which_the_file_ends_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    rows = [";".join([day, *counted(24, 24)]) for day in (PLAIN, "02.02.2026")]
    text = "\n".join([";".join(numbered("v", 24)), *rows])
    file.write_text(text[:-12], encoding="utf-8")
    found = open_readings(file, Declared(meter="h", unit="Wh"), TOWN, time_zone="Europe/Berlin")
    assert len(taken(found)) == 24
    assert "is cut off" in found.tally.refusals[0].reason


def test_a_meter_of_counters_takes_no_day_of_intervals(tmp_path: Path) -> None:
    found = opened(tmp_path, numbered("v", 48), [[PLAIN, *counted(48, 48)]], meter="c", unit="kWh")
    assert not taken(found)
    assert "intervals, and the meter has none" in found.tally.refusals[0].reason


def test_of_several_groups_the_energy_is_taken_or_what_is_said(tmp_path: Path) -> None:
    header = ["MPAN", "Datum", *(f"kWh_{n}" for n in range(1, 49)), *(f"kVArh_{n}" for n in range(1, 49))]
    rows = [["s", PLAIN, *counted(48, 48), *["7"] * 48]]
    found = opened(tmp_path, header, rows, meter_column="MPAN", unit="")
    assert sorted(taken(found).values()) == [number * 1000 for number in range(1, 49)]
    assert found.tally.notes == ["passed over: kVArh1, ..."]
    found = opened(tmp_path, header, rows, meter_column="MPAN", unit="", value_column="kVArh_")
    assert not taken(found)
    assert found.tally.refusals[0].reason == "unit: s counts Wh, which kVArh is not"


def test_lines_without_a_day_or_a_known_meter_are_named(tmp_path: Path) -> None:
    header = ["MPAN", *numbered("kWh_", 48)]
    rows = [["s", "heute", *counted(48, 48)], ["x", PLAIN, *counted(48, 48)], ["s", PLAIN, *counted(48, 48)]]
    found = opened(tmp_path, header, rows, meter_column="MPAN")
    assert len(taken(found)) == 48
    assert [(one.line, one.reason) for one in found.tally.refusals] == [
        (2, "is no time"),
        (3, "is no meter of the town"),
    ]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real meters are not at {REAL}")
def test_the_export_of_a_british_council_is_read_as_it_is() -> None:
    half_hours = KnownMeter("municipalities/t/meters/2380000142498", kind=Kind.INTERVAL, step=Step.HALF_HOUR)
    found = open_readings(
        REAL / "amr_exports/sheffield_export.csv",
        Declared(meter_column="MPAN"),
        Directory([half_hours]),
        time_zone="Europe/London",
    )
    values = taken(found)
    assert found.layout == "wide"
    assert len(values) == 96
    assert values[datetime(2018, 11, 6, 0, 30, tzinfo=UTC)] == 3_620
    assert found.tally.by_reason == {"is no meter of the town": 22}
