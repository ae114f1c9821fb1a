"""Who may do what: the tables of roles, scopes and services."""

import pytest

from domain.errors import NotPermitted
from lichtbuch.audit.v1 import audit_pb2
from lichtbuch.ledger.v1 import ledger_pb2
from lichtbuch.lighting.v1 import lighting_pb2
from lichtbuch.metering.v1 import metering_pb2
from lichtbuch.registry.v1 import registry_pb2
from lichtbuch.scheduler.v1 import scheduler_pb2
from servicekit.access import (
    ROLE_PERMISSIONS,
    SERVICE_PERMISSIONS,
    Binding,
    Caller,
    Role,
    Scope,
    matches,
    role_may,
)
from servicekit.policy import method_of

PROTOS = (audit_pb2, ledger_pb2, lighting_pb2, metering_pb2, registry_pb2, scheduler_pb2)
PERMISSIONS = sorted(
    {
        method_of(method).permission
        for proto in PROTOS
        for service in proto.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
)


def person(*bindings: Binding) -> Caller:
    return Caller("p", "person", bindings)


def test_every_pattern_of_the_tables_covers_a_method_of_the_contract():
    for patterns in (*ROLE_PERMISSIONS.values(), *SERVICE_PERMISSIONS.values()):
        for pattern in patterns:
            assert any(matches(pattern, permission) for permission in PERMISSIONS), pattern


def test_every_method_is_open_to_somebody():
    for permission in PERMISSIONS:
        by_role = any(role_may(role, permission) for role in Role)
        by_service = any(matches(p, permission) for patterns in SERVICE_PERMISSIONS.values() for p in patterns)
        assert by_role or by_service, permission


def test_a_viewer_and_an_auditor_change_nothing():
    for role in (Role.VIEWER, Role.AUDITOR):
        changing = [p for p in PERMISSIONS if role_may(role, p) and not p.endswith((".read", ".list", ".recompute"))]
        assert changing == []


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        (Role.VIEWER, "lighting.luminaires.read", "audit.records.read"),
        (Role.VIEWER, "ledger.measures.read", "ledger.log.read"),
        (Role.OPERATOR, "lighting.overrides.create", "scheduler.profiles.update"),
        (Role.PLANNER, "scheduler.profiles.update", "lighting.overrides.create"),
        (Role.PLANNER, "lighting.luminaires.create", "registry.roles.create"),
        (Role.AUDITOR, "ledger.log.read", "ledger.entries.create"),
        (Role.ADMIN, "registry.roles.create", "registry.access.read"),
        (Role.ADMIN, "ledger.entries.reverse", "lighting.plans.put"),
        (Role.CONTRACTOR, "ledger.entries.read", "lighting.luminaires.read"),
        (Role.FITTER, "lighting.lockouts.create", "lighting.luminaires.update"),
    ],
)
def test_roles_hold_what_they_are_for_and_no_more(role, may, may_not):
    assert role_may(role, may)
    assert not role_may(role, may_not)


def test_a_binding_holds_in_its_municipality_only():
    caller = person(Binding(Role.OPERATOR, "bad-hersfeld"))
    assert caller.may("lighting.overrides.create", "bad-hersfeld")
    assert not caller.may("lighting.overrides.create", "schwalmstadt")
    assert not caller.may("lighting.overrides.create", "-")


def test_a_binding_for_every_municipality_holds_in_each():
    caller = person(Binding(Role.ADMIN, "-"))
    assert caller.may("lighting.overrides.create", "anywhere")
    assert caller.may("registry.municipalities.create", "-")


def test_a_contractor_reaches_its_own_measures_and_what_lies_in_them():
    mine = "municipalities/bad-hersfeld/measures/led"
    caller = person(Binding(Role.CONTRACTOR, "bad-hersfeld", (mine,)))
    assert caller.may("ledger.measures.read", "bad-hersfeld", mine)
    assert caller.may("ledger.entries.read", "bad-hersfeld", f"{mine}/entries/2026-01")
    assert not caller.may("ledger.measures.read", "bad-hersfeld", f"{mine}-2")
    assert not caller.may("ledger.measures.read", "bad-hersfeld")
    assert caller.may("registry.municipalities.read", "bad-hersfeld")


def test_a_contractor_without_measures_reaches_none():
    caller = person(Binding(Role.CONTRACTOR, "bad-hersfeld"))
    assert caller.scope("ledger.measures.read", "bad-hersfeld") == Scope(frozenset())


def test_a_wider_role_lifts_the_limit_of_a_narrower_one():
    caller = person(
        Binding(Role.FITTER, "bad-hersfeld", ("municipalities/bad-hersfeld/cabinets/c1",)),
        Binding(Role.VIEWER, "bad-hersfeld"),
    )
    assert caller.may("lighting.cabinets.read", "bad-hersfeld", "municipalities/bad-hersfeld/cabinets/c2")
    assert not caller.may("lighting.lockouts.create", "bad-hersfeld", "municipalities/bad-hersfeld/cabinets/c2")


def test_a_service_does_what_its_table_says_everywhere():
    scheduler = Caller.of_service("scheduler")
    assert scheduler.may("lighting.plans.put", "anywhere")
    assert not scheduler.may("lighting.overrides.create", "anywhere")
    assert not Caller("service:x", "service", (), "x").may("lighting.plans.put", "anywhere")


def test_what_is_missing_is_said_in_one_sentence():
    with pytest.raises(NotPermitted, match=r"^ledger.entries.create in municipalities/bad-hersfeld is needed$"):
        person().require("ledger.entries.create", "bad-hersfeld")
