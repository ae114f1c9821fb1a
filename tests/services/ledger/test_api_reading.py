"""Reading the book over gRPC: statements, lists, proofs, exports and recomputations, by whoever may."""

from datetime import date, datetime
from typing import Any

import pytest

from domain.errors import (
    InvalidInput,
    NotFound,
    NotPermitted,
    Unavailable,
)
from lichtbuch.audit.v1 import audit_pb2, audit_pb2_grpc
from lichtbuch.ledger.v1 import ledger_pb2 as pb
from servicekit.convert import timestamp_to_proto
from services.ledger.merkle import verify_consistency, verify_inclusion
from services.ledger.verify import verify_bundle
from tests.services.ledger.helpers import TOWN, day_of, night_of
from tests.services.ledger.ledger import (
    CONTRACTOR,
    NIGHTS,
    RunningLedger,
    building_measure,
    lighting_measure,
    post_request,
)
from tests.support.running import AUDITOR, PLANNER, STRANGER, VIEWER

MONDAY = date(2026, 3, 2)


async def test_inputs_are_missing_once_readings_were_deleted_after_their_retention(ledger: RunningLedger) -> None:
    await ledger.metered_town()
    entry = await ledger.post()
    ledger.neighbours.metering.retired = True
    answer = await ledger.as_(AUDITOR).RecomputeEntry(pb.RecomputeEntryRequest(name=entry.name))
    assert answer.outcome == pb.RECOMPUTATION_INPUTS_MISSING
    assert "no longer has everything" in answer.differences[0]


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
