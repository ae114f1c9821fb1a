"""A DALI gateway with the register map of the Intesis IN703DAL / INMBSDAL family (HMS, user manuals 1.0.2 and r1.3).

0-based, line y, gear a, group g. Gear: 7000y+100a plus a signal number; group: 7000y+20g+6400 plus a signal; broadcast:
7000y+6800 plus a signal; energy and diagnostics (D4i): 25000+100a plus a signal, of the first line only, as the map of
the next would overlap. Levels are whole per cent of light, whatever dimming curve is selected. Read by functions 3 and
4, written by 6 and 16.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simulator.lamps import KEEP_LAST
from simulator.modbus.dali import GEAR_FAILURE, Command, DaliGateway, percent
from simulator.modbus.unit import (
    ILLEGAL_ADDRESS,
    ILLEGAL_VALUE,
    ModbusRefusal,
    Origin,
    RegisterImage,
    int32,
    registers,
    uint32,
)
from simulator.world import GEARS_PER_LINE, Indices

LINE, GEAR, GROUP_BASE, GROUP, BROADCAST = 7000, 100, 6400, 20, 6800
ENERGY_BASE = 25000
NOT_AVAILABLE32 = 0xFFFFFFFF
DEVICE_TYPE_LED = 6

# Signals of a gear that can be written. The group and broadcast blocks hold the same ones in the same order from 0.
FIRST_COMMAND = 15
LEVEL, SWITCH, RECALL_MIN, RECALL_MAX, FADE, POWER_ON, SYSTEM_FAILURE = 0, 1, 3, 4, 8, 12, 13
COMMANDS = 14
MULTICONTROL = 31
CURVE, SELECT_CURVE = 82, 92


class IntesisGateway(DaliGateway):
    """The gateway keeps what it last polled, so reads are always answered; dead gear shows in its status bit 0."""

    model = "Intesis IN703DAL"

    def read_holding(self, address: int, count: int) -> bytes:
        """All signals are registers; unused ones within the map read 0."""
        self.world.polled(self.gateway)
        lines = len(self.gateway.addresses) // GEARS_PER_LINE
        if address + count <= lines * LINE:
            return self._signals(address, count)
        if address >= ENERGY_BASE and address + count <= ENERGY_BASE + GEARS_PER_LINE * GEAR:
            return self._energy(address, count)
        raise ModbusRefusal(ILLEGAL_ADDRESS)

    def read_input(self, address: int, count: int) -> bytes:
        """The same registers."""
        return self.read_holding(address, count)

    def write_holding(self, address: int, values: Sequence[int], origin: Origin) -> None:
        """Commands; all registers are checked before the first is carried out."""
        self.world.polled(self.gateway)
        orders = [self._order(register, value) for register, value in _numbered(address, values)]
        for register, value in _numbered(address, values):
            self.gateway.written[register] = value
        for (command, targets, argument), (register, raw) in zip(orders, _numbered(address, values), strict=True):
            self.order(command, targets, argument, origin, f"holding {register}", (float(raw),))

    # --- reading --------------------------------------------------------------------------------------------------

    def _signals(self, address: int, count: int) -> bytes:
        end = address + count
        found = self.image()[2 * address : 2 * end]
        written = [r for r in self.gateway.written if address <= r < end and r % LINE >= GROUP_BASE]
        if not written:
            return found
        image = bytearray(found)
        for register in written:
            image[2 * (register - address) : 2 * (register - address + 1)] = registers([self.gateway.written[register]])
        return bytes(image)

    def imaged(self) -> bytes:
        """Both tables of a line, one after the other: the signals of its gear, and empty groups."""
        lines = len(self.gateway.addresses) // GEARS_PER_LINE
        image = np.zeros((lines, LINE), dtype=">u2")
        for line in range(lines):
            places = self.gateway.addresses[line * GEARS_PER_LINE : (line + 1) * GEARS_PER_LINE]
            gears = image[line, : GEARS_PER_LINE * GEAR].reshape(GEARS_PER_LINE, GEAR)
            gears[:, 5] = GEAR_FAILURE
            used = np.flatnonzero(places >= 0)
            self._put_stored(gears, used, places[used])
            responds = self.lamps.responds(places[used])
            self._put_live(gears, used[responds], places[used[responds]])
            failed = used[~responds | self.lamps.lamp_failed[places[used]]]
            bits = np.bincount(failed // 16, weights=2.0 ** (failed % 16), minlength=4)
            image[line, :4] = bits  # one bit per gear with a failure of lamp or gear, addressed gear only
        return image.tobytes()

    def _put_live(self, gears: NDArray[np.uint16], places: Indices, index: Indices) -> None:
        """What gear that answers tells."""
        gears[places, 5] = self.status(index)
        gears[places, 6] = percent(self.lamps.light_level(self.world.now, index))
        gears[places, 7] = DEVICE_TYPE_LED
        gears[places, 8] = gears[places, 9] = percent(self.lamps.minimum[index])
        gears[places, 10] = 100
        gears[places, CURVE] = self.lamps.curve_code[index]
        gears[places, FIRST_COMMAND] = percent(self.lamps.target[index])

    def _put_stored(self, gears: NDArray[np.uint16], places: Indices, index: Indices) -> None:
        """What the gear keeps without supply, as the gateway remembers it."""
        gears[places, 11] = gears[places, 27] = percent(self.lamps.power_on_level[index])
        gears[places, 12] = gears[places, 28] = percent(self.lamps.system_failure_level[index])
        gears[places, 13] = gears[places, 23] = self.lamps.fade_code[index]
        gears[places, 14] = 7

    def _energy(self, address: int, count: int) -> bytes:
        """Energy in Wh, power in W, operating time in s, starts, temperature in C, 32 bit each, high word first."""
        first = (address - ENERGY_BASE) // GEAR
        last = (address + count - 1 - ENERGY_BASE) // GEAR
        image = RegisterImage(ENERGY_BASE + first * GEAR, (last - first + 1) * GEAR)
        now = self.world.now
        for gear in range(first, last + 1):
            index, base = self.gear(gear), ENERGY_BASE + gear * GEAR
            if not index.size:
                continue
            if not self.lamps.responds(index)[0]:
                for signal in (34, 36, 46, 48, 50):
                    image.put(base + signal, uint32(NOT_AVAILABLE32))
                continue
            power = float(self.lamps.power_w(now, index)[0])
            image.put(base + 34, uint32(float(self.lamps.gear_energy_wh(now, index)[0])))
            image.put(base + 36, uint32(round(power)))
            image.put(base + 46, uint32(float(self.lamps.gear_burning_s(now, index)[0])))
            image.put(base + 48, uint32(int(self.lamps.starts[index][0])))
            image.put(base + 50, int32(15 + power / 4))
        return image.read(address, count)

    # --- writing --------------------------------------------------------------------------------------------------

    def _order(self, register: int, value: int) -> tuple[Command, Indices, float]:
        """What a written register asks of whom."""
        line, within = divmod(register, LINE)
        if line >= len(self.gateway.addresses) // GEARS_PER_LINE:
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        if within >= BROADCAST:
            command, argument = _command(within - BROADCAST, value)
            return command, self.line(line), argument
        if within >= GROUP_BASE:
            group, signal = divmod(within - GROUP_BASE, GROUP)
            command, argument = _command(signal, value)
            return command, self.group(line, group), argument
        gear, signal = divmod(within, GEAR)
        targets = self.gear(line * GEARS_PER_LINE + gear)
        if signal == SELECT_CURVE:
            return Command.CURVE, targets, _within(value, 1)
        command, argument = _multicontrol(value) if signal == MULTICONTROL else _command(signal - FIRST_COMMAND, value)
        return command, targets, argument


def _numbered(first: int, values: Sequence[int]) -> list[tuple[int, int]]:
    """Registers with their values."""
    return list(enumerate(values, start=first))


def _command(signal: int, value: int) -> tuple[Command, float]:
    """A command signal (0 is the level) and its argument; what is not writable is an illegal address."""
    if signal == LEVEL:
        return Command.LEVEL, _level(value)
    if signal == SWITCH:
        return Command.LEVEL, 1000.0 if value else 0.0
    if signal == RECALL_MIN:
        return Command.LEVEL, 1.0
    if signal == RECALL_MAX:
        return Command.LEVEL, 1000.0
    if signal == FADE:
        return Command.FADE, _within(value, 15)
    if signal == POWER_ON:
        return Command.POWER_ON_LEVEL, _stored_level(value)
    if signal == SYSTEM_FAILURE:
        return Command.SYSTEM_FAILURE_LEVEL, _stored_level(value)
    raise ModbusRefusal(ILLEGAL_ADDRESS)


def _multicontrol(value: int) -> tuple[Command, float]:
    """The gear's combined register: 0 off, 1 full, 2XXX fade, 5XXX power-on level, 6XXX system-failure level."""
    kind, argument = divmod(value, 1000)
    if value in (0, 1):
        return Command.LEVEL, 1000.0 * value
    if kind == 2:
        return Command.FADE, _within(argument, 15)
    if kind == 5:
        return Command.POWER_ON_LEVEL, _stored_level(argument)
    if kind == 6:
        return Command.SYSTEM_FAILURE_LEVEL, _stored_level(argument)
    raise ModbusRefusal(ILLEGAL_VALUE)


def _within(value: int, most: int) -> float:
    if value > most:
        raise ModbusRefusal(ILLEGAL_VALUE)
    return float(value)


def _level(value: int) -> float:
    return 10.0 * _within(value, 100)


def _stored_level(value: int) -> float:
    return KEEP_LAST if value == 255 else _level(value)
