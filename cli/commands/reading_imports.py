"""lichtbuch import readings: files of readings of every kind into metering, piece by piece, with a report."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.progress import Progress

from cli.errors import PARTIAL, WRONG_INPUT, report
from cli.importing.luminaires import Refusal
from cli.importing.readings.collect import MAX_TOLD, Piece
from cli.importing.readings.declared import read_mapping
from cli.importing.readings.known import Directory, Kind, KnownMeter, Step
from cli.importing.readings.reader import ReadingsFile, open_readings
from cli.options import DryRun, Json, Town
from cli.output import console, json_text, note, note_lines, notes, print_json, print_rows
from cli.session import Session, all_pages, online
from domain.errors import InvalidInput, LichtbuchError
from lichtbuch.metering.v1 import metering_pb2 as pb

SHOWN: Final = 20
MAX_FINDINGS: Final = 1_000
_STEPS: Final = {
    pb.READING_CYCLE_QUARTER_HOUR: Step.QUARTER_HOUR,
    pb.READING_CYCLE_HALF_HOUR: Step.HALF_HOUR,
    pb.READING_CYCLE_HOUR: Step.HOUR,
    pb.READING_CYCLE_DAY: Step.DAY,
    pb.READING_CYCLE_MONTH: Step.MONTH,
    pb.READING_CYCLE_YEAR: Step.YEAR,
}
_LONG_NUMBER: Final = re.compile(r"\d{3,}")


@dataclass
class Outcome:
    """What became of a file, at both ends."""

    file: ReadingsFile
    stored: int = 0
    unchanged: int = 0
    refused: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    by_reason: Counter[str] = field(default_factory=Counter)
    findings: list[pb.RuleFinding] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)
    error: LichtbuchError | None = None

    @property
    def all_refused(self) -> int:
        """Values refused here and by the service."""
        return self.refused + self.file.tally.refused

    def add(self, piece: Piece, answer: pb.IngestReadingsResponse) -> None:
        """Takes the answer to a piece."""
        self.stored += answer.stored
        self.unchanged += answer.unchanged
        self.refused += answer.refused
        told = 0
        for sentence in answer.refusals:
            index, colon, reason = sentence.partition(":")
            line = piece.lines[int(index)] if colon and index.isdigit() and int(index) < len(piece) else 0
            self.by_reason[_LONG_NUMBER.sub("...", reason.strip() if colon else sentence)] += 1
            told += 1
            if len(self.refusals) < MAX_TOLD:
                self.refusals.append(Refusal(line, "", reason.strip() if colon else sentence))
        if answer.refused > told:
            self.by_reason["(not told in words)"] += answer.refused - told
        for finding in answer.findings:
            self.found[finding.rule] += finding.count
            if len(self.findings) < MAX_FINDINGS:
                self.findings.append(finding)


def known_meter(meter: pb.Meter, housing: pb.Meter | None) -> KnownMeter:
    """A meter of the contract as an import has to know it; `housing` is the meter that it sits in, if it does."""
    cycle = meter.reading_cycle
    regular = pb.READING_CYCLE_QUARTER_HOUR if meter.endpoint and not cycle else cycle
    identities = [meter.serial_number, meter.market_location, meter.metering_location]
    if housing is not None:
        identities += [housing.serial_number, housing.market_location, housing.metering_location]
    changes = tuple(
        (
            life.installed_at.ToMilliseconds() if life.HasField("installed_at") else 0,
            _unit(life.unit),
            life.scale_exponent,
        )
        for life in meter.lives
        if life.unit
    )
    return KnownMeter(
        meter.name,
        _unit(meter.unit),
        Kind(meter.kind or Kind.COUNTER),
        meter.scale_exponent,
        _STEPS.get(regular),
        meter.obis_code,
        tuple(filter(None, identities)),
        changes if len({change[1:] for change in changes}) > 1 else (),
        housing is not None,
    )


def _unit(number: int) -> str:
    return pb.Unit.Name(number).removeprefix("UNIT_")  # type: ignore[arg-type]


async def directory_of(session: Session) -> Directory:
    """The town's meters by all their names."""
    listed = await all_pages(session.metering.ListMeters, pb.ListMetersRequest(parent=await session.parent()), "meters")
    by_name = {meter.name: meter for meter in listed}
    return Directory(known_meter(meter, by_name.get(meter.device)) for meter in listed)


