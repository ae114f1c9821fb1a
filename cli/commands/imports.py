"""lichtbuch import luminaires: real inventories into lighting, with a report."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.progress import Progress

from cli.errors import PARTIAL, WRONG_INPUT
from cli.importing.luminaires import REDUCTIONS, Inventory, LuminaireRow, Refusal, chunks, read_inventory, require_rows
from cli.importing.mapping import given_mapping, make_mapping
from cli.importing.parts import read_parts
from cli.importing.plain import write_plain
from cli.importing.tables import Table, read_table
from cli.options import DryRun, Json, MaxDistance, SkipInvalid, Town
from cli.output import console, note, note_lines, notes, print_json, print_rows
from cli.session import Session, online
from domain.errors import InvalidInput
from domain.names import new_uid
from lichtbuch.lighting.v1 import inventory_pb2, lighting_pb2

app = typer.Typer(help="Take in inventories and readings from files.", no_args_is_help=True)

SHOWN_REFUSALS = 20


def to_columns(rows: list[LuminaireRow], every: list[LuminaireRow] | None = None) -> inventory_pb2.LuminaireColumns:
    """Rows as the columns of the contract; a column that is unknown for all stays empty.

    every: all rows of the import where these are some of them: a column is in every message or in none.
    """
    known = every or rows
    columns = inventory_pb2.LuminaireColumns(
        luminaire_ids=[row.luminaire_id for row in rows], source_lines=[row.line for row in rows]
    )
    for column, field, unknown in _COLUMNS:
        nothing = (None, unknown)
        if any(getattr(row, field) not in nothing for row in known):
            values = (getattr(row, field) for row in rows)
            getattr(columns, column).extend(unknown if value is None else value for value in values)
    if any(row.reduction for row in known):
        numbers = (REDUCTIONS.index(row.reduction) + 1 if row.reduction else 0 for row in rows)
        columns.reductions.extend(map(inventory_pb2.Reduction.ValueType, numbers))
    return columns


_COLUMNS: Final[tuple[tuple[str, str, Any], ...]] = (
    ("latitudes_deg", "latitude_deg", math.nan),
    ("longitudes_deg", "longitude_deg", math.nan),
    ("poles", "pole", ""),
    ("streets", "street", ""),
    ("model_ids", "model", ""),
    ("feeder_ids", "feeder", ""),
    ("gateway_ids", "gateway", ""),
    ("gateway_addresses", "gateway_address", -1),
    ("group_ids", "group", ""),
    ("lighting_classes", "lighting_class", ""),
    ("floors_permille", "floor_permille", 0),
    ("conflict_areas", "conflict_area", False),
    ("installed_powers_w", "installed_power_w", math.nan),
    ("previous_lamp_powers_w", "previous_lamp_power_w", math.nan),
    ("previous_ballast_powers_w", "previous_ballast_power_w", math.nan),
    ("previous_half_nights", "previous_half_night", False),
    ("lamp_technologies", "lamp_technology", ""),
    ("installed_on_dates", "installed_on", ""),
    ("virtual_outputs_permille", "virtual_output_permille", 0),
    ("initial_burning_hours", "initial_burning_hours", 0),
)
"""Columns of the contract, fields of a row, and what stands for unknown."""


async def send_inventory(
    session: Session, inventory: Inventory, *, skip_invalid: bool, dry_run: bool, reason: str = ""
) -> inventory_pb2.ImportReport:
    """Send what could be read; lighting checks the rest and stores all or nothing."""
    settings = lighting_pb2.ImportSettings(
        parent=await session.parent(),
        skip_invalid=skip_invalid,
        dry_run=dry_run,
        request_id=new_uid(),
        refused_by_reader=inventory.refused_lines,
        reason=reason,
    )

    async def messages() -> AsyncIterator[lighting_pb2.ImportLuminairesRequest]:
        yield lighting_pb2.ImportLuminairesRequest(settings=settings)
        for part in inventory.parts:
            yield lighting_pb2.ImportLuminairesRequest(part=part)
        with Progress(console=notes, transient=True) as progress:
            task = progress.add_task("sending", total=len(inventory.rows))
            for chunk in chunks(inventory.rows):
                yield lighting_pb2.ImportLuminairesRequest(columns=to_columns(chunk, inventory.rows))
                progress.advance(task, len(chunk))

    return await session.lighting.ImportLuminaires(messages(), timeout=300)


def refusals_of(report: inventory_pb2.ImportReport) -> list[Refusal]:
    """What lighting refused, in the reader's form."""
    return [Refusal(item.source_line, item.column, item.reason, item.value) for item in report.refused_lines]


