"""lichtbuch export readings (and readings export): stored readings of any period into a file, streamed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import tzinfo
from pathlib import Path
from typing import Annotated

import typer

from cli.commands.meters import Meters, list_all, period
from cli.commands.reading_imports import known_meter
from cli.exporting.parquet import ParquetWriter
from cli.exporting.readings import CsvWriter, Format, JsonLinesWriter, Writer, rows_of
from cli.options import Json, Town
from cli.output import note
from cli.session import Session, online
from domain.errors import InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.convert import timestamp_to_proto


def export_readings(
    meter: Meters = None,
    start: Annotated[
        str, typer.Option("--from", help="2026-11-21 or 2026-11-21T12:00. Default: two days before the newest reading.")
    ] = "",
    end: Annotated[str, typer.Option("--to", "--until", help="Exclusive. Default: the newest reading.")] = "",
    form: Annotated[Format, typer.Option("--format", help="CSV, JSON Lines, or Parquet.")] = Format.CSV,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; default standard output.")] = None,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Write stored readings of any period: CSV (an import takes it again), JSON Lines (also with --json), Parquet."""
    chosen = Format.JSONL if as_json else form
    if chosen is Format.PARQUET and output is None:
        raise InvalidInput.of("output", "a Parquet file is not for a terminal: give -o FILE")

    async def write(session: Session) -> int:
        begin, until = await period(session, start, end)
        listed = await list_all(session)
        housings = {one.name: one for one in listed}
        known = {one.name: known_meter(one, housings.get(one.device)) for one in listed}
        request = pb.ExportReadingsRequest(
            parent=await session.parent(),
            meters=[await session.name("meters", item) for item in meter or []],
            start_time=timestamp_to_proto(begin),
            end_time=timestamp_to_proto(until),
        )
        written = 0
        with writer_to(output, chosen, await session.zone()) as writer:
            async for part in session.metering.ExportReadings(request):
                written += writer.write(rows_of(part.readings, known))
        return written

    note(f"{online(write, municipality)} readings")


@contextmanager
def writer_to(path: Path | None, form: Format, tz: tzinfo) -> Iterator[Writer]:
    """A writer to a file, which is there whole or not at all, or to standard output.

    Raises InvalidInput where the file cannot be written.
    """
    if path is None:
        yield _text_writer(sys.stdout, form, tz)
        sys.stdout.flush()
        return
    part = path.with_name(path.name + ".part")
    try:
        if form is Format.PARQUET:
            with closing(ParquetWriter(part)) as writer:
                yield writer
        else:
            with part.open("w", encoding="utf-8", newline="") as stream:
                yield _text_writer(stream, form, tz)
        part.replace(path)
    except OSError as error:
        raise InvalidInput.of("output", f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _text_writer(stream: object, form: Format, tz: tzinfo) -> Writer:
    return CsvWriter(stream, tz) if form is Format.CSV else JsonLinesWriter(stream, tz)  # type: ignore[arg-type]
