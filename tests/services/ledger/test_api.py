"""The ledger over gRPC: measures are frozen, periods posted once, entries reversed, statements summed up."""

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    NotPermitted,
    Unavailable,
)
from lichtbuch.audit.v1 import audit_pb2, audit_pb2_grpc
from lichtbuch.ledger.v1 import ledger_pb2 as pb
from lichtbuch.lighting.v1 import inventory_pb2
from lichtbuch.metering.v1 import metering_pb2
from servicekit.convert import timestamp_to_proto
from services.ledger.merkle import verify_consistency, verify_inclusion
from services.ledger.verify import verify_bundle
from tests.services.ledger.helpers import TOWN, day_of, night_of
from tests.services.ledger.ledger import (
    CONTRACTOR,
    FACTORS,
    NIGHTS,
    RunningLedger,
    building_measure,
    lighting_measure,
    post_request,
)
from tests.services.ledger.neighbours import DOUBTFUL
from tests.support.running import AUDITOR, PLANNER, STRANGER, VIEWER

MONDAY = date(2026, 3, 2)


async def test_a_measure_freezes_the_inventory_with_what_stood_there_before(ledger: RunningLedger) -> None:
    created = await ledger.metered_town()
    assert created.name == f"{TOWN}/measures/led"
    assert created.lighting.luminaire_count == 8
    assert created.lighting.power_w == 8 * 83
    assert created.lighting.half_night_off == "22:30"
    assert created.lighting.uncertainty_permille == 50
    assert len(created.terms_hash) == 64
    # What happens to the inventory later changes nothing about it.
    ledger.neighbours.lighting.luminaires.clear()
    entry = await ledger.post()
    assert await ledger.admin.GetMeasure(pb.GetMeasureRequest(name=created.name)) == created
    assert f"terms:{created.terms_hash}" in entry.evidence


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
    answers = await asyncio.gather(*(any_ledger.post(night) for night in NIGHTS * 5))
    assert len({answer.name for answer in answers}) == 3
    assert sorted({answer.leaf_index for answer in answers}) == [0, 1, 2]
    assert (await any_ledger.verify()).valid


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


def _no_lamp(measure: pb.Measure, ledger: RunningLedger) -> None:
    for luminaire in ledger.neighbours.lighting.luminaires[2:]:
        luminaire.previous.lamp_power_w = 0


def _other_unit(measure: pb.Measure, ledger: RunningLedger) -> None:
    ledger.neighbours.metering.meters[measure.meters[0]].unit = metering_pb2.UNIT_L


def _foreign_meter(measure: pb.Measure, ledger: RunningLedger) -> None:
    measure.meters.append(ledger.neighbours.metering.add("hall"))


def _stated(measure: pb.Measure, ledger: RunningLedger) -> None:
    measure.stated.CopyFrom(pb.StatedBaseline(weekday_wh=[1] * 12, weekend_wh=[1] * 12, source="x"))


def _eleven(measure: pb.Measure, ledger: RunningLedger) -> None:
    measure.method = pb.METHOD_OPTION_C
    measure.stated.CopyFrom(pb.StatedBaseline(weekday_wh=[1] * 11, weekend_wh=[1] * 12, source="x"))


def _add(field: str, value: Any) -> Callable[[pb.Measure, RunningLedger], None]:
    def change(measure: pb.Measure, ledger: RunningLedger) -> None:
        getattr(measure, field).append(value)

    return change


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (_no_lamp, FailedPrecondition, r"of 6 of 8 luminaires .*L-1-2.* and 1 more"),
        (_other_unit, InvalidInput, r"measure.meters\[0\]: .* does not count energy"),
        (_foreign_meter, FailedPrecondition, "1 meters measure none of the cabinets: .*/meters/hall"),
        (_stated, InvalidInput, "does not go with a stated baseline"),
        (_eleven, InvalidInput, r"measure.stated.weekday_wh: 11 numbers"),
        (_add("meters", f"{TOWN}/meters/nowhere"), InvalidInput, r"measure.meters\[2\]: .*nowhere does not exist"),
        (_add("meters", f"{TOWN}/meters/M-1"), InvalidInput, "occurs twice"),
        (_add("shares", pb.Share(party="More", share_permille=1)), InvalidInput, "add up to 1001 per mille"),
        (_add("shares", pb.Share(party="Contractor", share_permille=0)), InvalidInput, r"shares\[2\].party"),
        (lambda m, _: m.ClearField("meters"), InvalidInput, "option B needs the meters"),
        (lambda m, _: m.meters.pop(), FailedPrecondition, "1 of the cabinets have no meter in the measure: .*C-2"),
        (lambda m, _: m.lighting.cabinets.append(f"{TOWN}/cabinets/C-9"), InvalidInput, r"cabinets\[2\]: .*not exist"),
        (lambda m, _: setattr(m.lighting, "half_night_on", "20:00"), InvalidInput, "does not follow 22:30"),
        (lambda m, _: m.ClearField("lighting"), InvalidInput, "a lighting or a stated baseline is needed"),
        (lambda m, _: m.ClearField("factors"), InvalidInput, "measure.factors"),
        (lambda m, _: setattr(m.factors, "price_eur_per_kwh", "0,28"), InvalidInput, "price_eur_per_kwh"),
    ],
)
async def test_a_measure_that_could_not_be_proven_is_refused(
    ledger: RunningLedger, change: Callable[[pb.Measure, RunningLedger], None], error: type[Exception], told: str
) -> None:
    cabinets, meters = ledger.neighbours.town([night_of(NIGHTS[0])[0]])
    measure = lighting_measure(cabinets, meters)
    change(measure, ledger)
    with pytest.raises(error, match=told):
        await ledger.create(measure)
    with pytest.raises(NotFound):
        await ledger.admin.GetMeasure(pb.GetMeasureRequest(name=f"{TOWN}/measures/led"))


