"""Commands to a Modbus device: checked, coalesced into few requests, each with its outcome.

Wear protection and confirmation by reading back are common to all protocols: commands.py.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from domain.errors import InvalidInput, OutOfLimits
from fieldbus.codec import encode
from fieldbus.commands import Command, confirm, count_outcomes, drop_unchanged
from fieldbus.faults import ACKNOWLEDGE, ILLEGAL_FUNCTION, AnswerLost, DeviceException, LinkDown, Malformed, NoAnswer
from fieldbus.profile import Table, WriteMode
from fieldbus.values import PointAddress, WriteOutcome, WriteResult

if TYPE_CHECKING:
    from fieldbus.modbus import ModbusDevice

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

    @property
    def end(self) -> int:
        """First address after it."""
        return self.start + len(self.words)

    @property
    def order(self) -> tuple[int, Table, int]:
        """Order of sending."""
        return self.rank, self.table, self.start


class ModbusWriter:
    """Writes for one device."""

    def __init__(self, device: ModbusDevice) -> None:
        self._device = device
        self._one_by_one = False  # the device refused functions 15 and 16

    async def write(self, writes: Sequence[tuple[PointAddress, float]], verify: bool) -> list[WriteResult]:
        """One result per command, in the order asked."""
        device = self._device
        results: dict[int, WriteResult] = {}
        commands = self._prepare(writes, results)
        waiting = device.waiting_reason
        if waiting:
            results.update({command.row: command.not_sent(waiting) for command in commands})
            commands = []
        commands = await drop_unchanged(commands, results, device.read)
        accepted = await self._send(sorted(commands, key=lambda command: command.order), results)
        if verify:
            await confirm(accepted, results, device.read, device.limits, device.monotonic)
        count_outcomes(device.counters, results)
        return [results[row] for row in range(len(writes))]

    def _prepare(
        self, writes: Sequence[tuple[PointAddress, float]], results: dict[int, WriteResult]
    ) -> list[RegisterCommand]:
        commands: list[RegisterCommand] = []
        places: set[tuple[Table, int]] = set()
        for row, (address, value) in enumerate(writes):
            binding = self._device.profile.binding(address)
            place = binding.modbus
            if place is None or place.write_address is None:
                results[row] = WriteResult(address, WriteOutcome.REFUSED, "can only be read")
                continue
            try:
                encoded = encode(binding, value, place.format)
            except OutOfLimits as error:
                results[row] = WriteResult(address, WriteOutcome.REFUSED, str(error))
                continue
            start = place.write_address.at(binding.scope, address.index)
            if (place.write_table, start) in places:
                raise InvalidInput.of("writes", f"{address} is commanded twice")
            places.add((place.write_table, start))
            commands.append(
                RegisterCommand(row, address, binding, encoded.value, place.write_table, start, encoded.registers)
            )
        return commands

    async def _send(self, commands: list[RegisterCommand], results: dict[int, WriteResult]) -> list[RegisterCommand]:
        """Send all in runs; the acknowledged ones are returned."""
        accepted: list[RegisterCommand] = []
        queue = self._runs(commands)
        while queue:
            run = queue.pop(0)
            try:
                await self._send_run(run)
            except DeviceException as error:
                if error.is_structural and len(run) > 1:
                    # Which of them the device means shows when they are sent in smaller parts.
                    self._one_by_one |= error.exception_code == ILLEGAL_FUNCTION
                    half = len(run) // 2
                    queue[:0] = self._runs(run) if self._one_by_one else [run[:half], run[half:]]
                elif error.exception_code == ACKNOWLEDGE:
                    accepted += run
                elif error.is_absence:
                    self._device.failed(NoAnswer(str(error)))
                    self._finish(run, WriteOutcome.UNKNOWN, str(error), results)
                else:
                    self._finish(run, WriteOutcome.REFUSED, str(error), results)
            except LinkDown as error:
                self._device.failed(error)
                self._not_sent([run, *queue], str(error), results)
                break
            except (NoAnswer, AnswerLost, Malformed) as error:
                self._device.failed(error)
                self._finish(run, WriteOutcome.UNKNOWN, str(error), results)
                self._not_sent(queue, str(error), results)
                break
            else:
                self._device.answered()
                accepted += run
        self._finish(accepted, WriteOutcome.ACCEPTED, "", results)
        return accepted

    def _runs(self, commands: list[RegisterCommand]) -> list[list[RegisterCommand]]:
        """Neighbouring registers together, as many as one request takes."""
        limits = self._device.profile.modbus
        single = self._one_by_one or limits.write_mode is WriteMode.SINGLE
        runs: list[list[RegisterCommand]] = []
        for command in commands:
            maximum = limits.max_write_bits if command.table.is_bits else limits.max_write_registers
            run = runs[-1] if runs else None
            joins = (
                run is not None
                and not single
                and run[-1].order[:2] == command.order[:2]
                and run[-1].end == command.start
                and command.end - run[0].start <= maximum
            )
            if run is not None and joins:
                run.append(command)
            else:
                runs.append([command])
        return runs

    async def _send_run(self, run: list[RegisterCommand]) -> None:
        """One request. Raises Malformed when the echo is not the command's."""
        table, start = run[0].table, run[0].start
        words = [word for command in run for word in command.words]
        count = len(words)
        multiple = count > 1 or self._device.profile.modbus.write_mode is WriteMode.MULTIPLE
        if table.is_bits and multiple:
            bits = np.packbits(np.array(words, dtype=np.uint8), bitorder="little").tobytes()
            function, payload = _WRITE_COILS, struct.pack(">HHB", start, count, len(bits)) + bits
        elif table.is_bits:
            function, payload = _WRITE_COIL, struct.pack(">HH", start, _COIL_ON if words[0] else 0)
        elif multiple:
            function, payload = _WRITE_REGISTERS, struct.pack(f">HHB{count}H", start, count, 2 * count, *words)
        else:
            function, payload = _WRITE_REGISTER, struct.pack(">HH", start, words[0])
        try:
            answer = await self._device.request(function, payload)
        except LinkDown:
            raise
        except (NoAnswer, AnswerLost, Malformed, DeviceException):
            self._device.counters.writes_sent += 1
            raise
        self._device.counters.writes_sent += 1
        # All four functions echo the address, the multiple ones the count too. A device may echo another value than
        # was written when it limits it: that is for the read-back to show.
        echoed = 4 if multiple else 2
        if len(answer) != 4 or answer[:echoed] != payload[:echoed]:
            self._device.counters.discarded += 1
            raise Malformed("the echo of the write does not match it")

    @staticmethod
    def _finish(
        run: list[RegisterCommand], outcome: WriteOutcome, reason: str, results: dict[int, WriteResult]
    ) -> None:
        results.update({command.row: command.result(outcome, reason) for command in run})

    @staticmethod
    def _not_sent(runs: list[list[RegisterCommand]], reason: str, results: dict[int, WriteResult]) -> None:
        results.update({command.row: command.not_sent(reason) for run in runs for command in run})
