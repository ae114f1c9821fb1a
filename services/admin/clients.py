"""Stubs of the services for one person: every call carries that person's own token, and no other.

Channels are opened when first used and closed with the session. Calls raise from the tree in domain/errors.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any, Final

from lichtbuch.audit.v1 import audit_pb2_grpc
from lichtbuch.ledger.v1 import ledger_pb2_grpc
from lichtbuch.lighting.v1 import lighting_pb2_grpc
from lichtbuch.metering.v1 import metering_pb2_grpc
from lichtbuch.registry.v1 import registry_pb2_grpc
from lichtbuch.scheduler.v1 import scheduler_pb2_grpc
from servicekit.client import ServiceChannel, connect
from servicekit.tokens import TokenSource
from services.admin.settings import AdminSettings

DEADLINE_S: Final = 10.0
PAGE: Final = 10_000
MOST_PAGES: Final = 100
"""A list that does not end is cut here."""


def addresses(settings: AdminSettings) -> dict[str, str]:
    """Where the services are."""
    return {
        "registry": settings.registry_address,
        "lighting": settings.lighting_address,
        "scheduler": settings.scheduler_address,
        "metering": settings.metering_address,
        "ledger": settings.ledger_address,
    }


class Clients:
    """The services as one person reaches them. Inside a running event loop."""

    def __init__(self, settings: AdminSettings, identity: TokenSource) -> None:
        self._settings, self._identity = settings, identity
        self._addresses: Mapping[str, str] = addresses(settings)
        self._channels: dict[str, ServiceChannel] = {}

    def _channel(self, service: str) -> ServiceChannel:
        if service not in self._channels:
            target = self._addresses[service]
            self._channels[service] = connect(target, self._settings, self._identity, deadline_s=DEADLINE_S)
        return self._channels[service]

    @cached_property
    def registry(self) -> registry_pb2_grpc.RegistryServiceAsyncStub:
        """Municipalities."""
        return registry_pb2_grpc.RegistryServiceStub(self._channel("registry"))

    @cached_property
    def registry_audit(self) -> audit_pb2_grpc.AuditServiceAsyncStub:
        """Who changed what in the registry."""
        return audit_pb2_grpc.AuditServiceStub(self._channel("registry"))

    @cached_property
    def lighting(self) -> lighting_pb2_grpc.LightingServiceAsyncStub:
        """Lamps, cabinets, overrides."""
        return lighting_pb2_grpc.LightingServiceStub(self._channel("lighting"))

    @cached_property
    def scheduler(self) -> scheduler_pb2_grpc.SchedulerServiceAsyncStub:
        """Profiles, and what they would bring."""
        return scheduler_pb2_grpc.SchedulerServiceStub(self._channel("scheduler"))

    @cached_property
    def metering(self) -> metering_pb2_grpc.MeteringServiceAsyncStub:
        """Meters and readings."""
        return metering_pb2_grpc.MeteringServiceStub(self._channel("metering"))

    @cached_property
    def ledger(self) -> ledger_pb2_grpc.LedgerServiceAsyncStub:
        """Measures and savings."""
        return ledger_pb2_grpc.LedgerServiceStub(self._channel("ledger"))

    async def close(self) -> None:
        """Ends open calls and the connections."""
        channels, self._channels = list(self._channels.values()), {}
        await asyncio.gather(*(channel.close() for channel in channels))


async def all_pages(
    call: Callable[[Any], Awaitable[Any]], request: Any, items: str, page_size: int = PAGE
) -> list[Any]:
    """Every item of a paged list; `items` is the field of the answer that holds them."""
    found: list[Any] = []
    request.page_size = page_size
    for _ in range(MOST_PAGES):
        answer = await call(request)
        found.extend(getattr(answer, items))
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    return found
