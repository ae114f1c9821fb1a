"""Health that tells the truth: checks of what the service stands on, asked every few seconds, told over grpc.health.v1.

Three answers, by the name that is asked for:
- "" and "ready", and each of the service's own: the database answers, every loop beats in time, nothing is draining.
- "live": the process works. Not so if a loop hangs although all that the service stands on is well, for only then does
  a restart help; a service whose database is away waits for it, and lighting goes on lighting meanwhile.

Not here: HTTP (http_status.py).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from domain.errors import LichtbuchError
from servicekit.loops import Loop
from servicekit.metrics import HEALTHY

_log = logging.getLogger(__name__)

CHECK_EVERY_S: Final = 2.0
CHECK_TIMEOUT_S: Final = 4.0
OVERALL: Final = ""
READY: Final = "ready"
LIVE: Final = "live"

Check = Callable[[], Awaitable[None]]
"""Returns when all is well, raises with the reason when not."""


class Health:
    """The checks of a service and what they last said."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._failures: dict[str, str] = {}
        self._loops: list[Loop] = []
        self._services: set[str] = {OVERALL, READY}
        self._servicer: Any = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._draining = False
        self._checked = False
        self._excused_until = 0.0

    def add_check(self, name: str, check: Check) -> None:
        """Adds something that has to be well for the service to serve."""
        self._checks[name] = check

    def add_loop(self, loop: Loop) -> None:
        """Adds a loop: it has to beat in time for the service to serve, and must not hang for it to live."""
        self._loops.append(loop)
        self._checks[_check_of(loop)] = loop.check

    def add_service(self, name: str) -> None:
        """Adds a gRPC service whose health is told under its own name."""
        self._services.add(name)

    def register(self, server: Any) -> None:
        """Adds grpc.health.v1 to a server."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    @property
    def serving(self) -> bool:
        """True if every check passed last time and nothing is draining."""
        return self._checked and not self._failures and not self._draining

    @property
    def live(self) -> bool:
        """False if a loop hangs though nothing that the service stands on is away."""
        return not any(loop.hangs(self._excused_until) for loop in self._loops)

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong, by check."""
        return dict(self._failures) if not self._draining else {**self._failures, "drain": "the service is stopping"}

    async def begin(self) -> None:
        """From now on there is an answer: alive, and not serving until the first checks have passed."""
        await self._tell()

    async def drain(self) -> None:
        """From now on the answer is: not serving."""
        self._draining = True
        await self._tell()

    async def check_now(self) -> None:
        """Runs every check and tells what came out."""
        names = list(self._checks)
        reasons = await asyncio.gather(*(self._run(name) for name in names))
        for name, reason in zip(names, reasons, strict=True):
            self._note(name, reason)
        if self._failures.keys() - {_check_of(loop) for loop in self._loops}:
            self._excused_until = time.monotonic()
        self._checked = True
        await self._tell()

    async def keep_checking(self) -> None:
        """Checks for as long as the service runs."""
        while True:
            try:
                await self.check_now()
            except Exception:  # or what was told last would be told for ever
                _log.exception("the checks of health failed")
            await asyncio.sleep(CHECK_EVERY_S)

    async def _run(self, name: str) -> str:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await self._checks[name]()
        except LichtbuchError as error:
            return error.message
        except TimeoutError:
            return f"no answer within {CHECK_TIMEOUT_S} s"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def _note(self, name: str, reason: str) -> None:
        HEALTHY.labels(name).set(0 if reason else 1)
        if reason and name not in self._failures:
            _log.warning("health check %s fails: %s", name, reason)
        elif not reason and name in self._failures:
            _log.info("health check %s passes again", name)
        if reason:
            self._failures[name] = reason
        else:
            self._failures.pop(name, None)

    async def _tell(self) -> None:
        for service in self._services:
            await self._servicer.set(service, _status(self.serving))
        await self._servicer.set(LIVE, _status(self.live))


def _check_of(loop: Loop) -> str:
    return f"loop {loop.name}"


def _status(well: bool) -> health_pb2.HealthCheckResponse.ServingStatus:
    return health_pb2.HealthCheckResponse.SERVING if well else health_pb2.HealthCheckResponse.NOT_SERVING
