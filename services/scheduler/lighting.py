"""Lighting as the scheduler sees it over gRPC: groups and what they draw, hashes of the plans it holds, putting one.

Every answer, a refusal included, shows that lighting is there. What follows from an answer is synchronising.py's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from domain.errors import NotAuthenticated, NotPermitted, PermanentError, RetryableError, TimedOut, Unavailable
from domain.names import ResourceName
from domain.plan import Plan
from domain.plan_rule import SensorKind
from lichtbuch.lighting.v1 import lighting_pb2, lighting_pb2_grpc, loads_pb2, sensors_pb2
from servicekit.calls import remaining_s
from servicekit.convert import timestamp_to_proto
from services.scheduler.cabinet_loads import CabinetLoad
from services.scheduler.convert import group_from_proto, plan_to_proto
from services.scheduler.convert_loads import cabinet_from_proto, load_from_proto
from services.scheduler.loads import GroupLoad
from services.scheduler.metrics import LIGHTING_REACHABLE
from services.scheduler.records import Group

if TYPE_CHECKING:
    from lichtbuch.lighting.v1.lighting_pb2_grpc import LightingServiceAsyncStub

Answer = TypeVar("Answer")

TIMEOUT_S: Final = 5.0
_PAGE: Final = 10_000


@dataclass(frozen=True, slots=True)
class HeldPlans:
    """What lighting holds. hashes: of each group's plan by the group's name, empty for none. waivers: a hash over the
    waivers that hold or will."""

    hashes: dict[str, str]
    waivers: str


class Lighting:
    """Calls lighting as the scheduler itself. Every method raises Unavailable or TimedOut while it is away."""

    def __init__(self, channel: Any) -> None:
        self._stub: LightingServiceAsyncStub = lighting_pb2_grpc.LightingServiceStub(channel)

    async def group(self, name: str) -> Group:
        """A group by name. Raises NotFound."""
        request = lighting_pb2.GetGroupRequest(name=name)
        return group_from_proto(await _answer(self._stub.GetGroup(request, timeout=TIMEOUT_S)))

    async def groups(self, municipality: str) -> list[Group]:
        """Every group of a municipality (by name)."""
        found: list[Group] = []
        token = ""
        while True:
            request = lighting_pb2.ListGroupsRequest(parent=municipality, page_size=_PAGE, page_token=token)
            page = await _answer(self._stub.ListGroups(request, timeout=TIMEOUT_S))
            found += [group_from_proto(group) for group in page.groups]
            token = page.next_page_token
            if not token:
                return found

    async def loads(
        self, municipality: str, groups: Sequence[str], start: datetime, end: datetime
    ) -> tuple[dict[str, GroupLoad], list[CabinetLoad]]:
        """What some groups of a municipality draw, by name, with the floors that hold from `start` until `end`; and
        their cabinets, by name.

        Raises InvalidInput for a group that it does not have.
        """
        request = loads_pb2.DescribeGroupLoadsRequest(
            parent=municipality,
            groups=groups,
            start_time=timestamp_to_proto(start),
            end_time=timestamp_to_proto(end),
        )
        answer = await _answer(self._stub.DescribeGroupLoads(request, timeout=TIMEOUT_S))
        return {load.group: load_from_proto(load) for load in answer.loads}, list(
            map(cabinet_from_proto, answer.cabinets)
        )

    async def sensors(self, municipality: str) -> dict[str, SensorKind]:
        """What each sensor of a municipality measures, by id."""
        found: dict[str, SensorKind] = {}
        token = ""
        while True:
            request = sensors_pb2.ListSensorsRequest(parent=municipality, page_size=_PAGE, page_token=token)
            page = await _answer(self._stub.ListSensors(request, timeout=TIMEOUT_S))
            found |= {ResourceName.parse(sensor.name).id: SensorKind(sensor.kind) for sensor in page.sensors}
            token = page.next_page_token
            if not token:
                return found

    async def held(self, municipality: str) -> HeldPlans:
        """Hashes of the plans that lighting holds."""
        request = lighting_pb2.ListPlanHashesRequest(parent=municipality)
        answer = await _answer(self._stub.ListPlanHashes(request, timeout=TIMEOUT_S))
        return HeldPlans(dict(zip(answer.groups, answer.hashes, strict=True)), answer.waivers_hash)

    async def put(self, group_name: str, plan: Plan, origin: str) -> None:
        """Gives lighting a group's plan. Raises InvalidInput, FailedPrecondition or NotFound if refused."""
        request = lighting_pb2.PutPlanRequest(parent=group_name, plan=plan_to_proto(group_name, plan, origin))
        await _answer(self._stub.PutPlan(request, timeout=TIMEOUT_S))


async def _answer(call: Awaitable[Answer]) -> Answer:
    try:
        answer = await call
    except RetryableError as error:
        # A deadline that a client of ours has set says nothing about lighting.
        if not isinstance(error, TimedOut) or remaining_s() is None:
            LIGHTING_REACHABLE.set(0)
        raise
    except (NotAuthenticated, NotPermitted) as error:
        # Not the caller's fault but ours: our identity is not what lighting takes.
        LIGHTING_REACHABLE.set(0)
        raise Unavailable(f"lighting does not accept the scheduler: {error}", 5.0) from error
    except PermanentError:
        LIGHTING_REACHABLE.set(1)
        raise
    LIGHTING_REACHABLE.set(1)
    return answer
