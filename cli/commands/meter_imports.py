"""lichtbuch import meters, and the meters of import town and export town."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from cli.commands.meters import list_all
from cli.errors import PARTIAL, WRONG_INPUT
from cli.exporting.sheets import write_sheet
from cli.importing.luminaires import Refusal
from cli.importing.meters import (
    HOUSING,
    METERS,
    Line,
    as_told,
    checked,
    differing,
    independent,
    ordered,
    read_meters,
    refusals_of,
    without_housing,
)
from cli.importing.tables import Table, read_table
from cli.options import DryRun, Json, SkipInvalid, Town
from cli.output import console, note_lines, notes, print_json, print_rows
from cli.session import Session, online
from domain.errors import AlreadyExists, FailedPrecondition, InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb

SHOWN_REFUSALS: Final = 20
AT_ONCE: Final = 16
"""Lines that are on their way to the service at a time."""


@dataclass
class MeterReport:
    """What became of a file of meters."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stored: bool = False
    ended_by: int | None = None
    """The line that was refused and ended the import."""


def import_meters(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or XLSX; columns as `export town` writes them.")],
    skip_invalid: SkipInvalid = False,
    dry_run: DryRun = False,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Take in meters: new ones are created, others get what the file tells. The same file again changes nothing.

    Nothing is stored while a line is wrong in itself. What only the service knows to be wrong ends the import there,
    unless --skip-invalid; a few lines that were on their way may be stored. Exit code 0: stored, or a dry run without
    refusals; 3: stored without the refused lines; 2: nothing stored.
    """

    async def ask(session: Session) -> tuple[Table, MeterReport]:
        with notes.status("reading"):
            table = read_table(file)
        return table, await take_meters(session, table, skip_invalid=skip_invalid, dry_run=dry_run)

    table, report = online(ask, municipality)
    lines = len({item.line for item in report.refusals})
    facts: dict[str, Any] = {
        "file": str(file),
        "read_as": table.habits,
        "lines": len(table.rows),
        "created": report.created,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "refused": lines,
        "stored": report.stored,
        "dry_run": dry_run,
    }
    if as_json:
        print_json(facts | {"notes": report.notes, "refusals": [vars(item) for item in report.refusals]})
    else:
        console.print(
            f"{file.name} ({table.habits}): {report.created} new, {report.updated} changed, {report.unchanged} as"
            f" before, {lines} refused; {'stored' if report.stored else 'nothing was stored'}",
            markup=False,
        )
        note_lines(f"  note: {text}" for text in report.notes)
        print_rows([vars(item) for item in report.refusals[:SHOWN_REFUSALS]], False, empty="no line was refused")
    if report.stored:
        raise typer.Exit(PARTIAL if lines else 0)
    raise typer.Exit(WRONG_INPUT if lines else 0)


async def take_meters(session: Session, table: Table, *, skip_invalid: bool, dry_run: bool) -> MeterReport:
    """Takes in the meters of a table. Raises InvalidInput where no column holds ids."""
    report, parent = MeterReport(), await session.parent()
    sheet = read_meters(table, parent, await session.zone())
    if sheet.unknown:
        report.notes.append(f"{METERS.file}: nobody knows the columns {', '.join(sheet.unknown)}")
    stored = {meter.name: meter for meter in await list_all(session)}
    lines, refusals = ordered(sheet.lines, stored)
    report.refusals = sheet.refusals + refusals
    for line in lines:
        report.refusals += checked(line, as_told(line, stored.get(line.meter.name)))
    wrong = {item.line for item in report.refusals}
    if wrong and not skip_invalid and not dry_run:
        return report
    report.stored = not dry_run
    turns = asyncio.Semaphore(AT_ONCE)

    async def take(line: Line) -> None:
        """One line; none any more once one was refused that ends the import."""
        async with turns:
            if report.ended_by is None:
                await _take_or_refuse(session, parent, line, stored, report, dry_run=dry_run, goes_on=skip_invalid)

    for group in independent([line for line in lines if line.number not in wrong], stored):
        async with asyncio.TaskGroup() as tasks:
            for line in group:
                tasks.create_task(take(line))
    if report.ended_by is not None:
        report.notes.append(f"line {report.ended_by} was refused: no further lines were looked at")
    report.refusals.sort(key=lambda refusal: refusal.line)
    report.stored = report.stored and bool(report.created or report.updated or report.unchanged)
    return report


async def _take_or_refuse(
    session: Session,
    parent: str,
    line: Line,
    stored: dict[str, pb.Meter],
    report: MeterReport,
    *,
    dry_run: bool,
    goes_on: bool,
) -> None:
    try:
        await _take(session, parent, line, stored, report, dry_run=dry_run)
        return
    except AlreadyExists:
        report.refusals.append(Refusal(line.number, METERS.id_column, "somebody has created it meanwhile"))
    except (InvalidInput, FailedPrecondition) as error:
        report.refusals += refusals_of(line, InvalidInput(violations=error.violations))
    if not goes_on:
        report.ended_by = min(line.number, report.ended_by or line.number)


async def _take(
    session: Session, parent: str, line: Line, stored: dict[str, pb.Meter], report: MeterReport, *, dry_run: bool
) -> None:
    name = line.meter.name
    before = stored.get(name)
    wanted = as_told(line, before)
    checked(line, wanted)
    housing = stored.get(wanted.device) if wanted.device else None
    without_housing(wanted, housing)
    if before is None:
        request = pb.CreateMeterRequest(parent=parent, meter_id=name.rsplit("/", 1)[-1], meter=wanted)
        request.meter.ClearField("name")
        stored[name] = wanted if dry_run else await session.metering.CreateMeter(request)
        report.created += 1
        return
    was = pb.Meter()
    was.CopyFrom(before)
    if housing is not None:
        # Registers were given what their housing has with that one's own line.
        for field_name in HOUSING:
            was.ClearField(field_name)
    paths = differing(wanted, was)
    if not paths:
        report.unchanged += 1
        return
    wanted.ClearField("etag")
    wanted.ClearField("lives")
    request_to_change = pb.UpdateMeterRequest(meter=wanted, update_mask=FieldMask(paths=paths))
    stored[name] = wanted if dry_run else await session.metering.UpdateMeter(request_to_change)
    report.updated += 1


async def write_meters(session: Session, folder: Path) -> dict[str, Any]:
    """Writes meters.csv into a folder that is there. Raises OSError."""
    found: Iterable[pb.Meter] = await list_all(session)
    part = folder / f"{METERS.file}.part"
    try:
        with part.open("w", encoding="utf-8", newline="") as stream:
            lines = write_sheet(stream, METERS, found)
        part.replace(folder / METERS.file)
    finally:
        part.unlink(missing_ok=True)
    return {"file": str(folder / METERS.file), "lines": lines}
