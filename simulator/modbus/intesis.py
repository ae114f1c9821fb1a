"""A DALI gateway with the register map of the Intesis IN703DAL / INMBSDAL family (HMS, user manuals 1.0.2 and r1.3).

0-based, line y, gear a, group g. Gear: 7000y+100a plus a signal number; group: 7000y+20g+6400 plus a signal; broadcast:
7000y+6800 plus a signal; energy and diagnostics (D4i): 25000+100a plus a signal, of the first line only, as the map of
the next would overlap. Levels are whole per cent of light, whatever dimming curve is selected. Read by functions 3 and
4, written by 6 and 16.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.lamps import KEEP_LAST
from simulator.modbus.dali import Command, DaliGateway, percent
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
        image = RegisterImage(address, count)
        end = address + count
        for line in range(address // LINE, (end - 1) // LINE + 1):
            offset = line * LINE
            first = max(0, (address - offset) // GEAR)
            last = min(GEARS_PER_LINE - 1, (end - 1 - offset) // GEAR)
            for gear in range(first, last + 1):
                self._put_gear(image, offset + gear * GEAR, line * GEARS_PER_LINE + gear, address, end)
            self._put_failures(image, offset, line, address, end)
        for register, value in self.gateway.written.items():
            if address <= register < end and register % LINE >= GROUP_BASE:
                image.put(register, registers([value]))
        return image.read(address, count)

    def _put_gear(self, image: RegisterImage, base: int, place: int, address: int, end: int) -> None:
        """The signals of one gear that a request covers."""
        index = self.gear(place)
        if not index.size:
            signals = {5: 1}
        elif not self.lamps.responds(index)[0]:
            signals = {5: 1, **self._stored(index)}
        else:
            signals = {
                5: self.status(index)[0],
                6: percent(float(self.lamps.light_level(self.world.now, index)[0])),
                7: DEVICE_TYPE_LED,
                8: percent(float(self.lamps.minimum[index][0])),
                9: percent(float(self.lamps.minimum[index][0])),
                10: 100,
                CURVE: int(self.lamps.curve_code[index][0]),
                FIRST_COMMAND: percent(float(self.lamps.target[index][0])),
                **self._stored(index),
            }
        for signal, value in signals.items():
            if address <= base + signal < end:
                image.put(base + signal, registers([value]))

    def _stored(self, index: Indices) -> dict[int, int]:
        """What the gear keeps without supply, as the gateway remembers it."""
        power_on = percent(float(self.lamps.power_on_level[index][0]))
        failure = percent(float(self.lamps.system_failure_level[index][0]))
        fade = int(self.lamps.fade_code[index][0])
        return {11: power_on, 12: failure, 13: fade, 14: 7, 23: fade, 27: power_on, 28: failure}

    def _put_failures(self, image: RegisterImage, offset: int, line: int, address: int, end: int) -> None:
        """Registers 0..3 of a line: one bit per gear with a failure of lamp or gear, addressed gear only."""
        if not any(address <= offset + i < end for i in range(4)):
            return
        places = self.gateway.addresses[line * GEARS_PER_LINE : (line + 1) * GEARS_PER_LINE]
        used = np.flatnonzero(places >= 0)
        failed = ~self.lamps.responds(places[used]) | self.lamps.lamp_failed[places[used]]
        for i in range(4):
            bits = sum(1 << int(gear - 16 * i) for gear in used[failed] if 16 * i <= gear < 16 * (i + 1))
            if address <= offset + i < end:
                image.put(offset + i, registers([bits]))

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
            image.put(base + 34, uint32(float(self.lamps.energy_wh(now, index)[0])))
            image.put(base + 36, uint32(round(power)))
            image.put(base + 46, uint32(float(self.lamps.burning_s(now, index)[0])))
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
            return command, self.lamps_at(line * GEARS_PER_LINE, (line + 1) * GEARS_PER_LINE), argument
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
