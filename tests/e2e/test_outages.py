"""What goes wrong in a night, on PostgreSQL: services die, the database is away, scheduler and database are gone.

At dawn no lamp is at a wrong level, no reading is lost or doubled, what could not be read is a flagged gap with its
energy conserved, and with nothing but lighting left the town is lit from sunset to sunrise.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from astral import Observer
from astral.sun import sunrise, sunset

from cli.demo import inventory as demo
from cli.demo.layout import SERVICES
from domain.night import local_instant, quarter_hours
from lichtbuch.metering.v1 import metering_pb2
from servicekit.convert import timestamp_to_proto
from tests.support.postgres import PostgresServer
from tests.support.town import Town, with_databases

BERLIN = ZoneInfo("Europe/Berlin")
SPEED = 600.0
NOON_IN_S = 45.0
"""So small a town is set up sooner than the demonstration's."""
SETTLED = timedelta(minutes=30)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture
async def town(
    tmp_path: Path, postgres_server: PostgresServer, postgres_database_url: str
) -> AsyncIterator[tuple[Town, PostgresServer, str]]:
    """A small town on PostgreSQL, set up before its noon."""
    made = Town.make(tmp_path, speed=SPEED, noon_in_s=NOON_IN_S, luminaires=120, cabinets=4, monitored=2, buildings=1)
    made.layout = with_databases(made.layout, dict.fromkeys(SERVICES, postgres_database_url))
    async with made:
        await made.start_everything()
        yield made, postgres_server, postgres_database_url


async def lit_as_due(town: Town, at: datetime, lit: bool) -> list[str]:
    """Lamps that were not lit (or not dark) at an instant."""
    levels = await town.levels_at(at)
    return [f"{lamp} at {level}" for lamp, level in levels.items() if bool(level) != lit]


@pytest.mark.long
async def test_services_killed_at_random_and_an_hour_without_database_leave_no_trace_at_dawn(
    town: tuple[Town, PostgresServer, str],
) -> None:
    made, server, url = town
    noon, end = await made.next_night()
    await made.until(noon)
    evening = noon.astimezone(BERLIN).date()
    chance = random.Random(20261122)
    # Each service dies once, at a random time of the night and in a random order, and is started again at once.
    deaths = sorted(chance.uniform(4.0, 17.0) for _ in SERVICES)
    order = chance.sample(SERVICES, len(SERVICES))
    outage = noon + timedelta(hours=11)  # 23:00, while lamps are being dimmed
    deeds: list[tuple[datetime, str]] = [
        (noon + timedelta(hours=hours), name) for hours, name in zip(deaths, order, strict=True)
    ]
    for at, name in sorted([*deeds, (outage, "cut"), (outage + timedelta(hours=1), "back")]):
        await made.until(at)
        if name == "cut":
            server.cut_off(url)
        elif name == "back":
            server.bring_back(url)
        else:
            made.kill(name)
            made.start(name)
    await made.until(end + timedelta(minutes=20))
    for name in SERVICES:
        await made.well(name)

    place = Observer(50.868, 9.707)
    dusk, dawn = sunset(place, evening), sunrise(place, evening + timedelta(days=1))
    assert await lit_as_due(made, dusk + SETTLED, lit=True) == []
    assert await lit_as_due(made, local_instant(evening + timedelta(days=1), time(2), BERLIN), lit=True) == []
    assert await lit_as_due(made, dawn + SETTLED, lit=False) == []
    assert await lit_as_due(made, end, lit=False) == []
    # Dimmed by the plan although the database was away when it was due.
    levels = await made.levels_at(local_instant(evening + timedelta(days=1), time(2), BERLIN))
    residential = [
        lamp["id"] for lamp in made.inventory["luminaires"]
        if demo.group_of(lamp) == "residential" and not lamp["crossing"]
    ]  # fmt: skip
    assert all(levels[lamp] == pytest.approx(500, rel=0.017) for lamp in residential)

    await judge_readings(made, noon, end)


