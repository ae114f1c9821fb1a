"""The list of work as a table for spreadsheets: the same rows and the same file from the browser and the command line.

Pure: faults of the contract in, rows and CSV text out. Not here: how faults are asked for, and how people see them on a
page (faults.py, pages/faults_card.py).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from io import StringIO
from typing import Any, Final

from lichtbuch.lighting.v1 import faults_pb2

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet would work out."""


def kind_word(kind: faults_pb2.FaultKind.ValueType) -> str:
    """A kind of fault in words."""
    return _word(faults_pb2.FaultKind.Name(kind), "FAULT_KIND_")


def values_text(item: faults_pb2.Fault) -> str:
    """What was measured, and what it ought to have been."""
    if not item.HasField("measured_value"):
        return ""
    measured, expected = item.measured_value, item.expected_value if item.HasField("expected_value") else None
    match item.kind:
        case faults_pb2.FAULT_KIND_POWER_TOO_HIGH | faults_pb2.FAULT_KIND_POWER_TOO_LOW:
            return f"{measured:.1f} W" + ("" if expected is None else f" instead of {expected:.1f} W")
        case faults_pb2.FAULT_KIND_DIMMING_FAILURE:
            return f"{measured / 10:g} %" + ("" if expected is None else f" instead of {expected / 10:g} %")
        case faults_pb2.FAULT_KIND_RELAY_FAILURE:
            return "closed instead of open" if measured else "open instead of closed"
        case faults_pb2.FAULT_KIND_CYCLING:
            return f"{measured:.0f} times in an hour"
        case faults_pb2.FAULT_KIND_GEAR_UNADDRESSED:
            return f"{measured:.0f} without an address"
        case _:
            return f"{measured:g}"


def fault_row(item: faults_pb2.Fault, tz: tzinfo) -> dict[str, Any]:
    """A fault as a row; instants in the town's local time."""

    def local(field: str) -> datetime | None:
        return getattr(item, field).ToDatetime(tzinfo=UTC).astimezone(tz) if item.HasField(field) else None  # type: ignore[arg-type]

    placed = item.HasField("position")
    return {
        "fault": item.name.rsplit("/", 1)[-1],
        "street": item.street,
        "pole": item.pole,
        "subject": "/".join(item.subject.rsplit("/", 2)[-2:]),
        "cabinet": item.cabinet.rsplit("/", 1)[-1],
        "kind": kind_word(item.kind),
        "seen": values_text(item) or item.text,
        "raised": local("raised_at"),
        "last_seen": local("last_seen_at"),
        "cleared": local("cleared_at"),
        "why_cleared": _word(faults_pb2.FaultEnd.Name(item.end), "FAULT_END_") if item.end else "",
        "acknowledged": local("acknowledged_at"),
        "acknowledged_by": item.acknowledged_by,
        "note": item.acknowledgement_note,
        "by_hand": item.by_hand,
        "reported_by": item.reported_by,
        "latitude": round(item.position.latitude_deg, 6) if placed else None,
        "longitude": round(item.position.longitude_deg, 6) if placed else None,
    }


def faults_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows of `fault_row` as CSV text."""
    headings = list(fault_row(faults_pb2.Fault(), UTC))
    return csv_text(headings, ([row[heading] for heading in headings] for row in rows))


def csv_text(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table for spreadsheets, with commas. What a spreadsheet would take for a formula is made a text."""
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(headings)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower().replace("_", " ")