@app.command("luminaires")
def import_luminaires(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, XLSX, GeoJSON, JSON, Shapefile (.shp or .zip).")],
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="FIELD=COLUMN", help="Which column a field is in; repeat it. See docs/importing.md."
        ),
    ] = None,
    mapping_file: Annotated[Path | None, typer.Option("--mapping", help="A TOML file of FIELD = 'COLUMN'.")] = None,
    crs: Annotated[
        str, typer.Option("--crs", help="Coordinate system, e.g. EPSG:25832, where the file has none.")
    ] = "",
    max_distance_km: MaxDistance = 100.0,
    skip_invalid: SkipInvalid = False,
    dry_run: DryRun = False,
    offline: Annotated[bool, typer.Option("--offline", help="Only read and check the file; ask no service.")] = False,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="OUT.csv", help="With --offline: write what could be read as a plain CSV file."),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with every version that it makes.")] = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Take in an inventory of luminaires: all lines or none, unless --skip-invalid.

    Exit code 0: stored, or a dry run without refusals; 3: stored without the refused lines; 2: nothing stored.
    With --to, what is written counts as stored.
    """
    _check_target(file, to, offline)
    with notes.status("reading"):
        table = read_table(file)
        columns = make_mapping(table.columns, given_mapping(mapping or [], mapping_file))

    async def ask(session: Session) -> tuple[Inventory, inventory_pb2.ImportReport]:
        town = await session.municipality()
        near = (town.position.latitude_deg, town.position.longitude_deg) if town.HasField("position") else None
        inventory = read_inventory(table, columns, crs=crs, near=near, max_distance_km=max_distance_km)
        add_parts(inventory, table, town.name)
        require_rows(inventory)
        return inventory, await send_inventory(
            session, inventory, skip_invalid=skip_invalid, dry_run=dry_run, reason=reason
        )

    if offline:
        inventory, report = read_inventory(table, columns, crs=crs), None
        add_parts(inventory, table, "municipalities/offline")
        require_rows(inventory)
    else:
        inventory, report = online(ask, municipality)
    written = write_plain(inventory.rows, to) if to is not None and inventory.rows else 0
    _report(file, table.habits, inventory, report, as_json, (to, written) if to and written else None)
    refused = len({item.line for item in _all_refusals(inventory, report)})
    if written or (report is not None and report.committed):
        raise typer.Exit(PARTIAL if refused else 0)
    raise typer.Exit(WRONG_INPUT if refused else 0)


def add_parts(inventory: Inventory, table: Table, parent: str) -> None:
    """Reads what the file tells of beside luminaires, for a municipality, into the inventory."""
    inventory.parts, refusals = read_parts(table.entities, parent)
    inventory.refusals += refusals


def _check_target(file: Path, to: Path | None, offline: bool) -> None:
    """Raises InvalidInput for a file to write to that makes no sense."""
    if to is None:
        return
    if not offline:
        raise InvalidInput.of("--to", "needs --offline: it writes a file and stores nothing in the town")
    if to.resolve() == file.resolve():
        raise InvalidInput.of("--to", "is the file that is read: give another one")


def _all_refusals(inventory: Inventory, report: inventory_pb2.ImportReport | None) -> list[Refusal]:
    return sorted(inventory.refusals + (refusals_of(report) if report else []), key=lambda item: item.line)


def _report(
    file: Path,
    habits: str,
    inventory: Inventory,
    report: inventory_pb2.ImportReport | None,
    as_json: bool,
    written: tuple[Path, int] | None = None,
) -> None:
    refusals = _all_refusals(inventory, report)
    lines = len({item.line for item in refusals})
    facts: dict[str, Any] = {
        "file": str(file),
        "read_as": habits,
        "coordinates": inventory.crs,
        "taken": len(inventory.rows) - (report.refused if report else 0),
        "created": report.created if report else 0,
        "updated": report.updated if report else 0,
        "unchanged": report.unchanged if report else 0,
        "refused": lines,
        "stored": bool(report and report.committed),
        "parts": {
            "told": len(inventory.parts),
            "created": report.parts_created if report else 0,
            "updated": report.parts_updated if report else 0,
            "unchanged": report.parts_unchanged if report else 0,
        },
    }
    if written:
        facts["written_to"] = str(written[0])
    if as_json:
        refused = [vars(item) for item in refusals]
        print_json(facts | {"notes": inventory.notes, "refusals": refused})
        return
    outcome = "stored" if facts["stored"] else f"written to {written[0]}" if written else "nothing was stored"
    console.print(
        f"{file.name} ({habits}; {inventory.crs}): {facts['taken']} taken, {lines} refused; {outcome}"
        + (f" ({report.created} new, {report.updated} changed, {report.unchanged} as before)" if report else ""),
        markup=False,
    )
    if inventory.parts:
        parts = facts["parts"]
        console.print(
            f"  models, cabinets, feeders, groups: {parts['told']} told of"
            + (f" ({parts['created']} new, {parts['updated']} changed)" if report else ""),
            markup=False,
        )
    note_lines(f"  note: {text}" for text in inventory.notes)
    print_rows(
        [
            {"line": item.line, "column": item.column, "reason": item.reason, "value": item.value}
            for item in refusals[:SHOWN_REFUSALS]
        ],
        False,
        empty="no line was refused",
    )
    if len(refusals) > SHOWN_REFUSALS:
        note(f"... and {len(refusals) - SHOWN_REFUSALS} more refusals; --json prints all of them")
    if lines and not facts["stored"] and not written:
        note("mend the file, or take the valid lines with --skip-invalid")
