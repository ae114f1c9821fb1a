"""From settings to parts: clock, database, identity, channels, directory of municipalities, access checks, server.

A service's app.py calls `make_server`, adds its servicers and loops, and is done; the registry, which asks itself,
gives its own tenants and access.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from domain.errors import RetryableError, Unavailable
from servicekit.access_source import AccessSource, RegistryAccess
from servicekit.auth import Authenticator, IssuerKeys, TokenValidator
from servicekit.client import ServiceChannel, connect
from servicekit.clock import Clock, clock_from_settings
from servicekit.database import Database
from servicekit.idempotency import KEEP, forget
from servicekit.server import Server
from servicekit.settings import ServiceSettings
from servicekit.tenants import REFRESH_EVERY_S, RegistryTenants, TenantDirectory
from servicekit.tokens import ClientCredentials, NoToken, TokenSource

_log = logging.getLogger(__name__)

MIGRATE_AGAIN_S: Final = 30.0
HOUSEKEEPING_EVERY_S: Final = 3600.0
DATABASE_PATIENCE_S: Final = 60.0
"""How long a service that needs its database waits for it at start."""


def service_identity(settings: ServiceSettings, clock: Clock | None = None) -> TokenSource:
    """This service's own token: by client credentials, or none where its certificate speaks for it."""
    file, secret = settings.service_client_secret_file, settings.service_client_secret
    if file is None and not secret.get_secret_value():
        return NoToken()

    def read_secret() -> str:
        if file is None:
            return secret.get_secret_value()
        try:
            return file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise Unavailable(f"{file} cannot be read: {error.strerror}", 5.0) from error

    real = (clock or clock_from_settings(settings)).real
    return ClientCredentials(settings.oidc_issuer, settings.resolved_client_id, read_secret, real=real)


def authenticator_of(settings: ServiceSettings, clock: Clock | None = None) -> Authenticator:
    """Who judges callers: the issuer's tokens, and certificates under mutual TLS."""
    real = (clock or clock_from_settings(settings)).real
    validator = TokenValidator(
        IssuerKeys(settings.oidc_issuer, settings.oidc_jwks_uri, real=real),
        issuer=settings.oidc_issuer,
        audience=settings.oidc_audience,
        skew_s=settings.clock_skew_s,
        service_subjects=settings.service_subjects,
        real=real,
    )
    return Authenticator(validator, trusts_certificates=settings.tls_client_ca is not None)


async def _migrate(database: Database, migrations: Path, patience_s: float) -> None:
    deadline = asyncio.get_running_loop().time() + patience_s
    while True:
        try:
            await database.migrate(migrations)
            return
        except RetryableError as error:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            _log.warning("the database of %s is awaited: %s", database.service, error)
            await asyncio.sleep(1.0)


async def make_server(
    settings: ServiceSettings,
    *,
    migrations: Path | None = None,
    needs_database: bool = True,
    tenants: Callable[[Database | None, Clock], TenantDirectory] | None = None,
    access: Callable[[Database | None, Clock], AccessSource] | None = None,
) -> Server:
    """A server with everything that settings decide. Inside the event loop.

    migrations: folder of the service's migrations; None for a service without a database. needs_database False lets the
    service start while its database is away, and migrates when it comes (`server.database_ready` is set then).
    tenants, access: for the registry, which is the source of both; all others ask it.
    """
    clock = clock_from_settings(settings)
    database: Database | None = None
    if migrations is not None:
        database = Database(settings.resolved_database_url, settings.service, pool_size=settings.database_pool)
    channel: ServiceChannel | None = None
    directory: TenantDirectory
    source: AccessSource
    if tenants is not None and access is not None:
        directory, source = tenants(database, clock), access(database, clock)
    else:
        channel = connect(settings.registry_address, settings, service_identity(settings, clock))
        directory = RegistryTenants(channel, database, clock) if tenants is None else tenants(database, clock)
        source = RegistryAccess(channel, clock.real) if access is None else access(database, clock)
    server = Server(
        settings,
        authenticator=authenticator_of(settings, clock),
        access=source,
        tenants=directory,
        database=database,
        clock=clock,
    )
    server.registry_channel = channel
    if channel is not None:
        server.on_stop(channel.close)
    if isinstance(directory, RegistryTenants):
        server.add_loop("tenants", directory.keep_fresh, max_silence_s=3 * REFRESH_EVERY_S)
    if database is not None and migrations is not None:
        server.add_loop("housekeeping", lambda beat: _keep_house(server, database, beat), 3 * HOUSEKEEPING_EVERY_S)
        await _prepare(server, database, settings, migrations, needs_database)
    return server


async def _keep_house(server: Server, database: Database, beat: Callable[[], None]) -> None:
    """Forgets request ids that nobody will repeat any more."""
    await server.database_ready.wait()
    while True:
        await database.run(lambda session: forget(session, server.clock.real() - KEEP))
        beat()
        await server.clock.sleep_real(HOUSEKEEPING_EVERY_S)


async def _prepare(
    server: Server, database: Database, settings: ServiceSettings, migrations: Path, needs_database: bool
) -> None:
    if not settings.migrate_on_start:
        server.database_ready.set()
    elif needs_database:
        await _migrate(database, migrations, DATABASE_PATIENCE_S)
        server.database_ready.set()
    else:
        try:
            await database.migrate(migrations)
            server.database_ready.set()
        except RetryableError as error:
            _log.warning("%s starts without its database: %s", settings.service, error)
            server.add_check("schema", lambda: _migrated(server))
            server.add_task("migration", lambda: _migrate_later(server, database, migrations))


async def _migrated(server: Server) -> None:
    if not server.database_ready.is_set():
        raise Unavailable("the database has not been migrated yet", 1.0)


async def _migrate_later(server: Server, database: Database, migrations: Path) -> None:
    while not server.database_ready.is_set():
        try:
            await _migrate(database, migrations, float("inf"))
            server.database_ready.set()
        except Exception:  # somebody may put right what is wrong with it
            _log.exception("the database of %s cannot be migrated", database.service)
            await asyncio.sleep(MIGRATE_AGAIN_S)