async def judge_readings(made: Town, noon: datetime, end: datetime) -> None:
    """Every slot is there once: measured and true, or flagged as a gap; the energy across gaps is the counters'."""
    viewer = await made.session("viewer")
    slots = [*quarter_hours(noon, end), end]
    request = metering_pb2.ListReadingsRequest(
        parent=demo.PARENT,
        start_time=timestamp_to_proto(noon),
        end_time=timestamp_to_proto(end + timedelta(seconds=1)),
        page_size=10_000,
    )

    async def complete() -> bool:
        answer = await viewer.metering.ListReadings(request)
        return len(answer.readings.slots_unix_ms) >= len(slots) * len(made.inventory["meters"])

    await made.eventually("every slot is measured or flagged", complete, 60)
    readings = (await viewer.metering.ListReadings(request)).readings
    rows: dict[tuple[str, int], tuple[int, Any]] = {}
    for index, meter_index in enumerate(readings.meter_indexes):
        key = (readings.meters[meter_index].rsplit("/", 1)[-1], readings.slots_unix_ms[index])
        assert key not in rows, f"{key} is stored twice"
        rows[key] = (readings.values[index], readings.statuses[index])
    truth = {slot: await made.meters_at(slot) for slot in slots}
    gaps = 0
    for meter in made.inventory["meters"]:
        for slot, following in pairwise(slots):
            value, status = rows[meter["id"], round(slot.timestamp() * 1000)]
            if status == metering_pb2.READING_STATUS_GAP:
                gaps += 1
                continue
            low, high = truth[slot][meter["id"]], truth[following][meter["id"]]
            assert low - 20 <= value <= high + 20, (meter["id"], slot, low, value, high)
    # Killing metering costs some slots at this speed; an hour without database must cost none.
    assert gaps <= len(made.inventory["meters"]) * 16
    consumed = await viewer.metering.QueryConsumption(
        metering_pb2.QueryConsumptionRequest(
            parent=demo.PARENT,
            meters=[demo.name("meters", meter["id"]) for meter in made.inventory["meters"]],
            start_time=timestamp_to_proto(noon),
            end_time=timestamp_to_proto(end),
            step=metering_pb2.STEP_QUARTER_HOUR,
        )
    )
    await viewer.close()
    sums: dict[str, int] = {}
    for index, meter_index in enumerate(consumed.meter_indexes):
        name = consumed.meters[meter_index].rsplit("/", 1)[-1]
        sums[name] = sums.get(name, 0) + consumed.amounts[index]
    for meter in made.inventory["meters"]:
        first = rows[meter["id"], round(noon.timestamp() * 1000)]
        last = rows[meter["id"], round(end.timestamp() * 1000)]
        measured = metering_pb2.READING_STATUS_MEASURED
        if first[1] == last[1] == measured:
            assert sums[meter["id"]] == last[0] - first[0]


async def test_without_scheduler_and_database_the_town_is_lit_from_sunset_to_sunrise(
    town: tuple[Town, PostgresServer, str],
) -> None:
    made, server, url = town
    noon, _ = await made.next_night()
    await made.until(noon + timedelta(hours=1))
    for name in ("scheduler", "registry", "metering", "ledger"):
        made.kill(name)
    server.cut_off(url)
    # Lighting too dies and comes back, with nobody to ask: what it last knew is on its disk.
    made.kill("lighting")
    made.start("lighting")
    evening = noon.astimezone(BERLIN).date()
    place = Observer(50.868, 9.707)
    dusk, dawn = sunset(place, evening).astimezone(UTC), sunrise(place, evening + timedelta(days=1)).astimezone(UTC)
    await made.until(dawn + SETTLED + timedelta(minutes=5))
    server.bring_back(url)
    assert await lit_as_due(made, dusk - timedelta(minutes=5), lit=False) == []
    at = dusk + SETTLED
    while at < dawn - timedelta(minutes=5):
        assert await lit_as_due(made, at, lit=True) == [], at
        at += timedelta(minutes=30)
    assert await lit_as_due(made, dawn + SETTLED, lit=False) == []
