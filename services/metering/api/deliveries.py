"""Deliveries into stores of oil and pellets: recorded once, listed by time, withdrawn and never deleted."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlmodel import Session

from domain.errors import FailedPrecondition, InvalidInput, OutOfLimits
from domain.names import ResourceName, new_uid
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit import audit
from servicekit.context import current_caller, current_tenant, scope_aware
from servicekit.convert import optional_timestamp_to_proto, timestamp_from_proto, timestamp_to_proto
from servicekit.idempotency import once
from servicekit.paging import page
from services.metering.api.calls import Calls, Context, named_rows
from services.metering.meter import Kind
from services.metering.scale import in_scale
from services.metering.slot import EARLIEST_SLOT_MS, from_ms, slot_text, to_ms
from services.metering.store import deliveries as store
from services.metering.store import meters
from services.metering.store.tables import DeliveryRow

LARGEST_DELIVERY: Final = 10**9
"""Litres or kilograms: a million tonnes, more than the largest tanker brings."""
_LARGEST_PAGE = 1_000


class DeliveryCalls(Calls):
    """Deliveries."""

    async def RecordDelivery(self, request: pb.RecordDeliveryRequest, context: Context) -> pb.Delivery:
        """Stores a delivery into the store that a meter stands for."""
        tenant, parent = current_tenant(), ResourceName.parse(request.parent, field="parent", collection="meters")
        given, now = request.delivery, self.clock.now()
        delivered_ms = _delivered_ms(given, now)
        by, document = current_caller().subject, given.document.strip()

        def record(session: Session) -> pb.Delivery:
            meter = meters.get_row(session, tenant.uid, parent.id, str(parent))
            if meter.kind != Kind.STOCK:
                raise FailedPrecondition.of("parent", f"{parent} is no store: its kind is not stock")
            most = in_scale(LARGEST_DELIVERY, meter.scale_exponent)
            if given.amount > most:
                raise OutOfLimits.of(
                    "delivery.amount", f"{given.amount} is more than the {most} that a store could hold"
                )
            uid = new_uid()
            row = store.add(
                session,
                DeliveryRow(
                    uid=uid,
                    meter_uid=meter.uid,
                    delivery_id=uid,
                    delivered_ms=delivered_ms,
                    amount=given.amount,
                    cost_cents=given.cost_cents,
                    document=document,
                    recorded_by=by,
                    recorded_at=now,
                ),
            )
            answer = _to_proto(str(parent), row)
            audit.record(session, "", answer.name, row.uid, tenant.uid, after=answer)
            return answer

        return await self.database.run(
            lambda session: once(
                session,
                request,
                pb.Delivery,
                lambda: record(session),
                municipality_uid=tenant.uid,
                real=self.clock.real(),
            )
        )

    @scope_aware
    async def ListDeliveries(self, request: pb.ListDeliveriesRequest, context: Context) -> pb.ListDeliveriesResponse:
        """Deliveries of a meter, oldest first, withdrawn ones among them."""

        def ask(session: Session) -> pb.ListDeliveriesResponse:
            [(_, meter)] = named_rows(session, [request.parent])

            def fetch(after: list[str | int | None] | None, limit: int) -> list[DeliveryRow]:
                return store.listed(session, meter.uid, _after(after), limit)

            found = page(request, fetch, lambda row: [row.delivered_ms, row.delivery_id], largest=_LARGEST_PAGE)
            return pb.ListDeliveriesResponse(
                deliveries=[_to_proto(request.parent, row) for row in found.items],
                next_page_token=found.next_page_token,
            )

        return await self.database.read(ask)

    async def WithdrawDelivery(self, request: pb.WithdrawDeliveryRequest, context: Context) -> pb.Delivery:
        """Takes a delivery out of every figure; it stays in the list, with who and why."""
        tenant, name = current_tenant(), ResourceName.parse(request.name, collection="meters/deliveries")
        reason, by, now = request.reason.strip(), current_caller().subject, self.clock.now()
        if not reason:
            raise InvalidInput.of("reason", "it is needed")

        def withdraw(session: Session) -> pb.Delivery:
            meter = meters.get_row(session, tenant.uid, name.ids[1], name.parent)
            row = store.get(session, meter.uid, name.id, str(name))
            was = _to_proto(name.parent, row)
            if row.withdrawn_at is not None:
                raise FailedPrecondition.of("name", f"{name} was withdrawn already, on {row.withdrawn_at.date()}")
            row.withdrawn_by, row.withdrawn_at, row.withdrawal_reason = by, now, reason
            store.add(session, row)
            answer = _to_proto(name.parent, row)
            audit.record(session, "", str(name), row.uid, tenant.uid, before=was, after=answer, reason=reason)
            return answer

        return await self.database.run(withdraw)


def _delivered_ms(given: pb.Delivery, now: datetime) -> int:
    at = timestamp_from_proto(given.delivered_at, "delivery.delivered_at")
    if at > now:
        raise InvalidInput.of("delivery.delivered_at", "it lies in the future")
    if to_ms(at) < EARLIEST_SLOT_MS:
        raise InvalidInput.of("delivery.delivered_at", f"it lies before {slot_text(EARLIEST_SLOT_MS)}")
    return to_ms(at)


def _after(key: list[str | int | None] | None) -> tuple[int, str] | None:
    if key is None:
        return None
    if len(key) != 2 or not isinstance(key[0], int):
        raise InvalidInput.of("page_token", "not a token of this method")
    return key[0], str(key[1])


def _to_proto(parent: str, row: DeliveryRow) -> pb.Delivery:
    return pb.Delivery(
        name=f"{parent}/deliveries/{row.delivery_id}",
        delivered_at=timestamp_to_proto(from_ms(row.delivered_ms)),
        amount=row.amount,
        cost_cents=row.cost_cents,
        document=row.document,
        recorded_by=row.recorded_by,
        recorded_at=timestamp_to_proto(row.recorded_at),
        withdrawn_at=optional_timestamp_to_proto(row.withdrawn_at),
        withdrawal_reason=row.withdrawal_reason,
    )
