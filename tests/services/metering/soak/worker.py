"""The metering process of a soak: the real service, on a clock that its parent steps through a pipe.

It reads lines of JSON from its standard input, first its options and then commands, and answers each on its standard
output. It ends as the parent likes: by SIGKILL from outside at any moment, or by SIGKILL from itself at a moment that
was asked for.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from domain.errors import Unavailable
from fieldbus.budget import MobileLink
from fieldbus.client import Fieldbus
from fieldbus.device import Device, Limits
from fieldbus.profile_loader import load_profile_file
from servicekit.auth import Authenticator, IssuerKeys, TokenValidator
from servicekit.client import connect
from servicekit.clock import SteppedClock
from servicekit.database import Database
from servicekit.logs import configure_logs
from servicekit.server import Server
from servicekit.tenants import FixedTenants
from servicekit.tokens import StaticToken
from services.metering.acquisition import spool as spool_module
from services.metering.acquisition.polling import Poller
from services.metering.acquisition.recorder import Recorder
from services.metering.app import MIGRATIONS, Polling, assemble
from services.metering.metrics import READINGS_REFUSED, SPOOL_DAMAGED, SPOOL_DROPPED, SPOOL_THINNED
from services.metering.settings import MeteringSettings
from services.metering.slot import from_ms
from tests.support.running import BINDINGS, TOWNS, access_from

PROFILE: Final = Path(__file__).parent / "soak-ten-registers.toml"
STEP_S: Final = 5.0
"""Longer than the endpoints are spread."""


class Soaked:
    """The service, what it can be told, and where it may die."""

    def __init__(self, server: Server, polling: Polling, clock: SteppedClock, database: Database) -> None:
        self.server, self.polling, self.clock, self.database = server, polling, clock, database
        self._armed, self._left = "", 0

    def arm(self, point: str, count: int) -> None:
        """It will die when it passes a point for the n-th time from now."""
        self._armed, self._left = point, count

    def passes(self, point: str) -> None:
        """Says that a point is passed."""
        if point == self._armed:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    async def go(self, slot_ms: int) -> None:
        """On to a slot, and on until it has been dealt with."""
        clock, poller = self.clock, self.polling.poller
        await clock.advance(max(timedelta(0), from_ms(slot_ms) - clock.now()), settle_s=0)
        while poller.polled_ms < slot_ms:
            await self._until(lambda: poller.polled_ms >= slot_ms or self._readers_sleep())
            if poller.polled_ms < slot_ms:
                wake = clock.next_wake
                step = timedelta(seconds=STEP_S)
                await clock.advance(max(step, wake - clock.now()) if wake else step, settle_s=0)
        await self.polling.recorder.settle()
        # The rest of the loop's round: it looks at the database now, and sleeps until the next slot then.
        await self._until(lambda: self._sleeps(Poller.run.__qualname__))

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - other tasks have to run
            await asyncio.sleep(0.001)

    def _readers_sleep(self) -> bool:
        return self._sleeps(Poller._read.__qualname__)

    def _sleeps(self, name: str) -> bool:
        """Whether there are tasks of a coroutine, and all of them wait for the clock."""
        asleep = {task for *_, future, task in self.clock._sleepers if not future.done()}
        tasks = [task for task in asyncio.all_tasks() if _names(task) & {name}]
        return bool(tasks) and all(task in asleep for task in tasks)

    def state(self) -> dict[str, Any]:
        """What the parent wants to know."""
        refused = {name: READINGS_REFUSED.labels(name)._value.get() for name in ("conflict", "no_register", "not_kept")}
        return {
            "polled_ms": self.polling.poller.polled_ms,
            "spooled": self.polling.spool.depth,
            "targets": len(self.polling.book.targets),
            "lost": SPOOL_THINNED._value.get() + SPOOL_DROPPED._value.get() + SPOOL_DAMAGED._value.get(),
            **refused,
        }


def _names(task: asyncio.Task[Any]) -> set[str]:
    """Names of the coroutines that a task is in."""
    names: set[str] = set()
    at: Any = task.get_coro()
    while at is not None and hasattr(at, "__qualname__"):
        names.add(at.__qualname__)
        at = getattr(at, "cr_await", None)
    return names


class _Opener:
    """The real field layer, with the profile of the soak's meters."""

    def __init__(self, fieldbus: Fieldbus) -> None:
        self._fieldbus = fieldbus
        self._profile = load_profile_file(PROFILE)

    def open(self, url: str, profile: str, *, link: MobileLink | None = None) -> Device:
        """See `devices.Opener`."""
        return self._fieldbus.open(url, self._profile, link=link)


