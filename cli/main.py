"""The `lichtbuch` command: puts the subcommands together. What they do is in cli/commands."""

from __future__ import annotations

import typer

from cli.commands import account, field, imports, lamps, ledger, levels, meters, profiles, savings, sun
from cli.errors import EPILOG, guard

app = typer.Typer(
    name="lichtbuch",
    help="Municipal street lighting and building control, and the book of what was saved.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("login")(account.login)
app.command("logout")(account.logout)
app.command("whoami")(account.whoami)
app.command("status")(account.status)
app.command("lamps")(lamps.lamps)
app.command("cabinets")(lamps.cabinets)
app.command("groups")(lamps.groups)
app.command("meters")(meters.meters)
app.command("consumption")(meters.consumption)
app.command("sun", context_settings={"ignore_unknown_options": True})(sun.sun)
app.add_typer(imports.app, name="import")
app.add_typer(levels.level, name="level")
app.add_typer(levels.lockout, name="lockout")
app.add_typer(profiles.app, name="profile")
app.add_typer(meters.app, name="readings")
app.add_typer(ledger.app, name="ledger")
app.add_typer(savings.app, name="savings")
app.add_typer(field.app, name="field")


def run() -> None:
    """Entry point of the command."""
    guard(lambda: app(prog_name="lichtbuch"))


if __name__ == "__main__":
    run()
