"""Opens a file of readings: which layout it has, what was declared of it, and the pieces that come out."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cli.importing.readings import long_table, mscons, wide_table
from cli.importing.readings.amounts import Numbers, sniff_decimal
from cli.importing.readings.collect import PIECE, Collector, Piece, Tally
from cli.importing.readings.declared import Declared
from cli.importing.readings.known import Directory, KnownMeter
from cli.importing.readings.source import Source, open_bytes, open_source
from cli.importing.readings.stamps import zone_of
from cli.importing.readings.taking import Taker
from domain.errors import InvalidInput, Violation


@dataclass
class ReadingsFile:
    """A file that is being read: `tally` grows while `pieces` are taken.

    `done` tells how much of `size` has been read, in lines or bytes; the size is 0 where nobody knows it.
    """

    layout: str
    habits: str
    size: int
    done: Callable[[], int]
    tally: Tally
    pieces: Iterator[Piece]


def open_readings(
    path: Path,
    declared: Declared,
    directory: Directory,
    *,
    time_zone: str,
    hand: bool = False,
    size: int = PIECE,
) -> ReadingsFile:
    """Opens a file. `time_zone` is the town's, for times that say none. Raises InvalidInput before anything is read.

    The pieces raise InvalidInput where the file, or what was declared of it, turns out wrong as a whole.
    """
    tz = zone_of(declared.time_zone or time_zone)
    tally = Tally()
    collector = Collector(tally, size)
    with open_bytes(path) as stream:
        try:
            head = stream.read(64)
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidInput.of("file", f"{path.name} cannot be read: {error}") from error
    layout = declared.layout or ("mscons" if mscons.looks_like(head) else "")
    if layout == "mscons":
        if not mscons.looks_like(head):
            raise InvalidInput.of("layout", f"{path.name} begins with neither UNA nor UNB: it is no MSCONS")
        # Its intervals bear both instants.
        told = replace(declared, stamp="end", series=tuple(replace(one, stamp="") for one in declared.series))
        taker = Taker(told, directory, collector, Numbers("."), tz, hand)
        reader = mscons.MsconsReader(path, told, taker, tz)
        return ReadingsFile(layout, "MSCONS", reader.size, lambda: reader.at, tally, reader.pieces())
    source = open_source(path, encoding=declared.encoding, header_line=declared.header_line)
    if not source.ends:
        tally.note("the last line does not end with a line break: was the file cut off?")
    if not layout:
        layout = "wide" if wide_table.looks_wide(source.columns) else "long"
    if layout == "wide":
        wide = wide_table.find_layout(source, declared)
        numbers = _numbers(source, declared, [slot.cell for slot in wide.slots])
        taker = Taker(replace(declared, stamp="end"), directory, collector, numbers, tz, hand)
        pieces = wide_table.WideReader(source, wide, declared, taker, tz, hand).pieces()
    else:
        long = long_table.find_layout(source, declared)
        if long.is_own:
            declared = replace(declared, stamp="end")
        cells = [cell for cell, _, _ in long.values]
        numbers = Numbers(".") if long.is_own else _numbers(source, declared, cells)
        taker = Taker(declared, directory, collector, numbers, tz, hand)
        pieces = long_table.LongReader(source, long, declared, taker, tz, hand).pieces()
    habits = f"{layout}, {source.habits}, decimal {numbers.decimal!r}"
    return ReadingsFile(layout, habits, source.lines, lambda: source.at, tally, pieces)


def _numbers(source: Source, declared: Declared, cells: list[int]) -> Numbers:
    if declared.decimal:
        return Numbers(declared.decimal)
    texts = (row[cell] for _, row in source.sample for cell in cells if cell < len(row))
    return Numbers(sniff_decimal(texts))


def read_values(path: Path, declared: Declared, *, time_zone: str) -> list[tuple[int, int]]:
    """All values of a small file as (Unix ms, Wh), in its order: for tools that ask no service.

    Raises InvalidInput that names every line that cannot be read.
    """
    meter = KnownMeter("municipalities/file/meters/file", aliases=("file",), step=None)
    found = open_readings(path, replace(declared, meter="file"), Directory([meter]), time_zone=time_zone, hand=True)
    values = [pair for piece in found.pieces for pair in zip(piece.slots, piece.values, strict=True)]
    if found.tally.refused:
        raise InvalidInput(
            f"{path.name} has {found.tally.refused} values that cannot be read",
            [
                Violation(f"line {one.line}, {one.column}", f"{one.reason}: {one.value}")
                for one in found.tally.refusals[:20]
            ],
        )
    return values
