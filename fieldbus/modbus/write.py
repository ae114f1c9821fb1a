"""Commands to a Modbus unit: checked, coalesced into few requests, each with its outcome.

Wear protection and confirmation by reading back are common to all protocols: commands.py. What a request looks like is
command.py's.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping, Sequence
from typing import Final

from domain.errors import InvalidInput, OutOfLimits
from fieldbus.codec import encode
from fieldbus.commands import Command, Read, confirm, count_outcomes, drop_unchanged
from fieldbus.faults import (
    ACKNOWLEDGE,
    BUSY,
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    NEGATIVE_ACKNOWLEDGE,
    AnswerLost,
    DeviceException,
    LinkDown,
    Malformed,
    NoAnswer,
)
from fieldbus.modbus.command import RegisterCommand, Run, WriteFrame, runs_of, write_frame
from fieldbus.modbus.sequences import SequenceCounters
from fieldbus.modbus.unit import ModbusUnit
from fieldbus.profile import PointBinding, Profile, WriteMode
from fieldbus.values import PointAddress, Quality, WriteOutcome, WriteResult

_READ_HOLDING: Final = 3
# Said before anything is done. All others may come half-way, or after it.
_CERTAINLY_NOT_DONE: Final = frozenset({ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, BUSY, NEGATIVE_ACKNOWLEDGE})


class _WrongEcho(Malformed):
    """The unit answered, but not as to this write: what of it took effect only reading back can tell."""


class _CounterUnread(Exception):
    """The sequence register gave no answer, so that the command was not sent."""

    def __init__(self, register: int, cause: DeviceException | NoAnswer | AnswerLost | Malformed) -> None:
        super().__init__(f"its sequence register {register} could not be read: {cause}")
        self.cause = cause

    @property
    def is_silence(self) -> bool:
        """Whether nobody said anything, rather than the unit that it cannot."""
        return not isinstance(self.cause, DeviceException) or self.cause.is_absence


class ModbusWriter:
    """Writes for one unit."""

    def __init__(self, unit: ModbusUnit, read: Read, read_factors: Read) -> None:
        """`read` reads points back, `read_factors` the exponents in their scale factor registers."""
        self._unit = unit
        self._read = read
        self._read_factors = read_factors
        self._sequences = SequenceCounters(unit.uniform)
        self._unreadable_sequences: set[int] = set()
        self._counting = asyncio.Lock()  # two commands that count on from the same number would be one to the device
        self._one_by_one = False  # the device refused functions 15 and 16

    async def write(
        self, profile: Profile, writes: Sequence[tuple[PointAddress, float]], verify: bool
    ) -> list[WriteResult]:
        """One result per command, in the order asked."""
        unit = self._unit
        deadline = unit.monotonic() + unit.limits.write_deadline_s
        results: dict[int, WriteResult] = {}
        failures: set[int] = set()
        with unit.bus.for_command():  # what has to be read before a command may be read whatever bytes are left
            factors = {} if unit.waiting_reason else await self._factors(profile, writes, results)
            commands = _prepare(profile, writes, factors, results)
            if not unit.waiting_reason:
                commands = await drop_unchanged(commands, results, self._read)
            if waiting := unit.waiting_reason:  # from the start, or since it was silent to what had to be read
                _not_sent([commands], waiting, results)
                commands = []
            commands.sort(key=lambda command: command.order)
            sent = await self._send(commands, results, failures, deadline)
        if verify:
            await confirm(sent, results, self._read, unit.limits, unit.monotonic, profile, failures)
        count_outcomes(unit.counters, results)
        return [results[row] for row in range(len(writes))]

    async def _factors(
        self, profile: Profile, writes: Sequence[tuple[PointAddress, float]], results: dict[int, WriteResult]
    ) -> dict[PointAddress, int]:
        """What the scale factors of the commanded points are now: a command cannot be right without."""
        scaled = {
            address: row
            for row, (address, _) in enumerate(writes)
            if (place := profile.binding(address).modbus) is not None and place.scale_factor and place.write_address
        }
        if not scaled:
            return {}
        batch = await self._read_factors(tuple(scaled))
        factors: dict[PointAddress, int] = {}
        for position, (address, row) in enumerate(scaled.items()):
            if batch.quality[position] == Quality.GOOD:
                factors[address] = int(batch.values[position])
            else:
                reason = "not sent: the scale factor of its register could not be read"
                results[row] = WriteResult(address, WriteOutcome.UNKNOWN, reason)
        return factors

    async def _send(
        self, commands: list[RegisterCommand], results: dict[int, WriteResult], failures: set[int], deadline: float
    ) -> list[Command]:
        """Send all in runs, until the deadline. Returned are those whose effect is worth looking for; in `failures` the
        rows of those with which the device says that it failed, perhaps half-way."""
        unit = self._unit
        limits = unit.product
        seen: list[Command] = []
        answered = False
        queue = runs_of(commands, limits, one_by_one=self._one_by_one)
        while queue:
            if unit.monotonic() >= deadline:
                _not_sent(queue, f"writing took longer than {unit.limits.write_deadline_s:g} s", results)
                break
            run = queue.pop(0)
            try:
                await self._send_run(run)
            except OutOfLimits as error:
                _finish(run, WriteOutcome.REFUSED, str(error), results)
            except _CounterUnread as error:
                _not_sent([run], str(error), results)
                if error.is_silence:
                    unit.failed(error.cause)
                    _not_sent(queue, str(error.cause), results)
                    break
                unit.answered()
                answered = True
            except DeviceException as error:
                if error.is_absence:
                    _finish(run, WriteOutcome.UNKNOWN, str(error), results)
                    if answered:
                        continue  # one thing behind the unit is silent, not the unit
                    unit.failed(error)
                    _not_sent(queue, str(error), results)
                    break
                unit.answered()
                answered = True
                if error.exception_code == ACKNOWLEDGE:
                    _finish(run, WriteOutcome.ACCEPTED, "", results)
                    seen += run
                elif len(run) > 1 and error.exception_code != BUSY:
                    # Which of them the device means, and which took effect, shows when they are sent in smaller parts.
                    self._one_by_one |= error.exception_code == ILLEGAL_FUNCTION
                    half = len(run) // 2
                    parts = [run[:half], run[half:]]
                    queue[:0] = runs_of(run, limits, one_by_one=True) if self._one_by_one else parts
                elif error.exception_code not in _CERTAINLY_NOT_DONE:
                    _finish(run, WriteOutcome.UNKNOWN, str(error), results)
                    failures.update(command.row for command in run)
                    seen += run
                else:
                    _finish(run, WriteOutcome.REFUSED, str(error), results)
            except _WrongEcho as error:
                unit.answered()
                answered = True
                _finish(run, WriteOutcome.UNKNOWN, str(error), results)
                seen += run
            except LinkDown as error:
                unit.failed(error)
                _not_sent([run, *queue], str(error), results)
                break
            except (NoAnswer, AnswerLost, Malformed) as error:
                unit.failed(error)
                _finish(run, WriteOutcome.UNKNOWN, str(error), results)
                _not_sent(queue, str(error), results)
                break
            else:
                unit.answered()
                answered = True
                _finish(run, WriteOutcome.ACCEPTED, "", results)
                seen += run
        return seen

    async def _send_run(self, run: Run) -> None:
        """One request. Raises _WrongEcho when the echo is not the command's, _CounterUnread."""
        first = run[0]
        if first.sequence is not None:
            async with self._counting:
                start, words = first.with_sequence(await self._sequence_word(first))
                await self._request(write_frame(first.table, start, words, multiple=True))
            return
        words = [word for command in run for word in command.words]
        multiple = len(words) > 1 or first.mode is WriteMode.MULTIPLE
        await self._request(write_frame(first.table, first.start, words, multiple=multiple))

    async def _request(self, frame: WriteFrame) -> None:
        counters = self._unit.counters
        try:
            answer = await self._unit.request(frame.function, frame.payload)
        except LinkDown:
            raise
        except (NoAnswer, AnswerLost, Malformed, DeviceException):
            counters.writes_sent += 1
            raise
        counters.writes_sent += 1
        if not frame.is_echoed_by(answer):
            counters.discarded += 1
            raise _WrongEcho("the echo of the write does not match it")

    async def _sequence_word(self, command: RegisterCommand) -> int:
        """The next content of the sequence register: one after what the device shows, as others may command it too.

        A register that the device does not let be read at all is counted on from wherever we began. Raises
        _CounterUnread where it only does not answer now: a number that stands there already would be no command.
        """
        assert command.sequence is not None
        register = command.sequence_register
        if register not in self._unreadable_sequences:
            try:
                answer = await self._unit.request(_READ_HOLDING, struct.pack(">HH", register, 1), is_read=True)
                if len(answer) != 3 or answer[0] != 2:
                    self._unit.counters.discarded += 1
                    raise Malformed(f"{len(answer)} bytes came for register {register}")
            except DeviceException as error:
                if not error.is_structural:
                    raise _CounterUnread(register, error) from None
                self._unreadable_sequences.add(register)
            except (NoAnswer, AnswerLost, Malformed) as error:
                raise _CounterUnread(register, error) from None
            else:
                self._sequences.shown(register, command.sequence, int.from_bytes(answer[1:], "big"))
        return self._sequences.next_word(register, command.sequence, command.address.index)


