"""The one place where the scheduler's settings become store, lighting, loop and server."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from lichtbuch.scheduler.v1 import scheduler_pb2_grpc
from servicekit.client import connect
from servicekit.database import Database
from servicekit.server import Server
from servicekit.settings import ServiceSettings
from servicekit.wiring import make_server, service_identity
from services.scheduler.api import SchedulerServicer
from services.scheduler.lighting import Lighting
from services.scheduler.synchronising import EVERY_S, MAX_SILENCE_S, Synchroniser

MIGRATIONS = Path(__file__).parent / "migrations"


class SchedulerSettings(ServiceSettings):
    """The scheduler needs to know no more than every service does."""

    service: ClassVar[str] = "scheduler"


async def build(settings: SchedulerSettings) -> Server:
    """The scheduler, ready to start. It starts without its database, its registry and lighting, and awaits them."""
    server = await make_server(settings, migrations=MIGRATIONS, needs_database=False)
    channel = connect(settings.lighting_address, settings, service_identity(settings, server.clock))
    server.on_stop(channel.close)
    assemble(server, _needed(server.database), Lighting(channel))
    return server


def assemble(server: Server, database: Database, lighting: Lighting, *, every_s: float = EVERY_S) -> Synchroniser:
    """Adds the scheduler's methods and its loop to a server. every_s: domain seconds between two passes."""
    synchroniser = Synchroniser(database, lighting, server.tenants, server.clock, every_s=every_s)

    async def keep_plans(beat: Callable[[], None]) -> None:
        await server.database_ready.wait()
        await synchroniser.run(beat)

    server.add_servicer(
        scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server,
        SchedulerServicer(database, server.clock, lighting, synchroniser),
    )
    server.add_loop("plans", keep_plans, max_silence_s=MAX_SILENCE_S)
    return synchroniser


def _needed(database: Database | None) -> Database:
    if database is None:
        raise RuntimeError("the scheduler is nothing without its database")
    return database
