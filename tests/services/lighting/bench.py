"""A workbench: a small town of fake devices under the reconcile loop, on a stepped clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from domain.level import PowerCurve
from domain.plan import Plan, to_unix_ms
from domain.priority import Priority
from servicekit.clock import SteppedClock
from services.lighting.control import Control
from services.lighting.fault_book import FaultBook
from services.lighting.fault_watch import FaultWatch
from services.lighting.field import Field
from services.lighting.ground import Tuning
from services.lighting.records import (
    CabinetRecord,
    EndpointRecord,
    EndpointState,
    FeederRecord,
    FeederSupply,
    GatewayRecord,
    GroupRecord,
    Inventory,
    Known,
    LockoutRecord,
    LuminaireRecord,
    Orders,
    OverrideRecord,
    TownRecord,
)
from services.lighting.state import TownState
from tests.services.lighting.fake_town import FakeLamp, FakeTown

NOON = datetime(2026, 11, 10, 11, tzinfo=UTC)
"""Noon in Bad Hersfeld. Sunset is at about 15:42, civil dusk 16:17, civil dawn 05:56, sunrise 06:31 UTC."""
HOUR = timedelta(hours=1)
TOWN = TownRecord("t1", "bad-hersfeld", 50.868, 9.707)
FLOOR = 400


class GivenKnowledge:
    """What control rests on, as the test says."""

    database_is_away = False

    def __init__(self) -> None:
        self.known = Known()
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Adds a listener."""
        self._listeners.append(listener)

    def set(self, known: Known) -> None:
        """Something changed."""
        self.known = known
        for listener in self._listeners:
            listener()