class _Cuttable(Database):
    """A database that can be taken away where there is no server that could do so."""

    is_away = False

    async def _in_thread(self, *arguments: Any, **options: Any) -> Any:
        if self.is_away:
            raise Unavailable("the database is away", 1.0)
        return await super()._in_thread(*arguments, **options)


def _mine(soaked: Soaked) -> None:
    """Lays the points at which the process can be told to die."""
    write = spool_module._write

    def written(path: Path, data: bytes) -> None:
        if soaked._armed == "spool.partial":
            partial = path.with_name(path.name + ".tmp")
            partial.write_bytes(data[: len(data) // 2])
        soaked.passes("spool.partial")
        write(path, data)
        soaked.passes("spool.written")

    spool_module._write = written
    store, recorder = Recorder._store, soaked.polling.recorder

    async def stored(self: Recorder, *arguments: Any) -> None:
        soaked.passes("store.before")
        draining = arguments[-1] > 10
        await store(self, *arguments)
        soaked.passes("store.committed")
        if draining:
            soaked.passes("drain.committed")

    Recorder._store = stored  # type: ignore[method-assign, assignment]
    remove = recorder._spool.remove

    def removed(name: str) -> None:
        remove(name)
        soaked.passes("drain.removed")

    recorder._spool.remove = removed  # type: ignore[method-assign]
    resets = soaked.polling.poller._resets
    record = resets.record

    async def recorded(*arguments: Any) -> bool:
        soaked.passes("reset.before")
        done = await record(*arguments)
        soaked.passes("reset.recorded")
        return done

    resets.record = recorded  # type: ignore[method-assign, assignment]


async def serve(options: dict[str, Any]) -> None:
    """Until standard input ends."""
    clock = SteppedClock(datetime.fromisoformat(options["now"]))
    settings = MeteringSettings(
        listen="127.0.0.1:0",
        metrics_listen="off",
        data_dir=Path(options["folder"]),
        database_url=options["database_url"],
        holder="soak",
        drain_s=0.1,
        max_message_bytes=64 * 1024 * 1024,
        log_level="warning",
    )
    configure_logs(settings, "metering", sys.stderr)
    database = _Cuttable(settings.resolved_database_url, "metering", pool_size=4)
    database.is_away = bool(options.get("away"))
    validator = TokenValidator(IssuerKeys(options["issuer"]), issuer=options["issuer"], audience="lichtbuch")
    server = Server(
        settings, authenticator=Authenticator(validator, trusts_certificates=False), access=access_from(BINDINGS),
        tenants=FixedTenants(TOWNS), database=database, clock=clock,
    )  # fmt: skip
    if options.get("migrate"):
        await database.migrate(MIGRATIONS)
    server.database_ready.set()
    registry = connect(options["registry"], identity=StaticToken(options["token"]))
    server.on_stop(registry.close)
    # Its patience with a silent meter is real time, of which a stepped quarter hour has next to none.
    limits = Limits(backoff_initial_s=0.0005, backoff_max_s=0.001)
    fieldbus = Fieldbus(now=clock.now, require_simulator=True, limits=limits)
    server.on_stop(fieldbus.close)
    polling = assemble(server, settings, registry, opener=_Opener(fieldbus))
    if polling is None:
        raise RuntimeError("a soak polls")
    soaked = Soaked(server, polling, clock, database)
    _mine(soaked)
    await polling.lease.try_acquire()
    await server.start()
    _say({"port": server.port, **soaked.state()})
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        if "away" in command:
            database.is_away = command["away"]
        if "die_at" in command:
            soaked.arm(command["die_at"], command.get("count", 1))
        if "go" in command:
            await soaked.go(command["go"])
        if "stop" in command:
            break
        _say(soaked.state())
    await server.stop(0.1)


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with open(0, "rb", buffering=0, closefd=False) as first:  # what follows is read by the event loop
        line = first.readline()
    if line:
        asyncio.run(serve(json.loads(line)))
