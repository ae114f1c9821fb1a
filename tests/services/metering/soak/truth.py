"""What the meters of a soak count, as a pure function of time, and what happens to them: exchanges, resets, silences.

A register shows at every quarter hour what it counted until then, and stands until the next one, as a load-profile
meter does: so what is stored can be compared to the watt hour. The energy that a reset destroys is nobody's to know;
it is left out of what is expected, and every watt hour else is in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.metering.reading import Int64
from services.metering.slot import SLOT_MS

REGISTERS: Final = 10
POINTS: Final = (
    "energy_active_import",
    "energy_active_export",
    "energy_active_import_t1",
    "energy_active_import_t2",
    "energy_active_import_l1",
    "energy_active_import_l2",
    "energy_active_import_l3",
    "energy_active_export_l1",
    "energy_active_export_l2",
    "energy_active_export_l3",
)
LOAD_W: Final = 10_000
ROLLOVER: Final = 1_000_000_000
"""Six digits of kWh."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happens to all registers of a device between two slots: before slot `at`, after the one before."""

    device: int
    at: int
    is_exchange: bool
    final: Int64
    """What the old registers showed at last."""
    first: Int64
    """What the new ones began with."""
    told_at: int
    """From which slot on a person records the exchange."""

    @property
    def minute(self) -> int:
        """Minutes after slot `at` - 1 at which it happened."""
        return 2 + self.device % 11


@dataclass(frozen=True, slots=True)
class Silence:
    """A device that does not answer from slot `begin` to before slot `end`."""

    device: int
    begin: int
    end: int


@dataclass(slots=True)
class Truth:
    """The field of a soak: `shown` and `energy` by register and slot."""

    start_ms: int
    devices: int
    slots: int
    energy: Int64
    """Wh between the slot before and this one, as far as counters can tell."""
    shown: Int64
    changes: list[Change]
    silences: list[Silence]
    silent: NDArray[np.bool_] = field(init=False)
    """By device and slot."""

    def __post_init__(self) -> None:
        self.silent = np.zeros((self.devices, self.slots), np.bool_)
        for one in self.silences:
            self.silent[one.device, one.begin : one.end] = True

    @property
    def registers(self) -> int:
        """How many there are."""
        return self.devices * REGISTERS

    def slot_ms(self, slot: int) -> int:
        """Instant of a slot."""
        return self.start_ms + slot * SLOT_MS


def rows_of(device: int) -> slice:
    """The registers of a device."""
    return slice(device * REGISTERS, (device + 1) * REGISTERS)


def make_truth(
    seed: int, start_ms: int, *, devices: int, slots: int, exchanges: int, resets: int, silences: int, no_change: range
) -> Truth:
    """A field that is the same for the same seed. Nothing happens to meters in the slots of `no_change`."""
    chance = np.random.default_rng(seed)
    registers = devices * REGISTERS
    energy = chance.integers(1, LOAD_W // 4, (registers, slots), np.int64)
    energy[:, 0] = 0
    begin = chance.integers(1_000_000, ROLLOVER // 2, registers)
    # One in twenty passes its last digit within the time.
    rolling = np.flatnonzero(chance.random(registers) < 0.05)
    begin[rolling] = ROLLOVER - chance.integers(1, max(2, slots * LOAD_W // 16), len(rolling))
    picked = chance.permutation(devices)[: exchanges + resets]
    free = [slot for slot in range(4, slots - 8) if slot not in no_change]
    changes: list[Change] = []
    shown = begin[:, None] + np.cumsum(energy, axis=1)
    for number, device in enumerate(picked.tolist()):
        at, rows = int(chance.choice(free)), rows_of(device)
        drawn = chance.integers(0, energy[rows, at] + 1)
        final = (shown[rows, at - 1] + drawn) % ROLLOVER
        is_exchange = number < exchanges
        if is_exchange:
            # From the box with nothing, or used: with less than the old one, or with more.
            first = chance.choice([0, 1, 2]) * chance.integers(10_000, 400_000_000, REGISTERS)
            told_at = min(slots - 3, at + int(chance.choice([0, 1, 7, 100, 300])))
        else:
            first, told_at = np.zeros(REGISTERS, np.int64), 0
            energy[rows, at] -= drawn
            drawn = np.zeros(REGISTERS, np.int64)
        # What is counted from here on, on top of what the new register began with.
        shown[rows, at:] = (first - drawn)[:, None] + np.cumsum(energy[rows, at:], axis=1)
        changes.append(Change(device, at, is_exchange, final, first, told_at))
    # Silences keep off the changes, and off the ends: there a person has read the meter.
    quiet: list[Silence] = []
    changed = {change.device for change in changes}
    for device in chance.permutation([one for one in range(devices) if one not in changed]).tolist()[:silences]:
        first_slot = int(chance.integers(2, slots - 12))
        quiet.append(Silence(device, first_slot, min(slots - 2, first_slot + int(chance.integers(1, 40)))))
    return Truth(start_ms, devices, slots, energy, shown % ROLLOVER, changes, quiet)
