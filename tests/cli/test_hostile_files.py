"""Files that were made to break the reader end as a clear refusal, never as a crash, and never fill the memory."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest

from cli.importing import tables
from cli.importing.tables import read_table
from domain.errors import InvalidInput

SHEET = "xl/worksheets/sheet1.xml"


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    path = tmp_path / "town.xlsx"
    book = openpyxl.Workbook()
    book.active.append(["id", "watts"])
    book.active.append(["L-1", "70"])
    book.save(path)
    return path


def changed(path: Path, member: str, change: Callable[[bytes], bytes | None]) -> Path:
    """The archive with one member changed, or left out."""
    other = path.with_name("changed.xlsx")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            content = source.read(name)
            data = change(content) if name == member else content
            if data is not None:
                target.writestr(name, data)
    return other


@pytest.mark.parametrize(
    ("member", "change"),
    [
        (SHEET, lambda data: data[: len(data) // 2]),
        (SHEET, lambda data: None),
        (SHEET, lambda data: data.replace(b'r="A1"', b'r="ZZZZZZ1"')),
        ("xl/workbook.xml", lambda data: data[: len(data) // 2]),
        ("[Content_Types].xml", lambda data: b""),
    ],
)
def test_a_broken_workbook_is_refused(workbook, member, change):
    with pytest.raises(InvalidInput, match="no readable XLSX file"):
        read_table(changed(workbook, member, change))


def test_a_cell_without_end_is_refused_with_its_line(workbook):
    book = openpyxl.load_workbook(workbook)
    book.active.append(["L-2", "7" * 30_000])
    book.save(workbook)
    assert len(read_table(workbook).rows) == 2
    longer = changed(workbook, SHEET, lambda data: data.replace(b"7" * 30_000, b"7" * 200_000))
    with pytest.raises(InvalidInput, match="line 3: a cell holds more than"):
        read_table(longer)


@pytest.mark.parametrize("ending", ["xlsx", "zip"])
def test_an_archive_that_unpacks_to_far_more_than_a_town_is_refused_unread(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(tables, "MAX_UNPACKED", 10 << 20)
    path = tmp_path / f"bomb.{ending}"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.shp", "a.dbf", SHEET):
            archive.writestr(name, bytes(5 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(InvalidInput, match="unpacks to 15 MiB, at most 10"):
        read_table(path)


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, '{"a":' * 50_000 + "1" + "}" * 50_000, '{"a":' * 900 + "1" + "}" * 900, f'[{{"a":{"9" * 5000}}}]'],
)
def test_json_without_end_is_refused(tmp_path, content):
    path = tmp_path / "town.json"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=r"JSON|nested"):
        read_table(path)


def test_a_shapefile_archive_that_points_outside_writes_nothing(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    path = inside / "town.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../../a.shp", "../../a.dbf", "../../a.shx"):
            archive.writestr(name, b"\x00\x00\x27\x0a" + bytes(200))
    with pytest.raises(InvalidInput, match="no readable Shapefile"):
        read_table(path)
    assert [entry.name for entry in tmp_path.rglob("*") if entry.is_file()] == ["town.zip"]
