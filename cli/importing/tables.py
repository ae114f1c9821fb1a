"""Files into rows of text: CSV in any usual habit, XLSX, GeoJSON, Shapefile, JSON records; texts gzipped, too.

A row is a mapping of column name to text, with the line it came from. What a cell means is not decided here. A file
that cannot be read at all raises InvalidInput; a row that does not fit its header is handed on as refused.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from domain.errors import InvalidInput

if TYPE_CHECKING:
    from openpyxl import Workbook

GEOMETRY_X: Final = "geometry.x"
GEOMETRY_Y: Final = "geometry.y"
# A spreadsheet takes a cell that begins so for a formula, and a formula may call programs and addresses: such texts are
# written with a quote in front (plain.py), which is taken off again here.
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
DELIMITERS: Final = (";", ",", "\t", "|")
# A spreadsheet cell longer than this is no inventory value but an accident, for instance a quote that never closes.
MAX_CELL: Final = 100_000
# What an archive (XLSX, zipped Shapefile, gzip) may unpack to. The inventory of a large city takes a hundredth of it.
MAX_UNPACKED: Final = 1 << 30
_NO_TEXTS: Final = (".xlsx", ".xlsm", ".xls", ".shp", ".zip", ".gz")


@dataclass(frozen=True)
class Row:
    """One line of a file. `line` counts from 1 as an editor or a spreadsheet does; for features it is their number."""

    line: int
    cells: Mapping[str, str]
    refusal: str = ""


@dataclass
class Table:
    """A file as rows of text. `crs` is what the file itself says of its coordinates, in any form pyproj knows."""

    columns: list[str]
    rows: list[Row] = field(default_factory=list)
    crs: str = ""
    habits: str = ""
    entities: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    """What else a file tells of, with its line: entities of FIWARE (parts.py)."""


def read_table(path: Path) -> Table:
    """Read a file by its name's ending and, where that says little, by its first bytes. Raises InvalidInput."""
    if not path.is_file():
        raise InvalidInput.of("file", f"{path} is not a file")
    ending = path.suffix.lower()
    if ending == ".gz":
        return _from_text(_unzipped(path), path.stem)
    if ending in (".xlsx", ".xlsm"):
        return _read_xlsx(path)
    if ending == ".xls":
        raise InvalidInput.of("file", "this is the old Excel format: save it as .xlsx or as CSV")
    if ending in (".shp", ".zip"):
        return _read_shapefile(path)
    return _from_text(path.read_bytes(), path.name)


