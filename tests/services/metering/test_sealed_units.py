"""Days that are kept without their readings stay in the unit that was counted then, whatever is counted now."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlmodel import Session

from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.clock import SteppedClock
from servicekit.database import Database
from servicekit.tenants import FixedTenants
from services.metering.life import Installation
from services.metering.meter import Medium
from services.metering.retention import Retention
from services.metering.rolling import RollupKeeper
from services.metering.slot import SLOT_MS
from services.metering.store import installations, lock
from services.metering.store.feed import Source
from services.metering.store.lives import lives_of
from services.metering.store.meters import find_row
from services.metering.validation.parameters import DEFAULTS
from tests.services.metering.holding import held
from tests.services.metering.making import NOON_MS, NOW
from tests.services.metering.running import PARENT, Metering, columns, name_of, running_metering, stamp
from tests.services.metering.test_retention import AlwaysHeld
from tests.support.issuer import Issuer
from tests.support.running import HERSFELD, TOWNS

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


FACTOR = pb.GasFactor(valid_from="2020-01-01", calorific_value_wh_per_m3=11_000, state_number_e4=10_000)
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Town:
    """A gas meter in litres with some weeks of readings, and what works on them by itself."""

    def __init__(self, metering: Metering, database: Database) -> None:
        self.metering, self._database, self._tenants = metering, database, FixedTenants(TOWNS)

    async def read(self, days_read: int = DAYS) -> None:
        """Quarter hours until now."""
        await self.metering.meter(
            medium=pb.MEDIUM_GAS, unit=pb.UNIT_L, reading_cycle=pb.READING_CYCLE_QUARTER_HOUR, gas_factors=[FACTOR]
        )
        count = days_read * 96
        await self.metering.ingest(columns([100 * number for number in range(count + 1)], first=-count))

    async def read_and_seal(self) -> None:
        """The same, with the oldest readings given up and their days kept."""
        await self.read()
        await self.roll_up()
        assert await self.give_up() > 0

    async def to_watt_hours(self, days_ago: int) -> None:
        """Another register hung there since, which counts Wh: what was read since was its."""
        count = (DAYS - days_ago) * 96
        await self.metering.as_().ExchangeMeter(
            pb.ExchangeMeterRequest(
                name=name_of(), exchanged_at=stamp(-96 * days_ago), final_reading=100 * count, serial_number="new",
                first_reading=100 * count, change=pb.RegisterChange(unit=pb.UNIT_WH),
            )
        )  # fmt: skip

    async def roll_up(self) -> None:
        """Brings roll-ups up to date."""
        keeper = RollupKeeper(self._database, self._tenants, SteppedClock(NOW), AlwaysHeld())  # type: ignore[arg-type]
        await keeper.bring_up_to_date()

    async def give_up(self, days_later: int = 0) -> int:
        """Deletes readings of more than a month ago, and seals their days."""
        clock = SteppedClock(NOW + timedelta(days=days_later))
        return await Retention(self._database, self._tenants, clock, {Medium.GAS: 1}).apply()


@SQLITE
async def test_litres_of_kept_days_are_never_told_as_watt_hours(issuer: Issuer, database: Database) -> None:
    async with running_metering(issuer, database) as metering:
        town = Town(metering, database)
        await town.read_and_seal()
        litres, energy = await days(metering, 65), await days(metering, 65, as_energy=True)
        assert (A_DAY_L in litres.amounts, A_DAY_L * WH_OF_A_LITRE in energy.amounts) == (True, True)
        await town.to_watt_hours(0)
        told = await days(metering, 65)
        assert (list(told.units), set(told.amounts), set(told.coverages_permille)) == ([pb.UNIT_WH], {0}, {0})
        again = await days(metering, 65, as_energy=True)
        assert (list(again.amounts), list(again.coverages_permille)) == (
            list(energy.amounts), list(energy.coverages_permille),
        )  # fmt: skip


@SQLITE
async def test_nor_once_roll_ups_of_the_new_register_were_made(issuer: Issuer, database: Database) -> None:
    async with running_metering(issuer, database) as metering:
        town = Town(metering, database)
        await town.read_and_seal()
        energy = await days(metering, 65, as_energy=True)
        await town.to_watt_hours(10)
        for _ in range(2):
            told, since = await days(metering, 65), await days(metering, 8)
            assert (set(told.amounts), set(told.coverages_permille)) == ({0}, {0})
            assert A_DAY_L in since.amounts  # in Wh: it goes on with as much
            whole = await metering.as_().QueryConsumption(
                pb.QueryConsumptionRequest(
                    parent=PARENT, meters=[name_of()], start_time=stamp(-96 * 65), end_time=stamp(0),
                    step=pb.STEP_TOTAL, without_evidence=True,
                )
            )  # fmt: skip
            assert list(whole.amounts) == [A_DAY_L * 10]
            again = await days(metering, 65, as_energy=True)
            assert list(again.amounts) == list(energy.amounts)
            await town.roll_up()


@SQLITE
async def test_retention_leaves_the_energy_of_litres_as_it_was(issuer: Issuer, database: Database) -> None:
    async with running_metering(issuer, database) as metering:
        town = Town(metering, database)
        await town.read()
        await town.to_watt_hours(40)
        await town.roll_up()
        before = await days(metering, 50, as_energy=True)
        assert A_DAY_L * WH_OF_A_LITRE in before.amounts
        await town.give_up(days_later=30)
        after = await days(metering, 50, as_energy=True)
        assert (list(after.amounts), list(after.coverages_permille)) == (
            list(before.amounts), list(before.coverages_permille),
        )  # fmt: skip


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_who_deletes_waits_for_an_installation_that_is_being_recorded(issuer: Issuer, database: Database) -> None:
    """Else both would go by: days sealed that know nothing of a register's first weeks, which nobody can add."""
    async with running_metering(issuer, database) as metering:
        town = Town(metering, database)
        await town.read()
        await town.roll_up()

        def install(session: Session) -> None:
            lock.to_change_registers(session)
            row = find_row(session, HERSFELD.uid, "M-1")
            assert row is not None
            lives = lives_of(session, [row.uid])[row.uid]
            since = Installation(NOON_MS - (DAYS + 5) * 96 * SLOT_MS, 0)
            installations.install(session, row, lives, since, Source("installation", "anna", NOW), DEFAULTS)

        async with held(metering, install) as waiting:
            deleting = asyncio.create_task(town.give_up())
            await waiting(1)
        deleted = await deleting
        # The days before were not there yet when it came to its turn: first they are rolled up.
        assert deleted == 0
        await town.roll_up()
        assert await town.give_up() > 0
        await town.roll_up()
        found = await metering.as_().QueryConsumption(
            pb.QueryConsumptionRequest(
                parent=PARENT, meters=[name_of()], start_time=stamp(-96 * (DAYS + 6)), end_time=stamp(0),
                step=pb.STEP_LOCAL_MONTH,
            )
        )  # fmt: skip
        assert sum(found.amounts) == 100 * 96 * DAYS
