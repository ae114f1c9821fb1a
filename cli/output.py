"""What the command prints: a table for people, or with --json one document for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Into a file or a pipe a table is as wide as it needs to be.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 240)
notes = Console(stderr=True, highlight=False)


def json_wanted() -> bool:
    """Whether the command line asks for JSON: before it is parsed, so that wrong use is told as JSON too."""
    return "--json" in sys.argv[1:]


def json_text(document: Any, indent: int | None = None) -> str:
    """A document as JSON that also a terminal may be given: what it would obey or turn around is escaped."""
    plain = json.dumps(document, ensure_ascii=False, indent=indent, default=_plain)
    if plain.isprintable():
        return plain
    return "".join(
        character if character.isprintable() or character == "\n" else _json_escape(character) for character in plain
    )


def _json_escape(character: str) -> str:
    return json.dumps(character)[1:-1]


def harmless(value: str) -> str:
    """Text that may come from a device: what is not printable would be obeyed by a terminal, and is replaced."""
    if value.isprintable():
        return value
    return "".join(character if character.isprintable() or character == "\n" else "�" for character in value)


def one_line(value: str) -> str:
    """The same on one line: what comes from others must not add lines that look like ours."""
    return harmless(value).replace("\n", "�")


def print_json(document: Any) -> None:
    """One JSON document on standard output; instants as RFC 3339."""
    print(json_text(document, indent=2))


def print_json_line(document: Any) -> None:
    """One JSON document on one line: for streams."""
    print(json_text(document), flush=True)


def print_rows(rows: Sequence[Mapping[str, Any]], as_json: bool, *, title: str = "", empty: str = "nothing") -> None:
    """Rows with the same keys: a table whose headings are the keys, or a JSON list."""
    if as_json:
        print_json(list(rows))
        return
    if not rows:
        console.print(empty)
        return
    if title:
        console.print(harmless(title), markup=False)  # with the line breaks of ours
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in rows[0]:
        number = isinstance(rows[0][heading], (int, float)) and not isinstance(rows[0][heading], bool)
        table.add_column(heading.replace("_", " "), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(plain_cell(text(value)) for value in row.values()))
    console.print(table)


def plain_cell(value: str) -> Text:
    """Text as it is: names and reasons come from others, and may hold brackets that look like markup, or escapes that
    a terminal would obey, or lines that look like ours."""
    return Text(one_line(value))


def print_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    """One thing with several properties."""
    if as_json:
        print_json(dict(facts))
        return
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        console.print(Text(f"{name.replace('_', ' '):{width}}  ").append_text(plain_cell(text(value))))


def text(value: Any) -> str:
    """A value as a person reads it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S %Z")
    if isinstance(value, (list, tuple)):
        return ", ".join(text(item) for item in value)
    return str(value)


def percent(permille: int) -> str:
    """A level for people."""
    return "-" if permille < 0 else f"{permille / 10:g} %"


def kwh(wh: int) -> str:
    """Energy for people."""
    return f"{wh / 1000:,.3f} kWh".replace(",", " ")


def local(unix_ms: int, tz: Any) -> datetime | None:
    """An instant of the wire as local time; None where there is none."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC).astimezone(tz) if unix_ms else None


def enum_word(name: str, prefix: str) -> str:
    """A value of a contract's enumeration as a word: QUALITY_GOOD is good."""
    return name.removeprefix(prefix).lower().replace("_", " ")


def note(message: str) -> None:
    """Something beside the result: to standard error, with --json as one JSON document on one line."""
    if json_wanted():
        print(json_text({"note": message}), file=sys.stderr)
    else:
        # Not wrapped: a command in it is copied and pasted.
        notes.print(harmless(message), markup=False, soft_wrap=True)


def note_lines(messages: Iterable[str]) -> None:
    """Several notes."""
    for message in messages:
        note(message)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
