"""Watching some luminaires only, over gRPC: by cabinet, feeder, street and name, and those with faults."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from domain.errors import InvalidInput
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from lichtbuch.type.v1 import types_pb2
from services.lighting import watch
from services.lighting.columns import Flags
from services.lighting.faults import Fault
from services.lighting.state import TownState
from tests.services.lighting.running import FITTER, Lighting, T, override_message
from tests.services.lighting.test_api_states import message, watching

LAMP_FAILURE = int(Fault.LAMP_FAILURE)


def lamp(number: int, at: int) -> str:
    """Name of a lamp of a street."""
    return f"{T}/luminaires/L-{number}-{at}"


async def two_streets(light: Lighting) -> None:
    """C-1 and C-2, each with two lamps on a feeder, the first in the Neumarkt, the second in Am Kurpark; at night."""
    for number in (1, 2):
        await light.street(number, lamps=2)
    await light.import_lines(
        luminaire_ids=["L-1-0", "L-2-0", "L-1-1", "L-2-1"], streets=["Neumarkt"] * 2 + ["Am Kurpark"] * 2
    )
    await light.known()
    await light.to(6)
    await light.passes(3)


async def override(light: Lighting, level: int, *names: str) -> None:
    """Another level for some lamps, and a pass."""
    wanted = override_message(level, None, 9, *names)
    await light.operator.CreateOverride(pb.CreateOverrideRequest(parent=T, override=wanted))
    await light.passes(1)


async def lamp_fails(light: Lighting, number: int, at: int, *, fails: bool) -> None:
    """The light source of a lamp fails, or is whole again, and lighting has read so."""
    light.town.lamp(number, at).lamp_failure = fails
    await light.passes(2)


async def next_fault(queue: asyncio.Queue[pb.WatchLuminairesResponse], name: str) -> int:
    """What is told of a lamp, and of it alone, up to when that is certain: a level that another one was expected for is
    told as uncertain first, to who reads fast enough to be told of the pass in between."""
    while True:
        told = await message(queue)
        assert (told.snapshot, list(told.states.names)) == (False, [name])
        if list(told.states.qualities) == [types_pb2.QUALITY_GOOD]:
            return told.states.faults[0]


@asynccontextmanager
async def watched_by(light: Lighting, subject: str, **request: Any) -> AsyncIterator[Any]:
    """A stream of somebody else than the viewer."""
    stream = light.as_(subject).WatchLuminaires(pb.WatchLuminairesRequest(parent=T, **request))
    try:
        yield stream
    finally:
        stream.cancel()


FILTERS = [
    ({"cabinets": [f"{T}/cabinets/C-2"]}, {lamp(2, 0), lamp(2, 1)}),
    ({"feeders": [f"{T}/feeders/F-1"]}, {lamp(1, 0), lamp(1, 1)}),
    ({"streets": ["  neumarkt "]}, {lamp(1, 0), lamp(2, 0)}),
    ({"luminaires": [lamp(2, 1)]}, {lamp(2, 1)}),
    ({"streets": ["Neumarkt", "Am Kurpark"], "feeders": [f"{T}/feeders/F-2"]}, {lamp(2, 0), lamp(2, 1)}),
    ({"streets": ["Neumarkt"], "cabinets": [f"{T}/cabinets/C-1"], "groups": [f"{T}/groups/default"]}, {lamp(1, 0)}),
    ({"streets": ["Nowhere"]}, set()),
]


async def test_a_watch_and_a_query_with_the_same_filters_are_about_the_same_lamps(light: Lighting):
    await two_streets(light)
    every = {lamp(number, at) for number in (1, 2) for at in (0, 1)}
    for filters, expected in FILTERS:
        asked: dict[str, Any] = filters
        assert set((await light.states(**asked)).names) == expected
        async with watching(light, **asked) as queue:
            first = await message(queue)
            assert (first.snapshot, set(first.states.names)) == (True, expected)
    async with watching(light, streets=["Neumarkt"], feeders=[f"{T}/feeders/F-2"]) as queue:
        await message(queue)
        await override(light, 700, *sorted(every))
        changed = await message(queue)
        assert (changed.snapshot, list(changed.states.names)) == (False, [lamp(2, 0)])


@pytest.mark.parametrize("kind", ["luminaires", "groups", "cabinets", "feeders"])
async def test_a_filter_that_names_nothing_is_refused_before_anything_is_sent(light: Lighting, kind: str):
    asked: dict[str, Any] = {kind: [f"{T}/{kind}/gone"]}
    with pytest.raises(InvalidInput, match=rf"{kind}\[0\].*does not exist"):
        await light.states(**asked)
    async with watched_by(light, "viewer", **asked) as stream:
        with pytest.raises(InvalidInput, match=rf"{kind}\[0\].*does not exist"):
            await anext(aiter(stream))


async def test_a_filter_reaches_no_further_than_the_caller_does(light: Lighting):
    await two_streets(light)
    async with watched_by(light, FITTER, streets=["Neumarkt"]) as stream:
        assert list((await anext(aiter(stream))).states.names) == [lamp(1, 0)]
    async with watched_by(light, FITTER, cabinets=[f"{T}/cabinets/C-2"]) as stream:
        assert not (await anext(aiter(stream))).states.names


async def test_who_watches_faults_is_told_once_when_one_is_over_and_never_of_sound_lamps(light: Lighting):
    await two_streets(light)
    await lamp_fails(light, 1, 0, fails=True)
    async with watching(light, faulty_only=True) as queue:
        first = await message(queue)
        assert (first.snapshot, list(first.states.names)) == (True, [lamp(1, 0)])
        assert list((await light.states(faulty_only=True)).names) == [lamp(1, 0)]
        await override(light, 700, lamp(2, 1))  # sound: not in the next message
        await lamp_fails(light, 2, 0, fails=True)
        assert await next_fault(queue, lamp(2, 0)) == LAMP_FAILURE
        await lamp_fails(light, 1, 0, fails=False)
        assert await next_fault(queue, lamp(1, 0)) == 0
        assert list((await light.states(faulty_only=True)).names) == [lamp(2, 0)]
        await override(light, 600, lamp(1, 0))  # sound again: not in the next message
        await lamp_fails(light, 2, 1, fails=True)
        assert await next_fault(queue, lamp(2, 1)) == LAMP_FAILURE
        await lamp_fails(light, 1, 0, fails=True)
        assert await next_fault(queue, lamp(1, 0)) == LAMP_FAILURE


async def test_a_fault_that_is_over_while_nobody_reads_is_told_when_the_stream_is_resumed(light: Lighting):
    await two_streets(light)
    await lamp_fails(light, 1, 0, fails=True)
    await lamp_fails(light, 2, 0, fails=True)
    asked: dict[str, Any] = {"faulty_only": True, "feeders": [f"{T}/feeders/F-1"]}
    async with watching(light, **asked) as queue:
        first = await message(queue)
        assert list(first.states.names) == [lamp(1, 0)]
    await lamp_fails(light, 1, 0, fails=False)
    await lamp_fails(light, 2, 0, fails=False)
    async with watching(light, **asked, resume_token=first.resume_token) as queue:
        resumed = await message(queue)
        assert (resumed.snapshot, list(resumed.states.names)) == (False, [lamp(1, 0)])
        assert list(resumed.states.faults) == [0]
    async with watching(light, faulty_only=True, resume_token=first.resume_token) as queue:
        assert (await message(queue)).snapshot  # a token of another question


async def test_a_picture_of_faults_with_nothing_in_it_is_one_empty_message(light: Lighting):
    await two_streets(light)
    async with watching(light, faulty_only=True) as queue:
        first = await message(queue)
        assert (first.snapshot, list(first.states.names), bool(first.resume_token)) == (True, [], True)


async def test_a_lamp_that_comes_into_a_street_is_sent_and_one_that_leaves_it_begins_the_picture_anew(light: Lighting):
    await two_streets(light)
    async with watching(light, streets=["Neumarkt"]) as queue:
        first = await message(queue)
        await light.import_lines(luminaire_ids=["L-1-1"], streets=["Neumarkt"])
        await light.known()
        came = await message(queue)
        assert (came.snapshot, list(came.states.names)) == (False, [lamp(1, 1)])
        await light.import_lines(luminaire_ids=["L-1-0"], streets=["Am Kurpark"])
        await light.known()
        left = await message(queue)
        assert (left.snapshot, set(left.states.names)) == (True, {lamp(2, 0), lamp(1, 1)})
        await light.planner.DeleteLuminaire(pb.DeleteLuminaireRequest(name=lamp(2, 0)))
        await light.known()
        deleted = await message(queue)
        assert (deleted.snapshot, set(deleted.states.names)) == (True, {lamp(1, 1)})
    async with watching(light, streets=["Neumarkt"], resume_token=first.resume_token) as queue:
        resumed = await message(queue)
        assert (resumed.snapshot, set(resumed.states.names)) == (True, {lamp(1, 1)})


async def test_an_inventory_that_moves_nobody_elsewhere_does_not_begin_a_picture_anew(light: Lighting):
    await two_streets(light)
    async with watching(light, streets=["Neumarkt"]) as queue:
        token = (await message(queue)).resume_token
        cabinet = inv.Cabinet(name=f"{T}/cabinets/C-1", display_name="Am Neumarkt")
        await light.planner.UpdateCabinet(
            pb.UpdateCabinetRequest(cabinet=cabinet, update_mask=FieldMask(paths=["display_name"]))
        )
        await light.known()
        await override(light, 700, lamp(2, 0))
        changed = await message(queue)
        assert (changed.snapshot, list(changed.states.names)) == (False, [lamp(2, 0)])
    async with watching(light, streets=["Neumarkt"], resume_token=token) as queue:
        assert not (await message(queue)).snapshot


async def test_a_slow_watcher_of_faults_is_told_of_one_that_came_and_went_as_over(light: Lighting):
    await two_streets(light)
    state: TownState = light.parts.state
    news = watch.watch(state, lambda columns: cast(Flags, columns.town == 0), "", faulty_only=True)
    first = await anext(news)
    assert (first.snapshot, first.rows.size) == (True, 0)
    for fails in (True, False):
        await lamp_fails(light, 1, 0, fails=fails)
    await lamp_fails(light, 2, 1, fails=True)
    async with asyncio.timeout(30):
        part = await anext(news)
    told = {part.columns.names[row]: int(state.published.faults[row]) for row in part.rows.tolist()}
    assert told == {lamp(1, 0): 0, lamp(2, 1): LAMP_FAILURE}
    await news.aclose()  # type: ignore[attr-defined]
