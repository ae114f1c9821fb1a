"""What people type becomes what the contracts take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from cli import parsing
from cli.field.addressing import numbers
from domain.errors import InvalidInput

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 22, 11, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "minutes"), [("30m", 30), ("2h", 120), ("1h30m", 90), ("1d", 1440), ("90s", 1.5), ("45 min", 45)]
)
def test_durations(text: str, minutes: float) -> None:
    assert parsing.duration(text) == timedelta(minutes=minutes)


@pytest.mark.parametrize("text", ["", "soon", "2 weeks", "-1h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parsing.duration(text)


@pytest.mark.parametrize(("text", "permille"), [("50", 500), ("12.5%", 125), ("12,5 %", 125), ("on", 1000), ("off", 0)])
def test_levels_are_percent(text: str, permille: int) -> None:
    assert parsing.level(text) == permille


@pytest.mark.parametrize("text", ["101", "-1", "half", "nan", "inf"])
def test_what_is_no_level_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parsing.level(text)


def test_a_clock_time_is_the_next_one() -> None:
    assert parsing.instant("18:00", BERLIN, NOON) == datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
    assert parsing.instant("06:00", BERLIN, NOON) == datetime(2026, 11, 23, 5, 0, tzinfo=UTC)


def test_a_local_time_is_local_and_one_with_an_offset_is_not() -> None:
    assert parsing.instant("2026-06-21T22:00", BERLIN, NOON) == datetime(2026, 6, 21, 20, 0, tzinfo=UTC)
    assert parsing.instant("2026-06-21T22:00Z", BERLIN, NOON) == datetime(2026, 6, 21, 22, 0, tzinfo=UTC)


def test_numbers_and_ranges() -> None:
    assert numbers("0-2,7,1", "index") == [0, 1, 2, 7]
    assert numbers("", "index") is None
    with pytest.raises(InvalidInput):
        numbers("3-1", "index")