def _prepare(
    profile: Profile,
    writes: Sequence[tuple[PointAddress, float]],
    factors: Mapping[PointAddress, int],
    results: dict[int, WriteResult],
) -> list[RegisterCommand]:
    commands: list[RegisterCommand] = []
    places: set[object] = set()
    same: tuple[PointBinding, float] | None = None  # as in the command before: neighbours are often told the same
    for row, (address, value) in enumerate(writes):
        binding = profile.binding(address)
        place = binding.modbus
        if binding.absent:
            results[row] = WriteResult(address, WriteOutcome.REFUSED, "this copy of the product does not have it")
            continue
        if place is None or place.write_address is None:
            results[row] = WriteResult(address, WriteOutcome.REFUSED, "can only be read")
            continue
        if row in results:
            continue
        try:
            if factors or same is None or same[0] is not binding or same[1] != value:
                encoded = encode(binding, value, place.write_format, factors.get(address, 0))
                same = binding, value
        except OutOfLimits as error:
            same = None
            results[row] = WriteResult(address, WriteOutcome.REFUSED, str(error))
            continue
        sequence = place.sequence
        command = RegisterCommand(
            row,
            address,
            binding,
            encoded.value,
            place.write_table,
            place.write_address.at(binding.scope, address.index),
            encoded.registers,
            place.write_mode or profile.modbus.write_mode,
            sequence,
            sequence.register.at(binding.scope, address.index) if sequence else -1,
        )
        if command.place in places:
            raise InvalidInput.of("writes", f"{address} is commanded twice")
        places.add(command.place)
        commands.append(command)
    return commands


def _finish(run: Run, outcome: WriteOutcome, reason: str, results: dict[int, WriteResult]) -> None:
    results.update({command.row: command.result(outcome, reason) for command in run})


def _not_sent(runs: list[Run], reason: str, results: dict[int, WriteResult]) -> None:
    results.update({command.row: command.not_sent(reason) for run in runs for command in run})
