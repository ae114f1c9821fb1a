"""Endpoints of the small town of tests, and their audit trail: the registry's own rules, with all in memory."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from domain.errors import NotFound
from lichtbuch.audit.v1 import audit_pb2, audit_pb2_grpc
from lichtbuch.lighting.v1 import inventory_pb2, lighting_pb2
from lichtbuch.registry.v1 import registry_pb2
from servicekit.audit import state_json
from servicekit.context import current_caller, current_tenant
from servicekit.convert import timestamp_to_proto
from services.registry.convert import endpoint_to_proto, state_from_proto
from services.registry.endpoint import Endpoint, Owner, State
from services.registry.field_url import parse_field_url

if TYPE_CHECKING:
    from tests.services.admin.town_services import Town

TENANT = "bad-hersfeld"


class EndpointCalls:
    """What RegistryService says of endpoints."""

    _town: "Town"

    async def ListEndpoints(
        self, request: registry_pb2.ListEndpointsRequest, context: Any
    ) -> registry_pb2.ListEndpointsResponse:
        """All."""
        here = [each for name, each in self._town.endpoints.items() if name.startswith(f"{current_tenant().name}/")]
        messages = [endpoint_to_proto(current_tenant().id, each) for each in here]
        return registry_pb2.ListEndpointsResponse(endpoints=messages)

    async def GetEndpoint(self, request: registry_pb2.GetEndpointRequest, context: Any) -> registry_pb2.Endpoint:
        """One."""
        return endpoint_to_proto(current_tenant().id, self._endpoint(request.name))

    async def TransitionEndpoint(
        self, request: registry_pb2.TransitionEndpointRequest, context: Any
    ) -> registry_pb2.Endpoint:
        """Moves one, by the registry's rules."""
        town, caller = self._town, current_caller()
        before = self._endpoint(request.name)
        after = before.moved_to(
            state_from_proto(request.state), by=caller.subject, is_person=not caller.is_service, at=town.clock.now()
        )
        town.endpoints[request.name] = after
        town.calls.append(f"TransitionEndpoint {caller.subject}")
        told(town, before, after, caller.subject, request.reason)
        return endpoint_to_proto(current_tenant().id, after)

    def _endpoint(self, name: str) -> Endpoint:
        if name not in self._town.endpoints:
            raise NotFound(name)
        return self._town.endpoints[name]


class AttachedCalls:
    """What LightingService says of gateways."""

    _town: "Town"
    _here: Callable[..., list[Any]]

    async def ListGateways(
        self, request: lighting_pb2.ListGatewaysRequest, context: Any
    ) -> lighting_pb2.ListGatewaysResponse:
        """All."""
        return lighting_pb2.ListGatewaysResponse(gateways=self._here(self._town.gateways))


class AuditTrail(audit_pb2_grpc.AuditServiceServicer):
    """What was changed, newest first."""

    def __init__(self, town: "Town") -> None:
        self._town = town

    async def ListAuditRecords(
        self, request: audit_pb2.ListAuditRecordsRequest, context: Any
    ) -> audit_pb2.ListAuditRecordsResponse:
        """All."""
        return audit_pb2.ListAuditRecordsResponse(records=reversed(self._town.moves))


def told(town: "Town", before: Endpoint | None, after: Endpoint, actor: str, reason: str) -> None:
    """Puts a change into the audit trail."""
    tenant = TENANT
    town.moves.append(
        audit_pb2.AuditRecord(
            domain_at=timestamp_to_proto(town.clock.now()),
            actor=actor,
            resource=f"municipalities/{tenant}/endpoints/{after.id}",
            reason=reason,
            before_json=state_json(endpoint_to_proto(tenant, before) if before else None),
            after_json=state_json(endpoint_to_proto(tenant, after)),
        )
    )


def name(collection: str, identity: str) -> str:
    """A resource name in the town."""
    return f"municipalities/{TENANT}/{collection}/{identity}"


def commission(town: "Town") -> None:
    """An endpoint in each state but under control, one in control, and what hangs on them.

    gw-1 is observed and has the lamps of Mondgasse, gw-2 tested those of Sternweg; cc-1 controls the first cabinet.
    """
    kinds = (
        ("gw-1", "Gateway Mondgasse", "modbus+tcp://10.1.2.3?unit=1", "arlight-dali", Owner.LIGHTING, State.OBSERVED),
        ("gw-2", "Gateway Sternweg", "modbus+tcp://10.1.2.4:1502?unit=7", "arlight-dali", Owner.LIGHTING, State.TESTED),
        ("gw-3", "", "modbus+tcp://10.1.2.5", "intesis-dali", Owner.LIGHTING, State.PLANNED),
        ("cc-1", "Steuerung", "opc.tcp://10.1.2.9/lights", "cabinet-opcua", Owner.LIGHTING, State.IN_CONTROL),
        ("em-1", "", "modbus+tcp://10.1.2.6?unit=2", "eastron-sdm630", Owner.METERING, State.OBSERVED),
    )  # fmt: skip
    for identity, called, url, profile, owner, state in kinds:
        made = Endpoint(f"uid-{identity}", "uid-town", identity, called, parse_field_url(url), profile, owner)
        told(town, None, made, "u-planner", "")
        for step in list(State)[1 : list(State).index(state) + 1]:
            before, made = made, made.moved_to(step, by="u-planner", is_person=True, at=town.clock.now())
            told(town, before, made, "u-planner", f"Schritt {identity} <b>{step.value}</b>")
        town.endpoints[name("endpoints", identity)] = made
    for number in (1, 2):
        gateway = name("gateways", f"G-{number}")
        town.gateways.append(
            inventory_pb2.Gateway(
                name=gateway, cabinet=name("cabinets", f"C-00{number}"), endpoint=name("endpoints", f"gw-{number}")
            )
        )
        for lamp in town.luminaires:
            if lamp.cabinet == name("cabinets", f"C-00{number}"):
                lamp.gateway = gateway
    town.cabinets[0].controller = name("endpoints", "cc-1")
    town.meters[0].endpoint = name("endpoints", "em-1")
