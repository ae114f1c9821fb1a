"""lichtbuch export town, lichtbuch import town: a whole inventory as a folder of CSV files, one for each kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, TextIO

import typer

from cli.commands.exports import WRITERS, Format, Source
from cli.commands.imports import SHOWN_REFUSALS, refusals_of, send_inventory
from cli.commands.meter_imports import MeterReport, take_meters, write_meters
from cli.errors import PARTIAL, WRONG_INPUT
from cli.exporting.sheets import write_sheet
from cli.importing.kinds import KINDS, Kind
from cli.importing.luminaires import Inventory, Refusal, read_inventory, require_rows
from cli.importing.mapping import make_mapping
from cli.importing.meters import METERS
from cli.importing.sheets import read_sheet
from cli.importing.tables import Table, read_table
from cli.options import AsItStood, DryRun, Json, MaxDistance, Reason, SkipInvalid, Town
from cli.output import console, note, note_lines, print_json, print_rows
from cli.parsing import instant
from cli.session import Session, online
from domain.errors import InvalidInput, Unavailable, Violation
from lichtbuch.lighting.v1 import inventory_pb2, sensors_pb2
from lichtbuch.lighting.v1 import lighting_pb2 as pb

LUMINAIRES: Final = "luminaires.csv"
FILES: Final = (LUMINAIRES, *(kind.file for kind in KINDS))
LINES_APART: Final = 10_000_000
"""Lines of the files count on from one file to the next, so that a report of the service names the file too."""

_LISTED: Final[dict[str, tuple[str, Callable[..., Any], str]]] = {
    "models": ("ListLuminaireModels", pb.ListLuminaireModelsRequest, "luminaire_models"),
    "cabinets": ("ListCabinets", pb.ListCabinetsRequest, "cabinets"),
    "feeders": ("ListFeeders", pb.ListFeedersRequest, "feeders"),
    "gateways": ("ListGateways", pb.ListGatewaysRequest, "gateways"),
    "groups": ("ListGroups", pb.ListGroupsRequest, "groups"),
    "sensors": ("ListSensors", sensors_pb2.ListSensorsRequest, "sensors"),
}
"""How resources of a kind are asked for: method, request, field of the answer."""


# --- export --------------------------------------------------------------------------------------------------


def export_town(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write into; its files are replaced.")],
    at: AsItStood = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Write the whole inventory as CSV files, one for each kind. `lichtbuch import town` takes them in again."""

    async def write(session: Session) -> tuple[list[dict[str, Any]], str]:
        then = instant(at, await session.zone(), datetime.now(UTC), "--at") if at else None
        written = await write_town(Source(session, await session.parent(), then), folder)
        if then is not None:
            return written, "sensors.csv and meters.csv are not written: how they stood then is not told"
        try:
            return [*written, await write_meters(session, folder)], ""
        except Unavailable as error:
            return written, f"{METERS.file} is not written: {error}"
        except OSError as error:
            raise InvalidInput.of("folder", f"{folder} cannot be written: {error.strerror}") from error

    written, left_out = online(write, municipality)
    print_rows(written, as_json)
    if left_out:
        note(left_out)


async def write_town(source: Source, folder: Path) -> list[dict[str, Any]]:
    """Writes the files. Returns what is in which. Raises InvalidInput where nothing can be written."""
    written: list[dict[str, Any]] = []
    parts: list[Path] = []
    try:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        for file in FILES:
            kind = _kind_of(file)
            if kind is not None and kind.stem == "sensors" and source.at is not None:
                continue
            part = folder / f"{file}.part"
            parts.append(part)
            with part.open("w", encoding="utf-8", newline="") as stream:
                written.append({"file": str(folder / file), "lines": await _write(source, kind, stream)})
        for part in parts:
            part.replace(part.with_suffix(""))
    except OSError as error:
        raise InvalidInput.of("folder", f"{folder} cannot be written: {error.strerror}") from error
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    return written


async def _write(source: Source, kind: Kind | None, stream: TextIO) -> int:
    if kind is None:
        return (await WRITERS[Format.CSV](source, stream))[0]
    return write_sheet(stream, kind, await source.all(*_LISTED[kind.stem]))


def _kind_of(file: str) -> Kind | None:
    """The kind that a file holds; None for luminaires."""
    return next((kind for kind in KINDS if kind.file == file), None)


# --- import --------------------------------------------------------------------------------------------------


