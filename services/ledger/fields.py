"""Strict reading of a stored document's parsed body: every field is there, has its type, and none is unknown. Pure.

What is read here is what hashes stand for. A field that is quietly ignored or defaulted would let two readings of the
same bytes differ.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Self

from domain.canonical import instant_text
from domain.errors import InvalidInput

_NEITHER: Final = object()
_DECIMAL: Final = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")


class Fields:
    """One object of a document. Ask for every field by its type, then call `done`. All raise InvalidInput."""

    def __init__(self, body: Mapping[str, Any], path: str) -> None:
        self._body = body
        self._path = path
        self._asked: set[str] = set()

    def has(self, key: str) -> bool:
        """True if the field is there, for documents of people, who may leave some out."""
        return key in self._body

    def text(self, key: str) -> str:
        """A string."""
        value = self._take(key)
        if not isinstance(value, str):
            raise self._wrong(key, "a string")
        return value

    def integer(self, key: str, minimum: int | None = None) -> int:
        """An integer, at least `minimum`."""
        value = self._take(key)
        if not _is_integer(value) or (minimum is not None and value < minimum):
            raise self._wrong(key, "an integer" if minimum is None else f"an integer of at least {minimum}")
        return int(value)

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self._take(key)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def decimal(self, key: str) -> Decimal:
        """A decimal number, which documents hold as a string."""
        text = self.text(key)
        if not _DECIMAL.fullmatch(text):
            raise self._wrong(key, "a decimal number")
        return Decimal(text)

    def instant(self, key: str) -> datetime:
        """An instant in UTC with milliseconds."""
        return instant_from_text(self.text(key), f"{self._path}.{key}")

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self._list(key)
        if not all(isinstance(value, str) for value in values):
            raise self._wrong(key, "a list of strings")
        return tuple(values)

    def integers(self, key: str) -> tuple[int, ...]:
        """A list of integers."""
        values = self._list(key)
        if not all(_is_integer(value) for value in values):
            raise self._wrong(key, "a list of integers")
        return tuple(values)

    def flags(self, key: str) -> tuple[bool, ...]:
        """A list of true and false."""
        values = self._list(key)
        if not all(isinstance(value, bool) for value in values):
            raise self._wrong(key, "a list of true and false")
        return tuple(values)

    def inner(self, key: str) -> Self:
        """An object."""
        value = self._take(key)
        if not isinstance(value, dict):
            raise self._wrong(key, "an object")
        return type(self)(value, f"{self._path}.{key}")

    def inners(self, key: str) -> list[Self]:
        """A list of objects."""
        values = self._list(key)
        if not all(isinstance(value, dict) for value in values):
            raise self._wrong(key, "a list of objects")
        return [type(self)(value, f"{self._path}.{key}[{place}]") for place, value in enumerate(values)]

    def done(self) -> None:
        """Refuses fields that nobody asked for."""
        unknown = sorted(set(self._body) - self._asked)
        if unknown:
            raise InvalidInput.of(f"{self._path}.{unknown[0]}", "the field is not known")

    def _take(self, key: str) -> Any:
        self._asked.add(key)
        value = self._body.get(key, _NEITHER)
        if value is _NEITHER:
            raise InvalidInput.of(f"{self._path}.{key}", "the field is missing")
        return value

    def _list(self, key: str) -> list[Any]:
        value = self._take(key)
        if not isinstance(value, list):
            raise self._wrong(key, "a list")
        return value

    def _wrong(self, key: str, needed: str) -> InvalidInput:
        return InvalidInput.of(f"{self._path}.{key}", f"{needed} is needed")


def instant_from_text(text: str, field: str) -> datetime:
    """The instant of its canonical text (``2026-03-29T01:00:00.000Z``). Raises InvalidInput for any other form."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput.of(field, f"{text!r} is not an instant") from None
    if instant.tzinfo is None or instant_text(instant) != text:
        raise InvalidInput.of(field, f"{text!r} is not an instant in UTC with milliseconds")
    return instant.astimezone(UTC)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
