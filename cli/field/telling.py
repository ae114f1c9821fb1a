"""How the field commands end when something is wrong: the sentence, what helps, the exit code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NoReturn

import typer

from cli.errors import PARTIAL, document
from cli.field.advice import Advice, diagnose, recognise
from cli.output import json_text, json_wanted, note, one_line
from domain.errors import LichtbuchError
from fieldbus.values import DeviceHealth

_NAMED: Final = 5
_UNUSABLE: Final = (
    "the device has no value there, or gives one that cannot be; the raw words show with --register, addresses with "
    "`lichtbuch field profile-check`"
)


def fail(advice: Advice, *, field: str = "url") -> NoReturn:
    """End the command with an advice."""
    if json_wanted():
        told = document(advice.code, advice.message, field=field, hint=advice.hint)
        print(json_text(told), file=sys.stderr)
    else:
        print(f"lichtbuch: {one_line(advice.message)}\n  {one_line(advice.hint)}", file=sys.stderr)
    raise typer.Exit(advice.exit_code)


def fail_at(url: str, sentence: str) -> NoReturn:
    """End the command because a device did not give anything."""
    fail(asyncio.run(diagnose(url, sentence)))


def fail_because(url: str, error: LichtbuchError) -> NoReturn:
    """End the command because a device could not be asked."""
    fail_at(url, str(error))


def end_reading(
    url: str,
    *,
    good: int,
    asked: int,
    answered: bool,
    health: DeviceHealth,
    profile: str = "",
    unusable: Sequence[str] = (),
    field: str = "url",
) -> NoReturn:
    """End a reading: 0 all read, 3 a part, 4 nobody answered, 5 refused. `profile` is the one it was read with,
    `unusable` names what came and is no value, `field` what is to blame where the device refuses all of it."""
    if good == asked:
        raise typer.Exit(0)
    if good:
        note(f"{asked - good} of {asked} values could not be read or must not be trusted")
        _say_why(health)
        if unusable and not health.last_error:
            more = f" and {len(unusable) - _NAMED} more" if len(unusable) > _NAMED else ""
            note(f"{', '.join(unusable[:_NAMED])}{more}: {_UNUSABLE}")
        raise typer.Exit(PARTIAL)
    advice = recognise(health.last_error)
    if answered and (advice is None or not advice.refused):
        # It talks to us, yet says of every value that there is none.
        note("the device answers, but has no usable value for any of these points: is this the right profile or index?")
        _say_why(health)
        if profile:
            note(_other_profile(url))
        raise typer.Exit(PARTIAL)
    if advice is not None and advice.refused:
        if profile and answered:
            advice = replace(advice, hint=f"{advice.hint} {_other_profile(url)}")
        fail(advice, field=field)
    fail_at(url, health.last_error)


def _other_profile(url: str) -> str:
    return f"Wrong profile? lichtbuch field scan '{url}'"


def _say_why(health: DeviceHealth) -> None:
    if health.last_error:
        note(f"last seen: {one_line(health.last_error)}")
        if advice := recognise(health.last_error):
            note(advice.hint)
