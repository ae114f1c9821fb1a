"""Options that many subcommands share."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Town = Annotated[
    str,
    typer.Option(
        "--municipality", "-m", help="The town, by the last part of its name. Needed when you may see several."
    ),
]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the audit trail.")]
AsItStood = Annotated[
    str, typer.Option("--at", help="As it stood then: 2025-06-30 (as the day begins) or a local time.")
]
MaxDistance = Annotated[float, typer.Option(help="Refuse lamps further than this from the town; 0 for any distance.")]
SkipInvalid = Annotated[bool, typer.Option("--skip-invalid", help="Take the valid lines although others are not.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, store nothing.")]
