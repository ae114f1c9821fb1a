"""The server of a service: gRPC on asyncio behind the gate, health, reflection, audit, metrics, loops, and a clean end.

`run_service` is what a service's __main__ calls; `Server` is what its app.py fills. Not here: what a service does.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

import grpc
import grpc.aio
from grpc_reflection.v1alpha import reflection

from domain.errors import LichtbuchError
from lichtbuch.audit.v1 import audit_pb2_grpc
from servicekit import audit
from servicekit.access_source import AccessSource
from servicekit.audit_api import AuditServicer
from servicekit.auth import Authenticator
from servicekit.client import ServiceChannel
from servicekit.clock import Clock, SystemClock
from servicekit.context import Caller
from servicekit.database import Database
from servicekit.health import Check, Health
from servicekit.http_status import StatusServer
from servicekit.interceptors.gate import Gate
from servicekit.logs import configure_logs
from servicekit.loops import Loop, LoopBody
from servicekit.metrics import CLOCK_SPEED
from servicekit.settings import ServiceSettings, split_address
from servicekit.tenants import TenantDirectory
from servicekit.tls import server_credentials

_log = logging.getLogger(__name__)

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
_ENDS_WITHIN_S: Final = 5.0
"""Real seconds that a loop may take to end."""

Closer = Callable[[], Awaitable[None]]


class Server:
    """One service in one process. Everything is given; nothing starts before `start`."""

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        authenticator: Authenticator,
        access: AccessSource,
        tenants: TenantDirectory,
        database: Database | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings
        self.access = access
        self.tenants = tenants
        self.database = database
        self.clock: Clock = clock or SystemClock()
        self.health = Health()
        self.port = 0
        self.metrics_port = 0
        self.health_port = 0
        self.registry_channel: ServiceChannel | None = None
        self.database_ready = asyncio.Event()
        self._gate = Gate(
            authenticator=authenticator,
            access=access,
            tenants=tenants,
            default_deadline_s=settings.default_deadline_s,
            max_streams=settings.max_streams,
        )
        self._services: dict[str, dict[str, Any]] = {}
        self._loops: list[Loop] = []
        self._started = False
        self._pending: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._closers: list[Closer] = []
        self._grpc: grpc.aio.Server | None = None
        self._probes: grpc.aio.Server | None = None
        self._status = StatusServer(lambda: self.health.serving, lambda: self.health.problems)
        self._stopping = asyncio.Event()
        audit.use_clock(self.clock)
        CLOCK_SPEED.set(self.clock.speed)
        if database is not None:
            self.health.add_check("database", database.ping)
            self.add_servicer(audit_pb2_grpc.add_AuditServiceServicer_to_server, AuditServicer(database))

    def add_servicer(self, add: Callable[[Any, Any], None], servicer: object) -> None:
        """Adds a servicer by its generated function (`add_XServicer_to_server`), behind the gate.

        Raises InvalidInput for a method whose contract declares no permission or whose request has no municipality.
        """
        collector = _Collector()
        add(servicer, collector)
        for service, handlers in collector.services.items():
            self._services[service] = self._gate.wrap(service, handlers)
            self.health.add_service(service)

    def add_loop(self, name: str, body: LoopBody, max_silence_s: float) -> None:
        """Adds a loop: `async def body(beat)`, which calls `beat()` after each pass and never returns.

        It runs as the service itself, is started again when it raises, and makes the service unhealthy when it has not
        beaten for `max_silence_s` real seconds.
        """
        loop = Loop(name, body, max_silence_s)
        self._loops.append(loop)
        self.health.add_loop(loop)
        if self._started:
            self._start_loop(loop)

    def add_task(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Adds something that runs once, beside everything else, from the start on."""
        self._pending.append((name, work))

    def add_check(self, name: str, check: Check) -> None:
        """Adds a health check: returns when all is well, raises with the reason when not."""
        self.health.add_check(name, check)

    def on_stop(self, close: Closer) -> None:
        """Adds something that is closed at the end, the last added first."""
        self._closers.append(close)

    async def start(self) -> None:
        """Listens and starts the loops. Raises OSError where an address is taken."""
        await self.health.begin()
        server = grpc.aio.server(options=self._options(), maximum_concurrent_rpcs=self.settings.max_calls)
        for service, handlers in self._services.items():
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
            server.add_registered_method_handlers(service, handlers)  # type: ignore[attr-defined]
        self.health.register(server)
        if self.settings.reflection:
            reflection.enable_server_reflection(
                (*self._services, "grpc.health.v1.Health", reflection.SERVICE_NAME), server
            )
        self.port = self._bind(server)
        self._grpc = server
        await server.start()
        await self._start_probes()
        await self._start_status()
        self._started = True
        for loop in self._loops:
            self._start_loop(loop)
        for name, work in self._pending:
            self._tasks.append(asyncio.create_task(_once(name, work), name=name))
        await self.health.check_now()
        self._tasks.append(asyncio.create_task(self.health.keep_checking(), name="health"))
        _log.info("%s listens on port %d, metrics on port %d", self.settings.service, self.port, self.metrics_port)

    async def stop(self, grace_s: float | None = None) -> None:
        """Drains: says so, ends streams, lets calls finish for `grace_s`, ends loops, closes what was opened."""
        self._stopping.set()
        grace_s = self.settings.drain_s if grace_s is None else grace_s
        await self.health.drain()
        self._gate.drain()
        if self._grpc is not None:
            await self._grpc.stop(grace_s)
        if self._probes is not None:
            await self._probes.stop(0)
        await _end(self._tasks)
        await self._status.stop()
        for close in reversed(self._closers):
            try:
                await close()
            except Exception:
                _log.exception("closing failed")
        if self.database is not None:
            await self.database.close()

    async def run(self) -> int:
        """Starts, serves until SIGTERM or SIGINT, drains. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        try:
            await self.start()
        except (OSError, RuntimeError) as error:
            _log.error("%s cannot start: %s", self.settings.service, error)
            await self.stop(0)
            return EXIT_FAILED
        await self._stopping.wait()
        _log.info("%s drains", self.settings.service)
        await self.stop()
        _log.info("%s has stopped", self.settings.service)
        return EXIT_OK

    def request_stop(self) -> None:
        """Ends `run` as SIGTERM does."""
        self._stopping.set()

    def _options(self) -> list[tuple[str, Any]]:
        size = self.settings.max_message_bytes
        return [
            ("grpc.max_receive_message_length", size),
            ("grpc.max_send_message_length", max(size, 64 * 1024 * 1024)),
            ("grpc.so_reuseport", 0),  # a port that is taken is an error, not a second server
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
            ("grpc.max_connection_idle_ms", 300_000),
            ("grpc.max_metadata_size", 32 * 1024),
            ("grpc.max_concurrent_streams", 1000),
        ]

    def _bind(self, server: grpc.aio.Server) -> int:
        credentials = server_credentials(self.settings)
        if credentials is None:
            return server.add_insecure_port(self.settings.listen)
        return server.add_secure_port(self.settings.listen, credentials)

    def _start_loop(self, loop: Loop) -> None:
        loop.beat()
        caller = Caller.of_service(self.settings.service)
        self._tasks.append(asyncio.create_task(loop.run(caller), name=f"loop {loop.name}"))

    async def _start_probes(self) -> None:
        """A second server with nothing but health, in the clear: the kubelet's gRPC probes know no TLS."""
        if self.settings.health_listen == "off":
            return
        self._probes = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 4096)])
        self.health.register(self._probes)
        self.health_port = self._probes.add_insecure_port(self.settings.health_listen)
        await self._probes.start()

    async def _start_status(self) -> None:
        if self.settings.metrics_listen == "off":
            return
        host, port = split_address(self.settings.metrics_listen, lowest_port=0)
        self.metrics_port = await self._status.start(host, port)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancels tasks and waits for them. One that goes on is told again: libraries that wait with `asyncio.wait_for`
    swallow a cancellation that comes together with what they wait for."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_ENDS_WITHIN_S)
        for task in left:
            _log.warning("%s has not ended within %g s and is told again", task.get_name(), _ENDS_WITHIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)


async def _once(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """What runs once does not end without a word either."""
    try:
        await work()
    except Exception:
        _log.exception("task %s failed", name)


class _Collector:
    """Stands in for a gRPC server and takes what the generated functions register."""

    def __init__(self) -> None:
        self.services: dict[str, dict[str, Any]] = {}

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Not needed: the same handlers come by name."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """Takes the handlers of a service."""
        self.services[service] = handlers


def run_service(settings: ServiceSettings, build: Callable[[], Awaitable[Server]]) -> int:
    """Sets up logs, runs `build` (which makes and fills the server) in an event loop, serves. Returns the exit code."""
    configure_logs(settings, settings.service)

    async def main() -> int:
        try:
            server = await build()
        except LichtbuchError as error:
            _log.error("%s cannot start: %s", settings.service, error)
            return EXIT_FAILED
        return await server.run()

    return _run(main())


def _run(work: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop
    except ImportError:  # as on systems that it is not made for
        return asyncio.run(work)
    return uvloop.run(work)
