"""ListInventoryVersions: who changed what in the inventory, when and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlmodel import Session

from domain.errors import InvalidInput
from domain.names import ResourceName
from domain.plan import from_unix_ms, to_unix_ms
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from servicekit.context import Tenant, current_tenants
from servicekit.convert import optional_timestamp_from_proto, timestamp_to_proto
from servicekit.paging import page
from services.lighting.api.calls import LARGEST_PAGE, Calls, Context
from services.lighting.store.inventory import CABINETS, FEEDERS, GATEWAYS, GROUPS, LUMINAIRES, MODELS, SENSORS
from services.lighting.store.version_list import Change, Wanted, list_changes

_TABLES: Final[Mapping[str, str]] = {
    kind.collection: kind.table.__tablename__
    for kind in (CABINETS, FEEDERS, GATEWAYS, MODELS, LUMINAIRES, GROUPS, SENSORS)
}
_COLLECTIONS: Final[Mapping[str, str]] = {table: collection for collection, table in _TABLES.items()}


class VersionCalls(Calls):
    """Versions of the inventory."""

    async def ListInventoryVersions(
        self, request: pb.ListInventoryVersionsRequest, context: Context
    ) -> pb.ListInventoryVersionsResponse:
        """Versions, the newest first: of all, or of one resource, also where it is no more."""
        tenants = {tenant.uid: tenant for tenant in current_tenants()}
        wanted = _wanted(request, tenants)

        def find(session: Session) -> pb.ListInventoryVersionsResponse:
            found = page(
                request,
                lambda after, limit: list_changes(session, wanted, after, limit),
                lambda change: change.key,
                largest=LARGEST_PAGE,
            )
            return pb.ListInventoryVersionsResponse(
                versions=[_shown(change, tenants[change.municipality_uid]) for change in found.items],
                next_page_token=found.next_page_token,
            )

        return await self.database.read(find)


def _wanted(request: pb.ListInventoryVersionsRequest, tenants: Mapping[str, Tenant]) -> Wanted:
    """What is asked for. Raises InvalidInput for a resource that has no versions, and for a period turned round."""
    start = optional_timestamp_from_proto(request, "start_time")
    end = optional_timestamp_from_proto(request, "end_time")
    if start is not None and end is not None and end <= start:
        raise InvalidInput.of("end_time", "is not after start_time")
    kind = identifier = ""
    uids = tuple(tenants)
    if request.resource:
        name = ResourceName.parse(request.resource, field="resource")
        if name.collection not in _TABLES:
            raise InvalidInput.of("resource", f"{request.resource} is none of {', '.join(_TABLES)}")
        kind, identifier = _TABLES[name.collection], name.id
        uids = tuple(tenant.uid for tenant in tenants.values() if tenant.id == name.municipality)
    return Wanted(
        uids, kind, identifier,
        None if start is None else to_unix_ms(start), None if end is None else to_unix_ms(end),
    )  # fmt: skip


def _shown(change: Change, tenant: Tenant) -> inv.InventoryVersion:
    return inv.InventoryVersion(
        resource=f"{tenant.name}/{_COLLECTIONS[change.kind]}/{change.id}",
        uid=change.uid,
        version=change.version,
        from_time=timestamp_to_proto(from_unix_ms(change.from_ms)),
        deleted=change.deleted,
        changed_fields=change.fields,
        author=change.actor,
        reason=change.reason,
        request_id=change.request_id,
    )
