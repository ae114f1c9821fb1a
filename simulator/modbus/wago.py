"""A cabinet controller that keeps a schedule: a WAGO 750 with the lighting program that Lichtbuch asks for.

The map is that of the device profile `cabinet-wago`, written from its notes: flags %MW n are registers 12288 + n, bit b
of %MX n.b is coil 12288 + 16 n + b, words of 32 bit begin with the low one. Inputs are discrete inputs from 0.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from simulator.cabinet import CHANNELS
from simulator.field import Field
from simulator.modbus.unit import ILLEGAL_ADDRESS, ModbusRefusal, Origin, Unit, registers
from simulator.schedule import StoredSchedule

FLAGS = 12_288
WORDS = 48
HEARTBEAT, TIMEOUT, SWITCH, ON_OFFSET, OFF_OFFSET, LATITUDE, LONGITUDE, COMMANDS, HALVES = 0, 1, 2, 3, 4, 6, 8, 10, 11
HALF_OFF, HALF_ON, OPERATIONS = 16, 24, 32
OFFSET_STEP_S = 10
ASTRO_BIT, IN_CHARGE_BIT, NIGHT_BIT = 8, 9, 10
WRITABLE = frozenset({HEARTBEAT, TIMEOUT, ON_OFFSET, OFF_OFFSET, *range(LATITUDE, LONGITUDE + 2), *range(16, 32)})


class WagoController(Unit):
    """Unit 1 behind a cabinet's port."""

    model = "cabinet controller with a stored schedule"

    def __init__(self, field: Field, cabinet: str) -> None:
        self._field, self._world, self._cabinet = field, field.world, cabinet
        self._state = field.world.cabinets[cabinet]
        self._endpoint = self._state.cabinet.controller

    @property
    def _schedule(self) -> StoredSchedule:
        schedule = self._state.schedule
        assert schedule is not None  # the world gives every controller of this kind one
        return schedule

    def read_discrete_inputs(self, address: int, count: int) -> Sequence[bool]:
        """Contactor feedback, breakers, door contact, mains, leakage relay."""
        state = self._state
        tripped = [channel in state.tripped for channel in range(CHANNELS)]
        inputs = [*state.closed, *tripped, state.door_open, state.supply, False]
        if address + count > len(inputs):
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        return inputs[address : address + count]

    def read_coils(self, address: int, count: int) -> Sequence[bool]:
        """Single bits of the flags."""
        first = address - FLAGS
        if first < 0 or first + count > 16 * WORDS:
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        words = self._words()
        return [bool(words[bit // 16] >> bit % 16 & 1) for bit in range(first, first + count)]

    def read_holding(self, address: int, count: int) -> bytes:
        """The flags as words."""
        first = address - FLAGS
        if first < 0 or first + count > WORDS:
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        return registers(self._words()[first : first + count])

    def write_coils(self, address: int, values: Sequence[bool], origin: Origin) -> None:
        """Command contactors, let the schedule take over or not, half-night feeders."""
        bits = {address - FLAGS + n: bool(value) for n, value in enumerate(values)}
        known = {*range(16 * COMMANDS, 16 * COMMANDS + ASTRO_BIT + 1), *range(16 * HALVES, 16 * HALVES + CHANNELS)}
        if not bits.keys() <= known:
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        for bit, on in bits.items():
            word, place = divmod(bit, 16)
            if word == HALVES:
                self._schedule.half_night[place] = on
                self._log(origin, f"%MX{word}.{place}", "schedule", on)
            elif place == ASTRO_BIT:
                self._schedule.enabled = on
                self._log(origin, f"%MX{word}.{place}", "schedule", on)
            else:
                self._world.command_contactor(self._cabinet, place, on)
                feeder = self._state.channels.get(place)
                self._log(origin, f"%MX{word}.{place}", "contactor", on, (feeder.id,) if feeder else ())

    def write_holding(self, address: int, values: Sequence[int], origin: Origin) -> None:
        """Beat, set the timeout, and the times of the schedule."""
        words = {address - FLAGS + n: value for n, value in enumerate(values)}
        if not words.keys() <= WRITABLE:
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        kept = self._words()
        for word, value in words.items():
            kept[word] = value
        for word, value in words.items():
            kind = {HEARTBEAT: "heartbeat", TIMEOUT: "heartbeat_timeout"}.get(word, "schedule")
            if word == HEARTBEAT:
                self._world.beat(self._cabinet, value)
            elif word == TIMEOUT:
                self._world.set_heartbeat_timeout(self._cabinet, value)
            self._log(origin, f"%MW{word}", kind, value)
        self._take(kept)

    def _take(self, words: Sequence[int]) -> None:
        """The schedule of the words as they are now."""
        schedule = self._schedule
        schedule.on_offset_s = _signed(words[ON_OFFSET]) * OFFSET_STEP_S
        schedule.off_offset_s = _signed(words[OFF_OFFSET]) * OFFSET_STEP_S
        schedule.latitude_deg = _real(words[LATITUDE : LATITUDE + 2])
        schedule.longitude_deg = _real(words[LONGITUDE : LONGITUDE + 2])
        schedule.half_off_min = list(words[HALF_OFF : HALF_OFF + CHANNELS])
        schedule.half_on_min = list(words[HALF_ON : HALF_ON + CHANNELS])

    def _words(self) -> list[int]:
        state, schedule = self._state, self._schedule
        words = [0] * WORDS
        words[HEARTBEAT], words[TIMEOUT], words[SWITCH] = state.heartbeat, state.heartbeat_timeout_s, state.hand_switch
        words[ON_OFFSET] = schedule.on_offset_s // OFFSET_STEP_S & 0xFFFF
        words[OFF_OFFSET] = schedule.off_offset_s // OFFSET_STEP_S & 0xFFFF
        words[LATITUDE : LATITUDE + 2] = _words_of(schedule.latitude_deg)
        words[LONGITUDE : LONGITUDE + 2] = _words_of(schedule.longitude_deg)
        flags = {ASTRO_BIT: schedule.enabled, IN_CHARGE_BIT: state.fallback_lit is not None}
        flags |= {NIGHT_BIT: schedule.is_night(self._world.now), **dict(enumerate(state.commands))}
        words[COMMANDS] = sum(1 << bit for bit, on in flags.items() if on)
        words[HALVES] = sum(1 << channel for channel, on in enumerate(schedule.half_night) if on)
        words[HALF_OFF : HALF_OFF + CHANNELS] = schedule.half_off_min
        words[HALF_ON : HALF_ON + CHANNELS] = schedule.half_on_min
        for channel, operations in enumerate(state.operations):
            words[OPERATIONS + 2 * channel] = operations & 0xFFFF
            words[OPERATIONS + 2 * channel + 1] = operations >> 16
        return words

    def _log(self, origin: Origin, register: str, kind: str, value: float, feeders: tuple[str, ...] = ()) -> None:
        self._field.log_cabinet(
            peer=origin.peer, cabinet=self._cabinet, endpoint=self._endpoint, register=register, kind=kind,
            value=float(value), feeders=feeders,
        )  # fmt: skip


def _signed(word: int) -> int:
    return word - 0x10000 if word & 0x8000 else word


def _real(words: Sequence[int]) -> float:
    """A REAL of two words, the low one first."""
    return float(struct.unpack(">f", struct.pack(">HH", words[1], words[0]))[0])


def _words_of(real: float) -> list[int]:
    high, low = struct.unpack(">HH", struct.pack(">f", real))
    return [low, high]
