"""Counters that must change with every command, or the device takes no notice of it (`write_mode = "sequence"`).

Only the arithmetic on the register's bits and what is remembered of it; sending is write.py's.
"""

from __future__ import annotations

from collections.abc import Callable

from domain.errors import OutOfLimits
from fieldbus.profile import CommandSequence


class SequenceCounters:
    """The counters of one device, by register."""

    def __init__(self, uniform: Callable[[], float]) -> None:
        """`uniform` gives random numbers in [0, 1): where a register cannot be read, a restart of ours must not begin
        where the last run began."""
        self._uniform = uniform
        self._last: dict[int, int] = {}

    def shown(self, register: int, sequence: CommandSequence, word: int) -> None:
        """What the device holds now."""
        low, high = sequence.counter_bits
        self._last[register] = (word >> low) & _mask(low, high)

    def next_word(self, register: int, sequence: CommandSequence, index: int | None) -> int:
        """The register's content for the next command. Raises OutOfLimits for an index that has no room in it."""
        word = sequence.fixed
        if sequence.index_bits is not None:
            low, high = sequence.index_bits
            if index is None or index > _mask(low, high):
                raise OutOfLimits.of("index", f"{index} does not fit into bits {low}..{high} of register {register}")
            word |= index << low
        low, high = sequence.counter_bits
        mask = _mask(low, high)
        last = self._last.get(register)
        counter = int(self._uniform() * (mask + 1)) & mask if last is None else (last + 1) & mask
        self._last[register] = counter
        return word | counter << low


def _mask(low: int, high: int) -> int:
    return (1 << (high - low + 1)) - 1
