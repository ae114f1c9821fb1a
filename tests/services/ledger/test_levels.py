"""Option A computes from levels; what nobody knows of a lamp burns as its old lamp did."""

from dataclasses import replace
from datetime import date

import pytest

from domain.errors import InvalidInput
from services.ledger.assess import LevelInputs, assess
from services.ledger.levels import Levels, levels_bytes, read_levels
from services.ledger.terms import Method
from tests.services.ledger.helpers import levels, night_of, terms

A = terms(Method.OPTION_A)
START, END = night_of(date(2026, 3, 1))
KNOWN = levels(A, START, END).levels


def assessed(changed: Levels):
    return assess(A, START, END, LevelInputs(changed))


def test_levels_come_back_from_their_bytes() -> None:
    assert read_levels(levels_bytes(KNOWN)) == KNOWN


def test_the_energy_of_the_levels_is_the_actual_energy() -> None:
    found = assessed(KNOWN)
    assert found.figures.actual_wh == 1_200
    assert (found.figures.coverage_permille, found.figures.estimated_permille) == (1000, 0)
    assert "1200 Wh from the levels of 4 luminaires" in found.computation
    assert "11:06:40 h" in found.computation


def test_milliwatt_hours_are_rounded_once_over_all_lamps() -> None:
    assert assessed(replace(KNOWN, energies_mwh=(300_400,) * 4)).figures.actual_wh == 1_202


def test_a_lamp_of_unknown_level_saves_nothing_for_that_time() -> None:
    whole = assessed(KNOWN)
    found = assessed(replace(KNOWN, known_s=(0, *KNOWN.known_s[1:]), energies_mwh=(0, *KNOWN.energies_mwh[1:])))
    alone = 83_000 * 13_000 // 3_600_000  # the half-night lamp burned some four and a half hours
    assert found.actual.filled_wh > alone / 2
    assert found.figures.saved_wh < whole.figures.saved_wh
    assert found.figures.coverage_permille == 750
    assert "stand in for time without a known level" in found.computation


def test_an_hour_of_unknown_level_stands_in_for_an_hour_of_burning_at_most() -> None:
    hour_less = tuple(known - 3600 for known in KNOWN.known_s)
    found = assessed(replace(KNOWN, known_s=hour_less, energies_mwh=(100_000,) * 4))
    assert found.actual.filled_wh == 4 * 83
    assert found.figures.coverage_permille == 958


def test_what_stands_in_never_turns_a_lamps_saving_into_a_loss() -> None:
    # Known in the night, unknown by day: the old lamp cannot have burned twice.
    found = assessed(replace(KNOWN, known_s=tuple(known - 40_000 for known in KNOWN.known_s)))
    assert found.figures.saved_wh >= -4
    assert found.actual.filled_wh == pytest.approx(found.figures.baseline_wh - 1_200, abs=4)


def test_a_lamp_that_lighting_no_longer_knows_saves_nothing() -> None:
    three = replace(
        KNOWN,
        indexes=(0, 1, 3),
        energies_mwh=KNOWN.energies_mwh[:3],
        lit_s=KNOWN.lit_s[:3],
        known_s=KNOWN.known_s[:3],
        estimated=KNOWN.estimated[:3],
    )
    found = assessed(three)
    assert "1 luminaires are no longer known" in found.computation
    assert found.figures.coverage_permille == 750


def test_an_assumed_curve_marks_the_energy_as_estimated() -> None:
    found = assessed(replace(KNOWN, estimated=(True, False, False, False)))
    assert found.figures.estimated_permille == 250
    assert found.figures.uncertainty_wh > assessed(KNOWN).figures.uncertainty_wh


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no level of any luminaire is known"):
        assessed(replace(KNOWN, known_s=(0,) * 4))
    with pytest.raises(InvalidInput, match="has 4 luminaires only"):
        assessed(replace(KNOWN, indexes=(0, 1, 2, 4)))
    with pytest.raises(InvalidInput, match="do not ascend"):
        replace(KNOWN, indexes=(0, 0, 1, 2))
    with pytest.raises(InvalidInput, match="different lengths"):
        replace(KNOWN, lit_s=())
    with pytest.raises(InvalidInput, match="computes from meters"):
        assess(terms(Method.OPTION_B), START, END, LevelInputs(KNOWN))
