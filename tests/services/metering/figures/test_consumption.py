"""Consumption from readings: conserved across gaps, resets and exchanges; local days of 23, 24 and 25 hours."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.canonical import document, sha256_hex
from domain.errors import InvalidInput, OutOfLimits
from services.metering.figures import consumption as c
from services.metering.figures.consumption import Step, boundaries
from services.metering.figures.evidence import evidence_hash, evidence_of, evidence_pieces
from services.metering.life import Exchange, Origin, RegisterLife, split
from services.metering.reading import Readings, Status
from services.metering.slot import DAY_MS, HOUR_MS, SLOT_MS, to_ms
from tests.services.metering.making import NOON_MS, series

BERLIN = ZoneInfo("Europe/Berlin")
LIFE = RegisterLife(1, "a" * 32, "m" * 32, "", None, None, 0, 0, Origin.CREATED, None, 0, 1, 1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_local_days_of_the_clock_changes_have_23_and_25_hours() -> None:
    bounds = boundaries(at("2026-03-28T00:00+01:00"), at("2026-03-31T00:00+02:00"), Step.LOCAL_DAY, BERLIN)
    assert (np.diff(bounds) // 3_600_000).tolist() == [24, 23, 24]
    bounds = boundaries(at("2026-10-25T00:00+02:00"), at("2026-10-26T00:00+01:00"), Step.LOCAL_DAY, BERLIN)
    assert (np.diff(bounds) // 3_600_000).tolist() == [25]


def test_a_period_that_cuts_a_month_cuts_its_step() -> None:
    bounds = boundaries(at("2026-01-15T00:00+01:00"), at("2026-03-02T00:00+01:00"), Step.LOCAL_MONTH, BERLIN)
    assert (np.diff(bounds) // DAY_MS).tolist() == [17, 28, 1]


def test_a_period_off_the_quarter_hours_is_refused_by_field() -> None:
    with pytest.raises(InvalidInput, match="start_time"):
        boundaries(at("2026-01-15T00:07+01:00"), at("2026-03-02T00:00+01:00"), Step.HOUR, BERLIN)


@pytest.mark.parametrize("step", list(Step))
@pytest.mark.parametrize(
    ("start", "end"), [("0001-01-01T00:00Z", "2026-01-01T00:00Z"), ("2026-01-01T00:00Z", "9999-12-31T23:45Z")]
)
def test_a_period_beyond_all_calendars_is_refused_by_field_and_at_once(step: Step, start: str, end: str) -> None:
    with pytest.raises(InvalidInput, match="start_time" if start < "1" else "end_time"):
        boundaries(datetime.fromisoformat(start), datetime.fromisoformat(end), step, BERLIN)


@pytest.mark.parametrize("step", [Step.LOCAL_DAY, Step.GAS_DAY])
def test_more_than_a_century_of_days_is_refused_before_they_are_walked(step: Step) -> None:
    with pytest.raises(OutOfLimits, match="end_time"):
        boundaries(at("1900-01-01T00:00+01:00"), at("2026-01-01T00:00+01:00"), step, BERLIN)


def test_energy_across_a_gap_is_conserved_and_said_to_be_estimated() -> None:
    readings = Readings.of([1] * 3, [NOON_MS, NOON_MS + SLOT_MS, NOON_MS + 4 * SLOT_MS], [0, 100, 400])
    bounds = np.arange(NOON_MS, NOON_MS + 5 * SLOT_MS, SLOT_MS)
    found = c.consumption([LIFE], readings, bounds, Step.QUARTER_HOUR, is_polled=True)
    assert found.amount.tolist() == [100, 100, 100, 100]
    assert found.estimated_amount.tolist() == [0, 100, 100, 100]
    assert found.coverage_permille().tolist() == [1000, 0, 0, 0]


def test_doubtful_readings_and_gaps_carry_no_energy() -> None:
    readings = Readings.of([1] * 4, [NOON_MS + n * SLOT_MS for n in range(4)], [0, 999_999, 0, 300])
    readings.status[1], readings.status[2] = Status.DOUBTFUL, Status.GAP
    found = c.consumption([LIFE], readings, np.array([NOON_MS, NOON_MS + 3 * SLOT_MS]), Step.TOTAL, is_polled=True)
    assert (found.amount.tolist(), found.estimated_amount.tolist()) == ([300], [300])


def test_a_recorded_exchange_loses_nothing() -> None:
    what = Exchange(NOON_MS + SLOT_MS + 60_000, 150, 7_000, Origin.EXCHANGE, "new")
    old, new = split([LIFE], what, "b" * 32)
    new = replace(new, key=2)
    readings = Readings.concatenate([series(1, NOON_MS, [0, 100]), series(2, NOON_MS + 2 * SLOT_MS, [7_050, 7_200])])
    bounds = np.array([NOON_MS, NOON_MS + 3 * SLOT_MS])
    found = c.consumption([old, new], readings, bounds, Step.TOTAL, is_polled=True)
    assert (found.amount.tolist(), found.coverage_permille().tolist()) == ([350], [1000])


def test_a_reset_keeps_what_was_counted_since_and_says_that_something_is_missing() -> None:
    old, new = split([LIFE], Exchange(NOON_MS + SLOT_MS // 2, 500, 0, Origin.RESET), "b" * 32)
    new = replace(new, key=2)
    readings = Readings.concatenate([series(1, NOON_MS, [500]), series(2, NOON_MS + SLOT_MS, [40, 140])])
    bounds = np.array([NOON_MS, NOON_MS + SLOT_MS, NOON_MS + 2 * SLOT_MS])
    found = c.consumption([old, new], readings, bounds, Step.QUARTER_HOUR, is_polled=True)
    assert (found.amount.tolist(), found.coverage_permille().tolist()) == ([40, 100], [500, 1000])


def test_a_rollover_is_counted_through() -> None:
    life = replace(LIFE, rollover=10_000)
    bounds = np.array([NOON_MS, NOON_MS + 2 * SLOT_MS])
    readings = series(1, NOON_MS, [9_800, 9_950, 100])
    found = c.consumption([life], readings, bounds, Step.TOTAL, is_polled=True)
    assert found.amount.tolist() == [300]


def test_hourly_readings_tell_an_hour_and_nothing_about_its_quarters() -> None:
    slots = [NOON_MS + n * HOUR_MS for n in range(5)]
    readings = Readings.of([1] * 5, slots, [0, 4, 8, 12, 16])
    hours = c.consumption([LIFE], readings, np.array(slots), Step.HOUR, is_polled=False)
    assert hours.coverage_permille().tolist() == [1000] * 4
    quarters = np.arange(NOON_MS, NOON_MS + HOUR_MS + 1, SLOT_MS)
    found = c.consumption([LIFE], readings, quarters, Step.QUARTER_HOUR, is_polled=False)
    assert (found.estimated_amount.tolist(), found.coverage_permille().tolist()) == ([1] * 4, [0] * 4)


@given(st.lists(st.integers(0, 5_000), min_size=2, max_size=120), st.data())
@settings(max_examples=60)
def test_quarter_hours_add_up_to_the_whole_whatever_is_missing(steps: list[int], data: st.DataObject) -> None:
    values = np.cumsum(steps)
    whole = series(1, NOON_MS, values.tolist())
    inner = st.lists(st.integers(1, max(1, len(steps) - 2)), unique=True)
    missing = data.draw(inner) if len(steps) > 2 else []
    status = whole.status.copy()
    status[missing] = Status.GAP
    whole.status = status
    bounds = np.arange(NOON_MS, NOON_MS + len(steps) * SLOT_MS, SLOT_MS)
    found = c.consumption([LIFE], whole, bounds, Step.QUARTER_HOUR, is_polled=True)
    assert int(found.amount.sum()) == int(values[-1] - values[0])


def test_the_evidence_is_canonical_json_of_all_it_rests_on() -> None:
    old, new = split([LIFE], Exchange(NOON_MS + SLOT_MS, 150, 7_000, Origin.EXCHANGE, "new"), "b" * 32)
    new = replace(new, key=2)
    readings = Readings.concatenate([series(1, NOON_MS, [100]), series(2, NOON_MS + SLOT_MS, [7_050])])
    evidence = evidence_of("m" * 32, [new, old], readings, (NOON_MS, NOON_MS + 2 * SLOT_MS))
    columns = {"revisions": [0], "statuses": [1], "rollover": 0}
    begun = {"installed_ms": NOON_MS + SLOT_MS, "first_reading": 7_000, "removed_ms": None, "final_reading": None}
    ended = {"installed_ms": None, "first_reading": None, "removed_ms": NOON_MS + SLOT_MS, "final_reading": 150}
    expected = document(
        "lichtbuch.metering.readings",
        1,
        {
            "meters": [
                {
                    "uid": "m" * 32,
                    "lives": [
                        {"uid": "a" * 32, **ended, **columns, "slots_ms": [NOON_MS], "values": [100]},
                        {"uid": "b" * 32, **begun, **columns, "slots_ms": [NOON_MS + SLOT_MS], "values": [7_050]},
                    ],
                }
            ]
        },
    )
    assert b"".join(evidence_pieces([evidence])) == expected
    assert evidence_hash([evidence]) == sha256_hex(expected)


def test_an_exchange_of_next_year_changes_nothing_about_the_evidence_of_this_one() -> None:
    readings = series(1, NOON_MS, [0, 100])
    bounds = (NOON_MS, NOON_MS + SLOT_MS)
    before = evidence_hash([evidence_of("m" * 32, [LIFE], readings, bounds)])
    old, new = split([LIFE], Exchange(to_ms(at("2027-01-01T00:00+01:00")), 9_000, 0, Origin.EXCHANGE), "b" * 32)
    assert evidence_hash([evidence_of("m" * 32, [old, new], readings, bounds)]) == before


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kathmandu", "Atlantic/Azores"])
def test_each_local_day_of_twenty_one_years_is_the_sum_of_its_quarter_hours(zone: str) -> None:
    tz = ZoneInfo(zone)
    start, end = datetime(2015, 1, 1, tzinfo=tz).astimezone(UTC), datetime(2036, 1, 1, tzinfo=tz).astimezone(UTC)
    slots = np.arange(to_ms(start) - SLOT_MS, to_ms(end) + 2 * SLOT_MS, SLOT_MS, dtype=np.int64)
    random = np.random.default_rng(5)
    counter = np.cumsum(random.integers(0, 900, len(slots)))
    kept = random.random(len(slots)) > 0.03
    readings = Readings.of(np.ones(int(kept.sum()), np.int64), slots[kept], counter[kept])
    lives = [replace(LIFE, scale_exponent=-1)]
    days, quarters = (
        c.consumption(lives, readings, boundaries(start, end, step, tz), step, is_polled=True)
        for step in (Step.LOCAL_DAY, Step.QUARTER_HOUR)
    )
    first = np.searchsorted(quarters.starts_ms, days.starts_ms)
    assert len(days.starts_ms) == 7_670
    assert set((np.diff(np.r_[first, len(quarters.starts_ms)]) // 4).tolist()) <= {23, 24, 25}
    assert (quarters.starts_ms[first] == days.starts_ms).all()
    for column in ("amount", "measured_ms"):
        assert (np.add.reduceat(getattr(quarters, column), first) == getattr(days, column)).all()
