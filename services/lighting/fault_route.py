"""The order in which a fitter drives: street after street, along each by the numbers on the poles. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

LONGEST: Final = 300
_NUMBER: Final = re.compile(r"\d+")
_DIGITS: Final = 9
_LAST: Final = "\U0010ffff"
_PARTS: Final = 140


def route_of(street: str, pole: str, identifier: str) -> str:
    """A text that sorts by street, then pole, then id, by code point: numbers as numbers, umlauts with their vowels.

    What has no street comes last.
    """
    parts = (_key(street) or _LAST, _key(pole), _key(identifier))
    return "\t".join(part[:_PARTS] for part in parts)[:LONGEST]


def _key(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text.strip().casefold())
    plain = "".join(c for c in folded if not unicodedata.combining(c) and c.isprintable())
    return _NUMBER.sub(lambda number: number.group().lstrip("0").zfill(_DIGITS)[-64:], plain)
