"""Domain time in a time-lapse is a straight line of real time."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.timelapse import TimeLapse

START = datetime(2026, 3, 28, 11, tzinfo=UTC)
ANCHOR = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


def test_at_speed_600_a_night_takes_144_seconds():
    lapse = TimeLapse(START, ANCHOR, 600)
    assert lapse.at(ANCHOR) == START
    assert lapse.at(ANCHOR + timedelta(seconds=144)) == START + timedelta(days=1)
    assert lapse.real_seconds(86_400) == 144
    assert not lapse.is_real_time


def test_at_speed_1_domain_time_is_real_time_to_the_microsecond():
    lapse = TimeLapse.real_time(ANCHOR)
    real = ANCHOR + timedelta(days=4000, microseconds=7)
    assert lapse.at(real) == real == lapse.real_for(real)
    assert lapse.is_real_time


def test_processes_in_other_zones_agree():
    lapse = TimeLapse(START, ANCHOR.astimezone(timezone(timedelta(hours=5))), 60)
    assert lapse == TimeLapse(START, ANCHOR, 60)
    assert lapse.at(ANCHOR.astimezone(timezone(timedelta(hours=-3)))) == START


@given(
    st.timedeltas(timedelta(days=-30), timedelta(days=30)),
    st.sampled_from([0.1, 1.0, 60.0, 600.0, 3600.0]),
)
def test_there_and_back_is_the_same_instant(offset, speed):
    lapse = TimeLapse(START, ANCHOR, speed)
    instant = START + offset
    assert abs(lapse.at(lapse.real_for(instant)) - instant) <= timedelta(microseconds=speed + 1)


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf"), 1e9])
def test_a_speed_that_makes_no_sense_is_refused(speed):
    with pytest.raises(InvalidInput, match="speed"):
        TimeLapse(START, ANCHOR, speed)


def test_instants_without_a_zone_are_refused():
    with pytest.raises(InvalidInput, match="anchor"):
        TimeLapse(START, datetime(2026, 1, 1), 1)
