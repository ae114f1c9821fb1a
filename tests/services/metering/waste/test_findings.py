"""What becomes of findings: raised once, extended, ended when it is known, not raised again after a person's word."""

from __future__ import annotations

import numpy as np
import pytest

from services.metering.figures.losses import check_sum
from services.metering.figures.stock import stock_use
from services.metering.meter import Medium, Unit
from services.metering.waste.findings import (
    AVOIDABLE_MICRO_EUR,
    Change,
    Standing,
    cost_cents,
    judge,
    sentence,
    stock_check,
    sum_check,
)
from services.metering.waste.watch import Rule, Waste
from tests.services.metering.making import NOON_MS
from tests.services.metering.profiles import steps, without

DAY_MS = 86_400_000


def waste(rule: Rule = Rule.NIGHT_BASE_LOAD_UP, start_ms: int = NOON_MS, **more: int) -> Waste:
    values = {"excess_amount": 1_000, "coverage_permille": 1000, "usual": 500, "seen": 800, **more}
    return Waste(rule, start_ms, start_ms + DAY_MS, **values)


def test_waste_is_raised_once_and_then_extended() -> None:
    assert judge(Standing(), waste(), is_known=True) is Change.RAISE
    assert judge(Standing(NOON_MS), waste(), is_known=True) is Change.EXTEND
    assert judge(Standing(), None, is_known=True) is Change.NOTHING


def test_it_ends_when_it_is_over_and_not_while_nobody_knows() -> None:
    assert judge(Standing(NOON_MS), None, is_known=True) is Change.END
    assert judge(Standing(NOON_MS), None, is_known=False) is Change.NOTHING


def test_what_a_person_closed_is_not_raised_again_but_what_begins_later_is() -> None:
    closed = Standing(None, NOON_MS + 3 * DAY_MS)
    assert judge(closed, waste(), is_known=True) is Change.NOTHING
    assert judge(closed, waste(start_ms=NOON_MS + 4 * DAY_MS), is_known=True) is Change.RAISE


@pytest.mark.parametrize(
    ("excess", "medium", "unit", "price", "cents"),
    [
        (10_000, Medium.ELECTRICITY, Unit.WH, 250_000, 250),  # 10 kWh at 25 cents
        (1_500, Medium.WATER, Unit.L, 4_000_000, 600),  # 1.5 m3 at 4 euro
        (30, Medium.OIL, Unit.L, 1_100_000, 3_300),  # 30 litres at 1.10
        (20, Medium.PELLETS, Unit.KG, 300_000, 600),
        (10_000, Medium.ELECTRICITY, Unit.WH, 0, AVOIDABLE_MICRO_EUR[Medium.ELECTRICITY, Unit.WH] // 1_000),
        (10_000, Medium.TRAFFIC, Unit.COUNT, 0, 0),
        (-5, Medium.WATER, Unit.L, 4_000_000, 0),
        (19, Medium.ELECTRICITY, Unit.WH, 250_000, 0),
        (20, Medium.ELECTRICITY, Unit.WH, 250_000, 1),  # half a cent is rounded up
    ],
)
def test_cost_is_amount_times_price_in_whole_cents(excess: int, medium: int, unit: int, price: int, cents: int) -> None:
    assert cost_cents(excess, medium, unit, price) == cents


@pytest.mark.parametrize("rule", list(Rule))
def test_each_rule_says_what_was_seen(rule: Rule) -> None:
    said = sentence(waste(rule), Unit.WH)
    assert "W" in said
    assert len(said) < 200


def test_litres_are_told_per_hour() -> None:
    assert sentence(waste(Rule.WATER_NEVER_STOPS), Unit.L) == "it never stops: 800 L/h at least, day and night"


def days(amounts: list[int]):
    return steps(NOON_MS, amounts, DAY_MS)


def test_a_tree_that_is_off_on_most_days_of_a_week_is_told() -> None:
    main, sub = days([1_000] * 7), days([900, 900, 990, 900, 900, 900, 900])
    found = sum_check(check_sum(main, [sub], 30))
    assert found is not None
    assert (found.rule, found.start_ms, found.excess_amount) == (Rule.SUM_CHECK, NOON_MS, 600)
    assert (found.usual, found.seen) == (6_000, 5_400)
    assert "less than" in sentence(found, Unit.WH)
    assert sum_check(check_sum(main, [days([900] * 3 + [990] * 4)], 30)) is None
    assert sum_check(check_sum(main, [without(sub, 0, 3)], 30)) is None


def test_sub_meters_that_count_more_are_told_too_and_a_standing_finding_grows() -> None:
    main, sub = days([1_000] * 10), days([1_100] * 10)
    found = sum_check(check_sum(main, [sub], 30), NOON_MS)
    assert found is not None
    assert (found.start_ms, found.excess_amount) == (NOON_MS, 1_000)
    assert "more than" in sentence(found, Unit.WH)


def test_a_store_that_does_not_add_up_tells_how_much_is_missing() -> None:
    at = np.array([NOON_MS, NOON_MS + DAY_MS, NOON_MS + 2 * DAY_MS], np.int64)
    nothing = np.zeros(0, np.int64)
    used = stock_use(at, np.array([100, 600, 500]), nothing, nothing, reading_interval_ms=DAY_MS)
    found = stock_check(used.findings, NOON_MS)
    assert found is not None
    assert (found.excess_amount, found.start_ms, found.end_ms) == (500, NOON_MS, NOON_MS + DAY_MS)
    assert stock_check(used.findings, NOON_MS + DAY_MS) is None
