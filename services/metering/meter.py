"""What a meter may be: media and their units, points that count, numbers that go together. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from domain.errors import InvalidInput, Violation
from fieldbus.vocabulary import PointType, Scope, point_named
from services.metering.reading import VALUE_MAX

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
_SYMBOL: Final = {
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
_PART: Final = {Unit.L: "mL"}
"""Volumes come from the field in whole millilitres, lest a meter's smallest digit be lost on the way."""
_PARTS_PER_UNIT: Final = {"mL": 1000}


@dataclass(frozen=True, slots=True)
class MeterFacts:
    """The fields of a meter that have to go together. An endpoint is given by its id, empty for none."""

    medium: int
    unit: int
    endpoint: str
    cabinet: str
    building: str
    point: str
    rollover: int
    transformer_ratio: int


def check(facts: MeterFacts) -> None:
    """Raises InvalidInput that names every field that does not go with the others."""
    wrong: list[Violation] = []
    medium = next((one for one in Medium if one == facts.medium), None)
    unit = next((one for one in Unit if one == facts.unit), None)
    if medium is None:
        wrong.append(Violation("meter.medium", f"{facts.medium} is not a medium known here"))
    if unit is None:
        wrong.append(Violation("meter.unit", f"{facts.unit} is not a unit known here"))
    if medium and unit and unit not in UNITS_OF[medium]:
        allowed = " or ".join(_SYMBOL[one] for one in UNITS_OF[medium])
        wrong.append(Violation("meter.unit", f"{medium.name.lower()} is counted in {allowed}, not in {_SYMBOL[unit]}"))
    if facts.cabinet and facts.building:
        wrong.append(Violation("meter.building", "a meter measures a cabinet or a building, not both"))
    if facts.rollover > VALUE_MAX:
        wrong.append(Violation("meter.rollover", f"no register has more than {VALUE_MAX}"))
    if facts.rollover and facts.transformer_ratio > 1 and facts.rollover % facts.transformer_ratio:
        wrong.append(Violation("meter.rollover", "it includes the transformer ratio: a multiple of it is needed"))
    if facts.endpoint and unit:
        wrong += _check_point(facts.point, unit)
    if wrong:
        raise InvalidInput(violations=wrong)


def _check_point(name: str, unit: Unit) -> list[Violation]:
    try:
        point = point_named(name)
    except InvalidInput as error:
        return [Violation("meter.point", violation.reason) for violation in error.violations]
    if point.type is not PointType.COUNTER or point.scope is not Scope.DEVICE:
        return [Violation("meter.point", f"{name} is not a counter of a meter")]
    if point.unit not in (_SYMBOL[unit], _PART.get(unit)):
        return [Violation("meter.point", f"{name} is counted in {point.unit}, the meter in {_SYMBOL[unit]}")]
    return []


def parts_of_unit(point: str) -> int:
    """How many of what a point counts make one of the meter's base unit. Raises InvalidInput for an unknown point."""
    return _PARTS_PER_UNIT.get(point_named(point).unit, 1)
