"""What the rules find in real archives, held against a count that knows nothing of them."""

from __future__ import annotations

import csv
import os
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from services.metering.meter import Kind
from services.metering.slot import HOUR_MS, slot_text
from services.metering.validation.series import RuleFinding, Series
from services.metering.validation.table import check
from tests.services.metering.validation.making_series import Ints

ROOT = Path(__file__).resolve().parents[4]
METERS = Path(os.environ.get("LICHTBUCH_SHARED_DATA", ROOT.parent / "shared" / "data")) / "meters"


def rows_of(file: str) -> list[dict[str, str]]:
    path = METERS / file
    if not path.exists():
        pytest.skip(f"{file} is not here: set LICHTBUCH_SHARED_DATA to the folder that has meters/{file}")
    with path.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def stamps(texts: list[str]) -> Ints:
    return np.array([np.datetime64(text.replace(" ", "T").rstrip("Z"), "ms") for text in texts]).astype(np.int64)


def building(name: str, medium: str) -> Series:
    rows = rows_of(f"cambridge/ucam_{name}_hourly_2017_2020.csv")
    tenths = np.array([round(float(row[medium]) * 10) for row in rows], np.int64)
    return Series(Kind.INTERVAL, medium, stamps([row["datetime_utc"] for row in rows]), tenths, cycle_ms=HOUR_MS)


def told(found: list[RuleFinding], rule: str) -> list[tuple[str, str, int]]:
    return [(slot_text(one.first_slot_ms), slot_text(one.last_slot_ms), one.count) for one in found if one.rule == rule]


def zero_runs(series: Series) -> dict[str, int]:
    """Runs of zeros, by the slot they begin at: counted plainly, one value after the other."""
    runs: dict[str, int] = {}
    pairs = zip(series.slot_ms.tolist(), series.value.tolist(), strict=True)
    for is_zero, run in groupby(pairs, key=lambda pair: pair[1] == 0):
        if is_zero:
            slots = [slot for slot, _ in run]
            runs[slot_text(slots[0])] = len(slots)
    return runs


@pytest.mark.parametrize(
    ("name", "medium", "expected"),
    [
        ("b4", "electricity", [("2019-10-04T02:00Z", "2019-10-05T23:00Z", 46)]),
        ("b58", "electricity", [("2017-03-26T01:00Z", "2017-03-26T01:00Z", 1)]),
        (
            "b58",
            "gas",
            [("2017-11-18T10:00Z", "2017-12-31T23:00Z", 1_046), ("2018-06-04T01:00Z", "2018-06-04T23:00Z", 23)],
        ),
        (
            "b4",
            "gas",
            [
                ("2017-11-27T11:00Z", "2017-12-31T23:00Z", 829),
                ("2018-03-12T12:00Z", "2018-03-13T05:00Z", 18),
                ("2018-11-10T00:00Z", "2018-11-11T12:00Z", 37),
                ("2020-11-27T15:00Z", "2020-11-27T20:00Z", 6),
            ],
        ),
    ],
)
def test_the_zeros_that_stand_for_missing_values_are_found(
    name: str, medium: str, expected: list[tuple[str, str, int]]
) -> None:
    series = building(name, medium)
    found, doubtful = check(series)
    assert told(found, "zero") == expected
    runs = zero_runs(series)
    assert all(runs[first] == count for first, _, count in expected)
    assert int(doubtful.sum()) == sum(count for _, _, count in expected)


def test_a_boiler_that_is_off_in_summer_is_left_alone() -> None:
    runs = zero_runs(building("b4", "gas"))
    assert sum(runs.values()) == 10_575
    assert len(runs) == 145
    found, doubtful = check(building("b4", "gas"))
    assert int(doubtful.sum()) == 890
    assert not any(
        first.startswith(("2018-06", "2018-07", "2019-07", "2020-07")) for first, _, _ in told(found, "zero")
    )


def test_no_level_breaks_in_these_buildings_but_the_resolution_of_one_gas_series_does_twice() -> None:
    for name, medium in (("b4", "electricity"), ("b4", "gas"), ("b58", "electricity")):
        assert told(check(building(name, medium))[0], "unit_break") == []
    series = building("b58", "gas")
    found = [one for one in check(series)[0] if one.rule == "unit_break"]
    assert [slot_text(one.last_slot_ms) for one in found] == ["2018-01-01T00:00Z", "2018-06-05T00:00Z"]
    tenths = series.slot_ms[series.value % 10 != 0].tolist()
    assert (slot_text(tenths[0]), slot_text(tenths[-1])) == ("2018-01-01T00:00Z", "2018-06-04T00:00Z")


def test_a_year_of_that_gas_in_another_unit_is_found() -> None:
    series = building("b58", "gas")
    broken = series.slot_ms >= stamps(["2019-01-01T00:00"])[0]
    series.value[broken] *= 11
    found = [one for one in check(series)[0] if one.rule == "unit_break" and "level" in one.detail]
    assert len(found) == 1
    assert slot_text(found[0].last_slot_ms) in ("2019-01-01T00:00Z", "2019-01-01T01:00Z")
    assert "cubic metres and kWh" in found[0].detail


def test_a_clean_heat_meter_has_no_finding() -> None:
    rows = rows_of("danish_heat_hourly_sample.csv")
    slots = stamps([row["time_rounded"] for row in rows])
    for column in ("energy_heat_kwh", "volume_flow_m3"):
        values = np.array([int(float(row[column]) * 1000) for row in rows], np.int64)
        assert bool((np.diff(values) >= 0).all())
        assert bool((np.diff(slots) == HOUR_MS).all())
        found, doubtful = check(Series(Kind.COUNTER, "heat", slots, values, cycle_ms=HOUR_MS))
        assert found == []
        assert not doubtful.any()
