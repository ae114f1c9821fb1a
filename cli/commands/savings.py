"""lichtbuch savings evaluate: a saving from files of readings and terms, as the book would post it. Offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import parsing
from cli.importing.readings.declared import Declared
from cli.importing.readings.reader import read_values
from cli.options import Json
from cli.output import console, note_lines, print_facts
from domain.errors import InvalidInput
from domain.night import instant_from_unix_ms, zone
from services.ledger.evaluate import Kind, evaluate, parse_terms

app = typer.Typer(help="What was saved.", no_args_is_help=True)

KINDS = {kind.value: kind for kind in Kind}


@app.command("evaluate")
def evaluate_file(
    file: Annotated[
        Path, typer.Argument(metavar="READINGS", help="CSV or XLSX with a column of times and one of values.")
    ],
    terms_file: Annotated[Path, typer.Option("--terms", help="Baseline, price and emission factor: TOML or JSON.")],
    kind: Annotated[str, typer.Option(help=f"What the values are: {', '.join(KINDS)}.")] = Kind.CUMULATIVE.value,
    unit: Annotated[str, typer.Option(help="Unit of the values: Wh, kWh, MWh.")] = "kWh",
    time_column: Annotated[str, typer.Option(help="Column of the time.")] = "",
    value_column: Annotated[str, typer.Option(help="Column of the value.")] = "",
    start: Annotated[str, typer.Option("--from", help="Begin of the period; default: the first reading.")] = "",
    end: Annotated[str, typer.Option("--until", help="End of the period; default: the last reading.")] = "",
    as_json: Json = False,
) -> None:
    """Evaluate a saving without a server: the same computation as the ledger's."""
    if kind not in KINDS:
        raise InvalidInput.of("kind", f"{kind!r} is none of {', '.join(KINDS)}")
    try:
        text = terms_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput.of("terms", f"{terms_file}: {error}") from error
    terms = parse_terms(text, toml=terms_file.suffix.lower() != ".json")
    declared = Declared(layout="long", time_column=time_column, value_column=value_column, unit=unit)
    values = read_values(file, declared, time_zone=terms.time_zone)
    pairs = [(instant_from_unix_ms(instant), value) for instant, value in values]
    tz = zone(terms.time_zone)
    last = max((instant for instant, _ in pairs), default=None)
    found = evaluate(
        terms,
        pairs,
        KINDS[kind],
        start=parsing.instant(start, tz, last, "from") if start and last else None,
        end=parsing.instant(end, tz, last, "until") if end and last else None,
    )
    figures = found.figures
    share = found.fractional_uncertainty_permille
    print_facts(
        {
            "from": found.start.astimezone(tz).isoformat(timespec="minutes"),
            "until": found.end.astimezone(tz).isoformat(timespec="minutes"),
            "actual_wh": figures.actual_wh,
            "baseline_wh": figures.baseline_wh,
            "saved_wh": figures.saved_wh,
            "saved_eur": str(figures.saved_eur),
            "avoided_co2_g": figures.avoided_co2_g,
            "uncertainty_wh": figures.uncertainty_wh,
            "fractional_uncertainty_permille": share,
            "coverage_permille": figures.coverage_permille,
        },
        as_json,
    )
    if not as_json:
        console.print(found.computation, markup=False)
        if share is None or share >= 500:
            note_lines(["the uncertainty is half of the saving or more: ASHRAE Guideline 14 would not call it proven"])
