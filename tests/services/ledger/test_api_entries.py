"""Entries over gRPC: each period is posted once, from what was really measured, and taken back by a reversal."""

import asyncio
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from domain.errors import (
    FailedPrecondition,
    InvalidInput,
    Unavailable,
)
from lichtbuch.ledger.v1 import ledger_pb2 as pb
from services.ledger.metrics import ENTRIES
from services.ledger.verify import verify_bundle
from tests.services.ledger.helpers import TOWN, day_of, night_of
from tests.services.ledger.ledger import (
    FACTORS,
    NIGHTS,
    RunningLedger,
    building_measure,
    lighting_measure,
    post_request,
)
from tests.services.ledger.neighbours import DOUBTFUL

MONDAY = date(2026, 3, 2)


async def test_a_night_by_its_meters(ledger: RunningLedger) -> None:
    await ledger.metered_town()
    entry = await ledger.post()
    assert entry.name == f"{TOWN}/measures/led/entries/1"
    assert entry.kind == pb.ENTRY_KIND_SAVING
    assert entry.actual_wh == 1_600 + 1_700
    # Six all-night lamps for thirteen hours, two half-night ones for four and a half, 83 W each.
    assert entry.baseline_wh == pytest.approx(6 * 83 * 13.0 + 2 * 83 * 4.45, rel=0.01)
    assert entry.full_level_reference_wh == pytest.approx(8 * 30 * 13.0, rel=0.01)
    assert entry.saved_wh == entry.baseline_wh - entry.actual_wh
    assert (entry.coverage_permille, entry.estimated_permille, entry.provisional) == (1000, 0, False)
    assert sum(float(share.amount_eur) for share in entry.shares) == pytest.approx(float(entry.saved_eur))
    assert [ref.split(":")[0] for ref in entry.evidence] == ["terms", "readings", "consumption", "metering"]
    assert (entry.posted_by, entry.leaf_index, entry.schema_version) == ("admin", 0, 1)
    assert "3300 Wh counted by 2 meters" in entry.computation
    assert await ledger.admin.GetEntry(pb.GetEntryRequest(name=entry.name)) == entry


async def test_a_night_by_its_levels(ledger: RunningLedger) -> None:
    ledger.neighbours.lighting.build()
    await ledger.create(lighting_measure([f"{TOWN}/cabinets/C-1"]))
    entry = await ledger.post()
    assert entry.actual_wh == pytest.approx(4 * 10 * 13.0, rel=0.01)
    assert [ref.split(":")[0] for ref in entry.evidence] == ["terms", "levels", "lighting"]
    assert verify_bundle(await ledger.bundle()).problems == ()


async def test_a_building_day_against_its_stated_use(ledger: RunningLedger) -> None:
    meter = ledger.neighbours.metering.add("hall")
    ledger.neighbours.metering.count(meter, *day_of(MONDAY), 300_000)
    await ledger.create(building_measure(meter), "hall")
    entry = await ledger.post_day(MONDAY, "hall")
    assert (entry.baseline_wh, entry.actual_wh, entry.saved_wh, entry.saved_eur) == (400_000, 300_000, 100_000, "28.75")
    assert entry.provisional
    assert [(share.party, share.amount_eur) for share in entry.shares] == [("Bad Hersfeld", "28.75")]
    assert entry.uncertainty_wh == 40_041  # 10 % of the baseline and 0.6 % of what was counted, in quadrature


async def test_the_same_period_answers_the_entry_that_is_there(any_ledger: RunningLedger) -> None:
    await any_ledger.metered_town()
    first = await any_ledger.post()
    asked = len(any_ledger.neighbours.metering.calls)
    assert await any_ledger.post() == first
    assert len(any_ledger.neighbours.metering.calls) == asked  # nobody was asked again


async def test_posts_of_one_period_at_once_make_one_entry(any_ledger: RunningLedger) -> None:
    await any_ledger.metered_town()
    before = ENTRIES.labels("saving")._value.get()
    answers = await asyncio.gather(*(any_ledger.post(night) for night in NIGHTS * 5))
    assert len({answer.name for answer in answers}) == 3
    assert sorted({answer.leaf_index for answer in answers}) == [0, 1, 2]
    assert ENTRIES.labels("saving")._value.get() == before + 3
    assert (await any_ledger.verify()).valid


