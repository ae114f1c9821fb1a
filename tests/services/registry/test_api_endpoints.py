"""Field endpoints over gRPC: registered, changed, and led into control by a person."""

import asyncio

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from domain.errors import AlreadyExists, Conflict, FailedPrecondition, InvalidInput, NotFound, NotPermitted
from lichtbuch.registry.v1 import registry_pb2 as pb
from tests.services.registry.helpers import ON_ONE_DATABASE, ROOT, Registry, gateway

NAME = "municipalities/borken/endpoints/C-001"
WAY = (pb.ENDPOINT_STATE_OBSERVED, pb.ENDPOINT_STATE_TESTED, pb.ENDPOINT_STATE_IN_CONTROL)


def creation(
    endpoint: pb.Endpoint, identifier: str = "C-001", town: str = "borken", request_id: str = ""
) -> pb.CreateEndpointRequest:
    return pb.CreateEndpointRequest(
        parent=f"municipalities/{town}", endpoint_id=identifier, endpoint=endpoint, request_id=request_id
    )


def transition(state: "pb.EndpointState.ValueType", reason: str = "commissioning") -> pb.TransitionEndpointRequest:
    return pb.TransitionEndpointRequest(name=NAME, state=state, reason=reason)


async def in_control(registry: Registry) -> pb.Endpoint:
    """An endpoint that a planner has led into control."""
    await registry.town("borken")
    await registry.bind("u-planner", "planner", "borken")
    planner = registry.as_("u-planner")
    await planner.CreateEndpoint(creation(gateway()))
    endpoint = pb.Endpoint()
    for state in WAY:
        endpoint = await planner.TransitionEndpoint(transition(state))
    return endpoint


async def test_a_new_endpoint_is_planned(registry: Registry) -> None:
    await registry.town("borken")
    forged = gateway(state=pb.ENDPOINT_STATE_IN_CONTROL, released_by="u-somebody", uid="0" * 32)
    created = await registry.root.CreateEndpoint(creation(forged))
    assert created.name == NAME
    assert created.state == pb.ENDPOINT_STATE_PLANNED
    assert created.released_by == ""
    assert created.uid != forged.uid
    assert await registry.root.GetEndpoint(pb.GetEndpointRequest(name=NAME)) == created


async def test_a_person_leads_it_into_control_and_is_named(registry: Registry) -> None:
    released = await in_control(registry)
    assert released.state == pb.ENDPOINT_STATE_IN_CONTROL
    assert released.released_by == "u-planner"
    assert released.HasField("released_at")
    newest, *_ = await registry.audit_trail(ROOT, "municipalities/borken", NAME)
    assert newest.actor == "u-planner"
    assert newest.reason == "commissioning"
    assert "ENDPOINT_STATE_TESTED" in newest.before_json
    assert "ENDPOINT_STATE_IN_CONTROL" in newest.after_json


async def test_no_state_is_skipped(registry: Registry) -> None:
    await registry.town("borken")
    await registry.root.CreateEndpoint(creation(gateway()))
    for state in WAY[1:]:
        with pytest.raises(FailedPrecondition) as caught:
            await registry.root.TransitionEndpoint(transition(state))
        assert caught.value.violations[0].field == "state"
    assert len(await registry.audit_trail(ROOT, "municipalities/borken", NAME)) == 1


async def test_backward_is_always_allowed(registry: Registry) -> None:
    await in_control(registry)
    planned = await registry.root.TransitionEndpoint(transition(pb.ENDPOINT_STATE_PLANNED, "gateway is replaced"))
    assert planned.state == pb.ENDPOINT_STATE_PLANNED
    assert planned.released_by == ""
    assert not planned.HasField("released_at")


