"""What breaks for days: the scheduler, the database, a whole cabinet, lighting again and again in the middle of all-on.

Afterwards every lamp is right within one pass, the audit trail is whole, and no locked-out feeder was ever written.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.demo import inventory as demo
from domain.errors import FailedPrecondition, Unavailable
from domain.priority import Priority
from lichtbuch.lighting.v1 import control_pb2 as ctl
from lichtbuch.lighting.v1 import faults_pb2 as flt
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from lichtbuch.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from servicekit.client import connect
from servicekit.clock import SteppedClock
from servicekit.database import Database
from servicekit.server import Server
from servicekit.tenants import FixedTenants
from servicekit.tokens import StaticToken
from services.lighting.app import MIGRATIONS
from services.scheduler.app import MIGRATIONS as SCHEDULER_MIGRATIONS
from services.scheduler.app import SchedulerSettings, assemble
from services.scheduler.lighting import Lighting as LightingOfScheduler
from services.scheduler.synchronising import Synchroniser
from tests.services.lighting.bench import NOON
from tests.services.lighting.chaos import (
    ChaosTown,
    Replica,
    chaos_town,
    history_of,
    hours_of,
    migrated,
    override_request,
    running,
    stored_faults,
)
from tests.services.lighting.running import SCHEDULER, T
from tests.services.lighting.test_chaos import booked_and_cleared, killed_during_all_on, lost_gateway
from tests.support.cable import DatabaseCable
from tests.support.issuer import Issuer
from tests.support.postgres import PostgresServer
from tests.support.running import BINDINGS, HERSFELD, TOWNS, access_from, authenticator_for
from tests.support.waiting import eventually

TTL_S = 6.0
"""Life of a lease in these trials, real seconds: longer than a busy machine keeps one event loop waiting."""

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """An issuer of tokens."""
    made = Issuer()
    yield made
    made.close()


def holds_field(light: Replica) -> bool:
    """Whether it works on the field."""
    return light.parts.control.holds_field


def is_without_database(light: Replica) -> bool:
    """Whether its last look at the database failed."""
    return light.parts.memory.database_is_away


# --- lighting killed ------------------------------------------------------------------------------------------------


async def test_lighting_killed_again_and_again_during_all_on(issuer: Issuer, tmp_path: Path) -> None:
    chance = random.Random(20261122)
    whole = await killed_during_all_on(issuer, tmp_path / "undisturbed", [])
    assert whole >= 10
    for number in range(4):
        # At the very first write, at a random one, and then in the life after, too.
        points = [1 if number == 0 else chance.randint(2, whole), chance.randint(1, 4)]
        await killed_during_all_on(issuer, tmp_path / str(number), points)


# --- a gateway, a cabinet -------------------------------------------------------------------------------------------


async def test_a_gateway_that_does_not_answer_for_six_hours(issuer: Issuer, tmp_path: Path) -> None:
    await lost_gateway(issuer, tmp_path, "no-target", 300)


@pytest.mark.parametrize("mode", ["refuse", "silent"])
async def test_a_cabinet_lost_for_six_hours_lights_up_and_is_then_dimmed(
    issuer: Issuer, tmp_path: Path, mode: str
) -> None:
    clock = SteppedClock(NOON)
    async with chaos_town(issuer, tmp_path, clock) as town, running(town, clock, migrated(tmp_path), tmp_path) as light:
        await town.seed(light)
        await town.put_plan(light)
        await light.until(4.7, 1800)
        lost = {lamp.id for lamp in town.town.luminaires if lamp.cabinet == "C-004"}
        fault = await town.break_(kind="dead_gateway", cabinet="C-004", mode=mode)
        await light.until(10.7, 1800)
        assert {line.split(":")[0] for line in await town.wrong()} == lost
        await town.mend(fault)
        await light.one_pass()  # the feeders are energised, and their gear boots at full light
        shown = await town.levels()
        assert all(shown[lamp] > 0 for lamp in lost)
        await light.one_pass()
        assert await town.wrong() == []
        await light.on(0.3, 60)
        (booked,) = await booked_and_cleared(light)
        assert booked.kind == flt.FAULT_KIND_COMMUNICATION_LOSS
        assert booked.subject.endswith("cabinets/C-004")
        await town.assert_locked_out_untouched()
        await town.assert_trail_is_whole(light, light.parts.database)


# --- the scheduler --------------------------------------------------------------------------------------------------


async def scheduler_of(light: Replica, issuer: Issuer, folder: Path) -> tuple[Synchroniser, Server]:
    """A real scheduler that speaks to lighting over real gRPC; what it stores outlives it."""
    url = f"sqlite:///{folder}/scheduler.db"
    database = Database(url, "scheduler", pool_size=2)
    await database.migrate(SCHEDULER_MIGRATIONS)
    settings = SchedulerSettings(
        listen="127.0.0.1:0", metrics_listen="off", database_url=url, data_dir=folder, drain_s=0.5
    )
    server = Server(
        settings, authenticator=authenticator_for(issuer), access=access_from(BINDINGS), tenants=FixedTenants(TOWNS),
        database=database, clock=light.wall,
    )  # fmt: skip
    server.database_ready.set()
    channel = connect(f"127.0.0.1:{light.server.port}", identity=StaticToken(issuer.token(SCHEDULER)), deadline_s=30)
    server.on_stop(channel.close)
    # Its loop sleeps: the test says when plans are compared.
    synchroniser = assemble(server, database, LightingOfScheduler(channel), every_s=10_000_000)
    await server.start()
    return synchroniser, server


async def give_it_a_night(server: Server, issuer: Issuer) -> None:
    """A profile for the town's group, as people give it."""
    async with connect(f"127.0.0.1:{server.port}", identity=StaticToken(issuer.token("planner"))) as channel:
        stub = scheduler_pb2_grpc.SchedulerServiceStub(channel)
        profile = next(p for p in demo.profiles().values() if any(0 < x.level_permille < 1000 for x in p.points))
        for point in profile.points:
            if 0 < point.level_permille < 1000:
                point.level_permille = 700  # above every floor of this town
        await stub.CreateProfile(scheduler_pb2.CreateProfileRequest(parent=T, profile_id="night", profile=profile))
        calendar = scheduler_pb2.Calendar(display_name="Every night", default_profile=f"{T}/profiles/night")
        await stub.CreateCalendar(scheduler_pb2.CreateCalendarRequest(parent=T, calendar_id="every", calendar=calendar))
        assignment = scheduler_pb2.Assignment(group=f"{T}/groups/default", calendar=f"{T}/calendars/every")
        await stub.CreateAssignment(scheduler_pb2.CreateAssignmentRequest(parent=T, assignment=assignment))


