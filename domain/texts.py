"""Texts that people give: which characters no text of theirs needs. Not how texts are shown (whoever shows them)."""

from __future__ import annotations

import re
from typing import Final

_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def control_character(text: str) -> str:
    """The first control character of a text as "U+0007", or "" where it holds none.

    Tab and line breaks are no such characters: reasons and notes may have several lines. PostgreSQL takes no U+0000 in
    a text at all, and terminals obey the others.
    """
    found = _CONTROL.search(text)
    return f"U+{ord(found.group()):04X}" if found else ""
