"""Which characters no text of people needs."""

import pytest

from domain.texts import control_character


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Käserei, 2. Stock\n– neben der Post\t€", ""), ("a\x00b", "U+0000"), ("\x1b[2J", "U+001B"),
        ("x\x7f", "U+007F"), ("\x9b31m", "U+009B"), ("", ""),
    ],
)  # fmt: skip
def test_the_first_control_character_is_named(text: str, found: str) -> None:
    assert control_character(text) == found
