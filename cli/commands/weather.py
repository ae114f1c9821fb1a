"""lichtbuch import weather, degree-days: temperatures of stations into metering, and degree days out of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli import parsing
from cli.errors import PARTIAL, WRONG_INPUT
from cli.importing.tables import read_table
from cli.importing.weather import WeatherFile, read_weather
from cli.options import DryRun, Json, SkipInvalid, Town
from cli.output import console, note, note_lines, notes, print_json, print_rows
from cli.session import Session, online
from domain.errors import InvalidInput
from domain.night import local_instant
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.convert import timestamp_to_proto

SHOWN_REFUSALS: Final = 20
_EPOCH: Final = date(1970, 1, 1)
STEPS: Final = {
    "day": pb.STEP_LOCAL_DAY,
    "month": pb.STEP_LOCAL_MONTH,
    "year": pb.STEP_LOCAL_YEAR,
    "total": pb.STEP_TOTAL,
}


def import_weather(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV of the DWD (daily or hourly), or any with °C; also .gz.")
    ],
    station: Annotated[
        str, typer.Option("--station", help="What the station is called; default dwd-NUMBER for files of the DWD.")
    ] = "",
    time_column: Annotated[str, typer.Option(help="Column of the time.")] = "",
    temperature_column: Annotated[str, typer.Option(help="Column of the temperature.")] = "",
    time_zone: Annotated[
        str,
        typer.Option(
            "--time-zone", help="What clock times are: local, utc or a zone. Default: as the columns tell, else local."
        ),
    ] = "",
    unit: Annotated[str, typer.Option(help="C, F or K; default as the column's name tells, else C.")] = "",
    year: Annotated[int, typer.Option("--year", help="Year of a test reference year, which has none.")] = 0,
    skip_invalid: SkipInvalid = False,
    dry_run: DryRun = False,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Take in temperatures of a weather station as daily means. What is stored already changes nothing.

    Another mean of a day is a correction: the former one is kept beside it. Exit code 0: stored; 3: stored without the
    refused lines; 2: nothing stored.
    """

    async def ask(session: Session) -> tuple[WeatherFile, str, pb.IngestTemperaturesResponse]:
        with notes.status("reading"):
            found = read_weather(
                read_table(file),
                tz=await session.zone(),
                times=time_zone,
                time_column=time_column,
                temperature_column=temperature_column,
                unit=unit,
                year=year,
            )
        name = station or _usual_name(found)
        if found.refusals and not skip_invalid:
            return found, name, pb.IngestTemperaturesResponse()
        days = sorted(found.means)
        answer = await session.metering.IngestTemperatures(
            pb.IngestTemperaturesRequest(
                parent=await session.parent(),
                station=name,
                days=[(day - _EPOCH).days for day in days],
                mean_centidegrees=[found.means[day] for day in days],
                source=f"import:{file.name}"[:200],
                dry_run=dry_run,
            ),
            timeout=120,
        )
        return found, name, answer

    found, name, answer = online(ask, municipality)
    refused = len(found.refusals) + answer.refused
    done = bool(answer.stored or answer.unchanged or answer.corrected)
    reasons = [f"line {one.line}, {one.column}: {one.reason} ({one.value})" for one in found.refusals]
    reasons += _by_date(answer.refusals, sorted(found.means))
    facts = {
        "file": str(file),
        "station": name,
        "hourly": found.is_hourly,
        "days": len(found.means),
        "missing_values": found.missing,
        "days_with_too_few_hours": [day.isoformat() for day in found.thin],
        "stored": answer.stored,
        "unchanged": answer.unchanged,
        "corrected": answer.corrected,
        "refused": refused,
        "dry_run": dry_run,
    }
    if as_json:
        print_json(facts | {"refusals": reasons})
    else:
        _tell(found, name, answer, refused, reasons)
    raise typer.Exit(0 if not refused else PARTIAL if done else WRONG_INPUT)


def _usual_name(found: WeatherFile) -> str:
    if found.time_column.casefold() == "mess_datum" and found.station.isascii() and found.station.isdigit():
        return f"dwd-{int(found.station):05}"
    raise InvalidInput.of("station", "the file does not say which station it is: name it with --station")


def _by_date(refusals: Sequence[str], days: list[date]) -> list[str]:
    """Refusals of the service, which count from 0, by the day that they are about."""
    told: list[str] = []
    for refusal in refusals:
        index, colon, reason = refusal.partition(":")
        told.append(f"{days[int(index)]}:{reason}" if colon and index.isdigit() else refusal)
    return told


