"""The safety order: who may ask for a level, and what is due whatever they ask."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput, OutOfLimits
from domain.priority import Command, Due, Priority, Source, Waiver, due_level, lifts_floor, waived_floor

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


def waiver(floor: int = 0, starts: datetime = NOW - HOUR, ends: datetime = NOW + HOUR) -> Waiver:
    return Waiver(floor, starts, ends)


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
        "waivers": st.lists(st.sampled_from([0, 100, 300]).map(lambda floor: waiver(floor)), max_size=2),
        "sensed": st.booleans(),
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
    by_name = [c for c in known if c.uid == result.command_uid and lifts_floor(c.priority, c.level_permille)]
    if dark and not by_name:
        assert result.level_permille >= waived_floor(state["floor_permille"], NOW, state["waivers"])
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


@given(st.lists(commands(), max_size=8, unique_by=lambda c: c.uid), STATES)
def test_a_command_that_is_released_leaves_no_trace(known, state):
    result = due_level(NOW, commands=known, **state)
    others = [c for c in known if c.uid != result.command_uid]
    without = due_level(NOW, commands=others, **state)
    assert without.command_uid == "" or without.command_uid in {c.uid for c in others}
    if result.command_uid:
        ended = [c if c.uid != result.command_uid else stopped(c) for c in known]
        assert due_level(NOW, commands=ended, **state) == without


def stopped(c: Command) -> Command:
    return Command(c.uid, c.priority, c.level_permille, c.issued_at, NOW - 9 * HOUR, NOW)


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
    assert due(plan_level=0, floor_permille=400, waivers=[waiver()]) == Due(0, Source.PLAN)
    assert due(plan_level=100, floor_permille=400, night=False) == Due(100, Source.PLAN)


def test_in_the_twilight_a_plan_switches_when_it_wants():
    assert due(plan_level=0, floor_permille=400, dark=False) == Due(0, Source.PLAN)
    assert due(plan_level=0, floor_permille=400, dark=True).level_permille == 400


def test_a_waiver_lowers_the_floor_to_its_own_and_never_raises_it():
    assert due(plan_level=0, floor_permille=400, waivers=[waiver(150)]) == Due(150, Source.PLAN, raised=True)
    assert due(plan_level=0, floor_permille=400, waivers=[waiver(150), waiver(700)]).level_permille == 150
    assert due(plan_level=0, floor_permille=400, waivers=[waiver(700)]).level_permille == 400
    assert due(command(200), floor_permille=400, waivers=[waiver(150)]) == Due(200, Source.OPERATOR, "a")


def test_when_its_review_comes_the_floor_holds_again_by_itself():
    dark = [waiver(0, NOW, NOW + HOUR)]
    second = timedelta(seconds=1)

    def level(at: datetime) -> int | None:
        return due(at=at, plan_level=0, floor_permille=400, waivers=dark).level_permille

    assert [level(at) for at in (NOW - second, NOW, NOW + HOUR - second, NOW + HOUR)] == [400, 0, 0, 400]


@given(st.integers(0, 1000), st.lists(st.integers(0, 1000).map(waiver), max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_waivers_does_not_matter(floor, known, random):
    shuffled = list(known)
    random.shuffle(shuffled)
    assert waived_floor(floor, NOW, known) == waived_floor(floor, NOW, shuffled) <= floor


def test_what_a_sensor_made_of_the_plan_is_due_to_the_sensor():
    assert due(plan_level=700, sensed=True) == Due(700, Source.SENSOR)
    assert due(command(300), plan_level=700, sensed=True).source is Source.OPERATOR
    assert due(plan_level=None, sensed=True).source is Source.DEFAULT


@pytest.mark.parametrize("priority", list(Priority))
def test_only_maintenance_and_emergency_make_a_street_dark_at_night(priority):
    is_named = priority in (Priority.MAINTENANCE, Priority.EMERGENCY)
    assert due(command(0, priority), floor_permille=400).level_permille == (0 if is_named else 400)
    assert due(command(100, priority), floor_permille=400).level_permille == 400


def test_a_crossing_is_never_dimmed():
    assert due(plan_level=300, dimmable=False) == Due(1000, Source.PLAN, raised=True)
    assert due(command(0), dimmable=False) == Due(1000, Source.OPERATOR, "a", raised=True)
    assert due(plan_level=0, dimmable=False, night=False) == Due(0, Source.PLAN)
    assert due(plan_level=300, dimmable=False, waivers=[waiver()]).level_permille == 1000
    assert due(plan_level=0, dimmable=False, waivers=[waiver()]).level_permille == 1000
    assert due(command(0, Priority.EMERGENCY), dimmable=False).level_permille == 0


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


@pytest.mark.parametrize(
    ("field", "value"),
    [("ends_at", NOW), ("ends_at", None), ("starts_at", datetime(2026, 1, 1)), ("floor_permille", 1001)],
)
def test_a_waiver_that_makes_no_sense_is_refused(field, value):
    given_values = {"floor_permille": 0, "starts_at": NOW, "ends_at": NOW + HOUR, field: value}
    with pytest.raises(InvalidInput) as error:
        Waiver(**given_values)
    assert error.value.violations[0].field == field


def test_a_floor_or_a_plan_beyond_full_is_refused():
    with pytest.raises(OutOfLimits, match="floor"):
        due(floor_permille=1001)
    with pytest.raises(OutOfLimits, match="plan_level"):
        due(plan_level=2000)
