"""What the page asks of the services about one municipality, and what a person does through it. One call, one answer.

Raises errors of domain/errors.py. Not here: how often it is asked, and what is shown while nobody answers (town.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from domain.errors import NotFound, NotPermitted
from domain.night import QUARTER_HOUR_S, floor_slot, lighting_night, night_bounds
from lichtbuch.ledger.v1 import ledger_pb2
from lichtbuch.lighting.v1 import commissioning_pb2, control_pb2, faults_pb2, lighting_pb2
from lichtbuch.metering.v1 import metering_pb2
from lichtbuch.registry.v1 import registry_pb2
from servicekit.clock import Clock
from servicekit.convert import timestamp_to_proto
from services.admin import figures
from services.admin.clients import Clients, all_pages
from services.admin.faults import FaultNow, fault_from_proto
from services.admin.lamps import Lamp, lamp_from_proto
from services.admin.metering import Covered, covered_and_counted, has_amounts

NIGHTS: Final = 14
SETTLING: Final = timedelta(minutes=5)
"""Domain time in which the readings of a quarter hour come in: until then nobody says that one is missing."""
DAY_AGAIN: Final = timedelta(minutes=2)
"""Real time after which figures of the same 24 hours are asked for again: what was late may be there."""
MUNICIPALITIES_PAGE: Final = 1_000
VERIFY_DEADLINE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Inventory:
    """What stands in the town."""

    lamps: tuple[Lamp, ...]
    cabinets: tuple[figures.CabinetPlace, ...]
    groups: tuple[figures.Group, ...]


async def municipalities(clients: Clients) -> tuple[figures.Facts, ...]:
    """The municipalities that a person may see, by name."""
    call, request = clients.registry.ListMunicipalities, registry_pb2.ListMunicipalitiesRequest()
    found = await all_pages(call, request, "municipalities", MUNICIPALITIES_PAGE)
    return tuple(sorted(map(figures.facts_from_proto, found), key=lambda facts: facts.display_name))


class Asking:
    """The questions about one municipality, by its name."""

    def __init__(self, name: str, clients: Clients, clock: Clock) -> None:
        self.name = name
        self._clients, self._clock = clients, clock
        self._day: tuple[datetime, tuple[str, ...], datetime, Covered] | None = None

    async def facts(self) -> figures.Facts:
        """The municipality itself."""
        request = registry_pb2.GetMunicipalityRequest(name=self.name)
        return figures.facts_from_proto(await self._clients.registry.GetMunicipality(request))

    async def inventory(self) -> Inventory:
        """Lamps, cabinets, groups."""
        stub, parent = self._clients.lighting, self.name
        lamps, cabinets, groups = await asyncio.gather(
            all_pages(stub.ListLuminaires, lighting_pb2.ListLuminairesRequest(parent=parent), "luminaires"),
            all_pages(stub.ListCabinets, lighting_pb2.ListCabinetsRequest(parent=parent), "cabinets"),
            all_pages(stub.ListGroups, lighting_pb2.ListGroupsRequest(parent=parent), "groups"),
        )
        return Inventory(
            tuple(map(lamp_from_proto, lamps)),
            tuple(map(figures.cabinet_from_proto, cabinets)),
            tuple(map(figures.group_from_proto, groups)),
        )

    async def cabinets(self) -> tuple[figures.CabinetNow, ...]:
        """What the cabinets say."""
        answer = await self._clients.lighting.ListCabinetStates(lighting_pb2.ListCabinetStatesRequest(parent=self.name))
        return tuple(map(figures.cabinet_now_from_proto, answer.states))

    async def overrides(self) -> tuple[figures.OverrideNow, ...]:
        """Overrides that hold or will, the one that ends first in front."""
        request = lighting_pb2.ListOverridesRequest(parent=self.name, active_only=True)
        found = await all_pages(self._clients.lighting.ListOverrides, request, "overrides")
        return tuple(sorted(map(figures.override_from_proto, found), key=lambda item: item.expires_at))

    async def may_override(self) -> bool:
        """Whether the server would let this person override: no method tells, so it is asked to release what is not.

        Whatever comes out, nothing changes; and what the page hides or shows for it decides nothing.
        """
        request = lighting_pb2.ReleaseOverrideRequest(name=f"{self.name}/overrides/none")
        try:
            await self._clients.lighting.ReleaseOverride(request)
        except NotPermitted:
            return False
        except NotFound:
            return True
        return True

    async def faults(self) -> tuple[FaultNow, ...]:
        """Faults that stand, as a fitter drives."""
        request = faults_pb2.ListFaultsRequest(parent=self.name, open_only=True)
        found = await all_pages(self._clients.lighting.ListFaults, request, "faults")
        return tuple(map(fault_from_proto, found))

    async def may_acknowledge(self) -> bool:
        """Whether the server would let this person acknowledge: asked as in `may_override`."""
        request = faults_pb2.AcknowledgeFaultRequest(name=f"{self.name}/faults/none")
        try:
            await self._clients.lighting.AcknowledgeFault(request)
        except NotPermitted:
            return False
        except NotFound:
            return True
        return True

    async def acknowledge(self, name: str, note: str) -> None:
        """Says that this person knows of a fault."""
        await self._clients.lighting.AcknowledgeFault(faults_pb2.AcknowledgeFaultRequest(name=name, note=note))

    async def identify(self, luminaire: str) -> datetime:
        """Lets a luminaire blink for a while. Returns until when."""
        request = commissioning_pb2.IdentifyLuminaireRequest(name=luminaire)
        return figures.instant((await self._clients.lighting.IdentifyLuminaire(request)).end_time)

    async def clear_fault(self, name: str, note: str) -> None:
        """Ends a fault that was reported by hand."""
        await self._clients.lighting.ClearFault(faults_pb2.ClearFaultRequest(name=name, note=note))

    async def report_fault(self, subject: str, text: str, request_id: str) -> None:
        """Reports a fault by hand; the same request id again reports no second one."""
        request = faults_pb2.ReportFaultRequest(parent=self.name, subject=subject, text=text, request_id=request_id)
        await self._clients.lighting.ReportFault(request)

    async def meters(self) -> tuple[figures.MeterNow, ...]:
        """The meters, with coverage and consumption of their last 24 hours of domain time."""
        stub = self._clients.metering
        meters = await all_pages(stub.ListMeters, metering_pb2.ListMetersRequest(parent=self.name), "meters")
        return figures.meters_from_proto(meters, await self._last_day(meters)) if meters else ()

    async def _last_day(self, meters: Sequence[metering_pb2.Meter]) -> Covered:
        """Figures of the last day: they change with the quarter hour, and seldom in between."""
        end = floor_slot(self._clock.now() - SETTLING, QUARTER_HOUR_S)
        names = tuple(meter.name for meter in meters)
        now = self._clock.real()
        if self._day is None or self._day[:2] != (end, names) or now - self._day[2] >= DAY_AGAIN:
            counted = [meter.name for meter in meters if has_amounts(meter.kind)]
            sensed = [meter.name for meter in meters if not has_amounts(meter.kind)]
            stub, start = self._clients.metering, end - timedelta(days=1)
            found = await covered_and_counted(stub, self.name, counted, sensed, start, end)
            self._day = (end, names, now, found)
        return self._day[3]

    async def savings(self, before: figures.Savings | None, tz: ZoneInfo) -> figures.Savings:
        """Savings since the beginning and of the last nights; those of `before` stay while the book has not grown."""
        statement = await self._statement()
        tonight = lighting_night(self._clock.now(), tz)
        days = [tonight - timedelta(days=back) for back in range(NIGHTS, 0, -1)]
        now = figures.savings_from_proto(statement, ())
        if before and before.head and before.head == now.head and [night.day for night in before.nights] == days:
            return figures.savings_from_proto(statement, before.nights)
        sums = await asyncio.gather(*(self._statement(*night_bounds(day, tz)) for day in days))
        return figures.savings_from_proto(statement, tuple(map(figures.night_from_proto, days, sums)))

    async def log_check(self) -> figures.LogCheck:
        """Lets the server verify the stored log."""
        request = ledger_pb2.VerifyLogRequest(parent=self.name)
        answer = await self._clients.ledger.VerifyLog(request, timeout=VERIFY_DEADLINE_S)
        return figures.LogCheck(answer.valid, answer.leaves, tuple(answer.problems), self._clock.real())

    async def set_level(
        self, targets: Sequence[str], level_permille: int, expires_at: datetime, reason: str, request_id: str
    ) -> figures.OverrideNow:
        """Creates an operator's override; the same request id again creates no second one."""
        override = control_pb2.Override(
            targets=targets,
            level_permille=level_permille,
            priority=control_pb2.OVERRIDE_PRIORITY_OPERATOR,
            expire_time=timestamp_to_proto(expires_at),
            reason=reason,
        )
        request = lighting_pb2.CreateOverrideRequest(parent=self.name, override=override, request_id=request_id)
        return figures.override_from_proto(await self._clients.lighting.CreateOverride(request))

    async def release(self, name: str, reason: str) -> None:
        """Ends an override before its time."""
        await self._clients.lighting.ReleaseOverride(lighting_pb2.ReleaseOverrideRequest(name=name, reason=reason))

    def watch(self, token: str) -> object:
        """The stream of lamp states, resumed after what `token` has seen."""
        request = lighting_pb2.WatchLuminairesRequest(parent=self.name, resume_token=token)
        return self._clients.lighting.WatchLuminaires(request)

    async def _statement(self, start: datetime | None = None, end: datetime | None = None) -> ledger_pb2.Statement:
        request = ledger_pb2.GetStatementRequest(parent=f"{self.name}/measures/-")
        if start is not None and end is not None:
            request.start_time.CopyFrom(timestamp_to_proto(start))
            request.end_time.CopyFrom(timestamp_to_proto(end))
        return await self._clients.ledger.GetStatement(request)
