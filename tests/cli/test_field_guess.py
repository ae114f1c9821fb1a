"""Which profiles a scan recommends for what a device says of itself."""

from __future__ import annotations

import pytest

from cli.field.connection import now
from cli.field.guess import by_maker, by_maker_or_values, by_product
from fieldbus.client import Fieldbus
from fieldbus.profile_loader import load_profile
from fieldbus.values import Identity
from tests.cli.conftest import floats
from tests.cli.field_command import field
from tests.fieldbus.servers import PymodbusServer


@pytest.mark.parametrize(
    ("vendor", "product", "profiles"),
    [
        ("Eastron", "SDM630MCT", ["eastron-sdm630"]),
        ("ABB", "B23 112-100", ["abb-b23"]),
        ("Janitza electronics", "B23", ["janitza-b23"]),
        ("SIEMENS", "SENTRON PAC4200", ["siemens-pac3200"]),
        ("Siemens AG", "LOGO! 8", ["cabinet-logo8"]),
        ("Lichtbuch", "Simulator", []),
        ("ACME", "Generic PLC, reference design", []),
        ("Siemens", "SENTRON PAC1600", []),
        ("", "", []),
    ],
)
def test_a_profile_is_known_by_the_product_and_by_no_word_that_says_only_what_kind_it_is(
    vendor: str, product: str, profiles: list[str]
) -> None:
    assert by_product(Identity(vendor, product)) == profiles


def test_of_a_makers_profiles_meters_come_first() -> None:
    kinds = [load_profile(name).kind for name in by_maker(Identity("Siemens", "SENTRON PAC1600"))]
    assert kinds[0] == "meter"
    assert kinds[-1] == "cabinet"


@pytest.mark.parametrize("product", ["Simulator", "PLC", "Gateway"])
def test_the_simulator_is_nobodys_make(product: str) -> None:
    assert by_maker(Identity("Lichtbuch", product)) == []


async def test_where_only_the_maker_is_known_the_values_decide() -> None:
    meter = floats(230.1, 229.8, 231.0) + [0] * 64 + floats(50.01)
    server = PymodbusServer({1: {"input": {0: meter}, "holding": {0: [0] * 8}}}, identity=("Eastron", "Energy meter"))
    await server.start()
    try:
        done = await field("scan", server.url, "--unit", "1", "--json")
    finally:
        await server.stop()
    (row,) = done.document
    assert "eastron-sdm630" in row["profiles"]
    assert all(name.startswith("eastron-") for name in row["profiles"])
    assert row["why"] == "by its maker and its values"


async def test_a_maker_whose_profiles_do_not_fit_is_told_as_no_more_than_that(line: PymodbusServer) -> None:
    fieldbus = Fieldbus(now=now)
    try:
        profiles, why = await by_maker_or_values(fieldbus, line.url, Identity("Siemens", "PAC1600"))
    finally:
        await fieldbus.close()
    assert why == "by its maker"
    assert profiles[0].startswith("siemens-pac")
