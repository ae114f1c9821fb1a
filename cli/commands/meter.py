"""lichtbuch meter add|show|change|exchange|dismount|remove|list: the meters of a town, and what becomes of them.

Not here: what they say (lichtbuch readings, consumption), and files of them (lichtbuch import meters).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from cli import parsing
from cli.commands.meters import amount
from cli.importing.kinds import columns_of, last
from cli.importing.meters import METERS
from cli.options import Json, Reason, Town
from cli.output import enum_word, print_facts, print_rows
from cli.session import Session, all_pages, online
from domain.errors import InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.convert import timestamp_to_proto

app = typer.Typer(help="Meters: counters, load profiles, sensors, stocks and sums of them.", no_args_is_help=True)

Identity = Annotated[str, typer.Argument(metavar="METER", help="Id of the meter.")]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="A field as meters.csv has it, e.g. rollover=100000000; an empty value takes it away. Repeat it.",
    ),
]
Medium = Annotated[str | None, typer.Option(help="electricity, heat, gas, water, oil, pellets, temperature ...")]
UnitOption = Annotated[str | None, typer.Option(help="wh, l, kg, celsius, lx, dba, count, percent, varh, w.")]
Kind = Annotated[str | None, typer.Option(help="counter, interval, instant, stock or virtual.")]
Name = Annotated[str | None, typer.Option("--name", help="Name as people say it.")]
Building = Annotated[str | None, typer.Option(help="Building that it measures.")]
Cabinet = Annotated[str | None, typer.Option(help="Cabinet that it measures.")]
Endpoint = Annotated[str | None, typer.Option(help="Endpoint that it is read at.")]
Point = Annotated[str | None, typer.Option(help="Point of the endpoint's profile.")]
Serial = Annotated[str | None, typer.Option("--serial", help="Serial number.")]
Obis = Annotated[str | None, typer.Option("--obis", help="OBIS code.")]
Device = Annotated[str | None, typer.Option(help="Meter in whose housing this register sits.")]
Main = Annotated[str | None, typer.Option("--main", help="Main meter behind which it measures.")]

_REGISTER: Final = "METER=FINAL or METER=FINAL:FIRST"


def _values(sets: Sequence[str] | None, **options: str | None) -> dict[str, str]:
    """Fields and their texts, from options and from FIELD=VALUE. Raises InvalidInput."""
    values = {name: value for name, value in options.items() if value is not None}
    known = {column.name for column in columns_of(METERS)}
    for given in sets or []:
        name, sign, value = given.partition("=")
        if not sign or name.strip() not in known:
            raise InvalidInput.of("--set", f"{given!r} is not FIELD=VALUE; fields are {', '.join(sorted(known))}")
        values[name.strip()] = value.strip()
    return values


def _meter(values: dict[str, str], parent: str) -> tuple[pb.Meter, list[str]]:
    """A message of the values, and the fields that they are. Raises InvalidInput that names each that is none."""
    meter = pb.Meter()
    columns = {column.name: column for column in columns_of(METERS)}
    for name, value in values.items():
        try:
            columns[name].take(meter, value, parent)
        except ValueError as error:
            raise InvalidInput.of(name, f"{value!r} {error}") from None
    return meter, [columns[name].field.name for name in values]


def facts_of(meter: pb.Meter, tz: Any) -> dict[str, Any]:
    """A meter as names and values: what is set of it, what it shows, and the registers that it had."""
    unit = pb.Unit.Name(meter.unit).removeprefix("UNIT_")
    facts: dict[str, Any] = {"meter": last(meter.name)}
    facts |= {column.name: text for column in columns_of(METERS) if (text := column.text(meter))}
    if meter.HasField("latest_slot"):
        facts["newest"] = amount(meter.latest_value, unit, meter.scale_exponent)
        facts["at"] = meter.latest_slot.ToDatetime(tzinfo=UTC).astimezone(tz)
    facts["registers"] = [_life(life, tz) for life in meter.lives]
    return facts


def _life(life: pb.RegisterLife, tz: Any) -> dict[str, Any]:
    begin = life.installed_at.ToDatetime(tzinfo=UTC).astimezone(tz) if life.HasField("installed_at") else None
    end = life.removed_at.ToDatetime(tzinfo=UTC).astimezone(tz) if life.HasField("removed_at") else None
    return {
        "serial": life.serial_number,
        "from": begin.isoformat(timespec="minutes") if begin else None,
        "until": end.isoformat(timespec="minutes") if end else None,
        "first_reading": life.first_reading if begin else None,
        "final_reading": life.final_reading if end else None,
        "ended_by": None if end is None else "reset" if life.ended_by_reset else "exchange or removal",
        "unit": enum_word(pb.Unit.Name(life.unit), "UNIT_"),
        "scale_exponent": life.scale_exponent,
        "obis_code": life.obis_code or None,
        "transformer_ratio": life.transformer_ratio,
        "rollover": life.rollover or None,
    }


def _show(meter: pb.Meter, tz: Any, as_json: bool) -> None:
    facts = facts_of(meter, tz)
    registers = facts.pop("registers")
    if as_json:
        print_facts(facts | {"registers": registers}, as_json)
        return
    print_facts(facts, as_json)
    print_rows(registers, as_json, title="registers")


@app.command("list")
def list_meters(
    building: Annotated[str, typer.Option(help="Only of this building.")] = "",
    cabinet: Annotated[str, typer.Option(help="Only of this cabinet.")] = "",
    medium: Annotated[str, typer.Option(help="Only of this medium.")] = "",
    behind: Annotated[str, typer.Option(help="Only registers in this meter's housing, and its sub-meters.")] = "",
    identity: Annotated[str, typer.Option("--number", help="Only with this serial number, MaLo or MeLo.")] = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """List meters: what they measure, where, and whose register or sub-meter they are."""

    async def ask(session: Session) -> list[pb.Meter]:
        parent = await session.parent()
        wanted = _meter({"medium": medium} if medium else {}, parent)[0]
        request = pb.ListMetersRequest(
            parent=parent, building=building, identity=identity, medium=wanted.medium, page_size=1000
        )
        if cabinet:
            request.cabinet = await session.name("cabinets", cabinet)
        if behind:
            request.main_meter = await session.name("meters", behind)
        return await all_pages(session.metering.ListMeters, request, "meters")

    rows = [
        {
            "meter": last(meter.name),
            "name": meter.display_name,
            "measures": meter.building or last(meter.cabinet),
            "medium": enum_word(pb.Medium.Name(meter.medium), "MEDIUM_"),
            "kind": enum_word(pb.ReadingKind.Name(meter.kind), "READING_KIND_"),
            "obis": meter.obis_code,
            "serial": meter.serial_number,
            "housing": last(meter.device),
            "main": last(meter.main_meter),
        }
        for meter in online(ask, municipality)
    ]
    print_rows(rows, as_json, empty="there are no such meters")


@app.command("show")
def show_meter(identity: Identity, municipality: Town = "", as_json: Json = False) -> None:
    """Show all of a meter, with every register that it had."""

    async def ask(session: Session) -> tuple[pb.Meter, Any]:
        request = pb.GetMeterRequest(name=await session.name("meters", identity))
        return await session.metering.GetMeter(request), await session.zone()

    _show(*online(ask, municipality), as_json)


@app.command("add")
def add_meter(
    identity: Identity,
    medium: Medium = None,
    unit: UnitOption = None,
    kind: Kind = None,
    name: Name = None,
    building: Building = None,
    cabinet: Cabinet = None,
    endpoint: Endpoint = None,
    point: Point = None,
    serial: Serial = None,
    obis: Obis = None,
    device: Device = None,
    main: Main = None,
    sets: Sets = None,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Create a meter."""
    values = _values(
        sets, medium=medium, unit=unit, kind=kind, display_name=name, building=building, cabinet=cabinet,
        endpoint=endpoint, point=point, serial_number=serial, obis_code=obis, device=device, main_meter=main,
    )  # fmt: skip

    async def ask(session: Session) -> tuple[pb.Meter, Any]:
        parent = await session.parent()
        request = pb.CreateMeterRequest(parent=parent, meter_id=identity, meter=_meter(values, parent)[0])
        return await session.metering.CreateMeter(request), await session.zone()

    _show(*online(ask, municipality), as_json)


