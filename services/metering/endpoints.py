"""The copy of the field endpoints that metering owns. The registry has the originals; polling works without it.

A loop asks for the whole list and replaces the copy; whoever names an endpoint that is not in the copy yet has it
looked up at once. An endpoint that the registry no longer tells of is no longer read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from domain.errors import FailedPrecondition, InvalidInput, LichtbuchError, NotFound, Unavailable
from domain.names import ResourceName
from lichtbuch.registry.v1 import registry_pb2, registry_pb2_grpc
from servicekit.clock import Clock
from servicekit.context import Tenant
from servicekit.database import Database
from servicekit.tenants import TenantDirectory
from services.metering.metrics import ENDPOINTS_AGE
from services.metering.store import endpoints as store
from services.metering.store.tables import EndpointRow

if TYPE_CHECKING:
    from lichtbuch.registry.v1.registry_pb2_grpc import RegistryServiceAsyncStub

_log = logging.getLogger(__name__)

REFRESH_EVERY_S: Final = 10.0
"""Real seconds: so long a new endpoint waits to be read, and a withdrawn one is still read."""
_PAGE: Final = 1000

Known = tuple[str, str, str, str, str, int, int, int]


class EndpointReplica:
    """Keeps the copy, and answers from it."""

    def __init__(
        self,
        channel: Any,
        database: Database,
        tenants: TenantDirectory,
        clock: Clock,
        *,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`changed` is called after the copy has become another."""
        self._registry: RegistryServiceAsyncStub = registry_pb2_grpc.RegistryServiceStub(channel)
        self._database = database
        self._tenants = tenants
        self._clock = clock
        self._changed = changed
        self._failing = ""

    async def keep_fresh(self, beat: Callable[[], None]) -> None:
        """The loop. A registry or a database that is away does not end it."""
        while True:
            try:
                await self.refresh()
                self._failing = ""
            except LichtbuchError as error:
                if str(error) != self._failing:
                    _log.warning("the endpoints cannot be refreshed; those known here go on: %s", error)
                self._failing = str(error)
            beat()
            await self._clock.sleep_real(REFRESH_EVERY_S)

    async def refresh(self) -> None:
        """Takes over the registry's list. Raises LichtbuchError where that cannot be had or stored."""
        uids = {tenant.id: tenant.uid for tenant in await self._tenants.all()}
        # Before the registry is asked: who is looked up by `find` meanwhile is not gone for not being in its list.
        before = {row.uid: _known(row) for row in await self._database.read(store.all_rows)}
        rows: list[EndpointRow] = []
        token = ""
        while True:
            answer = await self._registry.ListEndpoints(
                registry_pb2.ListEndpointsRequest(
                    parent="municipalities/-",
                    owner=registry_pb2.ENDPOINT_OWNER_METERING,
                    page_size=_PAGE,
                    page_token=token,
                )
            )
            rows += [row for endpoint in answer.endpoints if (row := self._row(endpoint, uids)) is not None]
            token = answer.next_page_token
            if not token:
                break
        ENDPOINTS_AGE.set(self._clock.real().timestamp())
        if {row.uid: _known(row) for row in rows} == before:
            return
        gone = before.keys() - {row.uid for row in rows}
        await self._database.run(lambda session: store.put(session, rows, gone))
        _log.info("%d endpoints are known from the registry", len(rows))
        self._changed()

    async def find(self, tenant: Tenant, endpoint_id: str, field: str) -> EndpointRow:
        """An endpoint that a meter may hang at. Raises InvalidInput where there is none, FailedPrecondition where
        another service owns it, Unavailable where it is not known here and the registry is away."""
        found = await self._database.read(lambda session: store.find(session, tenant.uid, endpoint_id))
        if found is not None:
            return found
        name = str(ResourceName.of(tenant.id, "endpoints", endpoint_id))
        try:
            endpoint = await self._registry.GetEndpoint(registry_pb2.GetEndpointRequest(name=name))
        except NotFound:
            raise InvalidInput.of(field, f"{name} does not exist") from None
        except LichtbuchError as error:
            raise Unavailable(f"{name} is not known here, and the registry does not answer: {error}", 5.0) from error
        if endpoint.owner != registry_pb2.ENDPOINT_OWNER_METERING:
            raise FailedPrecondition.of(field, f"{name} is owned by another service; metering must not connect to it")
        row = self._row(endpoint, {tenant.id: tenant.uid})
        if row is None:
            raise InvalidInput.of(field, f"{name} does not exist")
        await self._database.run(lambda session: store.put(session, [row]))
        return row

    def _row(self, endpoint: registry_pb2.Endpoint, uids: dict[str, str]) -> EndpointRow | None:
        name = ResourceName.parse(endpoint.name, collection="endpoints")
        if name.municipality not in uids:
            return None  # younger than our list of municipalities: the next round has it
        return EndpointRow(
            uid=endpoint.uid,
            municipality_uid=uids[name.municipality],
            endpoint_id=name.id,
            url=endpoint.url,
            profile=endpoint.profile,
            state=int(endpoint.state),
            etag=endpoint.etag,
            seen_at=self._clock.now(),
            round_trip_ms=endpoint.link.round_trip_ms,
            monthly_bytes=endpoint.link.monthly_bytes,
        )


def _known(row: EndpointRow) -> Known:
    return (
        row.uid,
        row.municipality_uid,
        row.endpoint_id,
        row.url,
        row.profile,
        row.state,
        row.round_trip_ms,
        row.monthly_bytes,
    )
