"""The audit trail: a record with every change, and never one without it."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from sqlmodel import Session, select

from domain.errors import InvalidInput, NotAuthenticated, NotPermitted
from domain.timelapse import TimeLapse
from lichtbuch.audit.v1 import audit_pb2, audit_pb2_grpc
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit import audit
from servicekit.audit import AuditRecord, record
from servicekit.clock import SystemClock, TimeLapseClock
from servicekit.context import Caller, acting_as
from servicekit.database import Database
from tests.support.meter_service import MIGRATIONS, MeterRow

HERE, THERE = "municipalities/bad-hersfeld", "municipalities/schwalmstadt"
LIGHTING = Caller.of_service("lighting")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url, "metering", pool_size=2)
    await opened.migrate(MIGRATIONS)
    yield opened
    audit.use_clock(SystemClock())
    await opened.close()


async def records(store: Database) -> list[AuditRecord]:
    return await store.read(lambda session: list(session.exec(select(AuditRecord)).all()))


def change(session: Session, uid: str = "a") -> None:
    session.add(MeterRow(uid=uid, municipality_uid="m", id=uid, display_name=""))
    record(session, "metering.meters.create", f"{HERE}/meters/{uid}", uid, "m", after={"id": uid}, reason="because")


async def test_the_record_is_stored_with_the_change(store):
    with acting_as(LIGHTING, request_id="r1"):
        await store.run(change)
    (found,) = await records(store)
    assert (found.actor, found.actor_kind, found.request_id) == ("service:lighting", "service", "r1")
    assert (found.action, found.reason, found.before_json) == ("metering.meters.create", "because", "")
    assert json.loads(found.after_json) == {"id": "a"}


async def test_no_record_without_the_change(store):
    def change_and_fail(session: Session) -> None:
        change(session)
        session.flush()
        raise InvalidInput.of("x", "no")

    with acting_as(LIGHTING), pytest.raises(InvalidInput):
        await store.run(change_and_fail)
    assert await records(store) == []


async def test_no_change_without_the_record(store):
    def change_twice(session: Session) -> None:
        change(session)
        session.flush()
        duplicate = session.exec(select(AuditRecord)).one()
        session.add(AuditRecord.model_validate({**duplicate.model_dump(), "sequence": None}))

    with acting_as(LIGHTING), pytest.raises(Exception, match=r"(?i)unique"):
        await store.run(change_twice)
    assert await records(store) == []
    assert await store.read(lambda session: session.exec(select(MeterRow)).all()) == []


async def test_nobody_changes_anything_anonymously(store):
    with pytest.raises(NotAuthenticated):
        await store.run(change)
    assert await store.read(lambda session: session.exec(select(MeterRow)).all()) == []


async def test_in_a_time_lapse_both_clocks_are_recorded(store):
    start = datetime(2030, 1, 1, tzinfo=UTC)
    audit.use_clock(TimeLapseClock(TimeLapse(start, datetime.now(UTC), 1)))
    with acting_as(LIGHTING):
        await store.run(change)
    (found,) = await records(store)
    assert found.domain_at.year == 2030
    assert found.recorded_at.year < 2030


def test_states_of_any_kind_become_json_without_secrets():
    assert audit.state_json(None) == ""
    assert audit.state_json(pb.Meter(display_name="Rathaus")) == '{"display_name":"Rathaus"}'
    assert json.loads(audit.state_json({"at": datetime(2026, 1, 1, tzinfo=UTC), "client_secret": "x"})) == {
        "at": "2026-01-01T00:00:00+00:00",
        "client_secret": "***",
    }
    assert json.loads(audit.state_json({"x": "y" * 200_000})) == {"too_large": 200_008}


async def test_the_trail_is_read_page_by_page_newest_first(meters):
    for number in range(5):
        await meters.stub("planner").CreateMeter(
            pb.CreateMeterRequest(
                parent=HERE,
                meter_id=f"m{number}",
                meter=pb.Meter(medium=pb.MEDIUM_WATER, unit=pb.UNIT_L, display_name=f"{number}"),
            )
        )
    await meters.stub("admin").CreateMeter(
        pb.CreateMeterRequest(parent=THERE, meter_id="other", meter=pb.Meter(medium=pb.MEDIUM_WATER, unit=pb.UNIT_L))
    )
    stub = audit_pb2_grpc.AuditServiceStub(meters.running.channel("auditor"))
    request = audit_pb2.ListAuditRecordsRequest(parent=HERE, page_size=2)
    found: list[audit_pb2.AuditRecord] = []
    while True:
        answer = await stub.ListAuditRecords(request)
        found += answer.records
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    assert [entry.resource for entry in found] == [f"{HERE}/meters/m{number}" for number in (4, 3, 2, 1, 0)]
    assert {entry.actor for entry in found} == {"planner"}
    only = await stub.ListAuditRecords(audit_pb2.ListAuditRecordsRequest(parent=HERE, resource=f"{HERE}/meters/m3"))
    assert [entry.resource for entry in only.records] == [f"{HERE}/meters/m3"]


async def test_the_trail_is_not_for_everybody(meters):
    for subject in ("viewer", "planner", "operator"):
        stub = audit_pb2_grpc.AuditServiceStub(meters.running.channel(subject))
        with pytest.raises(NotPermitted):
            await stub.ListAuditRecords(audit_pb2.ListAuditRecordsRequest(parent=HERE))
