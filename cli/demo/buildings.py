"""Meters of buildings beside those that the simulator has: registers and sensors in a real housing, and invented ones
with an invented past, so that a demonstration shows every kind of meter at once.

All numbers are made up by the formulas below, the same for the same day; every such meter says so in its name, and its
readings in their source. What people see of the simulator's own meters is read from its devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from cli.demo.inventory import PARENT, name
from domain.errors import AlreadyExists
from domain.night import local_date, local_day_bounds
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.convert import timestamp_to_proto

BUILDING: Final = "Sporthalle Sternblick (Demonstration)"
SOURCE: Final = "import:invented for the demonstration"
STATION: Final = "demonstration"
TZ: Final = ZoneInfo("Europe/Berlin")
SLOT_MS: Final = 900_000
PROFILE_DAYS: Final = 60
YEAR_DAYS: Final = 400
NEEDED_BUILDINGS: Final = 3
"""Only the whole demonstration town has them: a small town of a test stays small."""
_SEED: Final = 20_260_601

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass
class Invented:
    """A meter with its past: slots in Unix ms and values; `by_hand` for what a person read."""

    meter_id: str
    meter: pb.Meter
    slots_ms: Sequence[int] | Ints = ()
    values: Sequence[int] | Ints = ()
    by_hand: bool = False
    deliveries: list[pb.Delivery] = field(default_factory=list)


def _meter(title: str, medium: Any, unit: Any, **more: Any) -> pb.Meter:
    return pb.Meter(display_name=f"{title} (erfunden)", medium=medium, unit=unit, building=BUILDING, **more)


def housed(building: dict[str, Any], main: dict[str, Any]) -> list[Invented]:
    """Registers and a sensor in the housing of a building's real meter: they are read from its device."""
    device, place = name("meters", main["id"]), building["name"]
    wh = {"medium": pb.MEDIUM_ELECTRICITY, "unit": pb.UNIT_WH, "building": place, "device": device}
    phases = [
        Invented(
            f"{main['id']}-L{phase}",
            pb.Meter(
                **wh,
                display_name=f"L{phase} {place}",
                point=f"energy_active_import_l{phase}",
                obis_code=f"1-0:{20 * phase + 1}.8.0",
            ),
        )
        for phase in (1, 2, 3)
    ]
    power = pb.Meter(
        **{**wh, "unit": pb.UNIT_W},
        display_name=f"Leistung {place}",
        kind=pb.READING_KIND_INSTANT,
        point="power_active_total",
        obis_code="1-0:16.7.0",
    )
    terms = [pb.MeterTerm(meter=name("meters", one.meter_id)) for one in phases]
    total = pb.Meter(
        display_name=f"Summe der Phasen {place}",
        medium=pb.MEDIUM_ELECTRICITY,
        unit=pb.UNIT_WH,
        building=place,
        kind=pb.READING_KIND_VIRTUAL,
        terms=terms,
    )
    return [*phases, Invented(f"{main['id']}-P", power), Invented(f"{main['id']}-sum", total)]


def invented(now: datetime) -> list[Invented]:
    """The invented meters of one sports hall with their past until now, housings and main meters first."""
    until_ms = int(now.timestamp() * 1000) // SLOT_MS * SLOT_MS
    return [*_electricity(until_ms), *_water(until_ms), *_heating(now), *_seldom(now), _outdoors(until_ms)]


def temperatures(now: datetime) -> tuple[list[int], list[int]]:
    """Local days (since 1970-01-01) that are over, and their mean outdoor temperatures in hundredths of a degree."""
    days = _days(now)
    return [(day - date(1970, 1, 1)).days for day in days], [round(_mean(day) * 100) for day in days]


def _slots(until_ms: int) -> Ints:
    return until_ms - np.arange(PROFILE_DAYS * 96, -1, -1, dtype=np.int64) * SLOT_MS


def _hours(slots_ms: Ints) -> tuple[Floats, Ints, Ints]:
    """Local hour of the day, weekday and day of the year of each slot."""
    local = [datetime.fromtimestamp(ms / 1000, UTC).astimezone(TZ) for ms in slots_ms.tolist()]
    hours = np.array([one.hour + one.minute / 60 for one in local])
    return hours, np.array([one.weekday() for one in local]), np.array([one.timetuple().tm_yday for one in local])


def _counter(start: int, per_slot: Floats) -> Ints:
    """A counter that began at `start`, from the amounts of the slots between its readings."""
    return start + np.concatenate(([0.0], np.cumsum(per_slot[1:]))).astype(np.int64)


