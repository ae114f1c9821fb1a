"""Rows into luminaires: every value checked, what cannot be taken refused with line, column, reason and value.

What only lighting knows (whether a model, feeder or gateway exists, whether an id is taken) is checked there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

import numpy as np

from cli.importing.coordinates import Positions, distance_km, to_wgs84
from cli.importing.mapping import ColumnMapping
from cli.importing.tables import Row, Table
from domain.errors import InvalidInput
from domain.names import ID_PATTERN
from domain.texts import control_character

LIGHTING_CLASS: Final = re.compile(r"M[1-6]|C[0-5]|P[1-7]")
MAX_POWER_W: Final = 5_000.0
MIN_POWER_W: Final = 1.0
MAX_ADDRESS: Final = 4_095
MAX_BURNING_HOURS: Final = 1_000_000
REDUCTIONS: Final = (
    "single command", "group command", "broadcast", "control phase", "half night conductor", "stored profile", "none",
)  # fmt: skip
"""Who reduces light, as files say it: the contract's kinds in words, numbered from 1 as there."""
YES: Final = frozenset({"1", "true", "yes", "ja", "j", "y", "x", "wahr"})
NO: Final = frozenset({"", "0", "false", "no", "nein", "n", "falsch", "-"})
LATIN: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss"})
_NUMBER: Final = re.compile(r"([+-]?[\d.,'\s]*\d)\s*([^\d\s]*)")
_DATE_FORMATS: Final = ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%d.%m.%y", "%Y%m%d", "%Y")


@dataclass(frozen=True)
class Refusal:
    """A value that could not be taken: the line, the column as the file calls it, why, and the value."""

    line: int
    column: str
    reason: str
    value: str = ""


@dataclass(frozen=True)
class LuminaireRow:
    """One luminaire as a file has it; units in the names, None for unknown."""

    line: int
    luminaire_id: str
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    pole: str = ""
    street: str = ""
    model: str = ""
    feeder: str = ""
    gateway: str = ""
    gateway_address: int | None = None
    group: str = ""
    lighting_class: str = ""
    floor_permille: int = 0
    conflict_area: bool = False
    installed_power_w: float | None = None
    previous_lamp_power_w: float | None = None
    previous_ballast_power_w: float | None = None
    previous_half_night: bool = False
    lamp_technology: str = ""
    installed_on: str = ""
    reduction: str = ""
    virtual_output_permille: int = 0
    initial_burning_hours: int = 0


@dataclass
class Inventory:
    """What a file holds: the luminaires that can be taken, and what was refused and noticed on the way."""

    rows: list[LuminaireRow] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    crs: str = ""
    parts: list[Any] = field(default_factory=list)
    """Models, cabinets, feeders and groups that the file tells of (parts.py)."""

    @property
    def refused_lines(self) -> int:
        """Number of lines refused; one line may have several refusals."""
        return len({refusal.line for refusal in self.refusals})


def read_inventory(
    table: Table,
    mapping: ColumnMapping,
    *,
    crs: str = "",
    near: tuple[float, float] | None = None,
    max_distance_km: float = 100.0,
) -> Inventory:
    """Luminaires of a table.

    `crs` names the coordinates' system, else the file's own or the one that the numbers fit. `near` is the town as
    (latitude, longitude) in degrees: lamps further than `max_distance_km` from it are refused, for their coordinates
    are most likely swapped or of another system; 0 switches that off. Raises InvalidInput where nothing can be told.
    """
    inventory = Inventory()
    numbers = [_Coordinates.of(row, mapping) for row in table.rows]
    positions = to_wgs84(
        np.array([pair.x for pair in numbers]), np.array([pair.y for pair in numbers]), crs or table.crs, near
    )
    inventory.crs = positions.crs
    if positions.guessed and numbers:
        inventory.notes.append(f"coordinates taken as {positions.crs}, from the size of their numbers")
    distances = _distances(positions, near if max_distance_km > 0 else None)
    renamed = 0
    seen: dict[str, int] = {}
    for index, row in enumerate(table.rows):
        line = _Line(row, mapping)
        if row.refusal:
            line.refuse("", row.refusal)
        line.refusals += numbers[index].refusals
        latitude, longitude = float(positions.latitude_deg[index]), float(positions.longitude_deg[index])
        if math.isfinite(numbers[index].x) and not math.isfinite(latitude):
            line.refuse("x", f"is no place on earth in {positions.crs}")
        if distances is not None and distances[index] > max_distance_km:
            line.refuse("x", f"lies {distances[index]:.0f} km from the town: swapped, or another coordinate system?")
        taken = line.luminaire(latitude, longitude)
        if taken is not None and taken.luminaire_id in seen:
            line.refuse("luminaire_id", f"is the id of line {seen[taken.luminaire_id]} already")
        if line.refusals or taken is None:
            inventory.refusals += line.refusals
            continue
        seen[taken.luminaire_id] = row.line
        renamed += taken.luminaire_id != mapping.text("luminaire_id", row)
        inventory.rows.append(taken)
    if renamed:
        inventory.notes.append(f"{renamed} ids were respelled: letters, digits and . _ ~ - are allowed in a name")
    without = sum(row.latitude_deg is None for row in inventory.rows)
    if without:
        inventory.notes.append(f"{without} luminaires have no position: the sun is computed for the town's")
    powerless = sum(not row.installed_power_w for row in inventory.rows)
    if powerless and "installed_power_w" in mapping.sources:
        inventory.notes.append(f"{powerless} luminaires have no installed power; 0 is taken as unknown")
    return inventory