def columns_of(piece: Piece) -> pb.ReadingColumns:
    """A piece as the contract has it."""
    columns = pb.ReadingColumns(
        meters=piece.meters,
        meter_indexes=piece.indexes,
        slots_unix_ms=piece.slots,
        values=piece.values,
        statuses=piece.statuses,  # type: ignore[arg-type]  # numbered as the contract numbers them
    )
    if any(piece.observed):
        columns.observed_at_unix_ms.extend(piece.observed)
    return columns


async def send_readings(session: Session, file: ReadingsFile, source: str, *, dry_run: bool) -> Outcome:
    """Sends a file piece by piece. What goes wrong on the way ends it, and stands in the outcome."""
    outcome, parent = Outcome(file), await session.parent()
    with Progress(console=notes, transient=True, disable=not notes.is_terminal) as progress:
        task = progress.add_task("importing", total=file.size or None)
        try:
            for piece in file.pieces:
                if len(piece):
                    request = pb.IngestReadingsRequest(
                        parent=parent, readings=columns_of(piece), source=source, dry_run=dry_run
                    )
                    outcome.add(piece, await session.metering.IngestReadings(request, timeout=300))
                progress.update(task, completed=file.done())
            # Behind the last reading there may be lines without one; and a spreadsheet's length shows at its end.
            whole = file.size or file.done() or 1
            progress.update(task, total=whole, completed=whole)
        except LichtbuchError as error:
            if not outcome.stored and not outcome.unchanged:
                raise
            outcome.error = error
    return outcome


