"""A plan is a gapless step function with one hash."""

import hashlib
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.plan import MAX_INSTANTS, Plan, from_unix_ms, plan_hash, to_unix_ms

NOON = datetime(2026, 11, 10, 11, tzinfo=UTC)
HOUR_MS = 3_600_000


def night() -> Plan:
    hours = [NOON + timedelta(hours=h) for h in (0, 5, 10, 17, 20)]
    return Plan.of(NOON, NOON + timedelta(days=1), hours, [0, 1000, 500, 1000, 0], [0, 60, 60, 60, 0])


@st.composite
def plans(draw) -> Plan:
    start = draw(st.integers(0, 4_000_000_000_000))
    steps = draw(st.lists(st.integers(1, HOUR_MS), min_size=1, max_size=30))
    instants = [start]
    for step in steps[:-1]:
        instants.append(instants[-1] + step)
    n = len(instants)
    levels = draw(st.lists(st.integers(0, 1000), min_size=n, max_size=n))
    ramps = draw(st.lists(st.integers(0, 3600), min_size=n, max_size=n))
    return Plan(start, instants[-1] + steps[-1], tuple(instants), tuple(levels), tuple(ramps))


def test_a_level_holds_from_its_instant_until_the_next():
    plan = night()
    assert plan.level_at(NOON) == 0
    assert plan.level_at(NOON + timedelta(hours=5) - timedelta(milliseconds=1)) == 0
    assert plan.level_at(NOON + timedelta(hours=5)) == 1000
    assert plan.level_at(NOON + timedelta(hours=12)) == 500
    assert plan.ramp_at(NOON + timedelta(hours=12)) == 60


def test_outside_its_validity_a_plan_says_nothing():
    plan = night()
    assert plan.level_at(NOON - timedelta(milliseconds=1)) is None
    assert plan.level_at(NOON + timedelta(days=1)) is None
    assert plan.ramp_at(NOON + timedelta(days=1)) == 0


@settings(deadline=None)
@given(plans())
def test_segments_tile_the_validity_and_agree_with_level_at(plan: Plan):
    segments = plan.segments()
    assert segments[0][0] == plan.valid_from_ms
    assert segments[-1][1] == plan.valid_until_ms
    for (_, end, _), (start, _, _) in pairwise(segments):
        assert end == start
    for start, end, level in segments:
        assert plan.level_at(from_unix_ms(start)) == level == plan.level_at(from_unix_ms(end - 1))


@settings(deadline=None)
@given(plans())
def test_equal_plans_have_equal_hashes_and_every_part_of_a_plan_counts(plan: Plan):
    same = Plan(plan.valid_from_ms, plan.valid_until_ms, plan.instants_ms, plan.levels_permille, plan.ramps_s)
    assert same.hash == plan.hash
    changed = (
        Plan(plan.valid_from_ms, plan.valid_until_ms + 1, plan.instants_ms, plan.levels_permille, plan.ramps_s),
        Plan(plan.valid_from_ms, plan.valid_until_ms, plan.instants_ms,
             ((plan.levels_permille[0] + 1) % 1001, *plan.levels_permille[1:]), plan.ramps_s),
        Plan(plan.valid_from_ms, plan.valid_until_ms, plan.instants_ms, plan.levels_permille,
             ((plan.ramps_s[0] + 1) % 3601, *plan.ramps_s[1:])),
    )  # fmt: skip
    assert plan.hash not in {other.hash for other in changed}


def test_a_plan_without_ramps_has_the_hash_of_one_with_zero_ramps():
    assert (
        Plan(0, 10, (0, 5), (1, 2)).hash == Plan(0, 10, (0, 5), (1, 2), (0, 0)).hash == plan_hash(0, 10, [0, 5], [1, 2])
    )


def test_the_hash_is_sha256_over_these_very_bytes():
    # A change here would make every stored plan look different from the scheduler's.
    content = b'{"instants":[0,1000],"levels":[0,1000],"ramps":[0,60],"valid_from":0,"valid_until":86400000}'
    assert Plan(0, 86_400_000, (0, 1000), (0, 1000), (0, 60)).hash == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        ((10, 10, (10,), (0,)), "valid_until"),
        ((0, 400 * 86_400_000 + 1, (0,), (0,)), "valid_until"),
        ((0, 10, (), ()), "instants_unix_ms"),
        ((0, 10, (1,), (0,)), "instants_unix_ms[0]"),
        ((0, 10, (0, 5, 5), (0, 1, 2)), "instants_unix_ms[2]"),
        ((0, 10, (0, 10), (0, 1)), "instants_unix_ms[1]"),
        ((0, 10, (0, 5), (0,)), "levels_permille"),
        ((0, 10, (0,), (1001,)), "levels_permille[0]"),
        ((0, 10, (0,), (-1,)), "levels_permille[0]"),
        ((0, 10, (0,), (0,), (3601,)), "ramps_s[0]"),
        ((0, 10, (0,), (0,), (1, 2)), "ramps_s"),
        ((0, 100_000, tuple(range(MAX_INSTANTS + 1)), (0,) * (MAX_INSTANTS + 1)), "instants_unix_ms"),
    ],
)
def test_a_malformed_plan_is_refused_and_the_field_is_named(plan, field):
    with pytest.raises(InvalidInput) as caught:
        Plan(*plan)
    assert field in {violation.field for violation in caught.value.violations}


def test_a_naive_instant_is_refused():
    with pytest.raises(InvalidInput, match="valid_from"):
        Plan.of(NOON.replace(tzinfo=None), NOON, [NOON], [0])


def test_milliseconds_survive_the_way_there_and_back():
    assert from_unix_ms(to_unix_ms(NOON)) == NOON
    assert night().valid_from == NOON
    assert night().valid_until == NOON + timedelta(days=1)
    assert night().lowest_lit_permille() == 500
    assert Plan(0, 1, (0,), (0,)).lowest_lit_permille() is None
