"""lichtbuch readings list|edit|estimate|validate: what is stored, what is put right, what stands in for a gap."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer

from cli import parsing
from cli.commands.meters import End, Meters, Start, period
from cli.options import DryRun, Json, Town
from cli.output import enum_word, note, note_lines, print_rows
from cli.session import Session, online
from domain.errors import InvalidInput
from domain.night import unix_ms
from lichtbuch.metering.v1 import metering_pb2
from servicekit.convert import timestamp_to_proto

app = typer.Typer(help="Readings of meters.", no_args_is_help=True)

METHODS: Final = {
    "linear": metering_pb2.ESTIMATION_METHOD_LINEAR,
    "weekdays": metering_pb2.ESTIMATION_METHOD_WEEKDAY_PROFILE,
}
_SET: Final = re.compile(r"(?P<at>[^=]+)=(?P<value>-?\d+)")
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept with the readings.")]
Meter = Annotated[str, typer.Argument(help="The meter, by the last part of its name.")]


def reading_rows(columns: metering_pb2.ReadingColumns, tz: ZoneInfo) -> list[dict[str, Any]]:
    """Columns of readings as rows; with where each comes from, if the columns say so."""
    rows: list[dict[str, Any]] = []
    for index, slot in enumerate(columns.slots_unix_ms):
        observed = columns.observed_at_unix_ms[index] if columns.observed_at_unix_ms else 0
        row: dict[str, Any] = {
            "meter": columns.meters[columns.meter_indexes[index]].rsplit("/", 1)[-1],
            "slot": _local(slot, tz).isoformat(timespec="seconds"),
            "value": columns.values[index],
            "status": enum_word(metering_pb2.ReadingStatus.Name(columns.statuses[index]), "READING_STATUS_"),
            "observed_at": _local(observed, tz).isoformat(timespec="milliseconds") if observed else None,
            "revision": columns.revisions[index] if columns.revisions else 0,
        }
        if columns.batch_indexes:
            batch = columns.batches[columns.batch_indexes[index]]
            stored_at = batch.stored_at.ToDatetime(tzinfo=UTC).astimezone(tz).isoformat(timespec="seconds")
            row |= {"source": batch.source, "by": batch.actor, "stored_at": stored_at, "why": batch.reason}
        rows.append(row)
    return rows


def _local(milliseconds: int, tz: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone(tz)


@app.command("list")
def list_readings(
    meter: Meters = None,
    start: Start = "",
    end: End = "",
    all_revisions: Annotated[
        bool, typer.Option("--all-revisions", help="Every revision, with where it comes from, who brought it and why.")
    ] = False,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """List stored readings; gaps are listed as gaps."""

    async def ask(session: Session) -> list[dict[str, Any]]:
        begin, until = await period(session, start, end)
        request = metering_pb2.ListReadingsRequest(
            parent=await session.parent(),
            meters=[await session.name("meters", item) for item in meter or []],
            start_time=timestamp_to_proto(begin),
            end_time=timestamp_to_proto(until),
            page_size=10_000,
            all_revisions=all_revisions,
        )
        rows: list[dict[str, Any]] = []
        while True:
            answer = await session.metering.ListReadings(request)
            rows += reading_rows(answer.readings, await session.zone())
            if not answer.next_page_token:
                return rows
            request.page_token = answer.next_page_token

    print_rows(online(ask, municipality), as_json, empty="no reading is stored in that period")


@app.command("edit")
def edit_readings(
    meter: Meter,
    reason: Reason,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A local time and a value as the list shows it: 2026-03-28T10:00=123456; repeat it."
        ),
    ] = None,
    rejected: Annotated[
        list[str] | None, typer.Option("--reject", help="A local time whose reading is none; repeat it.")
    ] = None,
    substituted: Annotated[
        bool, typer.Option("--substituted", help="The values come from elsewhere: a bill, a neighbouring meter.")
    ] = False,
    seen: Annotated[
        list[int] | None,
        typer.Option("--seen", help="Revision that you have seen, for each in turn; refused where another one stands."),
    ] = None,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Put readings right, with who and why. What stood there stays in the list of revisions."""
    if bool(values) == bool(rejected):
        raise InvalidInput.of("set", "values to --set or times to --reject are needed, not both")

    async def ask(session: Session) -> tuple[int, list[dict[str, Any]]]:
        tz = await session.zone()
        pairs = [_pair(text, tz) for text in values or []]
        status = metering_pb2.READING_STATUS_SUBSTITUTED if substituted else metering_pb2.READING_STATUS_EDITED
        request = metering_pb2.EditReadingsRequest(
            name=await session.name("meters", meter),
            slots_unix_ms=[slot for slot, _ in pairs] or [_slot(text, tz, "reject") for text in rejected or []],
            values=[value for _, value in pairs],
            status=metering_pb2.READING_STATUS_GAP if rejected else status,
            seen_revisions=seen or [],
            reason=reason,
        )
        answer = await session.metering.EditReadings(request)
        return answer.stored, reading_rows(answer.readings, tz)

    stored, rows = online(ask, municipality)
    print_rows(rows, as_json)
    if stored < len(rows):
        note(f"{len(rows) - stored} of them said the same already")


