"""What was read of an inventory as a plain CSV file: UTF-8, comma, decimal point, our field names. Writing only.

The simulator takes such a file (`python -m simulator --inventory`), and so does `lichtbuch import luminaires`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cli.importing.luminaires import LuminaireRow
from cli.importing.tables import FORMULA_STARTS
from domain.errors import InvalidInput

COLUMNS: Final = (
    "luminaire_id", "latitude", "longitude", "pole", "street", "model", "feeder", "gateway", "gateway_address", "group",
    "lighting_class", "floor_permille", "conflict_area", "installed_power_w", "previous_lamp_power_w",
    "previous_ballast_power_w", "previous_half_night", "lamp_technology", "installed_on", "reduction",
    "virtual_output_permille", "initial_burning_hours",
)  # fmt: skip
UNKNOWN_IF_ZERO: Final = ("floor_permille", "virtual_output_permille", "initial_burning_hours")


def write_plain(rows: Iterable[LuminaireRow], path: Path) -> int:
    """Write one line per luminaire; what is unknown is empty. Returns their number. Raises InvalidInput."""
    number = 0
    try:
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            for row in rows:
                writer.writerow(plain_cells(row))
                number += 1
    except OSError as error:
        raise InvalidInput.of("to", f"{path} cannot be written: {error.strerror}") from error
    return number


def plain_cells(row: LuminaireRow, *, exact: bool = False) -> dict[str, str]:
    """A luminaire's cells; positions to about a centimetre, or every number with all its digits."""
    latitude, longitude = row.latitude_deg, row.longitude_deg
    special = {
        "latitude": "" if latitude is None else repr(latitude) if exact else f"{latitude:.7f}",
        "longitude": "" if longitude is None else repr(longitude) if exact else f"{longitude:.7f}",
        **{name: str(getattr(row, name) or "") for name in UNKNOWN_IF_ZERO},
    }
    return {name: special[name] if name in special else _cell(getattr(row, name), exact) for name in COLUMNS}


def _cell(value: str | float | bool | None, exact: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return f"'{value}" if value.lstrip("'").startswith(FORMULA_STARTS) else value
    return repr(value) if exact else f"{value:.10g}"
