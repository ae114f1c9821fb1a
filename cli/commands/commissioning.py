"""lichtbuch lamp identify: which lamp is it, for a person at the pole."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.options import Json, Town
from cli.output import percent, print_facts
from cli.session import Session, online
from lichtbuch.lighting.v1 import commissioning_pb2

lamp = typer.Typer(help="Commission single lamps.", no_args_is_help=True)


@lamp.command("identify")
def identify(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The lamp's id.")],
    seconds: Annotated[int, typer.Option("--seconds", min=5, max=300, help="How long it blinks.")] = 30,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")] = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Let a lamp blink, so that you see at the pole which address it is. It ends by itself."""

    async def ask(session: Session) -> dict[str, Any]:
        request = commissioning_pb2.IdentifyLuminaireRequest(
            name=await session.name("luminaires", name), duration_s=seconds, reason=reason
        )
        answer = await session.lighting.IdentifyLuminaire(request)
        tz = await session.zone()
        return {
            "lamp": answer.luminaire.rsplit("/", 1)[-1],
            "gateway": answer.gateway.rsplit("/", 1)[-1],
            "address": answer.gateway_address,
            "between": f"{percent(answer.low_permille)} and {percent(1000)}",
            "until": answer.end_time.ToDatetime(tzinfo=tz),
        }

    print_facts(online(ask, municipality), as_json)
