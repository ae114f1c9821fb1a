"""Exchanges over gRPC: a whole housing at once, with what is otherwise about the new meter, also entered late."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy import text
from sqlmodel import Session

from domain.errors import FailedPrecondition, InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.database import Database
from services.metering.life import Exchange, Origin
from services.metering.reading import Readings, Status
from services.metering.slot import SLOT_MS
from services.metering.store import exchanges, lock
from services.metering.store.feed import Source
from services.metering.store.ingest import write
from services.metering.store.lives import lives_of
from services.metering.store.meters import find_row
from services.metering.validation.parameters import DEFAULTS
from tests.services.metering.holding import WAITING
from tests.services.metering.making import NOON_MS, NOW
from tests.services.metering.running import PARENT, Metering, columns, name_of, running_metering, stamp
from tests.support.issuer import Issuer
from tests.support.running import HERSFELD
from tests.support.waiting import eventually


@pytest.fixture
async def metering(issuer: Issuer, database: Database) -> AsyncIterator[Metering]:
    async with running_metering(issuer, database) as running:
        yield running


sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
GAS: dict[str, Any] = {"medium": pb.MEDIUM_GAS, "unit": pb.UNIT_L, "obis_code": "7-0:3.0.0"}
FACTOR = pb.GasFactor(valid_from="2020-01-01", calorific_value_wh_per_m3=10_000, state_number_e4=10_000)


async def exchange(metering: Metering, meter_id: str = "M-1", at: int = -6, **values: Any) -> pb.Meter:
    """Records an exchange so many slots after noon."""
    request = pb.ExchangeMeterRequest(name=name_of(meter_id), exchanged_at=stamp(at), **values)
    answer: pb.Meter = await metering.as_().ExchangeMeter(request)
    return answer


async def get(metering: Metering, meter_id: str) -> pb.Meter:
    meter: pb.Meter = await metering.as_().GetMeter(pb.GetMeterRequest(name=name_of(meter_id)))
    return meter


async def stored(metering: Metering, meter_id: str = "M-1") -> list[tuple[int, int]]:
    """Values and statuses of what counts of a meter."""
    listed = await metering.as_().ListReadings(
        pb.ListReadingsRequest(parent=PARENT, meters=[name_of(meter_id)], start_time=stamp(-20), end_time=stamp(0))
    )
    return list(zip(listed.readings.values, listed.readings.statuses, strict=True))


async def poll(metering: Metering, values: list[int], meter_id: str = "M-1", status: int = 1, **of: str) -> None:
    """Stores readings as the service itself does, from slot -8 on."""
    source = Source(of.get("source", "poll"), of.get("actor", "service:metering"), NOW, of.get("reason", ""))

    def put(session: Session) -> None:
        row = find_row(session, HERSFELD.uid, meter_id)
        assert row is not None
        key = lives_of(session, [row.uid])[row.uid][-1].key
        slots = np.arange(len(values)) * SLOT_MS + NOON_MS + int(of.get("first", "-8")) * SLOT_MS
        count = len(values)
        write(session, Readings.of(np.full(count, key), slots, values, np.full(count, status)), source, polled=True)

    await metering.servicer.partitions.ensure([(2026, 3)])
    await metering.servicer.database.run(put)


def register(meter_id: str, final: int, first: int = 0, **change: Any) -> pb.RegisterExchange:
    return pb.RegisterExchange(
        meter=name_of(meter_id), final_reading=final, first_reading=first, change=pb.RegisterChange(**change)
    )


async def test_all_registers_of_a_housing_are_exchanged_together(metering: Metering) -> None:
    await metering.meter("whole", serial_number="old", transformer_ratio=40, rollover=4_000_000)
    for meter, obis in (("high", "1-0:1.8.1"), ("low", "1-0:1.8.2")):
        await metering.meter(meter, device=name_of("whole"), obis_code=obis)
        await metering.ingest(columns([100, 200], meter_id=meter))
    answer = await exchange(
        metering,
        "whole",
        final_reading=900,
        serial_number="new",
        registers=[register("low", 300, 5, obis_code="1-1:1.8.2"), register("high", 250)],
        change=pb.RegisterChange(transformer_ratio=50),
    )
    assert (answer.serial_number, answer.transformer_ratio, answer.rollover) == ("new", 50, 5_000_000)
    low, high = await get(metering, "low"), await get(metering, "high")
    assert (low.serial_number, low.transformer_ratio, low.obis_code) == ("new", 50, "1-1:1.8.2")
    assert (high.serial_number, high.transformer_ratio, high.obis_code) == ("new", 50, "1-0:1.8.1")
    before, after = low.lives
    assert (before.final_reading, before.obis_code, before.transformer_ratio) == (300, "1-0:1.8.2", 40)
    assert (after.first_reading, after.obis_code, after.transformer_ratio) == (5, "1-1:1.8.2", 50)
    assert before.removed_at == after.installed_at == stamp(-6)
    assert not before.ended_by_reset


async def test_a_housing_is_not_exchanged_by_halves(metering: Metering) -> None:
    await metering.meter("whole")
    await metering.meter("low", device=name_of("whole"))
    await metering.meter("high", device=name_of("whole"))
    await metering.meter("other")
    await metering.ingest(columns([500], meter_id="high"))
    with pytest.raises(InvalidInput, match="missing of high"):
        await exchange(metering, "whole", registers=[register("low", 1)])
    with pytest.raises(InvalidInput, match=r"registers\[1\].meter.*other does not sit"):
        await exchange(metering, "whole", registers=[register("low", 1), register("other", 1), register("high", 500)])
    with pytest.raises(InvalidInput, match=r"registers\[1\].final_reading"):
        await exchange(metering, "whole", registers=[register("low", 1), register("high", 300)])
    with pytest.raises(InvalidInput, match=r"registers\[0\].change.transformer_ratio"):
        await exchange(metering, "whole", registers=[register("low", 1, transformer_ratio=3), register("high", 500)])
    with pytest.raises(FailedPrecondition, match="exchange that"):
        await exchange(metering, "low", final_reading=1)
    for meter in ("whole", "low", "high"):
        assert len((await get(metering, meter)).lives) == 1


@sqlite_only
async def test_a_sensor_in_the_housing_needs_no_readings(metering: Metering) -> None:
    await metering.meter("whole", serial_number="old")
    await metering.meter("power", device=name_of("whole"), unit=pb.UNIT_W, kind=pb.READING_KIND_INSTANT)
    await exchange(metering, "whole", final_reading=7, serial_number="new")
    assert [life.serial_number for life in (await get(metering, "power")).lives] == ["old", "new"]
    with pytest.raises(InvalidInput, match="only a counter"):
        await exchange(metering, "whole", at=-5, registers=[register("power", 3)])


async def test_what_was_polled_with_the_old_ratio_is_brought_to_the_new_one(metering: Metering) -> None:
    await metering.meter(transformer_ratio=40, serial_number="old")
    await poll(metering, [4_000, 4_400, 40, 80, 160])
    await metering.ingest(columns([500], first=-3, statuses=[pb.READING_STATUS_HAND]))
    await exchange(metering, final_reading=4_480, serial_number="new", change=pb.RegisterChange(transformer_ratio=100))
    # 1, 2 and 4 on the new meter, times 100; what a person brought contains the ratio already.
    assert await stored(metering) == [(4_000, 1), (4_400, 1), (100, 1), (200, 1), (400, 1), (500, 4)]
    assert (await get(metering, "M-1")).latest_value == 500
    used = await metering.as_().QueryConsumption(
        pb.QueryConsumptionRequest(
            parent=PARENT, meters=[name_of()], start_time=stamp(-8), end_time=stamp(-3), step=pb.STEP_TOTAL
        )
    )
    assert list(used.amounts) == [400 + 80 + 500]


async def test_a_reset_that_was_an_exchange_with_another_ratio_is_put_right(metering: Metering) -> None:
    await metering.meter(transformer_ratio=40, serial_number="old")
    await poll(metering, [4_000, 4_400])
    source = Source("reset", "service:metering", NOW)

    def seen_by_polling(session: Session) -> None:
        row = find_row(session, HERSFELD.uid, "M-1")
        assert row is not None
        what = Exchange(NOON_MS - 6 * SLOT_MS - 450_000, 4_400, 0, Origin.RESET)
        exchanges.exchange(session, row, lives_of(session, [row.uid])[row.uid], what, source, DEFAULTS)

    await metering.servicer.database.run(seen_by_polling)
    await poll(metering, [40, 80], first="-6")
    answer = await exchange(
        metering,
        at=-6,
        final_reading=4_480,
        first_reading=0,
        serial_number="new",
        change=pb.RegisterChange(transformer_ratio=100),
    )
    assert [(life.serial_number, life.transformer_ratio) for life in answer.lives] == [("old", 40), ("new", 100)]
    assert [life.ended_by_reset for life in answer.lives] == [False, False]
    assert await stored(metering) == [(4_000, 1), (4_400, 1), (100, 1), (200, 1)]
    assert answer.latest_value == 200
    used = await metering.as_().QueryConsumption(
        pb.QueryConsumptionRequest(
            parent=PARENT, meters=[name_of()], start_time=stamp(-8), end_time=stamp(-5), step=pb.STEP_TOTAL
        )
    )
    assert list(used.amounts) == [400 + 80 + 200]


async def test_a_new_scale_keeps_the_quantities(metering: Metering) -> None:
    await metering.meter(rollover=100_000_000)
    await metering.ingest(columns([90_000_000, 90_500_000, 3_000, 5_999]))
    answer = await exchange(metering, final_reading=90_700_000, change=pb.RegisterChange(scale_exponent=3))
    assert (answer.scale_exponent, answer.rollover, answer.latest_value) == (3, 100_000, 5)
    assert await stored(metering) == [(90_000_000, 1), (90_500_000, 1), (3, 1), (5, 1)]
    used = await metering.as_().QueryConsumption(
        pb.QueryConsumptionRequest(
            parent=PARENT, meters=[name_of()], start_time=stamp(-8), end_time=stamp(-5), step=pb.STEP_TOTAL
        )
    )
    assert list(used.amounts) == [500_000 + 200_000 + 5_000]


@sqlite_only
async def test_what_was_read_beneath_an_estimate_goes_over_as_it_was_read(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns([9_000, 9_100, 10, 20, 30, 9_500, 9_600]))
    assert [status for _, status in await stored(metering)][2:5] == [Status.DOUBTFUL] * 3
    estimate = pb.EstimateReadingsRequest(
        name=name_of(), start_time=stamp(-6), end_time=stamp(-3), method=pb.ESTIMATION_METHOD_LINEAR, reason="odd"
    )
    assert len((await metering.as_().EstimateReadings(estimate)).readings.values) == 3
    rejected = pb.EditReadingsRequest(
        name=name_of(),
        slots_unix_ms=[NOON_MS - 4 * SLOT_MS],
        values=[0],
        status=pb.READING_STATUS_GAP,
        reason="misread",
    )
    await metering.as_().EditReadings(rejected)
    await metering.as_().EstimateReadings(estimate)
    await exchange(metering, at=-6, final_reading=9_150, first_reading=5)
    measured = Status.MEASURED
    found = await stored(metering)
    assert found[:4] == [(9_000, measured), (9_100, measured), (10, measured), (20, measured)]
    # What a person has rejected does not come back.
    assert found[4] == (9_400, Status.ESTIMATED)


async def test_edits_and_estimates_go_over_with_who_and_why(metering: Metering) -> None:
    await metering.meter()
    await poll(metering, [9_000, 9_100])
    await poll(metering, [30], first="-6", status=Status.EDITED, source="edit", actor="anna", reason="misread")
    await poll(metering, [9_500], first="-5", status=Status.ESTIMATED, source="estimate", actor="anna", reason="gap")
    await poll(metering, [50], first="-4", status=Status.ESTIMATED, source="estimate", actor="anna", reason="gap")
    await poll(metering, [60], first="-3", status=Status.DOUBTFUL)
    await poll(metering, [9_300], first="-9", status=Status.ESTIMATED, source="estimate", actor="anna", reason="gap")
    await poll(metering, [8_950], first="-10", status=Status.ESTIMATED, source="estimate", actor="anna", reason="gap")
    await exchange(metering, final_reading=9_150)
    # The estimates of 9500 and 9300 were drawn between two meters.
    assert await stored(metering) == [(8_950, 5), (0, 2), (9_000, 1), (9_100, 1), (30, 6), (0, 2), (50, 5), (60, 1)]

    def origins(session: Session) -> set[tuple[str, str, str]]:
        row = find_row(session, HERSFELD.uid, "M-1")
        assert row is not None
        key = lives_of(session, [row.uid])[row.uid][-1].key
        found = session.connection().execute(
            text(
                "SELECT DISTINCT source, actor, reason FROM reading JOIN reading_batch ON id = batch_id"
                f" WHERE life_key = {key}"
            )
        )
        return {(source, actor, reason) for source, actor, reason in found}

    found = await metering.servicer.database.read(origins)
    assert found == {
        ("poll", "service:metering", ""),
        ("edit", "anna", "misread"),
        ("estimate", "anna", "gap"),
    }


async def test_gas_may_come_to_be_counted_in_energy(metering: Metering) -> None:
    await metering.meter(**GAS, gas_factors=[FACTOR], max_flow_per_h=20_000)
    await metering.ingest(columns([5_000, 6_000, 2_000]))
    answer = await exchange(
        metering, final_reading=6_100, change=pb.RegisterChange(unit=pb.UNIT_WH, obis_code="7-0:33.0.0")
    )
    assert (answer.unit, answer.obis_code, answer.max_flow_per_h) == (pb.UNIT_WH, "7-0:33.0.0", 0)
    assert [life.unit for life in answer.lives] == [pb.UNIT_L, pb.UNIT_WH]
    # A file read as cubic metres though it stood in kWh: the number is right, the unit was not.
    assert await stored(metering) == [(5_000, 1), (6_000, 1), (2_000, 1)]
    less = await metering.as_().UpdateMeter(
        pb.UpdateMeterRequest(
            meter=pb.Meter(name=name_of(), gas_factors=[FACTOR]), update_mask=FieldMask(paths=["gas_factors"])
        )
    )
    assert len(less.gas_factors) == 1


@sqlite_only
async def test_a_unit_that_cannot_be_converted_is_refused(metering: Metering) -> None:
    await metering.meter("power")
    await metering.meter("gas", **GAS)
    await metering.meter("known", **GAS, gas_factors=[FACTOR])
    await metering.meter("behind", **GAS, main_meter=name_of("known"))
    for meter, change, words in (
        ("power", {"unit": pb.UNIT_VARH}, "only gas"),
        ("power", {"unit": pb.UNIT_L}, "electricity is counted in"),
        ("power", {"obis_code": "7-0:3.0.0"}, "change.obis_code"),
        ("power", {"rollover": 5, "transformer_ratio": 2}, "multiple"),
        ("gas", {"unit": pb.UNIT_WH}, "the meter has none"),
        ("known", {"unit": pb.UNIT_WH}, "stands for volume"),
        ("known", {"unit": pb.UNIT_WH, "obis_code": "7-0:33.0.0"}, "behind measures behind it"),
    ):
        with pytest.raises((InvalidInput, FailedPrecondition), match=words):
            await exchange(metering, meter, final_reading=1, change=pb.RegisterChange(**change))


@sqlite_only
async def test_a_polled_meter_keeps_a_point_that_counts_in_its_unit(metering: Metering) -> None:
    endpoint = metering.registry.add("E-1")
    await metering.meter(**GAS, gas_factors=[FACTOR], endpoint=endpoint, point="volume_gas")
    with pytest.raises(FailedPrecondition, match="take the endpoint away"):
        await exchange(metering, change=pb.RegisterChange(unit=pb.UNIT_WH, obis_code="7-0:33.0.0"))


@sqlite_only
async def test_the_same_request_id_exchanges_once(metering: Metering) -> None:
    await metering.meter()
    first = await exchange(metering, final_reading=5, serial_number="new", request_id="r-1")
    assert await exchange(metering, final_reading=5, serial_number="new", request_id="r-1") == first
    with pytest.raises(InvalidInput, match="request_id"):
        await exchange(metering, final_reading=6, serial_number="new", request_id="r-1")
    assert len(first.lives) == 2


@sqlite_only
async def test_an_exchange_entered_between_two_others_leaves_the_meter_as_it_is(metering: Metering) -> None:
    await metering.meter(serial_number="a")
    await exchange(metering, at=-2, final_reading=9_000, serial_number="c")
    answer = await exchange(
        metering, at=-6, final_reading=7_000, serial_number="b", change=pb.RegisterChange(scale_exponent=1)
    )
    assert (answer.serial_number, answer.scale_exponent) == ("c", 0)
    assert [(life.serial_number, life.scale_exponent) for life in answer.lives] == [("a", 0), ("b", 1), ("c", 0)]
    assert [life.final_reading for life in answer.lives] == [7_000, 900, 0]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_an_exchange_waits_for_readings_that_are_being_stored_and_takes_them_along(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns([9_000]))
    database, loop = metering.servicer.database, asyncio.get_running_loop()
    begun, waiting = asyncio.Event(), threading.Event()

    def store_slowly(session: Session) -> None:
        lock.to_store_readings(session)
        row = find_row(session, HERSFELD.uid, "M-1")
        assert row is not None
        key = lives_of(session, [row.uid])[row.uid][-1].key
        loop.call_soon_threadsafe(begun.set)
        assert waiting.wait(120)
        write(session, Readings.of([key], [NOON_MS - 4 * SLOT_MS], [40]), Source("import:x", "anna", NOW))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(database.run(store_slowly))
        await begun.wait()
        tasks.create_task(exchange(metering, final_reading=9_100))

        def somebody_waits(session: Session) -> bool:
            return bool(session.connection().execute(WAITING).scalar())

        try:
            await eventually(lambda: database.run_now(somebody_waits), 120)
        finally:
            waiting.set()
    assert await stored(metering) == [(9_000, 1), (40, 1)]
