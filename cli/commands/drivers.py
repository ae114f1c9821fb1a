"""lichtbuch lamp drivers|swap|confirm-swap|reject-swap: which driver is in a lamp since when, and who says so."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from cli.commands.commissioning import lamp
from cli.options import Json, Town
from cli.output import enum_word, print_json, print_rows
from cli.parsing import instant
from cli.session import Session, all_pages, online
from domain.errors import InvalidInput
from lichtbuch.lighting.v1 import gears_pb2

__all__ = ["lamp"]

_HOUR_S: Final = 3600
_WIDE: Final = ("identity", "reason", "by")
"""Columns that are left to --json: lines are long enough."""

Lamp = Annotated[str, typer.Argument(metavar="NAME", help="The lamp's id.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, or how you know; kept with the driver.")]
Serial = Annotated[str, typer.Option("--serial", help="Serial number of the new driver.")]


def hours(seconds: int) -> float:
    """Hours with one decimal."""
    return round(seconds / _HOUR_S, 1)


def gear_rows(gear: gears_pb2.LuminaireGear, tz: Any) -> list[dict[str, Any]]:
    """The drivers of a lamp as rows, the first one first."""

    def local(life: gears_pb2.GearLife, field: str) -> datetime | None:
        return getattr(life, field).ToDatetime(tzinfo=UTC).astimezone(tz) if life.HasField(field) else None  # type: ignore[arg-type]

    return [
        {
            "lamp": gear.luminaire.rsplit("/", 1)[-1],
            "driver": life.number,
            "since": local(life, "installed_at"),
            "known": enum_word(gears_pb2.GearLifeState.Name(life.state), "GEAR_LIFE_STATE_"),
            "hours_here": hours(life.burning_s) if life.HasField("burning_s") else None,
            "counter_hours": hours(life.last_counter_s) if life.HasField("last_counter_s") else None,
            "serial": life.serial,
            "identity": life.identity,
            "shown_by": life.evidence,
            "reason": life.reason,
            "by": life.author,
        }
        for life in gear.lives
    ]


def _show(gears: list[gears_pb2.LuminaireGear], tz: Any, as_json: bool) -> None:
    rows = [row for gear in gears for row in gear_rows(gear, tz)]
    if as_json:
        print_json([
            {
                "lamp": gear.luminaire.rsplit("/", 1)[-1],
                "burning_hours": hours(gear.burning_s) if gear.HasField("burning_s") else None,
                "driver_burning_hours": hours(gear.gear_burning_s) if gear.HasField("gear_burning_s") else None,
                "drivers": [{k: v for k, v in row.items() if k != "lamp"} for row in gear_rows(gear, tz)],
            }
            for gear in gears
        ])  # fmt: skip
        return
    print_rows([{k: v for k, v in row.items() if k not in _WIDE} for row in rows], False, empty="no driver is known")


@lamp.command("drivers")
def drivers(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Only this lamp.")] = "",
    swapped: Annotated[bool, typer.Option("--swapped", help="Only lamps whose driver was swapped.")] = False,
    undecided: Annotated[
        bool, typer.Option("--undecided", help="Only swaps that nobody has confirmed or rejected.")
    ] = False,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """List which driver is in which lamp since when, and how long both have burnt."""

    async def ask(session: Session) -> tuple[list[gears_pb2.LuminaireGear], Any]:
        request = gears_pb2.ListLuminaireGearsRequest(
            parent=await session.parent(), swapped_only=swapped, undecided_only=undecided, page_size=10_000
        )
        if name:
            request.luminaire = await session.name("luminaires", name)
        return await all_pages(session.lighting.ListLuminaireGears, request, "gears"), await session.zone()

    found, tz = online(ask, municipality)
    _show(found, tz, as_json)


@lamp.command("swap")
def swap(
    name: Lamp,
    reason: Reason,
    serial: Serial = "",
    at: Annotated[str, typer.Option("--at", help="When: RFC 3339 or local date and time. Default: now.")] = "",
    hours_before: Annotated[
        float | None, typer.Option("--hours", min=0, help="Hours that the new driver had burnt before.")
    ] = None,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Record that the driver of a lamp was swapped: its settings are written again, and new burning hours start."""
    if not reason.strip():
        raise InvalidInput.of("--reason", "say why")

    async def ask(session: Session) -> tuple[gears_pb2.LuminaireGear, Any]:
        tz = await session.zone()
        request = gears_pb2.RecordGearSwapRequest(
            name=await session.name("luminaires", name), serial=serial, reason=reason
        )
        if at:
            request.installed_at.FromDatetime(instant(at, tz, datetime.now(UTC), "--at"))
        if hours_before is not None:
            request.first_counter_s = round(hours_before * _HOUR_S)
        return await session.lighting.RecordGearSwap(request), tz

    gear, tz = online(ask, municipality)
    _show([gear], tz, as_json)


@lamp.command("confirm-swap")
def confirm(name: Lamp, reason: Reason, serial: Serial = "", municipality: Town = "", as_json: Json = False) -> None:
    """Confirm that the driver of a lamp was swapped, as readings show."""
    _decide(name, True, serial, reason, municipality, as_json)


@lamp.command("reject-swap")
def reject(name: Lamp, reason: Reason, municipality: Town = "", as_json: Json = False) -> None:
    """Say that the driver of a lamp was not swapped: its hours count for the one before."""
    _decide(name, False, "", reason, municipality, as_json)


def _decide(name: str, swapped: bool, serial: str, reason: str, municipality: str, as_json: bool) -> None:
    async def ask(session: Session) -> tuple[gears_pb2.LuminaireGear, Any]:
        request = gears_pb2.DecideGearSwapRequest(
            name=await session.name("luminaires", name), swapped=swapped, serial=serial, reason=reason
        )
        return await session.lighting.DecideGearSwap(request), await session.zone()

    gear, tz = online(ask, municipality)
    _show([gear], tz, as_json)
