"""What services say in sentences, in the language of the page: words/told.toml has the German of each. Pure.

Services speak English, with numbers in base units. A sentence that is known is told in the page's language, its numbers
and instants as people write them; one that is not stands as it was said, and says that it is English.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Final

from domain.errors import LichtbuchError
from domain.night import instant_from_unix_ms
from services.admin.formats import Formats
from services.admin.texts import WORDS

FOREIGN: Final = "en"
"""Language of the services."""
_SAID, _WRITTEN = "en", "de"
_PLACE: Final = re.compile(r"\{(\w+)\}")
_NUMBER, _UNIX_MS, _INSTANT = "n", "ms", "at"
_SHAPES: Final = {_NUMBER: r"-?\d+", _UNIX_MS: r"-?\d{1,14}", _INSTANT: r"\d{4}-\d\d-\d\dT\d\d:\d\dZ"}
"""What stands at a place of a sentence, by the letters that its name begins with; else any text."""
LONGEST: Final = 2_000
Count = Callable[[int], str]
"""How a whole number of a sentence is written."""


@dataclass(frozen=True, slots=True)
class Told:
    """A sentence for the page. `language` is set where it is not that of the page."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class _Sentence:
    pattern: re.Pattern[str]
    texts: Mapping[str, str]


@cache
def _sentences() -> tuple[_Sentence, ...]:
    given = tomllib.loads((WORDS / "told.toml").read_text(encoding="utf-8"))["sentence"]
    return tuple(_Sentence(_pattern(each[_SAID]), each) for each in given)


def _pattern(said: str) -> re.Pattern[str]:
    parts = _PLACE.split(said)
    texts = [
        f"(?P<{part}>{_SHAPES.get(_kind(part), '.+?')})" if place % 2 else re.escape(part)
        for place, part in enumerate(parts)
    ]
    return re.compile("".join(texts), re.DOTALL)


def _kind(place: str) -> str:
    return place.rstrip("0123456789")


def told(formats: Formats, sentence: str, count: Count | None = None) -> Told:
    """A sentence, or several that semicolons part, as the page writes them. `count` writes its whole numbers where they
    are those of a counter, say, and not numbers of things."""
    write = count or formats.number
    if not sentence or len(sentence) > LONGEST:
        return Told(sentence, FOREIGN if sentence and formats.language != FOREIGN else "")
    whole = _one(formats, sentence, write)
    if whole is not None:
        return Told(whole)
    parts = [(_one(formats, part, write), part) for part in sentence.split("; ")]
    text = "; ".join(part if known is None else known for known, part in parts)
    is_foreign = formats.language != FOREIGN and any(known is None for known, _ in parts)
    return Told(text, FOREIGN if is_foreign else "")


def reasons(error: LichtbuchError) -> tuple[str, ...]:
    """What an error says is wrong, without the names of fields; its message where it blames none."""
    return tuple(violation.reason for violation in getattr(error, "violations", ())) or (error.message,)


def _one(formats: Formats, sentence: str, write: Count) -> str | None:
    for each in _sentences():
        found = each.pattern.fullmatch(sentence)
        if found:
            values = {place: _written(formats, place, value, write) for place, value in found.groupdict().items()}
            if "reason" in values:  # a sentence within the sentence
                values["reason"] = _one(formats, values["reason"], write) or values["reason"]
            return each.texts.get(formats.language, each.texts[_WRITTEN]).format(**values)
    return None


def _written(formats: Formats, place: str, value: str, write: Count) -> str:
    match _kind(place):
        case "n":
            return write(int(value))
        case "ms":
            return formats.zoned(instant_from_unix_ms(int(value)))
        case "at":
            return formats.zoned(datetime.strptime(value, "%Y-%m-%dT%H:%MZ").replace(tzinfo=UTC))
        case _:
            return value
