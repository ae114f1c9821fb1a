"""Energy is level history times curve, with standby, without what nobody knows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.level import PowerCurve
from services.lighting.energy import Drawn, LevelChanges, drawn_by, energies, evidence_hash

CURVE = PowerCurve(((100, 330), (500, 610), (1000, 1000)), 22.8, 0.3)
HOUR = 3_600_000


def changes(*rows: tuple[int, int, int, bool]) -> LevelChanges:
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    return LevelChanges(
        np.array(columns[0], dtype=np.int64),
        np.array(columns[1], dtype=np.int64),
        np.array(columns[2], dtype=np.int16),
        np.array(columns[3], dtype=np.bool_),
    )


def test_a_night_of_full_light_dimmed_light_and_standby():
    night = changes((0, -HOUR, 0, True), (0, 2 * HOUR, 1000, True), (0, 6 * HOUR, 500, True), (0, 8 * HOUR, 0, False))
    result = energies(night, [Drawn(CURVE, False)], 0, 24 * HOUR)
    watt_hours = 2 * 0.3 + 4 * 22.8 + 2 * 22.8 * 0.61
    assert result.energy_mwh[0] == round(watt_hours * 1000)
    assert result.lit_s[0] == 6 * 3600
    assert result.known_s[0] == 24 * 3600


def test_unpowered_gear_draws_nothing_not_even_standby():
    result = energies(changes((0, 0, 0, False)), [Drawn(CURVE, False)], 0, HOUR)
    assert result.energy_mwh[0] == 0
    assert result.known_s[0] == 3600


def test_unknown_time_counts_neither_as_energy_nor_as_known():
    result = energies(changes((0, 0, 1000, True), (0, HOUR, -1, True), (0, 3 * HOUR, 1000, True)),
                      [Drawn(CURVE, False)], 0, 4 * HOUR)  # fmt: skip
    assert result.energy_mwh[0] == 2 * 22_800
    assert result.known_s[0] == 2 * 3600


def test_before_its_first_change_nothing_is_known_of_a_lamp():
    result = energies(changes((1, HOUR, 1000, True)), [Drawn(CURVE, False)] * 2, 0, 2 * HOUR)
    assert result.known_s.tolist() == [0, 3600]
    assert result.energy_mwh.tolist() == [0, 22_800]


def test_a_quarter_hour_of_standby_is_not_rounded_away():
    drawn = [Drawn(PowerCurve.not_dimmable(20.0, 0.3), False)]
    assert energies(changes((0, 0, 0, True)), drawn, 0, 900_000).energy_mwh[0] == 75


@st.composite
def histories(draw):
    rows = []
    for row in range(draw(st.integers(1, 4))):
        at = draw(st.integers(-5 * HOUR, HOUR))
        for _ in range(draw(st.integers(0, 6))):
            rows.append((row, at, draw(st.sampled_from([-1, 0, 50, 500, 1000])), draw(st.booleans())))
            at += draw(st.integers(1, 3 * HOUR))
    return rows


@settings(max_examples=100, deadline=None)
@given(histories(), st.integers(1, 10 * HOUR))
def test_the_columns_equal_a_loop_over_seconds_of_each_lamp(rows, end):
    drawn = [Drawn(CURVE, False)] * 4
    result = energies(changes(*rows), drawn, 0, end)
    for lamp in range(4):
        mine = [r for r in rows if r[0] == lamp]
        energy = lit = known = 0.0
        for index, (_, at, level, powered) in enumerate(mine):
            until = mine[index + 1][1] if index + 1 < len(mine) else end
            span = max(0, min(until, end) - max(at, 0))
            if level >= 0:
                known += span
                energy += span * CURVE.power_w(level) if powered else 0.0
                lit += span if powered and level > 0 else 0
        assert abs(result.energy_mwh[lamp] - energy / 3600) <= 0.5 + 1e-6
        assert abs(result.lit_s[lamp] - lit / 1000) <= 0.5 + 1e-6
        assert abs(result.known_s[lamp] - known / 1000) <= 0.5 + 1e-6


@given(histories(), st.integers(1, 10 * HOUR), st.data())
@settings(max_examples=50, deadline=None)
def test_two_parts_of_a_period_add_up_to_the_whole(rows, end, data):
    middle = data.draw(st.integers(0, end))
    drawn = [Drawn(CURVE, False)] * 4
    whole = energies(changes(*rows), drawn, 0, end)
    first, second = (energies(changes(*rows), drawn, a, b) for a, b in ((0, middle), (middle, end)))
    assert np.abs(first.energy_mwh + second.energy_mwh - whole.energy_mwh).max() <= 1


def test_an_unknown_curve_is_a_typical_one_and_says_that_it_is_an_estimate():
    known = drawn_by(rated_power_w=20, standby_power_w=0.3, curve=[(100, 300), (1000, 1000)], installed_power_w=0)
    assert not known.estimated
    assert known.curve.rated_w == 20
    unknown = drawn_by(rated_power_w=20, standby_power_w=0.3, curve=[], installed_power_w=31)
    assert unknown.estimated
    assert unknown.curve.rated_w == 31
    assert drawn_by(rated_power_w=0, standby_power_w=0, curve=[], installed_power_w=0).estimated


def test_the_evidence_changes_with_everything_it_rests_on_and_not_with_the_order_of_lamps():
    one = changes((0, 0, 1000, True), (1, 0, 500, True))
    drawn = [Drawn(CURVE, False), Drawn(PowerCurve.not_dimmable(70.0), False)]
    base = evidence_hash(["a", "b"], drawn, one, 0, HOUR)
    turned = changes((0, 0, 500, True), (1, 0, 1000, True))
    assert evidence_hash(["b", "a"], drawn[::-1], turned, 0, HOUR) == base
    others = {
        evidence_hash(["a", "b"], drawn, one, 0, HOUR + 1),
        evidence_hash(["a", "b"], drawn, changes((0, 0, 999, True), (1, 0, 500, True)), 0, HOUR),
        evidence_hash(["a", "b"], [drawn[0], drawn[0]], one, 0, HOUR),
    }
    assert len(others) == 3
    assert base not in others


@pytest.mark.parametrize("curve", [[(0, 100), (1000, 1000)], [(500, 600)], [(500, 900), (1000, 800)]])
def test_a_curve_that_cannot_be_is_refused(curve):
    with pytest.raises(Exception, match="points"):
        drawn_by(rated_power_w=20, standby_power_w=0.3, curve=curve, installed_power_w=0)
