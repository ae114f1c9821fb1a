"""Estimates of bills: nothing is missing within one, and where one is missing no day is counted twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.intervals import Flag
from domain.night import local_day_bounds, zone
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.convert import timestamp_to_proto
from servicekit.database import Database
from services.metering.cycle import may_last
from services.metering.estimation import Estimate, Known, Method, Wanted, estimate
from services.metering.figures.consumption import Step
from services.metering.figures.kinds import begins_of, interval_amounts
from services.metering.life import Origin, RegisterLife
from services.metering.meter import Cycle, Kind, Unit
from services.metering.reading import Readings, Status
from services.metering.slot import DAY_MS, to_ms
from tests.services.metering.running import PARENT, Metering, name_of, running_metering
from tests.support.issuer import Issuer

BERLIN = zone("Europe/Berlin")
BILLS = {
    date(2025, 1, 22): 310_000, date(2025, 2, 20): 290_000, date(2025, 3, 22): 330_000, date(2025, 4, 19): 280_000,
    date(2025, 5, 21): 300_000,
}  # fmt: skip
LIFE = RegisterLife(1, "a" * 32, "m" * 32, "", None, None, 0, 0, Origin.CREATED, None, 0, 1, int(Unit.WH))


def ms(day: date) -> int:
    return to_ms(local_day_bounds(day, BERLIN)[0])


def local(slot_ms: int) -> date:
    return datetime.fromtimestamp(slot_ms / 1000, BERLIN).date()


def made(bills: dict[date, int], first: date, last: date, estimated: tuple[date, ...] = ()) -> Estimate:
    """Estimates between two days of a meter of monthly bills."""
    guessed = np.array([day in estimated for day in bills], np.bool_)
    known = Known(np.array([ms(day) for day in bills], np.int64), np.array(list(bills.values()), np.int64), guessed)
    wanted = Wanted(Kind.INTERVAL, Cycle.MONTH, ms(first), ms(last), Method.LINEAR, BERLIN)
    return estimate(known, wanted)


# --- over gRPC --------------------------------------------------------------------------------------------------


@pytest.fixture
async def metering(issuer: Issuer, database: Database) -> AsyncIterator[Metering]:
    async with running_metering(issuer, database) as running:
        await running.meter(kind=pb.READING_KIND_INTERVAL, reading_cycle=pb.READING_CYCLE_MONTH)
        yield running


async def bring(metering: Metering, bills: dict[date, int], status: int = pb.READING_STATUS_MEASURED) -> None:
    columns = pb.ReadingColumns(
        meters=[name_of()],
        meter_indexes=[0] * len(bills),
        slots_unix_ms=[ms(day) for day in bills],
        values=list(bills.values()),
        statuses=[status] * len(bills),  # type: ignore[list-item]
    )
    assert (await metering.ingest(columns)).stored == len(bills)


async def estimated(metering: Metering) -> pb.EstimateReadingsResponse:
    request = pb.EstimateReadingsRequest(
        name=name_of(),
        start_time=timestamp_to_proto(local_day_bounds(date(2025, 1, 1), BERLIN)[0]),
        end_time=timestamp_to_proto(local_day_bounds(date(2025, 6, 1), BERLIN)[0]),
        method=pb.ESTIMATION_METHOD_LINEAR,
        reason="a bill was lost",
    )
    answer: pb.EstimateReadingsResponse = await metering.as_().EstimateReadings(request)
    return answer


async def total(metering: Metering) -> tuple[int, int]:
    """Wh of half a year, and how much of them is estimated."""
    request = pb.QueryConsumptionRequest(
        parent=PARENT,
        meters=[name_of()],
        start_time=timestamp_to_proto(local_day_bounds(date(2024, 12, 1), BERLIN)[0]),
        end_time=timestamp_to_proto(local_day_bounds(date(2025, 6, 1), BERLIN)[0]),
        step=pb.STEP_TOTAL,
    )
    answer = await metering.as_().QueryConsumption(request)
    return answer.amounts[0], answer.estimated_amounts[0]


async def test_bills_of_which_none_is_missing_get_no_estimates(metering: Metering) -> None:
    await bring(metering, BILLS)
    before = await total(metering)
    answer = await estimated(metering)
    assert (list(answer.readings.values), list(answer.unfilled)) == ([], [])
    assert await total(metering) == before == (sum(BILLS.values()), 0)


async def test_a_missing_bill_is_estimated_a_month_after_the_one_before_and_only_once(metering: Metering) -> None:
    await bring(metering, {day: amount for day, amount in BILLS.items() if day != date(2025, 3, 22)})
    answer = await estimated(metering)
    assert [local(slot) for slot in answer.readings.slots_unix_ms] == [date(2025, 3, 20)]
    assert list(answer.readings.values) == [(290_000 + 280_000) // 2]
    assert await total(metering) == (310_000 + 290_000 + 285_000 + 280_000 + 300_000, 285_000)
    again = await estimated(metering)
    assert (list(again.readings.values), list(again.unfilled)) == ([], [])


async def test_a_bill_that_its_supplier_estimated_stands(metering: Metering) -> None:
    lost = {date(2025, 3, 24): 320_000}
    await bring(metering, {day: amount for day, amount in BILLS.items() if day != date(2025, 3, 22)})
    await bring(metering, lost, pb.READING_STATUS_ESTIMATED)
    answer = await estimated(metering)
    assert (list(answer.readings.values), list(answer.unfilled)) == ([], [])
    assert await total(metering) == (310_000 + 290_000 + 320_000 + 280_000 + 300_000, 320_000)


# --- pure -------------------------------------------------------------------------------------------------------


def test_months_of_the_calendar_are_filled_at_their_begins() -> None:
    found = made({date(2025, 1, 1): 100, date(2025, 5, 1): 500}, date(2024, 11, 15), date(2025, 7, 2))
    assert [local(slot) for slot in found.slot_ms] == [date(2025, 2, 1), date(2025, 3, 1), date(2025, 4, 1)]
    assert found.value == [200, 300, 400]
    assert [sentence.split(": ") for sentence in found.unfilled] == [
        ["2024-11-30T23:00Z", "there is no reading before it"],
        ["2025-05-31T22:00Z to 2025-06-30T22:00Z", "there is no reading after it"],
    ]


def test_what_whole_months_do_not_fill_stays_missing_and_says_so() -> None:
    found = made({date(2025, 1, 22): 310, date(2025, 3, 8): 200}, date(2025, 1, 1), date(2025, 6, 1))
    assert found.slot_ms == []
    assert found.unfilled[0] == (
        "2025-02-21T23:00Z: between the bills on both sides lie 45 days, which whole months do not fill"
    )


def test_half_a_month_between_two_bills_is_none_that_is_missing() -> None:
    found = made({date(2025, 1, 22): 310, date(2025, 2, 5): 100}, date(2025, 1, 1), date(2025, 2, 20))
    assert (found.slot_ms, found.unfilled) == ([], [])


def test_bills_that_begin_on_the_31st_keep_to_the_last_day_of_a_shorter_month() -> None:
    found = made({date(2025, 1, 31): 1, date(2025, 4, 30): 1}, date(2025, 1, 1), date(2025, 5, 1))
    assert [local(slot) for slot in found.slot_ms] == [date(2025, 2, 28), date(2025, 3, 31)]


@settings(max_examples=200, deadline=None)
@given(
    first=st.dates(date(2023, 1, 1), date(2025, 12, 31)),
    lengths=st.lists(st.integers(25, 38), min_size=1, max_size=24),
)
def test_between_bills_that_follow_one_another_nothing_is_filled(first: date, lengths: list[int]) -> None:
    ends = [first + timedelta(days=sum(lengths[:number])) for number in range(len(lengths) + 1)]
    found = made(dict.fromkeys(ends, 300), ends[0] - timedelta(days=20), ends[-1] + timedelta(days=20))
    assert (found.slot_ms, found.unfilled) == ([], [])


@settings(max_examples=200, deadline=None)
@given(
    first=st.dates(date(2023, 1, 1), date(2025, 12, 31)),
    lengths=st.lists(st.integers(25, 38), min_size=3, max_size=18),
    data=st.data(),
)
def test_with_estimates_no_day_is_counted_twice_and_what_was_billed_stays(
    first: date, lengths: list[int], data: st.DataObject
) -> None:
    ends = [first + timedelta(days=sum(lengths[:number])) for number in range(len(lengths) + 1)]
    inner = st.sets(st.integers(1, len(ends) - 2), max_size=len(ends) - 2)
    lost = data.draw(inner)
    kept = [day for number, day in enumerate(ends) if number not in lost]
    found = made(dict.fromkeys(kept, 1_000_000), ends[0], ends[-1])
    status = [int(Status.MEASURED)] * len(kept) + [int(Status.ESTIMATED)] * len(found.slot_ms)
    slots = np.array([*(ms(day) for day in kept), *found.slot_ms], np.int64)
    values = [1_000_000] * len(kept) + found.value
    order = np.argsort(slots)
    readings = Readings.of([1] * len(slots), slots[order], np.array(values)[order], np.array(status)[order])
    # Every interval is as long as a bill may be, and begins no sooner than the one before ends.
    begins = begins_of(readings.slot_ms, Cycle.MONTH, BERLIN)
    assert all(begin >= end for begin, end in zip(begins[1:].tolist(), readings.slot_ms[:-1].tolist(), strict=True))
    assert all(may_last(Cycle.MONTH, end - begin) for begin, end in zip(begins, readings.slot_ms, strict=True))
    bounds = np.array([int(begins[0]), int(readings.slot_ms[-1])], np.int64)
    used = interval_amounts([LIFE], readings, bounds, Step.TOTAL, Cycle.MONTH, BERLIN)
    assert int(used.amount[0]) == 1_000_000 * (len(kept) + len(found.value))
    assert int(used.estimated_amount[0]) == 1_000_000 * len(found.value)
    # A gap is filled as a whole, or it is told.
    filled = {local(slot) for slot in found.slot_ms}
    untold = [
        (before, after)
        for before, after in pairwise(kept)
        if not may_last(Cycle.MONTH, ms(after) - ms(before)) and not any(before < day < after for day in filled)
    ]
    assert len(untold) == len(found.unfilled)
    if not untold:
        assert int(used.flag[0]) in (Flag.MEASURED, Flag.GAP)
        assert (int(readings.slot_ms[-1]) - int(begins[0])) // DAY_MS >= sum(lengths)
