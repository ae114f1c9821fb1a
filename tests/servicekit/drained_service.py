"""A meter service in a process of its own, for tests that send it signals: prints its port when it listens."""

import asyncio
import sys
from pathlib import Path

from servicekit.clock import SystemClock
from servicekit.database import Database
from servicekit.loops import Beat
from servicekit.server import Server, run_service
from servicekit.tenants import FixedTenants
from tests.support.meter_service import MIGRATIONS, MeterServicer
from tests.support.running import BINDINGS, TOWNS, access_from, authenticator_for, settings_for


class _Issuer:
    """Where the tokens come from: the test's issuer."""

    def __init__(self, url: str) -> None:
        self.url = url


def main(issuer_url: str, database_url: str, listen: str) -> int:
    """Runs until a signal."""
    settings = settings_for(listen=listen, drain_s=60)

    async def build() -> Server:
        database = Database(database_url, "metering", pool_size=2)
        await database.migrate(MIGRATIONS)
        servicer = MeterServicer(database, SystemClock())  # type: ignore[abstract]  # a few methods are enough
        servicer.pause.clear()
        server = Server(
            settings,
            authenticator=authenticator_for(_Issuer(issuer_url)),  # type: ignore[arg-type]  # its url is enough
            access=access_from(BINDINGS),
            tenants=FixedTenants(TOWNS),
            database=database,
        )
        servicer.add_to(server)

        async def loop(beat: Beat) -> None:
            beat()
            print(f"port {server.port}", flush=True)
            # The call that is under way when the signal comes is let go by a file of the test's.
            while not await asyncio.to_thread(Path(sys.argv[4]).exists):
                beat()
                await asyncio.sleep(0.01)
            servicer.pause.set()
            await asyncio.Event().wait()

        server.add_loop("letting go", loop, 60)
        return server

    return run_service(settings, build)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