async def test_a_cabinet_without_lamps_and_a_name_that_is_taken_are_refused(ledger: RunningLedger) -> None:
    created = await ledger.metered_town()
    with pytest.raises(AlreadyExists):
        await ledger.create(lighting_measure(created.lighting.cabinets, created.meters))
    ledger.neighbours.lighting.cabinets.append(inventory_pb2.Cabinet(name=f"{TOWN}/cabinets/empty"))
    with pytest.raises(FailedPrecondition, match="no luminaire hangs on"):
        await ledger.create(lighting_measure([f"{TOWN}/cabinets/empty"]), "other")


async def test_an_older_inventory_without_positions_uses_the_middle_of_the_town(ledger: RunningLedger) -> None:
    cabinets, meters = ledger.neighbours.town([night_of(NIGHTS[0])[0]])
    for luminaire in ledger.neighbours.lighting.luminaires:
        luminaire.ClearField("position")
        luminaire.ClearField("model")
        luminaire.installed_power_w = 25.0
    await ledger.create(lighting_measure(cabinets, meters))
    entry = await ledger.post()
    assert entry.full_level_reference_wh == pytest.approx(8 * 25 * 13.0, rel=0.01)


async def test_recomputing_says_equal_different_or_missing(ledger: RunningLedger) -> None:
    await ledger.metered_town()
    entry = await ledger.post()
    request = pb.RecomputeEntryRequest(name=entry.name)

    async def outcome() -> tuple[int, list[str]]:
        answer = await ledger.as_(AUDITOR).RecomputeEntry(request)
        return answer.outcome, list(answer.differences)

    assert await outcome() == (pb.RECOMPUTATION_EQUAL, [])
    ledger.neighbours.metering.count(f"{TOWN}/meters/M-1", *night_of(NIGHTS[0]), 1_610)
    found, differences = await outcome()
    assert found == pb.RECOMPUTATION_DIFFERS
    assert "actual_wh: 3300 stored, 3310 now" in differences
    assert any(difference.startswith("metering:") for difference in differences)
    reversal = await ledger.reverse(entry)
    answer = await ledger.admin.RecomputeEntry(pb.RecomputeEntryRequest(name=reversal.name))
    assert answer.outcome == pb.RECOMPUTATION_EQUAL
    ledger.neighbours.metering.lose(f"{TOWN}/meters/M-1", *day_of(date(2026, 3, 1)))
    for name in list(ledger.neighbours.metering.readings):
        ledger.neighbours.metering.readings[name].clear()
    found, differences = await outcome()
    assert found == pb.RECOMPUTATION_INPUTS_MISSING
    assert "no meter was read" in differences[0]
    ledger.neighbours.metering.meters.clear()
    found, differences = await outcome()
    assert found == pb.RECOMPUTATION_INPUTS_MISSING
    assert "does not exist" in differences[0]
    ledger.neighbours.metering.away = True
    with pytest.raises(Unavailable):
        await outcome()