def _electricity(until_ms: int) -> list[Invented]:
    slots = _slots(until_ms)
    hours, weekdays, days = _hours(slots)
    random = np.random.default_rng(_SEED)
    clouds = random.uniform(0.25, 1.0, 367)[days]
    sun = np.maximum(0.0, np.sin(np.pi * (hours - 7) / 10)) * (hours > 7) * (hours < 17)
    season = 0.55 - 0.45 * np.cos(2 * np.pi * (days - 10) / 365)
    generated = 7_500 * sun**1.3 * clouds * season
    evening = (hours >= 16) & (hours < 22)
    used = 350 + 2_600 * evening + 900 * ((weekdays < 5) & (hours >= 8) & (hours < 16))
    used = used * random.uniform(0.85, 1.15, len(slots))
    drawn, fed = np.maximum(0.0, used - generated), np.maximum(0.0, generated - used)
    wh: dict[str, Any] = {"medium": pb.MEDIUM_ELECTRICITY, "unit": pb.UNIT_WH}
    meters = {key: name("meters", f"H-{key}") for key in ("import", "feed-in", "generation")}
    whole = _meter(
        "Bezug", **wh, obis_code="1-1:1.8.0", serial_number="HALLE-4711", purpose=pb.METER_PURPOSE_BILLING,
        metering_operator="Messstelle Demonstration", floor_area_m2=1_450, connected_load_w=60_000,
        rests_on_weekends=True,
    )  # fmt: skip
    export = _meter("Einspeisung", **wh, obis_code="1-1:2.8.0", device=meters["import"], flow=pb.FLOW_FEED_IN)
    plant = _meter("Solaranlage", **wh, serial_number="HALLE-4712", flow=pb.FLOW_GENERATION)
    use = _meter(
        "Verbrauch mit Solaranlage", **wh, kind=pb.READING_KIND_VIRTUAL, floor_area_m2=1_450,
        terms=[
            pb.MeterTerm(meter=meters["import"]),
            pb.MeterTerm(meter=meters["generation"]),
            pb.MeterTerm(meter=meters["feed-in"], is_subtracted=True),
        ],
    )  # fmt: skip
    return [
        Invented("H-import", whole, slots, _counter(182_400_000, drawn)),
        Invented("H-feed-in", export, slots, _counter(41_300_000, fed)),
        Invented("H-generation", plant, slots, _counter(96_750_000, generated)),
        Invented("H-use", use),
    ]


def _water(until_ms: int) -> list[Invented]:
    """Showers and taps, and a leak behind the main meter since three weeks that no sub-meter sees."""
    slots = _slots(until_ms)
    hours, _, _ = _hours(slots)
    random = np.random.default_rng(_SEED + 1)
    showers = 90.0 * ((hours >= 17) & (hours < 22)) * random.uniform(0.0, 2.0, len(slots))
    taps = 12.0 * ((hours >= 8) & (hours < 22)) * random.uniform(0.0, 2.0, len(slots))
    leak = np.where(slots > until_ms - 21 * 96 * SLOT_MS, 9.0, 0.0)
    litres: dict[str, Any] = {"medium": pb.MEDIUM_WATER, "unit": pb.UNIT_L}
    main = name("meters", "H-water")
    return [
        Invented(
            "H-water",
            _meter("Wasser", **litres, obis_code="8-0:1.0.0", serial_number="HALLE-W1", max_flow_per_h=6_000),
            slots,
            _counter(2_310_000, showers + taps + leak),
        ),
        Invented("H-showers", _meter("Duschen", **litres, main_meter=main), slots, _counter(911_000, showers)),
        Invented("H-taps", _meter("Zapfstellen", **litres, main_meter=main), slots, _counter(402_000, taps)),
    ]


