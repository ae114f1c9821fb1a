"""One municipality as one person sees it, live: fed by that person's calls, shared by that person's open pages.

Lamps come by one WatchLuminaires stream, the rest is asked for again and again. What does not answer keeps its last
picture, marked as stale. Not here: whose token it is (session.py), and what it looks like (pages/).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

from domain.errors import InvalidInput, PermanentError
from domain.night import DEFAULT_TIME_ZONE, zone
from lichtbuch.scheduler.v1 import scheduler_pb2
from servicekit.client import AnswerStream, back_off_s
from servicekit.clock import Clock
from services.admin import figures
from services.admin.asking import Asking, Inventory
from services.admin.clients import Clients
from services.admin.commissioning import Commissioning
from services.admin.endpoints import Attached, EndpointNow, Move
from services.admin.faults import FaultNow
from services.admin.feed import SLOW_S, Feed, Kept, Problem
from services.admin.findings import FindingNow
from services.admin.lamps import LampTable
from services.admin.metering import Metering
from services.admin.meters import MeterItem
from services.admin.planning import Planning
from services.admin.protections import Unprotected
from services.admin.sensors import SensorNow, SensorUse
from services.admin.waivers import WaiverNow

SERVICES: Final = ("registry", "lighting", "scheduler", "metering", "ledger")
LINGER_S: Final = 15.0
"""Real seconds for which a town goes on that nobody looks at: a page that is loaded again finds it."""
WATCH_AGAIN_S: Final = 1.0
RELOAD_AFTER_S: Final = 30.0
"""Lamps that are not in the inventory make it be read anew, but no more often than this (real seconds)."""


class Town:
    """One municipality for one person. Inside a running event loop."""

    def __init__(self, name: str, clients: Clients, clock: Clock) -> None:
        self.name, self.clock = name, clock
        self._asking = asking = Asking(name, clients, clock)
        real = clock.real
        self.facts: Feed[figures.Facts] = Feed("registry", asking.facts, 60.0, real)
        self.inventory: Feed[Inventory] = Feed("lighting", self._fetch_inventory, 300.0, real)
        self.live: Kept[datetime] = Kept("lighting", real)
        """Domain time of the newest states."""
        self.cabinets: Feed[tuple[figures.CabinetNow, ...]] = Feed("lighting", asking.cabinets, 5.0, real)
        self.overrides: Feed[tuple[figures.OverrideNow, ...]] = Feed("lighting", asking.overrides, 5.0, real)
        self.may_override: Feed[bool] = Feed("lighting", asking.may_override, 300.0, real)
        self.faults: Feed[tuple[FaultNow, ...]] = Feed("lighting", asking.faults, 5.0, real)
        """Those that stand, as a fitter drives."""
        self.may_acknowledge: Feed[bool] = Feed("lighting", asking.may_acknowledge, 300.0, real)
        self.meters: Feed[tuple[figures.MeterNow, ...]] = Feed("metering", asking.meters, 15.0, real)
        self.metering = metering = Metering(name, clients, clock)
        self.findings: Feed[tuple[FindingNow, ...]] = Feed("metering", metering.findings, 120.0, real)
        """Those that stand."""
        self.savings: Feed[figures.Savings] = Feed("ledger", self._fetch_savings, 15.0, real)
        self.log_check: Feed[figures.LogCheck] = Feed("ledger", asking.log_check, 3600.0, real)
        # What only some pages show is fetched while such a page is open (`want`).
        self.planning = planning = Planning(name, clients)
        self.may_identify: Feed[bool] = Feed("lighting", planning.may_identify, 300.0, real)
        self.unprotected: Feed[tuple[Unprotected, ...]] = Feed("lighting", planning.unprotected, 300.0, real)
        self.waivers: Feed[tuple[WaiverNow, ...]] = Feed("lighting", planning.waivers, 15.0, real)
        self.may_waive: Feed[bool] = Feed("lighting", planning.may_waive, 300.0, real)
        self.sensors: Feed[tuple[SensorNow, ...]] = Feed("lighting", planning.sensors, 5.0, real)
        self.sensor_uses: Feed[tuple[SensorUse, ...]] = Feed("scheduler", planning.sensor_uses, 60.0, real)
        self.may_edit_sensors: Feed[bool] = Feed("lighting", planning.may_edit_sensors, 300.0, real)
        self.may_report: Feed[bool] = Feed("lighting", planning.may_report, 300.0, real)
        self.profiles: Feed[tuple[scheduler_pb2.Profile, ...]] = Feed("scheduler", planning.profiles, 30.0, real)
        self.may_plan: Feed[bool] = Feed("scheduler", planning.may_plan, 300.0, real)
        self.commissioning = commissioning = Commissioning(name, clients)
        self.endpoints: Feed[tuple[EndpointNow, ...]] = Feed("registry", commissioning.endpoints, 10.0, real)
        self.endpoint_moves: Feed[dict[str, Move]] = Feed("registry", commissioning.moves, 60.0, real)
        self.attached: Feed[tuple[Attached, ...]] = Feed("lighting", commissioning.attached, 60.0, real)
        self.may_move: Feed[bool] = Feed("registry", commissioning.may_move, 300.0, real)
        self.meter_list: Feed[tuple[MeterItem, ...]] = Feed("metering", metering.meters, 60.0, real)
        self.meter_coverages: Feed[dict[str, int]] = Feed("metering", self._fetch_coverages, 300.0, real)
        """By name of the meter, in per mille of the last days."""
        self.may_read_in: Feed[bool] = Feed("metering", metering.may_read_in, 300.0, real)
        self.may_install: Feed[bool] = Feed("metering", metering.may_install, 300.0, real)
        self.may_edit_readings: Feed[bool] = Feed("metering", metering.may_edit, 300.0, real)
        self.may_deliver: Feed[bool] = Feed("metering", metering.may_deliver, 300.0, real)
        self.may_withdraw: Feed[bool] = Feed("metering", metering.may_withdraw, 300.0, real)
        self.may_close_findings: Feed[bool] = Feed("metering", metering.may_close, 300.0, real)
        self._wanted: list[Feed[Any]] = []
        self.table = LampTable()
        """The lamps; another object after the inventory changed."""
        self._viewers = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._ending: asyncio.TimerHandle | None = None

    @property
    def feeds(self) -> tuple[Kept[Any], ...]:
        """Everything that is kept fresh while somebody looks, and may be stale."""
        return (
            self.facts,
            self.inventory,
            self.live,
            self.cabinets,
            self.overrides,
            self.faults,
            self.meters,
            self.findings,
            self.savings,
            *self._wanted,
        )

    @property
    def away(self) -> tuple[str, ...]:
        """Names of the services that do not answer, in a fixed order."""
        silent = {feed.service for feed in self.feeds if feed.problem is Problem.AWAY}
        return tuple(service for service in SERVICES if service in silent)

    @property
    def is_signed_out(self) -> bool:
        """True if a service does not take the person's token any more."""
        return any(feed.problem is Problem.SIGNED_OUT for feed in self.feeds)

    @property
    def tz(self) -> ZoneInfo:
        """The town's time zone; the usual one until it is known."""
        facts = self.facts.value
        try:
            return zone(facts.time_zone if facts else DEFAULT_TIME_ZONE)
        except InvalidInput:
            return zone(DEFAULT_TIME_ZONE)

    @property
    def is_watched(self) -> bool:
        """True while somebody looks, and for a while after."""
        return bool(self._tasks)

    # --- who looks ---------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """A page begins to look; the first one starts the calls."""
        self._viewers += 1
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        if not self._tasks:
            kept = [
                feed
                for feed in (*self.feeds, self.may_override, self.may_acknowledge, self.log_check)
                if isinstance(feed, Feed)
            ]
            works = [*(feed.keep() for feed in kept), self._watch()]
            self._tasks = [asyncio.create_task(work, name=f"{self.name} for a page") for work in works]

    def want(self, *feeds: Kept[Any]) -> None:
        """A page shows these too: from now on they are fetched, until nobody looks at the town any more."""
        if not self._tasks:
            return
        kept = (*self.feeds, self.may_override, self.may_acknowledge, self.log_check)
        for feed in feeds:
            if isinstance(feed, Feed) and feed not in kept and feed not in self._wanted:
                self._wanted.append(feed)
                self._tasks.append(asyncio.create_task(feed.keep(), name=f"{self.name} for a page"))

    def leave(self) -> None:
        """A page does not look any more; a while after the last one the calls end."""
        self._viewers -= 1
        if self._viewers <= 0 and self._tasks and self._ending is None:
            self._ending = asyncio.get_running_loop().call_later(LINGER_S, self.stop)

    def stop(self) -> None:
        """Ends the calls."""
        tasks, self._tasks, self._wanted = self._tasks, [], []
        for task in tasks:
            task.cancel()
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None

    # --- what a person does ------------------------------------------------------------------------------------

    async def set_level(
        self, targets: Sequence[str], level_permille: int, expires_at: datetime, reason: str, request_id: str
    ) -> figures.OverrideNow:
        """Creates an operator's override. Raises what the server says."""
        made = await self._asking.set_level(targets, level_permille, expires_at, reason, request_id)
        await self.overrides.refresh_anew()
        return made

    async def release(self, name: str, reason: str) -> None:
        """Ends an override before its time. Raises what the server says."""
        await self._asking.release(name, reason)
        await self.overrides.refresh_anew()

    async def identify(self, luminaire: str) -> datetime:
        """Lets a luminaire blink. Returns until when; raises what the server says."""
        return await self._asking.identify(luminaire)

    async def acknowledge(self, name: str, note: str) -> None:
        """Says that the person knows of a fault. Raises what the server says."""
        await self._asking.acknowledge(name, note)
        await self.faults.refresh_anew()

    async def clear_fault(self, name: str, note: str) -> None:
        """Ends a fault that was reported by hand. Raises what the server says."""
        await self._asking.clear_fault(name, note)
        await self.faults.refresh_anew()

    async def report_fault(self, subject: str, text: str, request_id: str) -> None:
        """Reports a fault by hand. Raises what the server says."""
        await self._asking.report_fault(subject, text, request_id)
        await self.faults.refresh_anew()

    # --- what comes in -----------------------------------------------------------------------------------------

    async def _fetch_inventory(self) -> Inventory:
        try:
            found = await self._asking.inventory()
        except PermanentError:
            self.table = LampTable()
            raise
        if self.inventory.value is None or found.lamps != self.inventory.value.lamps:
            self.table = LampTable(found.lamps)
        return found

    async def _fetch_savings(self) -> figures.Savings:
        return await self._asking.savings(self.savings.value, self.tz)

    async def _fetch_coverages(self) -> dict[str, int]:
        if self.meter_list.value is None:
            await self.meter_list.refresh()
        return await self.metering.coverages(self.meter_list.value or ())

    def _may_reload(self) -> bool:
        fetched_at = self.inventory.fetched_at
        return fetched_at is None or (self.clock.real() - fetched_at).total_seconds() > RELOAD_AFTER_S

    async def _watch(self) -> None:
        """Follows the lamps for ever: resumes where a stream ended, begins anew after a failure or with other lamps."""
        table, token, failures = self.table, "", 0
        while True:
            if self.inventory.value is None:
                await self.inventory.refresh()
            if self.inventory.value is None and self.inventory.problem is not None:
                self.live.fail(self.inventory.problem)
                await asyncio.sleep(back_off_s(failures := failures + 1, WATCH_AGAIN_S))
                continue
            if table is not self.table:
                table, token = self.table, ""
            try:
                async with cast(AnswerStream, self._asking.watch(token)) as answers:
                    async for answer in answers:
                        failures, token = 0, answer.resume_token
                        unknown = table.take(answer.states)
                        self.live.put(figures.instant(answer.at))
                        if unknown and self._may_reload():
                            await self.inventory.refresh_anew()
                        if table is not self.table:
                            break
            except Exception as error:
                self.live.fail_with(error)
                token = ""  # the whole picture again: a stream that resumes in a quiet hour would not say that it lives
            if self.live.problem is Problem.DENIED:
                # A role that ended: what is not to be seen any more goes from the screen, and seldom asked for again.
                await self.inventory.refresh_anew()
                await asyncio.sleep(SLOW_S)
            elif table is self.table:
                await asyncio.sleep(back_off_s(failures := failures + 1, WATCH_AGAIN_S))
