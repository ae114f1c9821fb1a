"""Readings as large as a column holds them, over gRPC: answers are exact, or refused by meter and instant."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.errors import InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.database import Database
from services.metering.reading import VALUE_MAX
from tests.services.metering.running import PARENT, Metering, columns, name_of, running_metering, stamp
from tests.support.issuer import Issuer


@pytest.fixture
async def metering(issuer: Issuer, database: Database) -> AsyncIterator[Metering]:
    async with running_metering(issuer, database) as running:
        yield running


sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
QUARTER_HOURS = {"kind": pb.READING_KIND_INTERVAL, "reading_cycle": pb.READING_CYCLE_QUARTER_HOUR}


def period(first: int, last: int, **more: Any) -> dict[str, Any]:
    return {"parent": PARENT, "start_time": stamp(first), "end_time": stamp(last), **more}


async def amounts(metering: Metering, meter: str, first: int, last: int, step: Any, **more: Any) -> list[int]:
    request = pb.QueryConsumptionRequest(meters=[name_of(meter)], step=step, **period(first, last), **more)
    return list((await metering.as_().QueryConsumption(request)).amounts)


@pytest.mark.parametrize("without_evidence", [False, True])
async def test_amounts_that_nothing_holds_together_are_refused_and_those_of_a_day_are_exact(
    metering: Metering, without_evidence: bool
) -> None:
    await metering.meter("I-1", **QUARTER_HOURS)
    answer = await metering.ingest(columns([VALUE_MAX] * 1_500, first=-1_500, meter_id="I-1"))
    assert answer.stored == 1_500, answer.refusals
    how = {"without_evidence": without_evidence}
    with pytest.raises(InvalidInput, match=rf"I-1: together they are more.*{VALUE_MAX} from 2026-03-.*T..:..:00"):
        await amounts(metering, "I-1", -1_501, -1, pb.STEP_TOTAL, **how)
    assert await amounts(metering, "I-1", -97, -1, pb.STEP_TOTAL, **how) == [96 * VALUE_MAX]
    assert await amounts(metering, "I-1", -5, -1, pb.STEP_QUARTER_HOUR, **how) == [VALUE_MAX] * 4


@pytest.mark.parametrize("without_evidence", [False, True])
async def test_a_counter_that_is_beyond_counting_in_its_unit_is_refused_by_meter_and_slot(
    metering: Metering, without_evidence: bool
) -> None:
    await metering.meter("M-1", scale_exponent=6, reading_cycle=pb.READING_CYCLE_QUARTER_HOUR)
    await metering.ingest(columns([VALUE_MAX - 200 + n for n in range(200)], first=-199))
    reason = rf"M-1: {VALUE_MAX - 1} at 2026-03-28T..:..Z times 1000000 is more than a column holds"
    with pytest.raises(InvalidInput, match=reason):
        await amounts(metering, "M-1", -100, 0, pb.STEP_TOTAL, without_evidence=without_evidence)


@sqlite_only
async def test_a_load_profile_of_such_amounts_is_exact(metering: Metering) -> None:
    await metering.meter("I-1", **QUARTER_HOURS)
    await metering.ingest(columns([VALUE_MAX, 1, 1, 1], first=-4, meter_id="I-1"))
    request = pb.QueryLoadRequest(meters=[name_of("I-1")], **period(-5, -1))
    [found] = (await metering.as_().QueryLoad(request)).figures
    assert (found.peak, found.mean, found.base_load) == (4 * VALUE_MAX, VALUE_MAX + 3, 4)
    assert (found.full_load_hours, found.load_factor_permille) == (0, 250)


@sqlite_only
async def test_losses_of_such_amounts_are_told_as_they_are(metering: Metering) -> None:
    await metering.meter("main", loss_tolerance_permille=500, **QUARTER_HOURS)
    for meter, value in (("main", VALUE_MAX), ("a", VALUE_MAX), ("b", VALUE_MAX)):
        if meter != "main":
            await metering.meter(meter, main_meter=name_of("main"), **QUARTER_HOURS)
        await metering.ingest(columns([value, 10], first=-4, meter_id=meter))
    request = pb.QueryLossesRequest(
        name=name_of("main"), start_time=stamp(-5), end_time=stamp(-3), step=pb.STEP_QUARTER_HOUR
    )
    answer = await metering.as_().QueryLosses(request)
    assert list(answer.sub_amounts) == [2 * VALUE_MAX, 20]
    assert list(answer.verdicts) == [pb.LOSS_VERDICT_SURPLUS] * 2


@sqlite_only
async def test_a_comparison_that_no_answer_holds_is_refused_by_meter(metering: Metering) -> None:
    await metering.meter("I-1", floor_area_m2=1, **QUARTER_HOURS)
    await metering.ingest(columns([VALUE_MAX] * 8, first=-8, meter_id="I-1"))
    request = pb.CompareConsumptionRequest(
        meters=[name_of("I-1")],
        reference_start_time=stamp(-9),
        reference_end_time=stamp(-5),
        **period(-5, -1),
    )
    with pytest.raises(InvalidInput, match=r"I-1: .* are more than can be compared"):
        await metering.as_().CompareConsumption(request)


@sqlite_only
async def test_values_of_a_sensor_in_a_coarse_scale_are_refused_by_meter_and_slot(metering: Metering) -> None:
    kind = {"kind": pb.READING_KIND_INSTANT, "medium": pb.MEDIUM_LIGHT, "unit": pb.UNIT_LX}
    await metering.meter("L-1", **kind)
    await metering.ingest(columns([-VALUE_MAX, VALUE_MAX], first=-2, meter_id="L-1"))
    request = pb.QueryValuesRequest(meters=[name_of("L-1")], step=pb.STEP_TOTAL, **period(-2, 0))
    answer = await metering.as_().QueryValues(request)
    assert (list(answer.means), list(answer.minima), list(answer.maxima)) == ([0], [-VALUE_MAX], [VALUE_MAX])


@sqlite_only
async def test_a_store_holds_no_more_than_a_store_can(metering: Metering) -> None:
    kind = {"kind": pb.READING_KIND_STOCK, "medium": pb.MEDIUM_OIL, "unit": pb.UNIT_L}
    await metering.meter("oil", reading_cycle=pb.READING_CYCLE_QUARTER_HOUR, **kind)
    for amount in (10**9 + 1, VALUE_MAX):
        delivery = pb.Delivery(delivered_at=stamp(-2), amount=amount)
        with pytest.raises(InvalidInput, match=r"delivery\.amount: .* than the 1000000000 that a store could"):
            await metering.as_().RecordDelivery(pb.RecordDeliveryRequest(parent=name_of("oil"), delivery=delivery))
    await metering.ingest(columns([5_000, VALUE_MAX], first=-3, meter_id="oil"))
    with pytest.raises(InvalidInput, match=rf"oil: {VALUE_MAX} at 2026-03-28T..:..Z is more than a store can hold"):
        await amounts(metering, "oil", -3, -2, pb.STEP_TOTAL)
