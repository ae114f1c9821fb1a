"""The loop that keeps lighting's plans: beside a real gRPC lighting, on a clock that is stepped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from math import isnan

import pytest
from prometheus_client import REGISTRY
from sqlmodel import Session

from domain.errors import RetryableError, Unavailable
from domain.names import ResourceName
from lichtbuch.lighting.v1 import inventory_pb2
from servicekit.access import Caller
from servicekit.client import ServiceChannel, connect
from servicekit.clock import SteppedClock
from servicekit.context import acting_as
from servicekit.database import Database
from servicekit.tenants import FixedTenants
from servicekit.tokens import StaticToken
from services.scheduler.lighting import Lighting
from services.scheduler.profile import Anchor, Profile, SwitchPoint
from services.scheduler.records import Assignment, StoredProfile
from services.scheduler.store import assignments, calendars, profiles
from services.scheduler.store.shelf import Moment
from services.scheduler.synchronising import EVERY_S, Synchroniser
from tests.services.scheduler.conftest import NOON
from tests.services.scheduler.fake_lighting import MARKET, RING, FakeLighting, LightingProcess
from tests.services.scheduler.making import ALL_NIGHT, assigned, dimmed, stored_calendar, stored_profile
from tests.support.running import HERSFELD

MINUTE = timedelta(seconds=EVERY_S)
LATE_EVENING = datetime(2026, 11, 22, 22, 0, tzinfo=UTC)
"""23:00 in Bad Hersfeld, on the evening of NOON."""


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"lichtbuch_scheduler_{name}", labels) or 0.0


@dataclass
class Town:
    """Bad Hersfeld: what the scheduler keeps of it, lighting beside, and a synchroniser between the two."""

    database: Database
    lights: FakeLighting
    channel: ServiceChannel
    clock: SteppedClock
    synchroniser: Synchroniser

    def another_replica(self, every_s: float = EVERY_S) -> Synchroniser:
        """One more synchroniser on the same database and lighting."""
        tenants = FixedTenants([HERSFELD])
        return Synchroniser(self.database, Lighting(self.channel), tenants, self.clock, every_s=every_s)

    async def follow(self, group: str, profile: Profile, identifier: str = "night-dim") -> Assignment:
        """Lets a group follow a profile on all days, through a calendar of its own."""
        stored = stored_profile(HERSFELD.uid, identifier, profile)
        calendar = stored_calendar(stored, f"all-days-{identifier}")
        assignment = assigned(calendar, group.split("/")[-1], self.lights.groups[group].uid)

        def work(session: Session) -> None:
            at = Moment(self.clock.now(), self.clock.real())
            profiles.add_profile(session, stored, identifier, at)
            calendars.add_calendar(session, calendar, calendar.id, at)
            assignments.add_assignment(session, assignment, assignment.id)

        await self.database.run(work)
        return assignment

    async def change_profile(self, profile: Profile, identifier: str = "night-dim") -> StoredProfile:
        """A planner's change, as the API stores it."""

        def work(session: Session) -> StoredProfile:
            name = ResourceName.of(HERSFELD.id, "profiles", identifier)
            before = profiles.get_profile(session, HERSFELD.uid, name, lock=True)
            at = Moment(self.clock.now(), self.clock.real())
            return profiles.replace_profile(session, replace(before, profile=profile), at)

        return await self.database.run(work)

    async def assignment(self, group: str = MARKET) -> Assignment:
        """The assignment of a group, with what became of its plan."""
        name = ResourceName.of(HERSFELD.id, "assignments", group.split("/")[-1])
        return await self.database.read(lambda session: assignments.get_assignment(session, HERSFELD.uid, name))


@pytest.fixture
async def town(database: Database, town_lights: FakeLighting, lighting_channel: ServiceChannel) -> AsyncIterator[Town]:
    """Bad Hersfeld at noon, with two groups and without a plan."""
    town_lights.add_group(MARKET)
    town_lights.add_group(RING)
    clock = SteppedClock(NOON, step_real=True)
    synchroniser = Synchroniser(database, Lighting(lighting_channel), FixedTenants([HERSFELD]), clock)
    with acting_as(Caller.of_service("scheduler"), action="plans"):
        yield Town(database, town_lights, lighting_channel, clock, synchroniser)


