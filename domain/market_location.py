"""Ids of market and metering locations (MaLo, MeLo): well formed, one way of writing. Not: who has which.

A market location is what is balanced and billed, a metering location is where is measured. Both came on 2018-02-01 by
the Bundesnetzagentur (BK6-16-200, BK7-16-142). The form of the MaLo id and its check digit are those of the BDEW
Anwendungshilfe "Marktlokations-Identifikationsnummer", version 1.0 of 2017-04-28, page 7; the MeLo id keeps the form of
the older Zählpunktbezeichnung of the Metering Code (VDE-AR-N 4400).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from domain.errors import InvalidInput

MALO_DIGITS: Final = 11
MELO_CHARACTERS: Final = 33

_SEPARATORS: Final = re.compile(r"[\s.\-\u2010-\u2015\u00a0]")
"""What people and printers put between the parts: spaces, dots, hyphens and dashes."""

_LONGEST_SHOWN: Final = 60


class Issuer(Enum):
    """Who gave out a market location's number, by its first digit."""

    DVGW = "DVGW"
    BDEW = "BDEW"


@dataclass(frozen=True, slots=True)
class MeteringLocation:
    """The parts of a metering location's id."""

    operator: str
    """Six digits of the network operator that gave it."""
    zone: str
    """Five digits: the postcode when the id was given, 00000 where none was. It never changes afterwards."""
    point: str
    """Twenty letters and digits, the operator's own."""

    def __str__(self) -> str:
        return f"DE{self.operator}{self.zone}{self.point}"


def check_digit(digits: str) -> int:
    """Check digit of the first ten digits of a MaLo id.

    Digits at odd places (from 1) count once, those at even places twice, as numbers and not by their digits, which is
    what tells this rule from Luhn's; the check digit fills the sum up to the next ten. Raises InvalidInput.
    """
    if len(digits) != MALO_DIGITS - 1 or not _only_digits(digits):
        raise InvalidInput.of("digits", f"{MALO_DIGITS - 1} digits are needed")
    numbers = [int(digit) for digit in digits]
    return -(sum(numbers[0::2]) + 2 * sum(numbers[1::2])) % 10


def market_location_id(text: str, field: str = "market_location") -> str:
    """The MaLo id of a text: eleven digits. Separators go; what else is wrong raises InvalidInput that says what."""
    plain = _plain(text)
    if len(plain) == MELO_CHARACTERS and plain.startswith("DE"):
        raise InvalidInput.of(field, "that is the id of a metering location (MeLo); a market location has 11 digits")
    if not plain:
        raise InvalidInput.of(field, "the id of a market location is needed: 11 digits")
    odd = next((character for character in plain if not _only_digits(character)), "")
    if odd:
        raise InvalidInput.of(field, f"{_shown(text)} holds {odd!r}: a market location's id has digits only")
    if len(plain) != MALO_DIGITS:
        raise InvalidInput.of(field, f"{_shown(text)} has {len(plain)} digits, a market location's id has 11")
    if plain[0] == "0":
        raise InvalidInput.of(field, f"{_shown(text)} begins with 0: the first digit is 1 to 9")
    expected = check_digit(plain[:-1])
    if int(plain[-1]) != expected:
        raise InvalidInput.of(
            field, f"the check digit of {_shown(text)} is {plain[-1]}, and {expected} by the others: a digit is wrong"
        )
    return plain


def issuer_of(market_location: str) -> Issuer:
    """Who gave the number out: 1 to 3 the DVGW, 4 to 9 the BDEW. Raises InvalidInput for what is no MaLo id."""
    return Issuer.DVGW if market_location_id(market_location)[0] in "123" else Issuer.BDEW


def metering_location(text: str, field: str = "metering_location") -> MeteringLocation:
    """The parts of the MeLo id of a text; separators and case do not matter. Raises InvalidInput that says what is
    wrong."""
    plain = _plain(text)
    if not plain:
        raise InvalidInput.of(field, "the id of a metering location is needed: DE and 31 more characters")
    if len(plain) == MALO_DIGITS and _only_digits(plain):
        raise InvalidInput.of(field, "that is the id of a market location (MaLo); a metering location begins with DE")
    odd = next((one for one in plain if not (one.isascii() and one.isalnum())), "")
    if odd:
        raise InvalidInput.of(field, f"{_shown(text)} holds {odd!r}: letters A to Z and digits only")
    if len(plain) != MELO_CHARACTERS:
        raise InvalidInput.of(field, f"{_shown(text)} has {len(plain)} characters, a metering location's id has 33")
    if not plain.startswith("DE"):
        raise InvalidInput.of(field, f"it begins with {plain[:2]}; only metering locations of Germany (DE) are known")
    operator, zone, point = plain[2:8], plain[8:13], plain[13:]
    if not _only_digits(operator):
        raise InvalidInput.of(field, f"characters 3 to 8 name the network operator and are digits, not {operator}")
    if not _only_digits(zone):
        raise InvalidInput.of(field, f"characters 9 to 13 are a postcode and are digits, not {zone}")
    return MeteringLocation(operator, zone, point)


def metering_location_id(text: str, field: str = "metering_location") -> str:
    """The MeLo id of a text: 33 characters, capitals, nothing between. Raises InvalidInput."""
    return str(metering_location(text, field))


def _plain(text: str) -> str:
    return _SEPARATORS.sub("", text).upper()


def _only_digits(text: str) -> bool:
    # str.isdigit also takes digits of other scripts, and superscripts.
    return bool(text) and text.isascii() and text.isdigit()


def _shown(text: str) -> str:
    stripped = text.strip()
    return stripped if len(stripped) <= _LONGEST_SHOWN else f"{stripped[:_LONGEST_SHOWN]}..."
