"""Exchanges that are entered long after the fact: what is in doubt, and what is kept without its readings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlmodel import Session

from domain.errors import FailedPrecondition
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.clock import SteppedClock
from servicekit.database import Database
from servicekit.tenants import FixedTenants
from services.metering.life import Exchange, Origin
from services.metering.meter import Medium
from services.metering.reading import Readings, Status
from services.metering.retention import Retention
from services.metering.rolling import RollupKeeper
from services.metering.slot import SLOT_MS
from services.metering.store import exchanges
from services.metering.store import meters as store
from services.metering.store.feed import Source
from services.metering.store.polled import write_polled
from services.metering.validation.parameters import DEFAULTS
from tests.services.metering.making import NOON_MS, NOW
from tests.services.metering.running import PARENT, Metering, columns, name_of, running_metering, stamp
from tests.services.metering.test_api_exchange import poll, stored
from tests.services.metering.test_retention import AlwaysHeld
from tests.support.issuer import Issuer
from tests.support.running import HERSFELD, TOWNS

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
DAYS, A_SLOT_L = 70, 100
MEASURED, GAP, DOUBTFUL = Status.MEASURED, Status.GAP, Status.DOUBTFUL


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


async def test_an_amount_in_doubt_stays_so_with_the_new_meter(metering: Metering) -> None:
    await metering.meter(kind=pb.READING_KIND_INTERVAL, reading_cycle=pb.READING_CYCLE_HOUR, serial_number="old")
    hours = [NOON_MS - 4 * SLOT_MS * hour for hour in range(12, 0, -1)]
    for slots in (hours, [NOON_MS - 14 * SLOT_MS]):  # the last one within the hour of another
        brought = pb.ReadingColumns(
            meters=[name_of()], meter_indexes=[0] * len(slots), slots_unix_ms=slots, values=[100] * len(slots)
        )
        assert (await metering.ingest(brought)).stored == len(slots)
    before, amounts = await stored(metering), await used(metering, -32, -4)
    assert [status for _, status in before].count(DOUBTFUL) == 1
    await exchange(metering, -32)
    assert (await stored(metering), await used(metering, -32, -4)) == (before, amounts)


async def test_what_polling_doubts_of_an_amount_is_doubted_when_it_comes_after_an_exchange(metering: Metering) -> None:
    made = await metering.meter(
        kind=pb.READING_KIND_INTERVAL, reading_cycle=pb.READING_CYCLE_QUARTER_HOUR, serial_number="old"
    )
    await poll(metering, [100, 100])

    def old(session: Session) -> tuple[int, str]:
        life = store.whole(session, [store.get_row(session, HERSFELD.uid, "M-1", made.name)])[0].lives[0]
        return life.key, life.uid

    key, uid = await metering.servicer.database.read(old)
    await exchange(metering, -6)
    late = Readings.of([key] * 2, [NOON_MS - 6 * SLOT_MS, NOON_MS - 5 * SLOT_MS], [900, 100], [DOUBTFUL, MEASURED])
    polled = Source("poll", "service:metering", NOW)
    await metering.servicer.database.run(lambda session: write_polled(session, late, {key: uid}, polled, DEFAULTS))
    assert await stored(metering) == [(100, MEASURED), (100, MEASURED), (900, DOUBTFUL), (100, MEASURED)]


async def test_a_counter_that_its_device_doubted_is_judged_anew_by_what_stands_around_it(metering: Metering) -> None:
    await metering.meter(serial_number="old")
    await poll(metering, [9_000, 100])
    await poll(metering, [77_777], first="-6", status=DOUBTFUL)
    await poll(metering, [200], first="-5")
    await exchange(metering, -7, final_reading=9_000)
    assert await stored(metering) == [(9_000, MEASURED), (100, MEASURED), (77_777, DOUBTFUL), (200, MEASURED)]


async def reset(metering: Metering, at_ms: int, final_reading: int) -> None:
    """Records that the counter began anew, as polling does."""

    def seen(session: Session) -> None:
        row = store.get_row(session, HERSFELD.uid, "M-1", "")
        what = Exchange(at_ms, final_reading, 0, Origin.RESET)
        lives = store.whole(session, [row])[0].lives
        exchanges.exchange(session, row, lives, what, Source("reset", "service:metering", NOW), DEFAULTS)

    await metering.servicer.database.run(seen)


async def test_what_was_in_doubt_before_a_reset_is_the_new_meters_if_it_was_there_already(metering: Metering) -> None:
    await metering.meter(serial_number="old", transformer_ratio=40)
    await poll(metering, [4_000])
    for first, value, status in (("-7", 40, DOUBTFUL), ("-6", 0, GAP), ("-5", 77_760, DOUBTFUL), ("-4", 120, DOUBTFUL)):
        await poll(metering, [value], first=first, status=status)
    await poll(metering, [160], first="-3", status=DOUBTFUL)
    await reset(metering, NOON_MS - 4 * SLOT_MS - SLOT_MS // 2, 4_000)
    assert [status for _, status in await stored(metering)] == [MEASURED, DOUBTFUL, GAP, DOUBTFUL, MEASURED, MEASURED]
    request = pb.ExchangeMeterRequest(
        name=name_of(), exchanged_at=stamp(-8), final_reading=4_000, serial_number="new",
        change=pb.RegisterChange(transformer_ratio=100),
    )  # fmt: skip
    request.exchanged_at.seconds += 60
    answer = await metering.as_().ExchangeMeter(request)
    expected = [(4_000, MEASURED), (100, MEASURED), (0, GAP), (194_400, DOUBTFUL), (300, MEASURED), (400, MEASURED)]
    assert await stored(metering) == expected
    assert (answer.latest_value, await used(metering, -8, -3)) == (400, [400])


async def test_what_was_in_doubt_after_a_reset_is_the_old_meters_if_it_was_there_still(metering: Metering) -> None:
    await metering.meter(serial_number="old")
    await poll(metering, [4_000, 4_400])
    await reset(metering, NOON_MS - 6 * SLOT_MS - SLOT_MS // 2, 4_400)
    await poll(metering, [4_460, 77_777, 20], first="-6", status=DOUBTFUL)
    await exchange(metering, -3, final_reading=4_480)
    await poll(metering, [10, 30], first="-3")
    expected = [(4_400, MEASURED), (4_460, MEASURED), (77_777, DOUBTFUL), (20, DOUBTFUL), (10, MEASURED)]
    assert (await stored(metering))[1:6] == expected
    assert await used(metering, -8, -2) == [480 + 30]


async def of_an_outage(metering: Metering) -> None:
    """9 000 at slot -24, nothing for six hours, then 5: a reset that began at slot -12, and estimates after it."""
    await metering.meter(serial_number="old", reading_cycle=pb.READING_CYCLE_QUARTER_HOUR)
    await poll(metering, [9_000], first="-24")
    await reset(metering, NOON_MS - 12 * SLOT_MS, 9_000)
    await poll(metering, [5], first="0")
    filled = await metering.as_().EstimateReadings(
        pb.EstimateReadingsRequest(
            name=name_of(), start_time=stamp(-24), end_time=stamp(0), method=pb.ESTIMATION_METHOD_LINEAR, reason="x"
        )
    )
    assert len(filled.readings.values) == 11  # what the old register counted last nobody knows


@pytest.mark.parametrize(("at", "final", "first", "before", "after"), [(-8, 9_002, 3, 2, 2), (-16, 9_001, 3, 1, 2)])
async def test_an_estimate_between_a_reset_and_the_exchange_that_it_was_hides_neither(
    metering: Metering, at: int, final: int, first: int, before: int, after: int
) -> None:
    """Later and earlier than the reset was thought to be: what was estimated from its first counter goes."""
    await of_an_outage(metering)
    await exchange(metering, at, final_reading=final, first_reading=first)
    assert [await used(metering, -24, at), await used(metering, at, 0)] == [[before], [after]]
    assert sum(await used(metering, -24, 0, pb.STEP_QUARTER_HOUR)) == before + after
    meter = await metering.as_().GetMeter(pb.GetMeterRequest(name=name_of()))
    assert len(meter.lives) == 2
