"""Commands to registers and coils, and the requests that carry them. Pure: sending is write.py's business."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from fieldbus.commands import Command
from fieldbus.profile import CommandSequence, ModbusLimits, Table, WriteMode

_WRITE_COIL: Final = 5
_WRITE_REGISTER: Final = 6
_WRITE_COILS: Final = 15
_WRITE_REGISTERS: Final = 16
_COIL_ON: Final = 0xFF00


@dataclass(frozen=True, slots=True)
class RegisterCommand(Command):
    """A command with the registers (or the one bit) that carry it."""

    table: Table
    start: int
    words: tuple[int, ...]
    mode: WriteMode = WriteMode.AUTO
    sequence: CommandSequence | None = None
    sequence_register: int = -1

    @property
    def end(self) -> int:
        """First address after it."""
        return self.start + len(self.words)

    @property
    def order(self) -> tuple[int, Table, int, int]:
        """Order of sending."""
        return self.rank, self.table, self.start, self.address.index or 0

    @property
    def place(self) -> tuple[Table, int, int | None]:
        """What must not be commanded twice at a time."""
        return self.table, self.start, self.address.index if self.sequence else None

    def with_sequence(self, word: int) -> tuple[int, list[int]]:
        """Start and registers of a request that covers the sequence register, holding `word`, and the value."""
        start = min(self.start, self.sequence_register)
        registers = [0] * (max(self.end, self.sequence_register + 1) - start)
        registers[self.start - start : self.end - start] = self.words
        registers[self.sequence_register - start] = word
        return start, registers


Run = list[RegisterCommand]


@dataclass(frozen=True, slots=True)
class WriteFrame:
    """A request that writes: function, payload, and as many bytes of the payload as the answer must repeat."""

    function: int
    payload: bytes
    echoed: int

    def is_echoed_by(self, answer: bytes) -> bool:
        """Whether an answer is one to this request.

        All four functions echo the address, the multiple ones the count too. A device may echo another value than was
        written when it limits it: that is for the read-back to show.
        """
        return len(answer) == 4 and answer[: self.echoed] == self.payload[: self.echoed]


def write_frame(table: Table, start: int, words: Sequence[int], *, multiple: bool) -> WriteFrame:
    """The request that writes words (or bits, each 0 or 1) from `start` on."""
    count = len(words)
    if table.is_bits and multiple:
        bits = np.packbits(np.array(words, dtype=np.uint8), bitorder="little").tobytes()
        return WriteFrame(_WRITE_COILS, struct.pack(">HHB", start, count, len(bits)) + bits, 4)
    if table.is_bits:
        return WriteFrame(_WRITE_COIL, struct.pack(">HH", start, _COIL_ON if words[0] else 0), 2)
    if multiple:
        payload = struct.pack(f">HHB{count}H", start, count, 2 * count, *words)
        return WriteFrame(_WRITE_REGISTERS, payload, 4)
    return WriteFrame(_WRITE_REGISTER, struct.pack(">HH", start, words[0]), 2)


def runs_of(commands: Sequence[RegisterCommand], limits: ModbusLimits, *, one_by_one: bool) -> list[Run]:
    """Neighbouring registers together, as many as one request takes. Commands come in the order of sending."""
    runs: list[Run] = []
    for command in commands:
        run = runs[-1] if runs else None
        if run is not None and not one_by_one and _joins(run, command, limits):
            run.append(command)
        else:
            runs.append([command])
    return runs


def _joins(run: Run, command: RegisterCommand, limits: ModbusLimits) -> bool:
    last = run[-1]
    alone = (WriteMode.SINGLE, WriteMode.SEQUENCE)
    if command.mode in alone or last.mode in alone:
        return False
    maximum = limits.max_write_bits if command.table.is_bits else limits.max_write_registers
    same_kind = last.rank == command.rank and last.table is command.table
    return same_kind and last.end == command.start and command.end - run[0].start <= maximum
