"""Request ids: the same id again answers the first result, also at the same moment."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import Session, select

from domain.errors import FailedPrecondition, InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.context import Caller, acting_as
from servicekit.database import Database
from servicekit.idempotency import IdempotencyKey, forget, once
from tests.support.meter_service import MIGRATIONS, MeterRow

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PLANNER = Caller("planner", "person")
REQUEST = pb.CreateMeterRequest(parent="municipalities/a", meter_id="m", request_id="r1")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url, "metering", pool_size=8)
    await opened.migrate(MIGRATIONS)
    yield opened
    await opened.close()


class Maker:
    """Creates a meter, and counts how often it was asked to."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, session: Session, request: pb.CreateMeterRequest, tenant: str = "t") -> pb.Meter:
        def make() -> pb.Meter:
            self.made += 1
            session.add(MeterRow(uid=f"{self.made}", municipality_uid=tenant, id=f"{self.made}", display_name=""))
            session.flush()
            return pb.Meter(name=f"meter {self.made}")

        return once(session, request, pb.Meter, make, municipality_uid=tenant, real=NOW)


async def ask(store: Database, maker: Maker, request: pb.CreateMeterRequest = REQUEST, caller=PLANNER, tenant="t"):
    with acting_as(caller, action="metering/CreateMeter"):
        return await store.run(lambda session: maker(session, request, tenant))


async def meters(store: Database) -> int:
    return await store.read(lambda session: len(session.exec(select(MeterRow)).all()))


async def test_the_same_id_answers_the_first_result(store):
    maker = Maker()
    first = await ask(store, maker)
    assert await ask(store, maker) == first
    assert maker.made == 1


async def test_the_same_id_with_other_content_is_refused(store):
    maker = Maker()
    await ask(store, maker)
    other = pb.CreateMeterRequest(parent="municipalities/a", meter_id="n", request_id="r1")
    with pytest.raises(InvalidInput, match="request_id"):
        await ask(store, maker, other)
    assert await meters(store) == 1


async def test_without_an_id_each_call_is_a_new_one(store):
    maker = Maker()
    request = pb.CreateMeterRequest(parent="municipalities/a", meter_id="m")
    await ask(store, maker, request)
    await ask(store, maker, request)
    assert maker.made == 2


async def test_an_id_belongs_to_its_caller_and_its_municipality(store):
    maker = Maker()
    await ask(store, maker)
    await ask(store, maker, caller=Caller("another", "person"))
    await ask(store, maker, tenant="t2")
    assert maker.made == 3


async def test_calls_at_the_same_moment_make_one_meter(store):
    maker = Maker()
    answers = await asyncio.gather(*(ask(store, maker) for _ in range(8)))
    assert len({answer.name for answer in answers}) == 1
    assert await meters(store) == 1


async def test_a_call_that_failed_may_be_repeated(store):
    def fail(session: Session) -> pb.Meter:
        def make() -> pb.Meter:
            raise FailedPrecondition("not yet")

        return once(session, REQUEST, pb.Meter, make, municipality_uid="t", real=NOW)

    with acting_as(PLANNER, action="metering/CreateMeter"), pytest.raises(FailedPrecondition):
        await store.run(fail)
    maker = Maker()
    await ask(store, maker)
    assert maker.made == 1


async def test_old_ids_are_forgotten(store):
    maker = Maker()
    await ask(store, maker)
    assert await store.run(lambda session: forget(session, NOW - timedelta(days=1))) == 0
    assert await store.run(lambda session: forget(session, NOW + timedelta(seconds=1))) == 1
    assert await store.read(lambda session: session.exec(select(IdempotencyKey)).all()) == []
