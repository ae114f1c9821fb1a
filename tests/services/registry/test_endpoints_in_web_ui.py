"""What the web UI asks and does about endpoints, against a running registry: states, who moved what, who may."""

from types import SimpleNamespace
from typing import Any

import pytest

from domain.errors import Conflict, FailedPrecondition, NotPermitted
from lichtbuch.audit.v1 import audit_pb2_grpc
from lichtbuch.registry.v1 import registry_pb2 as pb
from servicekit.tokens import StaticToken
from services.admin.commissioning import Commissioning
from services.admin.endpoints import last_move
from tests.services.registry.helpers import ON_ONE_DATABASE, Registry, gateway

pytestmark = ON_ONE_DATABASE

TOWN = "municipalities/bad-hersfeld"


def seen_by(registry: Registry, subject: str) -> Commissioning:
    """The questions of the page, with a person's token."""
    trail = audit_pb2_grpc.AuditServiceStub(registry.channel(StaticToken(registry.token_of(subject))))
    clients: Any = SimpleNamespace(registry=registry.as_(subject), registry_audit=trail)
    return Commissioning(TOWN, clients)


async def test_a_page_tells_states_moves_and_who_may_and_releases(registry: Registry) -> None:
    await registry.town("bad-hersfeld")
    for subject, role in (("u-ada", "planner"), ("u-eve", "admin"), ("u-bob", "operator")):
        await registry.bind(subject, role, "bad-hersfeld")
    made = pb.CreateEndpointRequest(parent=TOWN, endpoint_id="gw-7", endpoint=gateway())
    await registry.as_("u-ada").CreateEndpoint(made)
    planner, admin, operator = (seen_by(registry, subject) for subject in ("u-ada", "u-eve", "u-bob"))
    assert [await each.may_move() for each in (planner, admin, operator)] == [True, True, False]

    [planned] = await planner.endpoints()
    with pytest.raises(FailedPrecondition, match="from planned the next state is observed"):
        await planner.move(planned, pb.ENDPOINT_STATE_IN_CONTROL, "in a hurry")
    with pytest.raises(NotPermitted):
        await operator.move(planned, pb.ENDPOINT_STATE_OBSERVED, "wired")
    await planner.move(planned, pb.ENDPOINT_STATE_OBSERVED, "wired")
    with pytest.raises(Conflict):
        await admin.move(planned, pb.ENDPOINT_STATE_OBSERVED, "wired")

    [observed] = await operator.endpoints()
    move = last_move(observed, await admin.moves())
    assert move is not None
    assert (move.state, move.by, move.reason) == (pb.ENDPOINT_STATE_OBSERVED, "u-ada", "wired")
    with pytest.raises(NotPermitted):
        await planner.moves()
    for state in (pb.ENDPOINT_STATE_TESTED, pb.ENDPOINT_STATE_IN_CONTROL):
        [stands] = await planner.endpoints()
        await planner.move(stands, state, "every pole walked")
    [released] = await operator.endpoints()
    told = last_move(released, {})
    assert told is not None
    assert (told.state, told.by) == (pb.ENDPOINT_STATE_IN_CONTROL, "u-ada")
