"""Days that are kept without their readings stay in the unit that was counted then, whatever is counted now."""

from __future__ import annotations

import pytest

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

DAYS = 70
A_DAY_L = 96 * 100
WH_OF_A_LITRE = 11
"""At the calorific value and state number below."""


async def days(metering: Metering, first: int, **asked: bool) -> pb.QueryConsumptionResponse:
    """Two local days, so many days ago."""
    found: pb.QueryConsumptionResponse = await metering.as_().QueryConsumption(
        pb.QueryConsumptionRequest(
            parent=PARENT, meters=[name_of()], start_time=stamp(-96 * first), end_time=stamp(-96 * (first - 2)),
            step=pb.STEP_LOCAL_DAY, **asked,
        )
    )  # fmt: skip
    return found


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_litres_of_kept_days_are_never_told_as_watt_hours(issuer: Issuer, database: Database) -> None:
    factor = pb.GasFactor(valid_from="2020-01-01", calorific_value_wh_per_m3=11_000, state_number_e4=10_000)
    async with running_metering(issuer, database) as metering:
        await metering.meter(
            medium=pb.MEDIUM_GAS, unit=pb.UNIT_L, reading_cycle=pb.READING_CYCLE_QUARTER_HOUR, gas_factors=[factor]
        )
        count = DAYS * 96
        await metering.ingest(columns([100 * number for number in range(count + 1)], first=-count))
        tenants, clock = FixedTenants(TOWNS), SteppedClock(NOW)
        await RollupKeeper(database, tenants, clock, AlwaysHeld()).bring_up_to_date()  # type: ignore[arg-type]
        assert await Retention(database, tenants, clock, {Medium.GAS: 1}).apply() > 0
        litres, energy = await days(metering, 65), await days(metering, 65, as_energy=True)
        assert (A_DAY_L in litres.amounts, A_DAY_L * WH_OF_A_LITRE in energy.amounts) == (True, True)
        await metering.as_().ExchangeMeter(
            pb.ExchangeMeterRequest(
                name=name_of(), exchanged_at=stamp(0), final_reading=100 * count, serial_number="new",
                change=pb.RegisterChange(unit=pb.UNIT_WH),
            )
        )  # fmt: skip
        told = await days(metering, 65)
        assert (list(told.units), set(told.amounts), set(told.coverages_permille)) == ([pb.UNIT_WH], {0}, {0})
        again = await days(metering, 65, as_energy=True)
        assert (list(again.amounts), list(again.coverages_permille)) == (
            list(energy.amounts), list(energy.coverages_permille),
        )  # fmt: skip
