"""Electricity meters as counters: what they measure, the lives of their registers, and what they show per phase.

A register's life ends with a reset or an exchange; the counter shown is the life's start plus what was used since. How
a product lays it out in registers is in modbus/.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from simulator.consumption import ConsumptionCounter
from simulator.lamps import LampBank

Floats = NDArray[np.float64]

NOMINAL_V = 230.0
POWER_FACTOR = 0.95
BUILDING_PHASE_SHARES = np.array([0.36, 0.33, 0.31])


class Load(Protocol):
    """What hangs behind a meter: energy since any fixed instant in Wh and power in W, for L1, L2 and L3."""

    def energy_wh(self, t: float) -> Floats:
        """Three values."""
        ...

    def power_w(self, t: float) -> Floats:
        """Three values."""
        ...


class LampLoad:
    """The lamps of a cabinet, and a constant foreign load (in W, on L1) where somebody else hangs on the meter."""

    def __init__(
        self, lamps: LampBank, index: NDArray[np.intp], phases: NDArray[np.intp], foreign_w: float, start_s: float
    ) -> None:
        self._lamps, self._index, self._phase = lamps, index, phases - 1
        self._foreign_w, self._start_s = foreign_w, start_s

    def energy_wh(self, t: float) -> Floats:
        """Energy of the lamps' whole life and of the foreign load since the start."""
        energy = self._by_phase(self._lamps.energy_wh(t, self._index))
        energy[0] += self._foreign_w * (t - self._start_s) / 3600.0
        return energy

    def power_w(self, t: float) -> Floats:
        """Power of all lamps and the foreign load."""
        power = self._by_phase(self._lamps.power_w(t, self._index))
        power[0] += self._foreign_w
        return power

    def _by_phase(self, values: Floats) -> Floats:
        sums: Floats = np.bincount(self._phase, weights=values, minlength=3).astype(np.float64)
        return sums


class BuildingLoad:
    """A building's consumption, spread over the phases by fixed shares."""

    def __init__(self, counter: ConsumptionCounter) -> None:
        self._counter = counter

    def energy_wh(self, t: float) -> Floats:
        """Energy since the start of the base year."""
        shares: Floats = BUILDING_PHASE_SHARES * self._counter.energy_wh(t)
        return shares

    def power_w(self, t: float) -> Floats:
        """Mean power of the current hour."""
        shares: Floats = BUILDING_PHASE_SHARES * self._counter.power_w(t)
        return shares


@dataclass(frozen=True)
class MeterReading:
    """What a meter knows at an instant: per phase and in total, in V, A, W and Wh."""

    voltage_v: Floats
    current_a: Floats
    power_w: Floats
    energy_wh: Floats
    frequency_hz: float
    serial: str

    @property
    def total_w(self) -> float:
        """Active power of all phases."""
        return float(self.power_w.sum())

    @property
    def total_wh(self) -> float:
        """Imported active energy of all phases."""
        return float(self.energy_wh.sum())


class MeterState:
    """One meter. `life` counts its register's lives from 0; `available` False makes it answer its undefined values."""

    def __init__(self, meter_id: str, serial: str, start_wh: float, load: Load, start_s: float) -> None:
        self.id = meter_id
        self.serial = serial
        self.life = 0
        self.available = True
        self._load = load
        self._shown_at_start = np.full(3, start_wh / 3.0)
        self._load_at_start = load.energy_wh(start_s)

    def energy_wh(self, t: float) -> Floats:
        """The counter per phase, in Wh, as exact as the load."""
        energy: Floats = self._shown_at_start + self._load.energy_wh(t) - self._load_at_start
        return energy

    def total_wh(self, t: float) -> float:
        """The counter over all phases, in Wh."""
        return float(self.energy_wh(t).sum())

    def reading(self, t: float) -> MeterReading:
        """Everything the meter shows at an instant; voltage and frequency wander a little, by the time of day."""
        power = self._load.power_w(t)
        swing = 2.0 * math.sin(t / 4_321.0)
        voltage = np.array([NOMINAL_V + swing, NOMINAL_V - 0.5 * swing, NOMINAL_V + 0.3 * swing])
        return MeterReading(
            voltage_v=voltage,
            current_a=power / (voltage * POWER_FACTOR),
            power_w=power,
            energy_wh=self.energy_wh(t),
            frequency_hz=50.0 + 0.02 * math.sin(t / 97.0),
            serial=self.serial,
        )

    def reset(self, t: float, to_wh: float = 0.0) -> None:
        """The counter jumps, the device stays: a new life of the register."""
        self._begin_life(t, to_wh)

    def exchange(self, t: float, serial: str, start_wh: float) -> None:
        """Another device takes its place, with its own serial number and counter."""
        self.serial = serial
        self._begin_life(t, start_wh)

    def _begin_life(self, t: float, start_wh: float) -> None:
        self.life += 1
        self._load_at_start = self._load.energy_wh(t)
        self._shown_at_start = np.full(3, start_wh / 3.0)