def import_readings(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV (also .gz), XLSX, or MSCONS.")],
    mapping: Annotated[
        Path | None, typer.Option("--mapping", help="A TOML file that says which series is which meter.")
    ] = None,
    layout: Annotated[
        str, typer.Option(help="long, wide (a row is a day) or mscons; default: what it looks like.")
    ] = "",
    meter: Annotated[str, typer.Option("--meter", help="Id of the meter, where no column names it.")] = "",
    meter_column: Annotated[str, typer.Option(help="Column that names the meter: id, serial number, MPAN, MeLo.")] = "",
    date_column: Annotated[str, typer.Option(help="Column of the day.")] = "",
    time_column: Annotated[str, typer.Option(help="Column of the time, or of the time of day.")] = "",
    value_column: Annotated[str, typer.Option(help="Column of the values; of wide tables what stands before 1.")] = "",
    quality_column: Annotated[str, typer.Option(help="Column that says measured or estimated.")] = "",
    unit_column: Annotated[str, typer.Option(help="Column that says the unit.")] = "",
    unit: Annotated[str, typer.Option(help="Wh, kWh, MWh, MJ, l, m3, kg, t, °C, ...; kW for mean powers.")] = "",
    values: Annotated[str, typer.Option(help="counter, interval or state: refused if the meter is another kind.")] = "",
    stamp: Annotated[str, typer.Option(help="What the time of an interval says: its start or its end.")] = "",
    step: Annotated[str, typer.Option(help="Length of the intervals: 15m, 30m, 1h, 1d, 1mo, 1y.")] = "",
    first_ends: Annotated[str, typer.Option(help="Wide tables: when the first column's interval ends, 00:30.")] = "",
    time_zone: Annotated[
        str, typer.Option("--time-zone", help="Of times without one: Europe/Berlin, UTC, +01:00; default: the town's.")
    ] = "",
    time_format: Annotated[str, typer.Option(help="Form of the times, as strptime has it: %m/%d/%Y %H:%M.")] = "",
    decimal: Annotated[str, typer.Option(help="Decimal sign, where it cannot be told: , or .")] = "",
    encoding: Annotated[str, typer.Option(help="utf-8, cp1252, utf-16; default: what fits.")] = "",
    header_line: Annotated[int, typer.Option(help="Line of the column names, where lines stand above it.")] = 0,
    missing: Annotated[
        list[str] | None, typer.Option("--missing", help="What stands for no value: zero, -999, ...; repeat it.")
    ] = None,
    tolerance: Annotated[int, typer.Option(help="Take stamps up to so many seconds off a quarter hour for it.")] = 0,
    hand: Annotated[bool, typer.Option("--hand", help="Readings by hand: on any minute, marked so.")] = False,
    dry_run: DryRun = False,
    report_file: Annotated[Path | None, typer.Option("--report", help="Write the whole report there as JSON.")] = None,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Take in readings of meters from a file. What is stored already changes nothing.

    Exit code 0: all stored, or nothing to refuse in a dry run; 3: stored without the refused values; 2: nothing stored.
    """
    declared = read_mapping(mapping).with_options(
        layout=layout, meter=meter, meter_column=meter_column, date_column=date_column, time_column=time_column,
        value_column=value_column, quality_column=quality_column, unit_column=unit_column, unit=unit, values=values,
        stamp=stamp, step=step, first_ends=first_ends, time_zone=time_zone, time_format=time_format, decimal=decimal,
        encoding=encoding, header_line=header_line, missing=tuple(missing or ()), tolerance_s=tolerance,
    )  # fmt: skip

    async def ask(session: Session) -> Outcome:
        zone = str(await session.zone())
        opened = open_readings(file, declared, await directory_of(session), time_zone=zone, hand=hand)
        source = f"import:{file.name}".encode()[:200].decode("utf-8", "ignore")
        return await send_readings(session, opened, source, dry_run=dry_run)

    outcome = online(ask, municipality)
    facts = facts_of(file, outcome, dry_run)
    if report_file is not None:
        _write(report_file, facts)
    if as_json:
        print_json(facts)
    else:
        _print(file, outcome, facts)
    _end(outcome, dry_run)


def _end(outcome: Outcome, dry_run: bool) -> None:
    if outcome.error is not None:
        outcome.error.add_note(
            f"{outcome.stored} readings are stored; the same command takes the rest once the cause is gone"
        )
        if not isinstance(outcome.error, InvalidInput):
            raise outcome.error
        report(outcome.error)
        raise typer.Exit(PARTIAL if outcome.stored and not dry_run else WRONG_INPUT)
    if not outcome.all_refused:
        raise typer.Exit(0)
    kept = (outcome.stored or outcome.unchanged) and not dry_run
    raise typer.Exit(PARTIAL if kept else WRONG_INPUT)


def facts_of(path: Path, outcome: Outcome, dry_run: bool) -> dict[str, Any]:
    """The report: what the file holds, what became of it, what was refused and what the rules found."""
    file, tally = outcome.file, outcome.file.tally
    refusals = [*tally.refusals, *outcome.refusals][:MAX_TOLD]
    return {
        "file": str(path),
        "layout": file.layout,
        "read_as": file.habits,
        "dry_run": dry_run,
        "lines": tally.lines,
        "readings": tally.readings,
        "missing": tally.missing,
        "rounded": tally.rounded,
        "passed_over": tally.skipped,
        "stored": outcome.stored,
        "unchanged": outcome.unchanged,
        "refused": outcome.all_refused,
        "refused_by_reason": dict((tally.by_reason + outcome.by_reason).most_common()),
        "meters": [
            {
                "meter": name.rsplit("/", 1)[-1],
                "readings": span.readings,
                "from": _at(span.first_ms),
                "until": _at(span.last_ms),
            }
            for name, span in sorted(tally.meters.items())
        ],
        "findings_by_rule": dict(outcome.found.most_common()),
        "findings": [
            {
                "meter": finding.meter.rsplit("/", 1)[-1],
                "rule": finding.rule,
                "count": finding.count,
                "from": finding.first_slot.ToJsonString(),
                "until": finding.last_slot.ToJsonString(),
                "doubted": finding.is_doubted,
                "detail": finding.detail,
            }
            for finding in outcome.findings
        ],
        "refusals": [vars(refusal) for refusal in refusals],
        "notes": tally.notes,
        "ended_by": str(outcome.error) if outcome.error else "",
    }


def _at(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _write(path: Path, facts: dict[str, Any]) -> None:
    try:
        path.write_text(json_text(facts, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        note(f"the report cannot be written to {path}: {error.strerror}")


def _print(path: Path, outcome: Outcome, facts: dict[str, Any]) -> None:
    would = "would be stored" if facts["dry_run"] else "stored"
    console.print(
        f"{path.name} ({facts['read_as']}): {facts['readings']} readings of {len(facts['meters'])} meters in"
        f" {facts['lines']} lines: {outcome.stored} {would}, {outcome.unchanged} there before,"
        f" {outcome.all_refused} refused, {facts['missing']} missing",
        markup=False,
    )
    if facts["rounded"]:
        note(f"{facts['rounded']} values have more digits than their meters store, and were rounded")
    note_lines(f"note: {text}" for text in facts["notes"])
    _table(facts["meters"], "meters")
    _table(
        [{"rule": rule, "readings": count} for rule, count in facts["findings_by_rule"].items()],
        "rules that were broken",
    )
    _table([{"refused": count, "because it": why} for why, count in facts["refused_by_reason"].items()], "refusals")
    _table(facts["refusals"], "where")


def _table(rows: Iterable[dict[str, Any]], what: str) -> None:
    listed = list(rows)
    if listed:
        print_rows(listed[:SHOWN], False, title=what)
    if len(listed) > SHOWN:
        note(f"... and {len(listed) - SHOWN} more {what}; --report FILE has them")
