"""Health that tells the truth: checks of what the service stands on, asked every few seconds, told over grpc.health.v1.

Serving means: the database answers, every loop beats in time, and nothing is draining. Not here: HTTP (http_status.py).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from domain.errors import LichtbuchError
from servicekit.metrics import HEALTHY

_log = logging.getLogger(__name__)

CHECK_EVERY_S: Final = 2.0
CHECK_TIMEOUT_S: Final = 4.0
OVERALL: Final = ""

Check = Callable[[], Awaitable[None]]
"""Returns when all is well, raises with the reason when not."""


class Health:
    """The checks of a service and what they last said."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._failures: dict[str, str] = {}
        self._services: set[str] = {OVERALL}
        self._servicer: Any = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._draining = False
        self._checked = False

    def add_check(self, name: str, check: Check) -> None:
        """Adds something that has to be well for the service to serve."""
        self._checks[name] = check

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
    def problems(self) -> dict[str, str]:
        """What is wrong, by check."""
        return dict(self._failures) if not self._draining else {**self._failures, "drain": "the service is stopping"}

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
        self._checked = True
        await self._tell()

    async def keep_checking(self) -> None:
        """Checks for as long as the service runs."""
        while True:
            await self.check_now()
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
        status = health_pb2.HealthCheckResponse.SERVING if self.serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in self._services:
            await self._servicer.set(service, status)
