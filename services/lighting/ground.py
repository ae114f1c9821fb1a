"""What the workers of one inventory share: columns, live state, how lamps follow, history, and what is due now.

When the inventory changes, a new ground takes over and the old one is retired: what still runs on it may end, and its
results are dropped. Not here: talking to devices (gateway.py, cabinet.py), pacing (control.py).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from domain.plan import to_unix_ms
from servicekit.clock import Clock
from services.lighting.columns import Columns, Flags, Levels, Rows
from services.lighting.due import Due, DueSource
from services.lighting.fault_kinds import FaultLimits
from services.lighting.fault_signs import Signs
from services.lighting.faults import fault_bits
from services.lighting.field import Field
from services.lighting.following import Following, FollowingLimits
from services.lighting.history import LevelRecorder
from services.lighting.records import Orders
from services.lighting.state import Power, Quality, Switch, TownState

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tuning:
    """How control is paced. `_s` is domain time, `_real_s` real time."""

    interval_s: float = 10.0
    """Between two passes, and two readings of a device."""
    least_interval_real_s: float = 0.25
    """A time-lapse does not make passes more frequent than this, but for switching instants."""
    least_gap_real_s: float = 0.05
    """Between two passes, whatever the reason."""
    poll_real_s: float = 2.0
    """Least time between two readings of a device that nothing is expected of."""
    confirm_real_s: float = 0.2
    """Least time until a command is read back."""
    patience_real_s: float = 1.0
    """How long a pass waits for slow devices; they go on by themselves."""
    stale_real_s: float = 30.0
    """Nothing is written on readings older than this; a link with a pace of its own stretches it (field.Pace)."""
    settle_s: float = 5.0
    """How long a level may fade without a ramp of the plan."""
    look_s: float = 2.2
    """When a command is looked at first, where gear says whether it still fades: usual gear has by then."""
    boot_s: float = 2.0
    """How long gear takes to answer after it got supply."""
    power_on_permille: int = 1000
    """Level that gear starts at, where nothing else was read of it."""
    inrush_step_s: float = 0.5
    """Between two contactors that close: of one cabinet, and of one cabinet and the next."""
    inrush_slots: int = 20
    """So many cabinets follow each other, then the order begins anew: bounds the delay."""
    broadcast_from: int = 4
    """Least number of luminaires that a broadcast is used for."""
    concurrency: int = 200
    """Devices worked on at once."""
    following: FollowingLimits = field(default_factory=FollowingLimits)
    faults: FaultLimits = field(default_factory=FaultLimits)


class Ground:
    """Shared by the workers of one inventory."""

    def __init__(
        self,
        columns: Columns,
        state: TownState,
        recorder: LevelRecorder,
        devices: Field,
        clock: Clock,
        tuning: Tuning,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.columns, self.state, self.recorder = columns, state, recorder
        self.devices, self.clock, self.tuning, self.monotonic = devices, clock, tuning, monotonic
        self.following = Following(columns, tuning.following)
        self.signs = Signs(columns)
        self.due: Due | None = None
        self.retired = False
        self.calm = asyncio.Event()
        """Set while no commands are under way: what is only read waits for them."""
        self.calm.set()
        self.version = 0
        """Another number when supply or a hand switch is not as it was."""
        self.are_current: Callable[[Orders], bool] = lambda _orders: False
        """False once other orders hold, or another process holds the field: nothing is written then."""
        gateways = len(columns.inventory.gateways)
        self.next_poll = np.zeros(gateways, dtype=np.float64)
        """Monotonic real time from which on a gateway is to be read."""
        self.earliest = np.zeros(gateways, dtype=np.float64)
        """Monotonic real time before which a gateway's link bears no other reading, whatever the reason."""
        self.awaited = np.zeros(gateways, dtype=np.bool_)
        """Whether something is expected of that reading, so that a pass is worth making for it."""
        self.told_at = np.full(gateways, -np.inf)
        """Monotonic real time at which a gateway was told something last."""
        # What was read of hand switches outlives a change of the inventory: nobody turned them.
        switches = [
            state.cabinets[c.uid].switch if c.uid in state.cabinets else Switch.UNKNOWN
            for c in columns.inventory.cabinets
        ]
        self.switch = np.array(switches, dtype=np.int8)
        self.due_on_since_ms = np.zeros(len(columns.inventory.feeders), dtype=np.int64)
        """Since when a feeder is due on; 0 while it is not."""
        self._permanent = np.flatnonzero(~columns.feeder_switched)
        self._silent_gear = np.flatnonzero((columns.gateway < 0) & (columns.feeder >= 0))

    @property
    def now_ms(self) -> int:
        """Domain time in Unix ms."""
        return to_unix_ms(self.clock.now())

    def may_write(self, due: Due) -> bool:
        """Whether what is due may still be written: this ground holds, and so do the orders it was worked out from."""
        return not self.retired and self.are_current(due.orders)

    def read_again(self, gateways: int | NDArray[np.int32], domain_s: float) -> None:
        """Gateways are worth reading after some domain seconds: something was told, or boots, or fades. As soon as
        their links bear it."""
        wanted = self.monotonic() + max(self.tuning.confirm_real_s, domain_s / self.clock.speed)
        self.next_poll[gateways] = np.maximum(wanted, self.earliest[gateways])
        self.awaited[gateways] = True

    def was_told(self, gateway: int) -> None:
        """A gateway has taken commands: a reading that began before does not show what came of them."""
        self.told_at[gateway] = self.monotonic()

    def was_read(self, gateway: int, asked_at: float = np.inf) -> None:
        """A gateway was read; the next time is the regular one, or when its link bears it. Unless it was told something
        after it was asked: then it is read again for that."""
        if self.told_at[gateway] > asked_at:
            return
        self.next_poll[gateway] = max(self.monotonic() + self.poll_real_s(), self.earliest[gateway])
        self.awaited[gateway] = False

    def reads_too_late(self, gateway: int, domain_s: float) -> bool:
        """Whether a command that will have settled after some domain seconds cannot be read back then."""
        return bool(self.earliest[gateway] > self.monotonic() + domain_s / self.clock.speed)

    def take_due(self, due: Due) -> None:
        """Takes what is due now, and since when feeders are due on."""
        now_ms = to_unix_ms(due.at)
        if self.due is not None and due.at < self.due.at:
            self._set_back(now_ms)
        self.due = due
        self.state.set_due(due)
        self.due_on_since_ms = np.where(
            due.feeder_on, np.where(self.due_on_since_ms > 0, self.due_on_since_ms, now_ms), 0
        )

    def _set_back(self, now_ms: int) -> None:
        """The clock was set back: what waits for an instant that was near must not wait until it comes again."""
        _log.warning("the clock was set back")
        following = self.following
        following.settle_ms = np.minimum(following.settle_ms, now_ms + round(self.tuning.settle_s * 1000))
        following.silent_since_ms = np.minimum(following.silent_since_ms, now_ms)
        self.due_on_since_ms = np.minimum(self.due_on_since_ms, now_ms)

    def set_switch(self, cabinet: int, switch: Switch) -> None:
        """Notes the position of a cabinet's hand switch."""
        if self.switch[cabinet] != switch:
            self.switch[cabinet] = switch
            self.version += 1

    def supply_of(self, rows: Rows | slice) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
        """Supply of luminaires by what is known of their feeders."""
        feeder = self.columns.feeder[rows]
        if not self.state.feeder_power.size:
            return np.full(feeder.shape, Power.UNKNOWN, dtype=np.int8)
        known = self.state.feeder_power[np.maximum(feeder, 0)]
        return np.where(feeder >= 0, known, Power.UNKNOWN).astype(np.int8)

    def is_left_alone(self, rows: Rows | slice, level: Levels, *, reduced_by_others: bool = True) -> Flags:
        """Luminaires that no command reduces (unless these do not count), and those of cabinets whose switch says so.

        In 0 nothing is written. In hand, somebody lit the street by hand: levels above 0 are followed, off is only for
        people to command, not for a plan or the default.
        """
        others: Flags = ~self.columns.commanded[rows] & reduced_by_others
        if self.due is None or not self.switch.size:
            return others
        cabinet = self.columns.cabinet[rows]
        switch = np.where(cabinet >= 0, self.switch[np.maximum(cabinet, 0)], Switch.UNKNOWN)
        by_itself = self.due.source[rows] >= DueSource.SENSOR
        alone: Flags = others | (switch == Switch.OFF) | ((switch == Switch.HAND) & (level == 0) & by_itself)
        return alone

    def set_feeder_power(self, feeder: int, power: Power, at_ms: int) -> None:
        """Notes the supply of a feeder: gear that gets it boots, gear that loses it is dark and no fault."""
        before = Power(int(self.state.feeder_power[feeder]))
        if before == power:
            return
        self.state.feeder_power[feeder] = power
        self.version += 1
        rows = self.columns.rows_by_feeder[feeder]
        if not rows.size:
            return
        lamps, tuning = self.state.lamps, self.tuning
        self.signs.supply_changed(rows)
        if power == Power.OFF:
            self.following.supplied(rows, at_ms)
            self.recorder.supply(rows, False, 0, at_ms)
            lamps.actual[rows], lamps.quality[rows], lamps.observed_at_ms[rows] = 0, Quality.GOOD, at_ms
            return
        if before == Power.OFF and power == Power.ON:
            self.following.supplied(rows, at_ms + round(tuning.boot_s * 1000))
            self.recorder.supply(rows, True, tuning.power_on_permille, at_ms)
            lamps.actual[rows], lamps.quality[rows] = tuning.power_on_permille, Quality.UNCERTAIN
            lamps.observed_at_ms[rows] = at_ms
        gateways = np.unique(self.columns.gateway[rows])
        self.read_again(gateways[gateways >= 0], tuning.boot_s)

    def poll_real_s(self) -> float:
        """Real seconds between two readings of a device that nothing is expected of.

        A little less than between two passes, so that each regular pass finds it time.
        """
        return max(self.tuning.poll_real_s, 0.9 * self.tuning.interval_s / self.clock.speed)

    def settle_supply(self, at_ms: int) -> None:
        """What needs no reading: permanent feeders have supply, and lamps without a gateway burn when they have it."""
        unknown = self._permanent[self.state.feeder_power[self._permanent] == Power.UNKNOWN]
        for feeder in unknown.tolist():
            self.set_feeder_power(feeder, Power.ON, at_ms)
        dark = np.flatnonzero((self.supply_of(slice(None)) == Power.OFF) & (self.state.lamps.actual != 0))
        if dark.size:  # came into the inventory while their feeder was off
            self.recorder.supply(dark, False, 0, at_ms)
            self.state.lamps.actual[dark], self.state.lamps.quality[dark] = 0, Quality.GOOD
            self.state.lamps.observed_at_ms[dark] = at_ms
        rows = self._silent_gear[self.columns.feeder_switched[self.columns.feeder[self._silent_gear]]]
        lit = rows[self.supply_of(rows) == Power.ON]
        lamps = self.state.lamps
        new = lit[lamps.actual[lit] != self.tuning.power_on_permille]
        lamps.actual[lit], lamps.quality[lit] = self.tuning.power_on_permille, Quality.UNCERTAIN
        if new.size:
            full = np.full(new.size, self.tuning.power_on_permille, dtype=np.int16)
            self.recorder.observed(new, full, np.zeros(new.size, dtype=np.bool_), at_ms)
            lamps.observed_at_ms[new] = at_ms

    def show(self) -> None:
        """Brings what is shown of luminaires up to date: supply and faults."""
        if self.due is None:
            return
        lamps, following, columns = self.state.lamps, self.following, self.columns
        supply = self.supply_of(slice(None))
        # Where no feedback tells, gear that answers has supply; one that does not by day is taken to have none.
        answers = (following.silent == 0) & (lamps.observed_at_ms > 0)
        guess = np.where(answers, Power.ON, np.where(self.due.level == 0, Power.OFF, Power.UNKNOWN))
        lamps.powered = np.where(supply == Power.UNKNOWN, guess, supply).astype(np.int8)
        lamps.faults = fault_bits(
            unpowered=lamps.powered == Power.OFF,
            reachable=columns.gateway >= 0,
            lamp_failure=following.lamp_failure,
            gear_failure=following.gear_failure,
            not_following=following.is_disobedient,
            burning_by_day=following.burns_by_day,
            silent=following.is_silent,
        )
