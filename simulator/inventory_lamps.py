"""Reads lamps from an inventory CSV, as `lichtbuch import luminaires --offline --to` writes it. Reading only.

UTF-8, comma, decimal point, the field names as header. Any other form of file is the importer's business, not ours.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from domain.errors import InvalidInput, Violation
from domain.names import ID_PATTERN

REQUIRED = ("luminaire_id", "latitude", "longitude")
MOST_LUMINAIRES = 40_000
MOST_VIOLATIONS = 50
MOST_POWER_W = 5_000.0
MOST_TEXT_BYTES = 200
YES, NO = ("yes", "true", "1"), ("", "no", "false", "0")
_LIGHTING_CLASS = re.compile(r"M[1-6]|C[0-5]|P[1-7]")
_ID = re.compile(ID_PATTERN)
# What a spreadsheet would take for a formula has a quote in front in our CSV files.
_GUARDED = re.compile(r"'[=+\-@\t\r]")


@dataclass(frozen=True)
class InventoryLamp:
    """A lamp of an inventory; position in degrees, power in W, None or empty for unknown."""

    id: str
    latitude: float
    longitude: float
    street: str = ""
    lighting_class: str = ""
    floor_permille: int = 0
    crossing: bool = False
    installed_w: float | None = None
    previous_lamp_w: float | None = None
    previous_ballast_w: float | None = None
    half_night: bool = False


@dataclass(frozen=True)
class InventoryFile:
    """The lamps that have a position, and how many have none."""

    lamps: tuple[InventoryLamp, ...]
    without_position: int


def read_lamps(path: Path) -> InventoryFile:
    """Read an inventory. Raises InvalidInput naming line and column of what is wrong, the first fifty of it."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(csv.reader(file, strict=True), path.name)
    except OSError as error:
        raise InvalidInput.of(str(path), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput.of(str(path), f"is not UTF-8: {error.reason} at byte {error.start}") from error


def _read(reader: Iterator[list[str]], name: str) -> InventoryFile:
    header = [cell.strip() for cell in _next(reader) or []]
    missing = [Violation(f"line 1, column {field}", "is missing") for field in REQUIRED if field not in header]
    missing += [Violation(f"line 1, column {c}", "is there twice") for c in sorted(set(header)) if header.count(c) > 1]
    if missing:
        raise InvalidInput(f"{name} has not the header of an inventory", missing)
    lamps: list[InventoryLamp] = []
    violations: list[Violation] = []
    seen: dict[str, int] = {}
    without = 0
    while (cells := _next(reader)) is not None and len(violations) < MOST_VIOLATIONS:
        number: int = reader.line_num  # type: ignore[attr-defined]
        if not any(cells):
            continue
        line = _Line(number, header, cells)
        lamp = line.lamp()
        if seen.setdefault(line.id, number) != number and line.id:
            line.refuse("luminaire_id", f"{line.id!r} is the id of line {seen[line.id]} already")
        violations += line.violations
        without += not line.placed
        if lamp is not None and line.placed:
            lamps.append(lamp)
        if len(lamps) > MOST_LUMINAIRES:
            raise InvalidInput.of(
                f"line {number}", f"is one luminaire too many: at most {MOST_LUMINAIRES} are simulated"
            )
    if violations:
        raise InvalidInput(f"{name} is no inventory that can be simulated", violations[:MOST_VIOLATIONS])
    if not lamps:
        raise InvalidInput.of(name, f"holds no luminaire with a position ({without} without)")
    return InventoryFile(tuple(lamps), without)


def _next(reader: Iterator[list[str]]) -> list[str] | None:
    try:
        return next(reader, None)
    except csv.Error as error:
        number: int = reader.line_num  # type: ignore[attr-defined]
        raise InvalidInput.of(f"line {number}", f"is no CSV: {error}") from error


class _Line:
    """One line on its way to a lamp; collects everything that is wrong with it."""

    def __init__(self, number: int, header: list[str], cells: list[str]) -> None:
        self.number = number
        self.violations: list[Violation] = []
        self.cells: Mapping[str, str] = {c: v.strip() for c, v in zip(header, cells, strict=False)}
        self.id = self._text("luminaire_id")
        # A line that ends early lacks its last values; one that goes on has a comma that nobody quoted.
        if len(cells) > len(header):
            self.violations.append(Violation(f"line {number}", f"has {len(cells)} cells, the header {len(header)}"))
        self.placed = bool(self.cells.get("latitude") or self.cells.get("longitude"))

    def refuse(self, column: str, reason: str) -> None:
        self.violations.append(Violation(f"line {self.number}, column {column}", reason))

    def lamp(self) -> InventoryLamp | None:
        """The lamp, or None where something is wrong or its position is unknown."""
        if not _ID.fullmatch(self.id):
            self.refuse("luminaire_id", f"{self.id[:70]!r} is no id" if self.id else "is missing")
        latitude, longitude = self._number("latitude", -90, 90), self._number("longitude", -180, 180)
        if self.placed and not self.violations:
            for column, value in (("latitude", latitude), ("longitude", longitude)):
                if value is None:
                    self.refuse(column, "is missing, the other coordinate is there")
        lighting_class = self._text("lighting_class").upper()
        if lighting_class and not _LIGHTING_CLASS.fullmatch(lighting_class):
            self.refuse("lighting_class", "is no class of EN 13201 (M1..M6, C0..C5, P1..P7)")
        floor = self._number("floor_permille", 0, 1000) or 0.0
        if not floor.is_integer():
            self.refuse("floor_permille", "must be a whole number")
        lamp = InventoryLamp(
            id=self.id,
            latitude=latitude or 0.0,
            longitude=longitude or 0.0,
            street=self._text("street"),
            lighting_class=lighting_class,
            floor_permille=int(floor),
            crossing=self._flag("conflict_area"),
            installed_w=self._number("installed_power_w", 0, MOST_POWER_W) or None,
            previous_lamp_w=self._number("previous_lamp_power_w", 0, MOST_POWER_W) or None,
            previous_ballast_w=self._number("previous_ballast_power_w", 0, MOST_POWER_W),
            half_night=self._flag("previous_half_night"),
        )
        return None if self.violations or not self.placed else lamp

    def _text(self, column: str) -> str:
        text = self.cells.get(column, "")
        if len(text.encode()) > MOST_TEXT_BYTES:
            self.refuse(column, f"is longer than {MOST_TEXT_BYTES} bytes")
        return text[1:] if _GUARDED.match(text) else text

    def _number(self, column: str, low: float, high: float) -> float | None:
        text = self.cells.get(column, "")
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            self.refuse(column, f"{text[:40]!r} is no number from {low:g} to {high:g}")
            return None
        return value

    def _flag(self, column: str) -> bool:
        text = self.cells.get(column, "").lower()
        if text not in YES and text not in NO:
            self.refuse(column, f"{text[:40]!r} is neither yes nor no")
        return text in YES
