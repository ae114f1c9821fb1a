"""A gateway with the reference map of the profile generic-level-status: one line, levels in per mille, and what the
makes that we know do not tell: gear without an address, addresses that two answer at, and who each gear is.

Holding registers: level at g, power-on level at 100+g, communication-loss level at 200+g, level of all at 300. Input
registers: level in effect at g, status at 100+g, power at 200+g, energy at 300+2g, operating time at 500+2g, gear
without an address at 700, identity at 1000+8g.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulator.lamps import KEEP_LAST
from simulator.modbus.dali import Command, DaliGateway
from simulator.modbus.unit import (
    ILLEGAL_ADDRESS,
    ILLEGAL_VALUE,
    ModbusRefusal,
    Origin,
    RegisterImage,
    read_images,
    registers,
    uint32,
)
from simulator.world import GEARS_PER_LINE

POWER_ON, SYSTEM_FAILURE, ALL = 100, 200, 300
STATUS, POWER, ENERGY, BURNING, UNADDRESSED, IDENTITY = 100, 200, 300, 500, 700, 1000
CONFLICT: Final = 0x100
KEEP, NOT_AVAILABLE, NOT_AVAILABLE32 = 65535, 65535, 0xFFFFFFFF
IDENTITY_REGISTERS: Final = 8


class GenericGateway(DaliGateway):
    """Dead gear shows in its status bit 0, and has no power and no counters."""

    model = "Level and status map 1"

    def read_holding(self, address: int, count: int) -> bytes:
        """Levels as commanded and as stored."""
        self.world.polled(self.gateway)
        return read_images(self._stored(), address, count)

    def read_input(self, address: int, count: int) -> bytes:
        """What gear tells."""
        self.world.polled(self.gateway)
        return read_images(self._live(), address, count)

    def write_holding(self, address: int, values: Sequence[int], origin: Origin) -> None:
        """Commands; all registers are checked before the first is carried out."""
        self.world.polled(self.gateway)
        orders = []
        for register, value in enumerate(values, start=address):
            command, gear = _command(register)
            stored = command is not Command.LEVEL
            if value > 1000 and not (stored and value == KEEP):
                raise ModbusRefusal(ILLEGAL_VALUE)
            orders.append((register, command, gear, KEEP_LAST if value == KEEP else float(value), float(value)))
        for register, command, gear, argument, raw in orders:
            targets = self.line(0) if gear < 0 else self.gear(gear)
            self.gateway.written[register] = round(raw)
            self.order(command, targets, argument, origin, f"holding {register}", (raw,))

    def _stored(self) -> list[RegisterImage]:
        lamps = self.lamps
        places = self.gateway.addresses[:GEARS_PER_LINE]
        used = np.flatnonzero(places >= 0)
        images = []
        for first, values in (
            (0, lamps.target),
            (POWER_ON, lamps.power_on_level),
            (SYSTEM_FAILURE, lamps.system_failure_level),
        ):
            image = RegisterImage(first, GEARS_PER_LINE)
            for gear, level in zip(used.tolist(), values[places[used]].tolist(), strict=True):
                image.put(first + gear, registers([KEEP if level == KEEP_LAST else round(level)]))
            images.append(image)
        everyone = RegisterImage(ALL, 1)
        everyone.put(ALL, registers([self.gateway.written.get(ALL, 0)]))
        return [*images, everyone]

    def _live(self) -> list[RegisterImage]:
        lamps, now = self.lamps, self.world.now
        level = RegisterImage(0, GEARS_PER_LINE)
        status = RegisterImage(STATUS, GEARS_PER_LINE, filler=1)
        power = RegisterImage(POWER, GEARS_PER_LINE, filler=NOT_AVAILABLE)
        energy = RegisterImage(ENERGY, 2 * GEARS_PER_LINE, filler=NOT_AVAILABLE)
        burning = RegisterImage(BURNING, 2 * GEARS_PER_LINE, filler=NOT_AVAILABLE)
        identity = RegisterImage(IDENTITY, IDENTITY_REGISTERS * GEARS_PER_LINE)
        places = self.gateway.addresses[:GEARS_PER_LINE]
        used = np.flatnonzero(places >= 0)
        index = places[used]
        bits: NDArray[np.int64] = self.status(index)
        light, watts = lamps.light_level(now, index), lamps.power_w(now, index)
        wh, seconds = lamps.gear_energy_wh(now, index), lamps.gear_burning_s(now, index)
        for row, gear in enumerate(used.tolist()):
            twins = CONFLICT if gear in self.gateway.twins else 0
            status.put(STATUS + gear, registers([int(bits[row]) | twins]))
            if bits[row] & 1:
                continue
            level.put(gear, registers([round(float(light[row]))]))
            power.put(POWER + gear, registers([round(10 * float(watts[row]))]))
            energy.put(ENERGY + 2 * gear, uint32(float(wh[row])))
            burning.put(BURNING + 2 * gear, uint32(float(seconds[row])))
            name = lamps.identity[int(index[row])].encode()[: 2 * IDENTITY_REGISTERS]
            identity.put(IDENTITY + IDENTITY_REGISTERS * gear, name.ljust(2 * IDENTITY_REGISTERS, b"\0"))
        strays = [lamp for lamp in self.gateway.unaddressed.get(0, ()) if bool(lamps.responds(np.array([lamp]))[0])]
        unaddressed = RegisterImage(UNADDRESSED, 1)
        unaddressed.put(UNADDRESSED, registers([len(strays)]))
        return [level, status, power, energy, burning, unaddressed, identity]


def _command(register: int) -> tuple[Command, int]:
    """What a register asks, and of which gear: -1 for all."""
    if register == ALL:
        return Command.LEVEL, -1
    for first, command in (
        (0, Command.LEVEL),
        (POWER_ON, Command.POWER_ON_LEVEL),
        (SYSTEM_FAILURE, Command.SYSTEM_FAILURE_LEVEL),
    ):
        if first <= register < first + GEARS_PER_LINE:
            return command, register - first
    raise ModbusRefusal(ILLEGAL_ADDRESS)
