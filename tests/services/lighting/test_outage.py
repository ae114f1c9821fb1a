"""Light needs no database: neither while it runs nor to start again, and the history misses and doubles nothing."""

import asyncio
import shutil

from lichtbuch.lighting.v1 import control_pb2 as ctl
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from servicekit.database import Database
from services.lighting.app import MIGRATIONS
from tests.services.lighting.bench import NOON
from tests.services.lighting.running import T, at, override_message, running_lighting
from tests.support.waiting import eventually

NIGHT = ((0, 0), (5, 1000), (10, 500), (17, 1000), (19.2, 0))


async def history(lighting, name: str) -> list[tuple[float, int, bool]]:
    request = pb.QueryLevelHistoryRequest(name=name, start_time=at(3), end_time=at(24))
    answer = await lighting.as_("viewer").QueryLevelHistory(request)
    hours = [round((instant / 1000 - NOON.timestamp()) / 3600, 1) for instant in answer.instants_unix_ms]
    return list(zip(hours, answer.levels_permille, answer.powered, strict=True))


async def test_a_night_goes_on_without_the_database_through_a_restart_and_its_history_is_whole(
    issuer, postgres_server, postgres_database_url, tmp_path
):
    opened = Database(postgres_database_url, "lighting", pool_size=1)
    await opened.migrate(MIGRATIONS)
    await opened.close()
    async with running_lighting(issuer, postgres_database_url, tmp_path) as first:
        names = await first.street()
        await first.put_plan(*NIGHT)
        lockout = ctl.Lockout(feeder=f"{T}/feeders/F-1", reason="work")
        await first.known()
        await first.to(6)
        override = override_message(700, 11, 12, names[0])
        await first.operator.CreateOverride(pb.CreateOverrideRequest(parent=T, override=override))
        await first.known()
        postgres_server.cut_off(postgres_database_url)
        await first.to(10.2)
        assert first.town.levels(1) == [500] * 4
        assert first.parts.control.holds_field
    clock, town = first.clock, first.town
    async with running_lighting(issuer, postgres_database_url, tmp_path, clock=clock, town=town) as second:
        await eventually(lambda: second.parts.control.holds_field)
        await second.to(11.2)
        assert second.town.levels(1) == [700, 500, 500, 500]
        await second.to(17.2)
        assert second.town.levels(1) == [1000] * 4
        assert second.parts.memory.database_is_away
        postgres_server.bring_back(postgres_database_url)
        await second.parts.memory.refresh()
        await second.to(20)
        assert await history(second, names[1]) == [
            (3.0, 0, False), (5.0, 1000, True), (10.0, 500, True), (17.0, 1000, True), (19.2, 0, False),
        ]  # fmt: skip
        assert await history(second, names[0]) == [
            (3.0, 0, False), (5.0, 1000, True), (10.0, 500, True), (11.0, 700, True), (12.0, 500, True),
            (17.0, 1000, True), (19.2, 0, False),
        ]  # fmt: skip
        await second.operator.CreateLockout(pb.CreateLockoutRequest(parent=T, lockout=lockout))


async def test_a_lock_out_holds_through_a_restart_without_the_database(
    issuer, postgres_server, postgres_database_url, tmp_path
):
    opened = Database(postgres_database_url, "lighting", pool_size=1)
    await opened.migrate(MIGRATIONS)
    await opened.close()
    async with running_lighting(issuer, postgres_database_url, tmp_path) as first:
        await first.street()
        await first.known()
        lockout = ctl.Lockout(feeder=f"{T}/feeders/F-1", reason="work")
        await first.operator.CreateLockout(pb.CreateLockoutRequest(parent=T, lockout=lockout))
        postgres_server.cut_off(postgres_database_url)
    async with running_lighting(issuer, postgres_database_url, tmp_path, clock=first.clock, town=first.town) as second:
        await eventually(lambda: second.parts.control.holds_field)
        await second.to(8)
        assert [w for w in second.town.controller(1).writes if w[0] != "heartbeat"] == []
        assert second.town.gateway(1).writes == []
    postgres_server.bring_back(postgres_database_url)


async def test_a_restart_in_the_night_is_right_at_the_first_pass(issuer, one_database_url, tmp_path):
    async with running_lighting(issuer, one_database_url, tmp_path) as first:
        names = await first.street()
        await first.put_plan(*NIGHT)
        await first.known()
        await first.to(6)
    clock, town = first.clock, first.town
    await clock.advance(NOON.replace(hour=21, minute=30) - clock.now())
    assert town.levels(1) == [1000] * 4  # nobody dimmed them
    async with running_lighting(issuer, one_database_url, tmp_path, clock=clock, town=town) as second:
        await eventually(lambda: second.parts.control.holds_field)
        await second.passes(3)
        assert town.levels(1) == [500] * 4
        await second.to(20)
        changes = await history(second, names[0])
        assert changes[1:3] == [(5.0, 1000, True), (10.5, 500, True)]


async def test_without_scheduler_and_database_the_town_is_lit_from_sunset_to_sunrise(
    issuer, postgres_server, postgres_database_url, tmp_path
):
    opened = Database(postgres_database_url, "lighting", pool_size=1)
    await opened.migrate(MIGRATIONS)
    await opened.close()
    async with running_lighting(issuer, postgres_database_url, tmp_path) as lighting:
        await lighting.street()
        await lighting.known()
        postgres_server.cut_off(postgres_database_url)
        await lighting.to(4.4)
        assert lighting.town.levels(1) == [0] * 4
        await lighting.to(5)
        assert lighting.town.levels(1) == [1000] * 4
        await lighting.to(19.7)
        assert lighting.town.levels(1) == [0] * 4
    postgres_server.bring_back(postgres_database_url)


async def test_a_broken_snapshot_is_told_and_does_not_keep_the_service_from_starting(
    issuer, one_database_url, tmp_path
):
    async with running_lighting(issuer, one_database_url, tmp_path) as first:
        await first.street()
        await first.known()
    snapshot = tmp_path / "lighting" / "inventory.json"
    snapshot.write_text(snapshot.read_text()[:-100])
    async with running_lighting(issuer, one_database_url, tmp_path, clock=first.clock, town=first.town) as second:
        await eventually(lambda: second.parts.control.holds_field)
        await second.to(6)
        assert second.town.levels(1) == [1000] * 4
        await asyncio.wait_for(second.parts.memory.refresh(), 30)
    shutil.rmtree(tmp_path / "lighting")
