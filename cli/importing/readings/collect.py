"""What was read so far: a piece of readings that is sent next, and the tally of the whole file. Pure.

Memory stays bounded however long the file is: a piece holds so many readings, the tally only counts, and of the
refusals the first thousand in words.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from cli.importing.luminaires import Refusal
from cli.importing.readings.known import KnownMeter, Status
from domain.errors import InvalidInput, Violation

PIECE: Final = 50_000
MAX_TOLD: Final = 1_000
"""Refusals that are kept in words; all are counted by reason."""
HOPELESS: Final = 1_000
"""So many refusals before the first reading: the file is declared wrongly."""


def _numbers() -> array[int]:
    return array("q")


@dataclass(slots=True)
class Piece:
    """Readings in columns; element i of each belongs to reading i. `observed` 0 is the slot; `lines` are the file's."""

    meters: list[str] = field(default_factory=list)
    indexes: array[int] = field(default_factory=_numbers)
    slots: array[int] = field(default_factory=_numbers)
    values: array[int] = field(default_factory=_numbers)
    statuses: array[int] = field(default_factory=_numbers)
    observed: array[int] = field(default_factory=_numbers)
    lines: array[int] = field(default_factory=_numbers)

    def __len__(self) -> int:
        return len(self.slots)


@dataclass(slots=True)
class Span:
    """What a file holds of one meter: how many readings, and from when to when (Unix ms)."""

    readings: int
    first_ms: int
    last_ms: int


@dataclass
class Tally:
    """What became of a file, as far as reading goes."""

    lines: int = 0
    readings: int = 0
    missing: int = 0
    rounded: int = 0
    skipped: int = 0
    refused: int = 0
    by_reason: Counter[str] = field(default_factory=Counter)
    refusals: list[Refusal] = field(default_factory=list)
    meters: dict[str, Span] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Something that a person should know, once."""
        if text not in self.notes:
            self.notes.append(text)


class Collector:
    """Takes readings one by one and hands them on by the piece."""

    def __init__(self, tally: Tally, size: int = PIECE) -> None:
        self.tally = tally
        self._size = size
        self.held = 0
        """Values that may become readings yet: nobody knows where they end while the file is not over."""
        self._piece = Piece()
        self._index: dict[str, int] = {}

    @property
    def full(self) -> bool:
        """Whether a piece is complete."""
        return len(self._piece) >= self._size

    def take(self) -> Piece:
        """The piece so far; a new one begins."""
        piece, self._piece, self._index = self._piece, Piece(), {}
        return piece

    def add(self, line: int, meter: KnownMeter, slot_ms: int, value: int, status: int, observed_ms: int = 0) -> None:
        """Takes a reading; a gap counts as missing too."""
        piece, tally = self._piece, self.tally
        index = self._index.get(meter.name)
        if index is None:
            index = self._index[meter.name] = len(piece.meters)
            piece.meters.append(meter.name)
        piece.indexes.append(index)
        piece.slots.append(slot_ms)
        piece.values.append(value)
        piece.statuses.append(status)
        piece.observed.append(observed_ms)
        piece.lines.append(line)
        tally.readings += 1
        tally.missing += status == Status.GAP
        span = tally.meters.get(meter.name)
        if span is None:
            tally.meters[meter.name] = Span(1, slot_ms, slot_ms)
            return
        span.readings += 1
        if slot_ms > span.last_ms:
            span.last_ms = slot_ms
        elif slot_ms < span.first_ms:
            span.first_ms = slot_ms

    def refuse(self, line: int, column: str, reason: str, value: str = "") -> None:
        """Counts what cannot be taken. Raises InvalidInput where nothing of the file can be."""
        tally = self.tally
        tally.refused += 1
        told = reason if reason in tally.by_reason or len(tally.by_reason) < MAX_TOLD else "other reasons"
        tally.by_reason[told] += 1
        if len(tally.refusals) < MAX_TOLD:
            tally.refusals.append(Refusal(line, column, reason, value[:100]))
        if tally.refused >= HOPELESS and not tally.readings and not self.held:
            seen: dict[str, Refusal] = {}
            for refusal in tally.refusals:
                seen.setdefault(refusal.reason, refusal)
            raise InvalidInput(
                f"the first {tally.refused} values are refused, and none is taken: is the file what it is declared as?",
                [
                    Violation(f"line {one.line}, {one.column}", f"{one.reason}: {one.value}")
                    for one in list(seen.values())[:5]
                ],
            )
