"""Runs `lichtbuch` and writes down the most memory that it held: python peak_memory.py OUT ARGUMENTS..."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def main() -> None:
    """The command, and its peak resident set in KiB into OUT, however it ends."""
    out = Path(sys.argv.pop(1))
    from cli.main import run

    try:
        run()
    finally:
        out.write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss), encoding="utf-8")


if __name__ == "__main__":
    main()
