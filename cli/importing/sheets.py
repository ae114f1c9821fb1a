"""Files of models, cabinets, feeders, gateways, groups and sensors into parts of an import, one line each.

A column that is there counts, an empty cell in it means not stated; what no column tells of stays as it is stored. What
only lighting knows (whether a cabinet exists, whether a contactor is taken) is checked there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from cli.importing.kinds import Column, Kind, broken_rules, columns_of
from cli.importing.luminaires import Refusal, resource_id
from cli.importing.tables import Row, Table
from domain.errors import InvalidInput
from lichtbuch.lighting.v1 import inventory_pb2 as inv

_PLACE = ("latitude", "longitude")


@dataclass
class Sheet:
    """What a file of a kind holds."""

    parts: list[inv.ImportedPart] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Columns that no field is called by."""


def read_sheet(table: Table, kind: Kind, parent: str) -> Sheet:
    """The parts of a municipality that a table tells of. Raises InvalidInput where no column holds ids."""
    found = Sheet()
    columns = {column.name: column for column in columns_of(kind)}
    given = {_plain(header): header for header in table.columns}
    if kind.id_column not in given:
        raise InvalidInput.of("file", f"has no column {kind.id_column}; it has {', '.join(table.columns)}")
    headers = {name: header for name, header in given.items() if name in columns}
    found.unknown = [header for name, header in given.items() if name not in columns and name != kind.id_column]
    seen: dict[str, int] = {}
    for row in table.rows:
        line = _Line(row, kind, parent)
        if row.refusal:
            line.refusals.append(Refusal(row.line, "", row.refusal))
        else:
            line.identify(row.cells.get(given[kind.id_column], ""), seen)
            line.read({columns[name]: row.cells.get(header, "").strip() for name, header in headers.items()})
        if line.refusals:
            found.refusals += line.refusals
        else:
            found.parts.append(line.part)
    return found


def _plain(header: str) -> str:
    """A column's name without what it is measured in: "clo (burning_hours:output_permille)" is clo."""
    return re.sub(r"\s*\(.*", "", header).strip().casefold()


class _Line:
    """One line on its way to a part; collects every refusal."""

    def __init__(self, row: Row, kind: Kind, parent: str) -> None:
        self.row, self.kind, self.parent = row, kind, parent
        self.part = inv.ImportedPart(source_line=row.line)
        self.refusals: list[Refusal] = []

    def identify(self, text: str, seen: dict[str, int]) -> None:
        """The line's id, which no line before it has."""
        column, identifier = self.kind.id_column, resource_id(text)
        if not identifier:
            self._refuse(column, "is missing" if not text.strip() else "has no letter or digit", text)
        elif identifier in seen:
            self._refuse(column, f"is the id of line {seen[identifier]} already", text)
        else:
            seen[identifier] = self.row.line
        getattr(self.part, self.kind.part).name = f"{self.parent}/{self.kind.collection}/{identifier}"

    def read(self, cells: dict[Column, str]) -> None:
        """The values of its cells."""
        message = getattr(self.part, self.kind.part)
        for column, text in cells.items():
            try:
                column.take(message, text, self.parent)
            except ValueError as error:
                self._refuse(column.name, str(error), text)
        texts = {column.name: text for column, text in cells.items()}
        if bool(texts.get(_PLACE[0])) != bool(texts.get(_PLACE[1])):
            missing = _PLACE[0] if texts.get(_PLACE[1]) else _PLACE[1]
            self._refuse(missing, "is missing: the other coordinate is there", "")
        told = {column.field.name: column for column in cells}
        self.part.fields.paths.extend(told)
        if not self.refusals:
            self._check_rules({name: column.name for name, column in told.items()}, texts)

    def _check_rules(self, told: dict[str, str], texts: dict[str, str]) -> None:
        """Refuses what the contract's rules do not allow of what the file tells."""
        for violation in broken_rules(self.part):
            name = re.split(r"[.\[]", violation.field, maxsplit=1)[0]
            self._refuse(violation.field, violation.reason, texts.get(told.get(name, ""), ""))

    def _refuse(self, column: str, reason: str, value: str) -> None:
        self.refusals.append(Refusal(self.row.line, column, reason, value[:100]))
