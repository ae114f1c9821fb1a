"""Roles over gRPC: who gives them, what they open, and how they end."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from domain.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound, NotPermitted
from lichtbuch.registry.v1 import registry_pb2 as pb
from tests.services.registry.helpers import ON_ONE_DATABASE, ROOT, Registry, role_binding

CABINET = "municipalities/borken/cabinets/C-007"


def creation(parent: str, binding: pb.RoleBinding, request_id: str = "") -> pb.CreateRoleBindingRequest:
    return pb.CreateRoleBindingRequest(parent=f"municipalities/{parent}", role_binding=binding, request_id=request_id)


async def listed(registry: Registry, subject: str, parent: str) -> list[str]:
    answer = await registry.as_(subject).ListRoleBindings(pb.ListRoleBindingsRequest(parent=f"municipalities/{parent}"))
    return [binding.subject for binding in answer.role_bindings]


async def test_the_first_administrator_is_bound_on_an_empty_database(registry: Registry) -> None:
    answer = await registry.root.ListRoleBindings(pb.ListRoleBindingsRequest(parent="municipalities/-"))
    (binding,) = answer.role_bindings
    assert binding.subject == ROOT
    assert binding.role == pb.ROLE_ADMIN
    assert binding.name == f"municipalities/-/roleBindings/{binding.uid}"


async def test_an_administrator_of_a_municipality_gives_roles_there_only(registry: Registry) -> None:
    await registry.town("borken")
    await registry.town("felsberg")
    await registry.bind("u-mayor", "admin", "borken")
    mayor = registry.as_("u-mayor")
    given = await mayor.CreateRoleBinding(creation("borken", role_binding("u-new", "operator")))
    assert given.name == f"municipalities/borken/roleBindings/{given.uid}"
    for elsewhere in ("felsberg", "-", "nowhere"):
        with pytest.raises(NotPermitted):
            await mayor.CreateRoleBinding(creation(elsewhere, role_binding("u-new", "operator")))
    with pytest.raises(NotFound):
        await registry.root.CreateRoleBinding(creation("nowhere", role_binding("u-new", "operator")))


@ON_ONE_DATABASE
@pytest.mark.parametrize("role", ["viewer", "operator", "planner", "auditor"])
async def test_nobody_but_an_administrator_gives_roles(registry: Registry, role: str) -> None:
    await registry.town("borken")
    await registry.bind("u-other", role, "borken")
    with pytest.raises(NotPermitted):
        await registry.as_("u-other").CreateRoleBinding(creation("borken", role_binding("u-other", "admin")))


async def test_a_service_gives_no_roles(registry: Registry) -> None:
    await registry.town("borken")
    with pytest.raises(NotPermitted):
        await registry.as_("service:lighting").CreateRoleBinding(creation("borken", role_binding("u-1", "admin")))


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    ("binding", "field"),
    [
        (role_binding("", "viewer"), "role_binding.subject"),
        (role_binding("service:lighting", "viewer"), "role_binding.subject"),
        (role_binding("u-1", "unspecified"), "role_binding.role"),
        (role_binding("u-1", "viewer", (CABINET,)), "role_binding.scopes"),
        (role_binding("u-1", "fitter"), "role_binding.scopes"),
        (role_binding("u-1", "fitter", ("municipalities/felsberg/cabinets/C-1",)), "role_binding.scopes[0]"),
        (role_binding("u-1", "contractor", (CABINET,)), "role_binding.scopes[0]"),
        (role_binding("u-1", "viewer", until=datetime(2020, 1, 1, tzinfo=UTC)), "role_binding.expires_at"),
    ],
)
async def test_a_wrong_binding_is_refused_with_its_field(
    registry: Registry, binding: pb.RoleBinding, field: str
) -> None:
    await registry.town("borken")
    with pytest.raises(InvalidInput) as caught:
        await registry.root.CreateRoleBinding(creation("borken", binding))
    assert [violation.field for violation in caught.value.violations] == [field]


async def test_the_same_request_id_binds_once(registry: Registry) -> None:
    await registry.town("borken")
    request = creation("borken", role_binding("u-1", "viewer"), "r-1")
    first, *others = await asyncio.gather(*(registry.root.CreateRoleBinding(request) for _ in range(3)))
    assert others == [first, first]
    assert await listed(registry, ROOT, "borken") == ["u-1"]
    with pytest.raises(AlreadyExists):
        await registry.root.CreateRoleBinding(creation("borken", role_binding("u-1", "viewer"), "r-2"))


async def test_an_auditor_sees_the_bindings_of_their_municipality(registry: Registry) -> None:
    await registry.town("borken")
    await registry.town("felsberg")
    await registry.bind("u-auditor", "auditor", "borken")
    await registry.bind("u-other", "viewer", "felsberg")
    assert await listed(registry, "u-auditor", "borken") == ["u-auditor"]
    assert await listed(registry, "u-auditor", "-") == ["u-auditor"]
    assert await listed(registry, ROOT, "-") == [ROOT, "u-auditor", "u-other"]
    with pytest.raises(NotPermitted):
        await listed(registry, "u-auditor", "felsberg")
    with pytest.raises(NotPermitted):
        await listed(registry, "u-other", "felsberg")


async def test_bindings_come_page_by_page(registry: Registry) -> None:
    await registry.town("borken")
    for number in range(5):
        await registry.bind(f"u-{number}", "viewer", "borken")
    seen: list[str] = []
    request = pb.ListRoleBindingsRequest(parent="municipalities/borken", page_size=2)
    while True:
        page = await registry.root.ListRoleBindings(request)
        seen += [binding.subject for binding in page.role_bindings]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == [f"u-{number}" for number in range(5)]
    other = pb.ListRoleBindingsRequest(parent="municipalities/-", page_token=request.page_token)
    with pytest.raises(InvalidInput, match="another query"):
        await registry.root.ListRoleBindings(other)


async def test_a_role_that_is_taken_away_is_gone_with_the_next_call(registry: Registry) -> None:
    await registry.town("borken")
    given = await registry.bind("u-1", "viewer", "borken")
    viewer = registry.as_("u-1")
    await viewer.GetMunicipality(pb.GetMunicipalityRequest(name="municipalities/borken"))
    removed = await registry.root.DeleteRoleBinding(pb.DeleteRoleBindingRequest(name=given.name, reason="left us"))
    assert removed == given
    with pytest.raises(NotPermitted):
        await viewer.GetMunicipality(pb.GetMunicipalityRequest(name="municipalities/borken"))
    newest, *_ = await registry.audit_trail(ROOT, "municipalities/borken")
    assert (newest.resource, newest.reason, newest.after_json) == (given.name, "left us", "")
    with pytest.raises(NotFound):
        await registry.root.DeleteRoleBinding(pb.DeleteRoleBindingRequest(name=given.name))


async def test_a_role_is_taken_away_only_where_it_was_given(registry: Registry) -> None:
    await registry.town("borken")
    await registry.town("felsberg")
    await registry.bind("u-mayor", "admin", "borken")
    given = await registry.bind("u-1", "viewer", "felsberg")
    mayor = registry.as_("u-mayor")
    with pytest.raises(NotPermitted):
        await mayor.DeleteRoleBinding(pb.DeleteRoleBindingRequest(name=given.name))
    with pytest.raises(NotFound):  # the right municipality, yet another one's binding
        await mayor.DeleteRoleBinding(
            pb.DeleteRoleBindingRequest(name=f"municipalities/borken/roleBindings/{given.uid}")
        )
    for malformed in ("municipalities/borken", "roleBindings/x", "municipalities/borken/cabinets/C-1"):
        with pytest.raises(InvalidInput):
            await mayor.DeleteRoleBinding(pb.DeleteRoleBindingRequest(name=malformed))


async def test_the_last_administrator_of_everything_stays(registry: Registry) -> None:
    answer = await registry.root.ListRoleBindings(pb.ListRoleBindingsRequest(parent="municipalities/-"))
    request = pb.DeleteRoleBindingRequest(name=answer.role_bindings[0].name)
    with pytest.raises(FailedPrecondition, match="nobody else"):
        await registry.root.DeleteRoleBinding(request)
    await registry.bind("u-second", "admin", "-")
    await registry.root.DeleteRoleBinding(request)
    with pytest.raises(NotPermitted):
        await registry.root.ListMunicipalities(pb.ListMunicipalitiesRequest())


async def test_a_role_ends_by_itself(registry: Registry) -> None:
    await registry.town("borken")
    request = pb.GetMunicipalityRequest(name="municipalities/borken")
    for life_s in (0.7, 7.0, 30.0):  # a machine may be too busy to do anything with a short one
        end, subject = datetime.now(UTC) + timedelta(seconds=life_s), f"u-guest-{life_s}"
        guest = registry.as_(subject)
        try:
            await registry.bind(subject, "viewer", "borken", until=end)
            await guest.GetMunicipality(request)
        except (InvalidInput, NotPermitted):
            assert datetime.now(UTC) >= end
        else:
            break
    with pytest.raises(NotPermitted):
        while True:
            await guest.GetMunicipality(request)
    assert datetime.now(UTC) >= end
    assert subject in await listed(registry, ROOT, "borken")


async def test_services_are_told_what_a_person_holds(registry: Registry) -> None:
    await registry.town("borken")
    until = datetime.now(UTC) + timedelta(days=1)
    await registry.bind("u-1", "fitter", "borken", scopes=(CABINET,), until=until)
    await registry.bind("u-1", "viewer", "-")
    for service in ("lighting", "scheduler", "metering", "ledger"):
        access = await registry.as_(f"service:{service}").GetAccess(pb.GetAccessRequest(subject="u-1"))
        assert access.subject == "u-1"
        fitter, viewer = access.bindings
        assert (fitter.role, list(fitter.scopes)) == (pb.ROLE_FITTER, [CABINET])
        assert fitter.expires_at.ToDatetime(UTC) == until
        assert viewer.name.startswith("municipalities/-/roleBindings/")
    unknown = await registry.as_("service:lighting").GetAccess(pb.GetAccessRequest(subject="u-unknown"))
    assert not unknown.bindings


async def test_people_are_not_told(registry: Registry) -> None:
    await registry.bind("u-auditor", "auditor", "-")
    for subject in (ROOT, "u-auditor", "u-nobody"):
        with pytest.raises(NotPermitted):
            await registry.as_(subject).GetAccess(pb.GetAccessRequest(subject=ROOT))


async def test_a_role_in_every_municipality_is_in_the_trail_of_who_may_read_all(registry: Registry) -> None:
    await registry.town("borken")
    given = await registry.bind("u-all", "auditor", "-")
    await registry.bind("u-borken", "auditor", "borken")
    for reader in (ROOT, "u-all"):
        (record,) = await registry.audit_trail(reader, "municipalities/-", given.name)
        assert record.actor == ROOT
    assert await registry.audit_trail("u-borken", "municipalities/-", given.name) == []
    assert await registry.audit_trail("u-all", "municipalities/borken", given.name) == []
    (first,) = [
        record for record in await registry.audit_trail(ROOT, "municipalities/-") if record.action == "bootstrap"
    ]
    assert (first.actor, first.actor_kind) == ("service:registry", "service")
