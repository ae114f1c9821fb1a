"""Use of oil and pellets: what was there and came, less what is left; and what is missing where that is negative."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.counters import Step
from domain.errors import InvalidInput
from domain.intervals import Flag
from services.metering.figures.stock import StockUse, stock_use
from tests.services.metering.making import NOON_MS

DAY_MS = 86_400_000


def use(stocks: dict[int, int], deliveries: dict[int, int] | None = None, noise: int = 0) -> StockUse:
    """A store by days from the test's noon."""
    given_deliveries = deliveries or {}
    return stock_use(
        np.array([NOON_MS + day * DAY_MS for day in stocks], np.int64),
        np.array(list(stocks.values()), np.int64),
        np.array([NOON_MS + day * DAY_MS for day in given_deliveries], np.int64),
        np.array(list(given_deliveries.values()), np.int64),
        reading_interval_ms=DAY_MS,
        noise=noise,
    )


def days(found: StockUse, count: int) -> tuple[list[int], list[int]]:
    steps = found.curve.consumption(NOON_MS + np.arange(count + 1) * DAY_MS)
    return steps.amount.tolist(), steps.flag.tolist()


def test_use_is_stock_before_plus_deliveries_less_stock_after() -> None:
    found = use({0: 3000, 1: 2960, 2: 6930, 3: 6900}, {2: 4000})
    assert days(found, 3) == ([40, 30, 30], [Flag.MEASURED] * 3)
    assert found.findings == []


def test_between_two_far_looks_the_use_is_conserved_and_estimated_in_time() -> None:
    found = use({0: 3000, 4: 2600})
    assert days(found, 4) == ([100] * 4, [Flag.GAP] * 4)


def test_more_in_the_store_than_can_be_names_the_missing_delivery() -> None:
    found = use({0: 3000, 1: 2960, 2: 6930, 3: 6900})
    assert days(found, 3) == ([40, 0, 30], [Flag.MEASURED, Flag.MISSING, Flag.MEASURED])
    assert [(one.step, one.amount) for one in found.findings] == [(Step.BREAK, 3970)]
    assert "a delivery of at least 3970 between 2026-03-29T12:00Z and 2026-03-30T12:00Z is missing" in (
        found.findings[0].sentence
    )


def test_a_delivery_that_is_entered_late_heals_it() -> None:
    assert use({0: 3000, 1: 2960, 2: 6930}, {2: 4000}).findings == []


def test_a_store_that_was_nearly_empty_is_no_counter_that_began_anew() -> None:
    found = use({0: 100, 1: 10, 2: 5_000, 3: 4_990})
    assert [one.step for one in found.findings] == [Step.BREAK]
    assert days(found, 3)[0] == [90, 0, 10]


def test_a_single_misread_stock_is_left_out_and_said() -> None:
    found = use({0: 3000, 1: 9999, 2: 2900, 3: 2850})
    assert [one.step for one in found.findings] == [Step.SPIKE]
    assert "left out" in found.findings[0].sentence
    assert days(found, 3)[0] == [50, 50, 50]


def test_a_gauge_that_trembles_uses_nothing_twice() -> None:
    found = use({0: 3000, 1: 3008, 2: 2990}, noise=10)
    assert (days(found, 2)[0], found.findings) == ([0, 10], [])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidInput, match="stock"):
        use({0: -1, 1: 5})
    with pytest.raises(InvalidInput, match="delivery"):
        use({0: 1, 1: 1}, {1: 0})


def test_one_look_at_a_store_tells_nothing() -> None:
    assert days(use({0: 500}, {1: 100}), 2)[1] == [Flag.MISSING] * 2


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 3000)), min_size=1, max_size=30),
    st.integers(0, 10**6),
)
def test_whatever_is_used_and_brought_is_found_again(moves: list[tuple[int, int]], rest: int) -> None:
    used = [amount for amount, _ in moves]
    level = rest + sum(used)
    stocks, deliveries = {0: level}, {}
    for day, (amount, brought) in enumerate(moves, 1):
        level += brought - amount
        stocks[day] = level
        if brought:
            deliveries[day] = brought
    found = use(stocks, deliveries)
    assert (days(found, len(moves))[0], found.findings) == (used, [])
