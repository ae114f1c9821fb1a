"""Slots of reading cycles: quarter hours to hours of UTC, days, months and years of the local calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.night import local_day_bounds
from services.metering.meter import Cycle
from services.metering.schedule import last_slot_ms, next_slot_ms, slots_between
from services.metering.slot import SLOT_MS, from_ms, is_slot, to_ms

BERLIN, KOLKATA = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata")


def at(text: str) -> int:
    return to_ms(datetime.fromisoformat(text))


@pytest.mark.parametrize(
    ("cycle", "last", "following"),
    [
        (Cycle.UNSPECIFIED, "2026-03-28T12:30Z", "2026-03-28T12:45Z"),
        (Cycle.QUARTER_HOUR, "2026-03-28T12:30Z", "2026-03-28T12:45Z"),
        (Cycle.IRREGULAR, "2026-03-28T12:30Z", "2026-03-28T12:45Z"),
        (Cycle.HALF_HOUR, "2026-03-28T12:30Z", "2026-03-28T13:00Z"),
        (Cycle.HOUR, "2026-03-28T12:00Z", "2026-03-28T13:00Z"),
        (Cycle.DAY, "2026-03-28T00:00+01:00", "2026-03-29T00:00+01:00"),
        (Cycle.MONTH, "2026-03-01T00:00+01:00", "2026-04-01T00:00+02:00"),
        (Cycle.YEAR, "2026-01-01T00:00+01:00", "2027-01-01T00:00+01:00"),
    ],
)
def test_each_cycle_has_its_slots_on_the_clock_or_in_the_calendar(cycle: Cycle, last: str, following: str) -> None:
    now_ms = at("2026-03-28T12:37Z")
    assert last_slot_ms(cycle, now_ms, BERLIN) == at(last)
    assert next_slot_ms(cycle, now_ms, BERLIN) == at(following)
    for slot in (at(last), at(following)):
        assert last_slot_ms(cycle, slot, BERLIN) == next_slot_ms(cycle, slot, BERLIN) == slot


@pytest.mark.parametrize(("first", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-03-30", 24)])
def test_a_day_is_as_long_as_the_calendar_has_it(first: str, hours: int) -> None:
    begin, end = map(to_ms, local_day_bounds(date.fromisoformat(first), BERLIN))
    assert next_slot_ms(Cycle.DAY, begin + 1, BERLIN) == end
    assert end - begin == hours * 4 * SLOT_MS
    assert len(slots_between(Cycle.HOUR, begin, end, BERLIN)) == hours - 1


def test_midnight_is_that_of_the_municipality() -> None:
    assert last_slot_ms(Cycle.DAY, at("2026-03-28T12:37Z"), KOLKATA) == at("2026-03-27T18:30Z")
    assert next_slot_ms(Cycle.MONTH, at("2026-03-28T12:37Z"), KOLKATA) == at("2026-03-31T18:30Z")


INSTANTS = st.integers(to_ms(datetime(2015, 1, 1, tzinfo=UTC)), to_ms(datetime(2035, 1, 1, tzinfo=UTC)))


@given(st.sampled_from(Cycle), INSTANTS, st.sampled_from([BERLIN, KOLKATA, ZoneInfo("America/Sao_Paulo")]))
def test_slots_of_a_cycle_are_quarter_hours_and_follow_one_another(cycle: Cycle, now_ms: int, tz: ZoneInfo) -> None:
    last, following = last_slot_ms(cycle, now_ms, tz), next_slot_ms(cycle, now_ms, tz)
    assert last <= now_ms <= following
    assert is_slot(last)
    assert is_slot(following)
    assert next_slot_ms(cycle, last + 1, tz) == following or last == following
    assert last_slot_ms(cycle, following, tz) == following


@given(st.sampled_from(Cycle), INSTANTS, st.integers(0, 400))
def test_the_slots_between_two_instants_are_all_of_them(cycle: Cycle, after_ms: int, days: int) -> None:
    days = days if cycle in (Cycle.DAY, Cycle.MONTH, Cycle.YEAR) else days % 4
    before_ms = to_ms(from_ms(after_ms) + timedelta(days=days))
    found = slots_between(cycle, after_ms, before_ms, BERLIN).tolist()
    walked = []
    slot = next_slot_ms(cycle, after_ms + 1, BERLIN)
    while slot < before_ms:
        walked.append(slot)
        slot = next_slot_ms(cycle, slot + 1, BERLIN)
    assert found == walked