class Running:
    """The loop at work, and how often it has beaten."""

    def __init__(self, synchroniser: Synchroniser, clock: SteppedClock) -> None:
        self.beats = 0
        self._clock = clock
        self._task = asyncio.create_task(synchroniser.run(self._beat), name="plans")

    def _beat(self) -> None:
        self.beats += 1

    async def first_pass(self) -> None:
        """Waits until the loop sleeps for the first time."""
        while not self._clock.sleeping:
            assert not self._task.done()
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Ends the loop."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
async def loop(town: Town) -> AsyncIterator[Running]:
    """The loop, after its first pass over an empty town."""
    running = Running(town.synchroniser, town.clock)
    await running.first_pass()
    yield running
    await running.stop()


async def test_what_differs_is_put_and_what_is_equal_is_left_alone(town: Town, loop: Running) -> None:
    await town.follow(MARKET, dimmed(500))
    await town.follow(RING, ALL_NIGHT, "all-night")
    await town.clock.advance(MINUTE)
    assert town.lights.level_at(MARKET, LATE_EVENING) == 500
    assert town.lights.level_at(RING, LATE_EVENING) == 1000
    assert town.lights.origins == {
        MARKET: "night-dim@1 via all-days-night-dim@1",
        RING: "all-night@1 via all-days-all-night@1",
    }
    found = await town.assignment()
    assert found.planned_until == datetime(2026, 11, 26, 11, 0, tzinfo=UTC)
    assert found.refusal == ""
    equal = metric("plans_total", outcome="equal")
    await town.clock.advance(10 * MINUTE)
    assert len(town.lights.puts) == 2
    assert metric("plans_total", outcome="equal") - equal == 20
    assert metric("lighting_reachable") == 1


class TimeLapse:
    """A time-lapse whose real time is stepped: 600 domain seconds a real second."""

    speed = 600.0

    def __init__(self, real: SteppedClock) -> None:
        self._real, self._start = real, real.now()

    def now(self) -> datetime:
        return self._start + (self._real.now() - self._start) * self.speed

    def real(self) -> datetime:
        return self._real.now()

    async def sleep(self, domain_seconds: float) -> None:
        await self._real.sleep(domain_seconds / self.speed)

    async def sleep_until(self, domain_instant: datetime) -> None:
        await self.sleep((domain_instant - self.now()).total_seconds())

    async def sleep_real(self, seconds: float) -> None:
        await self._real.sleep(seconds)


async def test_in_a_time_lapse_a_pass_is_made_twice_a_real_second_and_no_more(town: Town) -> None:
    await town.follow(MARKET, ALL_NIGHT)
    lapse = TimeLapse(town.clock)
    tenants = FixedTenants([HERSFELD])
    running = Running(Synchroniser(town.database, Lighting(town.channel), tenants, lapse), town.clock)
    await running.first_pass()
    town.lights.calls.clear()
    await town.clock.advance(timedelta(seconds=10))
    assert town.lights.calls.count("ListPlanHashes") == 20
    await running.stop()


async def test_a_group_without_assignment_is_left_to_the_default(town: Town, loop: Running) -> None:
    await town.follow(MARKET, ALL_NIGHT)
    await town.clock.advance(MINUTE)
    assert set(town.lights.plans) == {MARKET}


async def test_at_every_noon_the_plan_moves_on_by_a_night(town: Town) -> None:
    await town.follow(MARKET, ALL_NIGHT)
    loop = Running(town.another_replica(every_s=3600.0), town.clock)
    await loop.first_pass()
    for day in range(1, 4):
        await town.clock.advance(NOON + timedelta(days=day) - town.clock.now() - MINUTE)
        assert len(town.lights.puts) == day
        await town.clock.advance(MINUTE)
        assert len(town.lights.puts) == day + 1
        assert town.lights.plans[MARKET].valid_from == NOON + timedelta(days=day)
    await loop.stop()


