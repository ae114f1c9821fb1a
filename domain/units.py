"""Units of what meters and lamps report, and exact conversion into our base units. Not: how a device encodes a number.

Base units: Wh, W, litre, degree Celsius, second, lux, volt, ampere, hertz. Energy stays a counter of whole Wh; kW is
never taken for kWh: a unit of another kind is refused, by name.
"""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from fractions import Fraction
from typing import Final

from domain.errors import InvalidInput


class Quantity(Enum):
    """What is measured; the value is its base unit."""

    ENERGY = "Wh"
    POWER = "W"
    VOLUME = "L"
    TEMPERATURE = "°C"
    DURATION = "s"
    ILLUMINANCE = "lx"
    VOLTAGE = "V"
    CURRENT = "A"
    FREQUENCY = "Hz"


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: one of it is `factor` base units, and its zero lies `offset` base units above the base's zero."""

    symbol: str
    quantity: Quantity
    factor: Fraction
    offset: Fraction = Fraction(0)


def _units() -> dict[str, Unit]:
    table: list[tuple[str, Quantity, Fraction]] = [
        ("mWh", Quantity.ENERGY, Fraction(1, 1000)),
        ("Wh", Quantity.ENERGY, Fraction(1)),
        ("kWh", Quantity.ENERGY, Fraction(1000)),
        ("MWh", Quantity.ENERGY, Fraction(10**6)),
        ("GWh", Quantity.ENERGY, Fraction(10**9)),
        ("J", Quantity.ENERGY, Fraction(1, 3600)),
        ("kJ", Quantity.ENERGY, Fraction(1000, 3600)),
        ("MJ", Quantity.ENERGY, Fraction(10**6, 3600)),
        ("GJ", Quantity.ENERGY, Fraction(10**9, 3600)),
        ("mW", Quantity.POWER, Fraction(1, 1000)),
        ("W", Quantity.POWER, Fraction(1)),
        ("kW", Quantity.POWER, Fraction(1000)),
        ("MW", Quantity.POWER, Fraction(10**6)),
        ("mL", Quantity.VOLUME, Fraction(1, 1000)),
        ("L", Quantity.VOLUME, Fraction(1)),
        ("hL", Quantity.VOLUME, Fraction(100)),
        ("m3", Quantity.VOLUME, Fraction(1000)),
        ("s", Quantity.DURATION, Fraction(1)),
        ("min", Quantity.DURATION, Fraction(60)),
        ("h", Quantity.DURATION, Fraction(3600)),
        ("d", Quantity.DURATION, Fraction(86_400)),
        ("lx", Quantity.ILLUMINANCE, Fraction(1)),
        ("mV", Quantity.VOLTAGE, Fraction(1, 1000)),
        ("V", Quantity.VOLTAGE, Fraction(1)),
        ("kV", Quantity.VOLTAGE, Fraction(1000)),
        ("mA", Quantity.CURRENT, Fraction(1, 1000)),
        ("A", Quantity.CURRENT, Fraction(1)),
        ("kA", Quantity.CURRENT, Fraction(1000)),
        ("Hz", Quantity.FREQUENCY, Fraction(1)),
    ]
    units = {symbol: Unit(symbol, quantity, factor) for symbol, quantity, factor in table}
    units["°C"] = Unit("°C", Quantity.TEMPERATURE, Fraction(1))
    units["K"] = Unit("K", Quantity.TEMPERATURE, Fraction(1), Fraction(-27315, 100))
    units["°F"] = Unit("°F", Quantity.TEMPERATURE, Fraction(5, 9), Fraction(-160, 9))
    return units


UNITS: Final = _units()

# As people and exports write them. Upper and lower case matter elsewhere: MW and mW differ by nine powers of ten.
_ALIASES: Final = {
    "wh": "Wh", "WH": "Wh", "kwh": "kWh", "KWh": "kWh", "KWH": "kWh", "kWH": "kWh", "Kwh": "kWh",
    "MWH": "MWh", "Mwh": "MWh", "kw": "kW", "KW": "kW", "Kw": "kW", "w": "W",
    "l": "L", "ltr": "L", "litre": "L", "liter": "L", "Liter": "L", "ml": "mL", "hl": "hL",
    "m³": "m3", "m^3": "m3", "cbm": "m3", "degC": "°C", "degF": "°F", "sec": "s", "lux": "lx",
}  # fmt: skip


