"""From light to command and back: off is off, light is light, more light is never a lesser command."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.level import DALI, PERCENT, LevelScale
from services.lighting.written_level import (
    clo_permille,
    light_level,
    light_levels,
    output_permille,
    shown_light,
    shown_lights,
    written_level,
    written_levels,
)

# The example of constant light output in TALQ.
CLO = ((0, 800), (5000, 850), (10_000, 900), (15_000, 950), (20_000, 1000))

levels = st.integers(-1, 1000)
outputs = st.integers(1, 1000)
leasts = st.integers(0, 1000)


@given(levels, levels, outputs, leasts)
def test_more_light_is_never_a_lesser_command(one: int, other: int, output: int, least: int):
    less, more = sorted((one, other))
    assert written_level(less, output, least) <= written_level(more, output, least)
    assert light_level(less, output) <= light_level(more, output)


@given(st.integers(1, 1000), outputs, leasts)
def test_light_stays_light_within_what_the_driver_can_hold(due: int, output: int, least: int):
    written = written_level(due, output, least)
    assert max(1, least) <= written <= 1000


@given(outputs, leasts, st.sampled_from([0, -1]))
def test_off_stays_off_and_nothing_stays_nothing(output: int, least: int, level: int):
    assert written_level(level, output, least) == level
    assert light_level(level, output) == level


@given(st.integers(1, 1000), outputs)
def test_the_way_back_is_within_half_a_step_of_the_command(due: int, output: int):
    # The command is rounded by at most a half, and the light that it stands for once more.
    assert (
        abs(light_level(written_level(due, output), output) - due) <= 500 / output + 0.5
        or written_level(due, output) == 1
    )


@given(st.integers(0, 1000), outputs)
def test_what_a_driver_drives_is_what_it_would_be_told_for_that_light(driven: int, output: int):
    if driven <= output:
        assert written_level(light_level(driven, output), output) == driven
    else:
        assert light_level(driven, output) == 1000


@given(st.lists(st.tuples(levels, outputs, leasts), max_size=20))
def test_many_at_once_are_each_as_by_itself(lamps: list[tuple[int, int, int]]):
    due, output, least = (np.array([lamp[i] for lamp in lamps], dtype=np.int16) for i in range(3))
    assert written_levels(due, output, least).tolist() == [written_level(*lamp) for lamp in lamps]
    assert light_levels(due, output).tolist() == [light_level(level, output) for level, output, _ in lamps]


@given(st.integers(1, 1000), outputs, st.sampled_from([PERCENT, DALI]))
def test_a_lamp_that_does_what_was_written_shows_the_light_that_is_due(due: int, output: int, scale: LevelScale):
    seen = scale.read_back_permille(written_level(due, output))
    if output < 1000 and written_level(due, output) >= 10:
        assert shown_light(seen, due, output) == due
    elif output == 1000:
        assert shown_light(seen, due, output) == seen, "as read where light and command are one"


@given(st.lists(st.tuples(levels, levels, outputs), max_size=20))
def test_many_are_shown_as_each_by_itself(lamps: list[tuple[int, int, int]]):
    driven, due, output = (np.array([lamp[i] for lamp in lamps], dtype=np.int16) for i in range(3))
    assert shown_lights(driven, due, output).tolist() == [shown_light(*lamp) for lamp in lamps]


def test_a_driver_that_cannot_go_so_low_shows_the_light_that_it_gives():
    assert shown_light(written_level(50, 800, 400), 50, 800) == 500


@given(levels)
def test_a_driver_without_further_notice_is_told_what_is_due(due: int):
    assert written_level(due) == written_level(due, output_permille(0)) == due == light_level(due)


@pytest.mark.parametrize(
    ("hours", "output"), [(0, 800), (4999, 800), (5000, 850), (12_000, 900), (20_000, 1000), (90_000, 1000)]
)
def test_a_point_of_the_curve_holds_until_the_next(hours: int, output: int):
    assert clo_permille(CLO, hours) == output


def test_before_its_first_point_a_curve_gives_that_ones_output_and_no_curve_gives_all():
    assert clo_permille(((5000, 850), (10_000, 900)), 0) == 850
    assert clo_permille((), 0) == 1000


@given(st.integers(0, 1000), st.integers(1, 1000), st.integers(0, 100_000), st.integers(0, 100_000))
def test_light_sources_are_driven_harder_as_they_age(virtual: int, clo: int, one: int, other: int):
    young, old = sorted((one, other))
    assert output_permille(virtual, clo_permille(CLO, young)) <= output_permille(virtual, clo_permille(CLO, old))
    assert output_permille(virtual, clo) == max(1, (2 * (virtual or 1000) * clo + 1000) // 2000)


def test_virtual_output_and_ageing_multiply():
    assert output_permille(850, 800) == 680
    assert written_level(500, output_permille(850, 800)) == 340


@given(st.integers(1, 1000), outputs)
def test_through_percent_and_dali_the_light_is_off_by_a_step_at_most(due: int, output: int):
    command = written_level(due, output)
    seen = PERCENT.read_back_permille(DALI.read_back_permille(PERCENT.read_back_permille(command)))
    step = max(10, DALI.step_permille(command)) + 10
    assert abs(light_level(seen, output) - due) <= step * 1000 / output + 1
