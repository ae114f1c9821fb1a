"""lichtbuch meter list|show|add|change|install|exchange|dismount|remove: the meters of a town.

Not here: what becomes of their housings (meter_housings.py), what they say (lichtbuch readings, consumption), and files
of them (lichtbuch import meters).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from cli.commands.meter_facts import Identity, meter_of, show, values_of
from cli.commands.meter_housings import dismount_meter, exchange_meter, install_meter
from cli.importing.kinds import last
from cli.options import Json, Reason, Town
from cli.output import enum_word, print_facts, print_rows
from cli.session import Session, all_pages, online
from domain.errors import InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb

app = typer.Typer(help="Meters: counters, load profiles, sensors, stocks and sums of them.", no_args_is_help=True)

_MEANING: Final[dict[str, Any]] = {
    "medium": typer.Option("--medium", help="electricity, heat, gas, water, oil, pellets, temperature ..."),
    "unit": typer.Option("--unit", help="wh, l, kg, celsius, lx, dba, count, percent, varh, w."),
    "kind": typer.Option("--kind", help="counter, interval, instant, stock or virtual."),
}
"""Options that say what values are: of a new meter only, as they stay once there are readings."""
_FACTS: Final[dict[str, Any]] = {
    "display_name": typer.Option("--name", help="Name as people say it."),
    "building": typer.Option("--building", help="Building that it measures."),
    "cabinet": typer.Option("--cabinet", help="Cabinet that it measures."),
    "endpoint": typer.Option("--endpoint", help="Endpoint that it is read at."),
    "point": typer.Option("--point", help="Point of the endpoint's profile."),
    "serial_number": typer.Option("--serial", help="Serial number."),
    "obis_code": typer.Option("--obis", help="OBIS code."),
    "device": typer.Option("--device", help="Meter in whose housing this register sits."),
    "main_meter": typer.Option("--main", help="Main meter behind which it measures."),
    "installed_at": typer.Option("--installed", metavar="TIME", help="When its first register was hung up."),
    "first_reading": typer.Option("--first-reading", metavar="N", help="What that counter showed then, 0 if new."),
}
_SETS: Final = typer.Option(
    "--set",
    metavar="FIELD=VALUE",
    help="A field as meters.csv has it, e.g. rollover=100000000; an empty value takes it away. Repeat it.",
)

app.command("install")(install_meter)
app.command("exchange")(exchange_meter)
app.command("dismount")(dismount_meter)


def _telling(options: dict[str, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command an option for each of these fields, and --set for the others: it takes what they say as `values`,
    by field."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def told(*, sets: list[str] | None, **given: Any) -> None:
            values = values_of(sets, {name: given.pop(name) for name in options})
            command(values=values, **given)

        keyword = inspect.Parameter.KEYWORD_ONLY
        texts = [
            inspect.Parameter(name, keyword, default=None, annotation=Annotated[str | None, option])
            for name, option in options.items()
        ]
        sets = inspect.Parameter("sets", keyword, default=None, annotation=Annotated[list[str] | None, _SETS])
        first, _, *others = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [one.replace(kind=keyword) for one in (first, *texts, sets, *others)]
        told.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # which typer reads
        told.__annotations__ = {one.name: one.annotation for one in parameters}
        told.__doc__ = command.__doc__
        return told

    return decorate


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
        wanted = meter_of({"medium": medium} if medium else {}, parent, await session.zone())[0]
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

    show(*online(ask, municipality), as_json)


@app.command("add")
@_telling(_MEANING | _FACTS)
def add_meter(identity: Identity, values: dict[str, str], municipality: Town = "", as_json: Json = False) -> None:
    """Create a meter."""

    async def ask(session: Session) -> tuple[pb.Meter, Any]:
        parent, tz = await session.parent(), await session.zone()
        request = pb.CreateMeterRequest(parent=parent, meter_id=identity, meter=meter_of(values, parent, tz)[0])
        return await session.metering.CreateMeter(request), tz

    show(*online(ask, municipality), as_json)


@app.command("change")
@_telling(_FACTS)
def change_meter(identity: Identity, values: dict[str, str], municipality: Town = "", as_json: Json = False) -> None:
    """Change what is given of a meter; an empty text takes a value away."""
    if not values:
        raise InvalidInput.of("--set", "nothing is to be changed")

    async def ask(session: Session) -> tuple[pb.Meter, Any]:
        tz = await session.zone()
        meter, paths = meter_of(values, await session.parent(), tz)
        meter.name = await session.name("meters", identity)
        request = pb.UpdateMeterRequest(meter=meter, update_mask=FieldMask(paths=paths))
        return await session.metering.UpdateMeter(request), tz

    show(*online(ask, municipality), as_json)


@app.command("remove")
def remove_meter(identity: Identity, reason: Reason, municipality: Town = "", as_json: Json = False) -> None:
    """Delete a meter that should never have been there; one that was taken down is dismounted."""

    async def ask(session: Session) -> dict[str, Any]:
        request = pb.DeleteMeterRequest(name=await session.name("meters", identity), reason=reason)
        answer = await session.metering.DeleteMeter(request)
        return {"removed": f"meter {last(answer.name)}", "reason": reason}

    print_facts(online(ask, municipality), as_json)
