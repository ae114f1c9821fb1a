"""Slows down guessing: after too many wrong secrets for one name, further ones wait. Holds nothing but its counts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MAX_FAILURES: Final = 5
WINDOW_S: Final = 60.0
UNKNOWN: Final = ""
"""The key under which callers count names that do not exist, so that made-up names cost no memory."""


@dataclass(slots=True)
class _Failures:
    count: int
    since_s: float


class Throttle:
    """Counts failures by key within a window of real seconds, told by a monotonic clock that is handed in."""

    def __init__(
        self, monotonic_s: Callable[[], float], max_failures: int = MAX_FAILURES, window_s: float = WINDOW_S
    ) -> None:
        self._monotonic_s = monotonic_s
        self._max_failures = max_failures
        self._window_s = window_s
        self._failures: dict[str, _Failures] = {}

    def wait_s(self, key: str) -> float:
        """Seconds until another attempt is allowed; 0 if it is now."""
        entry = self._failures.get(key)
        if entry is None or entry.count < self._max_failures:
            return 0.0
        return max(0.0, entry.since_s + self._window_s - self._monotonic_s())

    def failed(self, key: str) -> None:
        """Counts a wrong secret."""
        now_s = self._monotonic_s()
        entry = self._failures.get(key)
        if entry is None or now_s - entry.since_s >= self._window_s:
            self._failures[key] = _Failures(1, now_s)
        else:
            entry.count += 1

    def succeeded(self, key: str) -> None:
        """Forgets the failures: whoever knows the secret had only mistyped it."""
        self._failures.pop(key, None)
