"""What every group of metering's methods works with, and how meters are found by name within what a caller may see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import grpc
from sqlmodel import Session

from domain.errors import NotFound
from domain.names import ResourceName
from servicekit.clock import Clock
from servicekit.context import Tenant, current_caller, current_scope, current_tenants
from servicekit.database import Database
from services.metering.endpoints import EndpointReplica
from services.metering.store import meters as store
from services.metering.store.feed import Source
from services.metering.store.partitions import Partitions
from services.metering.store.tables import MeterRow
from services.metering.validation.parameters import Parameters
from services.metering.watch import Bell

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Calls:
    """A group of methods."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        endpoints: EndpointReplica,
        bell: Bell,
        *,
        changed: Callable[[], None] = lambda: None,
        parameters: Parameters | None = None,
    ) -> None:
        """`bell` wakes watchers of readings; `changed` tells polling that meters have become others; `parameters` are
        those of the rules of validation."""
        self.database = database
        self.clock = clock
        self.endpoints = endpoints
        self.bell = bell
        self.changed = changed
        self.parameters = parameters or Parameters()
        self.partitions = Partitions(database)

    def source(self, text: str) -> Source:
        """The source of readings that the caller brings."""
        return Source(text, current_caller().subject, self.clock.now())


def clamped(number: int) -> int:
    """A share or a duration as the contract's 32 bits hold it: beyond two thousand million it says no more."""
    return max(-(2**31), min(number, 2**31 - 1))


def meter_name(tenant_id: str, row: MeterRow) -> str:
    """Resource name of a meter."""
    return name_of_id(tenant_id, row.meter_id)


def name_of_id(tenant_id: str, meter_id: str) -> str:
    """Resource name of the meter that has an id, or will have it."""
    return f"municipalities/{tenant_id}/meters/{meter_id}"


def in_scope(tenant: Tenant, row: MeterRow) -> bool:
    """True if the caller may see the meter: it, or the cabinet that it measures, is what the caller is bound to."""
    scope = current_scope(tenant)
    if not scope.is_limited or scope.covers(meter_name(tenant.id, row)):
        return True
    return bool(row.cabinet_id) and scope.covers(f"municipalities/{tenant.id}/cabinets/{row.cabinet_id}")


def named_rows(session: Session, names: Sequence[str]) -> list[tuple[Tenant, MeterRow]]:
    """The meters of these names, in their order, each once. Raises NotFound for the first that is not there, or not to
    be seen."""
    tenants = {tenant.id: tenant for tenant in current_tenants()}
    unique = list(dict.fromkeys(names))
    parsed = [ResourceName.parse(name, field="meters", collection="meters") for name in unique]
    found: dict[tuple[str, str], MeterRow] = {}
    for tenant in tenants.values():
        ids = [name.id for name in parsed if name.municipality == tenant.id]
        for meter_id, row in store.rows_by_id(session, tenant.uid, ids).items():
            found[tenant.id, meter_id] = row
    result: list[tuple[Tenant, MeterRow]] = []
    for name in parsed:
        row_or_none = found.get((name.municipality, name.id))
        if row_or_none is None or not in_scope(tenants[name.municipality], row_or_none):
            raise NotFound(str(name))
        result.append((tenants[name.municipality], row_or_none))
    return result


def seen_rows(session: Session, names: Iterable[str]) -> list[tuple[Tenant, MeterRow]]:
    """The meters of these names; without any, all that the caller may see in the municipalities of the request."""
    wanted = list(names)
    if wanted:
        return named_rows(session, wanted)
    tenants = {tenant.uid: tenant for tenant in current_tenants()}
    rows = store.all_rows(session, list(tenants))
    return [(tenants[row.municipality_uid], row) for row in rows if in_scope(tenants[row.municipality_uid], row)]
