"""What commands have in common on every protocol: wear protection before they go out, confirmation afterwards.

How a command is confirmed: the value as the device can hold it (after quantisation to percent, DALI steps or register
width) is compared with a reading of the point that the profile names in `confirm`, by default the commanded point
itself. A lamp that fades reports its new level only at the end, so profiles confirm against the commanded or cached
level, never against the level in effect; where a device needs time, `confirm_timeout_ms` lets the read-back lag.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from fieldbus.device import Limits
from fieldbus.profile import PointBinding
from fieldbus.values import Counters, PointAddress, Quality, ValueBatch, WriteOutcome, WriteResult
from fieldbus.vocabulary import Scope

_NOT_A_NUMBER: Final = float("nan")
# The more specific command goes out last and so wins.
_RANK: Final = {Scope.LINE: 0, Scope.GROUP: 1}

Read = Callable[[tuple[PointAddress, ...]], Awaitable[ValueBatch]]


@dataclass(frozen=True, slots=True)
class Command:
    """A checked command on its way. `value` is what the device will hold, in the vocabulary's unit."""

    row: int
    address: PointAddress
    binding: PointBinding
    value: float

    @property
    def rank(self) -> int:
        """Order of sending: lines, then groups, then the rest."""
        return _RANK.get(self.binding.scope, 2)

    @property
    def confirmation(self) -> PointAddress:
        """The point that shows the effect."""
        return PointAddress(self.binding.confirm, self.address.index)

    def result(self, outcome: WriteOutcome, reason: str = "", read_back: float = _NOT_A_NUMBER) -> WriteResult:
        """The outcome of a command that was sent."""
        return WriteResult(self.address, outcome, reason, self.value, read_back)

    def not_sent(self, reason: str) -> WriteResult:
        """The outcome of a command that never left."""
        return WriteResult(self.address, WriteOutcome.UNKNOWN, f"not sent: {reason}")

    def shown_by(self, held: float) -> bool:
        """Whether a reading shows the effect. Lit and dark are never taken for each other."""
        if (self.value == 0) != (held == 0):
            return False
        return abs(held - self.value) <= max(self.binding.confirm_tolerance, 1e-9 * abs(self.value))


AnyCommand = TypeVar("AnyCommand", bound=Command)


async def drop_unchanged(commands: list[AnyCommand], results: dict[int, WriteResult], read: Read) -> list[AnyCommand]:
    """Registers that wear out are written only when they hold something else: the commands that still have to go."""
    wearing = [command for command in commands if command.binding.write_on_change and command.binding.confirm]
    if not wearing:
        return commands
    batch = await read(tuple(command.confirmation for command in wearing))
    for position, command in enumerate(wearing):
        held = float(batch.values[position])
        if batch.quality[position] == Quality.MISSING:
            reason = "what the register holds could not be read, and it is written only on change"
            results[command.row] = command.not_sent(reason)
        elif command.shown_by(held):
            results[command.row] = command.result(WriteOutcome.CONFIRMED, "held already, not written", held)
    return [command for command in commands if command.row not in results]


async def confirm(
    accepted: Sequence[Command],
    results: dict[int, WriteResult],
    read: Read,
    limits: Limits,
    monotonic: Callable[[], float],
) -> None:
    """Read back until every acknowledged command shows its effect or has had its time."""
    pending = [command for command in accepted if command.binding.confirm]
    began = monotonic()
    waited_s = 0.0
    while pending:
        batch = await read(tuple(command.confirmation for command in pending))
        elapsed_s = max(waited_s, monotonic() - began)
        still: list[Command] = []
        for position, command in enumerate(pending):
            held = float(batch.values[position])
            if command.shown_by(held):
                results[command.row] = command.result(WriteOutcome.CONFIRMED, "", held)
                continue
            if batch.quality[position] == Quality.MISSING:
                reason = "acknowledged, but could not be read back"
            else:
                unit = command.binding.point.unit
                reason = f"reads back {held:g} {unit}, commanded {command.value:g} {unit}"
            results[command.row] = command.result(WriteOutcome.ACCEPTED, reason, held)
            timeout_s = command.binding.confirm_timeout_s
            if elapsed_s < (limits.confirm_timeout_s if timeout_s is None else timeout_s):
                still.append(command)
        pending = still
        if pending:
            await asyncio.sleep(limits.confirm_interval_s)
            waited_s += limits.confirm_interval_s


def count_outcomes(counters: Counters, results: dict[int, WriteResult]) -> None:
    """Add refused and unknown writes to the counters."""
    counters.writes_refused += sum(result.outcome is WriteOutcome.REFUSED for result in results.values())
    counters.writes_unknown += sum(result.outcome is WriteOutcome.UNKNOWN for result in results.values())
