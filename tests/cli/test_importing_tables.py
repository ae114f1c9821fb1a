"""Files become rows whatever the habits of the program that wrote them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import shapefile
from openpyxl import Workbook

from cli.importing.tables import GEOMETRY_X, GEOMETRY_Y, read_table
from domain.errors import InvalidInput

HEADER = "Leuchtennummer;Straße;Leistung"


@pytest.mark.parametrize(
    ("content", "street"),
    [
        (f"{HEADER}\nA1;Weißer Weg;70,5\n".encode(), "Weißer Weg"),
        (f"\ufeff{HEADER}\r\nA1;Weißer Weg;70,5\r\n".encode(), "Weißer Weg"),
        (f"{HEADER}\nA1;Weißer Weg;70,5\n".encode("latin-1"), "Weißer Weg"),
        (f"{HEADER}\nA1;„Am Markt“;70,5\n".encode("cp1252"), "„Am Markt“"),
        (f"{HEADER}\nA1;Weißer Weg;70,5\n".encode("utf-16"), "Weißer Weg"),
        (f"sep=;\n{HEADER}\nA1;Weißer Weg;70,5\n".encode(), "Weißer Weg"),
        (f"{HEADER}\nA1;Weißer Weg;70,5\n".replace(";", "\t").encode(), "Weißer Weg"),
        (b'Leuchtennummer,Stra\xc3\x9fe,Leistung\nA1,"Weg, am Wald",70.5\n', "Weg, am Wald"),
    ],
    ids=["utf-8", "utf-8 with mark", "latin-1", "windows", "utf-16", "excel's sep", "tabs", "commas and quotes"],
)
def test_a_csv_of_any_habit_gives_the_same_rows(tmp_path: Path, content: bytes, street: str) -> None:
    path = tmp_path / "inventory.csv"
    path.write_bytes(content)
    table = read_table(path)
    assert table.columns == ["Leuchtennummer", "Straße", "Leistung"]
    assert [row.cells["Straße"] for row in table.rows] == [street]


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "inventory.csv"
    path.write_text('sep=,\nid,note\nA1,"two\nlines"\n\nA2,short\n', encoding="utf-8")
    assert [(row.line, row.cells["id"]) for row in read_table(path).rows] == [(3, "A1"), (6, "A2")]


def test_a_line_with_too_many_or_too_few_cells_is_handed_on_as_refused(tmp_path: Path) -> None:
    path = tmp_path / "inventory.csv"
    path.write_text("id,street\nA1,Weg,surplus\nA2\nA3,Ring\n", encoding="utf-8")
    refusals = [row.refusal for row in read_table(path).rows]
    assert refusals == ["has 3 cells where the header has 2", "ends after 1 of 2 cells", ""]


def test_a_spreadsheet_gives_whole_numbers_without_a_point_and_dates_as_iso(tmp_path: Path) -> None:
    from datetime import datetime

    path = tmp_path / "inventory.xlsx"
    book = Workbook()
    book.active.append(["id", "watt", "day"])
    book.active.append([17.0, 70.5, datetime(2024, 5, 31)])
    book.save(path)
    table = read_table(path)
    assert dict(table.rows[0].cells) == {"id": "17", "watt": "70.5", "day": "2024-05-31"}
    assert table.rows[0].line == 2


def test_geojson_without_a_system_is_wgs84_and_its_points_are_columns(tmp_path: Path) -> None:
    path = tmp_path / "inventory.geojson"
    feature = {
        "type": "Feature",
        "properties": {"nr": 5},
        "geometry": {"type": "Point", "coordinates": [9.7, 50.8]},
    }
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}), encoding="utf-8")
    table = read_table(path)
    assert table.crs == "EPSG:4326"
    assert (table.rows[0].cells[GEOMETRY_X], table.rows[0].cells[GEOMETRY_Y]) == ("9.7", "50.8")


@pytest.mark.parametrize("zipped", [False, True], ids=["beside each other", "in one archive"])
def test_a_shapefile_says_its_own_coordinate_system(tmp_path: Path, zipped: bool) -> None:
    import pyproj

    with shapefile.Writer(str(tmp_path / "lamps"), encoding="utf-8") as writer:
        writer.field("NR", "C", size=20)
        writer.point(550_000.0, 5_635_000.0)
        writer.record("Ä-1")
    (tmp_path / "lamps.prj").write_text(pyproj.CRS("EPSG:25832").to_wkt("WKT1_ESRI"), encoding="utf-8")
    (tmp_path / "lamps.cpg").write_text("UTF-8", encoding="ascii")
    path = tmp_path / "lamps.shp"
    if zipped:
        path = tmp_path / "lamps.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for ending in ("shp", "shx", "dbf", "prj", "cpg"):
                archive.write(tmp_path / f"lamps.{ending}", f"lamps.{ending}")
    table = read_table(path)
    assert pyproj.CRS.from_user_input(table.crs).to_epsg(min_confidence=20) == 25832
    assert table.rows[0].cells["NR"] == "Ä-1"
    assert table.rows[0].cells[GEOMETRY_X] == "550000.0"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.csv", b"", "is empty"),
        ("binary.csv", b"id,street\n\x00\x01\x02", "is no text"),
        ("broken.json", b'{"features": [', "is no JSON"),
        ("broken.xlsx", b"PK nonsense", "no readable XLSX"),
        ("old.xls", b"\xd0\xcf\x11\xe0", "old Excel format"),
        ("broken.shp", b"nonsense", "no readable Shapefile"),
        ("doubled.csv", b"id,id\n1,2\n", "more than once: id"),
        ("number.json", b"[]\n", None),
    ],
)
def test_a_file_that_is_no_inventory_is_refused_with_the_reason(
    tmp_path: Path, name: str, content: bytes, reason: str | None
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    if reason is None:
        assert read_table(path).rows == []
        return
    with pytest.raises(InvalidInput) as refused:
        read_table(path)
    assert reason in refused.value.violations[0].reason
    assert refused.value.violations[0].field == "file"
