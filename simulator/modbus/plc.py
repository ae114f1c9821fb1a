"""The cabinet controller: a small PLC of our own invention, as a LOGO! or WAGO would be programmed.

Coils 0..7 contactor commands; discrete inputs 0..7 contactor feedback, 8..15 circuit breaker tripped, 16 door open, 17
mains present; input register 0 position of the hand/off/auto switch (0 hand, 1 off, 2 auto), 10..17 operations of the
contactors; holding register 0 heartbeat, 1 seconds without one until it follows its own astronomical clock (0 never).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from simulator.cabinet import CHANNELS
from simulator.field import Field
from simulator.modbus.unit import ILLEGAL_ADDRESS, ModbusRefusal, Origin, RegisterImage, Unit, read_images, registers

FIRST_COUNTER = 10

Cell = TypeVar("Cell")


class CabinetController(Unit):
    """Unit 1 behind a cabinet's port."""

    model = "cabinet controller"

    def __init__(self, field: Field, cabinet: str) -> None:
        self._field = field
        self._world = field.world
        self._cabinet = cabinet
        self._state = field.world.cabinets[cabinet]
        self._endpoint = self._state.cabinet.controller

    def read_coils(self, address: int, count: int) -> Sequence[bool]:
        """Contactor commands as last written."""
        return _slice(self._state.commands, address, count)

    def read_discrete_inputs(self, address: int, count: int) -> Sequence[bool]:
        """Contactor feedback, circuit breakers, door contact, mains."""
        state = self._state
        tripped = [channel in state.tripped for channel in range(CHANNELS)]
        return _slice([*state.closed, *tripped, state.door_open, state.supply], address, count)

    def read_input(self, address: int, count: int) -> bytes:
        """Switch position and operations counters; the registers between them are there and empty."""
        image = RegisterImage(0, FIRST_COUNTER + CHANNELS)
        image.put(0, registers([self._state.hand_switch]))
        image.put(FIRST_COUNTER, registers(self._state.operations))
        return read_images([image], address, count)

    def read_holding(self, address: int, count: int) -> bytes:
        """The heartbeat as last written, and its timeout."""
        return registers(_slice([self._state.heartbeat, self._state.heartbeat_timeout_s], address, count))

    def write_coils(self, address: int, values: Sequence[bool], origin: Origin) -> None:
        """Command contactors. Taken in every position of the switch, followed only in automatic."""
        if address + len(values) > CHANNELS:
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        for channel, value in enumerate(values, start=address):
            self._world.command_contactor(self._cabinet, channel, value)
            feeder = self._state.channels.get(channel)
            self._log(origin, f"coil {channel}", "contactor", value, (feeder.id,) if feeder else ())

    def write_holding(self, address: int, values: Sequence[int], origin: Origin) -> None:
        """Beat, or set the timeout."""
        if address + len(values) > 2:
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        for register, value in enumerate(values, start=address):
            if register == 0:
                self._world.beat(self._cabinet, value)
                self._log(origin, "holding 0", "heartbeat", value, ())
            else:
                self._world.set_heartbeat_timeout(self._cabinet, value)
                self._log(origin, "holding 1", "heartbeat_timeout", value, ())

    def _log(self, origin: Origin, register: str, kind: str, value: float, feeders: tuple[str, ...]) -> None:
        self._field.log_cabinet(
            peer=origin.peer, cabinet=self._cabinet, endpoint=self._endpoint, register=register, kind=kind,
            value=float(value), feeders=feeders,
        )  # fmt: skip


def _slice(values: Sequence[Cell], address: int, count: int) -> Sequence[Cell]:
    if address + count > len(values):
        raise ModbusRefusal(ILLEGAL_ADDRESS)
    return values[address : address + count]
