"""What a cabinet's lamps must have drawn beside what its meter counted: the verdict, and what makes one impossible."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cli.commands.balance import AGREES, LESS, MORE, Balance

EVEN = Balance("municipalities/t/cabinets/C-1", 40, 9_000.0, 1_000.0, 10_000.0, known=1.0, coverage=1.0)


@pytest.mark.parametrize(
    ("metered_wh", "verdict"),
    [(10_500.0, AGREES), (9_500.0, AGREES), (10_501.0, MORE), (9_499.0, LESS), (0.0, LESS)],
)
def test_the_meter_may_differ_by_the_tolerance_to_either_side(metered_wh: float, verdict: str) -> None:
    assert replace(EVEN, metered_wh=metered_wh).verdict(5.0) == verdict


def test_what_else_hangs_on_the_cabinet_is_expected_of_its_meter() -> None:
    assert EVEN.expected_wh == 10_000.0
    assert replace(EVEN, foreign_wh=0.0).verdict(5.0) == MORE


def test_a_cabinet_that_should_draw_nothing_agrees_with_a_meter_that_stood_still() -> None:
    nothing = replace(EVEN, computed_wh=0.0, foreign_wh=0.0, metered_wh=0.0)
    assert nothing.difference_percent is None
    assert nothing.verdict(5.0) == AGREES
    assert replace(nothing, metered_wh=1.0).verdict(5.0) == MORE


@pytest.mark.parametrize(
    ("gap", "words"),
    [({"known": 0.94}, "levels are known for 94% of the time"), ({"coverage": 0.5}, "readings cover 50% of the time")],
)
def test_where_too_little_is_known_there_is_no_verdict(gap: dict[str, Any], words: str) -> None:
    assert replace(EVEN, metered_wh=0.0, **gap).verdict(5.0) == f"cannot be judged: {words}"


def test_a_row_says_all_of_it() -> None:
    assert EVEN.row(5.0) == {
        "cabinet": "C-1",
        "lamps": 40,
        "computed_kwh": 9.0,
        "other_loads_kwh": 1.0,
        "metered_kwh": 10.0,
        "difference_percent": 0.0,
        "verdict": AGREES,
    }
