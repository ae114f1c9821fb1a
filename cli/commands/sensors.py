"""lichtbuch sensors, and lichtbuch sensor add|remove|report: what plans listen to, and what it said last."""

from __future__ import annotations

from datetime import UTC
from math import isfinite
from typing import Annotated, Any, Final

import typer

from cli import parsing
from cli.options import Json, Reason, Town
from cli.output import enum_word, print_facts, print_rows
from cli.session import Session, all_pages, online
from domain.errors import InvalidInput
from lichtbuch.lighting.v1 import sensors_pb2 as pb
from lichtbuch.type.v1 import types_pb2

sensor = typer.Typer(help="Sensors that plans listen to: traffic, daylight, rain.", no_args_is_help=True)

KINDS: Final = {
    "traffic": types_pb2.SENSOR_KIND_TRAFFIC,
    "illuminance": types_pb2.SENSOR_KIND_ILLUMINANCE,
    "rain": types_pb2.SENSOR_KIND_RAIN,
}
UNITS: Final = {
    types_pb2.SENSOR_KIND_TRAFFIC: "per hour",
    types_pb2.SENSOR_KIND_ILLUMINANCE: "lx",
    types_pb2.SENSOR_KIND_RAIN: "mm/h",
}


def state_row(item: pb.SensorState, tz: Any) -> dict[str, Any]:
    """What a sensor said last, as a row."""
    known = item.HasField("observed_at")
    return {
        "sensor": item.name.rsplit("/", 1)[-1],
        "kind": enum_word(types_pb2.SensorKind.Name(item.kind), "SENSOR_KIND_"),
        "value": f"{item.value:g} {UNITS.get(item.kind, '')}".strip() if known else None,
        "age_s": item.age_s if known else None,
        "observed": item.observed_at.ToDatetime(tzinfo=UTC).astimezone(tz) if known else None,
        "state": "fresh" if item.fresh else "stale" if known else "never heard of",
        "active_groups": [group.rsplit("/", 1)[-1] for group in item.active_groups],
    }


def sensor_row(item: pb.Sensor) -> dict[str, Any]:
    """A sensor as a row."""
    return {
        "sensor": item.name.rsplit("/", 1)[-1],
        "name": item.display_name,
        "kind": enum_word(types_pb2.SensorKind.Name(item.kind), "SENSOR_KIND_"),
        "groups": [group.rsplit("/", 1)[-1] for group in item.groups] or "all",
        "endpoint": item.endpoint.rsplit("/", 1)[-1] or "values are sent",
        "point": item.point or None,
        "max_age_s": item.max_age_s,
    }


def sensors(municipality: Town = "", as_json: Json = False) -> None:
    """List sensors with what they said last, how long ago, and the groups that do something because of it."""

    async def ask(session: Session) -> list[dict[str, Any]]:
        request = pb.ListSensorStatesRequest(parent=await session.parent())
        tz = await session.zone()
        return [state_row(item, tz) for item in await all_pages(session.lighting.ListSensorStates, request, "states")]

    print_rows(online(ask, municipality), as_json, empty="there are no sensors")


@sensor.command("add")
def add_sensor(
    identity: Annotated[str, typer.Argument(metavar="SENSOR", help="Id of the new sensor.")],
    kind: Annotated[str, typer.Option(help="traffic, illuminance or rain.")],
    groups: Annotated[list[str] | None, typer.Option("--group", help="A group that it serves; default: all.")] = None,
    endpoint: Annotated[str, typer.Option(help="Field endpoint it is read at; without it values are sent.")] = "",
    point: Annotated[str, typer.Option(help="Point of the device; default: the kind's.")] = "",
    max_age: Annotated[str, typer.Option("--max-age", help="How long a value counts: 90s, 10m.")] = "10m",
    name: Annotated[str, typer.Option(help="Name as people say it.")] = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Add a sensor."""
    if kind not in KINDS:
        raise InvalidInput.of("kind", f"{kind!r} is none of {', '.join(KINDS)}")

    async def ask(session: Session) -> dict[str, Any]:
        wanted = pb.Sensor(
            display_name=name,
            kind=KINDS[kind],
            groups=[await session.name("groups", group) for group in groups or []],
            endpoint=await session.name("endpoints", endpoint) if endpoint else "",
            point=point,
            max_age_s=round(parsing.duration(max_age, "max-age").total_seconds()),
        )
        request = pb.CreateSensorRequest(parent=await session.parent(), sensor_id=identity, sensor=wanted)
        return sensor_row(await session.lighting.CreateSensor(request))

    print_facts(online(ask, municipality), as_json)


@sensor.command("remove")
def remove_sensor(
    identity: Annotated[str, typer.Argument(metavar="SENSOR", help="Id of the sensor.")],
    reason: Reason = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Remove a sensor: rules that listen to it are inactive from then on."""

    async def ask(session: Session) -> dict[str, Any]:
        name = await session.name("sensors", identity)
        return sensor_row(await session.lighting.DeleteSensor(pb.DeleteSensorRequest(name=name, reason=reason)))

    print_facts(online(ask, municipality), as_json)


@sensor.command("report")
def report_value(
    identity: Annotated[str, typer.Argument(metavar="SENSOR", help="Id of the sensor.")],
    value: Annotated[float, typer.Argument(metavar="VALUE", help="Vehicles per hour, lx, or mm/h.")],
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Send a value of now, as a platform would: for trying rules out."""
    if not isfinite(value):
        raise InvalidInput.of("value", f"{value} is no value")

    async def ask(session: Session) -> dict[str, Any]:
        request = pb.ReportSensorValuesRequest(
            parent=await session.parent(), names=[await session.name("sensors", identity)], values=[value]
        )
        answer = await session.lighting.ReportSensorValues(request)
        return {"accepted": answer.accepted, "outdated": answer.outdated}

    print_facts(online(ask, municipality), as_json)
