"""TOML with line numbers: where in the file a key stands, so that an error in a profile can say so.

The standard parser gives lines only for broken syntax. Profiles are plain TOML (one key per line, tables with headers),
for which a scan of the text finds the line of every key.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from domain.errors import InvalidInput, Violation

_HEADER = re.compile(r"\s*\[\s*(?P<path>(?:\"[^\"]+\"|'[^']+'|[^\[\]\"'])+?)\s*\]\s*(?:#.*)?$")
_ARRAY_HEADER = re.compile(r"\s*\[\[\s*(?P<path>[^\[\]]+?)\s*\]\]\s*(?:#.*)?$")
_KEY = re.compile(r"\s*(?P<key>\"[^\"]+\"|'[^']+'|[A-Za-z0-9_\-.]+)\s*=")
_INDEXED_HEADER = re.compile(r"\s*\[[^\[\]\"']+\[\d+\]")
_SYNTAX_LINE = re.compile(r"\(at line (\d+), column \d+\)")


class TomlSource:
    """A parsed TOML file that knows its lines."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        try:
            self.data: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            match = _SYNTAX_LINE.search(str(error))
            line = int(match[1]) if match else text.count("\n") + 1
            reason = _SYNTAX_LINE.sub("", str(error)).strip()
            if _INDEXED_HEADER.match("".join(text.splitlines()[line - 1 : line])):
                reason += ": a table's name has no brackets; indexes are given by [index], not in the name"
            raise InvalidInput(f"{name}:{line}: {reason}", [Violation(f"{name}:{line}", reason)]) from None
        self._lines = _scan(text)

    @classmethod
    def read(cls, path: Path) -> TomlSource:
        """Raises InvalidInput when the file is not readable UTF-8 TOML."""
        try:
            return cls(path.name, path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput.of(str(path.name), f"cannot be read: {error}") from None

    def line(self, *path: str) -> int:
        """The line of a key, or of the nearest table around it; 1 if nothing of it is in the file."""
        for length in range(len(path), 0, -1):
            line = self._lines.get(tuple(path[:length]))
            if line is not None:
                return line
        return 1

    def violation(self, reason: str, *path: str) -> Violation:
        """What is wrong, and where: field `file:line`."""
        key = ".".join(path)
        return Violation(f"{self.name}:{self.line(*path)}", f"{key}: {reason}" if key else reason)


def _scan(text: str) -> dict[tuple[str, ...], int]:
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    elements: dict[tuple[str, ...], int] = {}
    inside_string = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if inside_string:
            if inside_string in line:
                inside_string = ""
            continue
        header = _HEADER.match(line)
        if header:
            table = _split(header["path"])
            lines.setdefault(table, number)
            continue
        element = _ARRAY_HEADER.match(line)
        if element:
            path = _split(element["path"])
            elements[path] = elements.get(path, -1) + 1
            table = (*path, str(elements[path]))
            lines.setdefault(path, number)
            lines[table] = number
            continue
        key = _KEY.match(line)
        if key:
            lines.setdefault((*table, *_split(key["key"])), number)
        for quotes in ('"""', "'''"):
            if line.count(quotes) % 2 == 1:
                inside_string = quotes
    return lines


def _split(path: str) -> tuple[str, ...]:
    parts = re.findall(r"\"[^\"]+\"|'[^']+'|[^.\s]+", path)
    return tuple(part.strip("\"'") for part in parts)
