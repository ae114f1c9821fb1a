"""The physics of all lamps of a town: level, power, energy and burning time as exact functions of domain time.

Between two changes a lamp's level is constant or a straight ramp, and its power curve is a chain of straight lines, so
energy has a closed form: nothing is sampled, and a time-lapse loses nothing. Arrays are per lamp; instants are seconds
since 1970 in domain time. Who commands a lamp, and over which protocol, is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.level import FULL_PERMILLE, PowerCurve
from simulator.town import Luminaire, Model

Floats = NDArray[np.float64]
Index = slice | NDArray[np.intp]
EVERY = slice(None)

KEEP_LAST = -1.0  # power-on or system-failure level "as before" (DALI MASK)


def fade_seconds(code: Any) -> Floats:
    """Duration of a DALI fade by its code 0..15: 0.5 * sqrt(2 ** code) s, code 0 at once (IEC 62386-102)."""
    codes = np.asarray(code, dtype=np.float64)
    return np.where(codes > 0, 0.5 * np.sqrt(2.0**codes), 0.0)


class LampBank:
    """State of every lamp. A method given an instant before a lamp's last change gives no meaningful answer."""

    def __init__(self, luminaires: Sequence[Luminaire], models: Sequence[Model], start_s: float) -> None:
        rows = {model.id: row for row, model in enumerate(models)}
        self.count = n = len(luminaires)
        self._row = np.array([rows[lamp.model] for lamp in luminaires], dtype=np.intp)
        self._power, self._integral = _power_tables(models)
        self.minimum = np.array([m.minimum_level_permille for m in models], dtype=np.float64)[self._row]

        self.energised = np.zeros(n, dtype=np.bool_)
        self.lamp_failed = np.zeros(n, dtype=np.bool_)
        self.gear_failed = np.zeros(n, dtype=np.bool_)
        self.stuck_on = np.zeros(n, dtype=np.bool_)
        self.deaf = np.zeros(n, dtype=np.bool_)
        self.power_factor = np.ones(n)
        self._dropped_from = np.zeros(n)
        self.power_cycled = np.zeros(n, dtype=np.bool_)
        self.power_on_level = np.array([lamp.power_on_permille for lamp in luminaires], dtype=np.float64)
        self.system_failure_level = np.array([lamp.system_failure_permille for lamp in luminaires], dtype=np.float64)
        self.fade_code = np.array([lamp.fade_code for lamp in luminaires], dtype=np.float64)
        # 0 logarithmic, 1 linear: kept for whoever asks, as levels are given in light output and not in steps.
        self.curve_code = np.ones(n)

        # The last change: when, from which level, to which, until when, and the counters then.
        self._t0 = np.full(n, start_s)
        self._t1 = np.full(n, start_s)
        self._from = np.zeros(n)
        self.target = np.zeros(n)
        self._energy_wh = np.array([lamp.energy_wh for lamp in luminaires], dtype=np.float64)
        self.starts = np.zeros(n, dtype=np.int64)
        self._burning_s = np.array([lamp.burning_s for lamp in luminaires], dtype=np.float64)

        # What a driver says of itself begins anew with each driver; what the luminaire has drawn and burnt goes on.
        self.identity = [f"LB-DRV-{number:09d}" for number in range(n)]
        self._gear_energy_base = np.zeros(n)
        self._gear_burning_base = np.zeros(n)

    # --- what a lamp does at an instant ---------------------------------------------------------------------------

    def responds(self, index: Index = EVERY) -> NDArray[np.bool_]:
        """Whether the gear has supply and works, so that it hears and answers."""
        return self.energised[index] & ~self.gear_failed[index]

    def gear_level(self, t: float, index: Index = EVERY) -> Floats:
        """The level the gear drives, per mille, whether or not light comes out of the lamp."""
        t0, t1, start, target = self._t0[index], self._t1[index], self._from[index], self.target[index]
        span = t1 - t0
        share = np.divide(np.minimum(t, t1) - t0, span, out=np.ones_like(span), where=span > 0)
        level: Floats = start + (target - start) * share
        return level

    def light_level(self, t: float, index: Index = EVERY) -> Floats:
        """Light output in per mille of rated: 0 without supply, with a failed gear or a failed lamp."""
        lit = self.responds(index) & ~self.lamp_failed[index]
        return np.where(lit, self.gear_level(t, index), 0.0)

    def course(self, t: float, index: Index = EVERY) -> tuple[Floats, Floats, Floats]:
        """What light comes out from `t` on if nothing changes: from which level, to which, and until when it ramps."""
        lit = self.responds(index) & ~self.lamp_failed[index]
        until = np.maximum(self._t1[index], t)
        return self.light_level(t, index), np.where(lit, self.target[index], 0.0), until

    def fading(self, t: float, index: Index = EVERY) -> NDArray[np.bool_]:
        """Whether a ramp is under way."""
        return self.responds(index) & (t < self._t1[index])

    def power_w(self, t: float, index: Index = EVERY) -> Floats:
        """Active power in W; supplied gear with a failed lamp draws its standby power."""
        driven = np.where(self.lamp_failed[index], 0.0, self.gear_level(t, index))
        drawn = self.power_factor[index] * self._lookup(self._power, self._row[index], driven)
        return np.where(self.responds(index), drawn, 0.0)

    def energy_wh(self, t: float, index: Index = EVERY) -> Floats:
        """Energy counter in Wh, exact."""
        t0, t1, start, target = self._t0[index], self._t1[index], self._from[index], self.target[index]
        row, failed = self._row[index], self.lamp_failed[index]
        reached = self.gear_level(t, index)
        ramp_s = np.clip(t - t0, 0.0, t1 - t0)
        distance = reached - start
        moving = np.abs(distance) > 1e-9
        area = self._area(row, reached) - self._area(row, start)
        mean_w = np.where(
            moving,
            np.divide(area, distance, out=np.zeros_like(area), where=moving),
            self._lookup(self._power, row, start),
        )
        hold_s = np.maximum(t - t1, 0.0)
        hold_w = self._lookup(self._power, row, target)
        joules = np.where(failed, self._power[row, 0] * (ramp_s + hold_s), mean_w * ramp_s + hold_w * hold_s)
        joules = joules * self.power_factor[index]
        return self._energy_wh[index] + np.where(self.responds(index), joules, 0.0) / 3600.0

    def burning_s(self, t: float, index: Index = EVERY) -> Floats:
        """Time with light coming out, in s."""
        t0, t1 = self._t0[index], self._t1[index]
        ramp_s = np.clip(t - t0, 0.0, t1 - t0)
        hold_s = np.where(self.target[index] > 0, np.maximum(t - t1, 0.0), 0.0)
        ramp_lit = (self._from[index] > 0) | (self.target[index] > 0)
        lit = self.responds(index) & ~self.lamp_failed[index]
        return self._burning_s[index] + np.where(lit, np.where(ramp_lit, ramp_s, 0.0) + hold_s, 0.0)

    def gear_energy_wh(self, t: float, index: Index = EVERY) -> Floats:
        """Energy counter of the driver that is in, in Wh."""
        return self.energy_wh(t, index) - self._gear_energy_base[index]

    def gear_burning_s(self, t: float, index: Index = EVERY) -> Floats:
        """Operating time that the driver that is in counts, in s."""
        return self.burning_s(t, index) - self._gear_burning_base[index]

    # --- what changes a lamp --------------------------------------------------------------------------------------

    def command(self, t: float, index: NDArray[np.intp], level_permille: float) -> NDArray[np.intp]:
        """Go to a level at the gear's own fade. Returns the lamps that heard it; gear without supply hears nothing."""
        heard = index[self.responds(index) & ~self.stuck_on[index] & ~self.deaf[index]]
        if heard.size:
            level = np.where(level_permille > 0, np.maximum(level_permille, self.minimum[heard]), 0.0)
            self._go(t, heard, level, fade_seconds(self.fade_code[heard]))
            self.power_cycled[heard] = False
        return heard

    def communication_lost(self, t: float, index: NDArray[np.intp]) -> NDArray[np.intp]:
        """Gear takes its system-failure level. Returns the lamps that changed."""
        index = index[self.responds(index) & ~self.stuck_on[index] & (self.system_failure_level[index] != KEEP_LAST)]
        if index.size:
            self._go(t, index, self.system_failure_level[index], np.zeros(index.size))
        return index

    def energise(self, t: float, index: NDArray[np.intp], on: bool) -> NDArray[np.intp]:
        """Supply comes or goes; with it gear starts at its power-on level. Returns the lamps that changed."""
        index = index[self.energised[index] != on]
        if index.size:
            self._rebase(t, index)
            self.energised[index] = on
            if on:
                self.power_cycled[index] = True
                wanted = np.where(
                    self.power_on_level[index] == KEEP_LAST, self.target[index], self.power_on_level[index]
                )
                wanted = np.where(self.stuck_on[index], FULL_PERMILLE, wanted)
                self._set(t, index, wanted)
        return index

    def set_lamp_failure(self, t: float, index: NDArray[np.intp], failed: bool) -> None:
        """The light source fails (open circuit) or is replaced."""
        self._rebase(t, index)
        self.lamp_failed[index] = failed

    def set_gear_failure(self, t: float, index: NDArray[np.intp], failed: bool) -> None:
        """The driver fails: no light, no power, no answer; a repaired one starts at its power-on level."""
        self._rebase(t, index)
        self.gear_failed[index] = failed
        if not failed:
            self._set(t, index, np.maximum(self.power_on_level[index], 0.0))

    def swap_gear(self, t: float, index: NDArray[np.intp], identity: str, burning_s: float) -> None:
        """Another driver is put in: its counters are its own, its settings those of the factory (IEC 62386-102: both
        levels full), and it starts with its power-on level."""
        self._rebase(t, index)
        self._gear_energy_base[index] = self._energy_wh[index]
        self._gear_burning_base[index] = self._burning_s[index] - burning_s
        self.power_on_level[index] = self.system_failure_level[index] = float(FULL_PERMILLE)
        self.fade_code[index], self.starts[index] = 0, 0
        self.gear_failed[index] = False
        self.power_cycled[index] = True
        for lamp in index.tolist():
            self.identity[lamp] = identity
        self._set(t, index, np.full(index.size, float(FULL_PERMILLE)))

    def set_stuck_on(self, t: float, index: NDArray[np.intp], stuck: bool) -> None:
        """The lamp burns at full light and ignores commands, or obeys again (staying where it is)."""
        self._rebase(t, index)
        self.stuck_on[index] = stuck
        if stuck:
            self._set(t, index, np.full(index.size, float(FULL_PERMILLE)))

    def set_deaf(self, t: float, index: NDArray[np.intp], deaf: bool) -> None:
        """The gear answers and ignores commands: it stays where it is, or obeys again."""
        self.deaf[index] = deaf

    def set_power_factor(self, t: float, index: NDArray[np.intp], factor: float) -> None:
        """The lamp draws so many times what its model's curve says."""
        self._rebase(t, index)
        self.power_factor[index] = factor

    def drop_out(self, t: float, index: NDArray[np.intp], dark: bool) -> None:
        """The lamp goes dark by itself, as one that is too hot or at the end of its life, or comes back."""
        self._rebase(t, index)
        index = index[self.responds(index)]
        if dark:
            self._dropped_from[index] = self.target[index]
            self._set(t, index, np.zeros(index.size))
        else:
            self._set(t, index, np.maximum(self._dropped_from[index], self.target[index]))

    def start_at(self, t: float, index: NDArray[np.intp], level_permille: float) -> None:
        """Put lamps at a level at once, as the state before the simulation began."""
        self._go(t, index, np.full(index.size, level_permille), np.zeros(index.size))
        self.power_cycled[index] = False

    # --- inside ---------------------------------------------------------------------------------------------------

    def _go(self, t: float, index: NDArray[np.intp], level: Floats, fade_s: Floats) -> None:
        self._rebase(t, index)
        self.starts[index] += (self._from[index] <= 0) & (level > 0)
        self.target[index] = level
        self._t1[index] = t + np.where(level == self._from[index], 0.0, fade_s)

    def _set(self, t: float, index: NDArray[np.intp], level: Floats) -> None:
        self.starts[index] += level > 0
        self._from[index] = level
        self.target[index] = level
        self._t1[index] = t

    def _rebase(self, t: float, index: NDArray[np.intp]) -> None:
        """Make `t` the last change without changing anything: counters and level are what they are then."""
        energy, burning, level = self.energy_wh(t, index), self.burning_s(t, index), self.gear_level(t, index)
        self._energy_wh[index] = energy
        self._burning_s[index] = burning
        self._from[index] = level
        self._t0[index] = t
        self._t1[index] = np.maximum(self._t1[index], t)

    def _lookup(self, table: Floats, row: NDArray[np.intp], level: Floats) -> Floats:
        whole = np.minimum(level.astype(np.intp), FULL_PERMILLE)
        low = table[row, whole]
        result: Floats = low + (table[row, whole + 1] - low) * (level - whole)
        return result

    def _area(self, row: NDArray[np.intp], level: Floats) -> Floats:
        """Integral of power over level from 0, in W times per mille."""
        whole = np.minimum(level.astype(np.intp), FULL_PERMILLE)
        part = level - whole
        low = self._power[row, whole]
        result: Floats = (
            self._integral[row, whole] + part * low + 0.5 * part * part * (self._power[row, whole + 1] - low)
        )
        return result


def _power_tables(models: Sequence[Model]) -> tuple[Floats, Floats]:
    """Power in W at each whole per mille per model (one column more, so that 1000 has a neighbour), and its integral.

    Between two whole per mille power is taken as a straight line: that is this simulator's truth, also from standby at
    0 to the first per mille.
    """
    levels = np.arange(FULL_PERMILLE + 1)
    power = np.empty((len(models), FULL_PERMILLE + 2))
    for row, model in enumerate(models):
        power[row, :-1] = PowerCurve(model.curve, model.rated_w, model.standby_w).power_w_array(levels)
        power[row, -1] = power[row, -2]
    integral = np.zeros_like(power)
    integral[:, 1:] = np.cumsum(0.5 * (power[:, 1:] + power[:, :-1]), axis=1)
    return power, integral
