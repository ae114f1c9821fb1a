"""Which field endpoints lighting owns: asked of the registry every few seconds and kept in lighting's own database, so
that light needs no registry. Not here: their devices (field.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import IntegrityError

from domain.errors import InvalidInput, LichtbuchError, NotFound
from domain.names import ResourceName
from domain.plan import to_unix_ms
from lichtbuch.registry.v1 import registry_pb2 as pb
from lichtbuch.registry.v1 import registry_pb2_grpc
from servicekit.clock import Clock
from servicekit.context import Tenant
from servicekit.database import Database
from servicekit.tenants import TenantDirectory
from services.lighting.records import EndpointRecord, EndpointState
from services.lighting.store.endpoints import replace_endpoints
from services.lighting.store.names import endpoint_uid

if TYPE_CHECKING:
    from lichtbuch.registry.v1.registry_pb2_grpc import RegistryServiceAsyncStub

_log = logging.getLogger(__name__)

ASK_EVERY_S: Final = 3.0
_PAGE: Final = 1000


class Endpoints:
    """Replicates the registry's endpoints of lighting."""

    def __init__(
        self,
        channel: Any | None,
        database: Database,
        tenants: TenantDirectory,
        clock: Clock,
        *,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        """`channel` leads to the registry; None for none, then only what is stored is known.

        ready: whether the database has its schema.
        """
        self._ready = ready
        self._registry: RegistryServiceAsyncStub | None = (
            registry_pb2_grpc.RegistryServiceStub(channel) if channel is not None else None
        )
        self._database, self._tenants, self._clock = database, tenants, clock
        self._failure: LichtbuchError | None = None
        self._one_at_a_time = asyncio.Lock()

    async def refresh(self) -> bool:
        """Makes the stored list equal to the registry's. False where it or the database is away: all stays as it is."""
        async with self._one_at_a_time:
            return await self._refresh()

    async def _refresh(self) -> bool:
        if self._registry is None or not self._ready():
            return False
        try:
            endpoints = await self._ask(self._registry)
            now_ms = to_unix_ms(self._clock.now())
            changed = await self._database.run(lambda session: replace_endpoints(session, endpoints, now_ms))
        except IntegrityError:
            return True  # another replica stored the same list at the same moment
        except LichtbuchError as error:
            if self._failure is None:
                _log.warning("the field endpoints cannot be refreshed, those known here go on: %s", error)
            self._failure = error
            return False
        self._failure = None
        if changed:
            _log.info("%d field endpoints changed in the registry", changed)
        return True

    async def keep_fresh(self, beat: Callable[[], None]) -> None:
        """The loop: asks every few seconds, for ever."""
        while True:
            await self.refresh()
            beat()
            await self._clock.sleep_real(ASK_EVERY_S)

    async def uid_of(self, tenant: Tenant, name: str, field: str) -> str:
        """The uid of an endpoint by name; an unknown one is looked up in the registry. Raises InvalidInput."""
        identifier = ResourceName.parse(name, field=field, collection="endpoints").id
        uid = await self._database.read(lambda session: endpoint_uid(session, tenant, identifier))
        if uid is None:
            async with self._one_at_a_time:
                # Many ask for what was just registered: the first refresh answers all who waited for it.
                uid = await self._database.read(lambda session: endpoint_uid(session, tenant, identifier))
                if uid is None and await self._refresh():
                    uid = await self._database.read(lambda session: endpoint_uid(session, tenant, identifier))
        if uid is None:
            raise InvalidInput.of(field, f"{name} is not an endpoint of lighting")
        return uid

    async def _ask(self, registry: RegistryServiceAsyncStub) -> list[EndpointRecord]:
        found: list[EndpointRecord] = []
        uids: dict[str, str] = {}
        token = ""
        while True:
            answer = await registry.ListEndpoints(
                pb.ListEndpointsRequest(
                    parent="municipalities/-", owner=pb.ENDPOINT_OWNER_LIGHTING, page_size=_PAGE, page_token=token
                )
            )
            for endpoint in answer.endpoints:
                name = ResourceName.parse(endpoint.name, collection="endpoints")
                if name.municipality not in uids:
                    try:
                        uids[name.municipality] = (await self._tenants.get(name.municipality)).uid
                    except NotFound:
                        continue  # not known here yet: next time
                found.append(endpoint_from_proto(endpoint, uids[name.municipality], name.id))
            token = answer.next_page_token
            if not token:
                return found


def endpoint_from_proto(endpoint: pb.Endpoint, municipality_uid: str, identifier: str) -> EndpointRecord:
    """An endpoint as control needs it; a state that is not known here counts as planned: nothing connects."""
    try:
        state = EndpointState(endpoint.state)
    except ValueError:
        state = EndpointState.PLANNED
    return EndpointRecord(
        endpoint.uid,
        municipality_uid,
        identifier,
        endpoint.url,
        endpoint.profile,
        state,
        endpoint.link.round_trip_ms,
        endpoint.link.monthly_bytes,
    )
