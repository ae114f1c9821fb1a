"""The switching side of a cabinet: contactor commands, the hand/off/auto switch, door, heartbeat and fallback.

It decides which feeders are closed; the lamps behind them and the registers before them are elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulator.town import Cabinet, Feeder

if TYPE_CHECKING:
    from simulator.schedule import StoredSchedule

CHANNELS = 8
HAND, OFF, AUTO = 0, 1, 2
POSITIONS = {"hand": HAND, "off": OFF, "auto": AUTO}


@dataclass
class CabinetState:
    """What a cabinet's controller and contactors hold. `welded` and `stuck_open` are channels with a broken contactor.

    `tripped` are channels whose circuit breaker has opened. `fallback_lit` is set while the heartbeat is overdue:
    whether the controller's own astronomical clock says light. `heartbeat_timeout_s` 0 means that it never is.
    `schedule` is what was stored in a controller that keeps one, `resting` its half-night channels in the fallback.
    """

    cabinet: Cabinet
    channels: Mapping[int, Feeder]
    commands: list[bool] = field(default_factory=lambda: [False] * CHANNELS)
    closed: list[bool] = field(default_factory=lambda: [False] * CHANNELS)
    operations: list[int] = field(default_factory=lambda: [0] * CHANNELS)
    hand_switch: int = AUTO
    door_open: bool = False
    supply: bool = True
    heartbeat: int = 0
    heartbeat_s: float = 0.0
    heartbeat_timeout_s: int = 0
    fallback_lit: bool | None = None
    schedule: StoredSchedule | None = None
    resting: set[int] = field(default_factory=set)
    welded: set[int] = field(default_factory=set)
    stuck_open: set[int] = field(default_factory=set)
    tripped: set[int] = field(default_factory=set)

    def wanted(self, channel: int) -> bool:
        """Whether the contactor's coil is energised: by hand, by the fallback, or as commanded."""
        if self.hand_switch == HAND:
            return True
        if self.hand_switch == OFF:
            return False
        if self.fallback_lit is None:
            return self.commands[channel]
        return self.fallback_lit and channel not in self.resting

    def settle(self) -> list[int]:
        """Bring the contactors to what is wanted, as far as they can. Returns the channels that changed."""
        changed = []
        for channel in self.channels:
            closed = channel in self.welded or (channel not in self.stuck_open and self.wanted(channel))
            if closed != self.closed[channel]:
                self.closed[channel] = closed
                self.operations[channel] = (self.operations[channel] + 1) & 0xFFFF
                changed.append(channel)
        return changed

    def feeder_live(self, feeder: Feeder) -> bool:
        """Whether gear on a feeder has supply."""
        return self.supply and (
            feeder.channel < 0 or (self.closed[feeder.channel] and feeder.channel not in self.tripped)
        )
