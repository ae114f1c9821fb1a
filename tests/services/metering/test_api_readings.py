"""Readings over gRPC: stored once, refused by index, given out in pages, streams and as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.errors import InvalidInput, NotFound
from lichtbuch.metering.v1 import metering_pb2 as pb
from lichtbuch.type.v1 import types_pb2
from servicekit.database import Database
from services.metering.slot import SLOT_MS
from services.metering.store import figures
from tests.services.metering.making import NOON_MS
from tests.services.metering.running import PARENT, Metering, columns, name_of, running_metering, stamp
from tests.support.issuer import Issuer
from tests.support.running import OPERATOR, VIEWER


@pytest.fixture
async def metering(issuer: Issuer, database: Database) -> AsyncIterator[Metering]:
    async with running_metering(issuer, database) as running:
        yield running


sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def period(first: int, last: int) -> dict[str, Any]:
    return {"parent": PARENT, "start_time": stamp(first), "end_time": stamp(last)}


async def test_readings_are_taken_once_and_again_changes_nothing(metering: Metering) -> None:
    await metering.meter()
    first = await metering.ingest(columns([0, 10, 20]))
    again = await metering.ingest(columns([0, 10, 20, 30]))
    assert (first.stored, first.unchanged, first.refused) == (3, 0, 0)
    assert (again.stored, again.unchanged, again.refused) == (1, 3, 0)
    meter = await metering.as_().GetMeter(pb.GetMeterRequest(name=name_of()))
    assert (meter.latest_value, meter.latest_slot) == (30, stamp(-5))


async def test_each_refusal_names_its_index_and_reason(metering: Metering) -> None:
    await metering.meter(rollover=1_000)
    await metering.ingest(columns([100]))
    given = pb.ReadingColumns(
        meters=[name_of(), name_of("nobody")],
        meter_indexes=[0, 1, 2, 0, 0, 0, 0, 0, 0],
        slots_unix_ms=[
            NOON_MS - 8 * SLOT_MS,
            NOON_MS,
            NOON_MS,
            NOON_MS + SLOT_MS,
            NOON_MS - 7 * SLOT_MS,
            NOON_MS - 6 * SLOT_MS + 1,
            NOON_MS - 5 * SLOT_MS,
            NOON_MS - 5 * SLOT_MS,
            NOON_MS - 4 * SLOT_MS,
        ],
        values=[101, 1, 1, 1, 1_000, 1, 200, 201, -1],
    )
    answer = await metering.ingest(given)
    assert (answer.stored, answer.unchanged, answer.refused) == (1, 0, 8)
    assert [refusal.split(":")[0] for refusal in answer.refusals] == ["0", "1", "2", "3", "4", "5", "7", "8"]
    for refusal, words in zip(
        answer.refusals,
        ("stored", "does not exist", "not in the list", "future", "digits", "quarter hour", "comes before", "negative"),
        strict=True,
    ):
        assert words in refusal


@sqlite_only
async def test_a_dry_run_checks_everything_and_stores_nothing(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns([5]))
    tried = await metering.ingest(columns([6, 7]), dry_run=True)
    assert (tried.stored, tried.refused) == (1, 1)
    listed = await metering.as_().ListReadings(pb.ListReadingsRequest(**period(-8, 0)))
    assert list(listed.readings.values) == [5]


@sqlite_only
async def test_columns_of_different_lengths_are_refused_whole(metering: Metering) -> None:
    await metering.meter()
    for broken in (
        columns([1, 2], statuses=[pb.READING_STATUS_HAND]),
        columns([1, 2], observed_at_unix_ms=[1]),
        pb.ReadingColumns(meters=[name_of()], meter_indexes=[0], slots_unix_ms=[0, 1], values=[1, 2]),
    ):
        with pytest.raises(InvalidInput, match="readings"):
            await metering.ingest(broken)


@sqlite_only
async def test_doubt_hand_readings_and_times_are_kept_as_brought(metering: Metering) -> None:
    await metering.meter(connected_load_w=1_000)
    given = columns(
        [0, 100, 999_999, 300],
        statuses=[pb.READING_STATUS_HAND, 0, 0, 0],
        observed_at_unix_ms=[NOON_MS - 8 * SLOT_MS + 420_000, 0, 0, 0],
        time_sources=[types_pb2.TIME_SOURCE_DEVICE, 0, 0, 0],
    )
    await metering.ingest(given)
    listed = (await metering.as_(VIEWER).ListReadings(pb.ListReadingsRequest(**period(-8, 0)))).readings
    assert list(listed.statuses) == [4, 1, 3, 1]
    assert listed.observed_at_unix_ms[0] == NOON_MS - 8 * SLOT_MS + 420_000
    assert list(listed.time_sources) == [1, 2, 2, 2]


@sqlite_only
async def test_a_late_reading_above_the_next_one_is_in_doubt(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns([100], first=-8))
    await metering.ingest(columns([200], first=-4))
    await metering.ingest(columns([150, 250], first=-7))
    listed = (await metering.as_().ListReadings(pb.ListReadingsRequest(**period(-8, 0)))).readings
    assert list(zip(listed.values, listed.statuses, strict=True)) == [(100, 1), (150, 1), (250, 3), (200, 1)]


async def test_pages_give_every_reading_once_in_order_of_slot_and_meter(metering: Metering) -> None:
    for meter in ("M-1", "M-2", "M-3"):
        await metering.meter(meter)
        await metering.ingest(columns(list(range(40)), first=-40, meter_id=meter))
    seen: list[tuple[int, str]] = []
    token = ""
    while True:
        request = pb.ListReadingsRequest(**period(-40, 0), page_size=17, page_token=token)
        answer = await metering.as_(VIEWER).ListReadings(request)
        found = answer.readings
        seen += [
            (slot, found.meters[index]) for slot, index in zip(found.slots_unix_ms, found.meter_indexes, strict=True)
        ]
        token = answer.next_page_token
        if not token:
            break
    assert len(seen) == len(set(seen)) == 120
    assert seen == sorted(seen)
    with pytest.raises(InvalidInput, match="page_token"):
        await metering.as_().ListReadings(pb.ListReadingsRequest(**period(-40, 0), page_token="nonsense"))


async def test_an_export_streams_all_of_the_meters_asked_for(metering: Metering) -> None:
    for meter in ("M-1", "M-2"):
        await metering.meter(meter)
        await metering.ingest(columns(list(range(500)), first=-500, meter_id=meter))
    request = pb.ExportReadingsRequest(**period(-500, 0), meters=[name_of("M-2")])
    values = [value async for piece in metering.as_(VIEWER).ExportReadings(request) for value in piece.readings.values]
    assert values == list(range(500))
    with pytest.raises(NotFound):
        async for _ in metering.as_().ExportReadings(pb.ExportReadingsRequest(**period(-5, 0), meters=[name_of("x")])):
            pass


async def test_who_watches_gets_what_is_stored_and_resumes_where_it_was(metering: Metering) -> None:
    await metering.meter("M-1")
    await metering.meter("M-2")
    await metering.ingest(columns([1]))
    stub = metering.as_(VIEWER)
    stream = stub.WatchReadings(pb.WatchReadingsRequest(parent=PARENT, meters=[name_of("M-1")]))
    opening = await anext(aiter(stream))
    assert len(opening.readings.values) == 0
    await metering.ingest(columns([2], first=-7))
    await metering.ingest(columns([99], first=-7, meter_id="M-2"))
    await metering.ingest(columns([3], first=-6))
    first = await anext(aiter(stream))
    assert list(first.readings.values) == [2]
    stream.cancel()
    resumed = stub.WatchReadings(
        pb.WatchReadingsRequest(parent=PARENT, meters=[name_of("M-1")], resume_token=first.resume_token)
    )
    iterator = aiter(resumed)
    await anext(iterator)
    second = await anext(iterator)
    assert list(second.readings.values) == [3]
    resumed.cancel()


@sqlite_only
async def test_a_slow_watcher_misses_nothing_and_a_wrong_token_is_refused(metering: Metering) -> None:
    await metering.meter()
    stream = metering.as_(VIEWER).WatchReadings(pb.WatchReadingsRequest(parent=PARENT))
    iterator = aiter(stream)
    await anext(iterator)
    for number in range(30):
        await metering.ingest(columns([number], first=number - 40))
        await asyncio.sleep(0)
    seen: list[int] = []
    async for message in iterator:
        seen += message.readings.values
        if len(seen) == 30:
            break
    stream.cancel()
    assert seen == list(range(30))
    with pytest.raises(InvalidInput, match="resume_token"):
        async for _ in metering.as_().WatchReadings(pb.WatchReadingsRequest(parent=PARENT, resume_token="x")):
            pass


async def test_consumption_by_hour_has_coverage_estimates_and_an_evidence_that_repeats(metering: Metering) -> None:
    await metering.meter("M-1")
    await metering.meter("M-2")
    await metering.ingest(columns([0, 10, 20, 30, 40], first=-8))
    await metering.ingest(columns([80], first=0))
    request = pb.QueryConsumptionRequest(**period(-8, 0), meters=[name_of("M-1"), name_of("M-2")], step=pb.STEP_HOUR)
    answer = await metering.as_(VIEWER).QueryConsumption(request)
    assert list(answer.meter_indexes) == [0, 0, 1, 1]
    assert list(answer.amounts) == [40, 40, 0, 0]
    assert list(answer.estimated_amounts) == [0, 40, 0, 0]
    assert list(answer.coverages_permille) == [1000, 0, 0, 0]
    assert (await metering.as_(OPERATOR).QueryConsumption(request)).evidence_hash == answer.evidence_hash
    with pytest.raises(NotFound):
        request.meters.append(name_of("nobody"))
        await metering.as_().QueryConsumption(request)


@sqlite_only
async def test_too_many_steps_at_once_are_refused(metering: Metering) -> None:
    await metering.meter()
    request = pb.QueryConsumptionRequest(**period(-96 * 365 * 120, 0), meters=[name_of()], step=pb.STEP_QUARTER_HOUR)
    with pytest.raises(InvalidInput, match="end_time"):
        await metering.as_().QueryConsumption(request)


@sqlite_only
async def test_an_evidence_of_more_than_memory_holds_is_refused_and_the_figures_alone_are_not(
    metering: Metering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MAX_EVIDENCE", 9)
    for meter in ("M-1", "M-2"):
        await metering.meter(meter)
        await metering.ingest(columns([0, 10, 20, 30, 40], first=-8, meter_id=meter))
    both = pb.QueryConsumptionRequest(**period(-8, -4), meters=[name_of("M-1"), name_of("M-2")], step=pb.STEP_TOTAL)
    with pytest.raises(InvalidInput, match="more than 9 readings"):
        await metering.as_(VIEWER).QueryConsumption(both)
    both.without_evidence = True
    assert list((await metering.as_(VIEWER).QueryConsumption(both)).amounts) == [40, 40]
