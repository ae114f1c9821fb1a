"""lichtbuch faults and lichtbuch fault acknowledge|report|clear: the work list of fitters, street by street."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli.commands.levels import target_name
from cli.options import Json, Town
from cli.output import console, note, print_facts, print_json, print_rows
from cli.session import Session, all_pages, online
from domain.errors import FailedPrecondition, InvalidInput, NotFound
from lichtbuch.lighting.v1 import faults_pb2
from services.admin.fault_list import fault_row, faults_csv

fault = typer.Typer(help="Acknowledge, report and clear faults.", no_args_is_help=True)

SHORT: Final = 8
"""So many last characters of a fault's id are shown, and are enough to name one that stands."""
_LEAST: Final = 4
NO_STREET: Final = "without a street"


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """A work list for spreadsheets: UTF-8 with commas."""
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            file.write(faults_csv(rows))
    except OSError as error:
        raise InvalidInput.of("csv", f"{path} cannot be written: {error.strerror}") from error


def faults(
    street: Annotated[str, typer.Option("--street", help="Only of this street, as it is written.")] = "",
    cabinet: Annotated[str, typer.Option("--cabinet", help="Only of this cabinet and what hangs on it.")] = "",
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Only of this kind, for instance lamp-failure.")
    ] = None,
    standing: Annotated[
        bool, typer.Option("--open/--all", help="Those that stand (default), or of the past too.")
    ] = True,
    new: Annotated[bool, typer.Option("--new", help="Only those that nobody has acknowledged.")] = False,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the list to this file instead.")] = None,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """List faults as a fitter drives: street by street, pole by pole."""
    kinds = [_kind(word) for word in kind or ()]

    async def ask(session: Session) -> list[dict[str, Any]]:
        request = faults_pb2.ListFaultsRequest(
            parent=await session.parent(), open_only=standing, unacknowledged_only=new, street=street, kinds=kinds
        )
        if cabinet:
            request.cabinet = await session.name("cabinets", cabinet)
        tz = await session.zone()
        return [fault_row(item, tz) for item in await all_pages(session.lighting.ListFaults, request, "faults")]

    rows = online(ask, municipality)
    if csv_file is not None:
        write_csv(csv_file, rows)
        note(f"{len(rows)} faults are in {csv_file}")
        return
    if as_json:
        print_json(rows)
        return
    if not rows:
        console.print("no fault stands" if standing else "there are no faults")
        return
    streets = list(dict.fromkeys(row["street"] for row in rows))
    for name in streets:
        mine = [_short(row, standing) for row in rows if row["street"] == name]
        print_rows(mine, False, title=f"{name or NO_STREET}: {len(mine)}")


def _short(row: dict[str, Any], standing: bool) -> dict[str, Any]:
    """What fits on a screen."""
    return {
        "fault": row["fault"][-SHORT:],
        "pole": row["pole"],
        "on": row["subject"],
        "kind": row["kind"],
        "seen": row["seen"],
        "since": row["raised"],
        **({} if standing else {"cleared": row["cleared"]}),
        "known to": row["acknowledged_by"],
        "note": row["note"],
    }


def _kind(word: str) -> faults_pb2.FaultKind.ValueType:
    name = "FAULT_KIND_" + word.strip().upper().replace("-", "_").replace(" ", "_")
    words = [n.removeprefix("FAULT_KIND_").lower().replace("_", "-") for n in faults_pb2.FaultKind.keys()[1:]]
    if name not in faults_pb2.FaultKind.keys()[1:]:
        raise InvalidInput.of("kind", f"{word!r} is none of {', '.join(words)}")
    return faults_pb2.FaultKind.Value(name)


async def fault_name(session: Session, given: str) -> str:
    """The name of a fault from what a person types: the name, the id, or the end of the id of one that stands."""
    if "/" in given or len(given) >= 32:
        return await session.name("faults", given)
    if len(given) < _LEAST:
        raise InvalidInput.of("fault", f"{given!r} is too short: the last {SHORT} characters of the id are enough")
    request = faults_pb2.ListFaultsRequest(parent=await session.parent(), open_only=True)
    names: list[str] = [item.name for item in await all_pages(session.lighting.ListFaults, request, "faults")]
    fitting = [name for name in names if name.endswith(given.lower())]
    if not fitting:
        raise NotFound(f"{await session.parent()}/faults/...{given}")
    if len(fitting) > 1:
        raise FailedPrecondition.of("fault", f"{len(fitting)} standing faults end with {given}: give more of the id")
    return fitting[0]


@fault.command("acknowledge")
def acknowledge(
    name: Annotated[str, typer.Argument(metavar="FAULT", help="Its id, or the last characters of it.")],
    remark: Annotated[str, typer.Option("--note", help="What is being done.")] = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Say that you know of a fault. It stands until it is seen to be good."""

    async def ask(session: Session) -> dict[str, Any]:
        request = faults_pb2.AcknowledgeFaultRequest(name=await fault_name(session, name), note=remark)
        return fault_row(await session.lighting.AcknowledgeFault(request), await session.zone())

    print_facts(online(ask, municipality), as_json)


@fault.command("report")
def report(
    subject: Annotated[str, typer.Argument(metavar="LUMINAIRE", help="A luminaire's id, cabinet:ID or feeder:ID.")],
    text: Annotated[str, typer.Option("--text", help="What is wrong. No names or numbers of citizens.")],
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Report a fault by hand: of a lamp without communication, or what somebody tells by telephone."""

    async def ask(session: Session) -> dict[str, Any]:
        target = await target_name(session, subject)
        request = faults_pb2.ReportFaultRequest(parent=await session.parent(), subject=target, text=text)
        return fault_row(await session.lighting.ReportFault(request), await session.zone())

    print_facts(online(ask, municipality), as_json)


@fault.command("clear")
def clear(
    name: Annotated[str, typer.Argument(metavar="FAULT", help="Its id, or the last characters of it.")],
    remark: Annotated[str, typer.Option("--note", help="What was done.")] = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """End a fault that was reported by hand. The others end by themselves."""

    async def ask(session: Session) -> dict[str, Any]:
        request = faults_pb2.ClearFaultRequest(name=await fault_name(session, name), note=remark)
        return fault_row(await session.lighting.ClearFault(request), await session.zone())

    print_facts(online(ask, municipality), as_json)
