"""A file of readings as rows of cells, one after the other: CSV of any habit, also gzipped, and XLSX.

A text is gone through once before anything is taken from it: bytes that do not fit its encoding, NULs and endless lines
are found before the first reading is stored. Nothing of the file is kept in memory but the row at hand.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Final, cast

from cli.importing.tables import MAX_CELL, cell_text, check_archive, sniff_delimiter
from domain.errors import InvalidInput

CHUNK: Final = 1 << 20
MAX_LINE: Final = 4 << 20
"""A longer line is no line of a table: it would be read into memory whole."""
SAMPLE_ROWS: Final = 200
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NOT_CP1252: Final = (0x81, 0x8D, 0x8F, 0x90, 0x9D)


@dataclass(frozen=True, slots=True)
class Scanned:
    """What going through a text told: its encoding, its lines and bytes (unpacked), and whether the last line ends."""

    encoding: str
    lines: int
    size: int
    ends: bool
    head: bytes


@dataclass
class Source:
    """A table: `columns` may name one twice (the hour that autumn repeats). `rows` are told with their line number;
    `at` is that of the last one taken, `lines` how many there are, 0 for unknown."""

    columns: list[str]
    sample: list[tuple[int, list[str]]]
    habits: str
    lines: int
    ends: bool = True
    delimiter: str = ""
    at: int = 0
    _rest: Iterator[tuple[int, list[str]]] = field(default_factory=lambda: iter(()))

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Line and cells of each row that is not empty; once. Raises InvalidInput where the file breaks."""
        for rows in (self.sample, self._rest):
            for line, cells in rows:
                self.at = line
                yield line, cells


