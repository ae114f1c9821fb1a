"""python -m cli.demo: writes Procfile and settings of the demonstration and hands over to honcho, which runs them."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cli.demo.conversion import OwnInventory
from cli.demo.layout import BERLIN, Layout, time_lapse_start
from domain.errors import InvalidInput

ROOT = Path(".run")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Command line of `make run`."""
    parser = argparse.ArgumentParser(prog="python -m cli.demo", description="A town at work on this machine.")
    parser.add_argument(
        "--speed", type=float, default=1.0, help="domain seconds per second; 600 shows a night in minutes"
    )
    parser.add_argument("--luminaires", type=int, default=5_300)
    parser.add_argument("--cabinets", type=int, default=100)
    parser.add_argument("--monitored", type=int, help="cabinets with a meter (22, of an inventory 22 %%)")
    parser.add_argument("--buildings", type=int, choices=range(4), help="municipal buildings (3, with an inventory 0)")
    parser.add_argument(
        "--inventory", type=Path, metavar="FILE", help="a town around your own lamps; any file that can be imported"
    )
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="FIELD=COLUMN",
        help="which column of the inventory a field is in, as for `lichtbuch import luminaires`",
    )
    parser.add_argument("--crs", default="", help="coordinate system of the inventory, e.g. EPSG:25832")
    parser.add_argument("--time-zone", type=time_zone, default=BERLIN, help="of the inventory's town (Europe/Berlin)")
    parser.add_argument("--log-level", default="warning", choices=["debug", "info", "warning", "error"])
    parser.add_argument(
        "--consumption",
        action="append",
        default=[],
        metavar="BUILDING=FILE",
        help="real hourly consumption of a building (B-1, B-2, B-3): CSV with datetime_utc and electricity in kWh",
    )
    parser.add_argument("--prepare-only", action="store_true", help="write the Procfile and end")
    options = parser.parse_args(arguments)
    if options.inventory is None and (options.map or options.crs or options.time_zone is not BERLIN):
        parser.error("--map, --crs and --time-zone say what an inventory means: give it with --inventory")
    return options


def time_zone(name: str) -> ZoneInfo:
    """A time zone by name. Raises ArgumentTypeError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise argparse.ArgumentTypeError(f"{name!r} is no time zone") from error


def ports_in_use(layout: Layout) -> list[str]:
    """Ports that something else listens on already, with what wanted them."""
    taken = []
    for process, port in layout.ports.items():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                taken.append(f"{port} ({process})")
    return taken


def prepare(options: argparse.Namespace) -> tuple[Layout, Path]:
    """Layout and Procfile. A time-lapse begins with an empty town each time: its past would lie in the future."""
    if not 0.1 <= options.speed <= 3600:
        raise SystemExit("SPEED is 0.1 to 3600")
    lapse = options.speed != 1
    own = OwnInventory(options.inventory, options.map, options.crs) if options.inventory else None
    directory = ROOT / "-".join(["lapse" if lapse else "town", *([own.municipality] if own else [])])
    anchor = datetime.now(UTC)
    layout = Layout(
        directory.resolve(),
        speed=options.speed,
        anchor=anchor,
        start=time_lapse_start(anchor, options.speed, options.time_zone) if lapse else None,
        luminaires=options.luminaires,
        cabinets=options.cabinets,
        monitored=22 if options.monitored is None and own is None else options.monitored,
        buildings=options.buildings if options.buildings is not None else 0 if own else 3,
        consumption=tuple(options.consumption),
        log_level=options.log_level,
    )
    if taken := ports_in_use(layout):
        raise SystemExit(f"these ports are in use already, by another run perhaps: {', '.join(taken)}")
    # Only now: another run that is still going keeps its town.
    if lapse and directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if own is not None:
        layout = with_inventory(layout, own, options.time_zone)
    procfile = directory / "Procfile"
    procfile.write_text(layout.procfile(), encoding="utf-8")
    procfile.chmod(0o600)
    return layout, procfile


def with_inventory(layout: Layout, own: OwnInventory, zone: ZoneInfo) -> Layout:
    """The layout of the inventory's town; ends the program with what is wrong with the file."""
    try:
        plain = own.convert(layout.directory / "inventory", lambda line: print(line, file=sys.stderr))
    except InvalidInput as error:
        reasons = "".join(f"\n  {violation}" for violation in error.violations)
        raise SystemExit(f"{error.message}{reasons}") from error
    return dataclasses.replace(layout, inventory=plain, municipality=own.municipality, time_zone=zone.key)


def main(arguments: Sequence[str]) -> None:
    """Prepare, then become the Procfile runner."""
    options = parse(arguments)
    layout, procfile = prepare(options)
    if options.prepare_only:
        print(procfile)
        return
    ports = ",".join(f"{process}={port}" for process, port in layout.ports.items())
    os.environ.update(layout.environment())
    os.environ.update({"LICHTBUCH_DEMO_DIRECTORY": str(layout.directory), "LICHTBUCH_DEMO_PORTS": ports})
    runner = shutil.which("honcho", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if runner is None:
        raise SystemExit("honcho is not installed: run `make setup`")
    os.execv(runner, [runner, "start", "--no-colour", "--procfile", str(procfile), "--app-root", os.getcwd()])


if __name__ == "__main__":
    main(sys.argv[1:])
