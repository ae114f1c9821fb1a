"""Meters as the pages show them: what they are, where they stand in the trees of housings and sub-meters. Pure.

Not here: consumption (consumption.py), how values are written (quantities.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from lichtbuch.metering.v1 import metering_pb2
from services.admin.figures import HOURLY_OR_MORE, id_of, instant

MEDIA: Final = tuple(value for value in metering_pb2.Medium.values() if value)
KINDS: Final = tuple(value for value in metering_pb2.ReadingKind.values() if value)
READ_BY_HAND: Final = (
    metering_pb2.READING_KIND_COUNTER,
    metering_pb2.READING_KIND_STOCK,
    metering_pb2.READING_KIND_INSTANT,
)
"""Kinds of which somebody can read a value off: amounts of intervals and sums of other meters stand nowhere."""
ESTIMABLE: Final = (metering_pb2.READING_KIND_COUNTER, metering_pb2.READING_KIND_INTERVAL)
"""Kinds whose gaps are filled: between two stocks lie deliveries, and sums have no readings."""
_OFTEN: Final = (*HOURLY_OR_MORE, metering_pb2.READING_CYCLE_DAY)
_LATE_AFTER_H: Final = {
    metering_pb2.READING_CYCLE_QUARTER_HOUR: 2,
    metering_pb2.READING_CYCLE_HALF_HOUR: 3,
    metering_pb2.READING_CYCLE_HOUR: 4,
    metering_pb2.READING_CYCLE_DAY: 50,
    metering_pb2.READING_CYCLE_MONTH: 45 * 24,
    metering_pb2.READING_CYCLE_YEAR: 400 * 24,
}


@dataclass(frozen=True, slots=True)
class Life:
    """One register from its installation to its removal. Readings in the unit and scale of the life."""

    serial_number: str
    installed_at: datetime
    removed_at: datetime | None
    first_reading: int
    final_reading: int
    obis_code: str
    unit: int
    scale_exponent: int
    transformer_ratio: int
    ended_by_reset: bool


@dataclass(frozen=True, slots=True)
class GasFactor:
    """Gas of one quality. The day is written as the contract has it."""

    valid_from: str
    calorific_value_wh_per_m3: int
    state_number_e4: int


@dataclass(frozen=True, slots=True)
class MeterItem:
    """A meter. Names of other resources are whole; `place` is a cabinet's id or a building's name."""

    name: str
    display_name: str
    medium: int
    unit: int
    kind: int
    place: str
    is_cabinet: bool
    scale_exponent: int = 0
    cycle: int = 0
    flow: int = 0
    obis_code: str = ""
    serial_number: str = ""
    market_location: str = ""
    metering_location: str = ""
    metering_operator: str = ""
    purpose: int = 0
    device: str = ""
    main_meter: str = ""
    endpoint: str = ""
    transformer_ratio: int = 1
    rollover: int = 0
    floor_area_m2: int = 0
    loss_tolerance_permille: int = 0
    latest_value: int | None = None
    latest_slot: datetime | None = None
    lives: tuple[Life, ...] = ()
    installed_at: datetime | None = None
    """When its first register was hung up, and what it showed then; None where nobody has said."""
    first_reading: int | None = None
    gas_factors: tuple[GasFactor, ...] = ()
    terms: tuple[tuple[str, bool], ...] = ()
    """Names of the meters that a virtual one is the sum of; True where one is taken away."""
    etag: str = ""

    @property
    def id(self) -> str:
        """The last part of its name."""
        return id_of(self.name)

    @property
    def is_sensor(self) -> bool:
        """Its values hold at an instant: there is no amount of them."""
        return self.kind == metering_pb2.READING_KIND_INSTANT

    @property
    def is_stock(self) -> bool:
        """What lies in a store; what was delivered stands beside it."""
        return self.kind == metering_pb2.READING_KIND_STOCK

    @property
    def is_virtual(self) -> bool:
        """It has no readings: a sum of other meters."""
        return self.kind == metering_pb2.READING_KIND_VIRTUAL

    @property
    def is_read_often(self) -> bool:
        """Days have figures of their own: it is read every day, or more often."""
        if self.is_virtual:
            return True
        return self.cycle in _OFTEN or (not self.cycle and bool(self.endpoint))

    @property
    def has_profile(self) -> bool:
        """It is read often enough for the load profile of a day, as far as is known."""
        return self.is_read_often and self.cycle != metering_pb2.READING_CYCLE_DAY

    @property
    def is_estimable(self) -> bool:
        """Readings are expected of it at times that are known, and what lies between two of them can be shared out."""
        is_expected = self.is_read_often or self.cycle == metering_pb2.READING_CYCLE_MONTH
        return self.kind in ESTIMABLE and is_expected

    @property
    def is_readable(self) -> bool:
        """Somebody can read a value off it."""
        return self.kind in READ_BY_HAND


def meter_from_proto(message: metering_pb2.Meter) -> MeterItem:
    """A meter."""
    heard = message.HasField("latest_slot")
    return MeterItem(
        name=message.name,
        display_name=message.display_name or id_of(message.name),
        medium=int(message.medium),
        unit=int(message.unit),
        kind=int(message.kind) or int(metering_pb2.READING_KIND_COUNTER),
        place=id_of(message.cabinet) or message.building,
        is_cabinet=bool(message.cabinet),
        scale_exponent=message.scale_exponent,
        cycle=int(message.reading_cycle),
        flow=int(message.flow),
        obis_code=message.obis_code,
        serial_number=message.serial_number,
        market_location=message.market_location,
        metering_location=message.metering_location,
        metering_operator=message.metering_operator,
        purpose=int(message.purpose),
        device=message.device,
        main_meter=message.main_meter,
        endpoint=message.endpoint,
        transformer_ratio=message.transformer_ratio or 1,
        rollover=message.rollover,
        floor_area_m2=message.floor_area_m2,
        loss_tolerance_permille=message.loss_tolerance_permille,
        latest_value=message.latest_value if heard else None,
        latest_slot=instant(message.latest_slot) if heard else None,
        lives=tuple(map(_life, message.lives)),
        installed_at=instant(message.installed_at) if message.HasField("installed_at") else None,
        first_reading=message.first_reading if message.HasField("first_reading") else None,
        gas_factors=tuple(
            GasFactor(each.valid_from, each.calorific_value_wh_per_m3, each.state_number_e4)
            for each in message.gas_factors
        ),
        terms=tuple((term.meter, term.is_subtracted) for term in message.terms),
        etag=message.etag,
    )


def with_housings(meters: Iterable[MeterItem]) -> tuple[MeterItem, ...]:
    """Registers with the serial number, transformer ratio and endpoint of the meter in whose housing they sit."""
    every = tuple(meters)
    found = {each.name: each for each in every}
    return tuple(
        replace(
            each,
            serial_number=each.serial_number or housing.serial_number,
            transformer_ratio=housing.transformer_ratio,
            endpoint=each.endpoint or housing.endpoint,
        )
        if (housing := found.get(each.device)) is not None and housing is not each
        else each
        for each in every
    )


def _life(message: metering_pb2.RegisterLife) -> Life:
    return Life(
        serial_number=message.serial_number,
        installed_at=instant(message.installed_at),
        removed_at=instant(message.removed_at) if message.HasField("removed_at") else None,
        first_reading=message.first_reading,
        final_reading=message.final_reading,
        obis_code=message.obis_code,
        unit=int(message.unit),
        scale_exponent=message.scale_exponent,
        transformer_ratio=message.transformer_ratio or 1,
        ended_by_reset=message.ended_by_reset,
    )


@dataclass(frozen=True, slots=True)
class Row:
    """A meter in a list, so many steps below the one that it hangs on: 0 for one of its own."""

    meter: MeterItem
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """A building or cabinet with its meters, each right after the one it hangs on."""

    name: str
    """Empty for meters of nowhere."""
    is_cabinet: bool
    rows: tuple[Row, ...]


def fits(meter: MeterItem, text: str) -> bool:
    """True if every word of a text occurs in what a meter is known by."""
    known = " ".join(
        (
            meter.id, meter.display_name, meter.place, meter.serial_number, meter.obis_code, meter.market_location,
            meter.metering_location, id_of(meter.endpoint),
        )
    ).casefold()  # fmt: skip
    return all(word in known for word in text.casefold().split())


def chosen(
    meters: Iterable[MeterItem], *, text: str = "", medium: int = 0, kind: int = 0, names: frozenset[str] | None = None
) -> tuple[MeterItem, ...]:
    """The meters that fit all filters; `names` keeps only those, None all."""
    return tuple(
        meter
        for meter in meters
        if medium in (0, meter.medium)
        and kind in (0, meter.kind)
        and (names is None or meter.name in names)
        and fits(meter, text)
    )


def by_place(meters: Iterable[MeterItem]) -> tuple[Place, ...]:
    """Buildings first, then cabinets, then what stands nowhere; a register or sub-meter follows what it hangs on.

    What hangs on a meter that is not among them, or on itself by a detour, stands for itself. A sub-meter in another
    building is listed with its main meter, where the sum is checked.
    """
    found = {meter.name: meter for meter in meters}
    above = {
        name: next((up for up in (each.device, each.main_meter) if up in found), "") for name, each in found.items()
    }
    below: dict[str, list[MeterItem]] = {}
    for meter in sorted(found.values(), key=lambda each: each.name):
        below.setdefault(above[meter.name] if not _circles(meter.name, above) else "", []).append(meter)
    places: dict[tuple[bool, bool, str], list[Row]] = {}
    for top in below.get("", ()):
        rows = places.setdefault((not top.place, top.is_cabinet, top.place), [])
        _hang(rows, top, 0, below)
    return tuple(Place(name, cabinet, tuple(rows)) for (_, cabinet, name), rows in sorted(places.items()))


def _hang(rows: list[Row], meter: MeterItem, depth: int, below: Mapping[str, Sequence[MeterItem]]) -> None:
    rows.append(Row(meter, depth))
    # Registers of the same housing first, then the sub-meters behind it.
    for each in sorted(below.get(meter.name, ()), key=lambda item: (item.device != meter.name, item.name)):
        _hang(rows, each, depth + 1, below)


def _circles(name: str, above: Mapping[str, str]) -> bool:
    seen = {name}
    while name := above[name]:
        if name in seen:
            return True
        seen.add(name)
    return False


def behind(meter: MeterItem, meters: Iterable[MeterItem]) -> tuple[MeterItem, ...]:
    """All meters whose use a meter counts too, to any depth: sub-meters, and what is added to a sum."""
    every = {each.name: each for each in meters}
    found: dict[str, MeterItem] = {}
    waiting = [meter]
    while waiting:
        whole = waiting.pop()
        parts = [each for each in every.values() if each.main_meter == whole.name]
        parts += [every[name] for name, is_subtracted in whole.terms if name in every and not is_subtracted]
        new = [each for each in parts if each.name not in found and each.name != meter.name]
        found |= {each.name: each for each in new}
        waiting += new
    return tuple(found.values())


def sub_meters(meter: MeterItem, meters: Iterable[MeterItem]) -> tuple[MeterItem, ...]:
    """Meters that measure behind one."""
    return tuple(each for each in meters if each.main_meter == meter.name and each.name != meter.name)


def registers(meter: MeterItem, meters: Iterable[MeterItem]) -> tuple[MeterItem, ...]:
    """Other registers in the same housing."""
    return tuple(each for each in meters if each.device == meter.name and each.name != meter.name)


def coverage_by_meter(answer: metering_pb2.QueryConsumptionResponse) -> dict[str, int]:
    """Share in per mille covered by measured readings, over all steps of an answer, by name."""
    covered: dict[str, int] = {}
    total: dict[str, int] = {}
    columns = zip(
        answer.meter_indexes, answer.starts_unix_ms, answer.ends_unix_ms, answer.coverages_permille, strict=False
    )
    for index, start, end, coverage in columns:
        name = answer.meters[index]
        covered[name] = covered.get(name, 0) + coverage * (end - start)
        total[name] = total.get(name, 0) + end - start
    return {name: covered[name] // total[name] for name in total if total[name]}


def is_late(meter: MeterItem, now: datetime) -> bool:
    """True if the newest reading is older than the meter's cycle lets expect; nobody expects anything of some."""
    if meter.latest_slot is None:
        return False
    hours = _LATE_AFTER_H.get(metering_pb2.ReadingCycle.ValueType(meter.cycle))
    if hours is None and not meter.endpoint:
        return False
    return now - meter.latest_slot > timedelta(hours=hours or _LATE_AFTER_H[metering_pb2.READING_CYCLE_QUARTER_HOUR])