class Bench:
    """The town and its control. Cabinet n has feeders "f{n}.0" (switched) ... and a last, permanent one."""

    def __init__(
        self,
        cabinets: int = 2,
        lamps_per_feeder: int = 4,
        switched: int = 2,
        profile: str = "generic-level-status",
        controller: str = "cabinet-plc",
        **tuning: object,
    ) -> None:
        self.profile, self.controller_profile = profile, controller
        self.clock = SteppedClock(NOON)
        self.town = FakeTown(self.clock.now)
        self.knowledge = GivenKnowledge()
        self.state = TownState()
        self.holds = True
        defaults: dict[str, object] = {
            "patience_real_s": 20.0,  # devices answer at once; where one is to hang, a test takes less
            "confirm_real_s": 0.0,
            "poll_real_s": 0.0,
            "inrush_step_s": 0.0,
        }
        self.tuning = Tuning(**(defaults | tuning))  # type: ignore[arg-type]
        self._lay(cabinets, lamps_per_feeder, switched)
        self.book = FaultBook()
        self.curves: dict[str, PowerCurve] = {}
        watch = FaultWatch(self.book, self.tuning.faults, lambda: self.curves)
        self.control = Control(
            self.knowledge, self.state, Field(self.town), self.clock, holds=lambda: self.holds, tuning=self.tuning,
            monotonic=lambda: (self.clock.now() - NOON).total_seconds() + 1000.0, watch_faults=watch.look,
        )  # fmt: skip

    def _lay(self, cabinets: int, per_feeder: int, switched: int) -> None:
        records: dict[str, list[object]] = {
            n: [] for n in ("cabinets", "feeders", "gateways", "luminaires", "endpoints")
        }
        for c in range(cabinets):
            channels: list[int | None] = [*range(switched), None]
            lamps = [FakeLamp(channel) for channel in channels for _ in range(per_feeder)]
            self.town.add_cabinet(c, switched, lamps)
            records["cabinets"].append(
                CabinetRecord(f"c{c}", "t1", f"C-{c}", f"ec{c}", latitude_deg=50.868, longitude_deg=9.707)
            )
            records["gateways"].append(GatewayRecord(f"w{c}", "t1", f"W-{c}", f"c{c}", f"eg{c}"))
            for kind, profile in (("c", self.controller_profile), ("g", self.profile)):
                records["endpoints"].append(
                    EndpointRecord(
                        f"e{kind}{c}", "t1", f"E-{kind}{c}", f"fake://{kind}{c}", profile, EndpointState.IN_CONTROL
                    )
                )
            for f, channel in enumerate(channels):
                supply = FeederSupply.PERMANENT if channel is None else FeederSupply.SWITCHED
                records["feeders"].append(FeederRecord(f"f{c}.{f}", "t1", f"F-{c}-{f}", f"c{c}", channel or 0, supply))
                for n in range(per_feeder):
                    records["luminaires"].append(
                        LuminaireRecord(
                            f"{c:016x}{f:08x}{n:08x}", "t1", f"L-{c}-{f}-{n}", "g0", f"f{c}.{f}", f"w{c}",
                            f * per_feeder + n, FLOOR,
                        )
                    )  # fmt: skip
        groups = (GroupRecord("g0", "t1", "default"),)
        inventory = Inventory(1, (TOWN,), groups=groups, **{k: tuple(v) for k, v in records.items()})  # type: ignore[arg-type]
        self.knowledge.set(Known(inventory, Orders()))

    # --- what the test asks for ---------------------------------------------------------------------------------

    def plan(self, *steps: tuple[float, int], days: int = 2, ramp_s: int = 0) -> None:
        """A plan of the group: (hours after noon, level)."""
        instants = [NOON + h * HOUR for h, _ in steps]
        plan = Plan.of(NOON, NOON + timedelta(days=days), instants, [v for _, v in steps], [ramp_s] * len(steps))
        self.order(plans={"g0": plan})

    def override(
        self,
        level: int,
        start_h: float,
        end_h: float,
        targets: Sequence[str] = ("t1",),
        priority: Priority = Priority.OPERATOR,
    ) -> None:
        """A command from and until hours after noon."""
        start, end = (to_unix_ms(NOON + h * HOUR) for h in (start_h, end_h))
        number = len(self.knowledge.known.orders.overrides)
        override = OverrideRecord(
            f"o{number}", "t1", priority, level, to_unix_ms(self.clock.now()), start, end, tuple(targets)
        )
        self.order(overrides=(*self.knowledge.known.orders.overrides, override))

    def lock_out(self, *feeders: str) -> None:
        """Lock-outs of feeders, in place of all there were."""
        self.order(lockouts=tuple(LockoutRecord(f"k{f}", "t1", f) for f in feeders))

    def order(self, **changes: object) -> None:
        """Other orders."""
        known = self.knowledge.known
        orders = replace(known.orders, revision=known.orders.revision + 1, **changes)  # type: ignore[arg-type]
        self.knowledge.set(replace(known, orders=orders))

    def stock(self, **changes: object) -> None:
        """Another inventory."""
        known = self.knowledge.known
        inventory = replace(known.inventory, revision=known.inventory.revision + 1, **changes)  # type: ignore[arg-type]
        self.knowledge.set(replace(known, inventory=inventory))

    def endpoint_state(self, uid: str, state: EndpointState) -> None:
        """An endpoint in another state."""
        self.stock(
            endpoints=tuple(
                replace(e, state=state) if e.uid == uid else e for e in self.knowledge.known.inventory.endpoints
            )
        )

    async def at(self, hours: float, *, step_s: float = 600.0) -> None:
        """Goes on in steps until hours after noon, with a pass at each, and a few short ones at the end."""
        until = NOON + hours * HOUR
        while self.clock.now() < until:
            await self.clock.advance(min(timedelta(seconds=step_s), until - self.clock.now()))
            await self.control.once()
        await self.passes(6)

    async def passes(self, count: int, seconds: float = 10.0) -> None:
        """Passes in a row."""
        for _ in range(count):
            await self.clock.advance(timedelta(seconds=seconds))
            await self.control.once()

    def levels(self) -> list[list[int]]:
        """What the lamps of each cabinet really show."""
        return [self.town.levels(c) for c in range(len(self.town.devices) // 2)]

    def all_at(self, level: int) -> bool:
        """Whether every lamp of the town shows a level."""
        return all(shown == level for cabinet in self.levels() for shown in cabinet)

    def writes(self, url: str, point: str) -> list[tuple[int, float]]:
        """What was written to a point of a device: (index, value) each."""
        return [(index or 0, value) for name, index, value in self.town.devices[url].writes if name == point]

    def faults(self) -> list[tuple[str, str]]:
        """What stands in the book: (kind, subject) each, in a fixed order."""
        return sorted((key.kind.name.lower(), key.subject_uid) for key in self.book.standing)

    def forget_writes(self) -> None:
        """From now on only new writes are seen."""
        for device in self.town.devices.values():
            device.writes.clear()