async def test_a_statement_sums_up_what_counts(ledger: RunningLedger) -> None:
    await ledger.metered_town()
    meter = ledger.neighbours.metering.add("hall")
    ledger.neighbours.metering.count(meter, *day_of(MONDAY), 300_000)
    await ledger.create(building_measure(meter), "hall")
    entries = [await ledger.post(night) for night in NIGHTS]
    hall = await ledger.post_day(MONDAY, "hall")
    await ledger.reverse(entries[1])

    async def statement(measure: str = "-", **bounds: datetime) -> pb.Statement:
        request = pb.GetStatementRequest(parent=f"{TOWN}/measures/{measure}")
        for name, instant in bounds.items():
            getattr(request, name).CopyFrom(timestamp_to_proto(instant))
        answer: pb.Statement = await ledger.as_(VIEWER).GetStatement(request)
        return answer

    whole = await statement()
    counting = [entries[0], entries[2], hall]
    assert [(line.display_name, line.entries) for line in whole.lines] == [("LED 2026", 2), ("Town hall", 1)]
    assert whole.total.saved_wh == sum(entry.saved_wh for entry in counting)
    assert whole.total.uncertainty_wh == sum(entry.uncertainty_wh for entry in counting)
    assert sum(float(part.amount_eur) for part in whole.shares) == pytest.approx(float(whole.total.saved_eur))
    assert whole.checkpoint.tree_size == 5
    assert (await statement("hall")).total.saved_wh == hall.saved_wh
    first = await statement(end_time=night_of(NIGHTS[0])[1])
    assert first.total.entries == 1
    assert (await statement(start_time=night_of(NIGHTS[2])[0])).total.saved_wh == entries[2].saved_wh
    everywhere = await ledger.admin.GetStatement(pb.GetStatementRequest(parent="municipalities/-/measures/-"))
    assert everywhere.total.saved_wh == whole.total.saved_wh
    assert not everywhere.HasField("checkpoint")
    with pytest.raises(InvalidInput, match="end_time"):
        await statement(start_time=night_of(NIGHTS[1])[0], end_time=night_of(NIGHTS[0])[0])
    with pytest.raises(NotFound):
        await statement("nowhere")


async def test_lists_come_in_pages(ledger: RunningLedger) -> None:
    created = await ledger.metered_town()
    for number in range(4):
        await ledger.create(lighting_measure(created.lighting.cabinets, created.meters), f"m-{number}")
    for night in NIGHTS:
        await ledger.post(night)

    async def pages(method: Any, request: Any, items: str) -> list[Any]:
        found: list[Any] = []
        while True:
            answer = await method(request)
            found += getattr(answer, items)
            assert len(getattr(answer, items)) <= 2
            if not answer.next_page_token:
                return found
            request.page_token = answer.next_page_token

    for parent in (TOWN, "municipalities/-"):
        measures = await pages(
            ledger.admin.ListMeasures, pb.ListMeasuresRequest(parent=parent, page_size=2), "measures"
        )
        assert [m.name.rsplit("/")[-1] for m in measures] == ["led", "m-0", "m-1", "m-2", "m-3"]
        entries = await pages(
            ledger.admin.ListEntries, pb.ListEntriesRequest(parent=f"{parent}/measures/-", page_size=2), "entries"
        )
        assert [entry.leaf_index for entry in entries] == [0, 1, 2]
    assert not (await ledger.admin.ListEntries(pb.ListEntriesRequest(parent=f"{TOWN}/measures/m-0"))).entries


async def test_proofs_hold_against_the_signed_head(any_ledger: RunningLedger) -> None:
    await any_ledger.metered_town()
    entries = [await any_ledger.post(night) for night in NIGHTS]
    old = await any_ledger.admin.GetCheckpoint(pb.GetCheckpointRequest(parent=TOWN))
    await any_ledger.reverse(entries[0])
    new = await any_ledger.admin.GetCheckpoint(pb.GetCheckpointRequest(parent=TOWN))
    assert (old.tree_size, new.tree_size) == (3, 4)
    for entry in entries:
        for head in (old, new):
            proof = await any_ledger.admin.GetInclusionProof(
                pb.GetInclusionProofRequest(name=entry.name, tree_size=head.tree_size)
            )
            leaf = bytes.fromhex(entry.leaf_hash)
            assert verify_inclusion(leaf, entry.leaf_index, head.tree_size, proof.hashes, head.root_hash)
    consistency = await any_ledger.admin.GetConsistencyProof(
        pb.GetConsistencyProofRequest(parent=TOWN, first_tree_size=3)
    )
    assert verify_consistency(3, 4, old.root_hash, new.root_hash, consistency.hashes)
    with pytest.raises(InvalidInput, match="the log has 4 leaves"):
        await any_ledger.admin.GetInclusionProof(pb.GetInclusionProofRequest(name=entries[0].name, tree_size=5))
    with pytest.raises(InvalidInput, match="has no leaf 2"):
        await any_ledger.admin.GetInclusionProof(pb.GetInclusionProofRequest(name=entries[2].name, tree_size=2))


