"""Deliveries and findings of the small town of tests, as MeteringService tells them. Readings are town_meters.py's."""

from typing import TYPE_CHECKING, Any

from domain.errors import Conflict, NotFound
from lichtbuch.metering.v1 import metering_pb2, metering_pb2_grpc
from servicekit.context import current_caller, current_tenant
from servicekit.convert import timestamp_to_proto

if TYPE_CHECKING:
    from tests.services.admin.town_services import Town


class StoreCalls(metering_pb2_grpc.MeteringServiceServicer):
    """What comes into stores, and what the waste watch has found."""

    _town: "Town"

    def _meter(self, name: str) -> metering_pb2.Meter:
        found = next((each for each in self._town.meters if each.name == name), None)
        if found is None:
            raise NotFound(name)
        return found

    async def ListDeliveries(
        self, request: metering_pb2.ListDeliveriesRequest, context: Any
    ) -> metering_pb2.ListDeliveriesResponse:
        """All, the oldest first."""
        found = [each for each in self._town.book.deliveries.values() if each.name.startswith(f"{request.parent}/")]
        return metering_pb2.ListDeliveriesResponse(deliveries=found)

    async def RecordDelivery(self, request: metering_pb2.RecordDeliveryRequest, context: Any) -> metering_pb2.Delivery:
        """Takes it; the same request id again changes nothing."""
        self._meter(request.parent)
        book = self._town.book
        key = f"{request.parent}/deliveries/{request.request_id or len(book.deliveries)}"
        if key not in book.deliveries:
            self._town.calls.append(f"RecordDelivery {current_caller().subject}")
            made = metering_pb2.Delivery()
            made.CopyFrom(request.delivery)
            made.name, made.recorded_by = key, current_caller().subject
            book.deliveries[key] = made
        return book.deliveries[key]

    async def WithdrawDelivery(
        self, request: metering_pb2.WithdrawDeliveryRequest, context: Any
    ) -> metering_pb2.Delivery:
        """Marks it."""
        found = self._town.book.deliveries.get(request.name)
        if found is None:
            raise NotFound(request.name)
        found.withdrawn_at.CopyFrom(timestamp_to_proto(self._town.clock.now()))
        found.withdrawal_reason = request.reason
        return found

    async def ListFindings(
        self, request: metering_pb2.ListFindingsRequest, context: Any
    ) -> metering_pb2.ListFindingsResponse:
        """Those that stand, or all."""
        here = [
            each
            for each in self._town.book.findings.values()
            if each.name.startswith(f"{current_tenant().name}/")
            and (
                request.with_past
                or each.state in (metering_pb2.FINDING_STATE_OPEN, metering_pb2.FINDING_STATE_ACKNOWLEDGED)
            )
            and request.meter in ("", each.meter)
        ]
        return metering_pb2.ListFindingsResponse(findings=here)

    async def AcknowledgeFinding(
        self, request: metering_pb2.AcknowledgeFindingRequest, context: Any
    ) -> metering_pb2.Finding:
        """Somebody knows of it."""
        finding = self._finding(request.name, request.etag)
        finding.state, finding.note = metering_pb2.FINDING_STATE_ACKNOWLEDGED, request.note
        finding.acknowledged_by = current_caller().subject
        self._town.calls.append(f"AcknowledgeFinding {current_caller().subject}")
        return finding

    async def CloseFinding(self, request: metering_pb2.CloseFindingRequest, context: Any) -> metering_pb2.Finding:
        """It was dealt with."""
        finding = self._finding(request.name, request.etag)
        finding.state, finding.note = metering_pb2.FINDING_STATE_CLOSED, request.note
        finding.closed_at.CopyFrom(timestamp_to_proto(self._town.clock.now()))
        self._town.calls.append(f"CloseFinding {current_caller().subject}")
        return finding

    def _finding(self, name: str, etag: str) -> metering_pb2.Finding:
        found = self._town.book.findings.get(name)
        if found is None:
            raise NotFound(name)
        if etag not in ("", found.etag):
            raise Conflict("the finding has changed meanwhile")
        found.etag = f"{found.etag}+"
        return found
