"""lichtbuch delivery add|list|withdraw: what was brought into stores of oil and pellets."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import typer

from cli import parsing
from cli.commands.findings import euros
from cli.commands.meter_answers import unit_of
from cli.commands.meters import amount
from cli.options import Json, Town
from cli.output import print_facts, print_rows
from cli.session import Session, all_pages, online
from domain.errors import InvalidInput
from domain.units import parse_number
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.convert import timestamp_to_proto

app = typer.Typer(help="Deliveries into stores of oil and pellets.", no_args_is_help=True)

Meter = Annotated[str, typer.Argument(metavar="METER", help="The meter of the store.")]


def delivery_row(found: pb.Delivery, meter: pb.Meter, tz: Any, *, as_json: bool) -> dict[str, Any]:
    """A delivery as a row; amounts are in the meter's unit and scale."""
    unit = unit_of(meter.unit)
    withdrawn = found.withdrawn_at.ToDatetime(tzinfo=UTC).astimezone(tz) if found.HasField("withdrawn_at") else None
    return {
        "delivery": found.name.rsplit("/", 1)[-1],
        "meter": meter.name.rsplit("/", 1)[-1],
        "delivered": found.delivered_at.ToDatetime(tzinfo=UTC).astimezone(tz),
        "amount": found.amount if as_json else amount(found.amount, unit, meter.scale_exponent),
        **({"unit": unit, "cost_cents": found.cost_cents} if as_json else {"cost": euros(found.cost_cents)}),
        "document": found.document,
        "recorded_by": found.recorded_by,
        "withdrawn": withdrawn,
        "why": found.withdrawal_reason,
    }


async def meter_named(session: Session, given: str) -> pb.Meter:
    """The meter of a store."""
    return await session.metering.GetMeter(pb.GetMeterRequest(name=await session.name("meters", given)))


@app.command("add")
def add(
    meter: Meter,
    quantity: Annotated[str, typer.Argument(metavar="AMOUNT", help="In the meter's unit: litres, kg; 2500 or 2500.5.")],
    at: Annotated[str, typer.Option("--at", help="When: 2026-11-21, 2026-11-21T09:30; local time.")],
    cost: Annotated[str, typer.Option(help="What it cost in euro, gross: 3120.50.")] = "",
    document: Annotated[str, typer.Option(help="Number of the delivery note or bill.")] = "",
    request_id: Annotated[str, typer.Option(help="The same id again records nothing more.")] = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Record a delivery. Recorded late it heals the use since."""

    async def ask(session: Session) -> dict[str, Any]:
        store, tz = await meter_named(session, meter), await session.zone()
        delivery = pb.Delivery(
            delivered_at=timestamp_to_proto(parsing.instant(at, tz, datetime.now(UTC), "at")),
            amount=_whole(quantity, -store.scale_exponent, "amount"),
            cost_cents=_whole(cost, 2, "cost") if cost else 0,
            document=document,
        )
        request = pb.RecordDeliveryRequest(parent=store.name, delivery=delivery, request_id=request_id)
        return delivery_row(await session.metering.RecordDelivery(request), store, tz, as_json=as_json)

    print_facts(online(ask, municipality), as_json)


def _whole(text: str, places: int, field: str) -> int:
    """A number in units of 10^-places. Raises InvalidInput for one with more places than there are."""
    number = parse_number(text, field=field).scaleb(places)
    if number != number.to_integral_value() or number < 0:
        least = Decimal(1).scaleb(-places)
        raise InvalidInput.of(field, f"{text!r} is not a number above zero in steps of {least:f}")
    return int(number)


@app.command("list")
def list_deliveries(meter: Meter, municipality: Town = "", as_json: Json = False) -> None:
    """List deliveries, oldest first, withdrawn ones among them."""

    async def ask(session: Session) -> list[dict[str, Any]]:
        store, tz = await meter_named(session, meter), await session.zone()
        request = pb.ListDeliveriesRequest(parent=store.name)
        found = await all_pages(session.metering.ListDeliveries, request, "deliveries")
        return [delivery_row(one, store, tz, as_json=as_json) for one in found]

    print_rows(online(ask, municipality), as_json, empty="no delivery is recorded")


@app.command("withdraw")
def withdraw(
    meter: Meter,
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="Its id, as `delivery list` shows it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept beside it.")],
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Withdraw a delivery that was recorded by mistake. It stays in the list, marked."""

    async def ask(session: Session) -> dict[str, Any]:
        store, tz = await meter_named(session, meter), await session.zone()
        request = pb.WithdrawDeliveryRequest(name=f"{store.name}/deliveries/{delivery}", reason=reason)
        return delivery_row(await session.metering.WithdrawDelivery(request), store, tz, as_json=as_json)

    print_facts(online(ask, municipality), as_json)
