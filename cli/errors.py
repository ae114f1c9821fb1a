"""Exit codes of the command, and errors in words a person can act on; with --json, as one JSON document.

{"error": {"code": "...", "message": "...", "field": "...", "hint": "...", "violations": [...]}} goes to standard
error, so that standard output holds results and nothing else. What helps is a note of the exception (add_note).

 0 done
 1 looked at and found wrong (a ledger that does not verify, lamps that do not follow)
 2 wrong use or wrong input: the message names the field and the reason
 3 partly done: the rest is listed
 4 unreachable: a service or a device does not answer
 5 refused: not permitted, not logged in, owned by a running installation, or a state that forbids it
70 an error of Lichtbuch itself
130 stopped by Ctrl-C
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from typer.exceptions import TyperException

from cli.output import harmless, json_text, json_wanted
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
    Violation,
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


def hint_of(error: LichtbuchError) -> str:
    """What helps, as far as it is known."""
    if isinstance(error, NotAuthenticated):
        return "log in first: lichtbuch login"
    return " ".join(getattr(error, "__notes__", ()))


def explain(error: LichtbuchError) -> str:
    """An error as lines for standard error: what is wrong, each field with its reason, and what helps."""
    violations = getattr(error, "violations", ())
    heading = "wrong input" if isinstance(error, InvalidInput) else "refused"
    lines = [f"lichtbuch: {heading if violations else error}"]
    lines += [f"  {violation.field}: {violation.reason}" for violation in violations]
    if hint := hint_of(error):
        lines.append(f"  {hint}")
    return "\n".join(lines)


def document(
    code: str, message: str, *, field: str = "", hint: str = "", violations: Sequence[Violation] = ()
) -> dict[str, Any]:
    """An error for programs; `field` is the first that is to blame."""
    return {
        "error": {
            "code": code,
            "message": message,
            "field": field or (violations[0].field if violations else ""),
            "hint": hint,
            "violations": [{"field": violation.field, "reason": violation.reason} for violation in violations],
        }
    }


def report(error: LichtbuchError) -> None:
    """Tell an error on standard error, in the form that was asked for."""
    if json_wanted():
        violations = getattr(error, "violations", ())
        told = document(error.code, str(error), hint=hint_of(error), violations=violations)
        print(json_text(told), file=sys.stderr)
    else:
        print(harmless(explain(error)), file=sys.stderr)


def guard(command: Callable[[], object]) -> None:
    """Run the command; end the process with the exit code and an explanation where it raises an error of ours.

    An integer that the command returns is the exit code too.
    """
    try:
        code = command()
    except LichtbuchError as error:
        report(error)
        raise SystemExit(exit_code(error)) from None
    except TyperException as error:  # wrong use, which typer tells by itself unless --json is given
        print(json_text(document("WRONG_USE", error.format_message())), file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    if isinstance(code, int) and code:
        raise SystemExit(code)
