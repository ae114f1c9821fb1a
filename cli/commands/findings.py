"""lichtbuch findings list|acknowledge|close: what the waste watch found."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated, Any, Final

import typer

from cli.commands.meter_answers import unit_of
from cli.commands.meters import amount
from cli.options import Json, Town
from cli.output import enum_word, print_facts, print_rows
from cli.session import Session, all_pages, online
from domain.errors import FailedPrecondition, InvalidInput, NotFound
from lichtbuch.metering.v1 import metering_pb2 as pb

app = typer.Typer(help="What the waste watch found: leaks, base loads, heating in warm weather.", no_args_is_help=True)

SHORT: Final = 8
"""So many characters of the end of an id tell findings apart."""
_LEAST: Final = 4
Name = Annotated[str, typer.Argument(metavar="FINDING", help="Its id, or the last characters of it.")]


def euros(cents: int) -> str:
    """An amount of money for people."""
    return f"{cents / 100:,.2f} EUR".replace(",", " ")


def finding_row(found: pb.Finding, tz: Any, *, as_json: bool) -> dict[str, Any]:
    """A finding as a row."""
    unit = unit_of(found.unit)
    closed = found.closed_at.ToDatetime(tzinfo=UTC).astimezone(tz) if found.HasField("closed_at") else None
    return {
        "finding": found.name.rsplit("/", 1)[-1],
        "meter": found.meter.rsplit("/", 1)[-1],
        "rule": found.rule,
        "from": found.start_time.ToDatetime(tzinfo=UTC).astimezone(tz),
        "until": found.end_time.ToDatetime(tzinfo=UTC).astimezone(tz),
        "too_much": found.excess_amount if as_json else amount(found.excess_amount, unit),
        **({"unit": unit, "cost_cents": found.cost_cents} if as_json else {"cost": euros(found.cost_cents)}),
        "detail": found.detail,
        "state": enum_word(pb.FindingState.Name(found.state), "FINDING_STATE_"),
        "known_to": found.acknowledged_by,
        "note": found.note,
        "coverage_permille": found.coverage_permille,
        "raised": found.raised_at.ToDatetime(tzinfo=UTC).astimezone(tz),
        "closed": closed,
    }


@app.command("list")
def list_findings(
    meter: Annotated[str, typer.Option("--meter", help="Only of this meter.")] = "",
    past: Annotated[bool, typer.Option("--past", help="Those too that ended or were closed.")] = False,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """List what stands, the newest first, with what it cost so far, estimated."""

    async def ask(session: Session) -> list[dict[str, Any]]:
        request = pb.ListFindingsRequest(
            parent=await session.parent(),
            meter=await session.name("meters", meter) if meter else "",
            with_past=past,
        )
        tz = await session.zone()
        found = await all_pages(session.metering.ListFindings, request, "findings")
        return [finding_row(one, tz, as_json=as_json) for one in found]

    rows = online(ask, municipality)
    if not as_json:
        rows = [_short(row, past=past) for row in rows]
    print_rows(rows, as_json, empty="nothing was found" if past else "no finding stands")


def _short(row: dict[str, Any], *, past: bool) -> dict[str, Any]:
    """What fits on a screen."""
    return {
        "finding": row["finding"][-SHORT:],
        "meter": row["meter"],
        "what": row["detail"],
        "since": f"{row['from']:%Y-%m-%d}",
        "until": f"{row['until']:%Y-%m-%d}",
        "too_much": row["too_much"],
        "cost": row["cost"],
        "coverage_permille": row["coverage_permille"],
        **({"state": row["state"]} if past else {}),
        "known_to": row["known_to"],
        "note": row["note"],
    }


async def finding_name(session: Session, given: str) -> str:
    """The name of a finding from what a person types: the name, the id, or the end of the id of one that stands."""
    if "/" in given or len(given) >= 32:
        return await session.name("findings", given)
    if len(given) < _LEAST:
        raise InvalidInput.of("finding", f"{given!r} is too short: the last {SHORT} characters of the id are enough")
    request = pb.ListFindingsRequest(parent=await session.parent())
    names: list[str] = [one.name for one in await all_pages(session.metering.ListFindings, request, "findings")]
    fitting = [name for name in names if name.endswith(given.lower())]
    if not fitting:
        raise NotFound(f"{await session.parent()}/findings/...{given}")
    if len(fitting) > 1:
        raise FailedPrecondition.of("finding", f"{len(fitting)} findings end with {given}: give more of the id")
    return fitting[0]


@app.command("acknowledge")
def acknowledge(
    name: Name,
    remark: Annotated[str, typer.Option("--note", help="What is being done.")] = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Say that you know of a finding. It goes on until it ends or somebody closes it."""

    async def ask(session: Session) -> dict[str, Any]:
        request = pb.AcknowledgeFindingRequest(name=await finding_name(session, name), note=remark)
        found = await session.metering.AcknowledgeFinding(request)
        return finding_row(found, await session.zone(), as_json=as_json)

    print_facts(online(ask, municipality), as_json)


@app.command("close")
def close(
    name: Name,
    remark: Annotated[str, typer.Option("--note", help="What was done, or why it is no waste.")],
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Close a finding: it was dealt with, or is none. What had begun by now is not raised again."""

    async def ask(session: Session) -> dict[str, Any]:
        request = pb.CloseFindingRequest(name=await finding_name(session, name), note=remark)
        found = await session.metering.CloseFinding(request)
        return finding_row(found, await session.zone(), as_json=as_json)

    print_facts(online(ask, municipality), as_json)
