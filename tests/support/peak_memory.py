"""Runs `lichtbuch` and writes down the most memory that it held: python peak_memory.py OUT ARGUMENTS..."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """The command, and its peak resident set in KiB into OUT, however it ends."""
    out = Path(sys.argv.pop(1))
    from cli.main import run

    try:
        run()
    finally:
        # Not getrusage: it also counts what the process was before, a copy of whoever started it.
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        out.write_text(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")), "utf-8")


if __name__ == "__main__":
    main()