async def test_a_restored_database_of_lighting_heals_within_a_pass(town: Town, loop: Running) -> None:
    await town.follow(MARKET, dimmed(500))
    await town.clock.advance(MINUTE)
    backup = dict(town.lights.plans)
    await town.change_profile(dimmed(300))
    await town.clock.advance(MINUTE)
    right = town.lights.plans[MARKET].hash
    # An old backup comes back, then an empty one.
    for restored in (backup, {}):
        town.lights.plans = dict(restored)
        await town.clock.advance(MINUTE)
        assert town.lights.plans[MARKET].hash == right


async def test_a_restored_database_of_the_scheduler_rules_again(town: Town, loop: Running) -> None:
    await town.follow(MARKET, dimmed(500))
    await town.clock.advance(MINUTE)
    before = town.lights.plans[MARKET].hash
    await town.change_profile(dimmed(300))
    await town.clock.advance(MINUTE)
    assert town.lights.plans[MARKET].hash != before
    await town.change_profile(dimmed(500))
    await town.clock.advance(MINUTE)
    assert town.lights.plans[MARKET].hash == before


async def test_a_plan_that_lighting_said_yes_to_and_lost_is_put_again(town: Town, loop: Running) -> None:
    await town.follow(MARKET, dimmed(500))
    town.lights.loses = 1
    await town.clock.advance(MINUTE)
    assert town.lights.plans == {}
    await town.clock.advance(MINUTE)
    assert town.lights.level_at(MARKET, LATE_EVENING) == 500


async def test_a_changed_profile_reaches_lighting_within_a_pass(town: Town, loop: Running) -> None:
    await town.follow(MARKET, dimmed(500))
    await town.follow(RING, ALL_NIGHT, "all-night")
    await town.clock.advance(MINUTE)
    await town.change_profile(dimmed(300))
    await town.clock.advance(MINUTE)
    assert town.lights.level_at(MARKET, LATE_EVENING) == 300
    assert town.lights.origins[MARKET] == "night-dim@2 via all-days-night-dim@1"
    assert [group for group, _ in town.lights.puts].count(RING) == 1


async def test_two_days_without_lighting_change_nothing_and_its_plan_still_speaks(
    town: Town, lighting_process: LightingProcess
) -> None:
    """At the worst moment: just before the noon at which the plan would have moved on."""
    await town.follow(MARKET, dimmed(500))
    await town.clock.advance(timedelta(hours=23, minutes=59))
    running = Running(town.another_replica(every_s=8 * 3600.0), town.clock)
    await running.first_pass()
    held, beats = town.lights.plans[MARKET], running.beats
    horizon_s = metric("planned_horizon_seconds")
    assert horizon_s == (held.valid_until - town.clock.now()).total_seconds()

    await lighting_process.stop()
    gone_at = town.clock.now()
    await town.clock.advance(timedelta(hours=48))
    assert metric("lighting_reachable") == 0
    assert running.beats - beats >= 6  # the loop lives on, so the service is well
    assert horizon_s - metric("planned_horizon_seconds") == 48 * 3600
    # What lighting holds says what is due, at every minute until now.
    minutes = (gone_at + timedelta(minutes=number) for number in range(48 * 60 + 1))
    assert all(held.level_at(minute) is not None for minute in minutes)
    assert held.level_at(LATE_EVENING + timedelta(days=2)) == 500
    assert (await town.assignment()).planned_until == held.valid_until

    await lighting_process.start()
    await town.channel.channel_ready()
    await town.clock.advance(timedelta(hours=8))
    assert metric("lighting_reachable") == 1
    assert town.lights.plans[MARKET].valid_until - town.clock.now() > timedelta(hours=48)
    await running.stop()


