"""A town's luminaire inventory as CSV, as a lighting department would hand it over. Writing only."""

from __future__ import annotations

import csv
from pathlib import Path

from domain.errors import InvalidInput
from simulator.town import Town

COLUMNS = (
    "id", "latitude", "longitude", "street", "address", "cabinet", "feeder", "gateway", "line", "gear", "model",
    "rated_w", "standby_w", "lighting_class", "lowest_class", "floor_permille", "crossing", "mounting_height_m",
    "old_technology", "old_lamp_w", "old_ballast_w", "old_regime", "old_off_local",
)  # fmt: skip


def write_inventory(town: Town, path: Path) -> int:
    """Write one row per luminaire (UTF-8, comma, dot as decimal sign). Returns the number of rows."""
    models = {m.id: m for m in town.models}
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for lamp in town.luminaires:
                model, old = models[lamp.model], lamp.previous
                writer.writerow([
                    lamp.id, lamp.latitude, lamp.longitude, lamp.street, lamp.address, lamp.cabinet, lamp.feeder,
                    lamp.gateway, lamp.line, lamp.gear, model.name, model.rated_w, model.standby_w,
                    lamp.lighting_class, lamp.lowest_class, lamp.floor_permille, "yes" if lamp.crossing else "no",
                    lamp.mounting_height_m, old.technology, old.lamp_w, old.ballast_w, old.regime, old.off_local,
                ])  # fmt: skip
    except OSError as error:
        raise InvalidInput.of(str(path), f"cannot be written: {error.strerror}") from error
    return len(town.luminaires)
