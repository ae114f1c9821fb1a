"""A rule of a plan changes its level while a sensor says so; a plan without rules is what it always was."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.plan import MAX_RULES, Plan
from domain.plan_rule import (
    PlanRule,
    SensorKind,
    SensorOperation,
    operate,
    rule_from_document,
    rule_to_document,
)

HOUR_MS = 3_600_000
TRAFFIC = PlanRule(HOUR_MS, 5 * HOUR_MS, SensorKind.TRAFFIC, SensorOperation.MAX, 1000, 30_000, 20_000, 300, 5, "S-1")
TWILIGHT = replace(TRAFFIC, kind=SensorKind.ILLUMINANCE, on_milli=35_000, off_milli=35_000, sensor="", position=1)


def plan(*rules: PlanRule) -> Plan:
    return Plan(0, 24 * HOUR_MS, (0, HOUR_MS), (0, 500), (), rules)


@pytest.mark.parametrize(
    ("operation", "value", "result"),
    [
        (SensorOperation.SET, 700, 700),
        (SensorOperation.MAX, 700, 700),
        (SensorOperation.MAX, 300, 400),
        (SensorOperation.MIN, 300, 300),
        (SensorOperation.MIN, 700, 400),
        (SensorOperation.ADD, 200, 600),
        (SensorOperation.ADD, 900, 1000),
        (SensorOperation.SUB, 150, 250),
        (SensorOperation.SUB, 500, 0),
        (SensorOperation.MUL, 1500, 600),
        (SensorOperation.MUL, 10_000, 1000),
    ],
)
def test_an_operation_turns_a_level_of_400_per_mille_into_another(
    operation: SensorOperation, value: int, result: int
) -> None:
    assert operate(operation, 400, value) == result


def test_a_product_is_rounded_half_up() -> None:
    assert [operate(SensorOperation.MUL, level, 500) for level in (1, 2, 3, 999)] == [1, 1, 2, 500]


@given(st.sampled_from(SensorOperation), st.integers(0, 1000), st.integers(0, 10_000))
def test_a_level_stays_a_level(operation: SensorOperation, level: int, value: int) -> None:
    assert 0 <= operate(operation, level, value) <= 1000


def test_traffic_begins_at_one_threshold_and_ends_below_the_other() -> None:
    assert TRAFFIC.begins(30_000)
    assert not TRAFFIC.begins(29_999)
    assert not TRAFFIC.ends(20_000)
    assert TRAFFIC.ends(19_999)


def test_daylight_begins_where_it_gets_dark() -> None:
    assert TWILIGHT.begins(35_000)
    assert not TWILIGHT.begins(35_001)
    assert TWILIGHT.ends(35_001)


def test_rules_that_are_open_at_once_come_in_their_order() -> None:
    late = replace(TRAFFIC, from_ms=2 * HOUR_MS, position=0)
    early = replace(TWILIGHT, from_ms=HOUR_MS, position=1)
    made = plan(early, late)
    assert made.rules_at(HOUR_MS - 1) == []
    assert made.rules_at(HOUR_MS) == [early]
    assert made.rules_at(3 * HOUR_MS) == [late, early]
    assert made.rules_at(5 * HOUR_MS) == []


def test_rules_are_part_of_the_hash_only_where_there_are_any() -> None:
    assert plan().hash == Plan(0, 24 * HOUR_MS, (0, HOUR_MS), (0, 500)).hash
    hashes = {plan().hash, plan(TRAFFIC).hash, plan(TWILIGHT).hash, plan(replace(TRAFFIC, hold_s=301)).hash}
    assert len(hashes) == 4
    assert plan(TRAFFIC).hash == plan(replace(TRAFFIC)).hash


def test_a_rule_comes_back_from_its_document() -> None:
    for rule in (TRAFFIC, TWILIGHT):
        assert rule_from_document(json.loads(json.dumps(rule_to_document(rule)))) == rule


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ((replace(TRAFFIC, from_ms=-1),), "rules[0]"),
        ((replace(TRAFFIC, until_ms=25 * HOUR_MS),), "rules[0]"),
        ((replace(TRAFFIC, until_ms=HOUR_MS),), "rules[0]"),
        ((replace(TRAFFIC, from_ms=2 * HOUR_MS), TRAFFIC), "rules[1].from_unix_ms"),
        ((replace(TWILIGHT), replace(TRAFFIC, position=0)), "rules[1].from_unix_ms"),
        ((replace(TRAFFIC, value_permille=1001),), "rules[0].value_permille"),
        ((replace(TRAFFIC, operation=SensorOperation.MUL, value_permille=10_001),), "rules[0].value_permille"),
        ((replace(TRAFFIC, off_milli=30_001),), "rules[0].off_milli"),
        ((replace(TWILIGHT, off_milli=34_999),), "rules[0].off_milli"),
        ((replace(TRAFFIC, hold_s=43_201),), "rules[0].hold_s"),
        ((replace(TRAFFIC, ramp_s=3_601),), "rules[0].ramp_s"),
        ((replace(TRAFFIC, position=50),), "rules[0].position"),
        ((TRAFFIC,) * (MAX_RULES + 1), "rules"),
    ],
)
def test_a_malformed_rule_is_refused_and_the_field_is_named(rules: tuple[PlanRule, ...], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        plan(*rules)
    assert field in {violation.field for violation in caught.value.violations}
