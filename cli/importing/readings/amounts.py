"""Numbers and units of readings: exact, from what people write to whole units of a meter.

Pure. A power becomes the energy of its interval, a flow the volume; nothing else is converted into another kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

from domain.errors import InvalidInput

_HOUR: Final = Decimal(3600)
AMOUNTS: Final[Mapping[str, tuple[str, Decimal]]] = {
    "wh": ("WH", Decimal(1)),
    "kwh": ("WH", Decimal(1000)),
    "mwh": ("WH", Decimal(10**6)),
    "gwh": ("WH", Decimal(10**9)),
    "mj": ("WH", Decimal(10**6) / _HOUR),
    "gj": ("WH", Decimal(10**9) / _HOUR),
    "l": ("L", Decimal(1)),
    "ltr": ("L", Decimal(1)),
    "hl": ("L", Decimal(100)),
    "m3": ("L", Decimal(1000)),
    "m³": ("L", Decimal(1000)),
    "cbm": ("L", Decimal(1000)),
    "mtq": ("L", Decimal(1000)),
    "kg": ("KG", Decimal(1)),
    "kgm": ("KG", Decimal(1)),
    "t": ("KG", Decimal(1000)),
    "°c": ("CELSIUS", Decimal(1)),
    "c": ("CELSIUS", Decimal(1)),
    "degc": ("CELSIUS", Decimal(1)),
    "celsius": ("CELSIUS", Decimal(1)),
    "varh": ("VARH", Decimal(1)),
    "kvarh": ("VARH", Decimal(1000)),
    "kvr": ("VARH", Decimal(1000)),
    "lx": ("LX", Decimal(1)),
    "lux": ("LX", Decimal(1)),
    "db": ("DBA", Decimal(1)),
    "dba": ("DBA", Decimal(1)),
    "db(a)": ("DBA", Decimal(1)),
    "%": ("PERCENT", Decimal(1)),
    "percent": ("PERCENT", Decimal(1)),
    "count": ("COUNT", Decimal(1)),
    "1": ("COUNT", Decimal(1)),
    "pcs": ("COUNT", Decimal(1)),
}
"""Base unit, and how many of it one of these is."""
RATES: Final[Mapping[str, tuple[str, Decimal]]] = {
    "w": ("WH", Decimal(1)),
    "kw": ("WH", Decimal(1000)),
    "kwt": ("WH", Decimal(1000)),
    "mw": ("WH", Decimal(10**6)),
    "l/h": ("L", Decimal(1)),
    "m3/h": ("L", Decimal(1000)),
    "m³/h": ("L", Decimal(1000)),
}
"""What flows: base unit, and how many of it an hour of one of these makes."""
_MILLI: Final[Mapping[str, tuple[str, Decimal]]] = {
    "mWh": ("WH", Decimal("0.001")),
    "mJ": ("WH", Decimal("0.001") / _HOUR),
    "mW": ("WH", Decimal("0.001")),
}
"""Written just so, a thousandth and no million: case tells nothing apart but this ("mwh" and "mw" are megas)."""
SYMBOLS: Final = {
    "WH": "Wh", "L": "l", "KG": "kg", "CELSIUS": "°C", "LX": "lx", "DBA": "dB(A)", "COUNT": "count", "PERCENT": "%",
    "VARH": "varh", "W": "W",
}  # fmt: skip
"""Each unit of the contract as exports write it and imports read it."""
_BEHIND: Final = re.compile(r"[\[(]([^\[\]()]+|dB\(A\))[\])]\s*$|[ _.]([^\s_.\[\]()]+)$")


class Unit:
    """A unit as a file says it. Raises InvalidInput for one that nobody knows."""

    def __init__(self, text: str, field: str = "unit") -> None:
        plain = text.strip().casefold()
        found = _MILLI.get(text.strip()) or AMOUNTS.get(plain) or RATES.get(plain)
        if found is None:
            raise InvalidInput.of(
                field, f"{text!r} is none of Wh, kWh, MWh, MJ, kvarh, l, m3, kg, t, °C, lx, dB, %, count, W, kW"
            )
        self.text = text.strip()
        self.base, self.factor = found
        self.is_rate = plain in RATES

    def fits(self, base: str) -> bool:
        """Whether values in this unit can be turned into a meter's: the same, or what flows into an amount."""
        return base == self.base or (base == "W" and self.is_rate and self.base == "WH")

    def multiplier(self, base: str, scale_exponent: int, seconds: int | None) -> Decimal:
        """What a value of a file is multiplied with to count 10^scale_exponent of a meter's unit `base`.

        `seconds` is the interval that a rate held for. Raises ValueError with the reason where nothing is right.
        """
        if not self.fits(base):
            raise ValueError(f"is in {self.text}, the meter counts {SYMBOLS.get(base, base)}")
        factor = self.factor
        if self.is_rate and base != "W":
            if seconds is None:
                raise ValueError(f"is in {self.text}: an amount only over an interval of known length")
            factor = factor * seconds / _HOUR
        return factor.scaleb(-scale_exponent)


