"""Lighting is posted by whole nights, buildings by quarter hours; what is due follows from the calendar alone."""

from datetime import UTC, date, datetime, timedelta

import pytest

from services.ledger.period import period_violations, periods_due
from services.ledger.terms import Method
from tests.services.ledger.helpers import day_of, night_of, terms

LIGHTING, BUILDING = terms(Method.OPTION_B), terms(Method.OPTION_C)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("day", [date(2026, 3, 28), date(2026, 10, 24), date(2026, 7, 1)])
def test_a_lighting_night_may_be_posted_even_when_the_clocks_change(day: date) -> None:
    start, end = night_of(day)
    assert period_violations(LIGHTING, start, end) == []
    assert (
        period_violations(
            LIGHTING,
            start,
            end + timedelta(days=30) + (night_of(day + timedelta(days=30))[1] - end - timedelta(days=30)),
        )
        == []
    )


def test_what_may_not_be_posted_is_told_by_field() -> None:
    start, end = night_of(date(2026, 7, 1))
    day, day_end = day_of(date(2026, 7, 1))

    def fields(terms, a: datetime, b: datetime) -> list[str]:
        return [violation.field for violation in period_violations(terms, a, b)]

    assert fields(LIGHTING, start + HOUR, end) == ["start_time"]
    assert fields(LIGHTING, start, end - HOUR) == ["end_time"]
    assert fields(LIGHTING, day, day_end) == ["start_time", "end_time"]
    assert fields(LIGHTING, end, start) == ["end_time"]
    assert fields(LIGHTING, start, start) == ["end_time"]
    assert fields(LIGHTING, *night_of(date(2025, 12, 1))) == ["start_time"]
    assert fields(LIGHTING, datetime(1, 1, 1, tzinfo=UTC), end) == ["start_time"]
    assert fields(BUILDING, day, day_end) == []
    assert fields(BUILDING, day + HOUR, day_end - HOUR) == []
    assert fields(BUILDING, day + timedelta(minutes=5), day_end) == ["start_time"]
    assert fields(BUILDING, day, day + timedelta(days=401)) == ["end_time"]


def test_due_are_the_nights_that_began_after_the_measure_and_have_ended() -> None:
    start, _ = night_of(date(2026, 3, 27))
    frozen = terms(Method.OPTION_B, effective_from=start + HOUR)
    _, last = night_of(date(2026, 3, 30))
    found = list(periods_due(frozen, start - timedelta(days=5), last + HOUR))
    assert found == [night_of(date(2026, 3, day)) for day in (28, 29, 30)]
    assert [end - begin for begin, end in found] == [timedelta(hours=23), timedelta(hours=24), timedelta(hours=24)]


def test_a_night_is_due_with_its_end_and_not_before() -> None:
    start, end = night_of(date(2026, 7, 1))
    assert list(periods_due(LIGHTING, start, end)) == [(start, end)]
    assert list(periods_due(LIGHTING, start, end - timedelta(seconds=1))) == []
    assert list(periods_due(LIGHTING, end, end + HOUR)) == []


def test_due_of_a_building_are_its_local_days() -> None:
    found = list(periods_due(BUILDING, day_of(date(2026, 10, 24))[0], day_of(date(2026, 10, 25))[1]))
    assert found == [day_of(date(2026, 10, 24)), day_of(date(2026, 10, 25))]
    assert found[1][1] - found[1][0] == timedelta(hours=25)