@ON_ONE_DATABASE
@pytest.mark.parametrize("service", ["lighting", "metering", "scheduler"])
async def test_a_service_cannot_release_an_endpoint(registry: Registry, service: str) -> None:
    await registry.town("borken")
    await registry.root.CreateEndpoint(creation(gateway()))
    for state in WAY[:2]:
        await registry.root.TransitionEndpoint(transition(state))
    with pytest.raises(NotPermitted):
        await registry.as_(f"service:{service}").TransitionEndpoint(transition(pb.ENDPOINT_STATE_IN_CONTROL))
    current = await registry.root.GetEndpoint(pb.GetEndpointRequest(name=NAME))
    assert current.state == pb.ENDPOINT_STATE_TESTED


@ON_ONE_DATABASE
@pytest.mark.parametrize("role", ["viewer", "operator", "auditor"])
async def test_a_release_needs_a_planner(registry: Registry, role: str) -> None:
    await registry.town("borken")
    await registry.bind("u-other", role, "borken")
    await registry.root.CreateEndpoint(creation(gateway()))
    with pytest.raises(NotPermitted):
        await registry.as_("u-other").TransitionEndpoint(transition(pb.ENDPOINT_STATE_OBSERVED))
    with pytest.raises(NotPermitted):
        await registry.as_("u-other").CreateEndpoint(creation(gateway(), "C-002"))
    assert await registry.as_("u-other").GetEndpoint(pb.GetEndpointRequest(name=NAME))


async def test_a_transition_says_why(registry: Registry) -> None:
    await registry.town("borken")
    await registry.root.CreateEndpoint(creation(gateway()))
    with pytest.raises(InvalidInput) as caught:
        await registry.root.TransitionEndpoint(transition(pb.ENDPOINT_STATE_OBSERVED, ""))
    assert caught.value.violations[0].field == "reason"


async def test_two_transitions_at_once_do_not_jump(registry: Registry) -> None:
    await registry.town("borken")
    await registry.root.CreateEndpoint(creation(gateway()))
    results = await asyncio.gather(
        *(registry.root.TransitionEndpoint(transition(pb.ENDPOINT_STATE_OBSERVED)) for _ in range(4)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, FailedPrecondition) for result in results) == 3


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    ("endpoint", "field"),
    [
        (gateway(""), "endpoint.url"),
        (gateway("modbus+tcp://"), "endpoint.url"),
        (gateway("http://10.0.0.1"), "endpoint.url"),
        (gateway("modbus+tcp://10.0.0.1?unit=256"), "endpoint.url"),
        (gateway("opc.tcp://user:secret@10.0.0.1"), "endpoint.url"),
        (gateway(profile=""), "endpoint.profile"),
        (gateway(profile="../../etc/passwd"), "endpoint.profile"),
        (gateway(owner=pb.ENDPOINT_OWNER_UNSPECIFIED), "endpoint.owner"),
        (gateway(owner=99), "endpoint.owner"),
    ],
)
async def test_a_wrong_endpoint_is_refused_with_its_field(
    registry: Registry, endpoint: pb.Endpoint, field: str
) -> None:
    await registry.town("borken")
    with pytest.raises(InvalidInput) as caught:
        await registry.root.CreateEndpoint(creation(endpoint))
    assert [violation.field for violation in caught.value.violations] == [field]


@ON_ONE_DATABASE
@pytest.mark.parametrize("identifier", ["", "C 001", "-", "../x", "ü", "x" * 64])
async def test_a_wrong_id_is_refused(registry: Registry, identifier: str) -> None:
    await registry.town("borken")
    with pytest.raises(InvalidInput) as caught:
        await registry.root.CreateEndpoint(creation(gateway(), identifier))
    assert [violation.field for violation in caught.value.violations] == ["endpoint_id"]


async def test_id_address_and_owner_are_each_unique(registry: Registry) -> None:
    await registry.town("borken")
    await registry.root.CreateEndpoint(creation(gateway()))
    with pytest.raises(AlreadyExists):
        await registry.root.CreateEndpoint(creation(gateway("modbus+tcp://10.0.0.2")))
    with pytest.raises(FailedPrecondition, match="endpoints/C-001") as caught:
        await registry.root.CreateEndpoint(creation(gateway("modbus+tcp://10.0.0.1:502"), "C-002"))
    assert caught.value.violations[0].field == "endpoint.url"
    meter = gateway("modbus+tcp://10.0.0.1?unit=2", owner=pb.ENDPOINT_OWNER_METERING, profile="eastron-sdm630")
    with pytest.raises(FailedPrecondition, match="belongs to lighting"):
        await registry.root.CreateEndpoint(creation(meter, "M-001"))