def unit_in(column: str) -> str:
    """The unit that a column's name ends in: "kWh", "energy [kWh]", "energy_heat_kwh"; empty where there is none."""
    plain = column.strip()
    if plain.casefold() in AMOUNTS or plain.casefold() in RATES:
        return "" if plain.isdigit() else plain
    match = _BEHIND.search(plain)
    text = (match.group(1) or match.group(2) or "").strip() if match else ""
    known = text.casefold() in AMOUNTS or text.casefold() in RATES
    # "phase_c" is no temperature, "share_1" no count: a letter or digit counts only between brackets.
    return text if known and (len(text) > 1 or (match is not None and match.group(1))) else ""


class Numbers:
    """Numbers with one decimal sign; the other one, spaces and apostrophes part thousands.

    Without a sign the first number that has one tells.
    """

    def __init__(self, decimal: str) -> None:
        if decimal not in (".", ",", ""):
            raise InvalidInput.of("decimal", f"{decimal!r} is neither a point nor a comma")
        self._is_open = not decimal
        self._use(decimal or ".")

    def _use(self, decimal: str) -> None:
        self.decimal = decimal
        other = "." if decimal == "," else ","
        self._grouped = re.compile(rf"[+-]?\d{{1,3}}(?:[{other} '\u00a0\u202f]\d{{3}})+(?:[{decimal}]\d*)?")

    def parse(self, text: str) -> Decimal:
        """A number. Raises ValueError with the reason."""
        plain = text
        if self._is_open and ("," in plain or "." in plain):
            self._is_open = False
            self._use(sniff_decimal([plain]) or ".")
        if self.decimal == "," or not plain.isascii() or not plain.replace(".", "", 1).isdigit():
            if self._grouped.fullmatch(plain):
                for sign in (" ", "'", "\u00a0", "\u202f", "." if self.decimal == "," else ","):
                    plain = plain.replace(sign, "")
            if self.decimal == ",":
                if "." in plain:
                    raise ValueError("is no number with a decimal comma, as the file has them")
                plain = plain.replace(",", ".")
            elif "," in plain:
                raise ValueError("is no number with a decimal point, as the file has them")
        try:
            number = Decimal(plain)
        except InvalidOperation:
            raise ValueError("is no number") from None
        if not number.is_finite() or "_" in plain:
            raise ValueError("is no number")
        if number and not -20 < number.adjusted() < 20:
            raise ValueError("is larger or smaller than any reading")
        return number


def sniff_decimal(texts: Iterable[str]) -> str:
    """The decimal sign of numbers: the last sign of one that has both, else a comma where there is any, else a point.

    Empty where none has a sign.
    """
    commas = points = 0
    for text in texts:
        plain = text.strip()
        comma, point = plain.rfind(","), plain.rfind(".")
        if comma >= 0 and point >= 0:
            return "," if comma > point else "."
        if plain.count(".") > 1:
            return ","
        if plain.count(",") > 1:
            return "."
        commas += comma >= 0
        points += point >= 0
    return "," if commas else "." if points else ""