async def two_days(issuer: Issuer, folder: Path, *, absent: bool) -> dict[str, list[tuple[object, ...]]]:
    """All writes of two days, with a scheduler that compares plans each six hours, or one that is gone from noon on."""
    clock = SteppedClock(NOON)
    async with chaos_town(issuer, folder, clock) as town, running(town, clock, migrated(folder), folder) as light:
        await town.seed(light)
        synchroniser, server = await scheduler_of(light, issuer, folder)
        await give_it_a_night(server, issuer)
        await synchroniser.synchronise(HERSFELD)
        await light.parts.memory.refresh()
        await light.one_pass()
        began = await town.written()
        if absent:
            await server.stop(0)
        for _ in range(8):
            await light.on(6, 1800)
            if not absent:
                await synchroniser.synchronise(HERSFELD)
        await light.parts.memory.refresh()
        plan = light.parts.memory.known.orders.plans
        town.take_plan(next(iter(plan.values())))
        await light.one_pass()
        assert await town.wrong() == []
        await town.assert_locked_out_untouched()
        if absent:
            back, again = await scheduler_of(light, issuer, folder)
            await back.synchronise(HERSFELD)
            await light.parts.memory.refresh()
            town.take_plan(next(iter(light.parts.memory.known.orders.plans.values())))
            await light.one_pass()
            assert await town.wrong() == []
            await again.stop(0)
        else:
            await server.stop(0)
        puts = [r for r in await light.trail() if r.action.endswith("PutPlan")]
        assert len(puts) == (2 if absent else len({r.after_json for r in puts}))
        return await town.writes(began)


async def test_a_scheduler_that_is_absent_for_two_days_changes_nothing_on_the_street(
    issuer: Issuer, tmp_path: Path
) -> None:
    with_it = await two_days(issuer, tmp_path / "there", absent=False)
    without = await two_days(issuer, tmp_path / "absent", absent=True)
    assert sum(map(len, with_it.values())) > 20
    assert without == with_it


# --- the database ---------------------------------------------------------------------------------------------------


