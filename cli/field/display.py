"""Batches and outcomes as rows: exact ones for programs, in the engineer's units for people."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from cli.output import enum_word
from fieldbus.profile import Profile
from fieldbus.values import PointAddress, Quality, TimeSource, ValueBatch, WriteResult, from_unix_ms
from fieldbus.vocabulary import Point, PointType

Row = dict[str, Any]

# What a display or a data sheet shows, and how many of ours make one of it.
_SHOWN: Final[Mapping[str, tuple[str, float]]] = {
    "permille": ("%", 10),
    "Wh": ("kWh", 1000),
    "varh": ("kvarh", 1000),
    "VAh": ("kVAh", 1000),
    "degC": ("°C", 1),
}
_SECONDS_PER_HOUR: Final = 3600
_EMPTY_INDEXES_SHOWN: Final = 3  # a gap in a line is told gear by gear up to here


def value_of(point: Point, number: float, text: str | None) -> float | int | bool | str | None:
    """A value as JSON has it: None where there is none."""
    if text is not None:
        return text
    if math.isnan(number):
        return None
    if point.type is PointType.BOOLEAN:
        return bool(number)
    return int(number) if number.is_integer() else number


def value_rows(profile: Profile, batch: ValueBatch) -> list[Row]:
    """A batch as exact rows: point, value in the vocabulary's unit, quality, time and whose time it is."""
    rows = []
    for row, address in enumerate(batch.points):
        point = profile.points[address.point].point
        value = value_of(point, float(batch.values[row]), batch.texts.get(row))
        rows.append(
            {
                "point": address.point,
                "index": address.index,
                "value": value,
                "unit": point.unit,
                "label": point.label(float(value)) if point.labels and isinstance(value, (int, float)) else None,
                **seen(batch, row),
            }
        )
    return rows


def seen(batch: ValueBatch, row: int) -> Row:
    """Quality and time of a row."""
    return {
        "quality": Quality(int(batch.quality[row])).name.lower(),
        "observed_at": from_unix_ms(int(batch.observed_at[row])).isoformat(),
        "time_of": "device" if int(batch.time_source[row]) == TimeSource.DEVICE else "ours",
    }


def for_people(point: Point, value: float | int | bool | str | None) -> tuple[str, str]:
    """A value and its unit as a display shows them."""
    if value is None:
        return "-", ""
    if isinstance(value, str):
        return value, ""
    if point.type is PointType.BOOLEAN or point.labels:
        return point.label(float(value)), ""
    if point.unit == "permille":
        return ("as before", "") if value < 0 else (_number(value / 10), "%")
    if point.unit == "s" and point.type is PointType.COUNTER:
        return f"{value / _SECONDS_PER_HOUR:.1f}", "h"
    unit, divisor = _SHOWN.get(point.unit, (point.unit, 1))
    return _number(value / divisor if divisor != 1 else value), "" if unit == "1" else unit


def shown_rows(profile: Profile, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Exact rows as a person reads them, and a line for each run of numbers that have no value at all."""
    empty: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    by_index: defaultdict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        if row["index"] is not None:
            by_index[profile.points[row["point"]].scope.value, row["index"]].append(row)
    for (scope, index), group in by_index.items():
        if all(row["value"] is None for row in group):
            empty[scope, group[0]["quality"]].append(index)
    hidden = {
        (scope, index) for (scope, _), where in empty.items() if len(where) > _EMPTY_INDEXES_SHOWN for index in where
    }
    shown: list[Row] = []
    for row in rows:
        binding = profile.points[row["point"]]
        if row["index"] is not None and (binding.scope.value, row["index"]) in hidden:
            continue
        value, unit = for_people(binding.point, row["value"])
        shown.append(
            {
                "point": str(PointAddress(row["point"], row["index"])),
                "value": value,
                "unit": unit,
                "quality": row["quality"],
                "time": local_time(row["observed_at"]),
                "by": "device" if row["time_of"] == "device" else "our clock",
            }
        )
    lines = [
        f"{scope} {runs(where)}: no value ({quality})"
        for (scope, quality), where in empty.items()
        if len(where) > _EMPTY_INDEXES_SHOWN
    ]
    return shown, lines


def runs(indexes: Sequence[int]) -> str:
    """Numbers as people write them: 0-3, 7."""
    parts: list[list[int]] = []
    for index in sorted(indexes):
        if parts and index == parts[-1][1] + 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


def result_rows(results: Sequence[WriteResult]) -> list[Row]:
    """Outcomes as exact rows."""
    return [
        {
            "point": result.address.point,
            "index": result.address.index,
            "outcome": enum_word(result.outcome.value, ""),
            "written": None if math.isnan(result.written) else result.written,
            "read_back": None if math.isnan(result.read_back) else result.read_back,
            "reason": result.reason,
        }
        for result in results
    ]


def shown_results(profile: Profile, results: Sequence[WriteResult]) -> list[Row]:
    """Outcomes as a person reads them."""
    shown = []
    for result in results:
        point = profile.points[result.address.point].point
        written = " ".join(for_people(point, value_of(point, result.written, None)))
        read_back = " ".join(for_people(point, value_of(point, result.read_back, None)))
        shown.append(
            {
                "point": str(result.address),
                "outcome": result.outcome.value,
                "written": written.strip(),
                "read_back": read_back.strip(),
                "reason": result.reason or "-",
            }
        )
    return shown


def local_time(iso: str) -> str:
    """An instant in the laptop's time zone."""
    return f"{datetime.fromisoformat(iso).astimezone():%Y-%m-%d %H:%M:%S}"


def _number(value: float) -> str:
    """Up to three decimals, thousands set off: a counter is compared with a display by eye."""
    if abs(value) < 1 and value != 0:
        return f"{value:.4g}"
    return f"{value:,.3f}".rstrip("0").rstrip(".").replace(",", " ")
