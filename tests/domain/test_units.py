"""Units are converted exactly, and never taken for one another."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.units import (
    UNITS,
    Quantity,
    convert,
    decimal_wh_to_kwh,
    parse_number,
    parse_quantity,
    rounded,
    to_base,
    to_base_integer,
    to_wh,
    unit,
)


@pytest.mark.parametrize(
    ("value", "symbol", "wh"),
    [
        (1, "kWh", 1000),
        (0.1, "kWh", 100),
        (Decimal("123456789.01"), "kWh", 123_456_789_010),
        (2, "MWh", 2_000_000),
        (3600, "J", 1),
        (1, "GJ", 277_778),
        (0.0005, "kWh", 1),
        (-0.0005, "kWh", -1),
        (12, "KWH", 12_000),
    ],
)
def test_energy_becomes_whole_watt_hours(value, symbol, wh):
    assert to_wh(value, symbol) == wh


@pytest.mark.parametrize("symbol", ["kW", "W", "m³", "°C", "V", "kVAh", "", "kwh/a"])
def test_what_is_no_energy_is_refused_by_name(symbol):
    with pytest.raises(InvalidInput) as error:
        to_wh(1, symbol)
    assert error.value.violations[0].field == "unit"


def test_power_is_not_energy():
    with pytest.raises(InvalidInput, match="power"):
        unit("kW", Quantity.ENERGY)
    with pytest.raises(InvalidInput, match="kW measures power, kWh energy"):
        convert(1, UNITS["kW"], UNITS["kWh"])


def test_milli_and_mega_are_not_the_same():
    assert to_base(1, unit("MW")) == 10**9 * to_base(1, unit("mW"))


def test_temperatures_have_another_zero():
    assert to_base(32, unit("°F")) == 0
    assert to_base(212, unit("°F")) == 100
    assert to_base(Decimal("273.15"), unit("K")) == 0
    assert convert(20, unit("°C"), unit("°F")) == 68


@given(st.integers(-(10**15), 10**15), st.sampled_from(sorted(UNITS)), st.sampled_from(sorted(UNITS)))
def test_there_and_back_is_the_same(value, one, other):
    source, target = UNITS[one], UNITS[other]
    if source.quantity is target.quantity:
        there = convert(value, source, target)
        back = (there * target.factor + target.offset - source.offset) / source.factor
        assert back == value


def test_a_float_counts_as_the_number_it_prints():
    assert to_base(0.1, unit("kWh")) == 100
    assert to_base_integer(1234.56, unit("kWh")) == 1_234_560


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), "abc", None])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(InvalidInput):
        to_base(value, unit("Wh"))


@pytest.mark.parametrize(
    ("text", "comma", "number"),
    [
        ("1234.5", False, "1234.5"),
        ("1,234.5", False, "1234.5"),
        ("1234,5", True, "1234.5"),
        ("1.234,5", True, "1234.5"),
        ("1.234.567", True, "1234567"),
        (" -0,75 ", True, "-0.75"),
        ("1'234.5", False, "1234.5"),
        ("1\u00a0234,5", True, "1234.5"),
        ("+7", False, "7"),
        (".5", False, "0.5"),
        ("1e3", False, "1000"),
    ],
)
def test_numbers_are_read_as_the_table_writes_them(text, comma, number):
    assert parse_number(text, decimal_comma=comma) == Decimal(number)


@pytest.mark.parametrize(
    ("text", "comma"),
    [
        ("", False), ("-", False), ("12,5", False), ("12.5", True), ("1.23.4", True), ("1,2,3", True),
        ("12 kWh", False), ("NaN", False), ("inf", False), ("1e9999", False), ("0x10", False), ("1_000", False),
        ("1..5", False), ("٣", False),
    ],
)  # fmt: skip
def test_a_number_is_never_guessed(text, comma):
    with pytest.raises(InvalidInput) as error:
        parse_number(text, decimal_comma=comma, field="reading")
    assert error.value.violations[0].field == "reading"


def test_a_number_with_its_unit_is_a_quantity():
    assert parse_quantity("12.5 kWh", Quantity.ENERGY) == 12_500
    assert parse_quantity("12,5kWh", Quantity.ENERGY, decimal_comma=True) == 12_500
    assert parse_quantity("3 m³", Quantity.VOLUME) == 3000
    assert parse_quantity("-5 °C", Quantity.TEMPERATURE) == -5
    for wrong in ("12.5", "kWh", "12.5 kW", ""):
        with pytest.raises(InvalidInput):
            parse_quantity(wrong, Quantity.ENERGY)


def test_numbers_for_the_eye_are_rounded_at_the_end():
    assert decimal_wh_to_kwh(1_234_567) == Decimal("1234.567")
    assert rounded(Fraction(2, 3), 2) == Decimal("0.67")
    assert rounded(Fraction(-1, 8), 2) == Decimal("-0.13")
