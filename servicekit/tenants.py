"""Which municipalities there are: asked of the registry, kept in the service's own database for when it is away.

Who may see them is access.py's and the interceptors' business.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from sqlalchemy import Column, delete
from sqlmodel import Field, Session, SQLModel, select

from domain.errors import LichtbuchError, NotFound, Unavailable
from domain.names import ResourceName
from lichtbuch.registry.v1 import registry_pb2, registry_pb2_grpc
from servicekit.clock import Clock, SystemClock
from servicekit.columns import UtcDateTime, table_of
from servicekit.context import Tenant
from servicekit.database import Database
from servicekit.shared import SharedWork

if TYPE_CHECKING:
    from lichtbuch.registry.v1.registry_pb2_grpc import RegistryServiceAsyncStub

_log = logging.getLogger(__name__)

REFRESH_EVERY_S: Final = 60.0
_NOT_AGAIN_WITHIN: Final = timedelta(milliseconds=250)
_PAGE: Final = 1000


class TenantDirectory(Protocol):
    """Where municipalities are looked up."""

    async def get(self, municipality_id: str) -> Tenant:
        """A municipality by the id of today. Raises NotFound; Unavailable where nobody can tell."""
        ...

    async def all(self) -> list[Tenant]:
        """Every municipality, by id. Raises Unavailable where nobody can tell."""
        ...


class FixedTenants:
    """A given list: for tests and for tools."""

    def __init__(self, tenants: Iterable[Tenant]) -> None:
        self._tenants = {tenant.id: tenant for tenant in tenants}

    async def get(self, municipality_id: str) -> Tenant:
        """A municipality by id."""
        try:
            return self._tenants[municipality_id]
        except KeyError:
            raise NotFound(f"municipalities/{municipality_id}") from None

    async def all(self) -> list[Tenant]:
        """Every municipality."""
        return [self._tenants[key] for key in sorted(self._tenants)]


class TenantRow(SQLModel, table=True):
    """A municipality as it was last seen."""

    __tablename__ = "tenant_cache"

    uid: str = Field(primary_key=True)
    id: str
    display_name: str
    time_zone: str
    latitude_deg: float
    longitude_deg: float
    seen_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class RegistryTenants:
    """The registry's list, refreshed each minute and when an unknown id comes; the stored one while it is away."""

    def __init__(self, channel: Any, database: Database | None, clock: Clock | None = None) -> None:
        self._registry: RegistryServiceAsyncStub = registry_pb2_grpc.RegistryServiceStub(channel)
        self._database = database
        self._clock = clock or SystemClock()
        self._tenants: dict[str, Tenant] = {}
        self._known = False
        self._asked_at: datetime | None = None
        self._look_again = SharedWork("tenants", self._refresh)
        self._failure: LichtbuchError | None = None

    async def get(self, municipality_id: str) -> Tenant:
        """A municipality by the id of today."""
        tenant = self._tenants.get(municipality_id)
        if tenant is None:
            await self._look_again()
            tenant = self._tenants.get(municipality_id)
        if tenant is None:
            if self._failure is not None:
                raise Unavailable("the registry is away, and the municipality is not known here", 5.0)
            raise NotFound(f"municipalities/{municipality_id}")
        return tenant

    async def all(self) -> list[Tenant]:
        """Every municipality, by id."""
        if not self._known:
            await self._look_again()
        if not self._known:
            raise Unavailable("the registry is away, and no municipality is known here yet", 5.0)
        return [self._tenants[key] for key in sorted(self._tenants)]

    async def keep_fresh(self, beat: Callable[[], None]) -> None:
        """Asks the registry each minute: the loop of every service. A registry that is away does not end it."""
        while True:
            await self._look_again()
            beat()
            await self._clock.sleep_real(REFRESH_EVERY_S if self._failure is None else 5.0)

    async def _refresh(self) -> None:
        now = self._clock.real()
        if self._asked_at is not None and now - self._asked_at < _NOT_AGAIN_WITHIN:
            return
        self._asked_at = now
        try:
            tenants = await self._ask()
        except LichtbuchError as error:
            if self._failure is None:
                _log.warning("the registry does not answer; the municipalities known here go on: %s", error)
            self._failure = error
            if not self._known:
                await self._load()
            return
        self._failure = None
        if not self._known or set(tenants) != set(self._tenants.values()):
            await self._store(tenants, now)
        self._take(tenants)

    async def _ask(self) -> list[Tenant]:
        tenants: list[Tenant] = []
        token = ""
        while True:
            request = registry_pb2.ListMunicipalitiesRequest(page_size=_PAGE, page_token=token)
            answer = await self._registry.ListMunicipalities(request)
            tenants += [tenant_from_proto(municipality) for municipality in answer.municipalities]
            token = answer.next_page_token
            if not token:
                return tenants

    def _take(self, tenants: Sequence[Tenant]) -> None:
        self._tenants = {tenant.id: tenant for tenant in tenants}
        self._known = True

    async def _load(self) -> None:
        if self._database is None:
            return
        try:
            rows = await self._database.read(lambda session: session.exec(select(TenantRow)).all())
        except LichtbuchError as error:
            _log.warning("the stored municipalities cannot be read: %s", error)
            return
        if rows:
            self._take([_tenant_of(row) for row in rows])

    async def _store(self, tenants: Sequence[Tenant], now: datetime) -> None:
        if self._database is None:
            return

        def replace(session: Session) -> None:
            session.connection().execute(delete(table_of(TenantRow)))
            session.add_all(_row_of(tenant, now) for tenant in tenants)

        try:
            await self._database.run(replace)
        except LichtbuchError as error:
            _log.warning("the municipalities cannot be stored: %s", error)


def tenant_from_proto(municipality: registry_pb2.Municipality) -> Tenant:
    """What services need to know of a municipality."""
    return Tenant(
        municipality.uid,
        ResourceName.parse(municipality.name, collection="municipalities").municipality,
        municipality.display_name,
        municipality.time_zone or "Europe/Berlin",
        municipality.position.latitude_deg,
        municipality.position.longitude_deg,
    )


def time_zones(session: Session) -> dict[str, str]:
    """Time zones of the municipalities by their uid, as they were last seen: for work inside a transaction."""
    return {row.uid: row.time_zone for row in session.exec(select(TenantRow))}


def stored_ids(session: Session) -> dict[str, str]:
    """Ids of the municipalities by their uid, as they were last seen: for work inside a transaction."""
    return {row.uid: row.id for row in session.exec(select(TenantRow))}


def _tenant_of(row: TenantRow) -> Tenant:
    return Tenant(row.uid, row.id, row.display_name, row.time_zone, row.latitude_deg, row.longitude_deg)


def _row_of(tenant: Tenant, now: datetime) -> TenantRow:
    return TenantRow(
        uid=tenant.uid,
        id=tenant.id,
        display_name=tenant.display_name,
        time_zone=tenant.time_zone,
        latitude_deg=tenant.latitude_deg,
        longitude_deg=tenant.longitude_deg,
        seen_at=now,
    )