def unit(symbol: str, quantity: Quantity | None = None, field: str = "unit") -> Unit:
    """The unit that a symbol stands for; `quantity` demands one kind. Raises InvalidInput that blames `field`."""
    text = symbol.strip()
    found = UNITS.get(_ALIASES.get(text, text))
    if found is None:
        raise InvalidInput.of(field, f"{symbol!r} is not a unit known here")
    if quantity is not None and found.quantity is not quantity:
        raise InvalidInput.of(
            field,
            f"{found.symbol} measures {found.quantity.name.lower()}, {quantity.name.lower()} in "
            f"{quantity.value} or its like is needed",
        )
    return found


def to_base(value: int | Decimal | float, source: Unit, field: str = "value") -> Fraction:
    """A value in the base unit of its quantity, exactly. A float counts as the decimal number it prints as."""
    return _fraction(value, field) * source.factor + source.offset


def to_base_integer(value: int | Decimal | float, source: Unit, field: str = "value") -> int:
    """A value in whole base units, halves rounded away from zero: for counters. Raises InvalidInput."""
    exact = to_base(value, source, field)
    magnitude = (abs(exact.numerator) * 2 + exact.denominator) // (2 * exact.denominator)
    return magnitude if exact >= 0 else -magnitude


def to_wh(value: int | Decimal | float, symbol: str, field: str = "value") -> int:
    """An energy in whole Wh. Raises InvalidInput for what is no unit of energy, kW above all."""
    return to_base_integer(value, unit(symbol, Quantity.ENERGY), field)


def convert(value: int | Decimal | float, source: Unit, target: Unit, field: str = "value") -> Fraction:
    """A value in another unit of the same quantity, exactly. Raises InvalidInput if the quantities differ."""
    if source.quantity is not target.quantity:
        raise InvalidInput.of(
            field,
            f"{source.symbol} measures {source.quantity.name.lower()}, {target.symbol} {target.quantity.name.lower()}",
        )
    return (to_base(value, source, field) - target.offset) / target.factor


def rounded(value: Fraction, places: int) -> Decimal:
    """A fraction as a decimal number with so many places, halves rounded away from zero: for display."""
    scaled = value * 10**places
    whole = (abs(scaled.numerator) * 2 + scaled.denominator) // (2 * scaled.denominator)
    return Decimal(whole if scaled >= 0 else -whole).scaleb(-places)


_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)
_WITH_UNIT = re.compile(r"\s*([+-]?[0-9.,'\s]*[0-9.,])\s*([^\d\s.,+-].*?)\s*")


def parse_number(text: str, *, decimal_comma: bool = False, field: str = "value") -> Decimal:
    """A number as it stands in a table. `decimal_comma` says which sign is which; it is never guessed.

    With it ``1.234,5`` is 1234.5, without it ``1,234.5`` is. Raises InvalidInput.
    """
    group, point = (".", ",") if decimal_comma else (",", ".")
    plain = text.strip().replace("\u00a0", "").replace("\u202f", "").replace("'", "")
    whole, _, fraction = plain.partition(point)
    if group in fraction or (
        group in whole and not re.fullmatch(rf"[+-]?\d{{1,3}}({re.escape(group)}\d{{3}})+", whole)
    ):
        raise InvalidInput.of(field, f"{text!r} is not a number with a decimal {'comma' if decimal_comma else 'point'}")
    normal = whole.replace(group, "") + ("." + fraction if fraction else "")
    if not _NUMBER.fullmatch(normal):
        raise InvalidInput.of(field, f"{text!r} is not a number")
    return Decimal(normal)


def parse_quantity(text: str, quantity: Quantity, *, decimal_comma: bool = False, field: str = "value") -> Fraction:
    """A number with its unit, ``12.5 kWh``, in base units, exactly. Raises InvalidInput: a bare number has no unit."""
    match = _WITH_UNIT.fullmatch(text)
    if match is None:
        raise InvalidInput.of(field, f"{text!r} is not a number with a unit")
    number = parse_number(match[1], decimal_comma=decimal_comma, field=field)
    return to_base(number, unit(match[2], quantity, field), field)


def decimal_wh_to_kwh(energy_wh: int) -> Decimal:
    """Whole Wh as kWh with three places: for display."""
    return Decimal(energy_wh).scaleb(-3)


def _fraction(value: int | Decimal | float, field: str) -> Fraction:
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        raise InvalidInput.of(field, f"{value!r} is not a number") from None
    if not number.is_finite():
        raise InvalidInput.of(field, f"{value} is not a finite number")
    return Fraction(number)
