"""From uids in rows to resource names and back, within one transaction: each uid is looked up once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlmodel import Session, col, select

from domain.errors import InvalidInput
from domain.names import ResourceName
from servicekit.columns import table_of
from servicekit.context import Tenant
from services.lighting.store.inventory import CABINETS, FEEDERS, GATEWAYS, GROUPS, LUMINAIRES, MODELS, SENSORS, Kind
from services.lighting.store.tables import EndpointRow

ENDPOINTS: Final = "endpoints"
_KINDS: Final[dict[str, Kind[Any]]] = {
    k.collection: k for k in (CABINETS, FEEDERS, GATEWAYS, MODELS, GROUPS, LUMINAIRES, SENSORS)
}


class Names:
    """Names of what the municipalities of a request hold."""

    def __init__(self, session: Session, tenants: Iterable[Tenant]) -> None:
        self._session = session
        self._tenants = {tenant.uid: tenant for tenant in tenants}
        self._known: dict[str, str] = {tenant.uid: tenant.name for tenant in self._tenants.values()}

    def preload(self, *collections: str) -> None:
        """Reads all names of some kinds at once: for lists."""
        for collection in collections:
            table = _table(collection)
            query = select(table.c.uid, table.c.id, table.c.municipality_uid)
            query = query.where(table.c.municipality_uid.in_(list(self._tenants)))
            for uid, identifier, municipality_uid in self._session.connection().execute(query):
                self._known[uid] = f"{self._tenants[municipality_uid].name}/{collection}/{identifier}"

    def of(self, collection: str, uid: str | None) -> str:
        """The name behind a uid; empty for none, and for what belongs to another municipality."""
        if not uid:
            return ""
        if uid not in self._known:
            table = _table(collection)
            query = select(table.c.id, table.c.municipality_uid).where(table.c.uid == uid)
            row = self._session.connection().execute(query).first()
            tenant = self._tenants.get(row[1]) if row is not None else None
            self._known[uid] = f"{tenant.name}/{collection}/{row[0]}" if tenant is not None and row is not None else ""
        return self._known[uid]


def uid_of(session: Session, tenant: Tenant, collection: str, name: str, field: str) -> str | None:
    """The uid behind a name in a request; None for an empty one. Raises InvalidInput that blames the field."""
    if not name:
        return None
    parsed = ResourceName.parse(name, field=field, collection=collection)
    found = uids_of(session, tenant, collection, [parsed.id]).get(parsed.id)
    if found is None:
        raise InvalidInput.of(field, f"{name} does not exist")
    return found


def uids_of(session: Session, tenant: Tenant, collection: str, ids: Sequence[str]) -> dict[str, str]:
    """Uids of some resources of a municipality, by id; what does not exist is left out."""
    table = _table(collection)
    found: dict[str, str] = {}
    for at in range(0, len(ids), 5000):
        query = select(table.c.id, table.c.uid).where(table.c.municipality_uid == tenant.uid)
        query = query.where(table.c.deleted_at_ms == 0).where(table.c.id.in_(list(ids[at : at + 5000])))
        found.update((row[0], row[1]) for row in session.connection().execute(query))
    return found


def endpoint_uid(session: Session, tenant: Tenant, identifier: str) -> str | None:
    """Uid of an endpoint as the registry told last; None where it is not known here."""
    query = (
        select(EndpointRow.uid).where(EndpointRow.municipality_uid == tenant.uid).where(EndpointRow.id == identifier)
    )
    return session.exec(query.where(col(EndpointRow.deleted_at_ms) == 0)).first()


def _table(collection: str) -> Any:
    return table_of(EndpointRow if collection == ENDPOINTS else _KINDS[collection].table)
