"""Between the registry's domain types and its contract. Nothing is decided here."""

from collections.abc import Mapping
from typing import Final

from domain.errors import InvalidInput
from domain.names import WILDCARD, ResourceName
from lichtbuch.registry.v1 import registry_pb2 as pb
from lichtbuch.type.v1 import types_pb2
from servicekit.access import Binding
from servicekit.access_source import role_to_proto
from servicekit.context import Tenant
from servicekit.convert import etag_of, optional_timestamp_to_proto, timestamp_to_proto
from services.registry.endpoint import Endpoint, FieldLink, Owner, State
from services.registry.municipality import Municipality, Position, Union
from services.registry.roles import RoleBinding

_STATES: Final[Mapping[State, pb.EndpointState.ValueType]] = {
    State.PLANNED: pb.ENDPOINT_STATE_PLANNED,
    State.OBSERVED: pb.ENDPOINT_STATE_OBSERVED,
    State.TESTED: pb.ENDPOINT_STATE_TESTED,
    State.IN_CONTROL: pb.ENDPOINT_STATE_IN_CONTROL,
}
_OWNERS: Final[Mapping[Owner, pb.EndpointOwner.ValueType]] = {
    Owner.LIGHTING: pb.ENDPOINT_OWNER_LIGHTING,
    Owner.METERING: pb.ENDPOINT_OWNER_METERING,
    Owner.BUILDING: pb.ENDPOINT_OWNER_BUILDING,
}
_STATE_OF: Final = {value: state for state, value in _STATES.items()}
_OWNER_OF: Final = {value: owner for owner, value in _OWNERS.items()}


def state_from_proto(value: pb.EndpointState.ValueType) -> State:
    """A state. Raises InvalidInput for one that is not known."""
    if value not in _STATE_OF:
        raise InvalidInput.of("state", f"{value} is not a state")
    return _STATE_OF[value]


def owner_from_proto(value: pb.EndpointOwner.ValueType) -> Owner:
    """An owner. Raises InvalidInput for one that is not known."""
    if value not in _OWNER_OF:
        raise InvalidInput.of("owner", f"{value} is not a service that owns endpoints")
    return _OWNER_OF[value]


def position_from_proto(municipality: pb.Municipality) -> Position:
    """Where a municipality lies. Raises InvalidInput where it does not say: the sun is computed for it."""
    if not municipality.HasField("position"):
        raise InvalidInput.of("position", "a position is needed: dusk and dawn are computed for it")
    try:
        return Position(municipality.position.latitude_deg, municipality.position.longitude_deg)
    except InvalidInput as error:
        raise error.under("position") from error


def position_to_proto(position: Position) -> types_pb2.Position:
    """A position."""
    return types_pb2.Position(latitude_deg=position.latitude_deg, longitude_deg=position.longitude_deg)


def municipality_to_proto(municipality: Municipality) -> pb.Municipality:
    """A municipality."""
    return pb.Municipality(
        name=f"municipalities/{municipality.id}",
        uid=municipality.uid,
        display_name=municipality.display_name,
        time_zone=municipality.time_zone,
        position=position_to_proto(municipality.position),
        created_at=timestamp_to_proto(municipality.created_at),
        etag=municipality_etag(municipality),
        synthetic=municipality.synthetic,
    )


def municipality_etag(municipality: Municipality) -> str:
    """Names the version of a municipality."""
    return etag_of(municipality.uid, municipality.version)


def municipality_to_tenant(municipality: Municipality) -> Tenant:
    """What the interceptors need to know of a municipality."""
    return Tenant(
        municipality.uid,
        municipality.id,
        municipality.display_name,
        municipality.time_zone,
        municipality.position.latitude_deg,
        municipality.position.longitude_deg,
    )


def union_to_proto(union: Union) -> pb.Union:
    """A union."""
    return pb.Union(
        name=f"unions/{union.id}",
        uid=union.uid,
        display_name=union.display_name,
        municipalities=[f"municipalities/{member}" for member in union.members],
    )


def binding_name(binding: RoleBinding) -> str:
    """Resource name of a role binding."""
    return f"municipalities/{binding.municipality_id}/roleBindings/{binding.uid}"


def binding_to_proto(binding: RoleBinding) -> pb.RoleBinding:
    """A role binding."""
    return pb.RoleBinding(
        name=binding_name(binding),
        uid=binding.uid,
        subject=binding.subject,
        role=role_to_proto(binding.role),
        scopes=binding.scopes,
        expires_at=optional_timestamp_to_proto(binding.expires_at),
    )


def binding_to_access(binding: RoleBinding) -> Binding:
    """What access checks need to know of a role binding."""
    return Binding(binding.role, binding.municipality_id or WILDCARD, binding.scopes, binding.expires_at)


def endpoint_to_proto(municipality_id: str, endpoint: Endpoint) -> pb.Endpoint:
    """An endpoint."""
    return pb.Endpoint(
        name=str(ResourceName.of(municipality_id, "endpoints", endpoint.id)),
        uid=endpoint.uid,
        display_name=endpoint.display_name,
        url=endpoint.address.url,
        profile=endpoint.profile,
        owner=_OWNERS[endpoint.owner],
        state=_STATES[endpoint.state],
        released_by=endpoint.released_by,
        released_at=optional_timestamp_to_proto(endpoint.released_at),
        etag=endpoint_etag(endpoint),
        link=link_to_proto(endpoint.link),
    )


def link_to_proto(link: FieldLink) -> pb.FieldLink | None:
    """How an endpoint is reached; unset for a wired network."""
    if link == FieldLink():
        return None
    return pb.FieldLink(round_trip_ms=link.round_trip_ms, monthly_bytes=link.monthly_bytes)


def link_from_proto(link: pb.FieldLink) -> FieldLink:
    """How an endpoint is reached. Raises InvalidInput."""
    return FieldLink(link.round_trip_ms, link.monthly_bytes)


def endpoint_etag(endpoint: Endpoint) -> str:
    """Names the version of an endpoint."""
    return etag_of(endpoint.uid, endpoint.version)
