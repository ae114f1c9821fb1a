"""When a meter was hung up and what it showed then, said with it, late, or put right: what it counted since is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy import text
from sqlmodel import Session

from domain.errors import FailedPrecondition, InvalidInput, NotPermitted
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.database import Database
from services.metering.store import lock
from tests.services.metering.holding import held, outcome
from tests.services.metering.running import PARENT, Metering, columns, name_of, running_metering, stamp
from tests.support.issuer import Issuer


@pytest.fixture
async def metering(issuer: Issuer, database: Database) -> AsyncIterator[Metering]:
    async with running_metering(issuer, database) as running:
        yield running


METHOD = "lichtbuch.metering.v1.MeteringService/InstallMeter"
sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def install(metering: Metering, meter_id: str = "M-1", at: int = -12, **values: Any) -> pb.Meter:
    """Records that a meter was hung up so many slots after noon."""
    request = pb.InstallMeterRequest(name=name_of(meter_id), installed_at=stamp(at), **values)
    answer: pb.Meter = await metering.as_().InstallMeter(request)
    return answer


async def dated(metering: Metering, meter_id: str, at: int | None, **values: Any) -> pb.Meter:
    """Says of one meter alone when it was hung up; None for nobody knows."""
    when: dict[str, Any] = {} if at is None else {"installed_at": stamp(at)}
    paths = ["installed_at", "first_reading"] if at is None else ["installed_at", *values]
    request = pb.UpdateMeterRequest(
        meter=pb.Meter(name=name_of(meter_id), **when, **values), update_mask=FieldMask(paths=paths)
    )
    answer: pb.Meter = await metering.as_().UpdateMeter(request)
    return answer


async def get(metering: Metering, meter_id: str = "M-1") -> pb.Meter:
    meter: pb.Meter = await metering.as_().GetMeter(pb.GetMeterRequest(name=name_of(meter_id)))
    return meter


async def used(
    metering: Metering, first: int = -12, last: int = -4, step: Any = pb.STEP_QUARTER_HOUR, **options: Any
) -> pb.QueryConsumptionResponse:
    """What it used from some slots before noon until others."""
    request = pb.QueryConsumptionRequest(
        parent=PARENT, meters=[name_of()], start_time=stamp(first), end_time=stamp(last), step=step, **options
    )
    answer: pb.QueryConsumptionResponse = await metering.as_().QueryConsumption(request)
    return answer


async def test_what_was_counted_between_the_installation_and_the_first_reading_is_known(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns([100, 110, 120, 130, 140]))
    before = await used(metering)
    assert list(before.amounts) == [0, 0, 0, 0, 10, 10, 10, 10]
    answer = await install(metering, first_reading=60, reason="found the sheet of the fitter")
    assert (answer.installed_at, answer.first_reading, answer.HasField("first_reading")) == (stamp(-12), 60, True)
    (life,) = answer.lives
    assert (life.installed_at, life.first_reading) == (stamp(-12), 60)
    found = await used(metering)
    assert list(found.amounts) == [10, 10, 10, 10, 10, 10, 10, 10]
    assert list(found.estimated_amounts) == [10, 10, 10, 10, 0, 0, 0, 0]
    assert list(found.coverages_permille) == [0] * 4 + [1000] * 4
    assert (answer.latest_value, answer.latest_slot) == (140, stamp(-4))


async def test_it_is_put_right_and_taken_back(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns([100, 110]))
    await install(metering, first_reading=60)
    await install(metering, at=-10, first_reading=80)
    assert list((await used(metering, last=-7)).amounts) == [0, 0, 10, 10, 10]
    again = await install(metering, at=-12, first_reading=20)
    assert (again.installed_at, again.first_reading) == (stamp(-12), 20)
    assert list((await used(metering, last=-7)).amounts) == [20, 20, 20, 20, 10]
    mask = FieldMask(paths=["installed_at", "first_reading"])
    request = pb.UpdateMeterRequest(meter=pb.Meter(name=name_of()), update_mask=mask)
    nobody_knows = await metering.as_().UpdateMeter(request)
    assert not nobody_knows.HasField("installed_at")
    assert not nobody_knows.HasField("first_reading")
    assert list((await used(metering, last=-7)).amounts) == [0, 0, 0, 0, 10]


@sqlite_only
async def test_a_meter_may_come_with_its_installation(metering: Metering) -> None:
    made = await metering.meter(installed_at=stamp(-12), first_reading=0)
    assert (made.installed_at, made.HasField("first_reading"), made.lives[0].installed_at) == (
        stamp(-12),
        True,
        stamp(-12),
    )
    late = await metering.ingest(columns([3, 7], first=-14))
    assert (late.stored, late.refused) == (0, 2)
    assert "out of the register's life" in late.refusals[0]
    await metering.ingest(columns([100, 110]))
    assert sum((await used(metering)).amounts) == 110


@sqlite_only
async def test_an_update_names_one_of_both_and_leaves_the_other(metering: Metering) -> None:
    await metering.meter(installed_at=stamp(-12), first_reading=0)
    request = pb.UpdateMeterRequest(
        meter=pb.Meter(name=name_of(), first_reading=5), update_mask=FieldMask(paths=["first_reading"])
    )
    changed = await metering.as_().UpdateMeter(request)
    assert (changed.installed_at, changed.first_reading) == (stamp(-12), 5)
    same = await metering.as_().UpdateMeter(pb.UpdateMeterRequest(meter=changed))
    assert (same.installed_at, same.first_reading) == (stamp(-12), 5)
    with pytest.raises(InvalidInput, match=r"meter.first_reading: what the counter showed"):
        await metering.as_().UpdateMeter(
            pb.UpdateMeterRequest(
                meter=pb.Meter(name=name_of(), installed_at=stamp(-13)),
                update_mask=FieldMask(paths=["installed_at", "first_reading"]),
            )
        )


async def test_a_housing_is_hung_up_with_all_its_registers(metering: Metering) -> None:
    await metering.meter("whole")
    await metering.meter("low", device=name_of("whole"), obis_code="1-0:1.8.2")
    await metering.meter("power", device=name_of("whole"), unit=pb.UNIT_W, kind=pb.READING_KIND_INSTANT)
    await metering.ingest(columns([50], meter_id="low"))
    with pytest.raises(InvalidInput, match="the first reading is missing of low"):
        await install(metering, "whole", first_reading=0)
    with pytest.raises(FailedPrecondition, match="sits in the housing of whole: install that"):
        await install(metering, "low", first_reading=0)
    parts = [pb.RegisterInstallation(meter=name_of("low"), first_reading=60)]
    with pytest.raises(InvalidInput, match=r"registers\[0\].first_reading: 60 is more than the 50 read at"):
        await install(metering, "whole", first_reading=0, registers=parts)
    assert not (await get(metering, "whole")).HasField("installed_at")
    parts = [pb.RegisterInstallation(meter=name_of("low"), first_reading=5)]
    await install(metering, "whole", first_reading=0, registers=parts)
    low, power = await get(metering, "low"), await get(metering, "power")
    assert (low.installed_at, low.first_reading) == (stamp(-12), 5)
    assert (power.installed_at, power.HasField("first_reading")) == (stamp(-12), False)
    with pytest.raises(InvalidInput, match="the housing that it sits in was hung up at"):
        await metering.meter("high", device=name_of("whole"), installed_at=stamp(-11), first_reading=0)
    await metering.meter("high", device=name_of("whole"), installed_at=stamp(-12), first_reading=0)


@sqlite_only
async def test_a_housing_is_not_dated_apart_from_its_registers(metering: Metering) -> None:
    await metering.meter("whole")
    await metering.meter(
        "low", device=name_of("whole"), obis_code="1-0:1.8.2", installed_at=stamp(-12), first_reading=0
    )
    await metering.meter("high", device=name_of("whole"), obis_code="1-0:1.8.1")
    with pytest.raises(InvalidInput, match=r"meter.installed_at: register low in its housing was hung up at"):
        await dated(metering, "whole", -11, first_reading=0)
    await dated(metering, "whole", -12, first_reading=0)
    with pytest.raises(InvalidInput, match="register low in its housing was hung up at"):
        await dated(metering, "whole", -10)
    assert (await get(metering, "whole")).installed_at == stamp(-12)
    parts = [pb.RegisterInstallation(meter=name_of(one), first_reading=0) for one in ("low", "high")]
    await install(metering, "whole", at=-10, first_reading=0, registers=parts)
    assert {(await get(metering, one)).installed_at.seconds for one in ("whole", "low", "high")} == {stamp(-10).seconds}
    await dated(metering, "whole", None)
    assert not (await get(metering, "whole")).HasField("installed_at")


@sqlite_only
async def test_a_register_that_came_with_a_later_housing_leaves_the_first_one_free(metering: Metering) -> None:
    await metering.meter("whole")
    await metering.ingest(columns([50], meter_id="whole"))
    request = pb.ExchangeMeterRequest(name=name_of("whole"), exchanged_at=stamp(-4), final_reading=60)
    await metering.as_().ExchangeMeter(request)
    await metering.meter("low", device=name_of("whole"), obis_code="1-0:1.8.2", installed_at=stamp(-4), first_reading=0)
    assert (await dated(metering, "whole", -12, first_reading=0)).installed_at == stamp(-12)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_two_who_put_one_half_right_each_leave_the_others_half(metering: Metering) -> None:
    await metering.meter(installed_at=stamp(-12), first_reading=0)
    async with held(metering, lock.to_change_registers) as waiting, asyncio.TaskGroup() as tasks:
        date = pb.UpdateMeterRequest(
            meter=pb.Meter(name=name_of(), installed_at=stamp(-10)), update_mask=FieldMask(paths=["installed_at"])
        )
        first = pb.UpdateMeterRequest(
            meter=pb.Meter(name=name_of(), first_reading=5), update_mask=FieldMask(paths=["first_reading"])
        )
        for request in (date, first):
            tasks.create_task(metering.as_().UpdateMeter(request))
        await waiting(2)
    found = await get(metering)
    assert (found.installed_at, found.first_reading) == (stamp(-10), 5)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_of_two_who_have_seen_the_same_meter_the_second_is_told(metering: Metering) -> None:
    seen = await metering.meter(installed_at=stamp(-12), first_reading=0)
    async with held(metering, lock.to_change_registers) as waiting, asyncio.TaskGroup() as tasks:
        both = [
            tasks.create_task(
                outcome(
                    metering.as_().UpdateMeter(
                        pb.UpdateMeterRequest(
                            meter=pb.Meter(name=name_of(), first_reading=first, etag=seen.etag),
                            update_mask=FieldMask(paths=["first_reading"]),
                        )
                    )
                )
            )
            for first in (5, 6)
        ]
        await waiting(2)
    assert sorted(one.result() for one in both) == ["Conflict", "done"]


@sqlite_only
@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"at": -7, "first_reading": 0}, r"installed_at: readings count from .* on: it hung there then"),
        ({"at": 1, "first_reading": 0}, "installed_at: it lies in the future"),
        ({"at": -200_000_0, "first_reading": 0}, "installed_at: no register has hung since before 1970"),
        ({"first_reading": 101}, "first_reading: 101 is more than the 100 read at"),
        ({"at": -8, "first_reading": 99}, "first_reading: 99 is not the 100 read at .*, the very same instant"),
        ({"first_reading": 2**53}, "first_reading: .* is not a counter"),
        ({}, "first_reading: what the counter showed as it was hung up is missing"),
        ({"first_reading": 1, "registers": [pb.RegisterInstallation(meter=name_of("M-9"))]}, "M-9 does not sit in"),
    ],
)
async def test_what_cannot_have_been_is_refused_and_changes_nothing(
    metering: Metering, values: dict[str, Any], reason: str
) -> None:
    await metering.meter()
    await metering.ingest(columns([100, 200]))
    with pytest.raises(InvalidInput, match=reason):
        await install(metering, **values)
    assert not (await get(metering)).HasField("installed_at")


@sqlite_only
async def test_a_first_reading_above_the_next_is_one_that_rolled_over(metering: Metering) -> None:
    await metering.meter(rollover=1000)
    await metering.ingest(columns([20, 30]))
    with pytest.raises(InvalidInput, match="500 is more than the 20 read at"):
        await install(metering, first_reading=500)
    with pytest.raises(InvalidInput, match=r"1000 has more digits than the register \(rollover 1000\)"):
        await install(metering, first_reading=1000)
    await install(metering, first_reading=980)
    assert list((await used(metering, last=-7)).amounts) == [10] * 5


@sqlite_only
async def test_more_than_the_connected_load_allows_was_not_counted(metering: Metering) -> None:
    await metering.meter(connected_load_w=1_000)
    await metering.ingest(columns([100_000, 100_100]))
    with pytest.raises(InvalidInput, match=r"from 0 to the 100000 read at .* more than its connected load"):
        await install(metering, first_reading=0)
    await install(metering, first_reading=99_500)


@sqlite_only
async def test_what_is_no_counter_has_a_date_and_no_first_reading(metering: Metering) -> None:
    await metering.meter("T-1", medium=pb.MEDIUM_TEMPERATURE, unit=pb.UNIT_CELSIUS, kind=pb.READING_KIND_INSTANT)
    with pytest.raises(InvalidInput, match="first_reading: only a counter has a first reading"):
        await install(metering, "T-1", first_reading=0)
    hung = await install(metering, "T-1")
    assert (hung.installed_at, hung.HasField("first_reading")) == (stamp(-12), False)
    await metering.meter("A")
    await metering.meter("S", kind=pb.READING_KIND_VIRTUAL, terms=[pb.MeterTerm(meter=name_of("A"))])
    with pytest.raises(FailedPrecondition, match="a virtual meter hangs nowhere"):
        await install(metering, "S")
    with pytest.raises(InvalidInput, match=r"meter.installed_at: a first reading was read at some instant"):
        await metering.meter("B", first_reading=4)


@sqlite_only
async def test_of_a_meter_that_was_exchanged_it_is_the_first_one_that_was_hung_up(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns([100, 110]))
    exchange = pb.ExchangeMeterRequest(
        name=name_of(), exchanged_at=stamp(-6), final_reading=120, first_reading=7, serial_number="new"
    )
    await metering.as_().ExchangeMeter(exchange)
    with pytest.raises(InvalidInput, match="installed_at: that register was taken down, or gave way to another, at"):
        await install(metering, at=-6, first_reading=0)
    answer = await install(metering, first_reading=60)
    assert [life.first_reading for life in answer.lives] == [60, 7]
    assert (answer.installed_at, answer.first_reading) == (stamp(-12), 60)
    assert sum((await used(metering)).amounts) == 60
    with pytest.raises(FailedPrecondition, match=r"an installation at .* is recorded already"):
        await metering.as_().ExchangeMeter(
            pb.ExchangeMeterRequest(name=name_of(), exchanged_at=stamp(-12), final_reading=60)
        )


@sqlite_only
async def test_a_register_that_nobody_read_is_held_against_what_it_showed_at_the_end(metering: Metering) -> None:
    await metering.meter(connected_load_w=1_000)
    await metering.as_().ExchangeMeter(
        pb.ExchangeMeterRequest(name=name_of(), exchanged_at=stamp(-6), final_reading=3_000, serial_number="new")
    )
    with pytest.raises(InvalidInput, match="first_reading: 5000 is more than the 3000 read at"):
        await install(metering, first_reading=5_000)
    with pytest.raises(InvalidInput, match=r"from 0 to the 3000 read at .* is more than its connected load"):
        await install(metering, first_reading=0)
    answer = await install(metering, first_reading=2_400)
    assert [life.first_reading for life in answer.lives] == [2_400, 0]


@sqlite_only
async def test_a_meter_that_was_taken_down_still_has_its_installation_put_right(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns([100, 110]))
    await metering.as_().DismountMeter(
        pb.DismountMeterRequest(name=name_of(), dismounted_at=stamp(-6), final_reading=120)
    )
    await install(metering, first_reading=60)
    assert sum((await used(metering)).amounts) == 60


@sqlite_only
async def test_estimates_between_other_counters_become_gaps_again(metering: Metering) -> None:
    await metering.meter(reading_cycle=pb.READING_CYCLE_QUARTER_HOUR)
    await metering.ingest(columns([100, 110]))
    await install(metering, first_reading=20)
    request = pb.EstimateReadingsRequest(
        name=name_of(),
        start_time=stamp(-12),
        end_time=stamp(-8),
        reason="for the bill",
        method=pb.ESTIMATION_METHOD_LINEAR,
    )
    estimated = await metering.as_().EstimateReadings(request)
    assert list(estimated.readings.values) == [40, 60, 80]
    await install(metering, first_reading=70)
    listed = await metering.as_().ListReadings(
        pb.ListReadingsRequest(parent=PARENT, meters=[name_of()], start_time=stamp(-12), end_time=stamp(-8))
    )
    gap, estimate = pb.READING_STATUS_GAP, pb.READING_STATUS_ESTIMATED
    assert list(listed.readings.statuses) == [gap, gap, estimate]
    assert list(listed.readings.values) == [0, 0, 80]
    assert sum((await used(metering, last=-7)).amounts) == 40


async def estimate(metering: Metering, first: int, last: int) -> None:
    """Draws a straight line through what is missing between some slots before noon."""
    request = pb.EstimateReadingsRequest(
        name=name_of(),
        start_time=stamp(first),
        end_time=stamp(last),
        reason="for the bill",
        method=pb.ESTIMATION_METHOD_LINEAR,
    )
    assert (await metering.as_().EstimateReadings(request)).readings.values


@sqlite_only
async def test_estimates_of_a_register_that_nobody_read_go_by_its_final_reading(metering: Metering) -> None:
    await metering.meter(reading_cycle=pb.READING_CYCLE_QUARTER_HOUR)
    await install(metering, first_reading=0)
    exchange = pb.ExchangeMeterRequest(name=name_of(), exchanged_at=stamp(-4), final_reading=800, serial_number="new")
    await metering.as_().ExchangeMeter(exchange)
    await estimate(metering, -12, -4)
    await install(metering, first_reading=700)
    found = await used(metering, step=pb.STEP_TOTAL)
    assert (list(found.amounts), list(found.estimated_amounts)) == ([100], [100])


@sqlite_only
@pytest.mark.parametrize("rollover", [0, 100_000])
async def test_estimates_before_the_first_reading_go_with_the_installation(metering: Metering, rollover: int) -> None:
    await metering.meter(reading_cycle=pb.READING_CYCLE_QUARTER_HOUR, rollover=rollover)
    await metering.ingest(columns([800], first=-8))
    await metering.ingest(columns([1_200], first=-4))
    await install(metering, first_reading=0)
    await estimate(metering, -12, -4)
    await dated(metering, "M-1", None)
    found = await used(metering)
    assert (list(found.amounts), list(found.coverages_permille)[:4]) == ([0] * 4 + [100] * 4, [0] * 4)
    assert sum(found.estimated_amounts) == 400


@sqlite_only
async def test_what_somebody_brought_as_an_estimate_stays_when_the_installation_is_taken_away(
    metering: Metering,
) -> None:
    await metering.meter(reading_cycle=pb.READING_CYCLE_QUARTER_HOUR)
    brought = columns([500, 600], first=-10)
    brought.statuses.extend([pb.READING_STATUS_ESTIMATED] * 2)
    await metering.ingest(brought)
    await metering.ingest(columns([800], first=-8))
    await install(metering, first_reading=0)
    await estimate(metering, -12, -10)
    before = await used(metering, step=pb.STEP_TOTAL)
    await dated(metering, "M-1", None)
    after = await used(metering, step=pb.STEP_TOTAL)
    assert (list(before.amounts), list(after.amounts)) == ([800], [300])


async def test_the_hash_of_a_figure_changes_with_the_first_reading_that_it_rests_on(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns([100, 110, 120]))
    await install(metering, first_reading=60)
    hashes = {}
    for first in (-12, -10, -8):
        hashes[first] = (await used(metering, first, -6)).evidence_hash
    await install(metering, first_reading=64)
    for first, is_other in ((-12, True), (-10, True), (-8, False)):
        assert ((await used(metering, first, -6)).evidence_hash != hashes[first]) is is_other
    assert list((await used(metering, -10, -6)).amounts) == [9, 9, 10, 10]


@sqlite_only
async def test_it_is_recorded_once_by_whom_it_may_and_why(metering: Metering) -> None:
    await metering.meter()
    request = pb.InstallMeterRequest(
        name=name_of(), installed_at=stamp(-12), first_reading=3, reason="the sheet", request_id="r-1"
    )
    with pytest.raises(NotPermitted):
        await metering.as_("viewer").InstallMeter(request)
    first = await metering.as_("operator").InstallMeter(request)
    again = await metering.as_("operator").InstallMeter(request)
    assert first == again

    def trail(session: Session) -> list[Any]:
        statement = text("SELECT action, actor, reason FROM audit_record WHERE reason <> ''")
        return [tuple(row) for row in session.connection().execute(statement)]

    recorded = await metering.servicer.database.read(trail)
    assert recorded == [(METHOD, "operator", "the sheet")]


@sqlite_only
async def test_readings_that_come_later_are_judged_against_the_first_one(metering: Metering) -> None:
    await metering.meter(installed_at=stamp(-12), first_reading=500)
    brought = await metering.ingest(columns([100, 510, 520]))
    assert brought.stored == 3
    assert [finding.rule for finding in brought.findings] == ["negative_step"]
    assert sum((await used(metering)).amounts) == 20
