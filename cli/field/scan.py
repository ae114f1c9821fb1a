"""field scan: who answers at an address. Modbus lines are modbus_scan.py's, OPC UA servers opcua_scan.py's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cli.errors import PARTIAL
from cli.field import modbus_scan, opcua_scan
from cli.field.addressing import is_opcua, numbers, with_unit
from cli.field.connection import open_fieldbus, run_until_stopped
from cli.field.display import Row, runs
from cli.field.options import Security, Unit, Url
from cli.field.telling import fail_at
from cli.options import Json
from cli.output import console, note, notes, plain_cell, print_json, print_rows
from domain.errors import InvalidInput

_HIGHEST_UNIT: Final = 247
_SERIAL: Final = "modbus+rtu:"
_PARITIES: Final = ("N", "E", "O")


def scan(
    url: Url,
    unit: Unit = None,
    units: Annotated[str, typer.Option(help="Modbus units to ask, e.g. 1-10.")] = f"1-{_HIGHEST_UNIT}",
    bauds: Annotated[str, typer.Option(help="Serial line: speeds to try, e.g. 9600,19200,38400.")] = "",
    parities: Annotated[str, typer.Option(help="Serial line: parities to try, of N, E and O.")] = "",
    guess: Annotated[
        bool, typer.Option("--guess/--no-guess", help="Look which shipped profiles may fit; this reads registers.")
    ] = True,
    depth: Annotated[int, typer.Option(min=1, max=5, help="OPC UA: levels of the address space to show.")] = 2,
    below: Annotated[str, typer.Option("--node", help="OPC UA: show what lies below this node.")] = "",
    save_certificate: Annotated[
        Path | None, typer.Option("--save-certificate", help="OPC UA: keep the server's certificate in this file.")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.05, max=60, help="Seconds to wait for each answer.")
    ] = 0.5,
    security: Security = None,
    as_json: Json = False,
) -> None:
    """Ask what answers at an address. Nothing is written.

    Modbus: every unit, with its identity (function 0x2B) and the profiles that may fit. OPC UA: security policies,
    certificate fingerprint, build information and the top of the address space.
    Exit code 0: somebody answers, 3: the line broke before the end or we are not let in, 4: nobody answers, 130:
    stopped by Ctrl-C, after showing what was found.
    """
    if is_opcua(url):
        _scan_opcua(url, timeout, depth, below, save_certificate, security, as_json)
    else:
        asked = [unit] if unit is not None else numbers(units, "units", 255) or []
        _scan_modbus(url, asked, _settings(url, bauds, parities), guess, timeout, security, as_json)


def _settings(url: str, bauds: str, parities: str) -> list[dict[str, str | int | None]]:
    """Combinations of speed and parity to try; one that changes nothing for a line without them."""
    if not bauds and not parities:
        return [{}]
    if not url.startswith(_SERIAL):
        raise InvalidInput.of("bauds", "only a serial line (modbus+rtu:///dev/...) has a speed and a parity")
    wanted = [text.strip().upper() for text in parities.split(",") if text.strip()]
    if wrong := [parity for parity in wanted if parity not in _PARITIES]:
        raise InvalidInput.of("parities", f"{wrong[0]!r} is none of {', '.join(_PARITIES)}")
    speeds: list[int | None] = []
    for text in filter(None, (part.strip() for part in bauds.split(","))):
        if not (text.isascii() and text.isdigit() and 300 <= int(text) <= 1_000_000):
            raise InvalidInput.of("bauds", f"{text!r} is no speed; common are 9600, 19200, 38400 and 115200")
        speeds.append(int(text))
    return [
        {"baud": speed, "parity": parity}
        for speed in speeds or (None,)  # None leaves what the URL says
        for parity in wanted or (None,)
    ]


def _scan_modbus(
    url: str,
    units: list[int],
    settings: list[dict[str, str | int | None]],
    guess: bool,
    timeout: float,
    security: Path | None,
    as_json: bool,
) -> None:
    found: list[modbus_scan.Found] = []
    asked = 0
    total = len(units) * len(settings)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} of {task.total} units"),
        TimeRemainingColumn(), console=notes, transient=True, disable=as_json or not notes.is_terminal,
    )  # fmt: skip
    if not as_json and not notes.is_terminal:
        note(f"asking units {runs(units)}, at most {total * timeout:.0f} s")

    async def ask(progress: Callable[[int, int], None]) -> None:
        line = modbus_scan.scan_units(
            lambda: open_fieldbus(timeout, security), url, units, settings=settings, guess=guess, progress=progress
        )
        async for one in line:
            found.append(one)

    stopped = False
    with bar:
        task = bar.add_task("asking", total=total)

        def progress(done: int, _: int) -> None:
            nonlocal asked
            asked = done
            bar.update(task, completed=done, description=f"{len(found)} found")

        try:
            run_until_stopped(ask(progress))
        except modbus_scan.LineDown as error:
            down: str | None = error.sentence
        except KeyboardInterrupt:
            stopped, down = True, None
        else:
            down = None
    rows = [_without_blanks(one.row(), found) for one in found]
    if as_json:
        print_json([one.row() for one in found])
    elif rows:
        print_rows(rows, False)
    if stopped:
        note(f"stopped after {asked} of {total} units")
        raise KeyboardInterrupt
    if down is not None and not found:
        fail_at(url, down)
    if not found:
        nobody = f"unit {units[0]} does not answer" if len(units) == 1 else f"none of the units {runs(units)} answers"
        fail_at(with_unit(url, units[0] if len(units) == 1 else None), nobody)
    if not as_json:
        _suggest(url, found)
    if down is not None:
        note(down)
        raise typer.Exit(PARTIAL)


def _without_blanks(row: Row, found: list[modbus_scan.Found]) -> Row:
    """Columns in which nobody has anything only take room."""
    every = [one.row() for one in found]
    return {key: value for key, value in row.items() if key == "unit" or any(other[key] for other in every)}


def _suggest(url: str, found: list[modbus_scan.Found]) -> None:
    fitting = next((one for one in found if one.profiles), None)
    if fitting is not None:
        note(f"read it: lichtbuch field read --profile {fitting.profiles[0]} '{with_unit(url, fitting.unit)}'")
    elif found:
        note("no shipped profile is known to fit: `lichtbuch field profiles`, or --register for raw registers")


def _scan_opcua(
    url: str,
    timeout: float,
    depth: int,
    below: str,
    save_certificate: Path | None,
    security: Path | None,
    as_json: bool,
) -> None:
    async def ask() -> opcua_scan.ServerSeen:
        fieldbus = open_fieldbus(max(timeout, 2.0), security, session=True)
        try:
            return await opcua_scan.scan_server(fieldbus, url, timeout_s=max(timeout, 2.0), depth=depth, below=below)
        finally:
            await fieldbus.close()

    try:
        seen = run_until_stopped(ask())
    except (OSError, TimeoutError) as error:
        fail_at(url, f"cannot connect: {error}" if str(error) else "no answer in time")
    if as_json:
        print_json(seen.document())
    else:
        _show_server(url, seen, everything=bool(below))
    if save_certificate is not None:
        kept = opcua_scan.keep_certificate(save_certificate, seen)
        note(f"certificate kept in {save_certificate}" if kept else "the server shows no certificate")
    if seen.problem:
        note(f"not let in: {seen.problem}")
        raise typer.Exit(PARTIAL)


def _show_server(url: str, seen: opcua_scan.ServerSeen, *, everything: bool) -> None:
    identity = seen.identity
    name = " ".join(filter(None, (identity.vendor, identity.product, identity.revision)))
    console.print(plain_cell(f"{url}: {name or 'an OPC UA server'}"))
    if seen.fingerprint:
        console.print(plain_cell(f"certificate SHA-256: {seen.fingerprint}"))
    print_rows(opcua_scan.endpoint_rows(seen), False, title="\nWays in")
    rows, more = opcua_scan.node_rows(seen, everything=everything)
    if rows:
        print_rows(rows, False, title="\nAddress space")
    if more:
        console.print(f"and {more} more; --node shows what lies below one, --json shows all")
