"""What pages ask and do about endpoints on their way into control, for one municipality. One call, one answer.

Raises errors of domain/errors.py. Not here: what they mean (endpoints.py), how often it is asked (town.py).
"""

from __future__ import annotations

import asyncio
from typing import Final

from domain.errors import Conflict
from lichtbuch.audit.v1 import audit_pb2
from lichtbuch.lighting.v1 import lighting_pb2, sensors_pb2
from lichtbuch.registry.v1 import registry_pb2
from services.admin.clients import Clients, all_pages
from services.admin.endpoints import Attached, EndpointNow, Move, attached_from_proto, endpoint_from_proto
from services.admin.endpoints import moves_from_proto as moves_of
from services.admin.planning import NOBODY, would

REGISTRY_PAGE: Final = 1_000
"""So many of a list the registry gives at once."""


class Commissioning:
    """The questions about one municipality, by its name."""

    def __init__(self, name: str, clients: Clients) -> None:
        self.name, self._clients = name, clients

    async def may_move(self) -> bool:
        """Whether the server would let this person move endpoints."""
        name, state = f"{self.name}/endpoints/{NOBODY}", registry_pb2.ENDPOINT_STATE_PLANNED
        request = registry_pb2.TransitionEndpointRequest(name=name, state=state, reason=NOBODY)
        return await would(self._clients.registry.TransitionEndpoint(request))

    async def endpoints(self) -> tuple[EndpointNow, ...]:
        """All, by name."""
        request = registry_pb2.ListEndpointsRequest(parent=self.name)
        found = await all_pages(self._clients.registry.ListEndpoints, request, "endpoints", REGISTRY_PAGE)
        return tuple(map(endpoint_from_proto, found))

    async def moves(self) -> dict[str, Move]:
        """How endpoints came into their states, by the audit trail: for who may read it."""
        request = audit_pb2.ListAuditRecordsRequest(parent=self.name)
        return moves_of(
            await all_pages(self._clients.registry_audit.ListAuditRecords, request, "records", REGISTRY_PAGE)
        )

    async def attached(self) -> tuple[Attached, ...]:
        """What lighting reaches at endpoints."""
        stub, parent = self._clients.lighting, self.name
        gateways, cabinets, sensors = await asyncio.gather(
            all_pages(stub.ListGateways, lighting_pb2.ListGatewaysRequest(parent=parent), "gateways"),
            all_pages(stub.ListCabinets, lighting_pb2.ListCabinetsRequest(parent=parent), "cabinets"),
            all_pages(stub.ListSensors, sensors_pb2.ListSensorsRequest(parent=parent), "sensors"),
        )
        return attached_from_proto(gateways, cabinets, sensors)

    async def move(self, seen: EndpointNow, state: registry_pb2.EndpointState.ValueType, reason: str) -> None:
        """Moves an endpoint on, or back. Raises Conflict where it is not any more where this person saw it."""
        stands = await self._clients.registry.GetEndpoint(registry_pb2.GetEndpointRequest(name=seen.name))
        if endpoint_from_proto(stands) != seen:
            raise Conflict(f"{seen.name} was changed meanwhile")
        request = registry_pb2.TransitionEndpointRequest(name=seen.name, state=state, reason=reason)
        await self._clients.registry.TransitionEndpoint(request)
