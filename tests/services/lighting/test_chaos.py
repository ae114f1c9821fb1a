"""What breaks, and that the street does not: after each fault every lamp is right within one pass, what was ordered is
in the audit trail once, and no locked-out feeder was ever written. The longer trials are in tests/long/test_chaos.py.
"""

import asyncio
from pathlib import Path

import pytest

from domain.errors import Unavailable
from domain.priority import Priority
from lichtbuch.lighting.v1 import faults_pb2 as flt
from servicekit.clock import SteppedClock
from servicekit.database import Database
from tests.services.lighting.bench import NOON
from tests.services.lighting.chaos import (
    Replica,
    SharedClock,
    chaos_town,
    history_of,
    hours_of,
    migrated,
    override_request,
    running,
    stored_faults,
)
from tests.services.lighting.killing import Killer, LightingProcess
from tests.services.lighting.running import H

pytestmark = pytest.mark.timeout(300)  # processes start slowly on a busy machine


async def killed_during_all_on(issuer, folder: Path, points: list[int]) -> int:
    """All-on by day, with lighting killed at each of these writes and started again. Returns writes of the last run.

    Where the caller heard no answer it asks again, as any client does: under the same request id.
    """
    url = migrated(folder)
    clock = SharedClock(folder / "clock", NOON)
    async with chaos_town(issuer, folder, clock) as town:
        async with running(town, clock, url, folder) as lighting:
            await town.seed(lighting)
            await town.put_plan(lighting)
            await lighting.until(1)
            assert await town.wrong() == []
        killer = Killer(town)
        request = override_request(1000, None, 20, priority=Priority.EMERGENCY, request_id="all-on")
        answered = False
        for point in [*points, 0]:
            process = await LightingProcess.start(town, clock, url, folder)
            killer.aim(process, point)
            if not answered:
                try:
                    town.noted(await process.operator.CreateOverride(request))
                    answered = True
                except Unavailable:
                    assert point, "nobody was killed"
            if await process.one_pass():
                break
            await process.gone()
        assert await town.wrong() == []
        if not answered:
            town.noted(await process.operator.CreateOverride(request))
        assert await process.one_pass()
        assert await town.wrong() == []
        await town.assert_locked_out_untouched()
        database = Database(url, "lighting", pool_size=1)
        await town.assert_trail_is_whole(process, database)
        await database.close()
        await process.stop()
        return killer.taken


async def test_lighting_killed_in_the_middle_of_all_on_finishes_it_in_the_first_pass_of_the_next_life(issuer, tmp_path):
    assert await killed_during_all_on(issuer, tmp_path, [5]) > 0


async def lost_gateway(issuer, folder: Path, mode: str, interval_s: float) -> None:
    """Six hours without a gateway: dusk, a switch point, the beginning and the end of an override."""
    clock = SteppedClock(NOON)
    async with chaos_town(issuer, folder, clock) as town, running(town, clock, migrated(folder), folder) as lighting:
        await town.seed(lighting)
        await town.put_plan(lighting)
        await lighting.until(4.7, 1800)
        await town.override(lighting, 800, 6, 10)
        lost = {lamp.id for lamp in town.town.luminaires if lamp.gateway == "C-004-gw"}
        switched = {lamp.id for lamp in town.town.luminaires if lamp.feeder in ("C-004-F2", "C-004-F3")}
        fault = await town.break_(kind="dead_gateway", endpoint="C-004-gw", mode=mode)
        await lighting.until(5.0, interval_s)
        await lighting.one_pass()
        shown = await town.levels()
        # The controller still energises them, and gear that nobody speaks to starts at full light.
        assert {shown[lamp] for lamp in switched} == {1000}
        assert {line.split(":")[0] for line in await town.wrong()} == lost - switched
        for hours in (7.0, 10.2):
            await lighting.until(hours, interval_s)
            assert {line.split(":")[0] for line in await town.wrong()} <= lost, hours
        await lighting.until(10.7, interval_s)
        assert {line.split(":")[0] for line in await town.wrong()} == lost
        await town.mend(fault)
        await lighting.one_pass()
        assert await town.wrong() == []
        await lighting.on(0.2, 60)
        (booked,) = await booked_and_cleared(lighting)
        assert booked.kind == flt.FAULT_KIND_COMMUNICATION_LOSS
        assert booked.subject.endswith("gateways/C-004-gw")
        assert 5 < (booked.cleared_at.ToDatetime() - booked.raised_at.ToDatetime()) / H < 6.3
        await lighting.drain()
        changes = hours_of(await history_of(lighting, min(lost - switched), 4.6, 11))
        assert [level for _, level in changes] == [0, -1, 0, 700]
        await town.assert_locked_out_untouched()
        await town.assert_trail_is_whole(lighting, lighting.parts.database)


async def booked_and_cleared(lighting: Replica) -> list[flt.Fault]:
    """All faults, when those that stood have been booked as cleared."""
    found: list[flt.Fault] = []

    async def done() -> bool:
        found[:] = await stored_faults(lighting)
        return bool(found) and all(fault.HasField("cleared_at") for fault in found)

    async with asyncio.timeout(30):
        while not await done():  # noqa: ASYNC110 - the book is carried to the database by a loop of its own
            await asyncio.sleep(0.05)
    return found


async def test_a_gateway_that_comes_back_after_six_hours_is_right_in_the_next_pass_and_was_one_fault(issuer, tmp_path):
    await lost_gateway(issuer, tmp_path, "no-target", 900)


async def test_a_clock_that_is_an_hour_off_and_is_set_right_leaves_no_lamp_wrong_for_longer_than_a_pass(
    issuer, tmp_path
):
    clock = SteppedClock(NOON)
    async with chaos_town(issuer, tmp_path, clock) as town, running(town, clock, migrated(tmp_path), tmp_path) as light:
        await town.seed(light)
        await town.put_plan(light)
        await light.until(9.2, 1800)
        await town.override(light, 900, None, 10)
        for hours, off in ((9.6, 1), (9.8, 0), (9.9, -1), (10.6, 0), (10.8, -1), (10.9, 1), (11, 0)):
            await light.until(hours, 600)
            light.wall.off = off * H
            await light.one_pass()
            assert await town.wrong(light.wall.now()) == [], (hours, off)
            # Something else is ordered meanwhile, so that orders are loaded under whatever the clock says.
            await town.put_plan(light, days=3 + int(hours * 10) % 7)
            await light.parts.memory.refresh()
            await light.one_pass()
            assert await town.wrong(light.wall.now()) == [], (hours, off)
        assert await stored_faults(light) == []
        await light.until(20, 1800)
        assert await town.wrong() == []
        await light.drain()
        free = next(lamp.id for lamp in town.town.luminaires if lamp.id not in town.locked_lamps)
        levels = [level for _, level in hours_of(await history_of(light, free, 4, 21))]
        assert levels[0] == 0
        assert levels[-1] == 0
        await town.assert_locked_out_untouched()
        await town.assert_trail_is_whole(light, light.parts.database)
