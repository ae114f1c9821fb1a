"""Exchanges that are entered long after the fact: what is in doubt, and what is kept without its readings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.errors import FailedPrecondition
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.clock import SteppedClock
from servicekit.database import Database
from servicekit.tenants import FixedTenants
from services.metering.meter import Medium
from services.metering.retention import Retention
from services.metering.rolling import RollupKeeper
from tests.services.metering.making import NOW
from tests.services.metering.running import PARENT, Metering, columns, name_of, running_metering, stamp
from tests.services.metering.test_retention import AlwaysHeld
from tests.support.issuer import Issuer
from tests.support.running import TOWNS

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
DAYS, A_SLOT_L = 70, 100


@pytest.fixture
async def metering(issuer: Issuer, database: Database) -> AsyncIterator[Metering]:
    async with running_metering(issuer, database) as running:
        yield running


async def exchange(metering: Metering, at: int, **values: Any) -> pb.Meter:
    """Records an exchange so many slots after noon."""
    request = pb.ExchangeMeterRequest(name=name_of(), exchanged_at=stamp(at), serial_number="new", **values)
    answer: pb.Meter = await metering.as_().ExchangeMeter(request)
    return answer


async def used(metering: Metering, first: int, last: int, step: Any = pb.STEP_TOTAL) -> list[int]:
    """What was used between some slots after noon."""
    request = pb.QueryConsumptionRequest(
        parent=PARENT, meters=[name_of()], start_time=stamp(first), end_time=stamp(last), step=step
    )
    return list((await metering.as_().QueryConsumption(request)).amounts)


async def test_another_unit_is_not_entered_before_days_that_are_kept_without_their_readings(
    metering: Metering, database: Database
) -> None:
    factor = pb.GasFactor(valid_from="2020-01-01", calorific_value_wh_per_m3=11_000, state_number_e4=10_000)
    await metering.meter(
        medium=pb.MEDIUM_GAS, unit=pb.UNIT_L, reading_cycle=pb.READING_CYCLE_QUARTER_HOUR, gas_factors=[factor]
    )
    count = DAYS * 96
    await metering.ingest(columns([A_SLOT_L * number for number in range(count + 1)], first=-count))
    tenants, clock = FixedTenants(TOWNS), SteppedClock(NOW)
    await RollupKeeper(database, tenants, clock, AlwaysHeld()).bring_up_to_date()  # type: ignore[arg-type]
    assert await Retention(database, tenants, clock, {Medium.GAS: 1}).apply() > 0

    async def exchanged(days: int, **change: Any) -> pb.Meter:
        final = A_SLOT_L * (count - 96 * days)
        return await exchange(metering, -96 * days, final_reading=final, change=pb.RegisterChange(**change))

    with pytest.raises(FailedPrecondition, match=r"exchanged_at: figures until .* are kept without their readings"):
        await exchanged(64, unit=pb.UNIT_WH)
    told = await used(metering, -96 * 64, -96 * 61, pb.STEP_LOCAL_DAY)
    assert (len((await metering.as_().GetMeter(pb.GetMeterRequest(name=name_of()))).lives), sum(told) > 0) == (1, True)
    # Where the unit stays it is only another meter, and what comes after the kept days is not theirs.
    assert len((await exchanged(63, unit=pb.UNIT_L)).lives) == 2
    assert [life.unit for life in (await exchanged(10, unit=pb.UNIT_WH)).lives][-1] == pb.UNIT_WH