async def test_an_empty_log_has_a_head_and_is_sound(any_ledger: RunningLedger) -> None:
    head = await any_ledger.admin.GetCheckpoint(pb.GetCheckpointRequest(parent=TOWN))
    assert head.tree_size == 0
    assert await any_ledger.admin.GetCheckpoint(pb.GetCheckpointRequest(parent=TOWN)) == head
    assert (await any_ledger.verify()).valid
    assert verify_bundle(await any_ledger.bundle(), any_ledger.public_key).valid


async def test_an_export_may_leave_evidence_out_and_begin_later(ledger: RunningLedger) -> None:
    await ledger.metered_town()
    for night in NIGHTS:
        await ledger.post(night)
    parts = [part async for part in ledger.admin.ExportLog(pb.ExportLogRequest(parent=TOWN, first_leaf=1))]
    kinds = [part.WhichOneof("part") for part in parts]
    assert kinds == ["leaf", "leaf", "checkpoint", "checkpoint", "checkpoint"]
    assert [part.leaf.index for part in parts[:2]] == [1, 2]
    assert parts[-1].checkpoint.tree_size == 3


async def test_names_that_are_none_are_not_found(ledger: RunningLedger) -> None:
    await ledger.metered_town()
    await ledger.post()
    for number in ("2", "01", "x", "9999999999"):
        with pytest.raises(NotFound):
            await ledger.admin.GetEntry(pb.GetEntryRequest(name=f"{TOWN}/measures/led/entries/{number}"))
    with pytest.raises(NotFound):
        await ledger.post(measure="nowhere")


async def test_everybody_may_do_what_their_role_says_and_no_more(ledger: RunningLedger) -> None:
    created = await ledger.metered_town()
    await ledger.create(lighting_measure(created.lighting.cabinets, created.meters), "other")
    entry = await ledger.post()
    reverse = pb.ReverseEntryRequest(name=entry.name, reason="x")
    with pytest.raises(NotPermitted):
        await ledger.as_(VIEWER).PostEntry(post_request("led", night_of(NIGHTS[1])))
    with pytest.raises(NotPermitted):
        await ledger.as_(PLANNER).ReverseEntry(reverse)
    with pytest.raises(NotPermitted):
        await ledger.as_(VIEWER).VerifyLog(pb.VerifyLogRequest(parent=TOWN))
    assert (await ledger.as_(AUDITOR).VerifyLog(pb.VerifyLogRequest(parent=TOWN))).valid
    with pytest.raises((NotPermitted, NotFound)):
        await ledger.as_(STRANGER).GetEntry(pb.GetEntryRequest(name=entry.name))
    contractor = ledger.as_(CONTRACTOR)
    assert [m.name for m in (await contractor.ListMeasures(pb.ListMeasuresRequest(parent=TOWN))).measures] == [
        created.name
    ]
    assert (await contractor.GetEntry(pb.GetEntryRequest(name=entry.name))) == entry
    assert (await contractor.GetStatement(pb.GetStatementRequest(parent=f"{TOWN}/measures/-"))).total.entries == 1
    with pytest.raises(NotPermitted):
        await contractor.GetStatement(pb.GetStatementRequest(parent=f"{TOWN}/measures/other"))
    with pytest.raises(NotPermitted):
        await contractor.ListEntries(pb.ListEntriesRequest(parent=f"{TOWN}/measures/other"))


async def test_every_change_leaves_an_audit_record_with_its_author(any_ledger: RunningLedger) -> None:
    await any_ledger.metered_town()
    entry = await any_ledger.post()
    await any_ledger.reverse(entry, "posted twice by hand")
    stub = audit_pb2_grpc.AuditServiceStub(any_ledger.running.channel(AUDITOR))
    answer = await stub.ListAuditRecords(audit_pb2.ListAuditRecordsRequest(parent=TOWN))
    assert [(record.action, record.actor) for record in answer.records] == [
        ("ledger.entries.reverse", "admin"),
        ("ledger.entries.create", "admin"),
        ("ledger.measures.create", "admin"),
    ]
    assert answer.records[0].reason == "posted twice by hand"


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


async def test_an_effective_date_with_odd_digits_is_kept_to_the_millisecond(ledger: RunningLedger) -> None:
    odd = timestamp_to_proto(datetime(2026, 1, 1, 0, 0, 0, 123_456, tzinfo=UTC))
    created = await ledger.metered_town(effective_from=odd)
    assert created.effective_from.nanos == 123_000_000