async def test_the_same_request_id_registers_once(registry: Registry) -> None:
    await registry.town("borken")
    first = await registry.root.CreateEndpoint(creation(gateway(), request_id="r-1"))
    assert await registry.root.CreateEndpoint(creation(gateway(), request_id="r-1")) == first
    with pytest.raises(InvalidInput):
        await registry.root.CreateEndpoint(creation(gateway(), "C-002", request_id="r-1"))


async def test_another_address_takes_it_out_of_control(registry: Registry) -> None:
    released = await in_control(registry)
    moved = await registry.as_("u-planner").UpdateEndpoint(
        pb.UpdateEndpointRequest(
            endpoint=pb.Endpoint(name=NAME, url="modbus+tcp://10.0.0.7", etag=released.etag),
            update_mask=FieldMask(paths=["url"]),
        )
    )
    assert moved.url == "modbus+tcp://10.0.0.7"
    assert moved.profile == released.profile
    assert moved.state == pb.ENDPOINT_STATE_OBSERVED
    assert moved.released_by == ""
    assert moved.etag != released.etag


async def test_what_its_connection_can_carry_is_kept_and_leaves_it_in_control(registry: Registry) -> None:
    await in_control(registry)
    mobile = pb.FieldLink(round_trip_ms=1800, monthly_bytes=50_000_000)
    changed = await registry.as_("u-planner").UpdateEndpoint(
        pb.UpdateEndpointRequest(endpoint=pb.Endpoint(name=NAME, link=mobile), update_mask=FieldMask(paths=["link"]))
    )
    assert changed.link == mobile
    assert changed.state == pb.ENDPOINT_STATE_IN_CONTROL
    assert (await registry.root.GetEndpoint(pb.GetEndpointRequest(name=NAME))).link == mobile
    wired = await registry.as_("u-planner").UpdateEndpoint(
        pb.UpdateEndpointRequest(endpoint=pb.Endpoint(name=NAME), update_mask=FieldMask(paths=["link"]))
    )
    assert not wired.HasField("link")


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    ("link", "field"),
    [
        (pb.FieldLink(round_trip_ms=-1), "endpoint.link.round_trip_ms"),
        (pb.FieldLink(round_trip_ms=60_001), "endpoint.link.round_trip_ms"),
        (pb.FieldLink(monthly_bytes=-1), "endpoint.link.monthly_bytes"),
        (pb.FieldLink(monthly_bytes=999_999), "endpoint.link.monthly_bytes"),
    ],
)
async def test_a_link_that_cannot_be_is_refused(registry: Registry, link: pb.FieldLink, field: str) -> None:
    await registry.town("borken")
    with pytest.raises(InvalidInput) as caught:
        await registry.root.CreateEndpoint(creation(gateway(link=link)))
    assert [violation.field for violation in caught.value.violations] == [field]


async def test_another_display_name_leaves_it_in_control(registry: Registry) -> None:
    released = await in_control(registry)
    renamed = await registry.root.UpdateEndpoint(
        pb.UpdateEndpointRequest(
            endpoint=pb.Endpoint(name=NAME, display_name="Linggplatz"), update_mask=FieldMask(paths=["display_name"])
        )
    )
    assert renamed.display_name == "Linggplatz"
    assert renamed.state == pb.ENDPOINT_STATE_IN_CONTROL
    assert renamed.released_by == released.released_by


async def test_an_update_of_another_version_is_refused(registry: Registry) -> None:
    await registry.town("borken")
    created = await registry.root.CreateEndpoint(creation(gateway()))
    await registry.root.TransitionEndpoint(transition(pb.ENDPOINT_STATE_OBSERVED))
    with pytest.raises(Conflict):
        await registry.root.UpdateEndpoint(pb.UpdateEndpointRequest(endpoint=created))


