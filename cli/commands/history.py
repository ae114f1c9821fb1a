"""lichtbuch history: who changed what in the inventory, when and why."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from cli.options import Json, Town
from cli.output import note, print_rows
from cli.parsing import instant
from cli.session import Session, online
from domain.errors import InvalidInput
from lichtbuch.lighting.v1 import inventory_pb2
from lichtbuch.lighting.v1 import lighting_pb2 as pb

COLLECTIONS: Final[Mapping[str, str]] = {
    "lamp": "luminaires",
    "group": "groups",
    "cabinet": "cabinets",
    "feeder": "feeders",
    "gateway": "gateways",
    "model": "luminaireModels",
    "sensor": "sensors",
}
WORDS: Final = {collection: word for word, collection in COLLECTIONS.items()}
LONGEST: Final = 10_000


def history(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="L-0042, cabinet:C-1, feeder:, gateway:, group:, model:, sensor:.")
    ] = "",
    since: Annotated[str, typer.Option("--since", help="From then on: 2026-05-01 or a local time.")] = "",
    until: Annotated[str, typer.Option("--until", help="Before then.")] = "",
    limit: Annotated[int, typer.Option("--limit", help="At most so many changes.", min=1, max=LONGEST)] = 50,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Show who changed the inventory and why, the newest first: all of it, or one thing, also where it is no more."""

    async def ask(session: Session) -> tuple[list[dict[str, Any]], bool]:
        tz, now = await session.zone(), datetime.now(UTC)
        request = pb.ListInventoryVersionsRequest(parent=await session.parent(), page_size=limit)
        if name:
            request.resource = await _resource(session, name)
        for field, text in (("start_time", since), ("end_time", until)):
            if text:
                option = "--since" if field == "start_time" else "--until"
                getattr(request, field).FromDatetime(instant(text, tz, now, option))
        answer = await session.lighting.ListInventoryVersions(request)
        return [_shown(version, tz) for version in answer.versions], bool(answer.next_page_token)

    rows, more = online(ask, municipality)
    print_rows(rows, as_json, empty="nothing was changed")
    if more:
        note(f"there are more than {limit} changes: give --limit, --since or --until")


async def _resource(session: Session, given: str) -> str:
    """The name behind what a person types. Raises InvalidInput."""
    word, colon, identifier = given.partition(":")
    if "/" in given:
        return given
    if not colon:
        return await session.name("luminaires", given)
    if word not in COLLECTIONS or not identifier:
        kinds = ", ".join(f"{kind}:" for kind in COLLECTIONS)
        raise InvalidInput.of("name", f"{given!r} is neither a lamp nor one of {kinds} with an id")
    return await session.name(COLLECTIONS[word], identifier)


def _shown(version: inventory_pb2.InventoryVersion, tz: Any) -> dict[str, Any]:
    collection, identifier = version.resource.split("/")[-2:]
    if version.deleted:
        what = "deleted"
    elif version.changed_fields:
        what = ", ".join(version.changed_fields)
    else:
        what = "created" if version.version == 1 else "kept as it stood"
    return {
        "at": version.from_time.ToDatetime(tzinfo=UTC).astimezone(tz),
        "what": f"{WORDS.get(collection, collection)} {identifier}",
        "change": what,
        "by": version.author,
        "reason": version.reason,
        "version": version.version,
        "request": version.request_id,
    }
