"""OBIS codes: what a register of a meter counts, as it stands on meters, bills and in files. Not: values and units.

A code names six value groups, A-B:C.D.E*F: medium, channel, measured quantity, type of value, tariff, stored period.
Groups and their numbers follow IEC 62056-61 (since 2013 IEC 62056-6-1) for electricity and EN 13757-1 for heat,
cooling, gas and water; German use of them follows the code list of EDI@Energy and DVGW G 685.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

from domain.errors import InvalidInput

NOT_STORED: Final = 255
"""Group F of a value of now; 0 to 99 name values kept at the end of a billing period."""

TARIFF_MAX: Final = 63


class ObisMedium(IntEnum):
    """Group A: what is measured. The numbers are those of the standards."""

    ABSTRACT = 0
    ELECTRICITY = 1
    HEAT_COST_ALLOCATOR = 4
    COOLING = 5
    HEAT = 6
    GAS = 7
    COLD_WATER = 8
    HOT_WATER = 9
    OTHER = 15


class ObisQuantity(Enum):
    """What group C names, as far as meters of towns have it."""

    ACTIVE = "active energy or power"
    REACTIVE = "reactive energy or power"
    APPARENT = "apparent energy or power"
    VOLTAGE = "voltage"
    CURRENT = "current"
    POWER_FACTOR = "power factor"
    FREQUENCY = "frequency"
    ENERGY = "heat or cold"
    VOLUME = "volume"
    MASS = "mass"
    POWER = "thermal power"
    FLOW_RATE = "flow rate"
    FLOW_TEMPERATURE = "flow temperature"
    RETURN_TEMPERATURE = "return temperature"
    TEMPERATURE_DIFFERENCE = "temperature difference"
    PRESSURE = "pressure"
    STATE_NUMBER = "state number"
    CALORIFIC_VALUE = "calorific value"
    UNKNOWN = "not known here"


class Direction(Enum):
    """Which way energy flows, seen from the site: what it takes is imported."""

    IMPORT = "import"
    EXPORT = "export"
    BOTH = "both"
    NONE = "none"
    """The quantity has no direction."""


class ValueKind(Enum):
    """What group D makes of the quantity."""

    COUNTER = "counter"
    INTERVAL = "interval"
    """The amount, or the mean power, of one recording interval: a load profile."""
    INSTANT = "instantaneous"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    STORED = "stored"
    """A counter as it stood at a due date."""
    OTHER = "other"


_ELECTRIC: Final[dict[int, tuple[ObisQuantity, Direction]]] = {
    1: (ObisQuantity.ACTIVE, Direction.IMPORT),
    2: (ObisQuantity.ACTIVE, Direction.EXPORT),
    3: (ObisQuantity.REACTIVE, Direction.IMPORT),
    4: (ObisQuantity.REACTIVE, Direction.EXPORT),
    # Quadrants: active energy is imported in I and IV, exported in II and III.
    5: (ObisQuantity.REACTIVE, Direction.IMPORT),
    6: (ObisQuantity.REACTIVE, Direction.EXPORT),
    7: (ObisQuantity.REACTIVE, Direction.EXPORT),
    8: (ObisQuantity.REACTIVE, Direction.IMPORT),
    9: (ObisQuantity.APPARENT, Direction.IMPORT),
    10: (ObisQuantity.APPARENT, Direction.EXPORT),
    11: (ObisQuantity.CURRENT, Direction.NONE),
    12: (ObisQuantity.VOLTAGE, Direction.NONE),
    13: (ObisQuantity.POWER_FACTOR, Direction.NONE),
    14: (ObisQuantity.FREQUENCY, Direction.NONE),
    15: (ObisQuantity.ACTIVE, Direction.BOTH),
    16: (ObisQuantity.ACTIVE, Direction.BOTH),
}
_PHASES: Final = (20, 40, 60)
"""Group C of the phases L1, L2 and L3 is that of their sum, and this."""

_ELECTRIC_KINDS: Final = {
    3: ValueKind.MINIMUM,
    5: ValueKind.INTERVAL,
    6: ValueKind.MAXIMUM,
    7: ValueKind.INSTANT,
    8: ValueKind.COUNTER,
    9: ValueKind.INTERVAL,
    29: ValueKind.INTERVAL,
}

_HEAT: Final = {
    1: ObisQuantity.ENERGY,
    2: ObisQuantity.VOLUME,
    3: ObisQuantity.MASS,
    4: ObisQuantity.VOLUME,
    5: ObisQuantity.MASS,
    6: ObisQuantity.VOLUME,
    7: ObisQuantity.MASS,
    8: ObisQuantity.POWER,
    9: ObisQuantity.FLOW_RATE,
    10: ObisQuantity.FLOW_TEMPERATURE,
    11: ObisQuantity.RETURN_TEMPERATURE,
    12: ObisQuantity.TEMPERATURE_DIFFERENCE,
    13: ObisQuantity.PRESSURE,
}
_WATER: Final = {1: ObisQuantity.VOLUME, 2: ObisQuantity.FLOW_RATE, 3: ObisQuantity.FLOW_TEMPERATURE}
_GAS: Final = {
    1: ObisQuantity.VOLUME,
    2: ObisQuantity.VOLUME,
    3: ObisQuantity.VOLUME,
    11: ObisQuantity.VOLUME,
    12: ObisQuantity.VOLUME,
    13: ObisQuantity.VOLUME,
    33: ObisQuantity.ENERGY,
    42: ObisQuantity.PRESSURE,
    52: ObisQuantity.STATE_NUMBER,
    54: ObisQuantity.CALORIFIC_VALUE,
}
_SINGLE_KINDS: Final = {
    0: ValueKind.COUNTER,
    2: ValueKind.STORED,
    3: ValueKind.STORED,
    4: ValueKind.MINIMUM,
    5: ValueKind.MAXIMUM,
}
"""Group D of heat, cooling and water."""

_COUNTED: Final = frozenset({ObisQuantity.ENERGY, ObisQuantity.VOLUME, ObisQuantity.MASS})
_GAS_COUNTERS: Final = frozenset({0, 1, 2})
"""Group D of a gas volume: as metered, corrected for the meter's own error, at base conditions."""
_AT_BASE_CONDITIONS: Final = 2


