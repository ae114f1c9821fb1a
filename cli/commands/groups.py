"""lichtbuch group: which luminaires belong to a group by themselves."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from cli.options import Json, Town
from cli.output import print_rows
from cli.session import Session, online
from domain.errors import InvalidInput, NotFound
from lichtbuch.lighting.v1 import inventory_pb2, lighting_pb2
from lichtbuch.type.v1.types_pb2 import Position

app = typer.Typer(help="Groups of luminaires.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Groups of luminaires."""


@app.command("rule")
def rule(
    group: Annotated[str, typer.Argument(help="Group; it is made where there is none of this id.")],
    street: Annotated[list[str] | None, typer.Option("--street", help="Street; again for any of several.")] = None,
    lighting_class: Annotated[list[str] | None, typer.Option("--class", help="Class of EN 13201: P4.")] = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="Luminaire model.")] = None,
    cabinet: Annotated[list[str] | None, typer.Option("--cabinet", help="Cabinet.")] = None,
    corner: Annotated[
        list[str] | None, typer.Option("--corner", help="Corner of an area, LATITUDE,LONGITUDE; again, in order.")
    ] = None,
    rank: Annotated[int, typer.Option("--rank", help="Among rules that match the lowest counts.")] = 0,
    none: Annotated[bool, typer.Option("--none", help="Take the rule away: who followed it leaves.")] = False,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Say which luminaires belong to a group, later ones included. All conditions that are given must hold."""
    conditions = (street, lighting_class, model, cabinet, corner)
    if none and any(conditions):
        raise InvalidInput.of("--none", "takes the rule away; leave the conditions out")
    corners = [position(text) for text in corner or ()]

    async def put(session: Session) -> list[dict[str, Any]]:
        wanted = inventory_pb2.Group(name=await session.name("groups", group))
        if not none:
            wanted.rule.CopyFrom(
                inventory_pb2.GroupRule(
                    rank=rank,
                    streets=street or (),
                    lighting_classes=lighting_class or (),
                    models=[await session.name("luminaireModels", name) for name in model or ()],
                    cabinets=[await session.name("cabinets", name) for name in cabinet or ()],
                    polygon=corners,
                )
            )
        try:
            stored = await session.lighting.UpdateGroup(
                lighting_pb2.UpdateGroupRequest(group=wanted, update_mask=FieldMask(paths=["rule"]))
            )
        except NotFound:
            if none:
                raise
            identifier = wanted.name.rpartition("/")[2]
            wanted.ClearField("name")
            stored = await session.lighting.CreateGroup(
                lighting_pb2.CreateGroupRequest(parent=await session.parent(), group_id=identifier, group=wanted)
            )
        return [
            {"group": stored.name.rpartition("/")[2], "luminaires": stored.luminaire_count, "rule": rule_words(stored)}
        ]

    print_rows(online(put, municipality), as_json)


def position(text: str) -> Position:
    """A corner as it is typed. Raises InvalidInput."""
    try:
        latitude, longitude = (float(part) for part in text.split(","))
    except ValueError:
        raise InvalidInput.of("--corner", f"{text!r} is no corner; write 50.868,9.707") from None
    return Position(latitude_deg=latitude, longitude_deg=longitude)


def rule_words(group: inventory_pb2.Group) -> str:
    """A rule in words; empty for none."""
    if not group.HasField("rule"):
        return ""
    given = group.rule
    parts = [
        ("street", ", ".join(given.streets)),
        ("class", ", ".join(given.lighting_classes)),
        ("model", ", ".join(name.rpartition("/")[2] for name in given.models)),
        ("cabinet", ", ".join(name.rpartition("/")[2] for name in given.cabinets)),
        ("area", f"{len(given.polygon)} corners" if given.polygon else ""),
    ]
    return f"rank {given.rank}: " + "; ".join(f"{word} {value}" for word, value in parts if value)
