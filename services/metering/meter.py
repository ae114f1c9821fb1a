"""What a meter may be: media, units, kinds, cycles. Pure. Not: which of them go together (meter_rules.py)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from fieldbus.vocabulary import point_named

DEFAULT_POINT: Final = "energy_active_import"


class Medium(IntEnum):
    """What is measured. The numbers are stored and are those of the contract."""

    ELECTRICITY = 1
    HEAT = 2
    GAS = 3
    WATER = 4
    OIL = 5
    PELLETS = 6
    TEMPERATURE = 7
    LIGHT = 8
    NOISE = 9
    TRAFFIC = 10
    COLD = 11


class Unit(IntEnum):
    """Unit of a meter's values, which are whole numbers of 10^scale_exponent of it. The numbers are the contract's."""

    WH = 1
    L = 2
    KG = 3
    CELSIUS = 4
    LX = 5
    DBA = 6
    COUNT = 7
    PERCENT = 8
    VARH = 9
    W = 10


class Kind(IntEnum):
    """What a value at a slot means. The numbers are stored and are those of the contract."""

    COUNTER = 1
    INTERVAL = 2
    """The amount of the interval that ends at the slot; its length is the reading cycle."""
    INSTANT = 3
    STOCK = 4
    VIRTUAL = 5


class Cycle(IntEnum):
    """How often a meter is read. The numbers are stored and are those of the contract."""

    UNSPECIFIED = 0
    QUARTER_HOUR = 1
    HALF_HOUR = 2
    HOUR = 3
    DAY = 4
    MONTH = 5
    YEAR = 6
    IRREGULAR = 7


class Flow(IntEnum):
    """Which way a meter counts. The numbers are stored and are those of the contract."""

    UNSPECIFIED = 0
    CONSUMPTION = 1
    FEED_IN = 2
    GENERATION = 3


class Purpose(IntEnum):
    """What a meter is for. The numbers are stored and are those of the contract."""

    UNSPECIFIED = 0
    BILLING = 1
    SUB = 2


class Acquisition(IntEnum):
    """How readings come from an endpoint. The numbers are stored and are those of the contract."""

    UNSPECIFIED = 0
    POLL = 1
    SUBSCRIBE = 2


UNITS_OF: Final = {
    Medium.ELECTRICITY: (Unit.WH, Unit.VARH, Unit.W),
    Medium.HEAT: (Unit.WH, Unit.L, Unit.W),  # a heat meter counts its volume beside the energy
    Medium.GAS: (Unit.L, Unit.WH),  # gas meters count volume; some deliver energy already converted
    Medium.WATER: (Unit.L,),
    Medium.OIL: (Unit.L, Unit.PERCENT),
    Medium.PELLETS: (Unit.KG, Unit.PERCENT),
    Medium.TEMPERATURE: (Unit.CELSIUS,),
    Medium.LIGHT: (Unit.LX,),
    Medium.NOISE: (Unit.DBA,),
    Medium.TRAFFIC: (Unit.COUNT,),
    Medium.COLD: (Unit.WH, Unit.L, Unit.W),
}
SYMBOL: Final = {
    Unit.WH: "Wh",
    Unit.L: "L",
    Unit.KG: "kg",
    Unit.CELSIUS: "°C",
    Unit.LX: "lx",
    Unit.DBA: "dB",
    Unit.COUNT: "1",
    Unit.PERCENT: "%",
    Unit.VARH: "varh",
    Unit.W: "W",
}
PART_OF: Final = {Unit.L: "mL"}
"""Volumes come from the field in whole millilitres, lest a meter's smallest digit be lost on the way."""
_PARTS_PER_UNIT: Final = {"mL": 1000}


def parts_of_unit(point: str) -> int:
    """How many of what a point counts make one of the meter's base unit. Raises InvalidInput for an unknown point."""
    return _PARTS_PER_UNIT.get(point_named(point).unit, 1)
