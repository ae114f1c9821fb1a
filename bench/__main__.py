"""python -m bench: runs what has no harness of its own, prints a table and writes bench/results/latest.json.

The field layer is in bench.field, lighting with sun and previews in bench.lighting, metering in bench.metering.
"""

from __future__ import annotations

import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import importing

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run all, or those named on the command line."""
    chosen = sys.argv[1:]
    known = {"importing": importing.run}
    if unknown := sorted(set(chosen) - set(known)):
        raise SystemExit(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(known)}")
    rows = [found.row() for name, run in known.items() if not chosen or name in chosen for found in run()]
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console(soft_wrap=True).print(table)
    RESULTS.mkdir(exist_ok=True)
    document = {"at": datetime.now(UTC).isoformat(), "python": platform.python_version(), "rows": rows}
    (RESULTS / "latest.json").write_text(json.dumps(document, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
