"""Reading tables of a TOML file: every wrong entry is noted with its place, and something harmless stands in for it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from datetime import date, datetime, time
from decimal import Decimal
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, TypeVar

from cli import parsing
from domain.errors import InvalidInput, Violation
from services.scheduler.moment import parse_clock

MAX_BYTES: Final = 1_000_000

Word = TypeVar("Word", bound=IntEnum)


def read_toml(file: Path) -> dict[str, Any]:
    """The document of a TOML file in UTF-8. Raises InvalidInput."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise InvalidInput.of("file", f"{file}: is larger than {MAX_BYTES} bytes")
        return tomllib.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidInput.of("file", f"{file}: {error}") from error


def list_of(document: dict[str, Any], key: str, file: Path, *, needed: bool) -> list[Any]:
    """The array of tables under a key. Raises InvalidInput where it is something else, or missing and needed."""
    entries = document.get(key, [] if not needed else None)
    if not isinstance(entries, list):
        raise InvalidInput.of(key, f"{file} has no [[{key}]]")
    return entries


def refuse(file: Path, what: str, violations: list[Violation], further: Iterable[Violation] = ()) -> None:
    """Raises InvalidInput with all that is wrong; of `further`, what blames an entry that is wrong already is left out.

    What stands in for a wrong entry is not to be blamed.
    """
    wrong = {violation.field.partition(".")[0] for violation in violations}
    found = violations + [more for more in further if more.field.partition(".")[0] not in wrong]
    if found:
        raise InvalidInput(f"{file} is no valid {what}", found)


class Entry:
    """One table of a file. What is wrong in it goes to `violations`."""

    def __init__(self, prefix: str, table: Any, keys: Iterable[str], violations: list[Violation]) -> None:
        self.prefix, self.violations = prefix, violations
        self.table: dict[str, Any] = table if isinstance(table, dict) else {}
        if not isinstance(table, dict):
            self.wrong("", "is no table")
        for unknown in sorted(set(self.table) - set(keys)):
            self.wrong(unknown, f"is unknown; there are {', '.join(sorted(keys))}")

    def __contains__(self, key: str) -> bool:
        return key in self.table

    def wrong(self, key: str, reason: str) -> None:
        """Notes what is wrong with a key, or with the whole entry."""
        self.violations.append(Violation(f"{self.prefix}.{key}" if key else self.prefix, reason))

    def whole(self, key: str, default: int = 0) -> int:
        """A whole number."""
        value = self.table.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        self.wrong(key, f"{value!r} is no whole number")
        return default

    def number(self, key: str, default: float = 0.0) -> float:
        """A number."""
        value = self.table.get(key, default)
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            return float(value)
        self.wrong(key, f"{value!r} is no number")
        return default

    def thousandths(self, key: str, default: int = 0) -> int:
        """A number with three decimals at most, times 1000."""
        if key not in self.table:
            return default
        value = self.table[key]
        if not isinstance(value, int | Decimal) or isinstance(value, bool):
            self.wrong(key, f"{value!r} is no number")
            return default
        found = Decimal(value) * 1000
        if not found.is_finite() or found != found.to_integral_value():
            self.wrong(key, f"{value} has more than three decimals")
            return default
        return int(found)

    def text(self, key: str) -> str:
        """Text; empty where it is missing."""
        value = self.table.get(key, "")
        if isinstance(value, str):
            return value.strip()
        self.wrong(key, f"{value!r} is no text")
        return ""

    def flag(self, key: str) -> bool:
        """True or false; false where it is missing."""
        value = self.table.get(key, False)
        if isinstance(value, bool):
            return value
        self.wrong(key, f"{value!r} is neither true nor false")
        return False

    def clock(self, key: str) -> time | None:
        """A clock time, as text or as TOML has it."""
        value = self.table.get(key, "")
        if isinstance(value, time):
            return value.replace(microsecond=0)
        try:
            return parse_clock(str(value), f"{self.prefix}.{key}")
        except InvalidInput as error:
            self.violations.extend(error.violations)
            return None

    def day(self, key: str) -> date | None:
        """A date, as text or as TOML has it."""
        return self.as_day(key, self.table[key]) if key in self.table else None

    def as_day(self, key: str, value: Any) -> date | None:
        """A value as a date."""
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        try:
            return parsing.day(str(value), f"{self.prefix}.{key}")
        except InvalidInput as error:
            self.violations.extend(error.violations)
            return None

    def level(self, key: str, *, needed: bool = True) -> int | None:
        """A level in per mille, from percent under `key` or from per mille under `key`_permille; one of the two."""
        permille = f"{key}_permille"
        if key not in self.table and permille not in self.table and not needed:
            return None
        if (key in self.table) == (permille in self.table):
            self.wrong(key, f"give either {key} (percent) or {permille}")
            return 0
        if permille in self.table:
            return self.whole(permille)
        try:
            return parsing.level(str(self.table[key]), f"{self.prefix}.{key}")
        except InvalidInput as error:
            self.violations.extend(error.violations)
            return 0

    def word(self, key: str, words: type[Word], stand_in: Word) -> Word:
        """One of the words of an enumeration, written with blanks or hyphens."""
        name = str(self.table.get(key, "")).upper().replace(" ", "_").replace("-", "_")
        if name in words.__members__:
            return words[name]
        known = ", ".join(word.name.lower().replace("_", " ") for word in words)
        self.wrong(key, f"{self.table.get(key)!r} is none of {known}")
        return stand_in