def import_town(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder with any of the files of an export.")],
    crs: Annotated[str, typer.Option("--crs", help="Coordinate system of luminaires.csv, e.g. EPSG:25832.")] = "",
    max_distance_km: MaxDistance = 100.0,
    skip_invalid: SkipInvalid = False,
    dry_run: DryRun = False,
    offline: Annotated[bool, typer.Option("--offline", help="Only read and check the files; ask no service.")] = False,
    reason: Reason = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Take in models, cabinets, feeders, gateways, groups, sensors and luminaires together: all lines or none. Then the
    meters of meters.csv, as `lichtbuch import meters` does.

    Takes those of models.csv, cabinets.csv, feeders.csv, gateways.csv, groups.csv, sensors.csv and luminaires.csv that
    are there. Exit code 0: stored, or a dry run without refusals; 3: stored without the refused lines; 2: nothing
    stored.
    """
    tables = tables_of(folder)
    meters = read_table(folder / METERS.file) if (folder / METERS.file).is_file() else None
    taken: list[MeterReport] = []

    async def ask(session: Session) -> tuple[Inventory, inventory_pb2.ImportReport]:
        town = await session.municipality()
        near = (town.position.latitude_deg, town.position.longitude_deg) if town.HasField("position") else None
        read = inventory_of(tables, town.name, crs=crs, near=near, max_distance_km=max_distance_km)
        report = await send_inventory(session, read, skip_invalid=skip_invalid, dry_run=dry_run, reason=reason)
        if meters is not None and (dry_run or report.committed):
            taken.append(await take_meters(session, meters, skip_invalid=skip_invalid, dry_run=dry_run))
        return read, report

    if offline:
        inventory, report = inventory_of(tables, "municipalities/offline", crs=crs), None
    else:
        inventory, report = online(ask, municipality)
    refusals = [located(item) for item in inventory.refusals + (refusals_of(report) if report else [])]
    for of_meters in taken:
        refusals += [{"file": METERS.file} | vars(item) for item in of_meters.refusals]
        inventory.notes += of_meters.notes
    _report(folder, tables, inventory, report, taken, refusals, as_json)
    if report is not None and report.committed:
        raise typer.Exit(PARTIAL if refusals else 0)
    raise typer.Exit(WRONG_INPUT if refusals else 0)


def tables_of(folder: Path) -> dict[str, Table]:
    """The files of an inventory that a folder holds. Raises InvalidInput where it holds none, or one is no table."""
    found = {file: folder / file for file in FILES if (folder / file).is_file()}
    if not found:
        raise InvalidInput.of("folder", f"{folder} holds none of {', '.join(FILES)}")
    tables: dict[str, Table] = {}
    for file, path in found.items():
        try:
            tables[file] = read_table(path)
        except InvalidInput as error:
            raise InvalidInput("", [Violation(file, violation.reason) for violation in error.violations]) from error
    return tables


def inventory_of(
    tables: dict[str, Table],
    parent: str,
    *,
    crs: str = "",
    near: tuple[float, float] | None = None,
    max_distance_km: float = 100.0,
) -> Inventory:
    """All that the files hold, for a municipality; lines counted on from file to file. Raises InvalidInput."""
    inventory = Inventory()
    if LUMINAIRES in tables:
        table = tables[LUMINAIRES]
        mapping = make_mapping(table.columns, {})
        inventory = read_inventory(table, mapping, crs=crs, near=near, max_distance_km=max_distance_km)
    for place, kind in enumerate(KINDS, start=1):
        if kind.file not in tables:
            continue
        try:
            sheet = read_sheet(tables[kind.file], kind, parent)
        except InvalidInput as error:
            raise InvalidInput(
                "", [Violation(kind.file, violation.reason) for violation in error.violations]
            ) from error
        for part in sheet.parts:
            part.source_line += place * LINES_APART
        inventory.parts += sheet.parts
        inventory.refusals += [
            Refusal(item.line + place * LINES_APART, item.column, item.reason, item.value) for item in sheet.refusals
        ]
        if sheet.unknown:
            inventory.notes.append(f"{kind.file}: nobody knows the columns {', '.join(sheet.unknown)}")
    require_rows(inventory)
    return inventory


def located(refusal: Refusal) -> dict[str, Any]:
    """A refusal with the file that its line stands in, and its column as that file calls it."""
    place, line = divmod(refusal.line, LINES_APART)
    kind, column = (KINDS[place - 1] if 0 < place <= len(KINDS) else None), refusal.column
    if kind is not None:
        column = column.removeprefix(f"{kind.part}.")
        column = kind.id_column if column == "name" else column
    file = kind.file if kind is not None else LUMINAIRES
    return {"file": file, "line": line, "column": column, "reason": refusal.reason, "value": refusal.value}


def _report(
    folder: Path,
    tables: dict[str, Table],
    inventory: Inventory,
    report: inventory_pb2.ImportReport | None,
    taken: list[MeterReport],
    refusals: list[dict[str, Any]],
    as_json: bool,
) -> None:
    facts = {
        "folder": str(folder),
        "files": {file: len(table.rows) for file, table in tables.items()},
        "luminaires": {name: getattr(report, name) if report else 0 for name in ("created", "updated", "unchanged")},
        "parts": {
            name: getattr(report, f"parts_{name}") if report else 0 for name in ("created", "updated", "unchanged")
        },
        "meters": {name: sum(getattr(one, name) for one in taken) for name in ("created", "updated", "unchanged")},
        "refused": len({(item["file"], item["line"]) for item in refusals}),
        "stored": bool(report and report.committed),
    }
    if as_json:
        print_json(facts | {"notes": inventory.notes, "refusals": refusals})
        return
    for file, table in tables.items():
        console.print(f"{file} ({table.habits}): {len(table.rows)} lines", markup=False)
    if report:
        console.print(
            f"luminaires: {report.created} new, {report.updated} changed, {report.unchanged} as before; all else:"
            f" {report.parts_created} new, {report.parts_updated} changed, {report.parts_unchanged} as before",
            markup=False,
        )
    for one in taken:
        console.print(f"meters: {one.created} new, {one.updated} changed, {one.unchanged} as before", markup=False)
    console.print(f"{'stored' if facts['stored'] else 'nothing was stored'}; {facts['refused']} lines refused")
    note_lines(f"  note: {text}" for text in inventory.notes)
    print_rows(refusals[:SHOWN_REFUSALS], False, empty="no line was refused")
    if len(refusals) > SHOWN_REFUSALS:
        note(f"... and {len(refusals) - SHOWN_REFUSALS} more refusals; --json prints all of them")
