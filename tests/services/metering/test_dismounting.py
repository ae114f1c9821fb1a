"""Meters that are taken down for good: what they read stays and is asked for, their number is free, nothing follows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.errors import FailedPrecondition, InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.database import Database
from services.metering.slot import SLOT_MS
from tests.services.metering.making import NOON_MS
from tests.services.metering.running import PARENT, Metering, columns, name_of, running_metering, stamp
from tests.support.issuer import Issuer


@pytest.fixture
async def metering(issuer: Issuer, database: Database) -> AsyncIterator[Metering]:
    async with running_metering(issuer, database) as running:
        yield running


sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def dismount(metering: Metering, meter_id: str = "M-1", at: int = -6, **values: Any) -> pb.Meter:
    """Records that a meter was taken down so many slots after noon."""
    request = pb.DismountMeterRequest(name=name_of(meter_id), dismounted_at=stamp(at), **values)
    answer: pb.Meter = await metering.as_().DismountMeter(request)
    return answer


async def used(metering: Metering, meter_id: str = "M-1") -> pb.QueryConsumptionResponse:
    """What it used from eight slots before noon until noon."""
    answer: pb.QueryConsumptionResponse = await metering.as_().QueryConsumption(
        pb.QueryConsumptionRequest(
            parent=PARENT,
            meters=[name_of(meter_id)],
            start_time=stamp(-8),
            end_time=stamp(0),
            step=pb.STEP_QUARTER_HOUR,
        )
    )
    return answer


async def test_what_a_dismounted_meter_read_stays_and_ends_with_its_last_counter(metering: Metering) -> None:
    await metering.meter(serial_number="4711")
    await metering.ingest(columns([100, 200, 300]))
    answer = await dismount(metering, at=-5, final_reading=420, reason="the school is closed")
    assert answer.serial_number == ""
    (life,) = answer.lives
    assert (life.serial_number, life.final_reading, life.removed_at) == ("4711", 420, stamp(-5))
    assert not life.ended_by_reset
    found = await used(metering)
    assert list(found.amounts) == [100, 100, 120, 0, 0, 0, 0, 0]
    assert list(found.coverages_permille) == [1000] * 3 + [0] * 5
    (meter,) = (await metering.as_().ListMeters(pb.ListMetersRequest(parent=PARENT))).meters
    assert (meter.name, meter.latest_value) == (name_of("M-1"), 300)


async def test_its_number_may_hang_elsewhere_from_then_on(metering: Metering) -> None:
    await metering.meter(serial_number="4711")
    await dismount(metering, final_reading=9)
    await metering.meter("M-2", serial_number="4711")
    assert (await metering.as_().GetMeter(pb.GetMeterRequest(name=name_of("M-2")))).serial_number == "4711"


@sqlite_only
async def test_what_was_stored_after_it_was_taken_down_counts_no_more_and_nothing_new_is_taken(
    metering: Metering,
) -> None:
    await metering.meter()
    await metering.ingest(columns([100, 200, 300, 400]))
    await dismount(metering, at=-6, final_reading=310)
    assert sum((await used(metering)).amounts) == 210
    late = await metering.ingest(columns([500], first=-3))
    assert (late.stored, late.refused) == (0, 1)
    assert "out of the register's life" in late.refusals[0]


@sqlite_only
async def test_what_a_person_has_rejected_is_not_the_last_that_it_read(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns([100, 200, 300, 400]))
    rejected = pb.EditReadingsRequest(
        name=name_of(),
        slots_unix_ms=[NOON_MS - 6 * SLOT_MS],
        values=[0],
        status=pb.READING_STATUS_GAP,
        reason="misread",
    )
    await metering.as_().EditReadings(rejected)
    assert (await dismount(metering, at=-5, final_reading=310)).latest_value == 200


@sqlite_only
async def test_all_registers_of_a_housing_come_down_together(metering: Metering) -> None:
    await metering.meter("whole", serial_number="4711")
    await metering.meter("low", device=name_of("whole"), obis_code="1-0:1.8.2")
    with pytest.raises(InvalidInput, match="final reading is missing of low"):
        await dismount(metering, "whole", final_reading=7)
    with pytest.raises(FailedPrecondition, match="sits in the housing of whole"):
        await dismount(metering, "low", final_reading=7)
    parts = [pb.RegisterDismounting(meter=name_of("low"), final_reading=3)]
    await dismount(metering, "whole", final_reading=7, registers=parts)
    low = await metering.as_().GetMeter(pb.GetMeterRequest(name=name_of("low")))
    assert (low.lives[0].final_reading, low.lives[0].removed_at) == (3, stamp(-6))


@sqlite_only
@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"final_reading": 50}, "final_reading: 50 is less than the 200 read at"),
        ({"final_reading": 1000}, "final_reading: 1000 has more digits than the register"),
        ({"final_reading": 900, "at": 1}, "dismounted_at: it lies in the future"),
        (
            {"final_reading": 900, "registers": [pb.RegisterDismounting(meter=name_of("M-9"), final_reading=1)]},
            "M-9 does not sit in the housing of M-1",
        ),
    ],
)
async def test_what_cannot_have_been_is_refused_and_changes_nothing(
    metering: Metering, values: dict[str, Any], reason: str
) -> None:
    await metering.meter(rollover=1000 if values["final_reading"] == 1000 else 0)
    await metering.ingest(columns([100, 200]))
    with pytest.raises(InvalidInput, match=reason):
        await dismount(metering, **values)
    meter = await metering.as_().GetMeter(pb.GetMeterRequest(name=name_of("M-1")))
    assert not meter.lives[0].HasField("removed_at")


@sqlite_only
async def test_it_is_taken_down_once(metering: Metering) -> None:
    await metering.meter()
    await dismount(metering, final_reading=1, request_id="r-1")
    again = await dismount(metering, final_reading=1, request_id="r-1")
    assert len(again.lives) == 1
    with pytest.raises(FailedPrecondition, match="none lives any more"):
        await dismount(metering, final_reading=1)
