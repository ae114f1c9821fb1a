"""lichtbuch meter install|exchange|dismount: what becomes of a meter with all registers in its housing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from cli import parsing
from cli.commands.meter_facts import Identity, meter_of, show
from cli.options import Json, Reason, Town
from cli.session import Session, online
from domain.errors import InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.convert import timestamp_to_proto

At = Annotated[str, typer.Option("--at", help="When: 2026-11-21T12:00, local time.")]
_FIRST: Final = "METER=FIRST"
_FINAL: Final = "METER=FINAL"
_FINAL_FIRST: Final = "METER=FINAL or METER=FINAL:FIRST"
_EVERY: Final = "Every other register in the housing; repeat it."


def install_meter(
    identity: Identity,
    at: At,
    first: Annotated[
        int | None, typer.Option("--first", min=0, help="What its counter showed then, in its own numbers; 0 if new.")
    ] = None,
    registers: Annotated[list[str] | None, typer.Option("--register", metavar=_FIRST, help=_EVERY)] = None,
    reason: Reason = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Record when a meter was hung up and what it showed then; it may have been long ago, and said wrongly before."""

    async def ask(session: Session) -> tuple[pb.Meter, Any]:
        name, when, tz = await _named(session, identity, at)
        request = pb.InstallMeterRequest(
            name=name,
            installed_at=when,
            first_reading=first,
            registers=[
                pb.RegisterInstallation(meter=register, first_reading=first_one)
                for register, first_one, _ in await _registers(session, registers, _FIRST)
            ],
            reason=reason,
        )
        return await session.metering.InstallMeter(request), tz

    show(*online(ask, municipality), as_json)


def exchange_meter(
    identity: Identity,
    at: At,
    final: Annotated[int, typer.Option("--final", min=0, help="Last counter of the old meter, in its own numbers.")],
    first: Annotated[int, typer.Option("--first", min=0, help="First counter of the new one.")] = 0,
    serial: Annotated[str, typer.Option("--serial", help="Serial number of the new meter.")] = "",
    registers: Annotated[list[str] | None, typer.Option("--register", metavar=_FINAL_FIRST, help=_EVERY)] = None,
    ratio: Annotated[int | None, typer.Option("--ratio", min=1, help="Another transformer ratio.")] = None,
    obis: Annotated[str | None, typer.Option("--obis", help="Another OBIS code.")] = None,
    unit: Annotated[str | None, typer.Option(help="Another unit: gas between l and wh.")] = None,
    scale: Annotated[int | None, typer.Option("--scale", min=-6, max=6, help="Another scale exponent.")] = None,
    rollover: Annotated[int | None, typer.Option("--rollover", min=0, help="Another rollover.")] = None,
    reason: Reason = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Record that a meter was exchanged with all registers in its housing; it may have been long ago."""

    async def ask(session: Session) -> tuple[pb.Meter, Any]:
        name, when, tz = await _named(session, identity, at)
        change = pb.RegisterChange(transformer_ratio=ratio, obis_code=obis, scale_exponent=scale, rollover=rollover)
        if unit is not None:
            change.unit = meter_of({"unit": unit}, await session.parent(), tz)[0].unit
        request = pb.ExchangeMeterRequest(
            name=name,
            exchanged_at=when,
            final_reading=final,
            first_reading=first,
            serial_number=serial,
            registers=[
                pb.RegisterExchange(meter=register, final_reading=last_one, first_reading=first_one)
                for register, last_one, first_one in await _registers(session, registers, _FINAL_FIRST)
            ],
            change=change,
            reason=reason,
        )
        return await session.metering.ExchangeMeter(request), tz

    show(*online(ask, municipality), as_json)


def dismount_meter(
    identity: Identity,
    at: At,
    final: Annotated[int, typer.Option("--final", min=0, help="Its last counter, in its own numbers.")] = 0,
    registers: Annotated[list[str] | None, typer.Option("--register", metavar=_FINAL, help=_EVERY)] = None,
    reason: Reason = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Record that a meter was taken down for good; it can be asked about as before, and its number is free."""

    async def ask(session: Session) -> tuple[pb.Meter, Any]:
        name, when, tz = await _named(session, identity, at)
        request = pb.DismountMeterRequest(
            name=name,
            dismounted_at=when,
            final_reading=final,
            registers=[
                pb.RegisterDismounting(meter=register, final_reading=last_one)
                for register, last_one, _ in await _registers(session, registers, _FINAL)
            ],
            reason=reason,
        )
        return await session.metering.DismountMeter(request), tz

    show(*online(ask, municipality), as_json)


async def _named(session: Session, identity: str, at: str) -> tuple[str, Timestamp, ZoneInfo]:
    """What every one of these calls begins with: the meter, the instant, and the zone in which it is shown."""
    tz = await session.zone()
    when = timestamp_to_proto(parsing.instant(at, tz, datetime.now(UTC), "--at"))
    return await session.name("meters", identity), when, tz


async def _registers(session: Session, given: Sequence[str] | None, form: str) -> list[tuple[str, int, int]]:
    """Name of the meter and its one or two counters for each METER=A or METER=A:B. Raises InvalidInput."""
    found = []
    for one in given or []:
        name, _, readings = one.partition("=")
        numbers = readings.split(":")
        if not name or len(numbers) > 1 + (form == _FINAL_FIRST) or not all(number.isdecimal() for number in numbers):
            raise InvalidInput.of("--register", f"{one!r} is not {form}")
        counters = [int(number) for number in numbers]
        found.append((await session.name("meters", name), counters[0], counters[1] if len(counters) > 1 else 0))
    return found
