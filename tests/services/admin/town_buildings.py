"""Buildings of the small town of tests, with meters of most kinds and days of readings."""

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from domain.night import local_date, local_instant
from lichtbuch.metering.v1 import metering_pb2
from servicekit.convert import timestamp_to_proto, unix_ms
from tests.services.admin.town_book import BERLIN, QUARTER_MS

if TYPE_CHECKING:
    from tests.services.admin.town_services import Town


def name(identity: str) -> str:
    """A meter's name in the town."""
    return f"municipalities/bad-hersfeld/meters/{identity}"


def _made(identity: str, called: str, medium: Any, unit: Any, **values: Any) -> metering_pb2.Meter:
    values.setdefault("reading_cycle", metering_pb2.READING_CYCLE_QUARTER_HOUR)
    values.setdefault("kind", metering_pb2.READING_KIND_COUNTER)
    return metering_pb2.Meter(name=name(identity), display_name=called, medium=medium, unit=unit, **values)


def metered(town: "Town") -> datetime:
    """A building's meters of most kinds, with days of readings until the last quarter hour, which is returned.

    R-1 is the town hall's main meter with a feed-in register, two sub-meters and a gap of three hours yesterday from
    10:00 local time; G-1 gas, W-1 a water meter of a school that is read by hand, T-1 a temperature, O-1 an oil tank,
    V-1 what the town hall uses.
    """
    now = town.clock.now()
    last = datetime.fromtimestamp(unix_ms(now) // QUARTER_MS * QUARTER_MS / 1000, UTC)
    electricity, wh = metering_pb2.MEDIUM_ELECTRICITY, metering_pb2.UNIT_WH
    life = metering_pb2.RegisterLife(
        uid="1", serial_number="1EMH0001", installed_at=timestamp_to_proto(last - timedelta(days=900)),
        removed_at=timestamp_to_proto(last - timedelta(days=200)), first_reading=0, final_reading=8_000_000,
        unit=wh, obis_code="1-1:1.8.0", transformer_ratio=20,
    )  # fmt: skip
    now_life = metering_pb2.RegisterLife(
        uid="2", serial_number="1EMH0815", installed_at=timestamp_to_proto(last - timedelta(days=200)),
        first_reading=20_000, unit=wh, obis_code="1-1:1.8.0", transformer_ratio=40,
    )  # fmt: skip
    town.meters += [
        _made(
            "R-1", "Strom Rathaus", electricity, wh, building="Rathaus", serial_number="1EMH0815",
            obis_code="1-1:1.8.0", market_location="51238696780", transformer_ratio=40, rollover=4_000_000_000,
            metering_location="DE0001234567890000000000000012345", metering_operator="Stadtwerke",
            purpose=metering_pb2.METER_PURPOSE_BILLING, flow=metering_pb2.FLOW_CONSUMPTION, floor_area_m2=2_000,
            lives=[life, now_life], endpoint="municipalities/bad-hersfeld/endpoints/em-1",
            installed_at=life.installed_at, first_reading=life.first_reading,
        ),
        _made(
            "R-1-EIN", "Einspeisung", electricity, wh, building="Rathaus", obis_code="1-1:2.8.0", device=name("R-1"),
            flow=metering_pb2.FLOW_FEED_IN,
            lives=[metering_pb2.RegisterLife(uid="3", unit=wh, obis_code="1-1:2.8.0", transformer_ratio=1)],
        ),
        _made("R-2", "Küche", electricity, wh, building="Rathaus", main_meter=name("R-1"), serial_number="K-77"),
        _made("R-3", "Server", electricity, wh, building="Rathaus", main_meter=name("R-1"), serial_number="S-12"),
        _made(
            "V-1", "Rathaus ohne Server", electricity, wh, building="Rathaus", kind=metering_pb2.READING_KIND_VIRTUAL,
            terms=[
                metering_pb2.MeterTerm(meter=name("R-1")),
                metering_pb2.MeterTerm(meter=name("R-3"), is_subtracted=True),
            ],
        ),
        _made(
            "G-1", "Gas Stadthalle", metering_pb2.MEDIUM_GAS, metering_pb2.UNIT_L, building="Stadthalle",
            serial_number="GAS-4711", floor_area_m2=1_500,
            gas_factors=[
                metering_pb2.GasFactor(
                    valid_from="2026-01-01", calorific_value_wh_per_m3=11_350, state_number_e4=9_524
                )
            ],
        ),
        _made(
            "W-1", "Wasser Grundschule", metering_pb2.MEDIUM_WATER, metering_pb2.UNIT_L, building="Grundschule",
            serial_number="8SEN0023", rollover=100_000_000, reading_cycle=metering_pb2.READING_CYCLE_YEAR,
        ),
        _made(
            "T-1", "Sitzungssaal", metering_pb2.MEDIUM_TEMPERATURE, metering_pb2.UNIT_CELSIUS, building="Rathaus",
            kind=metering_pb2.READING_KIND_INSTANT, scale_exponent=-1,
        ),
        _made(
            "O-1", "Heizöl Bauhof", metering_pb2.MEDIUM_OIL, metering_pb2.UNIT_L, building="Bauhof",
            kind=metering_pb2.READING_KIND_STOCK, reading_cycle=metering_pb2.READING_CYCLE_IRREGULAR,
        ),
    ]  # fmt: skip
    book, quarter = town.book, timedelta(minutes=15)
    yesterday = local_instant(local_date(now, BERLIN) - timedelta(days=1), time(10), BERLIN)
    rates = {
        "R-1": (4_000, 9_000),
        "R-1-EIN": (0, 700),
        "R-2": (900, 2_200),
        "R-3": (3_000, 3_000),
        "G-1": (700, 2_600),
    }
    for identity, (night, day) in rates.items():
        value = {"R-1": 12_345_000, "G-1": 55_000_000}.get(identity, 800_000)
        book.put(name(identity), last - 380 * 96 * quarter, value - 40_000 - 380 * 96 * night)
        book.put(name(identity), last - 330 * 96 * quarter, value - 40_000 - 330 * 96 * night)
        for step in range(12 * 96, -1, -1):
            at = last - step * quarter
            gap = identity == "R-1" and yesterday < at < yesterday + timedelta(hours=3)
            book.put(name(identity), at, value, int(metering_pb2.READING_STATUS_GAP if gap else 1))
            value += day if 6 <= at.astimezone(BERLIN).hour < 18 else night
    for step in range(3 * 96, -1, -1):
        at = last - step * quarter
        hour = at.astimezone(BERLIN).hour
        book.put(name("T-1"), at, 185 + (22 if 8 <= hour < 18 else 0) + step % 4)
    hand = int(metering_pb2.READING_STATUS_HAND)
    for days, value in ((1_090, 900_000), (725, 1_240_000), (360, 1_610_500)):
        book.put(name("W-1"), last - timedelta(days=days), value, hand)
    for days, value in ((300, 6_100), (210, 2_300), (120, 5_900), (25, 4_150)):
        book.put(name("O-1"), last - timedelta(days=days), value, hand)
    tank = metering_pb2.Delivery(
        name=f"{name('O-1')}/deliveries/d-1", delivered_at=timestamp_to_proto(last - timedelta(days=150)), amount=5_000,
        cost_cents=487_050, document="LS 2026-118", recorded_by="u-b4408e15",
    )  # fmt: skip
    book.deliveries[tank.name] = tank
    for meter in town.meters:
        usable = book.usable(meter.name)
        if usable:
            meter.latest_value = usable[-1][1].value
            meter.latest_slot.FromMilliseconds(usable[-1][0])
    for key, identity, rule, excess, cents, state in (
        ("f-1", "R-1", "night_base_load_up", 184_000, 5_888, metering_pb2.FINDING_STATE_OPEN),
        ("f-2", "W-1", "water_never_stops", 42_000, 23_940, metering_pb2.FINDING_STATE_OPEN),
        ("f-3", "G-1", "heating_in_warm_weather", 96_000, 9_120, metering_pb2.FINDING_STATE_CLOSED),
    ):
        meter = next(each for each in town.meters if each.name == name(identity))
        book.findings[key] = metering_pb2.Finding(
            name=f"municipalities/bad-hersfeld/findings/{key}", meter=meter.name, unit=meter.unit, rule=rule,
            meter_display_name=meter.display_name, start_time=timestamp_to_proto(last - timedelta(days=9)),
            end_time=timestamp_to_proto(last - timedelta(days=1)), excess_amount=excess, cost_cents=cents, state=state,
            detail="<b>seen</b> on 8 nights", raised_at=timestamp_to_proto(last - timedelta(days=1)),
            coverage_permille=987, etag="1",
        )  # fmt: skip
    town.book.findings = {finding.name: finding for finding in town.book.findings.values()}
    return last
