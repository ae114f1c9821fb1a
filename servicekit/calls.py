"""How much time the call that is being served has left, for the calls that are made on its behalf."""

import time
from contextvars import ContextVar

_ends_at: ContextVar[float | None] = ContextVar("call_ends_at", default=None)


def set_deadline(seconds: float | None) -> None:
    """Says how many real seconds this call has left; None for no limit."""
    _ends_at.set(None if seconds is None else time.monotonic() + seconds)


def remaining_s() -> float | None:
    """Real seconds left; None outside of a call or without a limit."""
    ends_at = _ends_at.get()
    return None if ends_at is None else ends_at - time.monotonic()
