"""Electricity meters with the register maps of real products.

Sources: volkszaehler/mbmd rs485/sdm.go and abb.go, OpenEMS MeterJanitzaUmg96rmeImpl.java; limits per request and serial
numbers from the manufacturers' protocol documents. Addresses are 0-based, numbers big-endian, high word first.
"""

from __future__ import annotations

import math
import re

from simulator.metering import NOMINAL_V, POWER_FACTOR, MeterReading, MeterState
from simulator.modbus.unit import (
    ILLEGAL_VALUE,
    ModbusRefusal,
    RegisterImage,
    Unit,
    float32,
    int32,
    read_images,
    registers,
    uint32,
    uint64,
)
from simulator.world import World


class MeterUnit(Unit):
    """Unit 1 on a meter's own port."""

    def __init__(self, world: World, meter: MeterState) -> None:
        self._world = world
        self._meter = meter

    @property
    def serial(self) -> str:
        """The serial number, which changes with an exchange."""
        return self._meter.serial

    def reading(self) -> MeterReading:
        """What the meter shows now."""
        return self._meter.reading(self._world.now)

    @property
    def available(self) -> bool:
        """False where the meter answers its undefined values."""
        return self._meter.available

    def serial_number(self) -> int:
        """The digits of the serial number."""
        return int("".join(re.findall(r"\d", self._meter.serial)) or "0")


class EastronSdm630(MeterUnit):
    """Input registers of float32, energy in kWh; at most 80 registers a request. Serial number: holding 0xFC00."""

    model = "Eastron SDM630"
    MOST = 80

    def read_input(self, address: int, count: int) -> bytes:
        """The measured values."""
        if count > self.MOST:
            raise ModbusRefusal(ILLEGAL_VALUE)
        image = RegisterImage(0x0000, 0x0188)
        r = self.reading()
        volt_ampere = r.voltage_v * r.current_a
        reactive = (volt_ampere**2 - r.power_w**2).clip(min=0.0) ** 0.5
        kwh = r.energy_wh / 1000.0
        total_w, total_kwh = r.total_w, r.total_wh / 1000.0
        image.put(0x0000, float32(*r.voltage_v, *r.current_a, *r.power_w, *volt_ampere, *reactive))
        image.put(0x001E, float32(*(POWER_FACTOR,) * 3))
        image.put(0x002A, float32(float(r.voltage_v.mean())))
        image.put(0x0034, float32(total_w))
        image.put(0x0038, float32(float(volt_ampere.sum())))
        image.put(0x003C, float32(float(reactive.sum())))
        image.put(0x003E, float32(POWER_FACTOR))
        image.put(0x0046, float32(r.frequency_hz, total_kwh, 0.0))
        image.put(0x0156, float32(total_kwh, 0.0, *kwh, 0.0, 0.0, 0.0, *kwh))
        if not self.available:
            image.put(0x0000, float32(*(math.nan,) * (0x0188 // 2)))
        return read_images([image], address, count)

    def read_holding(self, address: int, count: int) -> bytes:
        """The serial number."""
        image = RegisterImage(0xFC00, 2)
        image.put(0xFC00, uint32(self.serial_number()))
        return read_images([image], address, count)


class AbbB23(MeterUnit):
    """Holding registers of integers, energy in 0.01 kWh; what is not available is all ones, or 0x7F.. where signed."""

    model = "ABB B23"

    def read_holding(self, address: int, count: int) -> bytes:
        """Energy totals, energy per phase, instantaneous values, serial number: four stretches."""
        totals = RegisterImage(0x5000, 0x20, filler=0xFFFF)
        phases = RegisterImage(0x5460, 0x18, filler=0xFFFF)
        values = RegisterImage(0x5B00, 0x40, filler=0xFFFF)
        product = RegisterImage(0x8900, 2)
        product.put(0x8900, uint32(self.serial_number()))
        if self.available:
            r = self.reading()
            totals.put(0x5000, uint64(r.total_wh / 10.0, 0.0))
            phases.put(0x5460, uint64(*(r.energy_wh / 10.0), 0.0, 0.0, 0.0))
            values.put(0x5B00, uint32(*(round(v * 10) for v in r.voltage_v)))
            values.put(0x5B0C, uint32(*(round(i * 100) for i in r.current_a)))
            values.put(0x5B14, int32(round(r.total_w * 100), *(round(p * 100) for p in r.power_w)))
            values.put(0x5B2C, registers([round(r.frequency_hz * 100)]))
            values.put(0x5B3A, registers([round(POWER_FACTOR * 1000)] * 4))
        else:
            values.put(0x5B14, int32(*(0x7FFFFFFF,) * 4))
            values.put(0x5B3A, registers([0x7FFF] * 4))
        return read_images([totals, phases, values, product], address, count)


class JanitzaUmg96(MeterUnit):
    """Holding registers of float32 from 19000, energy in Wh."""

    model = "Janitza UMG 96RM-E"
    FIRST = 19000

    def read_holding(self, address: int, count: int) -> bytes:
        """The measured values."""
        image = RegisterImage(self.FIRST, 122)
        r = self.reading()
        volt_ampere = r.voltage_v * r.current_a
        reactive = (volt_ampere**2 - r.power_w**2).clip(min=0.0) ** 0.5
        image.put(19000, float32(*r.voltage_v))
        image.put(19006, float32(*(NOMINAL_V * math.sqrt(3.0),) * 3))
        image.put(19012, float32(*r.current_a, float(r.current_a.sum())))
        image.put(19020, float32(*r.power_w, r.total_w))
        image.put(19028, float32(*volt_ampere, float(volt_ampere.sum())))
        image.put(19036, float32(*reactive, float(reactive.sum())))
        image.put(19044, float32(*(POWER_FACTOR,) * 3))
        image.put(19050, float32(r.frequency_hz))
        image.put(19062, float32(*r.energy_wh, r.total_wh, 0.0, 0.0, 0.0, 0.0))
        if not self.available:
            image.put(self.FIRST, float32(*(math.nan,) * 61))
        return read_images([image], address, count)
