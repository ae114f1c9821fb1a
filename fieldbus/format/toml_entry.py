"""One table of a TOML file and its keys: values of the type expected, or a violation that names file, line and key.

Knows nothing of devices; the loaders of profiles are made of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Final, TypeGuard, TypeVar

from domain.errors import Violation
from fieldbus.format.toml_source import TomlSource

Choice = TypeVar("Choice", bound=StrEnum)

_MOST_VIOLATIONS: Final = 200  # nobody reads more, and each is compared with all before it
_HIGHEST_OF_RANGE: Final = 65_535  # every number of a range is tried out


def is_whole(value: Any) -> TypeGuard[int]:
    """Whether a TOML value is an integer: true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a TOML value is a finite number."""
    return is_whole(value) or (isinstance(value, float) and abs(value) < float("inf"))


def did_you_mean(word: Any, known: Iterable[str]) -> str:
    """`, did you mean 'scale'?` for a word that is nearly one of the known ones, else nothing."""
    close = get_close_matches(str(word), list(known), n=1)
    return f", did you mean '{close[0]}'?" if close else ""


class Entry:
    """A table at a path of a file. All entries of a file share one list of violations."""

    def __init__(self, source: TomlSource, path: tuple[str, ...], data: Any, violations: list[Violation]) -> None:
        self.path = path
        self.violations = violations
        self._source = source
        self.data: dict[str, Any] = data if isinstance(data, dict) else {}
        if not isinstance(data, dict):
            self.wrong("is not a table")

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def __iter__(self) -> Iterator[str]:
        """All keys, in the order of the file."""
        return iter(self.data)

    @property
    def is_full(self) -> bool:
        """Whether so much is wrong with the file that nothing more is noted."""
        return len(self.violations) >= _MOST_VIOLATIONS

    def only(self, known: Iterable[str]) -> None:
        """Refuse every other key."""
        known = sorted(known)
        for key in self.data:
            if key not in known and not self.is_full:
                meant = did_you_mean(key, known)
                self.wrong(f"unknown key{meant or ','} {'K' if meant else 'k'}nown are {', '.join(known)}", key)

    def wrong(self, reason: str, *key: str) -> None:
        """Note what is wrong with the table or with a key of it; what is found twice is noted once."""
        if self.is_full:
            return
        violation = self._source.violation(reason, *self.path, *key)
        if violation not in self.violations:
            self.violations.append(violation)

    def number(self, key: str, default: float | None = None) -> float | None:
        """A finite number."""
        value = self.data.get(key, default)
        if value is not None and not is_number(value):
            self.wrong(f"{value!r} is not a number", key)
            return default
        return value

    def not_negative(self, key: str, default: float | None = None) -> float | None:
        """A finite number, 0 or more."""
        value = self.number(key, default)
        if value is not None and value < 0:
            self.wrong("is below 0", key)
            return default
        return value

    def positive(self, key: str, default: float | None = None) -> float | None:
        """A finite number above 0, such as a number of seconds."""
        value = self.data.get(key)
        if value is None:
            return default
        if not is_number(value) or value <= 0:
            self.wrong(f"{value!r} is not a positive number", key)
            return default
        return float(value)

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """An integer in a range, both ends included."""
        value = self.data.get(key, default)
        if not is_whole(value) or not low <= value <= high:
            self.wrong(f"{value!r} is not an integer {low}..{high}", key)
            return default
        return int(value)

    def flag(self, key: str) -> bool:
        """A yes or no, false where it is not given."""
        value = self.data.get(key, False)
        if not isinstance(value, bool):
            self.wrong("is not true or false", key)
            return False
        return value

    def text(self, key: str, *, required: bool = True) -> str:
        """A text that is not empty; "" where it is not given."""
        value = self.data.get(key)
        if value is None and not required:
            return ""
        if not isinstance(value, str) or not value.strip():
            self.wrong("is missing or empty", key)
            return ""
        if not value.replace("\n", "").isprintable():
            self.wrong("has characters that are not printable", key)
            return ""
        return value.strip()

    def choice(self, key: str, choices: type[Choice], default: Choice) -> Choice:
        """One of a few words."""
        value = self.data.get(key, default.value)
        if isinstance(value, str) and value in {choice.value for choice in choices}:
            return choices(value)
        words = [choice.value for choice in choices]
        self.wrong(f"{value!r} is none of {', '.join(words)}{did_you_mean(value, words)}", key)
        return default

    def range(self, key: str) -> tuple[int, int] | None:
        """`[first, last]`, both included and 0..65535; None where it is not given or wrong."""
        value = self.data.get(key)
        if value is None:
            return None
        if isinstance(value, list) and len(value) == 2 and all(map(is_whole, value)) and 0 <= value[0] <= value[1]:
            if value[1] > _HIGHEST_OF_RANGE:
                self.wrong(f"ends beyond {_HIGHEST_OF_RANGE}", key)
                return None
            return value[0], value[1]
        self.wrong("is not [first, last]", key)
        return None

    def pairs(self, key: str) -> tuple[tuple[float, float], ...]:
        """`[[raw, value], ...]`."""
        value = self.data.get(key, [])
        found: list[tuple[float, float]] = []
        for one in value if isinstance(value, list) else [value]:
            match one:
                case [raw, meaning] if is_number(raw) and is_number(meaning):
                    found.append((raw, float(meaning)))
                case _:
                    self.wrong("is a list of [raw, value]", key)
        return tuple(found)

    def elements(self, key: str) -> list[Any]:
        """A list; empty where it is not given."""
        value = self.data.get(key, [])
        if not isinstance(value, list):
            self.wrong("is not a list", key)
            return []
        return value

    def table(self, key: str) -> Entry | None:
        """A table below this one; None where it is not given."""
        if key not in self.data:
            return None
        return Entry(self._source, (*self.path, key), self.data[key], self.violations)

    def tables(self, key: str) -> list[Entry]:
        """A list of tables below this one."""
        return [
            Entry(self._source, (*self.path, key, str(number)), one, self.violations)
            for number, one in enumerate(self.elements(key))
        ]
