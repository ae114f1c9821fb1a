"""What lamps do, over gRPC: live states, the stream of changes, cabinets, history and energy."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from domain.errors import InvalidInput, NotFound, NotPermitted
from domain.plan import to_unix_ms
from lichtbuch.lighting.v1 import control_pb2 as ctl
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from lichtbuch.type.v1 import types_pb2
from services.lighting.api import states
from services.lighting.historian import Historian
from services.lighting.store.history import watched_until
from tests.services.lighting.bench import NOON
from tests.services.lighting.running import LEDGER, Lighting, T, at, override_message, stamp

NIGHT = ((0, 0), (5, 1000), (10, 500), (17, 1000), (19.2, 0))
LED_23 = {1000: 22.8, 500: 22.8 * 0.61, 0: 0.3}


@asynccontextmanager
async def watching(lighting: Lighting, **request) -> AsyncIterator[asyncio.Queue]:
    """The messages of a stream, in a queue."""
    queue: asyncio.Queue = asyncio.Queue()
    stream = lighting.as_("viewer").WatchLuminaires(pb.WatchLuminairesRequest(parent=T, **request))

    async def read() -> None:
        async for message in stream:
            await queue.put(message)

    task = asyncio.create_task(read())
    try:
        yield queue
    finally:
        stream.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def message(queue: asyncio.Queue) -> pb.WatchLuminairesResponse:
    async with asyncio.timeout(30):
        found: pb.WatchLuminairesResponse = await queue.get()
        return found


async def test_live_states_show_due_actual_power_quality_and_control(light: Lighting):
    names = await light.street()
    await light.put_plan(*NIGHT)
    await light.known()
    await light.to(10.2)
    states = await light.states()
    assert list(states.names) == names
    assert list(states.due_permille) == [500] * 4
    assert list(states.actual_permille) == [500] * 4
    assert set(states.due_sources) == {ctl.DUE_SOURCE_PLAN}
    assert set(states.qualities) == {types_pb2.QUALITY_GOOD}
    assert all(states.powered)
    assert all(states.in_control)
    assert not any(states.faults)
    light.town.lamp(1, 1).lamp_failure = True
    await light.passes(2)
    assert list((await light.states(luminaires=[names[1]])).faults) == [1]
    assert len((await light.states(groups=[f"{T}/groups/default"])).names) == 4
    with pytest.raises(InvalidInput, match=r"luminaires\[0\]"):
        await light.states(luminaires=[f"{T}/luminaires/none"])
    with pytest.raises(InvalidInput, match=r"groups\[0\]"):
        await light.states(groups=[f"{T}/groups/none"])


async def test_a_watcher_gets_everything_once_and_then_only_what_changes(light: Lighting):
    names = await light.street()
    await light.put_plan(*NIGHT)
    await light.known()
    await light.to(6)
    async with watching(light) as queue:
        first = await message(queue)
        assert first.snapshot
        assert list(first.states.names) == names
        override = override_message(800, None, 9, names[2])
        await light.operator.CreateOverride(pb.CreateOverrideRequest(parent=T, override=override))
        await light.passes(1)
        second = await message(queue)
        assert not second.snapshot
        assert list(second.states.names) == [names[2]]
        assert second.states.due_permille[0] == 800


async def test_a_stream_resumes_by_its_token_with_what_changed_meanwhile(light: Lighting):
    names = await light.street()
    await light.known()
    await light.passes(3)
    async with watching(light) as queue:
        token = (await message(queue)).resume_token
    override = override_message(1000, None, 3, names[0])
    await light.operator.CreateOverride(pb.CreateOverrideRequest(parent=T, override=override))
    await light.passes(1)
    async with watching(light, resume_token=token) as queue:
        resumed = await message(queue)
        assert not resumed.snapshot
        assert names[0] in resumed.states.names
    for foreign in ("bm9uc2Vuc2U", "%%%", token[:-4]):
        async with watching(light, resume_token=foreign) as queue:
            assert (await message(queue)).snapshot


async def test_a_slow_watcher_gets_the_newest_state_not_every_one(light: Lighting):
    names = await light.street()
    await light.known()
    await light.passes(3)
    async with watching(light) as queue:
        await message(queue)
        for level in (900, 800, 700, 600):
            override = override_message(level, None, 9, names[0])
            await light.operator.CreateOverride(pb.CreateOverrideRequest(parent=T, override=override))
            await light.passes(1)
        seen: list[int] = []
        while not seen or seen[-1] != 600:
            news = await message(queue)
            seen += [d for n, d in zip(news.states.names, news.states.due_permille, strict=True) if n == names[0]]
        assert len(seen) <= 4
        assert seen == sorted(seen, reverse=True)


async def test_cabinets_show_their_switch_door_and_feeders(light: Lighting):
    await light.street()
    await light.known()
    await light.to(6)
    cabinet = light.town.controller(1).cabinet
    cabinet.switch, cabinet.door_open = 0, True
    await light.passes(2)
    answer = await light.as_("viewer").ListCabinetStates(pb.ListCabinetStatesRequest(parent=T))
    (state,) = answer.states
    assert (state.name, state.switch_position, state.door_open) == (f"{T}/cabinets/C-1", 1, True)
    assert (list(state.feeders), list(state.energised)) == ([f"{T}/feeders/F-1"], [True])
    assert state.quality == types_pb2.QUALITY_GOOD
    light.town.controller(1).dead = True
    await light.passes(4)
    (state,) = (await light.as_("viewer").ListCabinetStates(pb.ListCabinetStatesRequest(parent=T))).states
    assert (state.switch_position, state.quality) == (0, types_pb2.QUALITY_MISSING)


async def test_the_history_of_a_night_begins_with_what_held_and_has_its_changes_only(lighting: Lighting):
    names = await lighting.street()
    await lighting.put_plan(*NIGHT)
    await lighting.known()
    await lighting.to(20)
    request = pb.QueryLevelHistoryRequest(name=names[0], start_time=at(3), end_time=at(24))
    history = await lighting.as_("viewer").QueryLevelHistory(request)
    hours = [round((instant / 1000 - NOON.timestamp()) / 3600, 2) for instant in history.instants_unix_ms]
    assert list(zip(hours, history.levels_permille, history.powered, strict=True)) == [
        (3.0, 0, False), (5.0, 1000, True), (10.0, 500, True), (17.0, 1000, True), (19.2, 0, False),
    ]  # fmt: skip
    before = pb.QueryLevelHistoryRequest(name=names[0], start_time=at(-48), end_time=at(-24))
    nothing = await lighting.as_("viewer").QueryLevelHistory(before)
    assert list(nothing.levels_permille) == [-1]
    with pytest.raises(InvalidInput, match="end_time"):
        backwards = pb.QueryLevelHistoryRequest(name=names[0], start_time=at(3), end_time=at(3))
        await lighting.as_("viewer").QueryLevelHistory(backwards)
    with pytest.raises(NotFound):
        unknown = pb.QueryLevelHistoryRequest(name=f"{T}/luminaires/x", start_time=at(3), end_time=at(4))
        await lighting.as_("viewer").QueryLevelHistory(unknown)


async def test_the_energy_of_a_night_is_levels_times_curve_and_its_evidence_is_repeatable(lighting: Lighting):
    await lighting.street()
    await lighting.put_plan(*NIGHT)
    await lighting.known()
    await lighting.to(21)
    request = pb.ComputeEnergyRequest(parent=T, start_time=at(1), end_time=at(20))
    answer = await lighting.as_(LEDGER).ComputeEnergy(request)
    expected_wh = (5 + 2.2) * LED_23[1000] + 7 * LED_23[500]
    for energy, lit, known in zip(
        answer.energies.energies_mwh, answer.energies.lit_seconds, answer.energies.known_seconds, strict=True
    ):
        assert abs(energy / 1000 - expected_wh) / expected_wh < 0.001
        assert abs(lit - 14.2 * 3600) <= 1
        assert known == 19 * 3600
    assert not any(answer.energies.estimated)
    again = await lighting.as_(LEDGER).ComputeEnergy(request)
    assert again == answer
    other = pb.ComputeEnergyRequest(parent=T, cabinets=[f"{T}/cabinets/C-1"], start_time=at(1), end_time=at(19))
    assert (await lighting.as_(LEDGER).ComputeEnergy(other)).evidence_hash != answer.evidence_hash
    one = pb.ComputeEnergyRequest(parent=T, luminaires=[f"{T}/luminaires/L-1-2"], start_time=at(1), end_time=at(20))
    alone = (await lighting.as_(LEDGER).ComputeEnergy(one)).energies
    row = list(answer.energies.names).index(f"{T}/luminaires/L-1-2")
    assert list(alone.names) == [f"{T}/luminaires/L-1-2"]
    assert alone.energies_mwh[0] == answer.energies.energies_mwh[row]
    with pytest.raises(InvalidInput, match=r"luminaires\[0\]"):
        unknown = pb.ComputeEnergyRequest(parent=T, luminaires=[f"{T}/luminaires/x"], start_time=at(1), end_time=at(20))
        await lighting.as_(LEDGER).ComputeEnergy(unknown)
    with pytest.raises(InvalidInput, match="after now"):
        late = pb.ComputeEnergyRequest(parent=T, start_time=at(1), end_time=at(400))
        await lighting.as_(LEDGER).ComputeEnergy(late)
    with pytest.raises(NotPermitted):
        await lighting.as_("stranger").ComputeEnergy(request)


async def test_a_pass_that_ends_while_the_history_is_handed_over_does_not_count_yet(
    light: Lighting, monkeypatch: pytest.MonkeyPatch
):
    await light.street()
    await light.put_plan(*NIGHT)
    await light.known()
    await light.to(3)
    control, drain = light.parts.control, Historian.drain
    watched_ms = control.settled_until_ms

    async def drain_and_pass(historian: Historian) -> None:
        await drain(historian)
        await light.passes(1)

    monkeypatch.setattr(Historian, "drain", drain_and_pass)
    monkeypatch.setattr(states, "_PASS_PATIENCE_S", 0.0)
    monkeypatch.setattr(type(light.clock), "now", lambda clock: clock._now + timedelta(hours=1))
    start = NOON + timedelta(hours=1)
    request = pb.ComputeEnergyRequest(parent=T, start_time=stamp(start), end_time=stamp(light.clock.now()))
    answer = await light.as_(LEDGER).ComputeEnergy(request)
    assert control.settled_until_ms > watched_ms
    assert set(answer.energies.known_seconds) == {(watched_ms - to_unix_ms(start)) // 1000}


async def test_a_luminaire_that_was_deleted_keeps_its_energy_of_before(light: Lighting):
    names = await light.street()
    await light.put_plan(*NIGHT)
    await light.known()
    await light.to(12)
    await light.planner.DeleteLuminaire(pb.DeleteLuminaireRequest(name=names[0]))
    await light.known()
    await light.passes(2)
    before = pb.ComputeEnergyRequest(parent=T, start_time=at(5), end_time=at(11))
    assert len((await light.as_(LEDGER).ComputeEnergy(before)).energies.names) == 4
    after = pb.ComputeEnergyRequest(parent=T, start_time=at(12.5), end_time=stamp(light.clock.now()))
    await light.to(13)
    after = pb.ComputeEnergyRequest(parent=T, start_time=at(12.5), end_time=at(13))
    assert len((await light.as_(LEDGER).ComputeEnergy(after)).energies.names) == 3


async def test_time_that_nobody_watched_is_not_known(light: Lighting):
    await light.street()
    await light.known()
    await light.to(6)
    # The field is let go of: from now on this process only computes.
    historian = light.parts.historian
    assert historian is not None
    await historian.drain()
    watched = await light.parts.database.read(watched_until)
    assert watched is not None
    light.parts.control._holds = lambda: False  # what a lost lease does
    await light.clock.advance(timedelta(hours=2))
    answer = await light.as_(LEDGER).ComputeEnergy(
        pb.ComputeEnergyRequest(parent=T, start_time=at(5.5), end_time=at(8))
    )
    expected = round((watched / 1000 - NOON.timestamp()) - 5.5 * 3600)
    assert all(abs(known - expected) <= 300 for known in answer.energies.known_seconds)
