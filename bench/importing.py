"""Reading an inventory of 30 000 lamps from CSV, checks and coordinates included, against csv.DictReader alone.

The peer does far less: it only splits lines. The ratio says what all the checking costs over that.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

from bench.timing import Comparison, compare
from cli.importing.luminaires import read_inventory
from cli.importing.mapping import make_mapping
from cli.importing.tables import read_table

LAMPS = 30_000


def run() -> list[Comparison]:
    """The comparison, on a synthetic file in UTM 32N with decimal commas."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lamps.csv"
        lines = [
            f"L-{i:05d};{549_000 + i % 3000},{i % 100:02d};{5_635_000 + i // 10},50;Weg {i % 97};70,5"
            for i in range(LAMPS)
        ]
        path.write_text("Leuchtennummer;Rechtswert;Hochwert;Straße;Leistung\n" + "\n".join(lines), encoding="utf-8")

        def ours() -> object:
            table = read_table(path)
            found = read_inventory(table, make_mapping(table.columns, {}), crs="EPSG:25832")
            assert len(found.rows) == LAMPS
            return found

        def peer() -> object:
            with path.open(encoding="utf-8", newline="") as file:
                return list(csv.DictReader(file, delimiter=";"))

        return [compare("import: read and check 30 000 lamps", "csv.DictReader, no checks", ours, peer, items=LAMPS)]
