"""Which column of a file means which field of a luminaire.

A mapping comes from the command line ("luminaire_id=PoleNum"), from a TOML file, or from the usual names of columns.
The right side is a column, a template of columns ("{schaltstelle}-{leuchtennummer}"), "@line" for the line number, or
a fixed value in quotes ("'P4'").
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.importing.tables import GEOMETRY_X, GEOMETRY_Y, Row
from domain.errors import InvalidInput, Violation

# Names that columns have had in inventories seen so far, per field, the likeliest first; compared without case,
# spaces and punctuation. What refers to something else in lighting, and power before the modernisation, which decides
# over money, is taken only from columns that bear the field's own name.
USUAL_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "luminaire_id": (
        "luminaire_id", "luminaire", "id", "leuchten_id", "leuchtennummer", "leuchten-nr", "leuchtennr", "lichtpunkt",
        "lichtpunktnummer", "polenum", "identifier", "geocodigo", "objectid", "nummer", "nr",
    ),
    "x": ("x", "rechtswert", "easting", "ostwert", "rw", "longitude", "long", "lon", "lng", "lon_wgs84", "laengengrad",
          GEOMETRY_X),
    "y": ("y", "hochwert", "northing", "nordwert", "hw", "latitude", "lat", "lat_wgs84", "breitengrad", GEOMETRY_Y),
    "pole": ("pole", "mast", "mastnummer", "mast-nr", "polenum", "mastnr"),
    "street": ("street", "strasse", "straße", "strassenname", "streetaddress", "adresse", "address"),
    "model": ("model",),
    "feeder": ("feeder",),
    "gateway": ("gateway",),
    "gateway_address": ("gateway_address", "dali_address", "dali-adresse", "gateway_adresse"),
    "group": ("group",),
    "lighting_class": ("lighting_class", "beleuchtungsklasse", "class"),
    "floor_permille": ("floor_permille",),
    "conflict_area": ("conflict_area", "konfliktzone", "querungshilfe", "crossing"),
    "installed_power_w": (
        "installed_power_w", "wattage", "anschlussleistung", "leistung", "pot_instal", "power", "watt", "leistung_w",
    ),
    "previous_lamp_power_w": ("previous_lamp_power_w",),
    "previous_ballast_power_w": ("previous_ballast_power_w",),
    "previous_half_night": ("previous_half_night",),
    "lamp_technology": ("lamp_technology", "lamptype", "lampenart", "leuchtmittel", "type_lanterne", "tipolampara"),
    "installed_on": ("installed_on", "installdate", "einbaudatum", "installiert_am", "inbetriebnahme"),
    "reduction": ("reduction",),
    "virtual_output_permille": ("virtual_output_permille",),
    "initial_burning_hours": ("initial_burning_hours",),
}  # fmt: skip
FIELDS: Final = tuple(USUAL_NAMES)
_TEMPLATE: Final = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class Source:
    """Where a field's text comes from: `text` with its `columns` filled in; without columns it is fixed."""

    text: str
    columns: tuple[str, ...] = ()
    line_number: bool = False

    def of(self, row: Row) -> str:
        """The field's text in a row; empty where every column of it is empty."""
        if self.line_number:
            return str(row.line)
        if not self.columns:
            return self.text
        values = {column: row.cells.get(column, "").strip() for column in self.columns}
        if not any(values.values()):
            return ""
        return _TEMPLATE.sub(lambda match: values[match.group(1)], self.text)

    @property
    def name(self) -> str:
        """What a report calls the source: its column where it is one."""
        if self.line_number:
            return "@line"
        return self.columns[0] if len(self.columns) == 1 else self.text


@dataclass(frozen=True)
class ColumnMapping:
    """Field to source, for the fields that the file has."""

    sources: Mapping[str, Source]

    def text(self, field: str, row: Row) -> str:
        """The field's text in a row, stripped; empty where the file has none."""
        source = self.sources.get(field)
        return source.of(row).strip() if source else ""

    def column(self, field: str) -> str:
        """What a report calls the field's column."""
        source = self.sources.get(field)
        return source.name if source else field


def make_mapping(columns: Sequence[str], given: Mapping[str, str]) -> ColumnMapping:
    """The given sources and, for fields not given, the usual names found among the columns.

    Raises InvalidInput that names every unknown field and every column that the file does not have.
    """
    violations: list[Violation] = []
    sources: dict[str, Source] = {}
    for field, text in given.items():
        if field not in USUAL_NAMES:
            violations.append(Violation("map", f"there is no field {field!r}; there are {', '.join(FIELDS)}"))
            continue
        if not text:  # "field=" switches a guess off
            continue
        source = _source(text)
        unknown = [column for column in source.columns if column not in columns]
        if unknown:
            violations.append(
                Violation(
                    "map",
                    f"{field}: the file has no column {', '.join(map(repr, unknown))}; it has {', '.join(columns)}",
                )
            )
        sources[field] = source
    plain = {_plain(column): column for column in reversed(columns)}
    last = {_plain(column.rsplit(".", 1)[-1]): column for column in reversed(columns)}
    for field, names in USUAL_NAMES.items():
        if field in given:
            continue
        found = next((index[_plain(name)] for index in (plain, last) for name in names if _plain(name) in index), None)
        if found is not None:
            sources[field] = Source(f"{{{found}}}", (found,))
    if "luminaire_id" not in sources:
        violations.append(
            Violation(
                "map",
                "no column looks like the luminaires' ids: give --map luminaire_id=COLUMN, or"
                " --map luminaire_id=@line to number them by line",
            )
        )
    if violations:
        raise InvalidInput("the mapping does not fit the file", violations)
    return ColumnMapping(sources)


def _source(text: str) -> Source:
    if text == "@line":
        return Source(text, line_number=True)
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return Source(text[1:-1])
    if "{" in text:
        return Source(text, tuple(_TEMPLATE.findall(text)))
    return Source(f"{{{text}}}", (text,))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold().replace("ß", "ss"))


def given_mapping(assignments: Sequence[str], file: Path | None) -> dict[str, str]:
    """Field to source, from a TOML file (table `luminaires` or top level) and the command line, which wins."""
    given: dict[str, str] = {}
    if file is not None:
        try:
            document = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InvalidInput.of("mapping", f"{file}: {error}") from error
        table = document.get("luminaires", document)
        for field, source in table.items():
            if not isinstance(source, str):
                raise InvalidInput.of("mapping", f"{file}: {field} must be text")
            given[field] = source
    for assignment in assignments:
        field, equals, source = assignment.partition("=")
        if not equals:
            raise InvalidInput.of("map", f"{assignment!r} is no FIELD=COLUMN")
        given[field.strip()] = source.strip()
    return given
