"""python -m bench.metering [--quick] [PART ...]: ours beside peers in one run; tables, and results/metering.json.

Parts: 1 ingest, 2 month sums, 3 gRPC, 4 the whole way; each is a module of this package with a PART and a run. With
--quick everything runs on little work: that the harness works and that all come to the same results, not how fast.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import bench.metering
from bench.report import Report

RESULTS = Path(__file__).parent.parent / "results" / "metering.json"

Part: TypeAlias = "Callable[[Report, bool], None]"
"""Adds what it measured to a report; True for quick."""


def parts() -> dict[str, Part]:
    """The parts that there are, by number: every module of this package that has a PART."""
    found: dict[str, Part] = {}
    for module_info in pkgutil.iter_modules(bench.metering.__path__):
        if module_info.name == "__main__":
            continue
        module = importlib.import_module(f"bench.metering.{module_info.name}")
        if hasattr(module, "PART"):
            found[module.PART] = module.run
    return dict(sorted(found.items()))


def main() -> None:
    """The command."""
    quick = "--quick" in sys.argv
    known = parts()
    chosen = {argument for argument in sys.argv[1:] if argument != "--quick"} or set(known)
    if unknown := chosen - set(known):
        raise SystemExit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    report = Report(quick)
    for number, run in known.items():
        if number in chosen:
            print(f"part {number} ...", file=sys.stderr)
            run(report, quick)
    report.print()
    if not quick:
        report.write(RESULTS)
    if report.failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
