"""Rows become luminaires, or refusals that name line, column, reason and value."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.importing.coordinates import to_wgs84, transformer
from cli.importing.luminaires import Inventory, parse_date, parse_number, read_inventory, resource_id
from cli.importing.mapping import given_mapping, make_mapping
from cli.importing.tables import Row, Table, read_table
from domain.errors import InvalidInput

BAD_HERSFELD = (50.868, 9.707)
REAL = Path(os.environ.get("LICHTBUCH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "streetlights"
needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason=f"the real inventories are not at {REAL}")


def inventory_of(cells: dict[str, str], **arguments: object) -> Inventory:
    table = Table(list(cells), [Row(2, cells)])
    return read_inventory(table, make_mapping(table.columns, {}), **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "value"),
    [("70", 70.0), ("70,5", 70.5), ("1.234,5", 1234.5), ("1,234.5", 1234.5), ("1 234,5", 1234.5), ("105 W", 105.0),
     ("0,1 kW", 100.0), ("-3", -3.0), ("4.456484812E5", 445648.4812), ("1.234.567", 1234567.0)],
)  # fmt: skip
def test_numbers_are_read_as_people_write_them(text: str, value: float) -> None:
    assert parse_number(text, "W") == pytest.approx(value)


@pytest.mark.parametrize(("text", "reason"), [("12 kWh", "'kWh'"), ("about 70", "no number"), ("nan", "no number")])
def test_a_number_in_another_unit_or_none_at_all_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_number(text, "W")


@given(st.floats(-1e6, 1e6).map(lambda value: round(value, 3)))
def test_a_decimal_comma_is_a_decimal_point(value: float) -> None:
    assert parse_number(f"{value:.3f}".replace(".", ",")) == pytest.approx(value)


def test_dates_are_read_in_iso_and_in_german() -> None:
    assert {str(parse_date(text)) for text in ("2024-05-31", "31.05.2024", "2024-05-31T00:00:00.000Z")} == {
        "2024-05-31"
    }
    assert parse_date("31.13.2024") is None


def test_ids_become_names_that_a_resource_may_have() -> None:
    assert resource_id("Grüner Weg 3/b") == "Gruener-Weg-3-b"
    assert resource_id(" -- ") == ""


@pytest.mark.parametrize("crs", ["EPSG:25832", "EPSG:25833", "EPSG:4647", "EPSG:31467", "EPSG:31468", "EPSG:4326"])
def test_the_coordinate_system_is_told_from_the_numbers(crs: str) -> None:
    near = BAD_HERSFELD if crs != "EPSG:25833" and crs != "EPSG:31468" else (52.4, 13.1)
    if crs == "EPSG:31468":
        near = (50.9, 11.9)
    x, y = transformer(crs).transform(near[1], near[0], direction="INVERSE")
    positions = to_wgs84(np.array([x]), np.array([y]), near=near)
    assert positions.crs == crs
    assert positions.latitude_deg[0] == pytest.approx(near[0], abs=1e-6)
    assert positions.longitude_deg[0] == pytest.approx(near[1], abs=1e-6)


def test_a_utm_zone_that_nothing_names_is_asked_for() -> None:
    with pytest.raises(InvalidInput, match="--crs"):
        to_wgs84(np.array([550_000.0]), np.array([5_635_000.0]))


def test_gauss_krueger_agrees_with_utm_at_the_same_place_within_its_datum_shift() -> None:
    # The seven-parameter shift from DHDN is good for some metres in Germany.
    lon, lat = BAD_HERSFELD[1], BAD_HERSFELD[0]
    x, y = transformer("EPSG:31467").transform(lon, lat, direction="INVERSE")
    assert 3_500_000 < x < 3_600_000
    back = to_wgs84(np.array([x]), np.array([y]), "EPSG:31467")
    assert back.latitude_deg[0] == pytest.approx(lat, abs=1e-5)


@pytest.mark.parametrize(
    ("cells", "column", "reason"),
    [
        ({"id": "", "lat": "50.8", "lon": "9.7"}, "id", "is missing"),
        ({"id": "A", "lat": "50.8", "lon": ""}, "lon", "is missing"),
        ({"id": "A", "lat": "fifty", "lon": "9.7"}, "lat", "no number"),
        ({"id": "A", "lat": "9.7", "lon": "50.8"}, "lon", "swapped"),
        ({"id": "A", "lat": "50.8", "lon": "9.7", "watt": "70 lm"}, "watt", "'lm'"),
        ({"id": "A", "lat": "50.8", "lon": "9.7", "watt": "-70"}, "watt", "0 to 5000 W"),
        ({"id": "A", "lat": "50.8", "lon": "9.7", "class": "S4"}, "class", "EN 13201"),
        ({"id": "A", "lat": "50.8", "lon": "9.7", "einbaudatum": "soon"}, "einbaudatum", "is no date"),
        ({"id": "A", "lat": "50.8", "lon": "9.7", "floor_permille": "50.5"}, "floor_permille", "whole number"),
        ({"id": "A", "lat": "50.8", "lon": "9.7", "conflict_area": "perhaps"}, "conflict_area", "neither yes nor no"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_line_column_and_reason(
    cells: dict[str, str], column: str, reason: str
) -> None:
    inventory = inventory_of(cells, near=BAD_HERSFELD)
    assert inventory.rows == []
    assert [(refusal.line, refusal.column) for refusal in inventory.refusals] == [(2, column)]
    assert reason in inventory.refusals[0].reason


def test_a_second_line_with_the_same_id_is_refused_and_names_the_first() -> None:
    table = Table(["id"], [Row(2, {"id": "A 1"}), Row(3, {"id": "A-1"})])
    inventory = read_inventory(table, make_mapping(table.columns, {}))
    assert [row.line for row in inventory.rows] == [2]
    assert inventory.refusals[0].reason == "is the id of line 2 already"


def test_a_mapping_names_unknown_fields_and_missing_columns() -> None:
    with pytest.raises(InvalidInput) as refused:
        make_mapping(["nr"], {"luminaire_id": "PoleNum", "colour": "nr"})
    reasons = " ".join(violation.reason for violation in refused.value.violations)
    assert "'PoleNum'" in reasons
    assert "'colour'" in reasons


def test_a_mapping_joins_columns_fixes_values_and_is_overruled_by_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "mapping.toml"
    file.write_text("[luminaires]\nluminaire_id = '{cabinet}-{nr}'\nlighting_class = \"'P4'\"\nstreet = 'nr'\n")
    mapping = make_mapping(["cabinet", "nr"], given_mapping(["street="], file))
    row = Row(7, {"cabinet": "L11", "nr": "3"})
    assert mapping.text("luminaire_id", row) == "L11-3"
    assert mapping.text("lighting_class", row) == "P4"
    assert mapping.text("street", row) == ""


@needs_real_data
@pytest.mark.parametrize(
    ("file", "given", "crs", "near", "taken", "refused"),
    [
        ("boise_streetlights.csv", [], "", (43.6, -116.2), 11_394, 45),
        ("boise_streetlights.csv", ["luminaire_id=OBJECTID"], "", (43.6, -116.2), 11_438, 1),
        ("la_palma_alumbrado_2014.csv", [], "", (28.66, -17.86), 17_238, 0),
        ("montpellier_lanternes_2013.csv", ["luminaire_id=@line"], "", (43.61, 3.87), 29_969, 0),
        ("madrid_hortaleza_uluminosa.csv", [], "", (40.47, -3.65), 204, 95),
        ("madrid_hortaleza_uluminosa.csv", ["luminaire_id=@line"], "EPSG:25830", None, 299, 0),
        ("wuppertal_belis_record_sample.json", ["luminaire_id={schaltstelle}-{leuchtennummer}"], "", None, 1, 1),
    ],
)
def test_real_inventories_are_read(
    file: str, given: list[str], crs: str, near: tuple[float, float] | None, taken: int, refused: int
) -> None:
    table = read_table(REAL / file)
    inventory = read_inventory(table, make_mapping(table.columns, given_mapping(given, None)), crs=crs, near=near)
    assert (len(inventory.rows), inventory.refused_lines) == (taken, refused)


@needs_real_data
def test_montpellier_s_two_coordinate_systems_agree() -> None:
    table = read_table(REAL / "montpellier_lanternes_2013.csv")
    geographic = read_inventory(table, make_mapping(table.columns, {"luminaire_id": "@line"}))
    lambert = read_inventory(
        table, make_mapping(table.columns, {"luminaire_id": "@line", "x": "x_l93", "y": "y_l93"}), crs="EPSG:2154"
    )
    assert lambert.rows[0].latitude_deg == pytest.approx(geographic.rows[0].latitude_deg, abs=1e-5)
    assert lambert.rows[0].longitude_deg == pytest.approx(geographic.rows[0].longitude_deg, abs=1e-5)


@needs_real_data
def test_la_palma_s_zero_watts_are_unknown_not_zero() -> None:
    table = read_table(REAL / "la_palma_alumbrado_2014.csv")
    inventory = read_inventory(table, make_mapping(table.columns, {}))
    assert any("16393 luminaires have no installed power" in note for note in inventory.notes)