def open_bytes(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked where it is gzipped. Raises InvalidInput for what is no file."""
    if path.is_dir():
        raise InvalidInput.of("file", f"{path} is a directory: give one file after the other")
    if not path.is_file():
        raise InvalidInput.of("file", f"{path} is not a file")
    try:
        return cast(IO[bytes], gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")
    except OSError as error:
        raise InvalidInput.of("file", f"{path} cannot be read: {error.strerror}") from error


def scan(path: Path, declared: str = "") -> Scanned:
    """Goes through a text once. Raises InvalidInput for an encoding that does not fit, NULs and endless lines."""
    try:
        with open_bytes(path) as stream:
            return _scan(stream, path.name, declared)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInput.of("file", f"{path.name} cannot be read to its end: {error}") from error


def _scan(stream: IO[bytes], name: str, declared: str) -> Scanned:
    head = stream.read(CHUNK)
    if not head.strip():
        raise InvalidInput.of("file", f"{name} is empty")
    marked = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), "")
    encoding = declared or marked or "utf-8"
    try:
        decoder = codecs.getincrementaldecoder(encoding)("strict")
    except LookupError:
        raise InvalidInput.of("encoding", f"{encoding!r} is no encoding; write utf-8, cp1252 or utf-16") from None
    wide = "16" in encoding or "32" in encoding
    guessed = not declared and not marked
    odd, lines, at, last, chunk = False, 0, 0, 0, head
    tail = b""
    while chunk:
        following = stream.read(CHUNK)
        if not wide and (nul := chunk.find(b"\0")) >= 0:
            line = lines + chunk.count(b"\n", 0, nul) + 1
            raise InvalidInput.of("file", f"line {line} holds a NUL byte: {name} is damaged, or no text")
        try:
            if decoder is not None:
                decoder.decode(chunk, final=not following)
        except UnicodeDecodeError as error:
            if not guessed:
                line = lines + error.object.count(b"\n", 0, error.start) + 1
                raise InvalidInput.of(
                    "encoding", f"the file is said to be {encoding}, but line {line} is not"
                ) from error
            decoder, encoding = None, "cp1252"  # type: ignore[assignment]
        odd = odd or any(byte in chunk for byte in _NOT_CP1252)
        newline = chunk.rfind(b"\n")
        if (at + (newline if newline >= 0 else len(chunk))) - last > MAX_LINE and chunk.find(b"\n") < 0:
            raise InvalidInput.of("file", f"line {lines + 1} is longer than {MAX_LINE >> 20} MiB: this is no table")
        last = at + newline if newline >= 0 else last
        lines += chunk.count(b"\n")
        at += len(chunk)
        tail = chunk[-2:]
        chunk = following
    if encoding == "cp1252" and guessed and odd:
        encoding = "latin-1"
    ends = tail.rstrip(b"\0").endswith((b"\n", b"\r"))
    return Scanned(encoding, lines + (0 if ends else 1), at, ends, head[: 1 << 16])


def open_source(path: Path, *, encoding: str = "", header_line: int = 0, delimiter: str = "") -> Source:
    """The table in a file. Raises InvalidInput where it cannot be read at all."""
    ending = path.suffix.lower()
    if ending in (".xlsx", ".xlsm"):
        with open_bytes(path):
            return _with_header(_sheet_rows(path), header_line, "spreadsheet", 0, True)
    if ending == ".xls":
        raise InvalidInput.of("file", "this is the old Excel format: save it as .xlsx or as CSV")
    scanned = scan(path, encoding)
    rows, found = _csv_rows(path, scanned, delimiter, header_line)
    source = _with_header(rows, header_line, f"{scanned.encoding}, delimiter {found!r}", scanned.lines, scanned.ends)
    source.delimiter = found
    return source


def _with_header(
    rows: Iterator[tuple[int, list[str]]], header_line: int, habits: str, lines: int, ends: bool
) -> Source:
    for line, cells in rows:
        if line < header_line:
            continue
        columns = [cell.strip() for cell in cells]
        while columns and not columns[-1]:
            columns.pop()
        if not columns:
            continue
        named = [column or f"column {number}" for number, column in enumerate(columns, start=1)]
        return Source(named, list(islice(rows, SAMPLE_ROWS)), habits, lines, ends, _rest=rows)
    raise InvalidInput.of("file", "there is no header line")


def _csv_rows(
    path: Path, scanned: Scanned, delimiter: str, header_line: int
) -> tuple[Iterator[tuple[int, list[str]]], str]:
    text = scanned.head.decode(scanned.encoding, "ignore")
    first, _, rest = text.partition("\n")
    named = first.strip("\r\ufeff")
    says = len(named) == 5 and named[:4].lower() == "sep="  # Excel's way of saying which delimiter follows
    sample = [line for line in (rest if says else text).splitlines()[max(0, header_line - 1) :] if line.strip()][:20]
    if not sample:
        raise InvalidInput.of("file", "there is no header line")
    found = delimiter or (named[4] if says else sniff_delimiter(sample))
    return _read_csv(path, scanned.encoding, found, int(says)), found


def _read_csv(path: Path, encoding: str, delimiter: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(MAX_CELL)
    with open_bytes(path) as raw, io.TextIOWrapper(raw, encoding=encoding, newline="") as stream:
        for _ in range(skipped):
            stream.readline()
        reader = csv.reader(stream, delimiter=delimiter)
        before = skipped
        try:
            for cells in reader:
                line, before = before + 1, reader.line_num + skipped
                if any(cells):
                    yield line, cells
        except csv.Error as error:
            why = "a cell holds too many characters: does a quote never close?" if "limit" in str(error) else str(error)
            raise InvalidInput.of("file", f"line {reader.line_num + skipped}: {why}") from error
        except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
            line = reader.line_num + skipped + 1
            raise InvalidInput.of("file", f"line {line}: the file cannot be read further: {error}") from error


def _sheet_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    from openpyxl import load_workbook

    try:
        check_archive(path)
        book = load_workbook(path, read_only=True, data_only=True)
        try:
            for line, values in enumerate(book.worksheets[0].iter_rows(values_only=True), start=1):
                cells = [cell_text(value) for value in values]
                if any(cells):
                    yield line, cells
        finally:
            book.close()
    except InvalidInput:
        raise
    except Exception as error:  # openpyxl raises whatever the XML inside makes of it
        raise InvalidInput.of("file", f"{path.name} is no readable XLSX file: {error}") from error