def _distances(
    positions: Positions, near: tuple[float, float] | None
) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    if near is None:
        return None
    return np.nan_to_num(distance_km(positions.latitude_deg, positions.longitude_deg, near), nan=0.0)


@dataclass
class _Coordinates:
    """The two numbers of a row's position; NaN for none."""

    x: float
    y: float
    refusals: list[Refusal]

    @classmethod
    def of(cls, row: Row, mapping: ColumnMapping) -> _Coordinates:
        if row.refusal:  # whatever stands in the cells, it is not what the header says
            return cls(math.nan, math.nan, [])
        refusals: list[Refusal] = []
        values: list[float] = []
        for name in ("x", "y"):
            text = mapping.text(name, row)
            try:
                values.append(parse_number(text) if text else math.nan)
            except ValueError as error:
                refusals.append(Refusal(row.line, mapping.column(name), str(error), text))
                values.append(math.nan)
        x, y = values
        if not refusals and math.isnan(x) != math.isnan(y):
            name = "x" if math.isnan(x) else "y"
            refusals.append(Refusal(row.line, mapping.column(name), "is missing: the other coordinate is there"))
        if math.isnan(x) or math.isnan(y) or (x == 0 and y == 0):
            x = y = math.nan
        return cls(x, y, refusals)


class _Line:
    """One line on its way to a luminaire; collects every refusal instead of stopping at the first."""

    def __init__(self, row: Row, mapping: ColumnMapping) -> None:
        self.row = row
        self.mapping = mapping
        self.refusals: list[Refusal] = []

    def refuse(self, name: str, reason: str) -> None:
        column = self.mapping.column(name) if name else ""
        self.refusals.append(Refusal(self.row.line, column, reason, self.mapping.text(name, self.row)[:100]))

    def number(self, name: str, low: float, high: float, unit: str = "") -> float | None:
        text = self.mapping.text(name, self.row)
        if not text:
            return None
        try:
            value = parse_number(text, unit)
        except ValueError as error:
            self.refuse(name, str(error))
            return None
        if not low <= value <= high:
            self.refuse(name, f"must be {low:g} to {high:g}{f' {unit}' if unit else ''}")
            return None
        return value

    def power(self, name: str) -> float | None:
        """Power of a lamp in W; 0 for unknown, and what no street lamp draws is most likely kilowatts."""
        value = self.number(name, 0, MAX_POWER_W, "W")
        if value is not None and 0 < value < MIN_POWER_W:
            self.refuse(name, f"{value:g} W is less than any street lamp draws: is it in kW? Then write {value:g} kW")
        return value

    def integer(self, name: str, high: int) -> int | None:
        value = self.number(name, 0, high)
        if value is not None and not value.is_integer():
            self.refuse(name, "must be a whole number")
            return None
        return None if value is None else int(value)

    def flag(self, name: str) -> bool:
        text = self.mapping.text(name, self.row).casefold()
        if text not in YES and text not in NO:
            self.refuse(name, "is neither yes nor no")
        return text in YES

    def text(self, name: str, most: int = 200) -> str:
        text = self.mapping.text(name, self.row)
        if len(text.encode()) > most:
            self.refuse(name, f"is longer than {most} bytes")
        elif not text.isprintable() and (control := control_character(text)):
            self.refuse(name, f"holds the control character {control}")
        return text

    def reference(self, name: str) -> str:
        text = self.mapping.text(name, self.row)
        return resource_id(text) if text else ""

    def luminaire(self, latitude_deg: float, longitude_deg: float) -> LuminaireRow | None:
        text = self.mapping.text("luminaire_id", self.row)
        identity = resource_id(text)
        if not identity:
            self.refuse("luminaire_id", "is missing" if not text else "has no letter or digit")
        lighting_class = self.text("lighting_class").upper().replace(" ", "")
        if lighting_class and not LIGHTING_CLASS.fullmatch(lighting_class):
            self.refuse("lighting_class", "is no class of EN 13201 (M1..M6, C0..C5, P1..P7)")
        placed = math.isfinite(latitude_deg) and math.isfinite(longitude_deg)
        made = LuminaireRow(
            line=self.row.line,
            luminaire_id=identity,
            latitude_deg=latitude_deg if placed else None,
            longitude_deg=longitude_deg if placed else None,
            pole=self.text("pole", 64),
            street=self.text("street"),
            model=self.reference("model"),
            feeder=self.reference("feeder"),
            gateway=self.reference("gateway"),
            gateway_address=self.integer("gateway_address", MAX_ADDRESS),
            group=self.reference("group"),
            lighting_class=lighting_class,
            floor_permille=self.integer("floor_permille", 1000) or 0,
            conflict_area=self.flag("conflict_area"),
            installed_power_w=self.power("installed_power_w"),
            previous_lamp_power_w=self.power("previous_lamp_power_w"),
            previous_ballast_power_w=self.number("previous_ballast_power_w", 0, MAX_POWER_W, "W"),
            previous_half_night=self.flag("previous_half_night"),
            # Open-data inventories name the technology by the address of a vocabulary: its last part says it.
            lamp_technology=_technology(self.text("lamp_technology", 500)),
            installed_on=self.day("installed_on"),
            reduction=self.reduction(),
            virtual_output_permille=self.integer("virtual_output_permille", 1000) or 0,
            initial_burning_hours=self.integer("initial_burning_hours", MAX_BURNING_HOURS) or 0,
        )
        return None if self.refusals else made

    def reduction(self) -> str:
        """Who reduces its light, in a word of ours; empty for as its feeder says."""
        text = self.mapping.text("reduction", self.row)
        word = re.sub(r"[\s_-]+", " ", text.casefold()).strip()
        if word and word not in REDUCTIONS:
            self.refuse("reduction", f"is none of: {', '.join(REDUCTIONS)}")
        return word

    def day(self, name: str) -> str:
        text = self.mapping.text(name, self.row)
        if not text:
            return ""
        parsed = parse_date(text)
        if parsed is None or not 1850 <= parsed.year <= 2200:
            self.refuse(name, "is no date (2024-05-31, 31.05.2024)")
            return ""
        return parsed.isoformat()


