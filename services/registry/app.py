"""The one place where the registry's settings become store, identity and server.

Every other service asks the registry which municipalities there are and what people may do; the registry asks itself.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from pydantic import field_validator

from domain.errors import NotFound
from lichtbuch.registry.v1 import registry_pb2_grpc
from servicekit.access import Binding
from servicekit.access_source import AccessSource, LocalAccess
from servicekit.clock import Clock
from servicekit.context import Tenant
from servicekit.database import Database
from servicekit.server import Server
from servicekit.settings import ServiceSettings
from servicekit.tenants import TenantDirectory
from servicekit.wiring import make_server
from services.registry.api import RegistryServicer
from services.registry.bootstrap import bind_first_administrator
from services.registry.convert import binding_to_access, municipality_to_tenant
from services.registry.roles import MAX_SUBJECT_BYTES
from services.registry.store.bindings import bindings_of
from services.registry.store.municipalities import EVERYTHING, Visible, list_municipalities

MIGRATIONS = Path(__file__).parent / "migrations"


class RegistrySettings(ServiceSettings):
    """What the registry needs to know beyond what every service does."""

    service: ClassVar[str] = "registry"

    bootstrap_admin: str = ""
    """Token subject of the person who administers every municipality on an empty database; empty for nobody."""

    @field_validator("bootstrap_admin")
    @classmethod
    def _check_subject(cls, value: str) -> str:
        if value != value.strip() or len(value.encode()) > MAX_SUBJECT_BYTES or value.startswith("service:"):
            raise ValueError("the subject of a person's token is needed")
        return value


class StoredTenants:
    """The registry's own municipalities, for its interceptors."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, municipality_id: str) -> Tenant:
        """A municipality by the id of today. Raises NotFound."""
        wanted = Visible(frozenset({municipality_id}))
        found = await self._database.read(lambda session: list_municipalities(session, wanted))
        if not found:
            raise NotFound(f"municipalities/{municipality_id}")
        return municipality_to_tenant(found[0])

    async def all(self) -> list[Tenant]:
        """Every municipality, by id."""
        found = await self._database.read(lambda session: list_municipalities(session, EVERYTHING))
        return [municipality_to_tenant(municipality) for municipality in found]


def stored_access(database: Database, clock: Clock) -> LocalAccess:
    """What people may do, from the registry's own table: a role that was taken away is gone with the next call."""

    async def bindings(subject: str) -> Iterable[Binding]:
        held = await database.read(lambda session: bindings_of(session, subject, clock.real()))
        return [binding_to_access(binding) for binding in held]

    return LocalAccess(bindings, clock.real)


async def build(settings: RegistrySettings) -> Server:
    """The registry, ready to start: its schema up to date, the first administrator bound. Raises Unavailable."""
    server = await make_server(settings, migrations=MIGRATIONS, tenants=_tenants, access=_access)
    database = _needed(server.database)
    await bind_first_administrator(database, server.clock, settings.bootstrap_admin)
    server.add_servicer(
        registry_pb2_grpc.add_RegistryServiceServicer_to_server, RegistryServicer(database, server.clock)
    )
    return server


def _tenants(database: Database | None, clock: Clock) -> TenantDirectory:
    return StoredTenants(_needed(database))


def _access(database: Database | None, clock: Clock) -> AccessSource:
    return stored_access(_needed(database), clock)


def _needed(database: Database | None) -> Database:
    if database is None:
        raise RuntimeError("the registry is nothing without its database")
    return database
