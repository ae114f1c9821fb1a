"""A service in the test's own process: real gRPC on loopback, a real issuer's tokens, bindings from a table."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from servicekit.access import Binding, Role
from servicekit.access_source import AccessSource, LocalAccess
from servicekit.auth import Authenticator, IssuerKeys, TokenValidator
from servicekit.client import ServiceChannel, connect
from servicekit.clock import Clock
from servicekit.context import Tenant
from servicekit.database import Database
from servicekit.server import Server
from servicekit.settings import ServiceSettings
from servicekit.tenants import FixedTenants, TenantDirectory
from servicekit.tokens import StaticToken
from tests.support.issuer import Issuer

HERSFELD = Tenant("0" * 31 + "1", "bad-hersfeld", "Bad Hersfeld", "Europe/Berlin", 50.87, 9.71)
SCHWALM = Tenant("0" * 31 + "2", "schwalmstadt", "Schwalmstadt", "Europe/Berlin", 50.93, 9.21)
TOWNS = (HERSFELD, SCHWALM)

VIEWER, OPERATOR, PLANNER, AUDITOR, ADMIN = "viewer", "operator", "planner", "auditor", "admin"
STRANGER, BOTH = "stranger", "both"

BINDINGS: dict[str, list[Binding]] = {
    VIEWER: [Binding(Role.VIEWER, HERSFELD.id)],
    OPERATOR: [Binding(Role.OPERATOR, HERSFELD.id)],
    PLANNER: [Binding(Role.PLANNER, HERSFELD.id)],
    AUDITOR: [Binding(Role.AUDITOR, HERSFELD.id)],
    ADMIN: [Binding(Role.ADMIN, "-")],
    BOTH: [Binding(Role.PLANNER, HERSFELD.id), Binding(Role.VIEWER, SCHWALM.id)],
}
"""People by the subject of their token."""


def settings_for(service: str = "metering", **values: Any) -> ServiceSettings:
    """Settings of a service that listens where the system likes."""
    given = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0", "drain_s": 1.0, "holder": "test", **values}
    return _settings_of(service)(**given)


@cache
def _settings_of(service: str) -> type[ServiceSettings]:
    """The class of a service's settings: to make one takes longer than most requests."""
    return type("Settings", (ServiceSettings,), {"service": service, "__annotations__": {}})


def access_from(bindings: Mapping[str, Iterable[Binding]]) -> LocalAccess:
    """An access source over a table of bindings by subject."""

    async def look(subject: str) -> Iterable[Binding]:
        return bindings.get(subject, ())

    return LocalAccess(look)


def authenticator_for(issuer: Issuer, *, trusts_certificates: bool = False) -> Authenticator:
    """Judges the issuer's tokens."""
    validator = TokenValidator(IssuerKeys(issuer.url), issuer=issuer.url, audience="lichtbuch")
    return Authenticator(validator, trusts_certificates=trusts_certificates)


class RunningService:
    """A server that listens, and channels to it as this or that person."""

    def __init__(self, server: Server, issuer: Issuer) -> None:
        self.server, self.issuer = server, issuer
        self._channels: list[ServiceChannel] = []

    @property
    def target(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.server.port}"

    def channel(self, subject: str | None = ADMIN, *, token: str | None = None, **options: Any) -> ServiceChannel:
        """A channel as a person (by subject), with a given token, or (both None) with none. Its calls have a minute
        unless they say else: how long a busy machine takes is not what is tried."""
        options.setdefault("deadline_s", 60.0)
        bearer = token if token is not None else self.issuer.token(subject) if subject is not None else None
        channel = connect(self.target, identity=StaticToken(bearer) if bearer is not None else None, **options)
        self._channels.append(channel)
        return channel

    async def close(self) -> None:
        """Closes the channels and stops the server."""
        for channel in self._channels:
            await channel.close()
        await self.server.stop(0.2)


@asynccontextmanager
async def running_service(
    issuer: Issuer,
    fill: Callable[[Server], None],
    *,
    settings: ServiceSettings | None = None,
    database: Database | None = None,
    migrations: Path | None = None,
    clock: Clock | None = None,
    tenants: TenantDirectory | None = None,
    access: AccessSource | None = None,
    authenticator: Authenticator | None = None,
) -> AsyncIterator[RunningService]:
    """Starts a service; `fill` adds its servicers and loops."""
    if database is not None and migrations is not None:
        await database.migrate(migrations)
    server = Server(
        settings or settings_for(),
        authenticator=authenticator or authenticator_for(issuer),
        access=access or access_from(BINDINGS),
        tenants=tenants or FixedTenants(TOWNS),
        database=database,
        clock=clock,
    )
    fill(server)
    await server.start()
    running = RunningService(server, issuer)
    try:
        yield running
    finally:
        await running.close()