async def test_a_refused_plan_is_kept_with_its_reason_and_not_tried_again_until_something_changes(
    town: Town, loop: Running
) -> None:
    await town.follow(MARKET, dimmed(500))
    await town.clock.advance(MINUTE)
    held = town.lights.plans[MARKET].hash
    town.lights.groups[MARKET].floor_permille = 400
    refused = metric("plans_total", outcome="refused")
    await town.change_profile(dimmed(300))
    await town.clock.advance(MINUTE)

    async def refusal() -> str:
        return (await town.assignment()).refusal

    assert "300 per mille from 2026-11-22 21:30 UTC is below the floor of 400 per mille" in await refusal()
    assert town.lights.plans[MARKET].hash == held
    assert (await town.assignment()).planned_until == town.lights.plans[MARKET].valid_until
    await town.clock.advance(20 * MINUTE)
    assert metric("plans_total", outcome="refused") - refused == 1
    assert metric("refused_assignments") == 1

    # The council decides on a lower floor; the group says so, and the plan is tried again.
    town.lights.groups[MARKET].floor_permille = 200
    await town.clock.advance(2 * MINUTE)
    assert town.lights.level_at(MARKET, LATE_EVENING) == 300
    assert await refusal() == ""
    assert metric("refused_assignments") == 0


async def test_a_refused_plan_is_tried_again_with_the_next_change_and_on_request(town: Town) -> None:
    town.lights.groups[MARKET].floor_permille = 400
    await town.follow(MARKET, dimmed(300))
    assert list((await town.synchroniser.synchronise(HERSFELD)).refused) == [MARKET]
    # Another replica knows of the refusal too, and says so without asking again.
    asked = metric("plans_total", outcome="refused")
    assert list((await town.another_replica().synchronise(HERSFELD)).refused) == [MARKET]
    assert metric("plans_total", outcome="refused") == asked
    # It is put again on request, and is refused again.
    assert list((await town.synchroniser.synchronise(HERSFELD, retry_refused=True)).refused) == [MARKET]
    assert metric("plans_total", outcome="refused") == asked
    await town.change_profile(dimmed(350))
    assert list((await town.synchroniser.synchronise(HERSFELD)).refused) == [MARKET]
    await town.change_profile(dimmed(450))
    assert (await town.synchroniser.synchronise(HERSFELD)).put == 1


async def test_a_plan_that_wants_a_waiver_is_put_within_a_minute_of_the_councils_decision(
    town: Town, loop: Running
) -> None:
    town.lights.groups[MARKET].floor_permille = 400
    await town.follow(MARKET, dimmed(300))
    await town.clock.advance(5 * MINUTE)
    assert town.lights.puts == []
    refused = (await town.assignment()).refused_key
    # A waiver for another street: it is tried once more, and the refusal stands.
    town.lights.waived.add(RING)
    await town.clock.advance(2 * MINUTE)
    assert town.lights.puts == []
    assert (await town.assignment()).refused_key != refused
    town.lights.waived.add(MARKET)
    await town.clock.advance(MINUTE)
    assert town.lights.level_at(MARKET, LATE_EVENING) == 300
    assert (await town.assignment()).refusal == ""


async def test_a_dark_night_is_refused_and_the_lamps_stay_with_the_plan_before(town: Town) -> None:
    off_at_night = Profile(
        (
            SwitchPoint(Anchor.SUNSET, 1000),
            SwitchPoint(Anchor.CLOCK, 0, clock_time=time(0, 30)),
        )
    )
    await town.follow(MARKET, off_at_night)
    report = await town.synchroniser.synchronise(HERSFELD)
    assert "takes a council's waiver" in report.refused[MARKET]
    assert metric("planned_horizon_seconds") == 0


