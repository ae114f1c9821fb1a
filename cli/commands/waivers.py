"""lichtbuch waiver create|list|release: a council's decisions that lower floors until their review."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated, Any

import typer

from cli import parsing
from cli.commands.levels import domain_now, target_name
from cli.options import Json, Reason, Town
from cli.output import note_lines, percent, print_facts, print_rows
from cli.session import Session, all_pages, online
from lichtbuch.lighting.v1 import waivers_pb2 as pb
from servicekit.convert import date_to_proto, timestamp_to_proto

app = typer.Typer(
    help="Council's decisions that a street may be darker than its class allows, until their review.",
    no_args_is_help=True,
)


def waiver_row(item: pb.Waiver, tz: Any) -> dict[str, Any]:
    """A waiver as a row."""
    day = item.decided_on
    return {
        "waiver": item.name.rsplit("/", 1)[-1],
        "targets": [target.split("/", 2)[-1] for target in item.targets],
        "floor": percent(item.floor_permille),
        "decision": item.decision_reference,
        "decided_on": f"{day.year:04}-{day.month:02}-{day.day:02}",
        "start": item.start_time.ToDatetime(tzinfo=UTC).astimezone(tz),
        "review": item.review_time.ToDatetime(tzinfo=UTC).astimezone(tz),
        "sign_at_pole": item.sign_at_pole,
        "released": item.released_at.ToDatetime(tzinfo=UTC).astimezone(tz) if item.HasField("released_at") else None,
        "reason": item.reason,
        "author": item.author,
    }


@app.command("create")
def create_waiver(
    floor: Annotated[str, typer.Argument(metavar="FLOOR", help="Lowest level while it holds, in percent; off: dark.")],
    targets: Annotated[
        list[str],
        typer.Argument(metavar="TARGET...", help="A luminaire's id, group:ID, feeder:ID, cabinet:ID, or all."),
    ],
    reason: Reason,
    decision: Annotated[str, typer.Option(help="Reference of the decision, as in the council's minutes.")],
    decided_on: Annotated[str, typer.Option("--decided-on", help="Day of the decision: 2026-10-01.")],
    review: Annotated[str, typer.Option(help="When it is to be reviewed, at most five years ahead: it ends there.")],
    start: Annotated[str, typer.Option("--from", help="From when; default now.")] = "",
    sign: Annotated[bool, typer.Option("--sign", help="The poles carry the sign (Zeichen 394).")] = False,
    identity: Annotated[str, typer.Option("--id", help="Last part of its name; default: the server chooses.")] = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Enter a decision. While it holds, overrides and plans may go down to its floor; crossings stay lit."""

    async def ask(session: Session) -> tuple[dict[str, Any], list[str]]:
        tz, now = await session.zone(), await domain_now(session)
        wanted = pb.Waiver(
            targets=[await target_name(session, target) for target in targets],
            floor_permille=parsing.level(floor, "floor"),
            decision_reference=decision,
            decided_on=date_to_proto(parsing.day(decided_on, "decided-on")),
            review_time=timestamp_to_proto(parsing.instant(review, tz, now, "review")),
            sign_at_pole=sign,
            reason=reason,
        )
        if start:
            wanted.start_time.CopyFrom(timestamp_to_proto(parsing.instant(start, tz, now, "from")))
        request = pb.CreateWaiverRequest(parent=await session.parent(), waiver_id=identity, waiver=wanted)
        made = await session.lighting.CreateWaiver(request)
        return waiver_row(made, tz), list(made.warnings)

    row, warnings = online(ask, municipality)
    print_facts(row, as_json)
    note_lines(warnings)


@app.command("list")
def list_waivers(
    every: Annotated[bool, typer.Option("--all", help="Ended and released ones too.")] = False,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """List waivers that hold now or will."""

    async def ask(session: Session) -> list[dict[str, Any]]:
        request = pb.ListWaiversRequest(parent=await session.parent(), active_only=not every)
        tz = await session.zone()
        return [waiver_row(item, tz) for item in await all_pages(session.lighting.ListWaivers, request, "waivers")]

    print_rows(online(ask, municipality), as_json, empty="no waiver holds: every floor is that of its class")


@app.command("release")
def release_waiver(
    waiver: Annotated[str, typer.Argument(metavar="WAIVER", help="Id of the waiver.")],
    reason: Reason = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """End a waiver before its review: the floors of the classes hold again at once."""

    async def ask(session: Session) -> dict[str, Any]:
        name = await session.name("waivers", waiver)
        released = await session.lighting.ReleaseWaiver(pb.ReleaseWaiverRequest(name=name, reason=reason))
        return waiver_row(released, await session.zone())

    print_facts(online(ask, municipality), as_json)