def _unzipped(path: Path) -> bytes:
    """What a gzipped text unpacks to. Raises InvalidInput where that is broken, too much, or an archive once more."""
    if Path(path.stem).suffix.lower() in _NO_TEXTS:
        raise InvalidInput.of("file", f"{path.name}: only texts are read gzipped; unpack it first")
    try:
        with gzip.open(path) as stream:
            content = stream.read(MAX_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInput.of("file", f"{path.name} cannot be read to its end: {error}") from error
    if len(content) > MAX_UNPACKED:
        raise InvalidInput.of(
            "file", f"{path.name} unpacks to more than {MAX_UNPACKED >> 20} MiB, at most so many are read"
        )
    return content


def _from_text(content: bytes, name: str) -> Table:
    """A file of text by its bytes; of `name` only the ending counts."""
    ending = Path(name).suffix.lower()
    if not content.strip():
        raise InvalidInput.of("file", f"{name} is empty")
    if ending in (".json", ".geojson") or content.lstrip(codecs.BOM_UTF8 + b" \t\r\n")[:1] in (b"{", b"["):
        return _read_json(content, name)
    if b"\x00" in content[:4096] and not content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InvalidInput.of("file", f"{name} is no text: CSV, XLSX, GeoJSON and Shapefiles are read")
    return _read_csv(content)


# --- CSV ---------------------------------------------------------------------------------------------------


def decode(content: bytes) -> tuple[str, str]:
    """Text and the name of its encoding: a byte-order mark, else UTF-8, else Windows Latin-1."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if content.startswith(mark):
            try:
                return content.decode(encoding), encoding
            except UnicodeDecodeError as error:
                raise InvalidInput.of("file", f"marked as {encoding}, but byte {error.start} does not fit") from error
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        # cp1252 is what Windows writes and calls Latin-1; its five undefined bytes fall back to true Latin-1.
        try:
            return content.decode("cp1252"), "cp1252"
        except UnicodeDecodeError:
            return content.decode("latin-1"), "latin-1"


def sniff_delimiter(lines: list[str]) -> str:
    """The delimiter that splits the first lines into the most columns, the same number in most of them."""

    def worth(delimiter: str) -> tuple[int, int]:
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
        return (sum(width == widths[0] for width in widths) if widths[0] > 1 else 0, widths[0])

    return max(DELIMITERS, key=worth)


def _read_csv(content: bytes) -> Table:
    text, encoding = decode(content)
    first_line = 1
    declared = ""
    head, _, rest = text.partition("\n")
    if head.lower().startswith("sep=") and len(head.rstrip("\r")) == 5:
        # Excel's way of saying which delimiter follows.
        declared, text, first_line = head[4], rest, 2
    sample = [line for line in text[:20_000].splitlines() if line.strip()][:20]
    if not sample:
        raise InvalidInput.of("file", "there is no header line")
    delimiter = declared or sniff_delimiter(sample)
    csv.field_size_limit(MAX_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = next(row for row in reader if any(cell.strip() for cell in row))
        columns = _header(header)
        table = Table(columns, habits=f"{encoding}, delimiter {delimiter!r}")
        before = reader.line_num
        for cells in reader:
            line, before = before + first_line, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            refusal = ""
            if len(cells) > len(columns) and any(cell.strip() for cell in cells[len(columns) :]):
                refusal = f"has {len(cells)} cells where the header has {len(columns)}"
            elif len(cells) < len(columns):
                refusal = f"ends after {len(cells)} of {len(columns)} cells"
            table.rows.append(Row(line, dict(zip(columns, map(_unquoted, cells), strict=False)), refusal))
    except csv.Error as error:
        raise InvalidInput.of("file", f"line {reader.line_num + first_line - 1}: {_why_unread(error)}") from error
    return table


def _why_unread(error: csv.Error) -> str:
    if "field limit" in str(error):
        return f"a cell holds more than {MAX_CELL} characters: does a quote never close?"
    return str(error)


def _unquoted(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(FORMULA_STARTS) else cell


def _header(cells: list[str]) -> list[str]:
    columns = [cell.strip() for cell in cells]
    while columns and not columns[-1]:
        columns.pop()
    named = [column or f"column {number}" for number, column in enumerate(columns, start=1)]
    doubled = sorted({column for column in named if named.count(column) > 1})
    if doubled:
        raise InvalidInput.of("file", f"the header names these columns more than once: {', '.join(doubled)}")
    return named


# --- spreadsheets ------------------------------------------------------------------------------------------


def cell_text(value: Any) -> str:
    """A cell's value as the text a person would have typed: 12.0 is 12, a date is ISO, nothing is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time().isoformat() == "00:00:00" else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return str(value).strip()


def _read_xlsx(path: Path) -> Table:
    from openpyxl import load_workbook

    try:
        check_archive(path)
        book = load_workbook(path, read_only=True, data_only=True)
        try:
            return _first_sheet(book, path.name)
        finally:
            book.close()
    except InvalidInput:
        raise
    except Exception as error:  # openpyxl raises whatever the XML inside makes of it
        raise InvalidInput.of("file", f"{path.name} is no readable XLSX file: {error}") from error


def _first_sheet(book: Workbook, name: str) -> Table:
    sheet = book.worksheets[0]
    columns: list[str] = []
    table = Table(columns, habits=f"sheet {sheet.title!r}")
    for line, values in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells = [cell_text(value) for value in values]
        if not any(cells):
            continue
        if any(len(cell) > MAX_CELL for cell in cells):
            raise InvalidInput.of("file", f"line {line}: a cell holds more than {MAX_CELL} characters")
        if not columns:
            columns.extend(_header(cells))
            continue
        table.rows.append(Row(line, dict(zip(columns, cells, strict=False))))
    if not columns:
        raise InvalidInput.of("file", f"the first sheet of {name} has no header line")
    return table


def check_archive(path: Path) -> None:
    """Raises InvalidInput for an archive that would fill the memory. No member yields more than it declares."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > MAX_UNPACKED:
        raise InvalidInput.of(
            "file", f"{path.name} unpacks to {unpacked >> 20} MiB, at most {MAX_UNPACKED >> 20} are read"
        )


# --- JSON --------------------------------------------------------------------------------------------------


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested JSON as dotted column names and text; a GeoJSON point inside gives its coordinates as geometry columns."""
    if isinstance(value, dict):
        if value.get("type") == "Point" and isinstance(value.get("coordinates"), list):
            yield from zip((GEOMETRY_X, GEOMETRY_Y), map(cell_text, value["coordinates"][:2]), strict=False)
        for key, inner in value.items():
            yield from flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value[:20]):
            yield from flatten(inner, f"{prefix}.{index}")
    else:
        yield prefix, cell_text(value)


def _crs_name(document: Any) -> str:
    """The first named coordinate system anywhere in the document (GeoJSON's old `crs` member)."""
    if isinstance(document, dict):
        crs = document.get("crs")
        if isinstance(crs, dict) and isinstance(crs.get("properties"), dict):
            return str(crs["properties"].get("name", ""))
        return next((name for inner in document.values() if (name := _crs_name(inner))), "")
    if isinstance(document, list):
        return next((name for inner in document[:5] if (name := _crs_name(inner))), "")
    return ""


