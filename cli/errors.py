"""Exit codes of the command, and errors in words a person can act on.

 0 done
 1 looked at and found wrong (a ledger that does not verify, lamps that do not follow)
 2 wrong use or wrong input: the message names the field and the reason
 3 partly done: the rest is listed
 4 unreachable: a service or a device does not answer
 5 refused: not permitted, not logged in, owned by a running installation, or a state that forbids it
70 an error of Lichtbuch itself
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

from domain.errors import (
    AlreadyExists,
    Conflict,
    FailedPrecondition,
    InvalidInput,
    LichtbuchError,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    RetryableError,
)

DONE: Final = 0
FOUND_WRONG: Final = 1
WRONG_INPUT: Final = 2
PARTIAL: Final = 3
UNREACHABLE: Final = 4
REFUSED: Final = 5
INTERNAL: Final = 70

EPILOG: Final = (
    "Exit codes: 0 done, 1 looked at and found wrong, 2 wrong use or input, 3 partly done, 4 unreachable, 5 refused."
)


def exit_code(error: LichtbuchError) -> int:
    """The exit code that an error of ours ends the command with."""
    if isinstance(error, RetryableError):
        return UNREACHABLE
    if isinstance(error, (NotPermitted, NotAuthenticated, FailedPrecondition, Conflict, AlreadyExists)):
        return REFUSED
    if isinstance(error, (InvalidInput, NotFound)):
        return WRONG_INPUT
    return INTERNAL


def explain(error: LichtbuchError) -> str:
    """An error as lines for standard error: what is wrong, each field with its reason, and what helps."""
    violations = getattr(error, "violations", ())
    lines = [f"lichtbuch: {error}" if not violations else "lichtbuch: refused"]
    lines += [f"  {violation.field}: {violation.reason}" for violation in violations]
    if isinstance(error, NotAuthenticated):
        lines.append("  log in first: lichtbuch login")
    return "\n".join(lines)


def guard(command: Callable[[], None]) -> None:
    """Run the command; end the process with the exit code and an explanation where it raises an error of ours."""
    try:
        command()
    except LichtbuchError as error:
        print(explain(error), file=sys.stderr)
        raise SystemExit(exit_code(error)) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
