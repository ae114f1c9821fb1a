"""Numbers of registers as manuals print them, told from addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldbus.format.numbering import numbers_printed, printed_number, what_was_meant
from fieldbus.profile import Table


@pytest.mark.parametrize(
    ("number", "table", "address"),
    [
        (40001, Table.HOLDING, 0),
        (40257, Table.HOLDING, 256),
        (49999, Table.HOLDING, 9998),
        (30001, Table.INPUT, 0),
        (10017, Table.DISCRETE, 16),
        (400001, Table.HOLDING, 0),
        (465536, Table.HOLDING, 65535),
        (300058, Table.INPUT, 57),
    ],
)
def test_a_printed_number_names_table_and_address(number: int, table: Table, address: int) -> None:
    assert printed_number(number) == (table, address)


@pytest.mark.parametrize("number", [0, 17, 9999, 10000, 20001, 30000, 40000, 50001, 400000, 465537, -40001])
def test_other_numbers_are_addresses_and_nothing_else(number: int) -> None:
    assert printed_number(number) is None
    assert all(what_was_meant(number, number, table) == "" for table in Table)


@given(st.sampled_from([Table.HOLDING, Table.INPUT, Table.DISCRETE]), st.integers(0, 65535))
def test_what_is_printed_for_an_address_is_understood_as_that_address(table: Table, address: int) -> None:
    (number,) = numbers_printed(table, address)
    assert printed_number(int(number)) == (table, address)


def test_numbers_of_one_range_have_as_many_digits() -> None:
    assert numbers_printed(Table.HOLDING, 0) == ["40001"]
    assert numbers_printed(Table.HOLDING, 5, 13305) == ["400006", "413306"]
    assert numbers_printed(Table.COIL, 16) == ["00017"]


def test_registers_from_10001_on_and_coils_are_what_they_say() -> None:
    assert what_was_meant(12448, 12448, Table.COIL) == ""
    assert what_was_meant(12448, 12448, Table.HOLDING) == ""
    assert "write 16" in what_was_meant(10017, 10017, Table.DISCRETE)


def test_a_formula_is_told_where_to_begin() -> None:
    assert "40011 is the number" in what_was_meant(40011, 40073, Table.HOLDING)
    assert "begin with 10" in what_was_meant(40011, 40073, Table.HOLDING)
    assert what_was_meant(39990, 40073, Table.HOLDING) == "", "across two tables it is no printed number"


def test_a_number_beyond_all_addresses_can_be_meant_in_one_way_only() -> None:
    assert "wire_addresses" in what_was_meant(40257, 40257, Table.HOLDING)
    assert "wire_addresses" not in what_was_meant(400257, 400257, Table.HOLDING)
