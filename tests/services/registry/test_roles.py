"""Which role bindings may be made."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.errors import InvalidInput
from servicekit.access import Role
from services.registry.roles import RoleBinding, check_binding

NOW = datetime(2026, 6, 21, 9, 0, tzinfo=UTC)
CABINET = "municipalities/borken/cabinets/C-007"
MEASURE = "municipalities/borken/measures/led-2026"


def checked(**changes: Any) -> tuple[str, ...]:
    binding = {
        "municipality_id": "borken",
        "subject": "u-1",
        "role": Role.VIEWER,
        "scopes": [],
        "expires_at": None,
        "now": NOW,
        **changes,
    }
    return check_binding(**binding)


def fields_refused(**changes: Any) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        checked(**changes)
    return [violation.field for violation in caught.value.violations]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.PLANNER, Role.AUDITOR, Role.ADMIN])
def test_most_roles_hold_for_a_whole_municipality_or_for_all(role: Role) -> None:
    assert checked(role=role) == ()
    assert checked(role=role, municipality_id="-") == ()
    assert fields_refused(role=role, scopes=[CABINET]) == ["scopes"]


def test_a_fitter_works_on_named_cabinets() -> None:
    other = "municipalities/borken/cabinets/C-001"
    assert checked(role=Role.FITTER, scopes=[CABINET, other, CABINET]) == (other, CABINET)


def test_a_contractor_sees_named_measures() -> None:
    assert checked(role=Role.CONTRACTOR, scopes=[MEASURE]) == (MEASURE,)


@pytest.mark.parametrize("role", [Role.CONTRACTOR, Role.FITTER])
def test_a_scoped_role_needs_its_scope(role: Role) -> None:
    assert fields_refused(role=role) == ["scopes"]
    assert fields_refused(role=role, municipality_id="-", scopes=[CABINET]) == ["role"]


@pytest.mark.parametrize(
    "scope",
    [
        MEASURE,
        "municipalities/felsberg/cabinets/C-007",
        "municipalities/-/cabinets/C-007",
        "cabinets/C-007",
        "municipalities/borken",
        "",
    ],
)
def test_every_scope_is_checked(scope: str) -> None:
    assert fields_refused(role=Role.FITTER, scopes=[CABINET, scope]) == ["scopes[1]"]


@pytest.mark.parametrize("subject", ["", " ", " u-1", "u-1 ", "x" * 256, "service:lighting"])
def test_a_role_is_held_by_a_person(subject: str) -> None:
    assert fields_refused(subject=subject) == ["subject"]


def test_a_binding_that_has_ended_already_is_refused() -> None:
    assert fields_refused(expires_at=NOW) == ["expires_at"]
    assert checked(expires_at=NOW + timedelta(seconds=1)) == ()


def test_everything_wrong_is_named_at_once() -> None:
    wrong = fields_refused(subject="", scopes=[CABINET], expires_at=NOW - timedelta(days=1))
    assert wrong == ["subject", "expires_at", "scopes"]


def test_a_binding_ends_by_itself() -> None:
    end = NOW + timedelta(hours=1)
    binding = RoleBinding("u1", "m1", "borken", "u-1", Role.VIEWER, (), end)
    assert binding.holds_at(NOW)
    assert not binding.holds_at(end)
    assert RoleBinding("u1", "m1", "borken", "u-1", Role.VIEWER).holds_at(NOW + timedelta(days=36500))
