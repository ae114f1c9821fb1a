"""What a meter counts, as people read it and type it: counters, amounts, powers, values of sensors. Pure.

Values of the contract are whole numbers of 10^scale_exponent of a unit; amounts are whole units. Not here: words, and
how a language writes numbers (formats.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from lichtbuch.metering.v1 import metering_pb2
from services.admin.formats import Formats

THOUSANDS: Final = (metering_pb2.UNIT_WH, metering_pb2.UNIT_VARH, metering_pb2.UNIT_L)
_LITRES: Final = (metering_pb2.MEDIUM_OIL,)
"""Media that people count in litres; water, gas and what flows through heat meters they count in cubic metres."""
_PLAIN: Final = {
    metering_pb2.UNIT_KG: "kg",
    metering_pb2.UNIT_CELSIUS: "°C",
    metering_pb2.UNIT_LX: "lx",
    metering_pb2.UNIT_DBA: "dB(A)",
    metering_pb2.UNIT_COUNT: "",
    metering_pb2.UNIT_PERCENT: "%",
    metering_pb2.UNIT_W: "W",
}
_MOST_DIGITS: Final = 6
_LARGE: Final = 10_000
_MOST_VALUE: Final = 2**63


@dataclass(frozen=True, slots=True)
class Scale:
    """How a unit is shown: so many base units make one of what `symbol` names."""

    symbol: str
    size: int = 1

    def of(self, base: int | Decimal) -> Decimal:
        """Base units in this one."""
        return Decimal(base) / self.size


def scale_of(unit: int, medium: int = 0) -> Scale:
    """What a counter of a unit is usually shown in."""
    if unit == metering_pb2.UNIT_WH:
        return Scale("kWh", 1000)
    if unit == metering_pb2.UNIT_VARH:
        return Scale("kvarh", 1000)
    if unit == metering_pb2.UNIT_L:
        return Scale("l") if medium in _LITRES else Scale("m³", 1000)
    return Scale(_PLAIN.get(metering_pb2.Unit.ValueType(unit), ""))


def faces_of(unit: int, medium: int = 0) -> tuple[Scale, ...]:
    """What may be written beside the figures on a meter, the usual one first."""
    if unit == metering_pb2.UNIT_WH:
        return (Scale("kWh", 1000), Scale("MWh", 1_000_000))
    if unit == metering_pb2.UNIT_L:
        both = (Scale("m³", 1000), Scale("l"))
        return both[::-1] if medium in _LITRES else both
    return (scale_of(unit, medium),)


def load_scale(unit: int, medium: int = 0) -> Scale:
    """What a mean power is shown in: base units per hour."""
    if unit == metering_pb2.UNIT_WH:
        return Scale("kW", 1000)
    if unit == metering_pb2.UNIT_VARH:
        return Scale("kvar", 1000)
    if unit == metering_pb2.UNIT_L:
        return Scale("l/h") if medium != metering_pb2.MEDIUM_GAS else Scale("m³/h", 1000)
    symbol = scale_of(unit, medium).symbol
    return Scale(f"{symbol}/h" if symbol else "1/h")


def base_units(value: int, scale_exponent: int) -> Decimal:
    """A stored value in whole units."""
    return Decimal(value).scaleb(scale_exponent)


def counter_text(
    formats: Formats, value: int, unit: int, scale_exponent: int = 0, medium: int = 0, *, in_columns: bool = False
) -> str:
    """What a counter stands at, to its last digit but at most a thousandth; in columns all have as many digits."""
    scale = scale_of(unit, medium)
    digits = min(3, digits_of(scale, scale_exponent))
    shown = scale.of(base_units(value, scale_exponent))
    kept = digits if in_columns else max(1 if scale.size > 1 else 0, _needed(shown, digits))
    return _with(formats.number(shown, kept), scale.symbol)


def amount_text(formats: Formats, amount: int | Decimal, unit: int, medium: int = 0, scale_exponent: int = 0) -> str:
    """An amount, with as many digits as are of use; large ones in the next larger unit."""
    scale = scale_of(unit, medium)
    base = Decimal(amount).scaleb(scale_exponent)
    shown, symbol = scale.of(base), scale.symbol
    larger = {"kWh": "MWh", "kvarh": "Mvarh", "kg": "t"}.get(symbol)
    if larger and abs(shown) >= _LARGE:
        shown, symbol = shown / 1000, larger
    whole = scale.size == 1 and symbol == scale.symbol and scale_exponent >= 0
    digits = 0 if whole or abs(shown) >= 1000 else 1 if abs(shown) >= 10 else 2
    return _with(formats.number(shown, digits), symbol)


def load_text(formats: Formats, per_hour: int, unit: int, medium: int = 0) -> str:
    """A mean power."""
    scale = load_scale(unit, medium)
    shown = scale.of(per_hour)
    digits = 0 if scale.size == 1 or abs(shown) >= 1000 else 1 if abs(shown) >= 10 else 2
    return _with(formats.number(shown, digits), scale.symbol)


def value_text(formats: Formats, value: int, unit: int, scale_exponent: int = 0, medium: int = 0) -> str:
    """What a sensor says, or what lies in a store."""
    scale = scale_of(unit, medium)
    digits = min(2, digits_of(scale, scale_exponent)) if scale.size == 1 else 1
    return _with(formats.number(scale.of(base_units(value, scale_exponent)), digits), scale.symbol)


def digits_of(scale: Scale, scale_exponent: int) -> int:
    """How many decimals a stored value can have when it is shown in a scale."""
    return max(0, len(str(scale.size)) - 1 - scale_exponent)


def digits_before(rollover: int, ratio: int, scale: Scale, scale_exponent: int) -> int:
    """How many digits a register has before its comma; 0 where that is not known."""
    if rollover <= 0:
        return 0
    largest = scale.of(base_units(rollover // max(1, ratio), scale_exponent))
    return len(str(int(largest - 1))) if largest > 1 else 0


def parsed(text: str, language: str) -> Decimal | None:
    """A number as somebody typed it: with a decimal comma or a point, and marks between thousands. None if it is none.

    A single mark is the decimal one in German if it is a comma, in English if it is a point; the other mark stands
    between thousands only where three digits follow it, else it is taken for the decimal one: no phone asks first.
    """
    plain = text.strip().replace("\u00a0", "").replace("\u202f", "").replace(" ", "").replace("−", "-")
    point, mark = (",", ".") if language == "de" else (".", ",")
    whole, found, part = plain.partition(point)
    if found:
        if mark in part or point in part:
            return None
        groups = whole.split(mark)
    else:
        groups, part = plain.split(mark), ""
        if len(groups) == 2 and len(groups[1]) != 3:
            groups, part = groups[:1], groups[1]
    if len(groups) > 1 and not (1 <= len(groups[0].lstrip("-")) <= 3 and all(len(each) == 3 for each in groups[1:])):
        return None
    digits = "".join(groups)
    if not (digits.lstrip("-") + part).isascii() or not (digits.lstrip("-") + part).isdigit():
        return None
    try:
        return Decimal(f"{digits or '0'}.{part or '0'}")
    except InvalidOperation:
        return None


def stored_value(shown: Decimal, scale: Scale, scale_exponent: int, ratio: int = 1) -> int | None:
    """The contract's value of what stands on a meter; None where it has more decimals than can be stored."""
    value = (shown * scale.size * max(1, ratio)).scaleb(-scale_exponent)
    if value != value.to_integral_value() or abs(value) >= _MOST_VALUE:
        return None
    return int(value)


def on_face(value: int, scale: Scale, scale_exponent: int, ratio: int = 1) -> Decimal:
    """What stands on the meter itself when a value is stored: without the transformer ratio."""
    return scale.of(base_units(value, scale_exponent)) / max(1, ratio)


def _needed(number: Decimal, most: int) -> int:
    """Decimals that are not zero, at most so many."""
    rounded = number.quantize(Decimal(1).scaleb(-most)).normalize()
    exponent = rounded.as_tuple().exponent
    return min(most, max(0, -exponent)) if isinstance(exponent, int) else 0


def _with(number: str, symbol: str) -> str:
    return f"{number} {symbol}" if symbol else number
