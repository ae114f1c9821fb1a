"""Meters that two change at the same time on PostgreSQL: neither writes back what the other has made otherwise."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy import text
from sqlmodel import Session

from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.database import Database
from services.metering.life import Change, Exchange, Origin
from services.metering.slot import SLOT_MS
from services.metering.store import exchanges, lock
from services.metering.store import meters as store
from services.metering.store.feed import Source
from services.metering.store.tables import MeterRow
from services.metering.validation.parameters import DEFAULTS
from tests.services.metering.holding import outcome
from tests.services.metering.making import NOON_MS, NOW
from tests.services.metering.running import Metering, columns, name_of, running_metering
from tests.support.issuer import Issuer
from tests.support.running import HERSFELD
from tests.support.waiting import eventually

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
async def metering(issuer: Issuer, database: Database) -> AsyncIterator[Metering]:
    async with running_metering(issuer, database) as running:
        yield running


async def beside(metering: Metering, work: Callable[[Session], None], call: Callable[[], Awaitable[object]]) -> str:
    """What comes of a call that waits for a transaction in which `work` was done, which is committed only then."""
    database, loop = metering.servicer.database, asyncio.get_running_loop()
    is_done, go_on = asyncio.Event(), threading.Event()

    def hold(session: Session) -> None:
        work(session)
        session.flush()
        loop.call_soon_threadsafe(is_done.set)
        assert go_on.wait(120)

    def waits(session: Session) -> bool:
        # Of this database: beside this test others run on the same server.
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        return bool(session.connection().execute(text(query)).scalar())

    holding = asyncio.create_task(database.run(hold))
    try:
        await is_done.wait()
        calling = asyncio.create_task(outcome(call()))
        await eventually(lambda: calling.done() or database.run_now(waits), 120)
        assert not calling.done()
    finally:
        go_on.set()
        await holding
    return await calling


def exchanged(session: Session) -> None:
    """An exchange as the service records it: the new meter has another serial number and ratio."""
    lock.to_change_registers(session)
    row = store.get_row(session, HERSFELD.uid, "M-1", "")
    what = Exchange(NOON_MS - 6 * SLOT_MS, 4_000, 0, Origin.EXCHANGE, "new", Change(transformer_ratio=100))
    lives = store.whole(session, [row])[0].lives
    exchanges.exchange(session, row, lives, what, Source("exchange", "anna", NOW), DEFAULTS)
    row.serial_number, row.transformer_ratio = "new", 100
    row.revision += 1
    session.add(row)


@pytest.mark.parametrize(
    ("values", "serial_number"), [({"display_name": "Mill"}, "new"), ({"serial_number": "put right"}, "put right")]
)
async def test_a_change_beside_an_exchange_leaves_the_new_register_what_it_has(
    metering: Metering, values: dict[str, Any], serial_number: str
) -> None:
    made = await metering.meter(transformer_ratio=40, serial_number="old")
    await metering.ingest(columns([4_000]))
    request = pb.UpdateMeterRequest(meter=pb.Meter(name=name_of(), **values), update_mask=FieldMask(paths=list(values)))
    assert await beside(metering, exchanged, lambda: metering.as_().UpdateMeter(request)) == "done"
    found = await metering.as_().GetMeter(pb.GetMeterRequest(name=name_of()))
    assert (found.serial_number, found.transformer_ratio) == (serial_number, 100)
    assert [(life.serial_number, life.transformer_ratio) for life in found.lives] == [("old", 40), (serial_number, 100)]
    assert found.display_name == values.get("display_name", "")
    request.meter.etag = made.etag
    assert await outcome(metering.as_().UpdateMeter(request)) == "Conflict"


async def test_who_has_seen_a_meter_before_an_exchange_is_told_so_even_with_a_name(metering: Metering) -> None:
    made = await metering.meter(transformer_ratio=40, serial_number="old")
    request = pb.UpdateMeterRequest(
        meter=pb.Meter(name=name_of(), display_name="Mill", etag=made.etag),
        update_mask=FieldMask(paths=["display_name"]),
    )
    assert await beside(metering, exchanged, lambda: metering.as_().UpdateMeter(request)) == "Conflict"
    assert (await metering.as_().GetMeter(pb.GetMeterRequest(name=name_of()))).display_name == ""


async def test_of_two_who_create_one_meter_the_second_is_told_that_it_exists(metering: Metering) -> None:
    model = await metering.meter("model")

    def created(session: Session) -> None:
        like = store.get_row(session, HERSFELD.uid, "model", model.name).model_dump()
        row = MeterRow(**{**like, "uid": "1" * 32, "meter_id": "M-1"})
        store.create(session, row, name_of())

    assert await beside(metering, created, lambda: metering.meter("M-1")) == "AlreadyExists"
