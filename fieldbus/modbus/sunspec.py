"""Where a SunSpec device keeps its models: the marker, and the chain of models behind it. Pure parsing.

Asking the device is the driver's business: it reads what `ChainReader.wanted` says, feeds the registers, and takes
the models once there is nothing left to ask. What lies in a model is a profile's (`Profile.resolved`).

Source: SunSpec Device Information Model Specification: the marker "SunS" at 40000, 50000 or 0, then models of id and
length (which does not count these two registers), then the id 0xFFFF.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from domain.errors import InvalidInput

BASE_ADDRESSES: Final = (40000, 50000, 0)  # in the order in which they are tried
MARKER: Final = (0x5375, 0x6E53)  # "SunS"
END_MODEL: Final = 0xFFFF
HEADER_LENGTH: Final = 2  # id and length
MODELS_MAX: Final = 128  # a device with more of them lies, or the chain runs in rubbish
_ADDRESSES: Final = 65536


@dataclass(frozen=True, slots=True)
class Models:
    """The models of one device, the first of each id where one comes several times."""

    addresses: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))  # id to address of the id
    lengths: Mapping[int, int] = field(
        default_factory=lambda: MappingProxyType({})
    )  # registers after the two of the header


@dataclass(frozen=True, slots=True)
class Wanted:
    """Holding registers to read next."""

    address: int
    count: int


class ChainReader:
    """Follows the chain of one device, header by header.

    `wanted` is what to read next, None when `models` is complete. A base address that the device refuses, or where no
    marker stands, is passed by `nothing_here`. Nothing that a device answers makes it run on for ever: the chain
    ends after MODELS_MAX models or at the end of the address space, whichever comes first.
    """

    def __init__(self, bases: Sequence[int] = BASE_ADDRESSES) -> None:
        self._bases = list(bases)
        self._at: int | None = None  # address of the next header; None while the marker is sought
        self._count = 0
        self._addresses: dict[int, int] = {}
        self._lengths: dict[int, int] = {}

    @property
    def wanted(self) -> Wanted | None:
        """What to read now."""
        if self._at is not None:
            return Wanted(self._at, HEADER_LENGTH)
        return Wanted(self._bases[0], len(MARKER)) if self._bases else None

    def feed(self, registers: Sequence[int]) -> None:
        """The registers that were wanted. Raises InvalidInput when they are not, or when the chain is broken."""
        wanted = self.wanted
        if wanted is None or len(registers) != wanted.count:
            raise InvalidInput.of("registers", "are not those that were wanted")
        if self._at is None:
            if tuple(registers) == MARKER:
                self._at = self._bases[0] + len(MARKER)
            else:
                self.nothing_here()
            return
        model, length = registers
        if model == END_MODEL:
            self._end()
            return
        start, end = self._at, self._at + HEADER_LENGTH + length
        if model == 0 or length == 0:
            raise self._broken(f"the header at {start} is empty")
        if end + HEADER_LENGTH > _ADDRESSES:
            raise self._broken(f"model {model} at {start} would end beyond the last register")
        self._count += 1
        if self._count > MODELS_MAX:
            raise self._broken(f"more than {MODELS_MAX} models")
        if model not in self._addresses:
            self._addresses[model], self._lengths[model] = start, length
        self._at = end

    def nothing_here(self) -> None:
        """The device refused what was wanted. While the marker is sought the next base is tried; within the chain some
        devices have no end mark and refuse what comes after the last model."""
        if self._at is not None:
            self._end()
        elif self._bases:
            del self._bases[0]

    @property
    def models(self) -> Models:
        """What was found; empty when the device is not a SunSpec device."""
        return Models(MappingProxyType(self._addresses), MappingProxyType(self._lengths))

    def _end(self) -> None:
        self._at = None
        self._bases.clear()

    @staticmethod
    def _broken(reason: str) -> InvalidInput:
        return InvalidInput.of("models", f"the chain of SunSpec models cannot be followed: {reason}")