@app.command("change")
def change_meter(
    identity: Identity,
    name: Name = None,
    building: Building = None,
    cabinet: Cabinet = None,
    endpoint: Endpoint = None,
    point: Point = None,
    serial: Serial = None,
    obis: Obis = None,
    device: Device = None,
    main: Main = None,
    sets: Sets = None,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Change what is given of a meter; an empty text takes a value away."""
    values = _values(
        sets, display_name=name, building=building, cabinet=cabinet, endpoint=endpoint, point=point,
        serial_number=serial, obis_code=obis, device=device, main_meter=main,
    )  # fmt: skip
    if not values:
        raise InvalidInput.of("--set", "nothing is to be changed")

    async def ask(session: Session) -> tuple[pb.Meter, Any]:
        meter, paths = _meter(values, await session.parent())
        meter.name = await session.name("meters", identity)
        request = pb.UpdateMeterRequest(meter=meter, update_mask=FieldMask(paths=paths))
        return await session.metering.UpdateMeter(request), await session.zone()

    _show(*online(ask, municipality), as_json)


@app.command("exchange")
def exchange_meter(
    identity: Identity,
    at: Annotated[str, typer.Option("--at", help="When: 2026-11-21T12:00, local time.")],
    final: Annotated[int, typer.Option("--final", min=0, help="Last counter of the old meter, in its own numbers.")],
    first: Annotated[int, typer.Option("--first", min=0, help="First counter of the new one.")] = 0,
    serial: Annotated[str, typer.Option("--serial", help="Serial number of the new meter.")] = "",
    registers: Annotated[
        list[str] | None,
        typer.Option("--register", metavar=_REGISTER, help="Every other register in the housing; repeat it."),
    ] = None,
    ratio: Annotated[int | None, typer.Option("--ratio", min=1, help="Another transformer ratio.")] = None,
    obis: Annotated[str | None, typer.Option("--obis", help="Another OBIS code.")] = None,
    unit: Annotated[str | None, typer.Option(help="Another unit: gas between l and wh.")] = None,
    scale: Annotated[int | None, typer.Option("--scale", min=-6, max=6, help="Another scale exponent.")] = None,
    rollover: Annotated[int | None, typer.Option("--rollover", min=0, help="Another rollover.")] = None,
    reason: Reason = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Record that a meter was exchanged with all registers in its housing; it may have been long ago."""

    async def ask(session: Session) -> tuple[pb.Meter, Any]:
        tz = await session.zone()
        change = pb.RegisterChange(transformer_ratio=ratio, obis_code=obis, scale_exponent=scale, rollover=rollover)
        if unit is not None:
            change.unit = _meter({"unit": unit}, await session.parent())[0].unit
        request = pb.ExchangeMeterRequest(
            name=await session.name("meters", identity),
            exchanged_at=timestamp_to_proto(parsing.instant(at, tz, datetime.now(UTC), "--at")),
            final_reading=final,
            first_reading=first,
            serial_number=serial,
            registers=[await _register(session, given) for given in registers or []],
            change=change,
            reason=reason,
        )
        return await session.metering.ExchangeMeter(request), tz

    _show(*online(ask, municipality), as_json)


@app.command("dismount")
def dismount_meter(
    identity: Identity,
    at: Annotated[str, typer.Option("--at", help="When: 2026-11-21T12:00, local time.")],
    final: Annotated[int, typer.Option("--final", min=0, help="Its last counter, in its own numbers.")] = 0,
    registers: Annotated[
        list[str] | None,
        typer.Option("--register", metavar="METER=FINAL", help="Every other register in the housing; repeat it."),
    ] = None,
    reason: Reason = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Record that a meter was taken down for good; it can be asked about as before, and its number is free."""

    async def ask(session: Session) -> tuple[pb.Meter, Any]:
        tz = await session.zone()
        given = [await _register(session, one) for one in registers or []]
        request = pb.DismountMeterRequest(
            name=await session.name("meters", identity),
            dismounted_at=timestamp_to_proto(parsing.instant(at, tz, datetime.now(UTC), "--at")),
            final_reading=final,
            registers=[pb.RegisterDismounting(meter=one.meter, final_reading=one.final_reading) for one in given],
            reason=reason,
        )
        return await session.metering.DismountMeter(request), tz

    _show(*online(ask, municipality), as_json)


async def _register(session: Session, given: str) -> pb.RegisterExchange:
    name, _, readings = given.partition("=")
    final, _, first = readings.partition(":")
    if not name or not final.isdecimal() or not (first or "0").isdecimal():
        raise InvalidInput.of("--register", f"{given!r} is not {_REGISTER}")
    return pb.RegisterExchange(
        meter=await session.name("meters", name), final_reading=int(final), first_reading=int(first or "0")
    )


@app.command("remove")
def remove_meter(identity: Identity, reason: Reason, municipality: Town = "", as_json: Json = False) -> None:
    """Delete a meter that should never have been there; one that was taken down is dismounted."""

    async def ask(session: Session) -> dict[str, Any]:
        request = pb.DeleteMeterRequest(name=await session.name("meters", identity), reason=reason)
        answer = await session.metering.DeleteMeter(request)
        return {"removed": f"meter {last(answer.name)}", "reason": reason}

    print_facts(online(ask, municipality), as_json)