async def test_a_period_that_somebody_posts_while_it_is_looked_for_is_answered_with_that_entry(
    any_ledger: RunningLedger,
) -> None:
    await any_ledger.metered_town()
    loop = asyncio.get_running_loop()
    asked: list[bool] = []
    faster: list[pb.Entry] = []

    def looked(*arguments: Any) -> None:
        """After the first question for entries, in the thread that asked it: somebody else posts."""
        if "start_at <" in arguments[2] and not asked:
            asked.append(True)
            faster.append(asyncio.run_coroutine_threadsafe(any_ledger.post(), loop).result(60))

    event.listen(any_ledger.database.engine, "after_cursor_execute", looked)
    assert [await any_ledger.post()] == faster


async def test_a_request_id_answers_the_first_result_whatever_has_changed(any_ledger: RunningLedger) -> None:
    created = await any_ledger.metered_town()
    first = await any_ledger.post(request_id="r-1")
    await any_ledger.reverse(first)
    any_ledger.neighbours.metering.away = True
    assert await any_ledger.post(request_id="r-1") == first
    with pytest.raises(InvalidInput, match="used before"):
        await any_ledger.post(NIGHTS[1], request_id="r-1")
    measure = lighting_measure(created.lighting.cabinets, created.meters)
    again = await any_ledger.create(measure, "led-2", request_id="m-1")
    any_ledger.neighbours.lighting.cabinets.clear()
    assert await any_ledger.create(measure, "led-2", request_id="m-1") == again


async def test_an_overlapping_period_is_refused_with_the_name_of_the_other(any_ledger: RunningLedger) -> None:
    await any_ledger.metered_town()
    await any_ledger.post(NIGHTS[1])
    both = (night_of(NIGHTS[0])[0], night_of(NIGHTS[1])[1])
    with pytest.raises(FailedPrecondition, match=r"overlaps that of .*/measures/led/entries/1"):
        await any_ledger.admin.PostEntry(post_request("led", both))
    assert (await any_ledger.post(NIGHTS[0])).leaf_index == 1


async def test_a_reversal_takes_an_entry_back_and_frees_its_period(any_ledger: RunningLedger) -> None:
    await any_ledger.metered_town()
    first = await any_ledger.post()
    reversal = await any_ledger.reverse(first)
    assert reversal.kind == pb.ENTRY_KIND_REVERSAL
    assert (reversal.saved_wh, reversal.reverses, reversal.reason) == (-first.saved_wh, first.name, "wrong meter")
    shown = await any_ledger.admin.GetEntry(pb.GetEntryRequest(name=first.name))
    assert shown.reversed_by == reversal.name
    with pytest.raises(FailedPrecondition, match="reversed already, by"):
        await any_ledger.reverse(first)
    with pytest.raises(FailedPrecondition, match="is a reversal itself"):
        await any_ledger.reverse(reversal)
    any_ledger.neighbours.metering.count(f"{TOWN}/meters/M-1", *night_of(NIGHTS[0]), 1_650)
    replacement = await any_ledger.post()
    assert replacement.name.endswith("/entries/3")
    assert replacement.actual_wh == first.actual_wh + 50
    listed = await any_ledger.admin.ListEntries(pb.ListEntriesRequest(parent=f"{TOWN}/measures/led"))
    assert [entry.leaf_index for entry in listed.entries] == [0, 1, 2]
    assert verify_bundle(await any_ledger.bundle(), any_ledger.public_key).problems == ()


async def test_a_period_waits_for_its_last_readings_and_not_for_ever(ledger: RunningLedger) -> None:
    await ledger.metered_town()
    last = date(2026, 3, 4)
    start, end = night_of(last)
    for name in ("M-1", "M-2"):
        ledger.neighbours.metering.count(f"{TOWN}/meters/{name}", start, end, 1_700, 9_000)
    ledger.neighbours.metering.lose(f"{TOWN}/meters/M-2", end - timedelta(hours=4), end + timedelta(hours=1))
    await ledger.clock.advance(end - ledger.clock.now())
    with pytest.raises(FailedPrecondition, match=r"1 of 2 meters have no reading .* .*/meters/M-2 among them"):
        await ledger.post(last)
    await ledger.clock.advance(timedelta(hours=24))
    entry = await ledger.post(last)
    assert entry.coverage_permille < 1000
    # The lamps were out by then, so nothing stands in for it but the sentence.
    assert "in which the counter of 1 meter is not known" in entry.computation
    assert verify_bundle(await ledger.bundle()).problems == ()


