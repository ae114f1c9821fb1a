"""Writes the tables of field points in docs/points.md from the vocabulary itself, or checks that they agree.

    python tools/points_table.py [--check]

What a point is called, counts and means is said once, in fieldbus/vocabulary/.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from fieldbus.vocabulary import COUNTER_MAX, TRADES, Direction, Point, PointType

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "points.md"
BEGIN, END = "<!-- points: made by tools/points_table.py -->", "<!-- end of points -->"
HEADER = ["| Point | Unit | Type | Of | Access | Range | Meaning | Haystack |", "|---|---|---|---|---|---|---|---|"]
_ACCESS = {Direction.READ: "read", Direction.WRITE: "write", Direction.READ_WRITE: "read, write"}


def number(value: float) -> str:
    """A limit as people write it."""
    return f"{value:,.0f}".replace(",", " ") if value == int(value) else f"{value:g}"


def range_of(point: Point) -> str:
    """What a value may be; empty where the type says it all."""
    if point.type in (PointType.BOOLEAN, PointType.TEXT):
        return ""
    if point.type is PointType.ENUM:
        return ", ".join(f"{value} {label}" for value, label in point.labels)
    if point.maximum == COUNTER_MAX:
        return "0 to 2^53 - 1"
    return f"{number(point.minimum)} to {number(point.maximum)}"


def row(point: Point) -> str:
    """One line of a table."""
    cells = (
        f"`{point.name}`",
        point.unit,
        point.type.value,
        point.scope.value,
        _ACCESS[point.direction],
        range_of(point),
        point.meaning,
        point.haystack,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def text() -> str:
    """All tables, one for each trade."""
    lines: list[str] = []
    for trade, points in TRADES.items():
        lines += [f"## {trade}", "", *HEADER, *(row(point) for point in points), ""]
    return "\n".join(lines).rstrip()


def renewed(document: str) -> str:
    """A document with its tables made anew. Raises SystemExit for one without a place for them."""
    found = re.search(f"{re.escape(BEGIN)}.*{re.escape(END)}", document, re.DOTALL)
    if found is None:
        raise SystemExit(f"{DOCUMENT.name}: the place of the points is not marked")
    return document[: found.start()] + f"{BEGIN}\n\n{text()}\n\n{END}" + document[found.end() :]


def main() -> None:
    """Write, or with --check say what differs and fail."""
    document = DOCUMENT.read_text(encoding="utf-8")
    if renewed(document) == document:
        print("docs/points.md agrees with the vocabulary")
    elif "--check" in sys.argv:
        raise SystemExit("docs/points.md differs from the vocabulary: run python tools/points_table.py")
    else:
        DOCUMENT.write_text(renewed(document), encoding="utf-8")


if __name__ == "__main__":
    main()
