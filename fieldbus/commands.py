"""What commands have in common on every protocol: wear protection before they go out, confirmation afterwards.

How a command is confirmed: the value as the device can hold it (after quantisation to percent, DALI steps or register
width) is compared with a reading of the point that the profile names in `confirm`, by default the commanded point
itself. A lamp that fades reports its new level only at the end, so profiles had better confirm against the commanded or
cached level; where a product has only the level in effect, the read-back waits while the lamp says that it fades and
for as long as its fade time says, within `Limits.confirm_fade_max_s`. Where a device needs time, `confirm_timeout_ms`
lets the read-back lag.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from fieldbus.device import Limits
from fieldbus.profile import PointBinding, Profile
from fieldbus.values import Counters, PointAddress, Quality, ValueBatch, WriteOutcome, WriteResult
from fieldbus.vocabulary import Scope

_NOT_A_NUMBER: Final = float("nan")
_FADING_POINT: Final = "level_actual"
_CONFIRM_INTERVAL_MAX_S: Final = 1.0
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
    sent: Sequence[Command],
    results: dict[int, WriteResult],
    read: Read,
    limits: Limits,
    monotonic: Callable[[], float],
    profile: Profile,
    failed: Collection[int] = (),
) -> None:
    """Read back until every command that may be in effect shows it or has had its time.

    A level in effect gets the time that its fade takes, where the profile lets us know it. Commands that were not
    acknowledged stay in doubt unless they show; `failed` are the rows of those with which the device says that it
    failed: once the read-back shows something else, they are refused.
    """
    doubtful = {command.row: results[command.row] for command in sent if not results[command.row].succeeded}
    await _read_back(sent, results, read, limits, monotonic, profile)
    for row, before in doubtful.items():
        after = results[row]
        if after.outcome is WriteOutcome.CONFIRMED:
            continue
        refuted = row in failed and not math.isnan(after.read_back)
        results[row] = replace(before, outcome=WriteOutcome.REFUSED, read_back=after.read_back) if refuted else before


async def _read_back(
    sent: Sequence[Command],
    results: dict[int, WriteResult],
    read: Read,
    limits: Limits,
    monotonic: Callable[[], float],
    profile: Profile,
) -> None:
    pending = [command for command in sent if command.binding.confirm]
    fades = await _Fades.of(pending, profile, read)
    began = monotonic()
    waited_s = 0.0
    interval_s = limits.confirm_interval_s
    while pending:
        fading = fades.flags_of(pending)
        batch = await read((*(command.confirmation for command in pending), *fading.values()))
        elapsed_s = max(waited_s, monotonic() - began)
        moving = {row for row, point in fading.items() if batch.value(point) == 1}
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
                reason = f"reads back {_with_unit(held, unit)}, commanded {_with_unit(command.value, unit)}"
            results[command.row] = command.result(WriteOutcome.ACCEPTED, reason, held)
            timeout_s = command.binding.confirm_timeout_s
            patience_s = limits.confirm_timeout_s if timeout_s is None else timeout_s
            fade_s = limits.confirm_fade_max_s if command.row in moving else fades.time_of(command)
            if elapsed_s < patience_s + min(fade_s, limits.confirm_fade_max_s):
                still.append(command)
        pending = still
        if pending:
            await asyncio.sleep(interval_s)
            waited_s += interval_s
            # A fade may take a minute and a half: ask less and less often.
            interval_s = min(1.5 * interval_s, max(_CONFIRM_INTERVAL_MAX_S, limits.confirm_interval_s))


class _Fades:
    """What a profile has to say about levels that take their time: whether one still moves, and how long it may."""

    def __init__(self) -> None:
        self._running: dict[int, PointAddress] = {}  # row of the command to the flag that tells
        self._times_s: dict[int, float] = {}

    @classmethod
    async def of(cls, commands: Sequence[Command], profile: Profile, read: Read) -> _Fades:
        """Reads the fade times of the lamps that are confirmed by their level in effect."""
        fades = cls()
        times: dict[int, PointAddress] = {}
        for command in commands:
            if command.confirmation.point != _FADING_POINT:
                continue
            for point, found in (("fade_running", fades._running), ("fade_time", times)):
                if _has(profile, point, command.address.index):
                    found[command.row] = PointAddress(point, command.address.index)
        if times:
            batch = await read(tuple(times.values()))
            for row, seconds in zip(times, batch.values.tolist(), strict=True):
                fades._times_s[row] = seconds if seconds > 0 else 0.0
        return fades

    def flags_of(self, commands: Sequence[Command]) -> dict[int, PointAddress]:
        """The flags to read along with these commands' read-back, by row of the command."""
        return {command.row: self._running[command.row] for command in commands if command.row in self._running}

    def time_of(self, command: Command) -> float:
        """Seconds that the device says a fade takes; 0 where it does not say."""
        return self._times_s.get(command.row, 0.0)


def _has(profile: Profile, point: str, index: int | None) -> bool:
    """Whether a product offers a point for an index."""
    binding = profile.points.get(point)
    if binding is None or not binding.direction.readable or binding.absent or index is None:
        return False
    return binding.index_range is not None and binding.index_range[0] <= index <= binding.index_range[1]


def count_outcomes(counters: Counters, results: dict[int, WriteResult]) -> None:
    """Add refused and unknown writes to the counters."""
    counters.writes_refused += sum(result.outcome is WriteOutcome.REFUSED for result in results.values())
    counters.writes_unknown += sum(result.outcome is WriteOutcome.UNKNOWN for result in results.values())


def _with_unit(value: float, unit: str) -> str:
    return f"{value:g} {unit}".rstrip()
