"""The lamps' physics against closed forms, against fine sampling, and against conservation of energy."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.level import PowerCurve
from simulator.catalogue import MODELS
from simulator.lamps import KEEP_LAST, LampBank, fade_seconds
from simulator.town import Luminaire, PreviousOperation

ALL = np.arange(4, dtype=np.intp)
ONE = np.array([1], dtype=np.intp)
CURVES = [PowerCurve(m.curve, m.rated_w, m.standby_w) for m in MODELS]


def luminaire(number: int, **changes: Any) -> Luminaire:
    lamp = Luminaire(
        id=f"L-{number}", cabinet="C", feeder="F", gateway="G", gear=number, model=MODELS[number % 4].id, latitude=0.0,
        longitude=0.0, address="", street="", lighting_class="P4", lowest_class="P6", floor_permille=400,
        previous=PreviousOperation("HSE 70", 70.0, 13.0), fade_code=0,
    )  # fmt: skip
    return dataclasses.replace(lamp, **changes)


def bank(**changes: Any) -> LampBank:
    """Four lamps, one of each model, supplied and dark at time 0, with empty counters and no fade."""
    lamps = LampBank([luminaire(i, **changes) for i in range(4)], MODELS, 0.0)
    lamps.energise(0.0, ALL, True)
    lamps.start_at(0.0, ALL, 0.0)
    return lamps


def test_a_lamp_held_at_a_level_uses_the_power_of_its_curve_times_the_time() -> None:
    lamps = bank()
    lamps.command(0.0, ALL, 500)
    for lamp, curve in enumerate(CURVES):
        assert lamps.energy_wh(7200.0)[lamp] == pytest.approx(2.0 * curve.power_w(500), rel=1e-12)


def test_ten_per_cent_of_light_needs_about_a_third_of_the_power_of_the_23_watt_model() -> None:
    lamps = bank()
    lamps.command(0.0, ALL, 100)
    assert lamps.power_w(10.0)[1] == pytest.approx(0.33 * 22.8)


def test_a_dark_lamp_on_a_live_feeder_draws_standby_and_one_on_a_dead_feeder_nothing() -> None:
    lamps = bank()
    assert lamps.power_w(10.0) == pytest.approx([m.standby_w for m in MODELS])
    lamps.energise(3600.0, ALL, False)
    assert lamps.power_w(3601.0) == pytest.approx([0.0] * 4)
    assert lamps.energy_wh(10_000.0) == pytest.approx([m.standby_w for m in MODELS])


def test_a_fade_is_a_straight_ramp_whose_energy_is_the_area_under_the_curve() -> None:
    lamps = bank(fade_code=8)
    assert float(fade_seconds(8)) == 8.0
    lamps.command(0.0, ALL, 1000)
    assert lamps.light_level(4.0) == pytest.approx([500.0] * 4)
    # The first per mille rises from standby; above it the model is the domain's curve.
    levels = (np.arange(800_000) + 0.5) / 800.0
    for lamp, curve in enumerate(CURVES):
        watts = np.interp(levels, [0.0, 1.0, *curve._xs], [curve.standby_w, curve.power_w(1), *curve._ys])
        assert lamps.energy_wh(8.0)[lamp] == pytest.approx(watts.mean() * 8.0 / 3600.0, rel=1e-6)


def test_a_command_during_a_fade_goes_on_from_the_level_reached() -> None:
    lamps = bank(fade_code=8)
    lamps.command(0.0, ALL, 1000)
    lamps.command(4.0, ALL, 0)
    assert lamps.light_level(4.0) == pytest.approx([500.0] * 4)
    assert lamps.light_level(8.0) == pytest.approx([250.0] * 4)
    assert lamps.light_level(13.0) == pytest.approx([0.0] * 4)
    assert lamps.burning_s(100.0) == pytest.approx([12.0] * 4)


def test_gear_without_supply_does_not_hear_and_starts_at_its_power_on_level() -> None:
    lamps = bank(power_on_permille=700)
    lamps.energise(10.0, ALL, False)
    assert lamps.command(20.0, ALL, 300).size == 0
    lamps.energise(30.0, ALL, True)
    assert lamps.light_level(30.0) == pytest.approx([700.0] * 4)
    assert lamps.power_cycled.all()
    lamps.command(40.0, ALL, 300)
    assert not lamps.power_cycled.any()


def test_a_power_on_level_that_keeps_the_last_one_brings_it_back() -> None:
    lamps = bank(power_on_permille=int(KEEP_LAST))
    lamps.command(0.0, ALL, 420)
    lamps.energise(10.0, ALL, False)
    lamps.energise(20.0, ALL, True)
    assert lamps.light_level(20.0) == pytest.approx([420.0] * 4)


def test_a_failed_lamp_gives_no_light_and_draws_standby_while_failed_gear_draws_nothing() -> None:
    lamps = bank()
    lamps.command(0.0, ALL, 1000)
    lamps.set_lamp_failure(3600.0, ONE, True)
    assert lamps.light_level(3601.0, ONE)[0] == 0.0
    assert lamps.power_w(3601.0, ONE)[0] == pytest.approx(MODELS[1].standby_w)
    assert lamps.energy_wh(7200.0, ONE)[0] == pytest.approx(MODELS[1].rated_w + MODELS[1].standby_w)
    lamps.set_gear_failure(7200.0, ONE, True)
    assert lamps.command(7300.0, ONE, 500).size == 0
    assert lamps.energy_wh(9000.0, ONE)[0] == pytest.approx(MODELS[1].rated_w + MODELS[1].standby_w)
    assert lamps.burning_s(9000.0, ONE)[0] == pytest.approx(3600.0)


def test_a_day_burner_ignores_commands() -> None:
    lamps = bank()
    lamps.set_stuck_on(0.0, ONE, True)
    assert lamps.command(1.0, ALL, 0).tolist() == [0, 2, 3]
    assert lamps.light_level(2.0, ONE)[0] == 1000.0


def test_a_level_below_the_physical_minimum_is_raised_to_it() -> None:
    lamps = bank()
    lamps.command(0.0, ALL, 3)
    assert lamps.light_level(1.0) == pytest.approx([10.0] * 4)


STEP = st.tuples(
    st.floats(0.1, 5_000.0),
    st.sampled_from(["level", "supply", "lamp", "gear", "stuck"]),
    st.integers(0, 1000),
    st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, min_size=1, max_size=8), st.integers(0, 10))
def test_energy_and_burning_time_agree_with_fine_sampling_whatever_happens(
    steps: list[tuple[float, str, int, bool]], fade: int
) -> None:
    lamps = bank(fade_code=fade)
    t, sampled, burned = 0.0, np.zeros(4), np.zeros(4)
    for wait, what, level, on in steps:
        # Midpoint rule, fine where a fade may be under way.
        edges = np.unique(np.concatenate([np.linspace(t, min(t + 20.0, t + wait), 400), np.linspace(t, t + wait, 50)]))
        for a, b in itertools.pairwise(edges):
            sampled += lamps.power_w((a + b) / 2) * (b - a) / 3600.0
            burned += (lamps.light_level((a + b) / 2) > 0) * (b - a)
        t += wait
        before = lamps.energy_wh(t)
        if what == "level":
            lamps.command(t, ALL, level)
        elif what == "supply":
            lamps.energise(t, ALL, on)
        elif what == "lamp":
            lamps.set_lamp_failure(t, ONE, on)
        elif what == "gear":
            lamps.set_gear_failure(t, ONE, on)
        else:
            lamps.set_stuck_on(t, ONE, on)
        # A change of state never moves a counter.
        assert lamps.energy_wh(t) == pytest.approx(before, rel=1e-12, abs=1e-12)
    assert before == pytest.approx(sampled, rel=2e-3, abs=2e-3)
    assert lamps.burning_s(t) == pytest.approx(burned, rel=2e-3, abs=1.0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.0, 100_000.0), min_size=2, max_size=20))
def test_counters_never_run_backwards(instants: list[float]) -> None:
    lamps = bank(fade_code=12)
    lamps.command(0.0, ALL, 1000)
    readings = [lamps.energy_wh(t).sum() for t in sorted(instants)]
    assert readings == sorted(readings)


def test_a_lamp_off_its_curve_draws_and_counts_so_many_times_as_much() -> None:
    lamps = bank()
    lamps.command(0.0, ALL, 1000.0)
    lamps.set_power_factor(3600.0, ONE, 2.5)
    at = lamps.energy_wh(3600.0, ONE)[0]
    rated = CURVES[1].power_w(1000)
    assert lamps.power_w(3600.0, ONE)[0] == pytest.approx(2.5 * rated)
    assert lamps.energy_wh(7200.0, ONE)[0] - at == pytest.approx(2.5 * rated)


def test_a_lamp_that_drops_out_hears_commands_and_comes_back_to_where_it_was() -> None:
    lamps = bank()
    lamps.command(0.0, ALL, 700.0)
    lamps.drop_out(10.0, ONE, True)
    assert lamps.light_level(10.0)[:2].tolist() == [700.0, 0.0]
    lamps.drop_out(20.0, ONE, False)
    assert lamps.light_level(20.0, ONE)[0] == 700.0
    lamps.drop_out(30.0, ONE, True)
    lamps.command(40.0, ONE, 400.0)
    assert lamps.light_level(40.0, ONE)[0] == 400.0


def test_gear_that_is_deaf_answers_and_stays_where_it_is() -> None:
    lamps = bank()
    lamps.command(0.0, ALL, 700.0)
    lamps.set_deaf(5.0, ONE, True)
    assert lamps.command(10.0, ALL, 400.0).tolist() == [0, 2, 3]
    assert lamps.responds(ONE)[0]
    assert lamps.light_level(20.0, ONE)[0] == 700.0
