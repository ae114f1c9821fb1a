"""Which fields of a meter go together: kind, medium, unit, point, OBIS code, ids, gas quality, terms. Pure.

Not: what depends on other meters (store/relations.py) or on stored readings (api/meters.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, TypeVar

from domain.errors import InvalidInput, Violation
from domain.gas import GasFactor
from domain.market_location import market_location_id, metering_location_id
from domain.obis import ObisCode, ObisMedium, ObisQuantity, parse_obis
from fieldbus.vocabulary import PointType, Scope, point_named
from services.metering.meter import PART_OF, SYMBOL, UNITS_OF, Acquisition, Cycle, Flow, Kind, Medium, Purpose, Unit
from services.metering.reading import VALUE_MAX

_AMOUNTS: Final = (Kind.COUNTER, Kind.INTERVAL, Kind.VIRTUAL)
_KINDS_OF_UNIT: Final = {
    Unit.WH: _AMOUNTS,
    Unit.VARH: _AMOUNTS,
    Unit.L: _AMOUNTS,
    Unit.COUNT: _AMOUNTS,
    Unit.CELSIUS: (Kind.INSTANT,),
    Unit.LX: (Kind.INSTANT,),
    Unit.DBA: (Kind.INSTANT,),
    Unit.PERCENT: (Kind.INSTANT,),
    Unit.W: (Kind.INSTANT,),
}
_KINDS_OF_STORE: Final = (Kind.STOCK, Kind.COUNTER, Kind.VIRTUAL)
"""Oil and pellets: the level of a tank, or a flow counter at the burner."""
_STORES: Final = (Medium.OIL, Medium.PELLETS)
INTERVAL_CYCLES: Final = (Cycle.QUARTER_HOUR, Cycle.HALF_HOUR, Cycle.HOUR, Cycle.DAY, Cycle.MONTH, Cycle.YEAR)

_OBIS_MEDIA: Final = {
    Medium.ELECTRICITY: (ObisMedium.ELECTRICITY,),
    Medium.HEAT: (ObisMedium.HEAT, ObisMedium.HEAT_COST_ALLOCATOR),
    Medium.COLD: (ObisMedium.COOLING,),
    Medium.GAS: (ObisMedium.GAS,),
    Medium.WATER: (ObisMedium.COLD_WATER, ObisMedium.HOT_WATER),
}
_OTHER_OBIS_MEDIA: Final = (ObisMedium.OTHER, ObisMedium.ABSTRACT)
_UNITS_OF_QUANTITY: Final = {
    ObisQuantity.ACTIVE: (Unit.WH, Unit.W),
    ObisQuantity.REACTIVE: (Unit.VARH,),
    ObisQuantity.ENERGY: (Unit.WH,),
    ObisQuantity.VOLUME: (Unit.L,),
    ObisQuantity.MASS: (Unit.KG,),
    ObisQuantity.POWER: (Unit.W,),
}
_FIELD_UNIT: Final = {**SYMBOL, Unit.CELSIUS: "degC", Unit.PERCENT: "percent"}
"""Units as the vocabulary of field points writes them."""
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")

Member = TypeVar("Member", Medium, Unit, Kind, Cycle, Flow, Purpose, Acquisition)


@dataclass(frozen=True, slots=True)
class MeterFacts:
    """The fields of a meter that have to go together. An endpoint is given by its id, empty for none.

    endpoint: its own, or that of the housing. gas_factors: (gas day, Wh per m3, state number in ten-thousandths).
    counted_in: units of its lives, which an exchange may have changed.
    """

    medium: int
    unit: int
    endpoint: str = ""
    cabinet: str = ""
    building: str = ""
    point: str = ""
    rollover: int = 0
    transformer_ratio: int = 1
    kind: int = 1
    reading_cycle: int = 0
    flow: int = 0
    purpose: int = 0
    acquisition: int = 0
    obis_code: str = ""
    market_location: str = ""
    metering_location: str = ""
    serial_number: str = ""
    has_device: bool = False
    gas_factors: Sequence[tuple[str, int, int]] = ()
    terms: Sequence[tuple[str, int]] = ()
    counted_in: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Normal:
    """What people write in many ways, in the one way in which it is stored."""

    obis_code: str
    market_location: str
    metering_location: str


def check(facts: MeterFacts) -> Normal:
    """What is stored of codes and ids. Raises InvalidInput that names every field that does not go with the others."""
    wrong: list[Violation] = []
    medium = _known(Medium, facts.medium, "medium", "a medium", wrong)
    unit = _known(Unit, facts.unit, "unit", "a unit", wrong)
    kind = _known(Kind, facts.kind, "kind", "a kind", wrong)
    cycle = _known(Cycle, facts.reading_cycle, "reading_cycle", "a reading cycle", wrong)
    _known(Flow, facts.flow, "flow", "a flow", wrong)
    _known(Purpose, facts.purpose, "purpose", "a purpose", wrong)
    acquisition = _known(Acquisition, facts.acquisition, "acquisition", "an acquisition", wrong)
    if medium and unit:
        wrong += _check_unit(medium, unit, kind)
    if facts.cabinet and facts.building:
        wrong.append(Violation("meter.building", "a meter measures a cabinet or a building, not both"))
    if facts.rollover > VALUE_MAX:
        wrong.append(Violation("meter.rollover", f"no register has more than {VALUE_MAX}"))
    if facts.rollover and facts.transformer_ratio > 1 and facts.rollover % facts.transformer_ratio:
        wrong.append(Violation("meter.rollover", "it includes the transformer ratio: a multiple of it is needed"))
    if facts.rollover and kind not in (None, Kind.COUNTER):
        wrong.append(Violation("meter.rollover", "only a counter rolls over"))
    if kind is Kind.INTERVAL and cycle is not None and cycle not in INTERVAL_CYCLES:
        wrong.append(Violation("meter.reading_cycle", "a meter of intervals needs their length: quarter hour to year"))
    if acquisition is Acquisition.SUBSCRIBE and not facts.endpoint:
        wrong.append(Violation("meter.acquisition", "without an endpoint nobody tells of changes"))
    if kind is Kind.VIRTUAL:
        wrong += _check_virtual(facts)
    elif facts.terms:
        wrong.append(Violation("meter.terms", "only a virtual meter is the sum of others"))
    if facts.endpoint and unit and kind is not None and kind is not Kind.VIRTUAL:
        wrong += check_point(facts.point, unit, kind)
    wrong += _check_gas(facts, medium)
    obis = _normal(facts.obis_code, lambda text: _obis(text, medium, unit), wrong)
    malo = _normal(facts.market_location, lambda text: market_location_id(text, "meter.market_location"), wrong)
    melo = _normal(facts.metering_location, lambda text: metering_location_id(text, "meter.metering_location"), wrong)
    if wrong:
        raise InvalidInput(violations=wrong)
    return Normal(obis, malo, melo)


def check_point(name: str, unit: Unit, kind: Kind) -> list[Violation]:
    """What is wrong about reading a meter of this unit and kind at a point."""
    try:
        point = point_named(name)
    except InvalidInput as error:
        return [Violation("meter.point", violation.reason) for violation in error.violations]
    if kind is Kind.INTERVAL:
        return [Violation("meter.endpoint", "amounts of intervals are not polled: poll the counter they come from")]
    wanted = PointType.COUNTER if kind is Kind.COUNTER else PointType.NUMBER
    if point.type is not wanted or point.scope is not Scope.DEVICE:
        what = "a counter of a meter" if kind is Kind.COUNTER else "a value that a sensor measures"
        return [Violation("meter.point", f"{name} is not {what}")]
    if point.unit not in (_FIELD_UNIT[unit], PART_OF.get(unit)):
        verb = "counted" if kind is Kind.COUNTER else "measured"
        return [Violation("meter.point", f"{name} is {verb} in {point.unit}, the meter in {SYMBOL[unit]}")]
    return []


def check_obis(text: str, medium: int, unit: int, field: str = "meter.obis_code") -> str:
    """The one way of writing an OBIS code that goes with medium and unit; empty stays empty. Raises InvalidInput."""
    return _obis(text, Medium(medium), Unit(unit), field) if text else ""


def check_installation(kind: int, is_installed: bool, first_reading: int | None) -> list[Violation]:
    """What is wrong about saying when a meter was hung up and what it showed then (None: not said)."""
    if is_installed and kind == Kind.VIRTUAL:
        return [Violation("installed_at", "a virtual meter is a sum of others and hangs nowhere")]
    if first_reading is not None and kind != Kind.COUNTER:
        return [Violation("first_reading", "only a counter has a first reading")]
    if first_reading is not None and not is_installed:
        return [Violation("installed_at", "a first reading was read at some instant: since when does it hang there?")]
    if is_installed and first_reading is None and kind == Kind.COUNTER:
        return [Violation("first_reading", "what the counter showed as it was hung up is missing; a new one shows 0")]
    return []


def check_unit(medium: int, unit: int, kind: int, field: str = "meter.unit") -> None:
    """Raises InvalidInput if a medium is not measured in a unit, or not in this way."""
    wrong = _check_unit(Medium(medium), Unit(unit), Kind(kind), field)
    if wrong:
        raise InvalidInput(violations=wrong)


def _known(members: type[Member], number: int, field: str, what: str, wrong: list[Violation]) -> Member | None:
    found = next((one for one in members if one == number), None)
    if found is None:
        wrong.append(Violation(f"meter.{field}", f"{number} is not {what} known here"))
    return found


def _check_unit(medium: Medium, unit: Unit, kind: Kind | None, field: str = "meter.unit") -> list[Violation]:
    if unit not in UNITS_OF[medium]:
        allowed = " or ".join(SYMBOL[one] for one in UNITS_OF[medium])
        return [Violation(field, f"{medium.name.lower()} is counted in {allowed}, not in {SYMBOL[unit]}")]
    stores = medium in _STORES and unit is not Unit.PERCENT
    kinds = _KINDS_OF_STORE if stores else _KINDS_OF_UNIT[unit]
    if kind is None or kind in kinds:
        return []
    names = " or ".join(one.name.lower() for one in kinds)
    why = "; a stock is told in litres or kilograms" if kind is Kind.STOCK else ""
    return [
        Violation("meter.kind", f"{medium.name.lower()} in {SYMBOL[unit]} is {names}, not {kind.name.lower()}{why}")
    ]


def _check_virtual(facts: MeterFacts) -> list[Violation]:
    wrong = []
    for field, value in (
        ("endpoint", facts.endpoint and not facts.has_device),
        ("device", facts.has_device),
        ("serial_number", facts.serial_number),
        ("transformer_ratio", facts.transformer_ratio > 1),
    ):
        if value:
            wrong.append(Violation(f"meter.{field}", "a virtual meter is a sum of others and hangs nowhere"))
    if not facts.terms:
        wrong.append(Violation("meter.terms", "a virtual meter is the sum of at least one other"))
    names = [name for name, _ in facts.terms]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        wrong.append(Violation("meter.terms", f"{', '.join(twice)} is in the sum more than once"))
    return wrong


def _check_gas(facts: MeterFacts, medium: Medium | None) -> list[Violation]:
    if not facts.gas_factors:
        return []
    if medium is not Medium.GAS or Unit.L not in {facts.unit, *facts.counted_in}:
        return [Violation("meter.gas_factors", "only of gas that is counted in litres is the quality needed")]
    wrong = []
    before = ""
    for number, (day, calorific, state) in enumerate(facts.gas_factors):
        field = f"meter.gas_factors[{number}]"
        try:
            valid_from = date.fromisoformat(day if _DAY.fullmatch(day) else "")
        except ValueError:
            wrong.append(Violation(f"{field}.valid_from", f"{day!r} is not a date like 2026-10-01"))
            continue
        if day <= before:
            wrong.append(Violation(f"{field}.valid_from", f"{day} does not come after {before}: by time, each once"))
        before = day
        try:
            GasFactor(valid_from, calorific, state)
        except InvalidInput as error:
            wrong += error.under(field).violations
    return wrong


def _obis(text: str, medium: Medium | None, unit: Unit | None, field: str = "meter.obis_code") -> str:
    media = _OTHER_OBIS_MEDIA if medium is None else _OBIS_MEDIA.get(medium, _OTHER_OBIS_MEDIA)
    code: ObisCode = parse_obis(text, field, media[0])
    if medium is not None and code.medium not in media:
        stands = code.medium.name.lower().replace("_", " ")
        raise InvalidInput.of(field, f"{code} stands for {stands}, the meter measures {medium.name.lower()}")
    units = _UNITS_OF_QUANTITY.get(code.quantity)
    if units and unit is not None and unit not in units:
        raise InvalidInput.of(field, f"{code} stands for {code.quantity.value}, the meter's unit is {SYMBOL[unit]}")
    return str(code)


def _normal(text: str, normalise: Callable[[str], str], wrong: list[Violation]) -> str:
    if not text:
        return ""
    try:
        return normalise(text)
    except InvalidInput as error:
        wrong += error.violations
        return ""
