"""lichtbuch meters, consumption: what the meters say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import typer

from cli import parsing
from cli.options import Json, Town
from cli.output import enum_word, kwh, print_rows
from cli.session import Session, all_pages, online
from domain.errors import InvalidInput
from domain.night import ceil_slot
from lichtbuch.metering.v1 import metering_pb2
from servicekit.convert import timestamp_to_proto

STEPS = {
    "quarter-hour": metering_pb2.STEP_QUARTER_HOUR,
    "hour": metering_pb2.STEP_HOUR,
    "day": metering_pb2.STEP_LOCAL_DAY,
    "gas-day": metering_pb2.STEP_GAS_DAY,
    "month": metering_pb2.STEP_LOCAL_MONTH,
    "year": metering_pb2.STEP_LOCAL_YEAR,
    "total": metering_pb2.STEP_TOTAL,
}
Start = Annotated[
    str,
    typer.Option(
        "--from", help="2026-11-21, 2026-11-21T12:00; local time. Default: two days before the newest reading."
    ),
]
End = Annotated[str, typer.Option("--until", help="Exclusive. Default: the newest reading.")]
Meters = Annotated[list[str] | None, typer.Option("--meter", help="Only this meter; repeat it.")]


SYMBOLS = {
    "L": "l",
    "KG": "kg",
    "CELSIUS": "°C",
    "LX": "lx",
    "DBA": "dB",
    "COUNT": "",
    "PERCENT": "%",
    "VARH": "varh",
    "W": "W",
}


def amount(value: int, unit: str, exponent: int = 0) -> str:
    """A value for people; it is in 10^exponent of the unit."""
    exact = Decimal(value).scaleb(exponent)
    return kwh(int(exact)) if unit == "WH" else f"{exact:f} {SYMBOLS.get(unit, unit.lower())}".rstrip()


async def list_all(session: Session) -> list[metering_pb2.Meter]:
    """Every meter of the town."""
    return await all_pages(
        session.metering.ListMeters, metering_pb2.ListMetersRequest(parent=await session.parent()), "meters"
    )


def meters(municipality: Town = "", as_json: Json = False) -> None:
    """List meters with their newest reading."""

    async def ask(session: Session) -> tuple[list[metering_pb2.Meter], Any]:
        return await list_all(session), await session.zone()

    found, tz = online(ask, municipality)
    rows = []
    for item in found:
        unit = metering_pb2.Unit.Name(item.unit).removeprefix("UNIT_")
        slot = item.latest_slot.ToDatetime(tzinfo=UTC).astimezone(tz) if item.HasField("latest_slot") else None
        rows.append(
            {
                "meter": item.name.rsplit("/", 1)[-1],
                "measures": item.building or item.cabinet.rsplit("/", 1)[-1],
                "medium": enum_word(metering_pb2.Medium.Name(item.medium), "MEDIUM_"),
                "serial": item.serial_number,
                "newest": _newest(item, unit, as_json=as_json) if slot else None,
                "at": slot,
            }
        )
    print_rows(rows, as_json, empty="there are no meters")


def _newest(item: metering_pb2.Meter, unit: str, *, as_json: bool) -> int | str:
    return item.latest_value if as_json else amount(item.latest_value, unit, item.scale_exponent)


async def period(session: Session, start: str, end: str, *, inclusive: bool = True) -> tuple[datetime, datetime]:
    """The period asked for, in UTC; without an end it goes to the newest reading, which counts where `inclusive`."""
    tz = await session.zone()
    newest = max(
        (item.latest_slot.ToDatetime(tzinfo=UTC) for item in await list_all(session) if item.HasField("latest_slot")),
        default=None,
    )
    now = newest or datetime.now(UTC)
    until = parsing.instant(end, tz, now, "until") if end else now + timedelta(milliseconds=int(inclusive))
    begin = parsing.instant(start, tz, now, "from") if start else until - timedelta(days=2)
    if begin >= until:
        raise InvalidInput.of("until", "is not after --from")
    return begin, until


def consumption(
    meter: Meters = None,
    start: Start = "",
    end: End = "",
    step: Annotated[
        str, typer.Option(help="quarter-hour, hour, day, gas-day (from 06:00), month, year or total.")
    ] = "day",
    energy: Annotated[
        bool, typer.Option("--energy", help="Gas in kWh, by the calorific values and state numbers of the time.")
    ] = False,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Show what was used, with how much of it was measured."""
    if step not in STEPS:
        raise InvalidInput.of("step", f"{step!r} is none of {', '.join(STEPS)}")

    async def ask(session: Session) -> list[dict[str, Any]]:
        begin, until = (ceil_slot(instant) for instant in await period(session, start, end, inclusive=False))
        named = [await session.name("meters", item) for item in meter or []]
        # Sensors have values and use nothing.
        counting = [item for item in await list_all(session) if item.kind != metering_pb2.READING_KIND_INSTANT]
        chosen = named or sorted(item.name for item in counting)
        answer = await session.metering.QueryConsumption(
            metering_pb2.QueryConsumptionRequest(
                parent=await session.parent(),
                meters=chosen,
                start_time=timestamp_to_proto(begin),
                end_time=timestamp_to_proto(until),
                step=STEPS[step],
                as_energy=energy,
            )
        )
        tz = await session.zone()
        units = [metering_pb2.Unit.Name(unit).removeprefix("UNIT_") for unit in answer.units]
        rows: list[dict[str, Any]] = []
        for index, meter_index in enumerate(answer.meter_indexes):
            name = answer.meters[meter_index]
            value, unit = answer.amounts[index], units[meter_index]
            rows.append(
                {
                    "meter": name.rsplit("/", 1)[-1],
                    "from": datetime.fromtimestamp(answer.starts_unix_ms[index] / 1000, UTC)
                    .astimezone(tz)
                    .isoformat(timespec="minutes"),
                    "until": datetime.fromtimestamp(answer.ends_unix_ms[index] / 1000, UTC)
                    .astimezone(tz)
                    .isoformat(timespec="minutes"),
                    "used": value if as_json else amount(value, unit),
                    **({"unit": unit} if as_json else {}),
                    "coverage_permille": answer.coverages_permille[index],
                    "estimated": answer.estimated_amounts[index],
                }
            )
        return rows

    print_rows(online(ask, municipality), as_json, empty="no reading is stored in that period")
