"""Exponential back-off with jitter, on real time: how often something that does not answer is asked again.

Domain time never enters: a time-lapse must not hammer a line, and a stepped clock must not freeze it.
"""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """Counts failures in a row and says when the next attempt may be made."""

    def __init__(
        self, initial_s: float, maximum_s: float, monotonic: Callable[[], float], uniform: Callable[[], float]
    ) -> None:
        """`uniform` gives random numbers in [0, 1), `monotonic` real seconds."""
        self._initial_s = initial_s
        self._maximum_s = maximum_s
        self._monotonic = monotonic
        self._uniform = uniform
        self._not_before = float("-inf")
        self.failures = 0

    @property
    def ready(self) -> bool:
        """Whether an attempt may be made now."""
        return self._monotonic() >= self._not_before

    @property
    def remaining_s(self) -> float:
        """Real seconds until the next attempt, 0 when one may be made now."""
        return max(0.0, self._not_before - self._monotonic())

    def failed(self) -> None:
        """An attempt failed: wait longer than the last time. Jitter keeps many devices from asking in step."""
        exponent = min(self.failures, 32)
        self.failures += 1
        delay_s = min(self._maximum_s, self._initial_s * 2.0**exponent)
        self._not_before = self._monotonic() + delay_s * (0.5 + 0.5 * self._uniform())

    def succeeded(self) -> None:
        """An answer came: ask freely again."""
        self.failures = 0
        self._not_before = float("-inf")
