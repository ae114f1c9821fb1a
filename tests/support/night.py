"""A lighting night of a town in time-lapse: what people do in it, and judging it by the simulator's own truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from cli.demo import inventory as demo
from cli.session import all_pages
from domain.night import local_instant
from lichtbuch.ledger.v1 import ledger_pb2
from lichtbuch.lighting.v1 import control_pb2, lighting_pb2
from servicekit.convert import timestamp_to_proto
from tests.support.town import Town

BERLIN = ZoneInfo("Europe/Berlin")
# A level is judged so long after a switch point: at 600 times real time a pass of the control loop takes some minutes.
SETTLED = timedelta(minutes=25)
# Arlight gateways know 254 logarithmic steps (3 % of the level apart); a level is right within half a step.
STEP = 0.017


@dataclass
class Night:
    """What was asked of the town during the night, and when."""

    town: Town
    noon: datetime
    end: datetime
    locked_feeder: str = ""
    locked_at: datetime | None = None
    override: control_pb2.Override | None = None
    released: control_pb2.Override | None = None
    plans: dict[str, control_pb2.Plan] = field(default_factory=dict)
    lamp_wh: tuple[dict[str, float], dict[str, float]] = ({}, {})

    def lamps(self) -> list[dict[str, Any]]:
        """The simulator's lamps."""
        lamps: list[dict[str, Any]] = self.town.inventory["luminaires"]
        return lamps

    def due(self, lamp: dict[str, Any], at: datetime) -> int:
        """The level that the plan and the override ask of a healthy lamp, in per mille."""
        plan = self.plans[demo.group_of(lamp)]
        level = 0
        for instant, permille in zip(plan.instants_unix_ms, plan.levels_permille, strict=True):
            if instant / 1000 <= at.timestamp():
                level = permille
        if self.override is not None and demo.name("groups", demo.group_of(lamp)) in self.override.targets:
            begin, end = (
                stamp.ToDatetime(tzinfo=UTC) for stamp in (self.override.start_time, self.override.expire_time)
            )
            if begin <= at < end:
                level = self.override.level_permille
        return 1000 if level and lamp["crossing"] else level

    def switches(self) -> list[datetime]:
        """Every instant at which some lamp is due to change."""
        found = {instant for plan in self.plans.values() for instant in plan.instants_unix_ms}
        instants = [datetime.fromtimestamp(ms / 1000, UTC) for ms in found]
        if self.override is not None:
            instants += [
                stamp.ToDatetime(tzinfo=UTC) for stamp in (self.override.start_time, self.override.expire_time)
            ]
        return sorted(instant for instant in instants if self.noon <= instant < self.end)


async def live_through(night: Night) -> Night:
    """The night, with what people do in it."""
    town = night.town
    operator, admin = await town.session("operator"), await town.session("admin")
    await town.until(night.noon)
    for group in sorted({demo.group_of(lamp) for lamp in night.lamps()}):
        request = lighting_pb2.GetPlanRequest(name=f"{demo.name('groups', group)}/plan")
        night.plans[group] = await operator.lighting.GetPlan(request)
    night.lamp_wh = (await energies(town, night.noon), {})
    switched = next(item for item in town.inventory["feeders"] if item["supply"] == "switched")
    night.locked_feeder = switched["id"]
    locked = await admin.lighting.CreateLockout(
        lighting_pb2.CreateLockoutRequest(
            parent=demo.PARENT,
            lockout=control_pb2.Lockout(feeder=demo.name("feeders", switched["id"]), reason="cable works"),
        )
    )
    night.locked_at = locked.created_at.ToDatetime(tzinfo=UTC) + timedelta(minutes=10)
    evening = night.noon.astimezone(BERLIN).date()
    await town.until(local_instant(evening, time(23, 0), BERLIN))
    night.override = await operator.lighting.CreateOverride(
        lighting_pb2.CreateOverrideRequest(
            parent=demo.PARENT,
            override=control_pb2.Override(
                targets=[demo.name("groups", "residential")],
                level_permille=900,
                expire_time=timestamp_to_proto(local_instant(evening + timedelta(days=1), time(1, 0), BERLIN)),
                reason="the fair ends late",
            ),
        )
    )
    await town.until(night.end)
    night.lamp_wh = (night.lamp_wh[0], await energies(town, night.end))

    async def posted() -> bool:
        return {"led-metered", "led-unmetered"} <= {entry.name.split("/")[3] for entry in await entries(night)}

    await town.eventually("the night is posted", posted, 90)
    await operator.close()
    await admin.close()
    return night


async def energies(town: Town, at: datetime) -> dict[str, float]:
    """The true energy of every lamp at a quarter hour, in Wh."""
    answer = await town.simulator("/truth/luminaires/energy", at=at.isoformat())
    found: dict[str, float] = answer["energy_wh"]
    return found


async def entries(night: Night) -> list[ledger_pb2.Entry]:
    """The entries of the night: those whose period is the night's."""
    auditor = await night.town.session("auditor")
    try:
        request = ledger_pb2.ListEntriesRequest(parent=f"{demo.PARENT}/measures/-")
        found: list[ledger_pb2.Entry] = await all_pages(auditor.ledger.ListEntries, request, "entries")
    finally:
        await auditor.close()
    return [entry for entry in found if entry.start_time.ToDatetime(tzinfo=UTC) == night.noon]


async def entry_of(night: Night, measure: str) -> ledger_pb2.Entry:
    """The night's entry of a measure."""
    return next(entry for entry in await entries(night) if entry.name.split("/")[3] == measure)


async def judge_levels(night: Night) -> tuple[list[str], int]:
    """Lamps that were not at their due level between any two switch points, in words; and how many were judged."""
    switches = [night.noon, *night.switches(), night.end]
    judged = 0
    wrong: list[str] = []
    for begin, end in pairwise(switches):
        if end - begin < 2 * SETTLED:
            continue
        for at in (begin + SETTLED, end - timedelta(seconds=1)):
            levels = await night.town.levels_at(at)
            for lamp in night.lamps():
                if lamp["feeder"] == night.locked_feeder:
                    continue
                due, actual = night.due(lamp, at), levels[lamp["id"]] or 0.0
                judged += 1
                if abs(actual - due) > max(due * STEP, 0.5):
                    wrong.append(f"{lamp['id']} at {at.astimezone(BERLIN):%H:%M}: due {due}, actual {actual:g}")
    return wrong, judged
