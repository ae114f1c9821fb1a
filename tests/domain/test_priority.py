"""The safety order: who may ask for a level, and what is due whatever they ask."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput, OutOfLimits
from domain.priority import Command, Due, Priority, Source, due_level

NOW = datetime(2026, 11, 22, 22, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def command(
    level: int, priority: Priority = Priority.OPERATOR, uid: str = "a", issued: datetime = NOW - HOUR,
    starts: datetime = NOW - HOUR, expires: datetime = NOW + HOUR,
) -> Command:  # fmt: skip
    return Command(uid, priority, level, issued, starts, expires)


def due(*commands: Command, at: datetime = NOW, **state: object) -> Due:
    known: dict = {
        "locked_out": False, "plan_level": 500, "night": True, "floor_permille": 0, "dimmable": True, **state
    }  # fmt: skip
    return due_level(at, commands=commands, **known)


@st.composite
def commands(draw) -> Command:
    minutes = st.integers(-120, 120)
    starts = NOW + timedelta(minutes=draw(minutes))
    return Command(
        uid=draw(st.sampled_from("abcdefgh")) + str(draw(st.integers(0, 9))),
        priority=draw(st.sampled_from(Priority)),
        level_permille=draw(st.integers(0, 1000)),
        issued_at=NOW + timedelta(minutes=draw(st.integers(-3, 3))),
        starts_at=starts,
        expires_at=starts + timedelta(minutes=draw(st.integers(1, 200))),
    )


STATES = st.fixed_dictionaries(
    {
        "locked_out": st.booleans(),
        "plan_level": st.none() | st.integers(0, 1000),
        "night": st.booleans(),
        "floor_permille": st.integers(0, 1000),
        "dimmable": st.booleans(),
        "waiver": st.booleans(),
        "dark": st.none() | st.booleans(),
    }
)


@given(st.lists(commands(), max_size=8, unique_by=lambda c: c.uid), STATES, st.randoms(use_true_random=False))
def test_the_order_in_which_commands_are_known_does_not_matter(known, state, random):
    shuffled = list(known)
    random.shuffle(shuffled)
    assert due_level(NOW, commands=known, **state) == due_level(NOW, commands=shuffled, **state)


@given(st.lists(commands(), max_size=8, unique_by=lambda c: c.uid), STATES)
def test_commands_that_do_not_hold_change_nothing(known, state):
    holding = [c for c in known if c.holds_at(NOW)]
    assert due_level(NOW, commands=known, **state) == due_level(NOW, commands=holding, **state)


@given(st.lists(commands(), max_size=8, unique_by=lambda c: c.uid), STATES)
def test_whatever_is_asked_what_is_due_is_safe(known, state):
    result = due_level(NOW, commands=known, **state)
    if state["locked_out"]:
        assert result == Due(None, Source.LOCKOUT)
        return
    assert result.level_permille is not None
    assert 0 <= result.level_permille <= 1000
    dark = state["night"] if state["dark"] is None else state["dark"]
    if dark and not state["waiver"]:
        assert result.level_permille >= state["floor_permille"]
        assert state["dimmable"] or result.level_permille == 1000
    if not state["dimmable"]:
        assert result.level_permille in (0, 1000)


@given(st.lists(commands(), min_size=1, max_size=8, unique_by=lambda c: c.uid))
def test_no_one_of_lower_priority_is_heard_over_one_of_higher(known):
    result = due(*known)
    holding = [c for c in known if c.holds_at(NOW)]
    if holding:
        winner = next(c for c in holding if c.uid == result.command_uid)
        assert winner.priority == max(c.priority for c in holding)
        assert result.source.value == winner.priority.name.lower()
    else:
        assert result.source is Source.PLAN


def test_a_locked_out_feeder_gets_neither_on_nor_off():
    emergency = command(1000, Priority.EMERGENCY)
    assert due(emergency, locked_out=True) == Due(None, Source.LOCKOUT)


def test_an_override_comes_and_goes_by_itself():
    override = command(800, starts=NOW, expires=NOW + HOUR)
    second = timedelta(seconds=1)
    assert due(override, at=NOW - second).source is Source.PLAN
    assert due(override, at=NOW).level_permille == 800
    assert due(override, at=NOW + HOUR - second) == Due(800, Source.OPERATOR, "a")
    assert due(override, at=NOW + HOUR) == Due(500, Source.PLAN)


def test_when_the_higher_ends_the_next_lower_holds_again():
    rescue = command(1000, Priority.EMERGENCY, "rescue", expires=NOW + HOUR)
    party = command(700, Priority.OPERATOR, "party", expires=NOW + 3 * HOUR)
    assert due(rescue, party).command_uid == "rescue"
    assert due(rescue, party, at=NOW + 2 * HOUR).command_uid == "party"


def test_among_equals_the_last_issued_wins_then_the_greater_uid():
    early, late = command(300, uid="z", issued=NOW - HOUR), command(400, uid="a", issued=NOW)
    assert due(early, late).level_permille == 400
    twin = command(600, uid="b", issued=NOW)
    assert due(twin, late).level_permille == due(late, twin).level_permille == 600


def test_without_plan_and_command_it_is_light_by_night_and_dark_by_day():
    assert due(plan_level=None, night=True) == Due(1000, Source.DEFAULT)
    assert due(plan_level=None, night=False) == Due(0, Source.DEFAULT)


def test_a_plan_below_the_floor_is_lifted_unless_a_waiver_says_otherwise():
    assert due(plan_level=100, floor_permille=400) == Due(400, Source.PLAN, raised=True)
    assert due(plan_level=0, floor_permille=400) == Due(400, Source.PLAN, raised=True)
    assert due(plan_level=0, floor_permille=400, waiver=True) == Due(0, Source.PLAN)
    assert due(plan_level=100, floor_permille=400, night=False) == Due(100, Source.PLAN)


def test_in_the_twilight_a_plan_switches_when_it_wants():
    assert due(plan_level=0, floor_permille=400, dark=False) == Due(0, Source.PLAN)
    assert due(plan_level=0, floor_permille=400, dark=True).level_permille == 400


def test_a_crossing_is_never_dimmed():
    assert due(plan_level=300, dimmable=False) == Due(1000, Source.PLAN, raised=True)
    assert due(command(0), dimmable=False) == Due(1000, Source.OPERATOR, "a", raised=True)
    assert due(plan_level=0, dimmable=False, night=False) == Due(0, Source.PLAN)
    assert due(plan_level=300, dimmable=False, waiver=True).level_permille == 1000
    assert due(plan_level=0, dimmable=False, waiver=True).level_permille == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("expires_at", NOW - 2 * HOUR),
        ("expires_at", None),
        ("starts_at", datetime(2026, 1, 1)),
        ("level_permille", 1001),
        ("level_permille", -1),
    ],
)
def test_a_command_that_makes_no_sense_is_refused(field, value):
    given_values = {
        "uid": "a", "priority": Priority.OPERATOR, "level_permille": 500,
        "issued_at": NOW, "starts_at": NOW, "expires_at": NOW + HOUR, field: value,
    }  # fmt: skip
    with pytest.raises(InvalidInput) as error:
        Command(**given_values)
    assert error.value.violations[0].field == field


def test_a_floor_or_a_plan_beyond_full_is_refused():
    with pytest.raises(OutOfLimits, match="floor"):
        due(floor_permille=1001)
    with pytest.raises(OutOfLimits, match="plan_level"):
        due(plan_level=2000)
