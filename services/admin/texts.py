"""The words of the page in the language that somebody wants. The words themselves are data: words/de.toml, en.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

LANGUAGES: Final = ("de", "en")
DEFAULT_LANGUAGE: Final = "de"
"""For browsers that want neither: the towns are German."""

WORDS: Final = Path(__file__).parent / "words"


@cache
def words(language: str) -> Mapping[str, str]:
    """All words of a language by key."""
    found: dict[str, str] = tomllib.loads((WORDS / f"{language}.toml").read_text(encoding="utf-8"))
    return found


class Texts:
    """The words of one language."""

    def __init__(self, language: str) -> None:
        self.language = language if language in LANGUAGES else DEFAULT_LANGUAGE
        self._words = words(self.language)

    def __call__(self, key: str, **values: object) -> str:
        """A text with its values put in. Raises KeyError for a text that there is not."""
        text = self._words[key]
        return text.format(**values) if values else text

    @property
    def other(self) -> str:
        """The other language."""
        return next(language for language in LANGUAGES if language != self.language)


def choose_language(accept_language: str, chosen: str = "") -> str:
    """The language somebody wants: what they chose, else what the browser prefers (RFC 9110, section 12.5.4)."""
    if chosen in LANGUAGES:
        return chosen
    weighted: list[tuple[float, str]] = []
    for item in accept_language.split(",")[:20]:
        tag, _, weight = item.strip().partition(";q=")
        try:
            weighted.append((float(weight) if weight else 1.0, tag.split("-")[0].lower()))
        except ValueError:
            continue
    for importance, tag in sorted(weighted, key=lambda pair: -pair[0]):
        if tag in LANGUAGES and importance > 0:
            return tag
    return DEFAULT_LANGUAGE
