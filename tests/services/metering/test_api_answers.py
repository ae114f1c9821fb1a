"""What metering answers beyond consumption, over gRPC: load, losses, values, comparisons, stores and sums."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from domain.errors import FailedPrecondition, InvalidInput, NotFound, NotPermitted
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.access import Binding, Role
from servicekit.convert import timestamp_to_proto
from servicekit.database import Database
from services.metering.slot import SLOT_MS
from tests.services.metering.making import NOON_MS
from tests.services.metering.profiles import BERLIN
from tests.services.metering.running import PARENT, Metering, columns, name_of, running_metering, stamp
from tests.support.issuer import Issuer
from tests.support.running import OPERATOR, VIEWER


@pytest.fixture
async def metering(issuer: Issuer, database: Database) -> AsyncIterator[Metering]:
    async with running_metering(issuer, database) as running:
        yield running


sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def local(text: str) -> Timestamp:
    return timestamp_to_proto(datetime.fromisoformat(text).replace(tzinfo=BERLIN).astimezone(UTC))


def period(first: int, last: int, **more: Any) -> dict[str, Any]:
    return {"parent": PARENT, "start_time": stamp(first), "end_time": stamp(last), **more}


async def used(metering: Metering, meter: str, first: int, last: int, step: Any) -> pb.QueryConsumptionResponse:
    request = pb.QueryConsumptionRequest(meters=[name_of(meter)], step=step, **period(first, last))
    answer: pb.QueryConsumptionResponse = await metering.as_().QueryConsumption(request)
    return answer


# --- load -----------------------------------------------------------------------------------------------------


async def test_a_load_profile_has_a_peak_with_its_instant_and_a_base(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns([0, 100, 1_000, 1_100, 1_200]))
    answer = await metering.as_(VIEWER).QueryLoad(pb.QueryLoadRequest(meters=[name_of()], **period(-8, -4)))
    [found] = answer.figures
    assert (found.meter, found.unit, found.resolution_s) == (name_of(), pb.UNIT_WH, 900)
    assert (found.peak, found.peak_at, found.base_load, found.mean) == (3_600, stamp(-7), 400, 1_200)
    assert (found.load_factor_permille, found.full_load_hours) == (333, 0)
    assert (found.amount, found.coverage_permille, found.refusal) == (1_200, 1000, "")


@sqlite_only
async def test_what_has_no_profile_says_why(metering: Metering) -> None:
    await metering.meter("slp", reading_cycle=pb.READING_CYCLE_YEAR)
    await metering.meter("silent", reading_cycle=pb.READING_CYCLE_QUARTER_HOUR)
    meters = [name_of("slp"), name_of("silent")]
    answer = await metering.as_().QueryLoad(pb.QueryLoadRequest(meters=meters, **period(-8, -4)))
    assert ["less often" in one.refusal for one in answer.figures] == [True, False]
    assert "covered" in answer.figures[1].refusal
    await metering.meter("T", kind=pb.READING_KIND_INSTANT, medium=pb.MEDIUM_TEMPERATURE, unit=pb.UNIT_CELSIUS)
    with pytest.raises(FailedPrecondition, match="sensor"):
        await metering.as_().QueryLoad(pb.QueryLoadRequest(meters=[name_of("T")], **period(-8, -4)))


@sqlite_only
async def test_hourly_readings_have_an_hourly_profile(metering: Metering) -> None:
    await metering.meter()
    hours = pb.ReadingColumns(
        meters=[name_of()],
        meter_indexes=[0] * 5,
        slots_unix_ms=[NOON_MS - n * 4 * SLOT_MS for n in range(4, -1, -1)],
        values=[0, 1_000, 3_000, 3_500, 4_000],
    )
    await metering.ingest(hours)
    [found] = (await metering.as_().QueryLoad(pb.QueryLoadRequest(meters=[name_of()], **period(-16, 0)))).figures
    assert (found.resolution_s, found.peak, found.peak_at) == (3600, 2_000, stamp(-12))


# --- losses ---------------------------------------------------------------------------------------------------


async def tree(metering: Metering) -> None:
    await metering.meter("main", loss_tolerance_permille=20)
    for meter in ("a", "b"):
        await metering.meter(meter, main_meter=name_of("main"))
    await metering.ingest(columns([0, 1_000, 2_000, 3_000], meter_id="main"))
    await metering.ingest(columns([0, 600, 1_000, 1_400], meter_id="a"))
    await metering.ingest(columns([0, 390, 790], meter_id="b"))


async def test_a_main_meter_is_held_against_its_sub_meters(metering: Metering) -> None:
    await tree(metering)
    request = pb.QueryLossesRequest(
        name=name_of("main"), start_time=stamp(-8), end_time=stamp(-5), step=pb.STEP_QUARTER_HOUR
    )
    answer = await metering.as_(VIEWER).QueryLosses(request)
    assert list(answer.sub_meters) == [name_of("a"), name_of("b")]
    assert list(answer.verdicts) == [pb.LOSS_VERDICT_WITHIN, pb.LOSS_VERDICT_LOSS, pb.LOSS_VERDICT_UNKNOWN]
    assert list(answer.main_amounts) == [1_000] * 3
    assert list(answer.sub_amounts)[:2] == [990, 800]
    assert list(answer.coverages_permille) == [1000, 1000, 0]
    assert list(answer.estimated_amounts) == [0, 0, 0]
    assert (answer.tolerance_permille, answer.unit) == (20, pb.UNIT_WH)


async def test_a_sub_meter_that_was_taken_down_leaves_no_step_unknown(metering: Metering) -> None:
    await tree(metering)
    await metering.as_().DismountMeter(
        pb.DismountMeterRequest(name=name_of("b"), dismounted_at=stamp(-6), final_reading=790)
    )
    request = pb.QueryLossesRequest(
        name=name_of("main"), start_time=stamp(-8), end_time=stamp(-5), step=pb.STEP_QUARTER_HOUR
    )
    answer = await metering.as_(VIEWER).QueryLosses(request)
    assert list(answer.sub_amounts) == [990, 800, 400]
    assert list(answer.verdicts) == [pb.LOSS_VERDICT_WITHIN, pb.LOSS_VERDICT_LOSS, pb.LOSS_VERDICT_LOSS]
    assert list(answer.coverages_permille) == [1000, 1000, 1000]
    request.step = pb.STEP_TOTAL  # which it was taken down within
    answer = await metering.as_(VIEWER).QueryLosses(request)
    assert (list(answer.main_amounts), list(answer.sub_amounts)) == ([3_000], [1_400 + 790])
    assert (list(answer.verdicts), list(answer.coverages_permille)) == ([pb.LOSS_VERDICT_LOSS], [1000])


@sqlite_only
async def test_losses_tell_what_is_estimated_of_all_their_meters(metering: Metering) -> None:
    await tree(metering)
    await metering.meter("c", main_meter=name_of("main"))
    await metering.ingest(columns([0], meter_id="c"))
    await metering.ingest(columns([60], first=-5, meter_id="c"))
    request = pb.QueryLossesRequest(
        name=name_of("main"), start_time=stamp(-8), end_time=stamp(-6), step=pb.STEP_QUARTER_HOUR
    )
    answer = await metering.as_(VIEWER).QueryLosses(request)
    assert list(answer.sub_amounts) == [990 + 20, 800 + 20]
    assert list(answer.estimated_amounts) == [20, 20]
    assert list(answer.coverages_permille) == [0, 0]


@sqlite_only
async def test_a_meter_without_sub_meters_has_no_losses(metering: Metering) -> None:
    await metering.meter()
    request = pb.QueryLossesRequest(name=name_of(), start_time=stamp(-8), end_time=stamp(-5), step=pb.STEP_TOTAL)
    with pytest.raises(FailedPrecondition, match="main meter"):
        await metering.as_().QueryLosses(request)
    with pytest.raises(InvalidInput, match="step"):
        await metering.as_().QueryLosses(pb.QueryLossesRequest(**{**_fields(request), "step": 99}))


def _fields(request: pb.QueryLossesRequest) -> dict[str, Any]:
    return {"name": request.name, "start_time": request.start_time, "end_time": request.end_time}


@sqlite_only
async def test_who_may_not_see_a_sub_meter_may_not_see_the_sum(issuer: Issuer, database: Database) -> None:
    bound = {"contractor": [Binding(Role.CONTRACTOR, PARENT.rsplit("/", 1)[-1], (name_of("main"), name_of("a")))]}
    async with running_metering(issuer, database, bound) as metering:
        await tree(metering)
        request = pb.QueryLossesRequest(
            name=name_of("main"), start_time=stamp(-8), end_time=stamp(-5), step=pb.STEP_TOTAL
        )
        with pytest.raises(FailedPrecondition, match="not to be seen"):
            await metering.as_("contractor").QueryLosses(request)


# --- values ---------------------------------------------------------------------------------------------------


async def test_a_sensor_answers_mean_least_and_greatest(metering: Metering) -> None:
    await metering.meter(
        "T",
        kind=pb.READING_KIND_INSTANT,
        medium=pb.MEDIUM_TEMPERATURE,
        unit=pb.UNIT_CELSIUS,
        scale_exponent=-1,
        reading_cycle=pb.READING_CYCLE_QUARTER_HOUR,
    )
    await metering.ingest(columns([-35, -15, 20, 30], meter_id="T"))
    request = pb.QueryValuesRequest(meters=[name_of("T")], step=pb.STEP_HOUR, **period(-8, 0))
    answer = await metering.as_(VIEWER).QueryValues(request)
    assert (list(answer.means), list(answer.minima), list(answer.maxima)) == ([0, 30], [-35, 30], [30, 30])
    assert list(answer.coverages_permille) == [1000, 125]
    assert (list(answer.units), list(answer.scale_exponents)) == ([pb.UNIT_CELSIUS], [-1])
    assert list(answer.starts_unix_ms) == [NOON_MS - 8 * SLOT_MS, NOON_MS - 4 * SLOT_MS]
    with pytest.raises(FailedPrecondition, match="sensor"):
        await used(metering, "T", -8, 0, pb.STEP_TOTAL)
    await metering.meter("M-1")
    with pytest.raises(FailedPrecondition, match="consumption"):
        await metering.as_().QueryValues(
            pb.QueryValuesRequest(meters=[name_of("M-1")], step=pb.STEP_HOUR, **period(-8, 0))
        )


# --- kinds ----------------------------------------------------------------------------------------------------


async def test_a_meter_of_intervals_is_asked_like_any_other(metering: Metering) -> None:
    await metering.meter(kind=pb.READING_KIND_INTERVAL, reading_cycle=pb.READING_CYCLE_QUARTER_HOUR)
    await metering.ingest(columns([10, 20, 30], first=-7))
    await metering.ingest(columns([50], first=-3))
    answer = await used(metering, "M-1", -8, -3, pb.STEP_QUARTER_HOUR)
    assert list(answer.amounts) == [10, 20, 30, 0, 50]
    assert list(answer.coverages_permille) == [1000, 1000, 1000, 0, 1000]
    total = await used(metering, "M-1", -8, -3, pb.STEP_TOTAL)
    assert (list(total.amounts), list(total.coverages_permille)) == ([110], [800])


async def test_what_a_house_with_panels_used_is_import_and_generation_less_feed_in(metering: Metering) -> None:
    for meter, counters in (("in", [0, 500, 500]), ("made", [0, 100, 1_000]), ("out", [0, 0, 400])):
        await metering.meter(meter)
        await metering.ingest(columns(counters, meter_id=meter))
    terms = [
        pb.MeterTerm(meter=name_of("in")),
        pb.MeterTerm(meter=name_of("made")),
        pb.MeterTerm(meter=name_of("out"), is_subtracted=True),
    ]
    await metering.meter("use", kind=pb.READING_KIND_VIRTUAL, terms=terms)
    answer = await used(metering, "use", -8, -6, pb.STEP_QUARTER_HOUR)
    assert (list(answer.amounts), list(answer.coverages_permille)) == ([600, 500], [1000, 1000])
    before = answer.evidence_hash
    await metering.ingest(columns([7], first=-6, meter_id="in"))
    assert (await used(metering, "use", -8, -6, pb.STEP_QUARTER_HOUR)).evidence_hash == before
    await metering.ingest(columns([600], first=-5, meter_id="in"))
    assert (await used(metering, "use", -8, -5, pb.STEP_QUARTER_HOUR)).evidence_hash != before


@sqlite_only
async def test_a_meter_read_once_a_year_is_named_where_finer_steps_are_asked_for(metering: Metering) -> None:
    await metering.meter("slp", reading_cycle=pb.READING_CYCLE_YEAR)
    years = [datetime(year, 1, 1, tzinfo=BERLIN) for year in (2024, 2025, 2026)]
    readings = pb.ReadingColumns(
        meters=[name_of("slp")],
        meter_indexes=[0] * 3,
        slots_unix_ms=[round(day.timestamp()) * 1000 for day in years],
        values=[0, 3_660_000, 7_310_000],
        statuses=[pb.READING_STATUS_HAND] * 3,
    )
    await metering.ingest(readings)
    request = pb.QueryConsumptionRequest(
        parent=PARENT,
        meters=[name_of("slp")],
        start_time=local("2024-01-01"),
        end_time=local("2026-01-01"),
        step=pb.STEP_LOCAL_YEAR,
    )
    answer = await metering.as_().QueryConsumption(request)
    assert (list(answer.amounts), list(answer.coarse_meter_indexes)) == ([3_660_000, 3_650_000], [])
    assert list(answer.coverages_permille) == [1000, 1000]
    request.step = pb.STEP_LOCAL_MONTH
    answer = await metering.as_().QueryConsumption(request)
    assert (sum(answer.amounts), sum(answer.estimated_amounts)) == (7_310_000, 7_310_000)
    assert (list(answer.coarse_meter_indexes), set(answer.coverages_permille)) == ([0], {0})


# --- stores and deliveries ------------------------------------------------------------------------------------


async def oil(metering: Metering) -> None:
    await metering.meter(
        "oil",
        kind=pb.READING_KIND_STOCK,
        medium=pb.MEDIUM_OIL,
        unit=pb.UNIT_L,
        reading_cycle=pb.READING_CYCLE_QUARTER_HOUR,
    )
    await metering.ingest(columns([3_000, 2_960, 6_930, 6_900], meter_id="oil"))


async def deliver(metering: Metering, slots: float, amount: int = 4_000, **more: Any) -> pb.Delivery:
    at = timestamp_to_proto(datetime.fromtimestamp((NOON_MS + slots * SLOT_MS) / 1000, UTC))
    delivery = pb.Delivery(delivered_at=at, amount=amount, cost_cents=380_000, document="LS 4711")
    request = pb.RecordDeliveryRequest(parent=name_of("oil"), delivery=delivery, **more)
    answer: pb.Delivery = await metering.as_(OPERATOR).RecordDelivery(request)
    return answer


async def test_a_delivery_heals_the_use_of_a_store_and_its_withdrawal_opens_it_again(metering: Metering) -> None:
    await oil(metering)
    without = await used(metering, "oil", -8, -5, pb.STEP_QUARTER_HOUR)
    assert (list(without.amounts), list(without.coverages_permille)) == ([40, 0, 30], [1000, 0, 1000])
    recorded = await deliver(metering, -6.5)
    assert recorded.recorded_by == OPERATOR
    healed = await used(metering, "oil", -8, -5, pb.STEP_QUARTER_HOUR)
    assert (list(healed.amounts), list(healed.coverages_permille)) == ([40, 30, 30], [1000] * 3)
    assert healed.evidence_hash != without.evidence_hash
    with pytest.raises(NotPermitted):
        await metering.as_(OPERATOR).WithdrawDelivery(pb.WithdrawDeliveryRequest(name=recorded.name, reason="twice"))
    request = pb.WithdrawDeliveryRequest(name=recorded.name, reason="another tank")
    withdrawn = await metering.as_().WithdrawDelivery(request)
    assert withdrawn.withdrawal_reason == "another tank"
    assert withdrawn.HasField("withdrawn_at")
    assert list((await used(metering, "oil", -8, -5, pb.STEP_QUARTER_HOUR)).amounts) == [40, 0, 30]
    with pytest.raises(FailedPrecondition, match="already"):
        await metering.as_().WithdrawDelivery(request)


async def test_deliveries_are_listed_by_time_in_pages_with_the_withdrawn_ones(metering: Metering) -> None:
    await oil(metering)
    for slots in (-3, -7, -5):
        await deliver(metering, slots, amount=-slots)
    stub = metering.as_(VIEWER)
    first = await stub.ListDeliveries(pb.ListDeliveriesRequest(parent=name_of("oil"), page_size=2))
    request = pb.ListDeliveriesRequest(parent=name_of("oil"), page_size=2, page_token=first.next_page_token)
    rest = await stub.ListDeliveries(request)
    assert [one.amount for one in (*first.deliveries, *rest.deliveries)] == [7, 5, 3]
    assert rest.next_page_token == ""


@sqlite_only
async def test_a_delivery_is_recorded_once_per_request_and_only_into_a_store(metering: Metering) -> None:
    await oil(metering)
    once, again = await deliver(metering, -6, request_id="r-1"), await deliver(metering, -6, request_id="r-1")
    assert once == again
    with pytest.raises(InvalidInput, match="delivered_at"):
        await deliver(metering, 5)
    await metering.meter("M-1")
    delivery = pb.Delivery(delivered_at=stamp(-1), amount=1)
    with pytest.raises(FailedPrecondition, match="no store"):
        await metering.as_().RecordDelivery(pb.RecordDeliveryRequest(parent=name_of("M-1"), delivery=delivery))
    with pytest.raises(NotFound):
        await metering.as_().RecordDelivery(pb.RecordDeliveryRequest(parent=name_of("none"), delivery=delivery))
    with pytest.raises(NotFound):
        await metering.as_().WithdrawDelivery(
            pb.WithdrawDeliveryRequest(name=f"{name_of('oil')}/deliveries/none", reason="x")
        )


# --- comparisons ----------------------------------------------------------------------------------------------


async def two_winters(metering: Metering) -> None:
    """100 Wh a day in January 2025, 80 Wh a day in January 2026, which was milder."""
    await metering.meter("heat", medium=pb.MEDIUM_HEAT, floor_area_m2=100, reading_cycle=pb.READING_CYCLE_DAY)
    days = [date(2025, 1, 1) + timedelta(days=n) for n in range(32)]
    days += [date(2026, 1, 1) + timedelta(days=n) for n in range(32)]
    amounts = np.cumsum([0] + [100] * 31 + [0] + [80] * 31)
    readings = pb.ReadingColumns(
        meters=[name_of("heat")],
        meter_indexes=[0] * 64,
        slots_unix_ms=[round(datetime(d.year, d.month, d.day, tzinfo=BERLIN).timestamp()) * 1000 for d in days],
        values=amounts.tolist(),
    )
    await metering.ingest(readings)
    numbers = [(day - date(1970, 1, 1)).days for day in days]
    means = [0] * 32 + [400] * 32
    weather = pb.IngestTemperaturesRequest(
        parent=PARENT, station="dwd-1", days=numbers, mean_centidegrees=means, source="import:x"
    )
    await metering.as_().IngestTemperatures(weather)


async def test_a_month_is_compared_with_the_year_before_and_its_weather(metering: Metering) -> None:
    await two_winters(metering)
    request = pb.CompareConsumptionRequest(
        parent=PARENT,
        meters=[name_of("heat")],
        start_time=local("2026-01-01"),
        end_time=local("2026-02-01"),
        weather="dwd-1",
        base_share_permille=100,
    )
    answer = await metering.as_(VIEWER).CompareConsumption(request)
    [found] = answer.comparisons
    assert (answer.reference_start_time, answer.reference_end_time) == (local("2025-01-01"), local("2025-02-01"))
    assert (found.amount, found.reference_amount, found.change_permille) == (2_480, 3_100, -200)
    assert (found.coverage_permille, found.reference_coverage_permille) == (1000, 1000)
    assert found.milli_amount_per_m2 == 24_800
    assert answer.period_degree_days.degree_days_centi == 31 * 1_600
    assert answer.reference_degree_days.degree_days_centi == 31 * 2_000
    # 310 of hot water stay, 2 790 of heating times 16 by 20.
    assert found.weather_adjusted_reference_amount == 310 + 2_232
    assert found.weather_adjusted_change_permille == -24
    # A thousand times the amount by degree days: 248 kWh by 496 K d.
    assert (found.milli_amount_per_degree_day, found.reference_milli_amount_per_degree_day) == (5_000, 5_000)
    assert found.is_provisional


@sqlite_only
async def test_a_given_reference_is_as_long_as_the_period_unless_it_says_its_end(metering: Metering) -> None:
    await two_winters(metering)
    request = pb.CompareConsumptionRequest(
        parent=PARENT,
        meters=[name_of("heat")],
        start_time=local("2026-01-01"),
        end_time=local("2026-01-11"),
        reference_start_time=local("2025-01-05"),
    )
    answer = await metering.as_().CompareConsumption(request)
    assert answer.reference_end_time == local("2025-01-15")
    [found] = answer.comparisons
    assert (found.change_permille, found.HasField("weather_adjusted_reference_amount")) == (-200, False)
    assert not found.HasField("milli_amount_per_degree_day")
    request.reference_end_time.CopyFrom(local("2025-01-10"))
    assert (await metering.as_().CompareConsumption(request)).comparisons[0].reference_amount == 500
    request.reference_end_time.CopyFrom(local("2025-01-01"))
    with pytest.raises(InvalidInput, match="reference_end_time"):
        await metering.as_().CompareConsumption(request)
    request.ClearField("reference_start_time")
    with pytest.raises(InvalidInput, match="reference_start_time"):
        await metering.as_().CompareConsumption(request)


@sqlite_only
async def test_degree_days_need_whole_days_and_the_temperature_of_each(metering: Metering) -> None:
    await two_winters(metering)
    request = pb.CompareConsumptionRequest(
        parent=PARENT,
        meters=[name_of("heat")],
        start_time=local("2026-01-01T06:00"),
        end_time=local("2026-01-11T06:00"),
        weather="dwd-1",
    )
    with pytest.raises(InvalidInput, match="midnight"):
        await metering.as_().CompareConsumption(request)
    request.start_time.CopyFrom(local("2026-01-20"))
    request.end_time.CopyFrom(local("2026-02-10"))
    answer = await metering.as_().CompareConsumption(request)
    assert answer.period_degree_days.known_days == 13
    assert not answer.comparisons[0].HasField("weather_adjusted_reference_amount")


@sqlite_only
@pytest.mark.parametrize("years", [(1, 2), (9_998, 9_999)])
async def test_periods_beyond_all_calendars_are_refused_by_field(metering: Metering, years: tuple[int, int]) -> None:
    await metering.meter()
    start, end = (timestamp_to_proto(datetime(year, 12, 31, 23, tzinfo=UTC)) for year in years)
    stub = metering.as_(VIEWER)
    ask: dict[str, Any] = {"parent": PARENT, "start_time": start, "end_time": end}
    with pytest.raises(InvalidInput, match="start_time"):
        await stub.CompareConsumption(pb.CompareConsumptionRequest(meters=[name_of()], **ask))
    with pytest.raises(InvalidInput, match="start_time"):
        await stub.QueryDegreeDays(pb.QueryDegreeDaysRequest(weather="dwd-1", step=pb.STEP_LOCAL_DAY, **ask))
    with pytest.raises(InvalidInput, match="start_time"):
        await stub.QueryConsumption(pb.QueryConsumptionRequest(meters=[name_of()], step=pb.STEP_LOCAL_DAY, **ask))
    with pytest.raises(InvalidInput, match="reference_start_time"):
        reference = pb.CompareConsumptionRequest(meters=[name_of()], reference_start_time=start, **period(-96, 0))
        await stub.CompareConsumption(reference)


@sqlite_only
async def test_the_least_of_all_numbers_is_no_value_of_a_sensor(metering: Metering) -> None:
    await metering.meter("T", medium=pb.MEDIUM_TEMPERATURE, unit=pb.UNIT_CELSIUS, kind=pb.READING_KIND_INSTANT)
    answer = await metering.ingest(columns([-(2**63), -(2**53), 2**53, -5], meter_id="T"))
    assert (answer.stored, answer.refused) == (1, 3)
    with pytest.raises(InvalidInput, match="larger than any register"):
        slot = NOON_MS - 20 * SLOT_MS
        edit = pb.EditReadingsRequest(name=name_of("T"), slots_unix_ms=[slot], values=[-(2**63)], reason="typed")
        await metering.as_().EditReadings(edit)