async def test_a_gap_in_the_middle_costs_coverage_and_no_energy(ledger: RunningLedger) -> None:
    await ledger.metered_town()
    start, _ = night_of(NIGHTS[0])
    middle = start + timedelta(hours=10)
    ledger.neighbours.metering.lose(f"{TOWN}/meters/M-1", middle, middle + timedelta(hours=2), DOUBTFUL)
    entry = await ledger.post()
    assert entry.actual_wh == 3_300
    assert entry.coverage_permille < 1000
    assert entry.estimated_permille > 0
    assert verify_bundle(await ledger.bundle()).problems == ()


async def test_a_meter_that_was_exchanged_counts_on(ledger: RunningLedger) -> None:
    await ledger.metered_town()
    start, _ = night_of(NIGHTS[1])
    ledger.neighbours.metering.exchange(f"{TOWN}/meters/M-1", start + timedelta(hours=9), 70_000)
    entries = [await ledger.post(night) for night in NIGHTS]
    assert [entry.actual_wh for entry in entries] == [3_300, 3_300, 3_300]
    assert verify_bundle(await ledger.bundle()).problems == ()


async def test_readings_that_enclose_the_period_are_looked_for_around_it(ledger: RunningLedger) -> None:
    await ledger.metered_town()
    start, end = night_of(NIGHTS[1])
    ledger.neighbours.metering.lose(f"{TOWN}/meters/M-1", start, start + timedelta(minutes=1))
    ledger.neighbours.metering.lose(f"{TOWN}/meters/M-1", end, end + timedelta(minutes=1))
    entry = await ledger.post(NIGHTS[1])
    assert "is not known" not in entry.computation
    assert verify_bundle(await ledger.bundle()).problems == ()


async def test_a_reading_that_arrives_in_between_is_in_both_answers_or_in_none(ledger: RunningLedger) -> None:
    await ledger.metered_town()
    start, _ = night_of(NIGHTS[0])
    meter, slot = f"{TOWN}/meters/M-1", start + timedelta(hours=3)
    value = ledger.neighbours.metering.readings[meter][slot][0]
    ledger.neighbours.metering.lose(meter, slot, slot + timedelta(minutes=1))
    ledger.neighbours.metering.meanwhile = [(meter, start, 1_000), (meter, slot, value)]
    entry = await ledger.post()
    assert entry.coverage_permille == 1000
    outcome = await ledger.admin.RecomputeEntry(pb.RecomputeEntryRequest(name=entry.name))
    assert outcome.outcome == pb.RECOMPUTATION_EQUAL


@pytest.mark.parametrize(
    ("period", "error", "told"),
    [
        ((night_of(NIGHTS[0])[0] + timedelta(hours=1), night_of(NIGHTS[0])[1]), InvalidInput, "start_time: no noon"),
        ((night_of(NIGHTS[0])[1], night_of(NIGHTS[0])[0]), InvalidInput, "ends before it begins"),
        (night_of(date(2025, 12, 30)), InvalidInput, "the measure takes effect at"),
        (night_of(date(2026, 3, 5)), FailedPrecondition, "the period has not ended"),
        (night_of(date(2026, 2, 1)), FailedPrecondition, "no meter was read"),
    ],
)
async def test_a_period_that_may_not_be_posted_is_refused(
    ledger: RunningLedger, period: tuple[datetime, datetime], error: type[Exception], told: str
) -> None:
    await ledger.metered_town()
    with pytest.raises(error, match=told):
        await ledger.admin.PostEntry(post_request("led", period))
    assert (await ledger.verify()).leaves == 0


async def test_while_metering_is_away_nothing_is_posted_and_the_caller_may_try_again(ledger: RunningLedger) -> None:
    await ledger.metered_town()
    ledger.neighbours.metering.away = True
    with pytest.raises(Unavailable):
        await ledger.post()
    ledger.neighbours.metering.away = False
    assert (await ledger.post()).leaf_index == 0


async def test_a_price_with_many_places_stays_exact(ledger: RunningLedger) -> None:
    meter = ledger.neighbours.metering.add("hall")
    ledger.neighbours.metering.count(meter, *day_of(MONDAY), 300_001)
    factors = pb.Factors()
    factors.CopyFrom(FACTORS)
    factors.price_eur_per_kwh = "0.123456"
    await ledger.create(building_measure(meter, factors=factors), "hall")
    assert (await ledger.post_day(MONDAY, "hall")).saved_eur == "12.35"