def _heating(now: datetime) -> list[Invented]:
    """Heat and gas, read once a day: they follow the weather."""
    days = _days(now)
    slots = [int(local_day_bounds(day, TZ)[1].timestamp() * 1000) for day in days]
    degrees = np.array([max(0.0, 20.0 - _mean(day)) if _mean(day) < 15 else 0.0 for day in days])
    heat = 60_000 + 21_000 * degrees  # Wh
    gas = heat / 0.92 / 10.7  # litres
    daily = {"reading_cycle": pb.READING_CYCLE_DAY, "floor_area_m2": 1_450}
    factors = [
        pb.GasFactor(valid_from=first.isoformat(), calorific_value_wh_per_m3=calorific, state_number_e4=9_534)
        for first, calorific in ((days[0] - timedelta(days=1), 11_240), (days[len(days) // 2], 11_310))
    ]
    heat_meter = name("meters", "H-heat")
    return [
        Invented(
            "H-heat",
            _meter("Wärme", pb.MEDIUM_HEAT, pb.UNIT_WH, obis_code="6-0:1.0.0", serial_number="HALLE-Q1", **daily),
            slots,
            _counter(512_000_000, heat),
        ),
        Invented(
            "H-heat-volume",
            _meter("Wärme, Volumen", pb.MEDIUM_HEAT, pb.UNIT_L, obis_code="6-0:2.0.0", device=heat_meter,
                   reading_cycle=pb.READING_CYCLE_DAY),
            slots,
            _counter(33_400_000, heat / 23.2),
        ),
        Invented(
            "H-gas",
            _meter("Gas", pb.MEDIUM_GAS, pb.UNIT_L, obis_code="7-0:3.0.0", serial_number="HALLE-G1",
                   gas_factors=factors, **daily),
            slots,
            _counter(88_150_000, gas),
        ),
    ]  # fmt: skip


def _seldom(now: datetime) -> list[Invented]:
    """What somebody reads by hand: an oil tank every month, a small meter once a year."""
    months = [_first_of_month(now, back) for back in range(13, -1, -1)]
    burnt = [round(900 * max(0.1, 1.0 - (_mean(month.date()) - 2.0) / 16.0)) for month in months]
    stocks, level = [], 5_000
    for place, litres in enumerate(burnt):
        level += 4_500 if place in (5, 11) else 0
        stocks.append(level)
        level = max(0, level - litres)
    deliveries = [
        pb.Delivery(
            delivered_at=timestamp_to_proto(months[place] - timedelta(days=3)),
            amount=4_500,
            cost_cents=427_500,
            document=f"erfunden-{place}",
        )
        for place in (5, 11)
    ]
    tank = _meter("Öltank", pb.MEDIUM_OIL, pb.UNIT_L, kind=pb.READING_KIND_STOCK, reading_cycle=pb.READING_CYCLE_MONTH)
    years = [_first_of_month(now, 24), _first_of_month(now, 12), _first_of_month(now, 0)]
    shed = _meter(
        "Geräteschuppen, jährlich", pb.MEDIUM_ELECTRICITY, pb.UNIT_WH, reading_cycle=pb.READING_CYCLE_YEAR,
        serial_number="HALLE-4713",
    )  # fmt: skip
    return [
        Invented("H-oil", tank, [_ms(month) for month in months], stocks, True, deliveries),
        Invented("H-shed", shed, [_ms(year) for year in years], [4_120_000, 5_011_000, 5_873_000], True),
    ]


def _outdoors(until_ms: int) -> Invented:
    slots = _slots(until_ms)[::4]
    hours, _, _ = _hours(slots)
    days = [datetime.fromtimestamp(ms / 1000, UTC).astimezone(TZ).date() for ms in slots.tolist()]
    means = np.array([_mean(day) for day in days])
    tenths = np.round((means - 3.5 * np.cos(2 * np.pi * (hours - 3) / 24)) * 10).astype(np.int64)
    meter = _meter(
        "Außentemperatur", pb.MEDIUM_TEMPERATURE, pb.UNIT_CELSIUS, kind=pb.READING_KIND_INSTANT, scale_exponent=-1,
        reading_cycle=pb.READING_CYCLE_HOUR,
    )  # fmt: skip
    return Invented("H-outdoors", meter, slots, tenths)


def _days(now: datetime) -> list[date]:
    """The local days that are over, oldest first."""
    today = local_date(now, TZ)
    return [today - timedelta(days=back) for back in range(YEAR_DAYS, 0, -1)]


def _mean(day: date) -> float:
    """The invented mean outdoor temperature of a day in °C: the year's course, and some days of weather."""
    number = day.toordinal()
    weather = 3.0 * np.sin(number / 3.7) + 2.0 * np.sin(number / 9.1)
    return float(9.5 - 9.5 * np.cos(2 * np.pi * (day.timetuple().tm_yday - 18) / 365) + weather)


def _first_of_month(now: datetime, back: int) -> datetime:
    """Noon of the first of a month so many months ago; of the last one that has begun a day ago, for 0."""
    today = local_date(now, TZ) - timedelta(days=1)
    months = today.year * 12 + today.month - 1 - back
    return datetime(months // 12, months % 12 + 1, 1, 12, tzinfo=TZ).astimezone(UTC)


def _ms(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)


async def put_in(metering: Any, found: Sequence[Invented]) -> int:
    """Creates meters with their past, in order; those that are there stay as they are. Returns how many are new."""
    new = 0
    for one in found:
        try:
            await metering.CreateMeter(
                pb.CreateMeterRequest(parent=PARENT, meter_id=one.meter_id, meter=one.meter), timeout=60
            )
        except AlreadyExists:
            continue
        new += 1
        if len(one.slots_ms):
            await metering.IngestReadings(_readings(one), timeout=120)
        for delivery in one.deliveries:
            parent = name("meters", one.meter_id)
            await metering.RecordDelivery(pb.RecordDeliveryRequest(parent=parent, delivery=delivery))
    return new


def _readings(one: Invented) -> pb.IngestReadingsRequest:
    count = len(one.slots_ms)
    return pb.IngestReadingsRequest(
        parent=PARENT,
        readings=pb.ReadingColumns(
            meters=[name("meters", one.meter_id)],
            meter_indexes=[0] * count,
            slots_unix_ms=[int(slot) for slot in one.slots_ms],
            values=[int(value) for value in one.values],
            statuses=[pb.READING_STATUS_HAND] * count if one.by_hand else [],
        ),
        source=SOURCE,
    )


async def put_weather_in(metering: Any, now: datetime) -> None:
    """The invented station's daily means, which degree days are worked out of."""
    days, means = temperatures(now)
    await metering.IngestTemperatures(
        pb.IngestTemperaturesRequest(parent=PARENT, station=STATION, days=days, mean_centidegrees=means, source=SOURCE),
        timeout=60,
    )
