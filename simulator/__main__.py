"""`python -m simulator`: run the town (or the one around an inventory), or write its luminaire inventory as CSV."""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from domain.errors import LichtbuchError
from simulator.app import run, town_of
from simulator.inventory_csv import write_inventory
from simulator.settings import load, parser


def open_as_many_files_as_allowed() -> None:
    """Each port and each connection is an open file: a town of hundreds of cabinets needs more than the usual 1 024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # then the usual limit has to do
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _run(work: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:  # as on systems that it is not made for
        asyncio.run(work)
    else:
        uvloop.run(work)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 ended as asked, 1 could not run, 2 wrong settings."""
    arguments = parser().parse_args(argv)
    settings = load(arguments)
    try:
        open_as_many_files_as_allowed()
        if arguments.write_csv:
            path = Path(arguments.write_csv)
            print(f"{write_inventory(town_of(settings), path)} luminaires written to {path}")
            return 0
        with suppress(KeyboardInterrupt):
            _run(run(settings))
    except LichtbuchError as error:
        print(f"simulator: {error.message}", file=sys.stderr)
        for violation in getattr(error, "violations", ())[:20]:
            print(f"  {violation}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