async def test_a_night_in_which_the_clock_springs_forward_is_an_hour_short(town: Town) -> None:
    await town.clock.advance(datetime(2027, 3, 26, 11, 0, tzinfo=UTC) - town.clock.now() - MINUTE)
    await town.follow(MARKET, dimmed(500, time(22, 30), time(5)))
    await town.synchroniser.synchronise(HERSFELD)
    spring = town.lights.plans[MARKET]
    # 22:30 is 21:30 UTC in the night before summer time and 20:30 UTC in the one after; five o'clock changes first.
    assert spring.level_at(datetime(2027, 3, 27, 21, 29, 59, tzinfo=UTC)) == 1000
    assert spring.level_at(datetime(2027, 3, 27, 21, 30, tzinfo=UTC)) == 500
    assert spring.level_at(datetime(2027, 3, 28, 2, 59, 59, tzinfo=UTC)) == 500
    assert spring.level_at(datetime(2027, 3, 28, 3, 0, tzinfo=UTC)) == 1000
    assert spring.level_at(datetime(2027, 3, 28, 20, 30, tzinfo=UTC)) == 500
    # Four nights, of which one is an hour short; it begins at the local noon before now.
    assert spring.valid_from == datetime(2027, 3, 25, 11, 0, tzinfo=UTC)
    assert spring.valid_until - spring.valid_from == timedelta(days=4) - timedelta(hours=1)


async def test_a_clock_time_that_autumn_repeats_switches_once(town: Town) -> None:
    await town.clock.advance(datetime(2027, 10, 30, 12, 0, tzinfo=UTC) - town.clock.now())
    await town.follow(MARKET, dimmed(500, time(22, 30), time(2, 30)))
    await town.synchroniser.synchronise(HERSFELD)
    plan = town.lights.plans[MARKET]
    night = [
        (instant, level)
        for instant, level in zip(plan.instants_ms, plan.levels_permille, strict=True)
        if datetime(2027, 10, 30, 18, tzinfo=UTC).timestamp() * 1000 < instant < (plan.valid_from_ms + 25 * 3_600_000)
    ]
    assert [level for _, level in night] == [500, 1000, 0]
    assert night[0][0] == datetime(2027, 10, 30, 20, 30, tzinfo=UTC).timestamp() * 1000
    assert night[1][0] == datetime(2027, 10, 31, 0, 30, tzinfo=UTC).timestamp() * 1000


async def test_each_group_gets_the_sun_of_its_own_place(town: Town) -> None:
    town.lights.groups[RING].position.longitude_deg += 1.0
    await town.follow(MARKET, ALL_NIGHT)
    await town.follow(RING, ALL_NIGHT, "all-night")
    await town.synchroniser.synchronise(HERSFELD)
    sunset, further_east = (town.lights.plans[group].instants_ms[1] for group in (MARKET, RING))
    # A degree of longitude is four minutes of time.
    assert sunset - further_east == pytest.approx(240_000, abs=2_000)


async def test_a_group_without_a_place_has_the_town_s(town: Town) -> None:
    town.lights.groups[RING].ClearField("position")
    await town.follow(MARKET, ALL_NIGHT)
    await town.follow(RING, ALL_NIGHT, "all-night")
    await town.synchroniser.synchronise(HERSFELD)
    assert town.lights.plans[RING].hash == town.lights.plans[MARKET].hash


async def test_two_replicas_put_the_same_and_do_each_other_no_harm(town: Town) -> None:
    await town.follow(MARKET, dimmed(500))
    await town.follow(RING, ALL_NIGHT, "all-night")
    replicas = [town.synchroniser, town.another_replica()]
    for level in (500, 400, 300):
        await town.change_profile(dimmed(level))
        await asyncio.gather(*(replica.synchronise(HERSFELD) for replica in replicas))
    assert len(set(town.lights.puts)) == 4
    reports = [await replica.synchronise(HERSFELD) for replica in replicas]
    assert [(report.equal, report.put) for report in reports] == [(2, 0), (2, 0)]
    assert (await town.assignment()).refusal == ""


async def test_a_group_that_lighting_no_longer_has_is_told_and_the_others_go_on(town: Town, loop: Running) -> None:
    await town.follow(MARKET, ALL_NIGHT)
    await town.follow(RING, ALL_NIGHT, "all-night")
    town.lights.groups.pop(RING)
    await town.clock.advance(MINUTE)
    assert set(town.lights.plans) == {MARKET}
    assert "lighting has no group ring any more" in (await town.assignment(RING)).refusal
    # Another group of the same name is another group: nobody has decided yet what it follows.
    town.lights.add_group(RING)
    await town.clock.advance(2 * MINUTE)
    assert set(town.lights.plans) == {MARKET}


