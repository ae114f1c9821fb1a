"""Load profiles for the tests: hours of a building, made up or from the archive of real ones."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from domain.intervals import Consumption, Flag
from domain.night import local_day_bounds
from services.metering.slot import to_ms

BERLIN = ZoneInfo("Europe/Berlin")
HOUR_MS = 3_600_000
SHARED = Path(os.environ.get("LICHTBUCH_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))


def steps(start_ms: int, amounts: list[int], length_ms: int = HOUR_MS) -> Consumption:
    """Measured steps in a row."""
    starts = start_ms + np.arange(len(amounts), dtype=np.int64) * length_ms
    amount = np.array(amounts, np.int64)
    measured = np.full(len(amounts), length_ms, np.int64)
    flags = np.full(len(amounts), Flag.MEASURED, np.uint8)
    return Consumption(starts, starts + length_ms, amount, np.zeros_like(amount), measured, flags)


def hours(first: date, days: int, rate: Callable[[datetime], int], tz: ZoneInfo = BERLIN) -> Consumption:
    """Hours of so many local days; `rate` tells the amount of an hour by its begin on the local clock."""
    start_ms = to_ms(local_day_bounds(first, tz)[0])
    end_ms = to_ms(local_day_bounds(first + timedelta(days=days), tz)[0])
    begins = range(start_ms, end_ms, HOUR_MS)
    return steps(start_ms, [rate(datetime.fromtimestamp(at / 1000, UTC).astimezone(tz)) for at in begins])


def without(whole: Consumption, first: int, last: int) -> Consumption:
    """The same with a gap over the rows first <= row < last: its amount is spread, nothing is measured."""
    measured, flag = whole.measured_ms.copy(), whole.flag.copy()
    estimated = whole.estimated_amount.copy()
    measured[first:last], flag[first:last] = 0, Flag.GAP
    estimated[first:last] = whole.amount[first:last]
    return Consumption(whole.starts_ms, whole.ends_ms, whole.amount, estimated, measured, flag)


def rows_of(path: str) -> list[dict[str, str]]:
    """Rows of a real file. Skips where the data is not there."""
    file = SHARED / path
    if not file.exists():
        pytest.skip(f"the real data is not here: {file}")
    with file.open(encoding="utf-8-sig", newline="") as opened:
        return list(csv.DictReader(opened))


def archive(building: str, column: str) -> Consumption:
    """A building of the Cambridge archive: hours of four years, in Wh. Zeros are missing values there: no coverage."""
    rows = rows_of(f"meters/cambridge/ucam_{building}_hourly_2017_2020.csv")
    amounts = [round(float(row[column] or 0) * 1000) for row in rows]
    start = datetime.fromisoformat(rows[0]["datetime_utc"].strip()).replace(tzinfo=UTC)
    whole = steps(to_ms(start), amounts)
    whole.measured_ms[whole.amount == 0] = 0
    return whole


def archive_means() -> dict[date, int]:
    """Daily mean temperatures beside the archive, in hundredths of a degree, by UTC day."""
    by_day: dict[date, list[float]] = {}
    for row in rows_of("meters/cambridge/bedford_weather_hourly_2017_2020.csv"):
        day = datetime.fromisoformat(row["datetime"].strip()).date()
        by_day.setdefault(day, []).append(float(row["air_temperature [degC]"]))
    return {day: round(sum(values) / len(values) * 100) for day, values in by_day.items() if len(values) == 24}


def between(whole: Consumption, first: date, end: date, tz: ZoneInfo) -> Consumption:
    """The steps of the local days from `first` on and before `end`."""
    start_ms, end_ms = to_ms(local_day_bounds(first, tz)[0]), to_ms(local_day_bounds(end, tz)[0])
    rows = (whole.starts_ms >= start_ms) & (whole.ends_ms <= end_ms)
    return Consumption(
        whole.starts_ms[rows],
        whole.ends_ms[rows],
        whole.amount[rows],
        whole.estimated_amount[rows],
        whole.measured_ms[rows],
        whole.flag[rows],
    )