def _read_json(content: bytes, name: str) -> Table:
    text, _ = decode(content)
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInput.of(
            "file", f"{name} is no JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, brackets without an end
        raise InvalidInput.of("file", f"{name} cannot be read as JSON: {error}") from error
    try:
        return _from_document(document, name)
    except RecursionError as error:
        raise InvalidInput.of("file", f"{name} is nested too deeply to be an inventory") from error


def _from_document(document: Any, name: str) -> Table:
    from cli.importing import fiware  # reads into the tables of this module

    crs = _crs_name(document)
    if isinstance(document, dict) and document.get("type") == "FeatureCollection":
        features = document.get("features")
        if not isinstance(features, list):
            raise InvalidInput.of("file", "the FeatureCollection has no list of features")
        # RFC 7946: GeoJSON without a crs member is WGS84.
        return _from_features(features, crs or "EPSG:4326")
    if fiware.holds_entities(document):
        return fiware.read_entities(document)
    if isinstance(document, dict) and document and all(isinstance(value, dict) for value in document.values()):
        records = [dict(flatten(value)) | {"@key": key} for key, value in document.items()]
        return _from_records(records, crs, "JSON records")
    if isinstance(document, dict):
        document = [document]
    if isinstance(document, list):
        return _from_records([dict(flatten(record)) for record in document], crs, "JSON records")
    raise InvalidInput.of("file", f"{name} holds neither features nor records")


def _from_features(features: list[Any], crs: str) -> Table:
    table = _from_records([_feature(feature) for feature in features], crs, "GeoJSON")
    table.rows = [
        Row(row.line, row.cells, _feature_fault(feature)) for row, feature in zip(table.rows, features, strict=True)
    ]
    return table


def _feature_fault(feature: Any) -> str:
    if not isinstance(feature, dict):
        return "is no feature"
    geometry = feature.get("geometry")
    if geometry is None:
        return ""
    if not isinstance(geometry, dict) or geometry.get("type") != "Point":
        return "geometry: is no point; luminaires are points"
    coordinates = geometry.get("coordinates")
    return "" if isinstance(coordinates, list) and len(coordinates) >= 2 else "geometry: has no two coordinates"


def _feature(feature: Any) -> dict[str, str]:
    if not isinstance(feature, dict):
        return {}
    cells = dict(flatten(feature.get("properties") or {}))
    geometry = feature.get("geometry")
    if isinstance(geometry, dict):
        cells |= dict(flatten(geometry, "geometry"))
    if feature.get("id") is not None:
        cells.setdefault("id", cell_text(feature["id"]))
    return cells


def _from_records(records: list[dict[str, str]], crs: str, habits: str) -> Table:
    columns: dict[str, None] = {}
    for record in records:
        columns.update(dict.fromkeys(record))
    rows = [Row(number, record) for number, record in enumerate(records, start=1)]
    return Table(list(columns), rows, crs, habits)


# --- Shapefile ---------------------------------------------------------------------------------------------


def _read_shapefile(path: Path) -> Table:
    import shapefile

    try:
        if path.suffix.lower() == ".zip":
            check_archive(path)
        encoding = _shapefile_encoding(path)
        with shapefile.Reader(str(path), encoding=encoding, encodingErrors="replace") as reader:
            columns = [item[0] for item in reader.fields if item[0] != "DeletionFlag"]
            table = Table([*columns, GEOMETRY_X, GEOMETRY_Y], crs=_projection(path), habits=f"Shapefile, {encoding}")
            for number, item in enumerate(reader.iterShapeRecords(), start=1):
                cells = {name: cell_text(value) for name, value in zip(columns, item.record, strict=False)}
                points = getattr(item.shape, "points", None) or []
                if len(points) == 1:
                    cells |= {GEOMETRY_X: repr(float(points[0][0])), GEOMETRY_Y: repr(float(points[0][1]))}
                refusal = "" if len(points) <= 1 else "is no point: luminaires are points"
                table.rows.append(Row(number, cells, refusal))
    except InvalidInput:
        raise
    except Exception as error:  # pyshp raises whatever the bytes inside make of it
        raise InvalidInput.of("file", f"{path.name} is no readable Shapefile: {error}") from error
    return table


def _beside(path: Path, ending: str) -> bytes:
    """A file that belongs to a Shapefile: beside it, or in the same archive. Empty where there is none."""
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(ending)]
            return archive.read(names[0]) if names else b""
    for candidate in (path.with_suffix(ending), path.with_suffix(ending.upper())):
        if candidate.is_file():
            return candidate.read_bytes()
    return b""


def _shapefile_encoding(path: Path) -> str:
    named = _beside(path, ".cpg").decode("ascii", "ignore").strip().lower()
    if named.isdigit():
        named = f"cp{named}"
    try:
        return codecs.lookup(named).name if named else "latin-1"
    except LookupError:
        return "latin-1"


def _projection(path: Path) -> str:
    return _beside(path, ".prj").decode("utf-8", "replace").strip()