async def test_a_group_that_was_renamed_is_still_followed(town: Town, loop: Running) -> None:
    await town.follow(MARKET, dimmed(500))
    await town.clock.advance(MINUTE)
    renamed = f"{HERSFELD.name}/groups/marktplatz"
    group = town.lights.groups.pop(MARKET)
    town.lights.groups[renamed] = inventory_pb2.Group(
        name=renamed, uid=group.uid, position=group.position, luminaire_count=group.luminaire_count
    )
    await town.clock.advance(MINUTE)
    assert town.lights.level_at(renamed, LATE_EVENING) == 500


async def test_a_profile_that_fails_at_the_group_s_own_place_is_told_with_the_night(town: Town) -> None:
    """Right at the town hall, wrong a few hundred kilometres further west, where the sun sets later."""
    await town.follow(MARKET, dimmed(500, begin=time(16, 50)))
    town.lights.groups[MARKET].position.longitude_deg -= 12.0
    report = await town.synchroniser.synchronise(HERSFELD)
    assert "night-dim@1 via all-days-night-dim@1 cannot be compiled" in report.refused[MARKET]
    assert "in the night of 2026-11-22" in report.refused[MARKET]
    assert (await town.assignment()).refusal == report.refused[MARKET]


async def test_plans_are_compiled_once_per_night_and_change(town: Town, loop: Running) -> None:
    await town.follow(MARKET, dimmed(500))
    await town.follow(RING, dimmed(500), "other")
    await town.clock.advance(MINUTE)
    compiled = metric("compile_duration_seconds_count")
    await town.clock.advance(30 * MINUTE)
    assert metric("compile_duration_seconds_count") == compiled
    await town.change_profile(dimmed(400))
    await town.clock.advance(MINUTE)
    assert metric("compile_duration_seconds_count") == compiled + 1


async def test_groups_are_asked_for_when_they_change_and_now_and_then(town: Town) -> None:
    await town.follow(MARKET, ALL_NIGHT)
    await town.synchroniser.synchronise(HERSFELD)
    town.lights.calls.clear()
    await town.synchroniser.synchronise(HERSFELD)
    assert "ListGroups" not in town.lights.calls
    town.lights.add_group(f"{HERSFELD.name}/groups/new")
    await town.synchroniser.synchronise(HERSFELD)
    assert town.lights.calls.count("ListGroups") == 2  # two pages
    await town.clock.advance(timedelta(seconds=60))
    await town.synchroniser.synchronise(HERSFELD)
    assert town.lights.calls.count("ListGroups") == 4


async def test_without_assignments_there_is_no_horizon_to_worry_about(town: Town, loop: Running) -> None:
    await town.clock.advance(MINUTE)
    assert isnan(metric("planned_horizon_seconds"))


async def test_a_caller_that_lighting_does_not_take_is_our_fault_and_not_a_refusal(
    town: Town, lighting_process: LightingProcess
) -> None:
    await town.follow(MARKET, ALL_NIGHT)
    async with connect(lighting_process.target, identity=StaticToken("no.real.token")) as channel:
        synchroniser = Synchroniser(town.database, Lighting(channel), FixedTenants([HERSFELD]), town.clock)
        with pytest.raises(Unavailable, match="does not accept the scheduler"):
            await synchroniser.synchronise(HERSFELD)
    assert (await town.assignment()).refusal == ""


async def test_while_lighting_is_away_whoever_asks_is_told_so(town: Town, lighting_process: LightingProcess) -> None:
    await town.follow(MARKET, ALL_NIGHT)
    await lighting_process.stop()
    with pytest.raises(RetryableError):
        await town.synchroniser.synchronise(HERSFELD)
    assert metric("lighting_reachable") == 0
