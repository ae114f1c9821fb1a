"""Instants as whole milliseconds: exact both ways, whatever the zone, and never of a naive datetime."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.instants import from_unix_ms, unix_ms

MILLISECOND = timedelta(milliseconds=1)


@given(st.datetimes(timezones=st.just(UTC)))
def test_finer_digits_are_cut_off_at_any_time(instant: datetime) -> None:
    assert instant - MILLISECOND < from_unix_ms(unix_ms(instant)) <= instant


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_every_millisecond_survives_the_way_there_and_back(milliseconds: int) -> None:
    assert unix_ms(from_unix_ms(milliseconds)) == milliseconds


def test_an_instant_is_the_same_in_every_zone() -> None:
    instant = datetime(2026, 6, 21, 14, 0, 0, 1999, tzinfo=timezone(timedelta(hours=2)))
    assert unix_ms(instant) == unix_ms(instant.astimezone(UTC)) == 1_782_043_200_001


def test_a_naive_datetime_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidInput, match="time zone") as caught:
        unix_ms(datetime(2026, 6, 21, 14, 0), "start_time")
    assert caught.value.violations[0].field == "start_time"
