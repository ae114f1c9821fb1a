"""lichtbuch lamp identify|protect: which lamp is it, for a person at the pole; and what lamps do by themselves."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.options import Json, Town
from cli.output import console, enum_word, percent, print_facts, print_json
from cli.session import Session, all_pages, online
from domain.errors import InvalidInput
from domain.level import FULL_PERMILLE
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


@lamp.command("protect")
def protect(
    gateways: Annotated[list[str] | None, typer.Option("--gateway", help="All lamps of this gateway.")] = None,
    groups: Annotated[list[str] | None, typer.Option("--group", help="All lamps of this group.")] = None,
    lamps: Annotated[list[str] | None, typer.Option("--lamp", help="This lamp.")] = None,
    power_on: Annotated[
        int, typer.Option("--power-on", min=0, max=100, help="Level in percent when supply comes back.")
    ] = 100,
    communication_loss: Annotated[
        int, typer.Option("--communication-loss", min=0, max=100, help="Level in percent when nobody speaks to it.")
    ] = 100,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")] = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Let lamps light up by themselves when supply comes back or nobody speaks to them.

    They are told, and read back, as soon as they answer: at night, where feeders are dead by day. What is left is shown
    by `lichtbuch lamps --unprotected`.
    """
    if not (gateways or groups or lamps):
        raise InvalidInput.of("--gateway", "name at least one gateway, group or lamp")

    async def ask(session: Session) -> int:
        request = commissioning_pb2.ProtectLuminairesRequest(
            parent=await session.parent(),
            gateways=[await session.name("gateways", name) for name in gateways or ()],
            groups=[await session.name("groups", name) for name in groups or ()],
            luminaires=[await session.name("luminaires", name) for name in lamps or ()],
            power_on_permille=power_on * FULL_PERMILLE // 100,
            communication_loss_permille=communication_loss * FULL_PERMILLE // 100,
            reason=reason,
        )
        return int((await session.lighting.ProtectLuminaires(request)).luminaire_count)

    count = online(ask, municipality)
    if as_json:
        print_json({"lamps": count})
    else:
        console.print(f"{count} lamps will be told as soon as they answer")


async def unprotected(session: Session) -> list[dict[str, Any]]:
    """Lamps of which it is not assured what they do by themselves, as rows."""
    request = commissioning_pb2.ListLuminaireProtectionsRequest(
        parent=await session.parent(), unprotected_only=True, page_size=10_000
    )
    found: list[commissioning_pb2.LuminaireProtection] = await all_pages(
        session.lighting.ListLuminaireProtections, request, "protections"
    )
    tz = await session.zone()
    return [
        {
            "lamp": item.luminaire.rsplit("/", 1)[-1],
            "gateway": item.gateway.rsplit("/", 1)[-1],
            "state": enum_word(commissioning_pb2.ProtectionState.Name(item.state), "PROTECTION_STATE_"),
            "power_on": _level(item, "power_on_permille"),
            "reads": _level(item, "read_power_on_permille"),
            "communication_loss": _level(item, "communication_loss_permille"),
            "reads_on_loss": _level(item, "read_communication_loss_permille"),
            "read_at": item.read_at.ToDatetime(tzinfo=tz) if item.HasField("read_at") else None,
        }
        for item in found
    ]


def _level(item: commissioning_pb2.LuminaireProtection, field: str) -> str:
    if not item.HasField(field):  # type: ignore[arg-type]
        return ""
    level: int = getattr(item, field)
    return percent(level) if level >= 0 else "as before"
