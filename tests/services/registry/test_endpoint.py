"""An endpoint comes into control step by step, and only a person takes the last one."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.errors import FailedPrecondition, InvalidInput, NotPermitted
from services.registry.endpoint import Endpoint, Owner, State
from services.registry.field_url import parse_field_url

NOW = datetime(2026, 6, 21, 9, 0, tzinfo=UTC)
WAY = (State.PLANNED, State.OBSERVED, State.TESTED, State.IN_CONTROL)


def endpoint(state: State = State.PLANNED) -> Endpoint:
    address = parse_field_url("modbus+tcp://10.0.0.1?unit=1")
    planned = Endpoint("u1", "m1", "C-001", "Cabinet 1", address, "arlight-dali", Owner.LIGHTING)
    if state is not State.IN_CONTROL:
        return replace(planned, state=state)
    return replace(planned, state=state, released_by="u-ada", released_at=NOW)


def by_a_person(before: Endpoint, target: State) -> Endpoint:
    return before.moved_to(target, by="u-ada", is_person=True, at=NOW)


def test_a_person_leads_it_into_control_one_state_at_a_time() -> None:
    current = endpoint()
    for target in WAY[1:]:
        current = by_a_person(current, target)
        assert current.state is target
    assert current.released_by == "u-ada"
    assert current.released_at == NOW


@pytest.mark.parametrize(
    ("state", "target"),
    [(State.PLANNED, State.TESTED), (State.PLANNED, State.IN_CONTROL), (State.OBSERVED, State.IN_CONTROL)],
)
def test_no_state_is_skipped_on_the_way_forward(state: State, target: State) -> None:
    with pytest.raises(FailedPrecondition, match="the next state is"):
        by_a_person(endpoint(state), target)


@pytest.mark.parametrize("state", WAY)
def test_it_is_not_moved_to_where_it_is(state: State) -> None:
    with pytest.raises(FailedPrecondition, match="already"):
        by_a_person(endpoint(state), state)


@pytest.mark.parametrize(
    ("state", "target"), [(WAY[here], WAY[there]) for here in range(1, 4) for there in range(here)]
)
@pytest.mark.parametrize("is_person", [True, False])
def test_backward_is_always_allowed_and_ends_the_release(state: State, target: State, is_person: bool) -> None:
    moved = endpoint(state).moved_to(target, by="service:lighting", is_person=is_person, at=NOW)
    assert moved.state is target
    assert moved.released_by == ""
    assert moved.released_at is None


def test_a_service_may_test_but_never_release() -> None:
    tested = endpoint(State.OBSERVED).moved_to(State.TESTED, by="service:lighting", is_person=False, at=NOW)
    with pytest.raises(NotPermitted, match="only a person"):
        tested.moved_to(State.IN_CONTROL, by="service:lighting", is_person=False, at=NOW)


@pytest.mark.parametrize("state", [State.TESTED, State.IN_CONTROL])
@pytest.mark.parametrize("change", [{"url": "modbus+tcp://10.0.0.2"}, {"profile": "intesis-dali"}])
def test_another_address_or_profile_falls_back_to_observed(state: State, change: dict[str, Any]) -> None:
    changed = endpoint(state).changed(**change)
    assert changed.state is State.OBSERVED
    assert changed.released_by == ""
    assert changed.released_at is None


def test_another_unit_behind_the_same_gateway_is_another_device() -> None:
    assert endpoint(State.IN_CONTROL).changed(url="modbus+tcp://10.0.0.1?unit=2").state is State.OBSERVED


def test_a_planned_endpoint_stays_planned() -> None:
    assert endpoint().changed(url="modbus+tcp://10.0.0.2").state is State.PLANNED


def test_another_display_name_keeps_the_control() -> None:
    changed = endpoint(State.IN_CONTROL).changed(display_name="  Am Markt ")
    assert changed.display_name == "Am Markt"
    assert changed.state is State.IN_CONTROL
    assert changed.released_by == "u-ada"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "http://10.0.0.1"}, "url"),
        ({"profile": ""}, "profile"),
        ({"profile": "../secrets"}, "profile"),
        ({"profile": "-x"}, "profile"),
        ({"display_name": "ü" * 101}, "display_name"),
    ],
)
def test_wrong_values_are_refused(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        endpoint().changed(**change)
    assert caught.value.violations[0].field == field
