"""The `lichtbuch` command: puts the subcommands together. What they do is in cli/commands."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from cli.commands import (
    account,
    balance,
    calendars,
    deliveries,
    drivers,
    endpoints,
    exports,
    faults,
    field,
    findings,
    groups,
    history,
    imports,
    lamp_levels,
    lamps,
    ledger,
    levels,
    meter,
    meter_answers,
    meter_imports,
    meters,
    profiles,
    reading_exports,
    reading_imports,
    readings,
    removing,
    savings,
    sensors,
    sun,
    towns,
    waivers,
    weather,
)
from cli.errors import EPILOG, guard
from cli.output import json_wanted

app = typer.Typer(
    name="lichtbuch",
    help="Municipal street lighting and building control, and the book of what was saved.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lichtbuch {version('lichtbuch')}")
        raise typer.Exit


@app.callback()
def main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Municipal street lighting and building control, and the book of what was saved."""


app.command("login")(account.login)
app.command("logout")(account.logout)
app.command("whoami")(account.whoami)
app.command("status")(account.status)
app.command("lamps")(lamps.lamps)
app.command("cabinets")(lamps.cabinets)
app.command("groups")(lamps.groups)
app.command("faults")(faults.faults)
app.command("history")(history.history)
app.command("remove")(removing.remove)
app.command("sensors")(sensors.sensors)
app.command("meters")(meters.meters)
app.command("consumption")(meters.consumption)
app.command("degree-days")(weather.degree_days)
app.command("balance")(balance.balance)
app.command("sun", context_settings={"ignore_unknown_options": True})(sun.sun)
app.add_typer(groups.app, name="group")
imports.app.command("meters")(meter_imports.import_meters)
imports.app.command("readings")(reading_imports.import_readings)
imports.app.command("town")(towns.import_town)
imports.app.command("weather")(weather.import_weather)
exports.app.command("readings")(reading_exports.export_readings)
exports.app.command("town")(towns.export_town)
app.add_typer(imports.app, name="import")
app.add_typer(exports.app, name="export")
app.add_typer(faults.fault, name="fault")
drivers.lamp.command("levels")(lamp_levels.lamp_levels)
app.add_typer(drivers.lamp, name="lamp")
app.add_typer(levels.level, name="level")
app.add_typer(levels.lockout, name="lockout")
app.add_typer(waivers.app, name="waiver")
app.add_typer(sensors.sensor, name="sensor")
app.add_typer(endpoints.app, name="endpoint")
app.add_typer(profiles.app, name="profile")
app.add_typer(calendars.app, name="calendar")
meter.app.command("load")(meter_answers.load)
meter.app.command("losses")(meter_answers.losses)
meter.app.command("compare")(meter_answers.compare)
app.add_typer(meter.app, name="meter")
app.add_typer(deliveries.app, name="delivery")
app.add_typer(findings.app, name="findings")
readings.app.command("export")(reading_exports.export_readings)
app.add_typer(readings.app, name="readings")
app.add_typer(ledger.app, name="ledger")
app.add_typer(savings.app, name="savings")
app.add_typer(field.app, name="field")


def run() -> None:
    """Entry point of the command."""
    guard(lambda: app(prog_name="lichtbuch", standalone_mode=not json_wanted()))


if __name__ == "__main__":
    run()
