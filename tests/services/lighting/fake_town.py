"""A small honest town of field devices in memory: lamps that fade and boot, contactors, hand switches, dead lines.

It implements what control asks of `fieldbus.client.Fieldbus` and `fieldbus.device.Device`; time is the test's clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from domain.errors import FailedPrecondition, NotFound
from fieldbus.budget import MobileLink
from fieldbus.profile import Profile
from fieldbus.values import (
    DeviceHealth,
    DeviceState,
    Identity,
    PointAddress,
    Quality,
    TimeSource,
    ValueBatch,
    WriteOutcome,
    WriteResult,
    unix_ms,
)

HAND, OFF, AUTO = 0, 1, 2


@dataclass
class FakeLamp:
    """A luminaire on a feeder (a channel of the cabinet, None for a permanent one)."""

    channel: int | None
    power_on: int = 1000
    stuck: bool = False
    lamp_failure: bool = False
    gear_failure: bool = False
    start: int = 0
    target: int = 0
    since: float = 0.0
    fade_s: float = 2.0
    rated_w: float = 20.0
    communication_loss: int = -1
    burning_s: float = float("nan")
    """What its gear reports; NaN where it does not."""
    forgets: bool = False
    """Acknowledges what it is to store, and does not."""

    def level(self, now: float) -> int:
        """Level in effect."""
        share = min(1.0, (now - self.since) / self.fade_s) if self.fade_s else 1.0
        return round(self.start + (self.target - self.start) * share)

    def go(self, level: int, now: float) -> None:
        """Fades to a level."""
        if not self.stuck:
            self.start, self.target, self.since = self.level(now), level, now

    def put(self, level: int, now: float) -> None:
        """Is at a level at once."""
        self.start, self.target, self.since = level, level, now


@dataclass
class FakeCabinet:
    """A cabinet with contactors and the lamps of its gateways."""

    channels: int = 2
    switch: int = AUTO
    door_open: bool = False
    supply: bool = True
    commands: list[bool] = field(default_factory=list)
    lamps: list[FakeLamp] = field(default_factory=list)
    beats: int = 0
    settings: dict[tuple[str, int | None], float] = field(default_factory=dict)
    """What else was written to its controller, by point and channel."""
    welded_open: set[int] = field(default_factory=set)
    welded_closed: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.commands = [False] * self.channels
        self._powered: dict[int, bool] = {}

    def closed(self, channel: int) -> bool:
        """Whether a contactor is closed."""
        if channel in self.welded_closed:
            return True
        if channel in self.welded_open or self.switch == OFF:
            return False
        return True if self.switch == HAND else self.commands[channel]

    def powered(self, lamp: FakeLamp) -> bool:
        """Whether a lamp has supply."""
        return self.supply and (lamp.channel is None or self.closed(lamp.channel))

    def settle(self, now: float) -> None:
        """Gear that gets supply starts at its power-on level, gear that loses it is dark."""
        for lamp in self.lamps:
            on = self.powered(lamp)
            if on != self._powered.get(id(lamp), lamp.channel is None):
                lamp.put(lamp.power_on if on else 0, now)
            self._powered[id(lamp)] = on


class FakeDevice:
    """A controller or a gateway on the wire."""

    def __init__(self, town: FakeTown, cabinet: FakeCabinet, lamps: dict[int, FakeLamp] | None) -> None:
        self.town, self.cabinet, self.lamps = town, cabinet, lamps
        self.groups: dict[int, list[int]] = {}
        """Addresses in a group of the gear, whatever the inventory says."""
        self.refuses: set[str] = set()
        self.dead = False
        self.hangs: asyncio.Event | None = None
        self.reads_hang: asyncio.Event | None = None
        self.not_the_simulator = False
        self.doubts: set[str] = set()
        self.least_s = 0.0
        self.out_of_bytes = False
        self.writes: list[tuple[str, int | None, float]] = []
        self.attempts = 0
        self.reads = 0
        self.read_at: list[float] = []
        self.closed = False

    async def read(self, points: Sequence[PointAddress]) -> ValueBatch:
        """MISSING from a dead one; waits for ever while it hangs."""
        if self.not_the_simulator:
            raise FailedPrecondition.of("endpoint", "it is not the simulator")
        if self.out_of_bytes:
            return ValueBatch.missing(points, self.town.now())
        self.reads += 1
        if [point.point for point in points] != ["heartbeat"]:
            self.read_at.append(self.town.seconds)
        await asyncio.sleep(0)
        if self.hangs is not None:
            await self.hangs.wait()
        if self.reads_hang is not None:
            await self.reads_hang.wait()
        if self.dead:
            return ValueBatch.missing(points, self.town.now())
        self.cabinet.settle(self.town.seconds)
        pairs = [
            (value, Quality.UNCERTAIN if point.point in self.doubts and quality is Quality.GOOD else quality)
            for point in points
            for value, quality in (self._value(point),)
        ]
        return ValueBatch(
            points,
            np.array([value for value, _ in pairs], dtype=np.float64),
            np.array([quality for _, quality in pairs], dtype=np.uint8),
            np.full(len(points), unix_ms(self.town.now()), dtype=np.int64),
            np.full(len(points), TimeSource.OURS, dtype=np.uint8),
        )

    async def write(self, writes: Sequence[Any], verify: bool = True) -> list[WriteResult]:
        """Takes commands, and keeps note of each."""
        self.attempts += len(writes)
        await asyncio.sleep(0)
        if self.hangs is not None:
            await self.hangs.wait()
        if self.dead:
            return [WriteResult(address, WriteOutcome.UNKNOWN, "no answer") for address, _ in writes]
        results = []
        for address, value in writes:
            if address.point in self.refuses:
                results.append(WriteResult(address, WriteOutcome.REFUSED, "by the device"))
                continue
            self.writes.append((address.point, address.index, value))
            self._take(address.point, address.index, value)
            results.append(WriteResult(address, WriteOutcome.CONFIRMED if verify else WriteOutcome.ACCEPTED, "", value))
        self.cabinet.settle(self.town.seconds)
        return results

    async def subscribe(self, points: Any, callback: Any, *, interval_s: float | None = None) -> Any:
        """Not offered by this device."""
        raise FailedPrecondition.of("subscribe", "this device has no subscriptions")

    def health(self) -> DeviceHealth:
        """Online unless dead."""
        reason = "the byte budget of this link is used up" if self.out_of_bytes else ""
        return DeviceHealth(
            DeviceState.BACKING_OFF if self.dead else DeviceState.ONLINE,
            last_error=reason,
            over_budget=self.out_of_bytes,
        )

    def least_interval_s(self, points: Sequence[PointAddress]) -> float:
        """As the test says."""
        return self.least_s

    async def identify(self) -> Identity:
        """A simulator."""
        return Identity("Lichtbuch", "Simulator", "test")

    async def close(self) -> None:
        """Closed."""
        self.closed = True

    def _value(self, point: PointAddress) -> tuple[float, Quality]:
        cabinet = self.cabinet
        if self.lamps is None:
            plain = {
                "hand_off_auto": cabinet.switch, "door_open": cabinet.door_open, "supply_present": cabinet.supply,
                "heartbeat": cabinet.beats,
            }  # fmt: skip
            if point.point in plain:
                return float(plain[point.point]), Quality.GOOD
            if point in cabinet.settings:
                return cabinet.settings[point], Quality.GOOD
            channel = point.index or 0
            of_channel = {"contactor_command": cabinet.commands[channel], "contactor_feedback": cabinet.closed(channel)}
            return float(of_channel.get(point.point, 0)), Quality.GOOD
        if point.point == "gears_unaddressed":
            return 0.0, Quality.GOOD
        lamp = self.lamps[point.index or 0]
        if point.point == "gear_identity":
            return float("nan"), Quality.BAD
        if not cabinet.powered(lamp) or lamp.gear_failure:
            return (1.0, Quality.GOOD) if point.point == "gear_failure" else (float("nan"), Quality.BAD)
        level = 0 if lamp.lamp_failure else lamp.level(self.town.seconds)
        values = {
            "level_actual": level,
            "level_command": lamp.target,
            "level_power_on": lamp.power_on,
            "level_communication_loss": lamp.communication_loss,
            "lamp_failure": lamp.lamp_failure,
            "gear_failure": False,
            "lamp_power": lamp.rated_w * level / 1000,
            "fade_time": lamp.fade_s,
            "fade_running": lamp.level(self.town.seconds) != lamp.target,
            "burning_hours": lamp.burning_s,
            "address_conflict": False,
        }
        value = float(values[point.point])
        return value, Quality.GOOD if value == value else Quality.BAD

    def _take(self, point: str, index: int | None, value: float) -> None:
        now = self.town.seconds
        if point == "contactor_command":
            self.cabinet.commands[index or 0] = bool(value)
        elif self.lamps is None and point != "heartbeat":
            self.cabinet.settings[point, index] = value
        elif point == "heartbeat":
            self.cabinet.beats = round(value)
        elif point in ("level_power_on", "level_communication_loss") and self.lamps is not None:
            self._store(point, self.lamps[index or 0], round(value))
        elif point == "fade_time" and self.lamps is not None:
            self.lamps[index or 0].fade_s = value
        elif self.lamps is not None:
            members = {
                "broadcast_level_command": list(self.lamps),
                "group_level_command": self.groups.get(index or 0, []),
            }
            targets = [self.lamps[address] for address in members.get(point, [index or 0])]
            for lamp in targets:
                if self.cabinet.powered(lamp) and not lamp.gear_failure:
                    lamp.go(round(value), now)

    def _store(self, point: str, lamp: FakeLamp, level: int) -> None:
        """Gear keeps a level, unless it has no supply or forgets."""
        if not self.cabinet.powered(lamp) or lamp.gear_failure or lamp.forgets:
            return
        if point == "level_power_on":
            lamp.power_on = level
        else:
            lamp.communication_loss = level


class FakeTown:
    """All devices by URL, and the opener that control is given."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.devices: dict[str, FakeDevice] = {}
        self.opened: list[str] = []

    @property
    def seconds(self) -> float:
        """Domain time in seconds."""
        return self.now().timestamp()

    def add_cabinet(self, number: int, channels: int, lamps: Sequence[FakeLamp]) -> FakeCabinet:
        """A cabinet with one controller and one gateway."""
        cabinet = FakeCabinet(channels, lamps=list(lamps))
        self.devices[f"fake://c{number}"] = FakeDevice(self, cabinet, None)
        self.devices[f"fake://g{number}"] = FakeDevice(self, cabinet, dict(enumerate(lamps)))
        return cabinet

    def open(self, url: str, profile: str | Profile, *, link: MobileLink | None = None) -> FakeDevice:
        """The device behind a URL."""
        if url not in self.devices:
            raise NotFound(url)
        self.opened.append(url)
        return self.devices[url]

    async def close(self) -> None:
        """Nothing to close."""

    def controller(self, number: int) -> FakeDevice:
        """The controller of a cabinet."""
        return self.devices[f"fake://c{number}"]

    def gateway(self, number: int) -> FakeDevice:
        """The gateway of a cabinet."""
        return self.devices[f"fake://g{number}"]

    def lamp(self, number: int, address: int) -> FakeLamp:
        """A lamp at an address of a cabinet's gateway."""
        return (self.gateway(number).lamps or {})[address]

    def levels(self, number: int) -> list[int]:
        """What the lamps of a cabinet really show."""
        gateway = self.gateway(number)
        gateway.cabinet.settle(self.seconds)
        return [
            lamp.level(self.seconds) if gateway.cabinet.powered(lamp) and not lamp.lamp_failure else 0
            for lamp in (gateway.lamps or {}).values()
        ]