def _tell(
    found: WeatherFile, name: str, answer: pb.IngestTemperaturesResponse, refused: int, reasons: list[str]
) -> None:
    kind = "hours" if found.is_hourly else "days"
    console.print(
        f"{name}: {len(found.means)} days out of {found.lines} {kind}; {answer.stored} stored,"
        f" {answer.unchanged} there before, {answer.corrected} corrected, {refused} refused",
        markup=False,
    )
    if found.missing:
        note(f"{found.missing} lines have no temperature")
    if found.thin:
        note(f"{len(found.thin)} days have too few hours and are left out, the first is {found.thin[0]}")
    note_lines(reasons[:SHOWN_REFUSALS])
    if len(reasons) > SHOWN_REFUSALS:
        note(f"... and {len(reasons) - SHOWN_REFUSALS} more refusals; --json prints all of them")


def degree_days(
    station: Annotated[str, typer.Argument(metavar="STATION", help="A station, or meter:ID for an outdoor sensor.")],
    start: Annotated[str, typer.Option("--from", help="First day: 2025-01-01. Default: a year before the end.")] = "",
    end: Annotated[str, typer.Option("--to", "--until", help="Exclusive. Default: today.")] = "",
    base: Annotated[str, typer.Option("--base", help="Indoor temperature in °C; the limit itself for HGT.")] = "20",
    limit: Annotated[str, typer.Option("--limit", help="Heating limit in °C.")] = "15",
    step: Annotated[str, typer.Option("--step", help="day, month, year or total.")] = "month",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Show heating degree days (GTZ20/15 unless told otherwise), with how many days are known."""
    if step not in STEPS:
        raise InvalidInput.of("step", f"{step!r} is none of {', '.join(STEPS)}")
    base_centi, limit_centi = _centidegrees(base, "base"), _centidegrees(limit, "limit")

    async def ask(session: Session) -> tuple[pb.QueryDegreeDaysResponse, Any]:
        tz = await session.zone()
        after = parsing.day(end, "to") if end else datetime.now(UTC).astimezone(tz).date()
        first = parsing.day(start, "from") if start else after - timedelta(days=365)
        if first >= after:
            raise InvalidInput.of("to", "is not after --from")
        word, colon, meter = station.partition(":")
        weather = await session.name("meters", meter) if colon and word == "meter" else station
        answer = await session.metering.QueryDegreeDays(
            pb.QueryDegreeDaysRequest(
                parent=await session.parent(),
                weather=weather,
                start_time=timestamp_to_proto(local_instant(first, datetime.min.time(), tz)),
                end_time=timestamp_to_proto(local_instant(after, datetime.min.time(), tz)),
                step=STEPS[step],
                base_centidegrees=base_centi,
                limit_centidegrees=limit_centi,
            )
        )
        return answer, tz

    answer, tz = online(ask, municipality)
    rows = [_shown(one, tz, as_json=as_json) for one in answer.degree_days]
    print_rows(rows, as_json)
    if answer.stations:
        note(f"nothing is known of {station} in that period; there are {', '.join(answer.stations)}")
    elif not as_json and any(one.known_days < one.days for one in answer.degree_days):
        note("days that are not known add nothing: the sums of their steps are too small")


def _shown(found: pb.DegreeDays, tz: Any, *, as_json: bool) -> dict[str, Any]:
    first, after = (stamp.ToDatetime(tzinfo=UTC).astimezone(tz).date() for stamp in (found.start_time, found.end_time))
    row: dict[str, Any] = {"from": first.isoformat(), "until": after.isoformat()}
    if as_json:
        mean = found.mean_centidegrees if found.known_days else None
        row |= {"degree_days_centi": found.degree_days_centi, "mean_centidegrees": mean}
    else:
        row |= {
            "degree days": f"{found.degree_days_centi / 100:.1f}",
            "mean": f"{found.mean_centidegrees / 100:.1f} °C" if found.known_days else None,
        }
    return row | {"heating_days": found.heating_days, "known_days": found.known_days, "days": found.days}


def _centidegrees(text: str, field: str) -> int:
    """Hundredths of a degree of what a person types: 20, 12.5, 12,5. Raises InvalidInput."""
    try:
        centi = Decimal(text.strip().replace(",", ".")) * 100
    except InvalidOperation:
        raise InvalidInput.of(field, f"{text!r} is no temperature") from None
    # 0 would be taken for "not given" by the contract; no town heats up to 0 °C.
    if not centi.is_finite() or centi != centi.to_integral_value() or not 1 <= centi <= 4_000:
        raise InvalidInput.of(field, f"{text!r} is not from 0.01 to 40 °C in hundredths of a degree")
    return int(centi)
