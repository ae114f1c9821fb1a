"""What readings are made of: numbers in either habit, units in each other, meters by the names that files give them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from cli.commands.reading_imports import known_meter
from cli.importing.readings.amounts import SYMBOLS, Numbers, Unit, sniff_decimal, unit_in
from cli.importing.readings.known import Directory, Kind, KnownMeter, Step
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.convert import timestamp_to_proto


@pytest.mark.parametrize(
    ("unit", "base", "scale", "factor"),
    [("m3", "L", 0, "1000"), ("m³", "L", -3, "1000000"), ("t", "KG", 0, "1000"), ("°C", "CELSIUS", -2, "100"),
     ("kWh", "WH", 3, "1"), ("kW", "W", 0, "1000"), ("kvarh", "VARH", 0, "1000"), ("MW", "W", 0, "1000000"),
     ("mW", "W", 0, "0.001"), ("mWh", "WH", -3, "1.000"), ("MWh", "WH", 0, "1000000"), ("mwh", "WH", 0, "1000000")],
)  # fmt: skip
def test_values_count_in_the_scale_of_the_meter(unit: str, base: str, scale: int, factor: str) -> None:
    assert Unit(unit).multiplier(base, scale, None) == Decimal(factor)


@pytest.mark.parametrize(
    ("column", "unit"),
    [("kWh", "kWh"), ("energy_heat_kwh", "kwh"), ("Arbeit [kWh]", "kWh"), ("volume (m3)", "m3"), ("value", ""),
     ("phase_c", ""), ("air_temperature [degC]", "degC"), ("1", "")],
)  # fmt: skip
def test_a_column_may_name_its_unit(column: str, unit: str) -> None:
    assert unit_in(column) == unit


@pytest.mark.parametrize(
    ("decimal", "text", "value"),
    [(",", "1.234,5", "1234.5"), (",", "1.234", "1234"), (",", "0,125", "0.125"), (".", "1,234.5", "1234.5"),
     (".", "1.234", "1.234"), (".", "1 234.5", "1234.5"), (",", "1'234'567", "1234567"), (".", "1e3", "1000")],
)  # fmt: skip
def test_numbers_are_read_by_their_decimal_sign(decimal: str, text: str, value: str) -> None:
    assert Numbers(decimal).parse(text) == Decimal(value)


@pytest.mark.parametrize(
    ("decimal", "text"),
    [(",", "1.5"), (".", "1,5"), (".", "nan"), (".", "1_000"), (".", "1e99"), (".", "12 kWh"), (".", "١٢x")],
)
def test_a_number_of_another_habit_than_the_file_s_is_refused(decimal: str, text: str) -> None:
    with pytest.raises(ValueError):
        Numbers(decimal).parse(text)


@pytest.mark.parametrize(
    ("texts", "sign"),
    [
        (["1.5", "2"], "."),
        (["1,5"], ","),
        (["1.234", "1.234,5"], ","),
        (["1,234", "1,234.5"], "."),
        (["1.234.567"], ","),
        (["7", ""], ""),
    ],
)
def test_the_decimal_sign_is_told_from_the_file(texts: list[str], sign: str) -> None:
    assert sniff_decimal(texts) == sign


def test_a_register_is_told_from_its_housing_by_its_code() -> None:
    housing = KnownMeter("municipalities/town/meters/a", obis="1-1:1.8.0", aliases=("77",))
    feed_in = KnownMeter("municipalities/town/meters/b", obis="1-1:2.8.0", aliases=("77",), in_housing_of_another=True)
    town = Directory([housing, feed_in])
    assert town.find("77") is housing
    assert town.find("77", "1-1:2.8.0") is feed_in
    with pytest.raises(ValueError, match="no meter"):
        town.find("77", "1-1:3.8.0")


def test_every_unit_of_the_contract_has_a_symbol_that_is_read_again() -> None:
    units = [pb.Unit.Name(number).removeprefix("UNIT_") for number in pb.Unit.values() if number]
    for unit in units:
        assert Unit(SYMBOLS[unit]).multiplier(unit, 0, None) == 1


def test_a_meter_of_the_contract_is_known_with_its_housing_s_names_and_what_exchanges_changed() -> None:
    since = datetime(2026, 1, 15, tzinfo=UTC)
    housing = pb.Meter(name="municipalities/t/meters/a", serial_number="77", metering_location="DE1")
    register = pb.Meter(
        name="municipalities/t/meters/b",
        unit=pb.UNIT_WH,
        kind=pb.READING_KIND_INTERVAL,
        reading_cycle=pb.READING_CYCLE_HOUR,
        obis_code="1-1:2.8.0",
        device=housing.name,
        lives=[
            pb.RegisterLife(unit=pb.UNIT_L, scale_exponent=-3),
            pb.RegisterLife(unit=pb.UNIT_WH, installed_at=timestamp_to_proto(since)),
        ],
    )
    known = known_meter(register, housing)
    assert (known.kind, known.step, known.aliases, known.in_housing_of_another) == (
        Kind.INTERVAL, Step.HOUR, ("77", "DE1"), True,
    )  # fmt: skip
    instant_ms = int(since.timestamp() * 1000)
    assert (known.counts_at(instant_ms - 1), known.counts_at(instant_ms)) == (("L", -3), ("WH", 0))


@pytest.mark.parametrize(
    ("endpoint", "cycle", "step"),
    [
        ("", pb.READING_CYCLE_UNSPECIFIED, None),
        ("municipalities/t/endpoints/e", pb.READING_CYCLE_UNSPECIFIED, Step.QUARTER_HOUR),
        ("", pb.READING_CYCLE_DAY, Step.DAY),
        ("", pb.READING_CYCLE_IRREGULAR, None),
    ],
)
def test_a_meter_that_is_read_by_the_service_is_read_every_quarter_hour(
    endpoint: str, cycle: pb.ReadingCycle.ValueType, step: Step | None
) -> None:
    meter = pb.Meter(name="municipalities/t/meters/a", unit=pb.UNIT_WH, endpoint=endpoint, reading_cycle=cycle)
    known = known_meter(meter, None)
    assert (known.kind, known.step) == (Kind.COUNTER, step)


def test_a_sign_that_no_number_has_had_yet_is_told_by_the_first_that_has_one() -> None:
    numbers = Numbers("")
    assert [numbers.parse(text) for text in ("7", "7,5", "1.000,5")] == [7, Decimal("7.5"), Decimal("1000.5")]
    with pytest.raises(ValueError, match="decimal comma"):
        numbers.parse("7.5")