async def test_a_database_that_is_absent_for_two_days(
    issuer: Issuer, tmp_path: Path, postgres_server: PostgresServer, postgres_database_url: str
) -> None:
    url = postgres_database_url
    opened = Database(url, "lighting", pool_size=1)
    await opened.migrate(MIGRATIONS)
    await opened.close()
    clock = SteppedClock(NOON)
    async with chaos_town(issuer, tmp_path, clock) as town:
        async with running(town, clock, url, tmp_path) as light:
            await town.seed(light)
            await town.put_plan(light)
            await light.until(4, 1800)
            await town.override(light, 900, 8, 30)  # into the next day, and its end falls into the outage
            await light.drain()
            postgres_server.cut_off(url)
            for hours in (6.0, 9.0, 20.0):
                await light.until(hours, 1800)
                assert await town.wrong() == [], hours
            # Nothing is honoured that cannot be stored: the caller is told so, and the street stays as it is.
            with pytest.raises(Unavailable):
                await light.operator.CreateOverride(override_request(1000, None, 40))
            with pytest.raises(Unavailable):
                lockout = ctl.Lockout(feeder=f"{T}/feeders/C-001-F2", reason="work")
                await light.operator.CreateLockout(pb.CreateLockoutRequest(parent=T, lockout=lockout))
            await light.one_pass()
            assert await town.wrong() == []
        # It dies on the second day, and its next life begins without the database, too.
        async with running(town, clock, url, tmp_path) as light:
            assert is_without_database(light)
            fault = await town.break_(kind="dead_gateway", endpoint="C-001-gw", mode="no-target")
            await light.on(1, 300)
            await town.mend(fault)
            for hours in (30.1, 35.0, 52.1):
                await light.until(hours, 1800)
                assert await town.wrong() == [], hours
            postgres_server.bring_back(url)
            await light.parts.memory.refresh()
            assert not is_without_database(light)
            await light.one_pass()
            assert await town.wrong() == []
            await light.drain()
            found = await booked_and_cleared(light)
            assert [f.kind for f in found] == [flt.FAULT_KIND_COMMUNICATION_LOSS]
            free = next(x.id for x in town.town.luminaires if x.feeder == "C-004-F1")
            assert [
                (round(hours, 1), level) for hours, level in hours_of(await history_of(light, free, 4, 52))
            ] == [(4.0, 0), (5.0, 1000), (8.0, 900), (30.0, 1000), (34.5, 700), (40.5, 1000), (43.2, 0)]  # fmt: skip
            await town.assert_locked_out_untouched()
            await town.assert_trail_is_whole(light, light.parts.database, counted=False)
            assert len(await stored_faults(light)) == 1


# --- the holder of the lease ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
async def test_a_holder_that_is_cut_off_from_the_database_gives_way_and_no_confirmed_lockout_is_written_to(
    issuer: Issuer, tmp_path: Path, postgres_server: PostgresServer, postgres_database_url: str, silent: bool
) -> None:
    opened = Database(postgres_database_url, "lighting", pool_size=1)
    await opened.migrate(MIGRATIONS)
    await opened.close()
    clock, cable = SteppedClock(NOON), DatabaseCable(postgres_database_url)
    await cable.start()
    async with (
        chaos_town(issuer, tmp_path, clock) as town,
        running(town, clock, cable.url, tmp_path / "a", holder="a", lease_ttl_s=TTL_S) as first,
    ):
        await eventually(lambda: holds_field(first))
        await town.seed(first)
        await town.put_plan(first)
        await first.until(9, 1800)
        assert await town.wrong() == []
        async with running(town, clock, postgres_database_url, tmp_path / "b", holder="b", lease_ttl_s=TTL_S) as second:
            assert not holds_field(second)
            # Through the one that does not hold the field: when it is confirmed, the one that does obeys it.
            await town.lock_out(second, "C-001-F2", "one")
            await untouched_from_now(town, second, first, "C-001-F2", 800)
            cable.cut(silent=silent)
            await eventually(lambda: holds_field(second), 60)
            assert holds_field(first)  # it cannot know; both say the same
            await second.one_pass()
            assert await town.wrong() == []
            with pytest.raises(FailedPrecondition, match="a may still write"):
                await town.lock_out(second, "C-004-F2", "two")
            await second.until(9.5, 1800)
            cable.mend()
            await eventually(lambda: not holds_field(first), 60)
            await town.lock_out(second, "C-004-F2", "two")  # the same one: now it is confirmed
            await second.parts.memory.refresh()
            await second.one_pass()
            assert await town.wrong() == []
            await untouched_from_now(town, second, second, "C-004-F2", 900)
            await untouched_from_now(town, second, second, "C-001-F2", 1000)
            assert not holds_field(first)
            await town.assert_locked_out_untouched()
            await town.assert_trail_is_whole(second, second.parts.database, counted=False)
    await cable.stop()


async def untouched_from_now(town: ChaosTown, light: Replica, holder: Replica, feeder: str, level: int) -> None:
    """The whole town is commanded, and follows, but for a feeder: nobody writes to it."""
    before = await town.written()
    await town.override(light, level, None, 12, priority=Priority.EMERGENCY)
    await holder.parts.memory.refresh()
    await light.one_pass()
    assert await town.wrong() == []
    assert await town.written() > before
    assert (await town.ask("/writes", feeder=feeder, after=str(before)))["matching"] == 0
