"""Work on many meters, one after the other: which failure is one meter's own, so that the others are gone on with."""

from __future__ import annotations

import logging

from domain.errors import LichtbuchError, RetryableError, TimedOut


def is_away(error: Exception) -> bool:
    """True where the next meter would fare no better: the database or the registry is away. Too slow, in contrast, may
    be the work on this one alone, and what nobody has thought of is taken for its own, too."""
    return isinstance(error, RetryableError) and not isinstance(error, TimedOut)


def tell(log: logging.Logger, error: Exception, message: str, *values: object) -> None:
    """Logs what one meter's work failed with; with its trace where nobody has thought of it."""
    unexpected = None if isinstance(error, LichtbuchError) else error
    log.log(logging.ERROR if unexpected else logging.WARNING, f"{message}: %s", *values, error, exc_info=unexpected)