@dataclass(frozen=True, slots=True)
class ObisCode:
    """One code. Two spellings of a code are equal."""

    medium: ObisMedium
    channel: int
    quantity_code: int
    """Group C."""
    kind_code: int
    """Group D."""
    tariff: int
    """Group E: 0 is the total, 1 to 63 the tariffs, for counters and maxima; something else for other values."""
    stored: int = NOT_STORED
    """Group F."""

    def __str__(self) -> str:
        tail = "" if self.stored == NOT_STORED else f"*{self.stored}"
        return f"{int(self.medium)}-{self.channel}:{self.short}{tail}"

    @property
    def short(self) -> str:
        """Groups C, D and E as they stand on a meter's display."""
        return f"{self.quantity_code}.{self.kind_code}.{self.tariff}"

    @property
    def quantity(self) -> ObisQuantity:
        """What is measured."""
        if self.medium is ObisMedium.ELECTRICITY:
            return self._electric()[0]
        table = _QUANTITIES.get(self.medium, {})
        return table.get(self.quantity_code, ObisQuantity.UNKNOWN)

    @property
    def direction(self) -> Direction:
        """Which way it flows. Heat, gas and water come in: a site that gives them out has a meter that says so."""
        if self.medium is ObisMedium.ELECTRICITY:
            return self._electric()[1]
        return Direction.IMPORT if self.quantity in _COUNTED else Direction.NONE

    @property
    def kind(self) -> ValueKind:
        """Whether the register counts, tells an interval, a moment, or an extreme."""
        if self.medium is ObisMedium.ELECTRICITY:
            return _ELECTRIC_KINDS.get(self.kind_code, ValueKind.OTHER)
        if self.medium is ObisMedium.GAS:
            counts = self.quantity in _COUNTED and self.kind_code in _GAS_COUNTERS
            return ValueKind.COUNTER if counts else ValueKind.OTHER
        kind = _SINGLE_KINDS.get(self.kind_code, ValueKind.OTHER) if self.medium in _QUANTITIES else ValueKind.OTHER
        return ValueKind.INSTANT if kind is ValueKind.COUNTER and self.quantity not in _COUNTED else kind

    @property
    def is_import(self) -> bool:
        """The site takes it."""
        return self.direction is Direction.IMPORT

    @property
    def is_export(self) -> bool:
        """The site gives it out."""
        return self.direction is Direction.EXPORT

    @property
    def is_counter(self) -> bool:
        """The register only counts up."""
        return self.kind is ValueKind.COUNTER

    @property
    def is_instantaneous(self) -> bool:
        """The value holds for a moment."""
        return self.kind is ValueKind.INSTANT

    @property
    def is_at_base_conditions(self) -> bool:
        """A gas volume that a converter has brought to 0 °C and 1013.25 mbar: its state number is 1."""
        is_volume = self.medium is ObisMedium.GAS and self.quantity is ObisQuantity.VOLUME
        return is_volume and self.kind_code == _AT_BASE_CONDITIONS

    @property
    def total(self) -> ObisCode:
        """The register that all tariffs of this one add up to."""
        return ObisCode(self.medium, self.channel, self.quantity_code, self.kind_code, 0, self.stored)

    def _electric(self) -> tuple[ObisQuantity, Direction]:
        code = self.quantity_code
        offset = next((phase for phase in _PHASES if phase < code <= phase + 16), 0)
        return _ELECTRIC.get(code - offset, (ObisQuantity.UNKNOWN, Direction.NONE))


