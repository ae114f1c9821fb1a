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


class Unit(IntEnum):
    """Base unit of a counter. The numbers are stored and are those of the contract."""

    WH = 1
    L = 2


UNITS_OF: Final = {
    Medium.ELECTRICITY: (Unit.WH,),
    Medium.HEAT: (Unit.WH,),
    Medium.GAS: (Unit.L, Unit.WH),  # gas meters count volume; some deliver energy already converted
    Medium.WATER: (Unit.L,),
}
_SYMBOL: Final = {Unit.WH: "Wh", Unit.L: "L"}
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
