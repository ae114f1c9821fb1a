"""Lighting in a process of its own, on a clock that the test steps: for tests that kill it.

Prints "port N" when it listens and holds the field; for each line on standard input goes on by so many seconds, and
prints "done".
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from servicekit.loops import Beat
from servicekit.server import Server, run_service
from tests.services.lighting.bench import NOON
from tests.services.lighting.chaos import PATIENT, SharedClock, make_server
from tests.support.running import settings_for
from tests.support.waiting import eventually


class _Issuer:
    """Where the tokens come from: the test's issuer."""

    def __init__(self, url: str) -> None:
        self.url = url


def main(issuer_url: str, database_url: str, folder: str, clock_file: str, now: str) -> int:
    """Runs until a signal."""

    async def build() -> Server:
        clock = SharedClock(Path(clock_file), datetime.fromtimestamp(float(now), UTC))
        server, parts = await make_server(
            _Issuer(issuer_url), database_url, Path(folder), clock,
            lambda: (clock.now() - NOON).total_seconds() + 1000.0, limits=PATIENT,
        )  # fmt: skip

        async def obey(beat: Beat) -> None:
            await eventually(lambda: parts.control.holds_field and clock.sleeping > 0)
            print(f"port {server.port}", flush=True)
            while line := await asyncio.to_thread(sys.stdin.readline):
                beat()
                await clock.advance(timedelta(seconds=float(line)))
                print("done", flush=True)
            server.request_stop()
            await asyncio.Event().wait()

        server.add_loop("obeying", obey, 600)
        return server

    return run_service(settings_for("lighting", drain_s=0.2), build)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:6]))
