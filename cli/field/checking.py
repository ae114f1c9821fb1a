"""field profile-check: whether a device profile is right, before a device is asked with it. Nothing is connected."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.errors import FOUND_WRONG
from cli.field.addressing import profile_of
from cli.field.profile_table import point_rows
from cli.options import Json
from cli.output import console, plain_cell, print_json, print_rows
from domain.errors import InvalidInput, Violation
from fieldbus.profile import Profile

Files = Annotated[list[str], typer.Argument(metavar="FILE...", help="Profile files (.toml), or names of shipped ones.")]


def profile_check(files: Files, as_json: Json = False) -> None:
    """Check device profiles: all mistakes with file, line and reason, or the table of their points.

    Exit code 0: all are right, 1: one is not.
    """
    documents: list[dict[str, Any]] = []
    for name in files:
        problems: list[Violation] = []
        profile: Profile | None = None
        try:
            profile = profile_of(name)
        except InvalidInput as error:
            problems = _placed(error, name)
        documents.append(_document(name, profile, problems))
        if not as_json:
            _tell(name, profile, problems, first=len(documents) == 1)
    if as_json:
        print_json(documents)
    if any(document["problems"] for document in documents):
        raise typer.Exit(FOUND_WRONG)


def _placed(error: InvalidInput, name: str) -> list[Violation]:
    """Violations that begin with the file as it was named, as an editor takes it: of two files of one name as well."""
    file = Path(name).name
    return [Violation(name + violation.field.removeprefix(file), violation.reason) for violation in error.violations]


def _document(name: str, profile: Profile | None, problems: list[Violation]) -> dict[str, Any]:
    """One file, for programs."""
    return {
        "file": name,
        "profile": profile.name if profile is not None else None,
        "problems": [{"line": _line(problem, name), "reason": problem.reason} for problem in problems],
        "points": point_rows(profile) if profile is not None else [],
    }


def _line(problem: Violation, name: str) -> int | None:
    number = problem.field.removeprefix(name).removeprefix(":")
    return int(number) if number.isdecimal() else None


def _tell(name: str, profile: Profile | None, problems: list[Violation], *, first: bool) -> None:
    """One file, for people."""
    if not first:
        console.print()
    if profile is None:
        for problem in problems:
            console.print(plain_cell(f"{problem.field}: {problem.reason}"), soft_wrap=True)
        return
    points = f"{len(profile.points)} {'point' if len(profile.points) == 1 else 'points'}"
    print_rows(
        [_shown(row) for row in point_rows(profile)],
        as_json=False,
        title=f"{name}: right. {profile.vendor} {profile.product}, {profile.protocol.value}, {points}",
    )


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row as a person reads it: what is not there is left empty."""
    return {key: "" if value is None else value for key, value in row.items()}
