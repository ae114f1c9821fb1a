"""Levels, the steps of devices, and the power that light costs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput, OutOfLimits
from domain.level import (
    DALI,
    DALI_LINEAR,
    PERCENT,
    PERMILLE,
    DimmingCurve,
    LevelScale,
    PowerCurve,
    confirms,
    dali_arc_to_permille,
    dali_arc_to_permille_linear,
    expected_read_back_permille,
    permille_from_percent,
    permille_to_dali_arc,
    permille_to_dali_arc_linear,
)

LEVELS = st.integers(0, 1000)
SCALES = st.sampled_from([PERMILLE, PERCENT, DALI, DALI_LINEAR, LevelScale(15), LevelScale(100, minimum_permille=100)])


@pytest.mark.parametrize(("percent", "arc"), [(0, 0), (1, 85), (10, 170), (25, 203), (50, 229), (70, 241), (100, 254)])
def test_the_dali_curve_is_that_of_iec_62386(percent, arc):
    assert permille_to_dali_arc(percent * 10) == arc
    assert dali_arc_to_permille(arc) == pytest.approx(percent * 10, rel=0.015)


@pytest.mark.parametrize("arc", range(255))
def test_every_arc_above_the_finest_levels_is_its_own_inverse(arc):
    level = dali_arc_to_permille(arc)
    back = permille_to_dali_arc(level)
    # Under 4 % the curve is finer than a per mille.
    assert back == arc or (level < 40 and dali_arc_to_permille(back) == level)
    assert permille_to_dali_arc_linear(dali_arc_to_permille_linear(arc)) == arc


@given(LEVELS, SCALES)
def test_rounding_never_switches_a_lamp_off_nor_on(level, scale):
    assert (scale.to_raw(level) == 0) == (level == 0)
    assert (scale.read_back_permille(level) == 0) == (level == 0)


@given(LEVELS, LEVELS, SCALES)
def test_more_is_never_darker(one, other, scale):
    low, high = sorted((one, other))
    assert scale.to_raw(low) <= scale.to_raw(high)


@given(LEVELS, SCALES)
def test_what_a_device_reports_it_can_hold(level, scale):
    shown = scale.read_back_permille(level)
    assert abs(scale.read_back_permille(shown) - shown) <= 1
    assert scale.read_back_permille(1000) == 1000


@given(LEVELS, st.lists(SCALES, min_size=1, max_size=2))
def test_a_device_that_did_as_told_is_confirmed(level, scales):
    assert confirms(expected_read_back_permille(level, *scales), level, *scales)


def test_a_gateway_in_percent_over_dali_reports_in_percent():
    assert expected_read_back_permille(505, PERCENT, DALI) % 10 == 0
    assert confirms(700, 700, PERCENT, DALI)
    assert confirms(710, 700, PERCENT, DALI)
    assert not confirms(750, 700, PERCENT, DALI)


def test_a_lamp_that_is_dark_does_not_confirm_the_faintest_level():
    assert not confirms(0, 1, PERCENT)
    assert not confirms(1, 0, PERCENT)
    assert confirms(0, 0)
    assert confirms(500, 500)
    assert not confirms(501, 500)


def test_gear_raises_what_is_below_its_physical_minimum():
    gear = LevelScale(254, DimmingCurve.DALI_LOGARITHMIC, minimum_permille=100)
    assert gear.to_raw(30) == 170
    assert confirms(100, 30, gear)


@pytest.mark.parametrize("level", [-1, 1001])
def test_a_level_beyond_full_is_refused(level):
    for refuse in (
        permille_to_dali_arc,
        permille_to_dali_arc_linear,
        PERCENT.to_raw,
        PowerCurve.typical_led(20).power_w,
    ):
        with pytest.raises(OutOfLimits):
            refuse(level)


@pytest.mark.parametrize("arc", [-1, 255])
def test_no_change_is_not_a_level(arc):
    for refuse in (dali_arc_to_permille, dali_arc_to_permille_linear, DALI.to_permille):
        with pytest.raises(OutOfLimits):
            refuse(arc)


@pytest.mark.parametrize(("percent", "level"), [(0, 0), (0.05, 1), (33.33, 333), (99.95, 1000), (100, 1000)])
def test_percent_is_what_people_type(percent, level):
    assert permille_from_percent(percent) == level


@pytest.mark.parametrize("percent", [-0.1, 100.1, float("nan")])
def test_percent_beyond_full_is_refused(percent):
    with pytest.raises(OutOfLimits):
        permille_from_percent(percent)


def test_a_dimmed_lamp_saves_less_than_its_light():
    # A town's own figures: 22.8 W, 900 h full and 3 200 h at 10 % saved 52 %; proportional power would have saved 70 %.
    curve = PowerCurve.typical_led(22.8)
    full, dimmed = 900, 3200
    used = full * curve.power_w(1000) + dimmed * curve.power_w(100)
    saved = 1 - used / ((full + dimmed) * 22.8)
    assert saved == pytest.approx(0.52, abs=0.005)


def test_power_runs_straight_between_measured_points():
    curve = PowerCurve(((100, 300), (500, 600), (1000, 1000)), rated_w=50, standby_w=0.4)
    assert curve.power_w(0) == 0.4
    assert curve.power_w(1) == curve.power_w(100) == pytest.approx(15)
    assert curve.power_w(300) == pytest.approx(22.5)
    assert curve.power_w(1000) == pytest.approx(50)


def test_a_lamp_that_cannot_dim_costs_full_power_at_any_light():
    curve = PowerCurve.not_dimmable(83)
    assert [curve.power_w(level) for level in (0, 1, 500, 1000)] == [0, 83, 83, 83]


@given(st.lists(LEVELS, max_size=50))
def test_many_levels_cost_what_each_costs(levels):
    curve = PowerCurve(((50, 200), (1000, 1000)), 38, 0.3)
    assert curve.power_w_array(levels).tolist() == pytest.approx([curve.power_w(level) for level in levels])
    assert curve.power_w_array(np.array([[0, 1000]])).shape == (1, 2)


def test_one_wrong_level_among_many_is_refused():
    with pytest.raises(OutOfLimits):
        PowerCurve.typical_led(20).power_w_array([0, 1001])


@pytest.mark.parametrize(
    "points",
    [
        (),
        ((500, 500),),
        ((100, 500), (100, 600), (1000, 1000)),
        ((100, 800), (500, 600), (1000, 1000)),
        ((0, 1), (1000, 1000)),
    ],
)
def test_a_curve_that_falls_or_does_not_end_at_full_is_refused(points):
    with pytest.raises(InvalidInput, match="points"):
        PowerCurve(points, 20)


@pytest.mark.parametrize(("rated", "standby"), [(-1, 0), (float("nan"), 0), (20, -0.1), (20, float("inf"))])
def test_a_power_that_makes_no_sense_is_refused(rated, standby):
    with pytest.raises(InvalidInput):
        PowerCurve.typical_led(rated, standby)


def test_the_dali_curve_has_254_steps():
    with pytest.raises(InvalidInput, match="254"):
        LevelScale(100, DimmingCurve.DALI_LOGARITHMIC)
    with pytest.raises(InvalidInput):
        LevelScale(0)
    with pytest.raises(OutOfLimits):
        PERCENT.to_permille(101)