_QUANTITIES: Final[dict[ObisMedium, dict[int, ObisQuantity]]] = {
    ObisMedium.HEAT: _HEAT,
    ObisMedium.COOLING: _HEAT,
    ObisMedium.GAS: _GAS,
    ObisMedium.COLD_WATER: _WATER,
    ObisMedium.HOT_WATER: _WATER,
}

_WRITTEN: Final = re.compile(
    r"(?:(?P<a>\d{1,3})-(?P<b>\d{1,3}):)?(?P<c>\d{1,3}|[CFLP])\.(?P<d>\d{1,3}|F)(?:\.(?P<e>\d{1,3}))?"
    r"(?:[*&](?P<f>\d{1,3}))?",
    re.ASCII,
)
_DOTTED: Final = re.compile(
    r"(?P<a>\d{1,3})[.-](?P<b>\d{1,3})[.:](?P<c>\d{1,3})\.(?P<d>\d{1,3})\.(?P<e>\d{1,3})[.*](?P<f>\d{1,3})",
    re.ASCII,
)
"""As DLMS writes it: six numbers with dots."""

_LETTERS: Final = {"C": 96, "F": 97, "L": 98, "P": 99}
"""Group C on displays: service values, errors, lists, profiles."""

_SAID: Final = {
    "b": "group B (channel)",
    "c": "group C (measured quantity)",
    "d": "group D (type of value)",
    "e": "group E (tariff)",
    "f": "group F (stored value)",
}
_LONGEST: Final = 40


def parse_obis(text: str, field: str = "obis_code", medium: ObisMedium = ObisMedium.ELECTRICITY) -> ObisCode:
    """The code of a text as meters, bills and files write it: 1-1:1.8.1, 1-0:2.8.0*255, 1.0.1.8.0.255, 1.8.0, 1.8.

    A short code leaves out the medium, which then is `medium`, and the channel, which then is 0. Raises InvalidInput
    that blames `field` and names the group that is wrong.
    """
    plain = "".join(text.split()).upper()
    if not plain:
        raise InvalidInput.of(field, "an OBIS code is needed, for instance 1-0:1.8.0")
    found = (_WRITTEN.fullmatch(plain) or _DOTTED.fullmatch(plain)) if len(plain) <= _LONGEST else None
    if found is None:
        shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
        raise InvalidInput.of(field, f"{shown!r} is no OBIS code: A-B:C.D.E*F or C.D.E is needed, like 1-0:1.8.0")
    groups = found.groupdict()
    numbers = {group: _number(groups[group], group, field) for group in "bcdef" if groups[group] is not None}
    return ObisCode(
        medium if groups["a"] is None else _medium(int(groups["a"]), field),
        numbers.get("b", 0),
        numbers["c"],
        numbers["d"],
        numbers.get("e", 0),
        numbers.get("f", NOT_STORED),
    )


def format_obis(code: ObisCode) -> str:
    """The one way we write a code: with medium and channel, group F only where it says something."""
    return str(code)


def tariff_of(code: ObisCode, field: str = "obis_code") -> int:
    """Tariff of a register: 0 for the total, else its number. Raises InvalidInput where group E cannot be a tariff."""
    if code.tariff > TARIFF_MAX:
        raise InvalidInput.of(field, f"group E (tariff) of {code} is {code.tariff}, tariffs are 1 to {TARIFF_MAX}")
    return code.tariff


def _medium(number: int, field: str) -> ObisMedium:
    try:
        return ObisMedium(number)
    except ValueError:
        known = ", ".join(f"{int(one)} {one.name.lower().replace('_', ' ')}" for one in ObisMedium)
        raise InvalidInput.of(field, f"group A (medium) is {number}; the media are {known}") from None


def _number(text: str, group: str, field: str) -> int:
    number = _LETTERS.get(text, -1) if not text.isdigit() else int(text)
    if not 0 <= number <= 255:
        raise InvalidInput.of(field, f"{_SAID[group]} is {text}: 0 to 255 is possible")
    return number
