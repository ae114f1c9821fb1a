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

# A path ends where its bracket does: nothing in these patterns can match one text in many ways.
_HEADER = re.compile(r"\s*+\[(?P<path>(?:\"[^\"]++\"|'[^']++'|[^\[\]\"'])++)\]\s*+(?:#.*)?$")
_ARRAY_HEADER = re.compile(r"\s*+\[\[(?P<path>[^\[\]]++)\]\]\s*+(?:#.*)?$")
_KEY = re.compile(r"\s*(?P<key>\"[^\"]+\"|'[^']+'|[A-Za-z0-9_\-.]+)\s*=")
_INDEXED_HEADER = re.compile(r"\s*\[[^\[\]\"']+\[\d+\]")
_LEADING_ZERO = re.compile(r"[^=#]*=\s*+0[0-9]")
_SYNTAX_LINE = re.compile(r"\(at line (\d+), column \d+\)")
_LONGEST_FILE = 256 * 1024  # bytes; the longest shipped profile has 18 000
_DEEPEST_PATH = 8
_HIGHEST_INTEGER = 2**64 - 1  # patterns of 64 bits are written as such


class TomlSource:
    """A parsed TOML file that knows its lines."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self._lines: dict[tuple[str, ...], int] = {}
        if len(text) > _LONGEST_FILE:
            raise InvalidInput.of(name, f"is longer than {_LONGEST_FILE} bytes")
        try:
            self.data: dict[str, Any] = tomllib.loads(text)
        except RecursionError:
            raise InvalidInput.of(name, "has values nested too deeply") from None
        except tomllib.TOMLDecodeError as error:
            match = _SYNTAX_LINE.search(str(error))
            line = int(match[1]) if match else text.count("\n") + 1
            reason = _SYNTAX_LINE.sub("", str(error)).strip()
            written = "".join(text.splitlines()[line - 1 : line])
            if _LEADING_ZERO.match(written):
                reason += ": a number does not begin with 0; coil 00017 of a manual is address 16"
            if _INDEXED_HEADER.match(written):
                reason += ": a table's name has no brackets; indexes are given by [index], not in the name"
            raise InvalidInput(f"{name}:{line}: {reason}", [Violation(f"{name}:{line}", reason)]) from None
        except ValueError:  # of int(): more digits than Python takes
            raise InvalidInput.of(name, "has a number that is too long") from None
        self._lines = _scan(text)
        self._check_values()

    @classmethod
    def read(cls, path: Path) -> TomlSource:
        """Raises InvalidInput when the file is not readable UTF-8 TOML."""
        try:
            with path.open("rb") as file:
                # No more of it than can be meant, and one byte to tell: the path may be that of a device without end.
                return cls(path.name, file.read(_LONGEST_FILE + 1).decode("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput.of(str(path.name), f"cannot be read: {error}") from None

    def _check_values(self) -> None:
        """Raises InvalidInput for what nothing that reads the file is made for."""
        waiting: list[tuple[tuple[str, ...], Any]] = [((), self.data)]
        while waiting:
            path, value = waiting.pop()
            if len(path) > _DEEPEST_PATH:
                violation = self.violation("is nested too deeply", *path)
                raise InvalidInput(str(violation), [violation])
            if isinstance(value, int) and not -_HIGHEST_INTEGER <= value <= _HIGHEST_INTEGER:
                violation = self.violation("is a number beyond 64 bits", *path)
                raise InvalidInput(str(violation), [violation])
            if isinstance(value, dict):
                waiting += [((*path, key), inner) for key, inner in value.items()]
            elif isinstance(value, list):
                waiting += [((*path, str(number)), inner) for number, inner in enumerate(value)]

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
        told = f"{key}: {reason}" if key else reason
        return Violation(f"{self.name}:{self.line(*path)}", _shown(told))


def _shown(text: str) -> str:
    """Keys and values of the file as they may be given to a terminal or a log."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


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
