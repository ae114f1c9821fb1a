"""lichtbuch remove: takes things out of the inventory or of the planning. What they were, and why, stays in history.

Not here: what keeps a thing from being removed (the services say so), and sensors (lichtbuch sensor remove).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from cli.options import Json, Reason, Town
from cli.output import print_rows
from cli.session import Session, online
from domain.errors import InvalidInput
from lichtbuch.lighting.v1 import lighting_pb2
from lichtbuch.scheduler.v1 import scheduler_pb2

KINDS: Final[Mapping[str, tuple[str, Any]]] = {
    "lamp": ("luminaires", lighting_pb2.DeleteLuminaireRequest),
    "group": ("groups", lighting_pb2.DeleteGroupRequest),
    "cabinet": ("cabinets", lighting_pb2.DeleteCabinetRequest),
    "feeder": ("feeders", lighting_pb2.DeleteFeederRequest),
    "gateway": ("gateways", lighting_pb2.DeleteGatewayRequest),
    "model": ("luminaireModels", lighting_pb2.DeleteLuminaireModelRequest),
    "profile": ("profiles", scheduler_pb2.DeleteProfileRequest),
    "calendar": ("calendars", scheduler_pb2.DeleteCalendarRequest),
    "assignment": ("assignments", scheduler_pb2.DeleteAssignmentRequest),
}
"""By word: the collection, and the request whose method is called like it."""


def remove(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="L-0042, cabinet:C-1, feeder:, gateway:, group:, model:, profile:, calendar:, assignment:GROUP.",
        ),
    ],
    reason: Reason,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Remove things one after the other; the first that has to stay ends it. A group without its assignment keeps the
    plan it has until that runs out, then it is lit from sunset to sunrise."""
    given = [_parsed(name) for name in names]

    async def ask(session: Session) -> list[dict[str, Any]]:
        removed = []
        for word, identifier in given:
            collection, request = KINDS[word]
            stub: Any = session.scheduler if request.__module__ == scheduler_pb2.__name__ else session.lighting
            method = getattr(stub, request.DESCRIPTOR.name.removesuffix("Request"))
            answer = await method(request(name=await session.name(collection, identifier), reason=reason))
            removed.append({"removed": f"{word} {answer.name.rsplit('/', 1)[-1]}", "reason": reason})
        return removed

    print_rows(online(ask, municipality), as_json)


def _parsed(given: str) -> tuple[str, str]:
    """The kind and the id of what a person types. Raises InvalidInput."""
    word, _, identifier = given.partition(":") if ":" in given else ("lamp", "", given)
    if word not in KINDS or not identifier:
        kinds = ", ".join(f"{kind}:" for kind in KINDS)
        raise InvalidInput.of("name", f"{given!r} is neither a lamp nor one of {kinds} with an id")
    return word, identifier
