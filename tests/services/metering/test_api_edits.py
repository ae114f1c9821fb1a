"""Edits and estimates over gRPC: nothing is overwritten, who and why is kept, and what is measured late finds its
place."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.errors import Conflict, FailedPrecondition, InvalidInput, NotPermitted
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.database import Database
from services.metering.slot import SLOT_MS
from services.metering.store import estimates
from tests.services.metering.making import NOON_MS
from tests.services.metering.running import PARENT, Metering, columns, name_of, running_metering, stamp
from tests.support.issuer import Issuer
from tests.support.running import ADMIN, OPERATOR, VIEWER

EDITED, SUBSTITUTED, GAP = (
    pb.READING_STATUS_EDITED,
    pb.READING_STATUS_SUBSTITUTED,
    pb.READING_STATUS_GAP,
)
MEASURED, DOUBTFUL, ESTIMATED = (
    pb.READING_STATUS_MEASURED,
    pb.READING_STATUS_DOUBTFUL,
    pb.READING_STATUS_ESTIMATED,
)


@pytest.fixture
async def metering(issuer: Issuer, database: Database) -> AsyncIterator[Metering]:
    async with running_metering(issuer, database) as running:
        yield running


sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def at(slot: int) -> int:
    return NOON_MS + slot * SLOT_MS


async def edit(metering: Metering, slots: list[int], values: list[int], **more: Any) -> pb.EditReadingsResponse:
    fields: dict[str, Any] = {"reason": "read off the display", **more}
    request = pb.EditReadingsRequest(name=name_of(), slots_unix_ms=[at(one) for one in slots], values=values, **fields)
    answer: pb.EditReadingsResponse = await metering.as_().EditReadings(request)
    return answer


async def estimate(metering: Metering, first: int, last: int, **more: Any) -> pb.EstimateReadingsResponse:
    fields: dict[str, Any] = {
        "name": name_of(),
        "start_time": stamp(first),
        "end_time": stamp(last),
        "method": pb.ESTIMATION_METHOD_LINEAR,
        "reason": "the modem was out",
        **more,
    }
    answer: pb.EstimateReadingsResponse = await metering.as_().EstimateReadings(pb.EstimateReadingsRequest(**fields))
    return answer


async def listed(metering: Metering, **more: Any) -> pb.ReadingColumns:
    request = pb.ListReadingsRequest(parent=PARENT, start_time=stamp(-800), end_time=stamp(1), **more)
    answer: pb.ListReadingsResponse = await metering.as_(VIEWER).ListReadings(request)
    return answer.readings


async def total(metering: Metering, first: int, last: int) -> tuple[int, int, int]:
    request = pb.QueryConsumptionRequest(
        parent=PARENT, meters=[name_of()], start_time=stamp(first), end_time=stamp(last), step=pb.STEP_TOTAL
    )
    answer = await metering.as_(VIEWER).QueryConsumption(request)
    return answer.amounts[0], answer.estimated_amounts[0], answer.coverages_permille[0]


async def test_an_edit_is_the_next_revision_with_who_and_why_and_the_first_one_stays(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns([0, 10, 999, 30]))
    answer = await edit(metering, [-6], [20])
    assert (answer.stored, list(answer.readings.values), list(answer.readings.revisions)) == (1, [20], [1])
    now = await listed(metering)
    assert list(zip(now.values, now.statuses, now.revisions, strict=True)) == [
        (0, MEASURED, 0),
        (10, MEASURED, 0),
        (20, EDITED, 1),
        (30, MEASURED, 0),
    ]
    whole = await listed(metering, all_revisions=True)
    assert list(whole.values) == [0, 10, 999, 20, 30]
    batches = [whole.batches[index] for index in whole.batch_indexes]
    assert [(one.source, one.actor, one.reason) for one in batches[2:4]] == [
        ("import:test.csv", ADMIN, ""),
        ("edit", ADMIN, "read off the display"),
    ]
    assert await total(metering, -8, -5) == (30, 0, 1000)


async def test_an_edit_without_a_reason_or_by_somebody_who_may_not_is_refused(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns([0, 10]))
    for reason in ("", "   "):
        with pytest.raises(InvalidInput, match="reason"):
            await edit(metering, [-8], [1], reason=reason)
    with pytest.raises(NotPermitted):
        request = pb.EditReadingsRequest(name=name_of(), slots_unix_ms=[at(-8)], values=[1], reason="x")
        await metering.as_(VIEWER).EditReadings(request)


@sqlite_only
async def test_an_edit_is_refused_whole_and_names_every_slot_that_is_wrong(metering: Metering) -> None:
    await metering.meter(rollover=1_000)
    await metering.ingest(columns([0, 10]))
    request = pb.EditReadingsRequest(
        name=name_of(),
        slots_unix_ms=[at(-8), at(5), at(-7) + 1_000, at(-6), at(-6), at(-5)],
        values=[5, 5, 5, 1_000, 6, -1],
        reason="bill",
    )
    with pytest.raises(InvalidInput) as caught:
        await metering.as_().EditReadings(request)
    assert [(one.field, one.reason.split(" ")[-1]) for one in caught.value.violations] == [
        ("slots_unix_ms[1]", "future"),
        ("slots_unix_ms[2]", "minute"),
        ("slots_unix_ms[3]", "register"),
        ("slots_unix_ms[4]", "twice"),
        ("slots_unix_ms[5]", "negative"),
    ]
    assert list((await listed(metering)).revisions) == [0, 0]
    with pytest.raises(InvalidInput, match="status"):
        await edit(metering, [-8], [1], status=MEASURED)
    with pytest.raises(InvalidInput, match="no reading is stored"):
        await edit(metering, [-3], [], status=GAP)
    with pytest.raises(InvalidInput, match="values"):
        await edit(metering, [-3], [])


@sqlite_only
async def test_an_edit_belongs_to_the_register_that_lived_at_its_slot(metering: Metering) -> None:
    exchanged = await metering.meter("M-2")
    await metering.as_().ExchangeMeter(
        pb.ExchangeMeterRequest(name=exchanged.name, exchanged_at=stamp(-4), final_reading=50, first_reading=0)
    )
    request = pb.EditReadingsRequest(
        name=exchanged.name, slots_unix_ms=[at(-5), at(-3)], values=[40, 3], reason="two registers"
    )
    assert (await metering.as_().EditReadings(request)).stored == 2
    meter = await metering.as_().GetMeter(pb.GetMeterRequest(name=exchanged.name))
    assert (meter.latest_value, meter.lives[0].final_reading) == (3, 50)


async def test_who_edits_what_has_changed_meanwhile_is_told(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns([0, 10]))
    await edit(metering, [-8, -6], [1, 12], seen_revisions=[0, -1])
    with pytest.raises(Conflict, match=r"stands revision 1, you have seen revision 0"):
        await edit(metering, [-8], [2], seen_revisions=[0])
    with pytest.raises(Conflict, match="stands revision 0, you have seen none"):
        await edit(metering, [-6], [2], seen_revisions=[-1])


@sqlite_only
async def test_what_says_the_same_already_is_no_new_revision_and_a_request_id_answers_once(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns([0, 10]))
    assert (await edit(metering, [-8], [0])).stored == 0
    first = await edit(metering, [-8], [5], request_id="one")
    assert (await edit(metering, [-8], [5], request_id="one")) == first
    assert (await edit(metering, [-8], [5])).stored == 0
    assert (await edit(metering, [-8], [5], status=SUBSTITUTED)).stored == 1
    assert list((await listed(metering, all_revisions=True)).values) == [0, 5, 5, 10]


async def test_a_rejected_value_is_a_gap_and_does_not_come_back_with_its_file(metering: Metering) -> None:
    await metering.meter()
    brought = columns([0, 10, 900, 30])
    await metering.ingest(brought)
    await edit(metering, [-6], [], status=GAP, reason="nonsense")
    again = await metering.ingest(brought)
    assert (again.stored, again.unchanged, again.refused) == (0, 4, 0)
    assert await total(metering, -8, -5) == (30, 20, 333)
    late = await metering.ingest(columns([21], first=-6))
    assert (late.stored, late.refused) == (1, 0)
    assert await total(metering, -8, -5) == (30, 0, 1000)


async def test_a_late_measured_value_takes_the_place_of_an_estimate_and_never_that_of_an_edit(
    metering: Metering,
) -> None:
    await metering.meter()
    await metering.ingest(columns([0, 10]))
    await metering.ingest(columns([60, 70], first=-3))
    await estimate(metering, -8, -2)
    await edit(metering, [-5], [31])
    late = await metering.ingest(columns([19, 32, 44], first=-6))
    assert (late.stored, late.refused) == (2, 1)
    assert late.refusals[0].startswith("1: ")
    assert "put there by a person" in late.refusals[0]
    now = await listed(metering)
    assert list(zip(now.values, now.statuses, strict=True)) == [
        (0, MEASURED),
        (10, MEASURED),
        (19, MEASURED),
        (31, EDITED),
        (44, MEASURED),
        (60, MEASURED),
        (70, MEASURED),
    ]
    again = await metering.ingest(columns([19, 31, 44], first=-6))
    assert (again.stored, again.unchanged, again.refused) == (0, 3, 0)


async def test_an_estimate_that_was_right_becomes_measured_with_the_measured_value(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns([0, 10]))
    await metering.ingest(columns([30], first=-5))
    await estimate(metering, -8, -4)
    assert (await metering.ingest(columns([20], first=-6))).stored == 1
    assert list((await listed(metering)).statuses) == [MEASURED] * 4


async def test_estimates_fill_a_gap_count_as_estimated_and_keep_the_total(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns([0, 10]))
    await metering.ingest(columns([61, 70], first=-3))
    before = await total(metering, -8, -2)
    tried = await estimate(metering, -8, 0, dry_run=True, reason="")
    assert list(tried.readings.values) == [22, 35, 48]
    assert list((await listed(metering)).values) == [0, 10, 61, 70]
    made = await estimate(metering, -8, 0)
    assert made.readings == tried.readings
    assert len(made.unfilled) == 1
    assert "there is no reading after it" in made.unfilled[0]
    assert await total(metering, -8, -2) == before == (70, 51, 333)
    assert list((await listed(metering)).statuses) == [1, 1, ESTIMATED, ESTIMATED, ESTIMATED, 1, 1]
    whole = await listed(metering, all_revisions=True)
    assert {(one.source, one.reason) for one in whole.batches} == {
        ("import:test.csv", ""),
        ("estimate", "the modem was out"),
    }
    assert len((await estimate(metering, -8, 0)).readings.values) == 0


async def test_readings_in_doubt_are_estimated_over_and_stay_in_the_list_of_revisions(metering: Metering) -> None:
    await metering.meter(connected_load_w=1_000)
    await metering.ingest(columns([0, 10, 999_999, 30]))
    made = await estimate(metering, -8, -4)
    assert list(zip(made.readings.values, made.readings.revisions, strict=True)) == [(20, 1)]
    assert list((await listed(metering, all_revisions=True)).statuses) == [1, 1, DOUBTFUL, ESTIMATED, 1]
    assert list((await metering.ingest(columns([0, 10, 999_999, 30]))).refusals) == []


@sqlite_only
async def test_the_profile_of_weekdays_shapes_what_the_counter_knows(metering: Metering) -> None:
    await metering.meter()
    slots = 96 * 7
    amounts = [5 if slot % 96 < 48 else 1 for slot in range(3 * slots)]
    counters = [sum(amounts[:slot]) for slot in range(3 * slots)]
    first = -3 * slots
    await metering.ingest(columns(counters[: slots + 40], first=first))
    await metering.ingest(columns(counters[slots + 60 :], first=first + slots + 60))
    made = await estimate(metering, first, 0, method=pb.ESTIMATION_METHOD_WEEKDAY_PROFILE)
    assert list(made.readings.values) == counters[slots + 40 : slots + 60]


@sqlite_only
async def test_what_cannot_be_estimated_says_why(metering: Metering) -> None:
    await metering.meter(reading_cycle=pb.READING_CYCLE_YEAR)
    with pytest.raises(FailedPrecondition, match="once a year"):
        await estimate(metering, -8, 0)
    with pytest.raises(InvalidInput, match="reason"):
        await estimate(metering, -8, 0, reason="")
    with pytest.raises(InvalidInput, match="end_time"):
        await estimate(metering, 0, -8)


@sqlite_only
async def test_the_newest_reading_of_a_meter_follows_its_edits(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns([0, 10, 999]))
    await edit(metering, [-6], [], status=GAP)
    meter = await metering.as_().GetMeter(pb.GetMeterRequest(name=name_of()))
    assert (meter.latest_value, meter.latest_slot) == (10, stamp(-7))
    await edit(metering, [-6], [21])
    meter = await metering.as_().GetMeter(pb.GetMeterRequest(name=name_of()))
    assert (meter.latest_value, meter.latest_slot) == (21, stamp(-6))


@sqlite_only
async def test_a_reading_after_a_rejected_one_is_judged_by_the_one_before_it(metering: Metering) -> None:
    await metering.meter(connected_load_w=1_000)
    await metering.ingest(columns([0, 10, 20]))
    await edit(metering, [-6], [], status=GAP)
    await metering.ingest(columns([15], first=-5))
    assert list((await listed(metering)).statuses) == [MEASURED, MEASURED, GAP, MEASURED]


@sqlite_only
async def test_pages_of_revisions_keep_those_of_one_slot_together(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns(list(range(10)), first=-12))
    for value in (100, 101, 102):
        await edit(metering, list(range(-12, -2)), [value] * 10)
    seen: list[tuple[int, int]] = []
    token = ""
    while True:
        request = pb.ListReadingsRequest(
            parent=PARENT, start_time=stamp(-12), end_time=stamp(0), page_size=7, page_token=token, all_revisions=True
        )
        answer = await metering.as_().ListReadings(request)
        seen += zip(answer.readings.slots_unix_ms, answer.readings.revisions, strict=True)
        token = answer.next_page_token
        if not token:
            break
    assert seen == [(at(slot), revision) for slot in range(-12, -2) for revision in range(4)]


async def test_what_was_doubted_because_of_an_edited_reading_is_measured_after_all(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns([0, 10, 9_000, 9_001, 40, 50]))
    assert list((await listed(metering)).statuses) == [MEASURED] * 4 + [DOUBTFUL] * 2
    answer = await edit(metering, [-6, -5], [20, 30])
    assert (answer.stored, list(answer.readings.values)) == (2, [20, 30])
    assert list((await listed(metering)).statuses) == [MEASURED, MEASURED, EDITED, EDITED, MEASURED, MEASURED]
    whole = await listed(metering, all_revisions=True)
    assert [one.source for one in whole.batches] == ["import:test.csv", "edit", "revalidation"]
    assert "read off the display" in whole.batches[2].reason
    assert await total(metering, -8, -3) == (50, 0, 1000)


@sqlite_only
async def test_doubt_that_an_edit_does_not_explain_stays(metering: Metering) -> None:
    await metering.meter(connected_load_w=1_000)
    await metering.ingest(columns([5_000, 5_010, 7, 8, 5_040]))
    await edit(metering, [-7], [5_011])
    assert list((await listed(metering)).statuses) == [MEASURED, EDITED, DOUBTFUL, DOUBTFUL, MEASURED]


async def test_estimated_amounts_of_intervals_count_as_estimated(metering: Metering) -> None:
    await metering.meter(kind=pb.READING_KIND_INTERVAL, reading_cycle=pb.READING_CYCLE_QUARTER_HOUR)
    await metering.ingest(columns([10, 10, 10], first=-8))
    await metering.ingest(columns([40, 10], first=-3))
    assert await total(metering, -9, -2) == (80, 0, 714)
    made = await estimate(metering, -9, -2)
    assert list(made.readings.values) == [20, 30]
    assert await total(metering, -9, -2) == (130, 50, 714)
    await edit(metering, [-5], [25], status=SUBSTITUTED)
    assert await total(metering, -9, -2) == (135, 30, 857)


@sqlite_only
async def test_a_span_without_end_is_refused_and_an_empty_one_fills_nothing(metering: Metering) -> None:
    await metering.meter(reading_cycle=pb.READING_CYCLE_QUARTER_HOUR)
    with pytest.raises(InvalidInput, match="slots at once"):
        await estimate(metering, -96 * 366 * 12, 0)
    assert len((await estimate(metering, 5, 9)).readings.values) == 0


@sqlite_only
@pytest.mark.parametrize("status", [EDITED, SUBSTITUTED])
async def test_who_may_not_edit_brings_no_edits_in_a_file_either(metering: Metering, status: Any) -> None:
    await metering.meter()
    request = pb.IngestReadingsRequest(parent=PARENT, readings=columns([7], statuses=[status]), source="import:f.csv")
    with pytest.raises(NotPermitted, match=r"metering\.readings\.edit"):
        await metering.as_(OPERATOR).IngestReadings(request)
    assert (await metering.as_(ADMIN).IngestReadings(request)).stored == 1
    request.readings.statuses[:] = [pb.READING_STATUS_HAND]
    assert (await metering.as_(OPERATOR).IngestReadings(request)).unchanged == 1


async def test_an_exchange_waits_for_the_estimates_that_are_being_stored(
    metering: Metering, monkeypatch: pytest.MonkeyPatch
) -> None:
    await metering.meter(reading_cycle=pb.READING_CYCLE_QUARTER_HOUR)
    await metering.ingest(columns([0, 10], first=-8))
    await metering.ingest(columns([60], first=-2))
    looking, exchanged, plainly, calls = threading.Event(), threading.Event(), estimates.made, []

    def slowly(*arguments: Any) -> estimates.Estimated:
        found = plainly(*arguments)
        calls.append(found)
        if len(calls) == 2:  # the first looks only for the months
            looking.set()
            exchanged.wait(1.0)
        return found

    monkeypatch.setattr(estimates, "made", slowly)
    filling = asyncio.create_task(estimate(metering, -8, -1))
    await asyncio.to_thread(looking.wait, 60)
    request = pb.ExchangeMeterRequest(name=name_of(), exchanged_at=stamp(-5), final_reading=30, reason="found late")
    await metering.as_().ExchangeMeter(request)
    exchanged.set()
    assert len((await filling).readings.values) == 4
    # Whatever has become of them: they are with the register that lived then, and not lost with the old one.
    assert list((await listed(metering)).slots_unix_ms) == [at(slot) for slot in range(-8, -1)]
