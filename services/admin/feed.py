"""A value that is fetched again and again, and what to show when that fails: the last one, marked as stale."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from typing import Final, Generic, TypeVar

from domain.errors import LichtbuchError, NotAuthenticated, NotFound, NotPermitted, RetryableError
from servicekit.logs import get_logger

T = TypeVar("T")

SLOW_S: Final = 60.0
"""Real seconds between attempts to see what one may not see: a role may be given meanwhile."""
AGAIN_S: Final = 5.0
"""Real seconds until what has failed for the first time is tried again; longer each time, up to its own interval."""

_log = get_logger(__name__)


class Problem(StrEnum):
    """Why a value is missing or old."""

    AWAY = "away"
    """The service does not answer, or not in time; it is asked again."""
    DENIED = "denied"
    """The person may not see it."""
    SIGNED_OUT = "signed_out"
    """The token does not hold any more."""
    MISSING = "missing"
    """It does not exist."""
    FAILED = "failed"
    """The service answers with an error."""


def problem_of(error: BaseException) -> Problem:
    """What an error means for the person who looks."""
    match error:
        case NotAuthenticated():
            return Problem.SIGNED_OUT
        case NotPermitted():
            return Problem.DENIED
        case NotFound():
            return Problem.MISSING
        case RetryableError():
            return Problem.AWAY
        case _:
            return Problem.FAILED


class Kept(Generic[T]):
    """The last value that a service gave, and what has been wrong since.

    `version` grows whenever there is something new to show, be it a value or a problem.
    """

    def __init__(self, service: str, real: Callable[[], datetime]) -> None:
        self.service = service
        self._real = real
        self.value: T | None = None
        self.fetched_at: datetime | None = None
        """Real time of the last value."""
        self.problem: Problem | None = None
        self.version = 0

    @property
    def is_stale(self) -> bool:
        """True if a value is shown that could not be fetched again."""
        return self.problem is not None and self.value is not None

    @property
    def is_settled(self) -> bool:
        """True once there is a value, or a reason why there is none."""
        return self.value is not None or self.problem is not None

    def put(self, value: T) -> None:
        """Takes a value."""
        if value != self.value or self.problem is not None:
            self.version += 1
        self.value, self.problem, self.fetched_at = value, None, self._real()

    def fail(self, problem: Problem) -> None:
        """Takes a problem; the last value stays, unless the person may not see it any more."""
        if problem is not self.problem:
            self.version += 1
        if problem in (Problem.DENIED, Problem.SIGNED_OUT, Problem.MISSING):
            self.value = None
        self.problem = problem

    def fail_with(self, error: Exception) -> None:
        """Takes the problem that an error stands for; what nobody expects is logged."""
        if not isinstance(error, LichtbuchError):
            _log.error("what a service answered cannot be shown", service=self.service, exc_info=error)
        problem = problem_of(error)
        if isinstance(error, LichtbuchError) and problem is Problem.FAILED and self.problem is not Problem.FAILED:
            _log.warning("a service answers with an error", service=self.service, reason=error.message)
        self.fail(problem)


class Feed(Kept[T]):
    """A value that is fetched every so often (real seconds)."""

    def __init__(
        self, service: str, fetch: Callable[[], Awaitable[T]], every_s: float, real: Callable[[], datetime]
    ) -> None:
        super().__init__(service, real)
        self.every_s = every_s
        self._fetch = fetch
        self._fetching: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Fetches once; who asks while a fetch is under way waits for that one. Raises nothing."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._refresh(), name=f"fetch from {self.service}")
        # A caller that gives up, a closed page for instance, does not take the fetch from the others.
        await asyncio.shield(self._fetching)

    async def refresh_anew(self) -> None:
        """Fetches once, and not by a call that began before: for who has just changed something."""
        if self._fetching is not None and not self._fetching.done():
            await asyncio.shield(self._fetching)
        await self.refresh()

    async def _refresh(self) -> None:
        try:
            value = await self._fetch()
        except Exception as error:
            self.fail_with(error)
        else:
            self.put(value)

    async def keep(self) -> None:
        """Fetches for ever: more slowly what the person may not see, soon again what just did not come."""
        failures = 0
        while True:
            await self.refresh()
            failures = failures + 1 if self.problem in (Problem.AWAY, Problem.FAILED) else 0
            denied = self.problem in (Problem.DENIED, Problem.MISSING)
            pause_s = max(self.every_s, SLOW_S) if denied else self.every_s
            if failures:
                pause_s = min(pause_s, AGAIN_S * 2.0 ** min(failures - 1, 10))
            await asyncio.sleep(pause_s)
