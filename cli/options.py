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