@ON_ONE_DATABASE
@pytest.mark.parametrize("path", ["owner", "state", "released_by", "nonsense"])
async def test_owner_and_state_are_not_updated(registry: Registry, path: str) -> None:
    await registry.town("borken")
    created = await registry.root.CreateEndpoint(creation(gateway()))
    with pytest.raises(InvalidInput) as caught:
        await registry.root.UpdateEndpoint(
            pb.UpdateEndpointRequest(endpoint=created, update_mask=FieldMask(paths=[path]))
        )
    assert caught.value.violations[0].field == "update_mask.paths[0]"


async def test_one_municipality_s_endpoints_are_hidden_from_another(registry: Registry) -> None:
    await registry.town("borken")
    await registry.town("felsberg")
    await registry.bind("u-felsberg", "admin", "felsberg")
    created = await registry.root.CreateEndpoint(creation(gateway()))
    stranger = registry.as_("u-felsberg")
    for call, request in (
        (stranger.GetEndpoint, pb.GetEndpointRequest(name=NAME)),
        (stranger.ListEndpoints, pb.ListEndpointsRequest(parent="municipalities/borken")),
        (stranger.UpdateEndpoint, pb.UpdateEndpointRequest(endpoint=created)),
        (stranger.TransitionEndpoint, transition(pb.ENDPOINT_STATE_OBSERVED)),
        (stranger.CreateEndpoint, creation(gateway(), "C-002")),
    ):
        with pytest.raises(NotPermitted):
            await call(request)
    assert not (await stranger.ListEndpoints(pb.ListEndpointsRequest(parent="municipalities/-"))).endpoints
    with pytest.raises(NotFound):
        await stranger.GetEndpoint(pb.GetEndpointRequest(name="municipalities/felsberg/endpoints/C-001"))


async def test_a_reference_to_another_municipality_inside_a_request_is_refused(registry: Registry) -> None:
    await registry.town("borken")
    await registry.town("felsberg")
    foreign = gateway(name="municipalities/felsberg/endpoints/C-001")
    with pytest.raises(InvalidInput) as caught:
        await registry.root.CreateEndpoint(creation(foreign))
    assert caught.value.violations[0].field == "endpoint.name"


async def test_a_fitter_sees_no_addresses(registry: Registry) -> None:
    await registry.town("borken")
    await registry.bind("u-fitter", "fitter", "borken", scopes=("municipalities/borken/cabinets/C-001",))
    with pytest.raises(NotPermitted):
        await registry.as_("u-fitter").ListEndpoints(pb.ListEndpointsRequest(parent="municipalities/borken"))


async def test_a_service_lists_its_own_endpoints_of_all_municipalities(registry: Registry) -> None:
    for octet, town in enumerate(("felsberg", "borken")):
        await registry.town(town)
        for number in range(3):
            url = f"modbus+tcp://10.0.{octet}.{number + 1}"
            await registry.root.CreateEndpoint(creation(gateway(url), f"C-{number}", town))
        meter = gateway(f"modbus+tcp://10.0.{octet}.9", owner=pb.ENDPOINT_OWNER_METERING)
        await registry.root.CreateEndpoint(creation(meter, "M-1", town))
    request = pb.ListEndpointsRequest(parent="municipalities/-", owner=pb.ENDPOINT_OWNER_LIGHTING, page_size=4)
    lighting = registry.as_("service:lighting")
    first = await lighting.ListEndpoints(request)
    request.page_token = first.next_page_token
    second = await lighting.ListEndpoints(request)
    assert second.next_page_token == ""
    names = [endpoint.name for endpoint in (*first.endpoints, *second.endpoints)]
    assert names == [
        f"municipalities/{town}/endpoints/C-{number}" for town in ("borken", "felsberg") for number in range(3)
    ]
    request.owner = pb.ENDPOINT_OWNER_METERING
    with pytest.raises(InvalidInput, match="another query"):
        await lighting.ListEndpoints(request)