def _technology(text: str) -> str:
    return (text.rstrip("/").rsplit("/", 1)[-1] if "://" in text else text)[:100]


def parse_number(text: str, unit: str = "") -> float:
    """A number as people write it: 1234.5, 1.234,5, 1 234,5, "105 W", "0,1 kW". Raises ValueError with the reason."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        try:  # scientific notation, as spreadsheets export long coordinates
            value = float(text)
        except ValueError:
            raise ValueError("is no number") from None
        if not math.isfinite(value):
            raise ValueError("is no number")
        return value
    digits, suffix = re.sub(r"[\s']", "", match.group(1)), match.group(2)
    factors: Mapping[str, float] = {"": 1.0} | ({"w": 1.0, "watt": 1.0, "kw": 1000.0} if unit == "W" else {})
    factor = factors.get(suffix.casefold())
    if factor is None:
        raise ValueError(f"is in {suffix!r}{f', not in {unit}' if unit else ''}")
    if "," in digits and "." in digits:
        thousands = "." if digits.rindex(",") > digits.rindex(".") else ","
        digits = digits.replace(thousands, "")
    elif digits.count(".") > 1 or digits.count(",") > 1:
        digits = digits.replace(".", "").replace(",", "")
    try:
        return float(digits.replace(",", ".")) * factor
    except ValueError:
        raise ValueError("is no number") from None


def parse_date(text: str) -> date | None:
    """A date in ISO, German, or compact form, with or without a time of day behind it; None for anything else."""
    head = re.split(r"[T ]", text.strip(), maxsplit=1)[0]
    for pattern in _DATE_FORMATS:
        try:
            return datetime.strptime(head, pattern).date()  # noqa: DTZ007 - a calendar date has no zone
        except ValueError:
            continue
    return None


def resource_id(text: str) -> str:
    """A text as the last part of a resource name: umlauts spelled out, other signs hyphens, 63 characters at most."""
    if re.fullmatch(ID_PATTERN, text.strip()):
        return text.strip()
    plain = re.sub(r"[^A-Za-z0-9._~-]+", "-", text.strip().translate(LATIN))
    return re.sub(r"^[^A-Za-z0-9]+", "", plain).rstrip("-")[:63]


def chunks(rows: list[LuminaireRow], size: int = 2_000) -> Iterator[list[LuminaireRow]]:
    """The rows in pieces that fit a message."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def require_rows(inventory: Inventory) -> None:
    """Raises InvalidInput where a file holds no luminaire at all, refused or not, and nothing that they belong to."""
    if not inventory.rows and not inventory.refusals and not inventory.parts:
        raise InvalidInput.of("file", "holds no luminaire")
