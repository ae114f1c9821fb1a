"""Models, cabinets, feeders, gateways, groups and sensors as CSV files that can be taken in again. Writing only."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import Any, Final, TextIO

from cli.importing.kinds import Kind, columns_of, last
from cli.importing.tables import FORMULA_STARTS

_NUMBERS: Final = ("latitude", "longitude")


def write_sheet(stream: TextIO, kind: Kind, messages: Iterable[Any]) -> int:
    """A line per resource; what is not set is empty. Returns their number."""
    columns = columns_of(kind)
    writer, number = csv.writer(stream), 0
    writer.writerow([kind.id_column, *(column.header for column in columns)])
    for message in messages:
        cells = (column.text(message) if column.name in _NUMBERS else _safe(column.text(message)) for column in columns)
        writer.writerow([last(message.name), *cells])
        number += 1
    return number


def _safe(text: str) -> str:
    """A text that no spreadsheet takes for a formula; the quote is taken off again when it is read."""
    return f"'{text}" if text.lstrip("'").startswith(FORMULA_STARTS) else text
