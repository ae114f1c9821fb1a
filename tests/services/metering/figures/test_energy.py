"""Gas in Wh over gRPC: by factors from six in the morning on, exact through exchanges, refused without a factor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from domain.errors import FailedPrecondition
from domain.gas import gas_day_bounds
from domain.intervals import Consumption
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.convert import timestamp_to_proto
from servicekit.database import Database
from services.metering.figures.consumption import Step, boundaries
from services.metering.meter import Medium, Unit
from services.metering.slot import to_ms
from services.metering.store.energy import energy_of
from services.metering.store.figures import Found
from tests.services.metering.running import PARENT, Metering, name_of, running_metering
from tests.services.metering.test_retention import FIRST, LAST, NOW, filled, keeper, retention, store
from tests.support.issuer import Issuer
from tests.support.running import VIEWER

__all__ = ["store"]

BERLIN = ZoneInfo("Europe/Berlin")
BEGIN = gas_day_bounds(date(2026, 2, 27), BERLIN)[0]
END = gas_day_bounds(date(2026, 3, 3), BERLIN)[0]
HOUR_MS = 3_600_000
OLD = pb.GasFactor(valid_from="2026-01-01", calorific_value_wh_per_m3=11_250, state_number_e4=9_634)
NEW = pb.GasFactor(valid_from="2026-03-01", calorific_value_wh_per_m3=10_987, state_number_e4=9_511)


@pytest.fixture
async def metering(issuer: Issuer, database: Database) -> AsyncIterator[Metering]:
    async with running_metering(issuer, database) as running:
        yield running


sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def gas_meter(metering: Metering, meter_id: str = "G-1", *, litres: int = 1_000, **more: Any) -> None:
    """A gas meter with four days of hourly counters."""
    values = {"medium": pb.MEDIUM_GAS, "unit": pb.UNIT_L, "reading_cycle": pb.READING_CYCLE_HOUR, **more}
    await metering.meter(meter_id, **values)
    hours = int((END - BEGIN) / timedelta(hours=1)) + 1
    answer = await metering.ingest(
        pb.ReadingColumns(
            meters=[name_of(meter_id)],
            meter_indexes=[0] * hours,
            slots_unix_ms=[to_ms(BEGIN) + n * HOUR_MS for n in range(hours)],
            values=[n * litres for n in range(hours)],
        )
    )
    assert answer.stored == hours, answer.refusals


async def query(
    metering: Metering, meters: Sequence[str], step: int, start: datetime = BEGIN, end: datetime = END, **more: Any
) -> pb.QueryConsumptionResponse:
    request = pb.QueryConsumptionRequest(
        parent=PARENT,
        meters=[name_of(one) for one in meters],
        start_time=timestamp_to_proto(start),
        end_time=timestamp_to_proto(end),
        step=step,  # type: ignore[arg-type]
        **{"as_energy": True, **more},
    )
    answer: pb.QueryConsumptionResponse = await metering.as_(VIEWER).QueryConsumption(request)
    return answer


def wh(litres: int, factor: pb.GasFactor) -> int:
    return litres * factor.calorific_value_wh_per_m3 * factor.state_number_e4


async def test_gas_days_are_worth_what_their_factors_say(metering: Metering) -> None:
    await gas_meter(metering, gas_factors=[OLD, NEW])
    days = await query(metering, ["G-1"], pb.STEP_GAS_DAY)
    assert list(days.units) == [pb.UNIT_WH]
    # Cut down to whole Wh at the ends of what has been added up, so that the days add up to the whole.
    upto = [wh(24_000, OLD), wh(48_000, OLD), wh(48_000, OLD) + wh(24_000, NEW), wh(48_000, OLD) + wh(48_000, NEW)]
    assert list(accumulate(days.amounts)) == [one // 10**7 for one in upto]
    assert list(days.coverages_permille) == [1000] * 4
    exact = (wh(48_000, OLD) + wh(48_000, NEW)) // 10**7
    for step in (pb.STEP_HOUR, pb.STEP_LOCAL_DAY, pb.STEP_LOCAL_MONTH, pb.STEP_TOTAL, pb.STEP_GAS_DAY):
        answer = await query(metering, ["G-1"], step)
        assert sum(answer.amounts) == exact, pb.Step.Name(step)
    # The month begins at midnight, the new factor at six: six hours of March still have the old one.
    month = await query(metering, ["G-1"], pb.STEP_LOCAL_MONTH)
    assert list(month.amounts) == [wh(42_000, OLD) // 10**7, exact - wh(42_000, OLD) // 10**7]
    litres = await query(metering, ["G-1"], pb.STEP_TOTAL, as_energy=False)
    assert (list(litres.amounts), list(litres.units)) == ([96_000], [pb.UNIT_L])
    in_energy = await query(metering, ["G-1"], pb.STEP_TOTAL)
    assert in_energy.evidence_hash != litres.evidence_hash


@sqlite_only
async def test_the_evidence_of_energy_is_another_one_after_a_factor_was_corrected(metering: Metering) -> None:
    await gas_meter(metering, gas_factors=[OLD, NEW])

    async def hashes(start: datetime = BEGIN, end: datetime = END) -> tuple[str, str]:
        energy, litres = [
            await query(metering, ["G-1"], pb.STEP_TOTAL, start, end, as_energy=as_energy)
            for as_energy in (True, False)
        ]
        return energy.evidence_hash, litres.evidence_hash

    async def change(*factors: pb.GasFactor, **more: Any) -> None:
        changed = pb.Meter(name=name_of("G-1"), gas_factors=factors, **more)
        mask = FieldMask(paths=["gas_factors", *more])
        await metering.as_().UpdateMeter(pb.UpdateMeterRequest(meter=changed, update_mask=mask))

    march = gas_day_bounds(date(2026, 3, 1), BERLIN)[0]
    february = (BEGIN, march - timedelta(hours=2))  # with the reading after it, as far as figures look
    before, of_february = await hashes(), await hashes(*february)
    corrected = pb.GasFactor(valid_from="2026-03-01", calorific_value_wh_per_m3=10_988, state_number_e4=9_511)
    await change(OLD, corrected)
    after = await hashes()
    assert (after[0] != before[0], after[1]) == (True, before[1])
    assert await hashes(*february) == of_february
    # A factor of next year, or one that had been replaced before the period began, changes nothing about it.
    older = pb.GasFactor(valid_from="2020-01-01", calorific_value_wh_per_m3=11_111, state_number_e4=9_000)
    later = pb.GasFactor(valid_from="2027-01-01", calorific_value_wh_per_m3=11_111, state_number_e4=9_000)
    await change(older, OLD, corrected, later)
    assert await hashes() == after


@sqlite_only
async def test_other_media_are_not_touched(metering: Metering) -> None:
    await gas_meter(metering, gas_factors=[OLD])
    await gas_meter(metering, "W-1", medium=pb.MEDIUM_WATER, litres=7)
    await gas_meter(metering, "G-kWh", unit=pb.UNIT_WH, litres=500)
    answer = await query(metering, ["W-1", "G-1", "G-kWh"], pb.STEP_TOTAL)
    assert list(answer.amounts) == [96 * 7, wh(96_000, OLD) // 10**7, 48_000]
    assert list(answer.units) == [pb.UNIT_L, pb.UNIT_WH, pb.UNIT_WH]


@sqlite_only
async def test_gas_without_a_factor_is_refused_by_meter_and_gas_day(metering: Metering) -> None:
    await gas_meter(metering, gas_factors=[NEW])
    with pytest.raises(
        FailedPrecondition, match=r"meter G-1: .*gas day 2026-02-27; the first is valid from 2026-03-01"
    ):
        await query(metering, ["G-1"], pb.STEP_TOTAL)
    later = await query(metering, ["G-1"], pb.STEP_TOTAL, start=gas_day_bounds(date(2026, 3, 1), BERLIN)[0])
    assert list(later.amounts) == [wh(48_000, NEW) // 10**7]


@sqlite_only
async def test_gas_is_compared_in_energy_with_the_factors_of_both_periods(metering: Metering) -> None:
    await gas_meter(metering, gas_factors=[OLD, NEW])
    await gas_meter(metering, "W-1", medium=pb.MEDIUM_WATER, litres=7)
    request = pb.CompareConsumptionRequest(
        parent=PARENT,
        meters=[name_of("W-1"), name_of("G-1")],
        start_time=timestamp_to_proto(gas_day_bounds(date(2026, 3, 1), BERLIN)[0]),
        end_time=timestamp_to_proto(END),
        reference_start_time=timestamp_to_proto(BEGIN),
        as_energy=True,
    )
    water, gas = (await metering.as_(VIEWER).CompareConsumption(request)).comparisons
    assert (water.unit, water.amount, water.change_permille) == (pb.UNIT_L, 336, 0)
    assert (gas.unit, gas.amount) == (pb.UNIT_WH, wh(48_000, NEW) // 10**7)
    assert gas.reference_amount == wh(48_000, OLD) // 10**7
    assert gas.change_permille == -36
    request.as_energy = False
    _, litres = (await metering.as_(VIEWER).CompareConsumption(request)).comparisons
    assert (litres.unit, litres.amount, litres.change_permille) == (pb.UNIT_L, 48_000, 0)
    request.start_time.CopyFrom(timestamp_to_proto(BEGIN))
    await gas_meter(metering, "G-2", gas_factors=[NEW])
    request.meters.append(name_of("G-2"))
    request.as_energy = True
    with pytest.raises(FailedPrecondition, match=r"meter G-2: .*gas day"):
        await metering.as_().CompareConsumption(request)


@sqlite_only
async def test_a_volume_at_base_conditions_has_no_state_number(metering: Metering) -> None:
    await gas_meter(metering, obis_code="7-0:13.2.0", gas_factors=[OLD])
    answer = await query(metering, ["G-1"], pb.STEP_TOTAL)
    assert list(answer.amounts) == [96_000 * 11_250 // 1000]


@sqlite_only
async def test_a_sum_of_gas_meters_is_the_energy_of_its_terms(metering: Metering) -> None:
    await gas_meter(metering, "G-1", gas_factors=[OLD, NEW])
    await gas_meter(metering, "G-2", litres=100, gas_factors=[OLD])
    terms = [pb.MeterTerm(meter=name_of("G-1")), pb.MeterTerm(meter=name_of("G-2"), is_subtracted=True)]
    await metering.meter("G-sum", medium=pb.MEDIUM_GAS, unit=pb.UNIT_L, kind=pb.READING_KIND_VIRTUAL, terms=terms)
    answer = await query(metering, ["G-sum", "G-1", "G-2"], pb.STEP_TOTAL)
    whole, first, second = answer.amounts
    assert whole == first - second
    assert list(answer.units) == [pb.UNIT_WH] * 3


@pytest.mark.parametrize("step", [Step.LOCAL_DAY, Step.LOCAL_MONTH, Step.LOCAL_YEAR, Step.TOTAL])
@pytest.mark.parametrize("until", [LAST, NOW], ids=["kept days", "a day that is not over"])
async def test_kept_days_tell_the_energy_of_readings_that_are_gone(
    store: Database, step: Step, until: datetime
) -> None:
    factors = '[["2025-01-01", 11250, 9634], ["2026-01-01", 10987, 9511], ["2026-02-14", 11111, 9600]]'
    row = await filled(store, medium=int(Medium.GAS), unit=int(Unit.L), gas_factors=factors)
    bounds = boundaries(FIRST, until, step, BERLIN)

    async def asked(found: Found | None = None) -> Consumption:
        return await store.read(lambda session: energy_of(session, row, bounds, step, BERLIN, found))

    from_all = await asked(Found())
    assert int(from_all.amount.sum()) > 0
    assert await energies(asked) == from_all.amount.tolist(), "before there are any kept days"
    await keeper(store, {}).bring_up_to_date()
    assert await energies(asked) == from_all.amount.tolist(), "with kept days"
    assert await retention(store, {Medium.GAS: 1}).apply() > 0
    after = await asked()
    # The day on which the factor changed in January is divided by time: this meter counts evenly, and it is told.
    assert after.amount.tolist() == from_all.amount.tolist()
    day_l = 96 * 7
    told = int(after.estimated_amount.sum()) - int(from_all.estimated_amount.sum())
    assert abs(told - day_l * (11_250 * 9_634 + 3 * 10_987 * 9_511) // 4 // 10**7) <= 2


async def energies(asked: Callable[[], Awaitable[Consumption]]) -> list[int]:
    amounts: list[int] = (await asked()).amount.tolist()
    return amounts


def test_the_period_of_these_tests_is_of_four_gas_days() -> None:
    assert datetime(2026, 2, 27, 5, tzinfo=UTC) == BEGIN
    assert timedelta(days=4) == END - BEGIN
