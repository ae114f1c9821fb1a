"""lichtbuch endpoint list|add|change|move: endpoints in the field, and their way into control (docs/commissioning.md).

Not here: talking to a device (lichtbuch field), and the gateways and cabinets that an endpoint belongs to.
"""

from __future__ import annotations

from datetime import UTC
from typing import Annotated, Any, Final, TypeVar

import typer

from cli.options import Json, Reason, Town
from cli.output import enum_word, print_facts, print_rows
from cli.session import Session, all_pages, online
from domain.errors import InvalidInput
from lichtbuch.registry.v1 import registry_pb2 as pb

app = typer.Typer(
    help="Endpoints in the field, and their way into control: planned, observed, tested, in-control.",
    no_args_is_help=True,
)

STATES: Final = {
    "planned": pb.ENDPOINT_STATE_PLANNED,
    "observed": pb.ENDPOINT_STATE_OBSERVED,
    "tested": pb.ENDPOINT_STATE_TESTED,
    "in-control": pb.ENDPOINT_STATE_IN_CONTROL,
}
OWNERS: Final = {
    "lighting": pb.ENDPOINT_OWNER_LIGHTING,
    "metering": pb.ENDPOINT_OWNER_METERING,
    "building": pb.ENDPOINT_OWNER_BUILDING,
}
_SETTABLE: Final = {"name": "display_name", "url": "url", "profile": "profile"}

T = TypeVar("T")

Identity = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Id of the endpoint.")]
RoundTrip = Annotated[
    int | None, typer.Option("--round-trip-ms", help="How long a slow link takes there and back; 0: wired.")
]
Monthly = Annotated[int | None, typer.Option("--monthly-bytes", help="Bytes that a month may carry; 0: no limit.")]


def endpoint_row(item: pb.Endpoint, tz: Any) -> dict[str, Any]:
    """An endpoint as a row."""
    return {
        "endpoint": item.name.rsplit("/", 1)[-1],
        "name": item.display_name,
        "owner": enum_word(pb.EndpointOwner.Name(item.owner), "ENDPOINT_OWNER_"),
        "state": enum_word(pb.EndpointState.Name(item.state), "ENDPOINT_STATE_"),
        "profile": item.profile,
        "url": item.url,
        "released_by": item.released_by or None,
        "released_at": item.released_at.ToDatetime(tzinfo=UTC).astimezone(tz) if item.HasField("released_at") else None,
    }


def _known(words: dict[str, T], given: str, field: str) -> T:
    """Raises InvalidInput that names the words there are."""
    found = words.get(given.strip().lower().replace("_", "-").replace(" ", "-"))
    if found is None:
        raise InvalidInput.of(field, f"{given!r} is none of {', '.join(words)}")
    return found


@app.command("list")
def list_endpoints(
    owner: Annotated[str, typer.Option("--owner", help="Only those of lighting, metering or building.")] = "",
    state: Annotated[str, typer.Option("--state", help="Only planned, observed, tested or in-control.")] = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """List endpoints: whose they are, how far they have come, and who released them into control."""
    wanted_owner = _known(OWNERS, owner, "--owner") if owner else pb.ENDPOINT_OWNER_UNSPECIFIED
    wanted_state = _known(STATES, state, "--state") if state else None

    async def ask(session: Session) -> list[dict[str, Any]]:
        request = pb.ListEndpointsRequest(parent=await session.parent(), owner=wanted_owner)
        found: list[pb.Endpoint] = await all_pages(session.registry.ListEndpoints, request, "endpoints")
        tz = await session.zone()
        return [endpoint_row(item, tz) for item in found if wanted_state in (None, item.state)]

    print_rows(online(ask, municipality), as_json, empty="there are no such endpoints")


@app.command("add")
def add_endpoint(
    identity: Identity,
    url: Annotated[str, typer.Option("--url", help="Where it answers (docs/field-connections.md).")],
    profile: Annotated[str, typer.Option("--profile", help="Device profile: lichtbuch field profiles.")],
    owner: Annotated[str, typer.Option("--owner", help="lighting, metering or building.")] = "lighting",
    name: Annotated[str, typer.Option("--name", help="Name as people say it.")] = "",
    round_trip: RoundTrip = None,
    monthly: Monthly = None,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Register an endpoint. It is planned: nobody connects to it yet."""
    endpoint = pb.Endpoint(display_name=name, url=url, profile=profile, owner=_known(OWNERS, owner, "--owner"))
    if round_trip is not None or monthly is not None:
        endpoint.link.CopyFrom(pb.FieldLink(round_trip_ms=round_trip or 0, monthly_bytes=monthly or 0))

    async def ask(session: Session) -> dict[str, Any]:
        request = pb.CreateEndpointRequest(parent=await session.parent(), endpoint_id=identity, endpoint=endpoint)
        return endpoint_row(await session.registry.CreateEndpoint(request), await session.zone())

    print_facts(online(ask, municipality), as_json)


@app.command("change")
def change_endpoint(
    identity: Identity,
    url: Annotated[str | None, typer.Option("--url", help="Another address.")] = None,
    profile: Annotated[str | None, typer.Option("--profile", help="Another device profile.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    round_trip: RoundTrip = None,
    monthly: Monthly = None,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Change an endpoint. With another address or profile it is only observed again, until somebody releases it."""
    given = {"name": name, "url": url, "profile": profile}
    changes = {_SETTABLE[key]: value for key, value in given.items() if value is not None}
    linked = round_trip is not None or monthly is not None
    if not changes and not linked:
        raise InvalidInput.of("change", "say what: --url, --profile, --name, --round-trip-ms or --monthly-bytes")

    async def ask(session: Session) -> dict[str, Any]:
        whole = await session.name("endpoints", identity)
        stands = await session.registry.GetEndpoint(pb.GetEndpointRequest(name=whole))
        wanted = pb.Endpoint(name=whole, etag=stands.etag, link=stands.link)
        for field, value in changes.items():
            setattr(wanted, field, value)
        if round_trip is not None:
            wanted.link.round_trip_ms = round_trip
        if monthly is not None:
            wanted.link.monthly_bytes = monthly
        request = pb.UpdateEndpointRequest(endpoint=wanted)
        request.update_mask.paths.extend([*changes, *(["link"] if linked else [])])
        return endpoint_row(await session.registry.UpdateEndpoint(request), await session.zone())

    print_facts(online(ask, municipality), as_json)


@app.command("move")
def move_endpoint(
    identity: Identity,
    state: Annotated[str, typer.Argument(metavar="STATE", help="planned, observed, tested or in-control.")],
    reason: Reason,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Take an endpoint one state further, or back. Who moves it in-control releases it, under the own name."""
    wanted = _known(STATES, state, "STATE")

    async def ask(session: Session) -> dict[str, Any]:
        name = await session.name("endpoints", identity)
        request = pb.TransitionEndpointRequest(name=name, state=wanted, reason=reason)
        return endpoint_row(await session.registry.TransitionEndpoint(request), await session.zone())

    print_facts(online(ask, municipality), as_json)