def _pair(text: str, tz: ZoneInfo) -> tuple[int, int]:
    match = _SET.fullmatch(text.strip())
    if match is None:
        raise InvalidInput.of("set", f"{text!r} is no TIME=VALUE with a whole number; write 2026-03-28T10:00=123456")
    return _slot(match["at"], tz, "set"), int(match["value"])


def _slot(text: str, tz: ZoneInfo, field: str) -> int:
    if "T" not in text.strip():
        raise InvalidInput.of(field, f"{text!r} is no local date and time; write 2026-03-28T10:00")
    return unix_ms(parsing.instant(text, tz, datetime.now(UTC), field))


@app.command("estimate")
def estimate_readings(
    meter: Meter,
    start: Start = "",
    end: End = "",
    method: Annotated[
        str,
        typer.Option(help="linear: a straight line; weekdays: the profile of the same weekdays around."),
    ] = "linear",
    reason: Reason = "",
    dry_run: DryRun = False,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Fill the gaps of a meter, as far as they have an end. Estimates are flagged and give way to measured readings."""
    if method not in METHODS:
        raise InvalidInput.of("method", f"{method!r} is none of {', '.join(METHODS)}")

    async def ask(session: Session) -> tuple[list[dict[str, Any]], list[str]]:
        begin, until = await period(session, start, end)
        answer = await session.metering.EstimateReadings(
            metering_pb2.EstimateReadingsRequest(
                name=await session.name("meters", meter),
                start_time=timestamp_to_proto(begin),
                end_time=timestamp_to_proto(until),
                method=METHODS[method],
                reason=reason,
                dry_run=dry_run,
            )
        )
        return reading_rows(answer.readings, await session.zone()), list(answer.unfilled)

    rows, unfilled = online(ask, municipality)
    print_rows(rows, as_json, empty="nothing is missing that could be estimated")
    note_lines(f"not filled, {sentence}" for sentence in unfilled)
    if dry_run:
        note("nothing was stored")


@app.command("validate")
def validate_readings(
    meter: Meters = None, start: Start = "", end: End = "", municipality: Town = "", as_json: Json = False
) -> None:
    """Hold stored readings against the rules of validation. Changes nothing."""

    async def ask(session: Session) -> tuple[list[dict[str, Any]], int]:
        begin, until = await period(session, start, end)
        tz = await session.zone()
        answer = await session.metering.ValidateReadings(
            metering_pb2.ValidateReadingsRequest(
                parent=await session.parent(),
                meters=[await session.name("meters", item) for item in meter or []],
                start_time=timestamp_to_proto(begin),
                end_time=timestamp_to_proto(until),
            )
        )
        return [_finding_row(one, tz) for one in answer.findings], answer.total

    rows, total = online(ask, municipality)
    print_rows(rows, as_json, empty="no rule is broken")
    if total > len(rows):
        note(f"{total - len(rows)} more are not shown: ask for a shorter period or for one meter")


def _finding_row(finding: metering_pb2.RuleFinding, tz: ZoneInfo) -> dict[str, Any]:
    first, last = (
        one.ToDatetime(tzinfo=UTC).astimezone(tz).isoformat(timespec="minutes")
        for one in (finding.first_slot, finding.last_slot)
    )
    return {
        "meter": finding.meter.rsplit("/", 1)[-1],
        "rule": finding.rule,
        "from": first,
        "to": last,
        "count": finding.count,
        "doubted": finding.is_doubted,
        "detail": finding.detail,
    }
