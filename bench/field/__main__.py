"""python -m bench.field [--quick] [PART ...]: our field layer beside others; prints tables, writes results/field.json.

Parts: 1 crowd, 2 scattered points, 3 cost of our layer, 4 many connections, 5 held load, 6 sick neighbours. With
--quick everything runs for a moment only: that the harness works and that all have the same values, not how fast.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.field import machine, modbus_parts, opcua_parts
from bench.field.duel import Failed
from bench.field.modbus_parts import Bench
from bench.field.report import Report

RESULTS = Path(__file__).parent.parent / "results" / "field.json"


def prepared(*, quick: bool) -> Bench | None:
    """The bench with all that can be had; None without a C compiler, which the devices need."""
    if not quick:
        machine.install_system_packages()
    server = machine.compiled("device_server.c")
    if server is None:
        return None
    return Bench(
        cores=machine.cores(),
        report=Report(),
        device_server=server,
        libmodbus_client=machine.compiled("libmodbus_client.c", "modbus"),
        gateway_python=machine.gateway_python(make=not quick),
        rounds=1 if quick else 5,
        warm_up_s=0.05 if quick else 0.5,
        measured_s=0.2 if quick else 1.2,
        quick=quick,
    )


def run(bench: Bench, chosen: set[str]) -> Report:
    """The parts chosen, in their order."""
    for name, part in modbus_parts.PARTS.items():
        if name in chosen:
            print(f"part {name} ...", file=sys.stderr)
            for work in (part, opcua_parts.opcua) if name == "3" else (part,):
                try:
                    work(bench)
                except Failed as failure:
                    bench.report.failures.append(f"part {name}: {failure}")
    return bench.report


def main() -> None:
    """The command."""
    quick = "--quick" in sys.argv
    chosen = {argument for argument in sys.argv[1:] if argument != "--quick"} or set(modbus_parts.PARTS)
    if unknown := chosen - set(modbus_parts.PARTS):
        raise SystemExit(f"no such part: {', '.join(sorted(unknown))}")
    bench = prepared(quick=quick)
    if bench is None:
        raise SystemExit("a C compiler is needed for the devices that are read (on Debian: apt-get install gcc)")
    report = run(bench, chosen)
    report.print()
    if not quick:
        report.write(RESULTS)
    if report.failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
