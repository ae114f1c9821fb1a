"""Lighting as the scheduler meets it: a real gRPC server behind the real gate, with groups and plans in memory.

It takes and refuses plans by lighting's own rules. It can lose a plan that it has said yes to, forget everything, and
be away, as the real one can.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Any

from domain.canonical import canonical_hash
from domain.errors import NotFound
from domain.names import new_uid
from domain.plan import Plan
from domain.plan_rule import SensorKind
from lichtbuch.lighting.v1 import control_pb2, inventory_pb2, lighting_pb2_grpc, loads_pb2, sensors_pb2
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from lichtbuch.type.v1 import types_pb2
from lichtbuch.type.v1.types_pb2 import Position
from servicekit.context import current_caller, current_tenant
from servicekit.server import Server
from servicekit.tenants import TenantDirectory
from services.lighting.api.convert_plan import plan_from_proto
from services.lighting.plan import GroupLimits, LimitingLamp, check_plan
from tests.support.issuer import Issuer
from tests.support.ports import free_port
from tests.support.running import HERSFELD, RunningService, running_service, settings_for

MARKET = "municipalities/bad-hersfeld/groups/markt"
RING = "municipalities/bad-hersfeld/groups/ring"


class FakeLighting(lighting_pb2_grpc.LightingServiceServicer):
    """Groups and plans by name of the group. `loses`: plans that it will say yes to and lose. `waived`: names of groups
    whose floor a council has waived.
    """

    def __init__(self) -> None:
        self.groups: dict[str, inventory_pb2.Group] = {}
        self.plans: dict[str, Plan] = {}
        self.sent: dict[str, control_pb2.Plan] = {}
        self.origins: dict[str, str] = {}
        self.puts: list[tuple[str, str]] = []
        self.calls: list[str] = []
        self.loses = 0
        self.waived: set[str] = set()
        self.sensors: dict[str, SensorKind] = {"S-1": SensorKind.TRAFFIC}

    def add_group(self, name: str, *, floor_permille: int = 0, at: tuple[float, float] | None = None) -> str:
        """Adds a group, in the middle of Bad Hersfeld unless it is told where; returns its name."""
        latitude_deg, longitude_deg = at or (HERSFELD.latitude_deg, HERSFELD.longitude_deg)
        self.groups[name] = inventory_pb2.Group(
            name=name,
            uid=new_uid(),
            luminaire_count=3,
            floor_permille=floor_permille,
            position=Position(latitude_deg=latitude_deg, longitude_deg=longitude_deg),
        )
        return name

    def forget_plans(self) -> None:
        """As after a backup was restored that is older than every plan."""
        self.plans.clear()

    def level_at(self, group: str, instant: datetime) -> int | None:
        """The level that the plan of a group asks for; None where it holds none that speaks."""
        plan = self.plans.get(group)
        return None if plan is None else plan.level_at(instant)

    async def GetGroup(self, request: pb.GetGroupRequest, context: Any) -> inventory_pb2.Group:
        """One group."""
        if request.name not in self.groups:
            raise NotFound(request.name)
        return self.groups[request.name]

    async def ListGroups(self, request: pb.ListGroupsRequest, context: Any) -> pb.ListGroupsResponse:
        """Groups of the municipality, two at a time, so that whoever wants all has to turn the page."""
        self.calls.append("ListGroups")
        names = [name for name in self._names() if name > request.page_token]
        more = names[1] if len(names) > 2 else ""
        return pb.ListGroupsResponse(groups=[self.groups[name] for name in names[:2]], next_page_token=more)

    async def DescribeGroupLoads(
        self, request: loads_pb2.DescribeGroupLoadsRequest, context: Any
    ) -> loads_pb2.DescribeGroupLoadsResponse:
        """Three lamps of 20 W in each group, one of them in a conflict area."""
        self.calls.append("DescribeGroupLoads")
        assert request.start_time.seconds < request.end_time.seconds
        loads = []
        for name in request.groups or self._names():
            group = self.groups[name]
            part: dict[str, Any] = {"position": group.position, "levels_permille": [100, 1000]}
            part["cabinet"] = f"{current_tenant().name}/cabinets/C-1"
            parts = [
                loads_pb2.GroupLoadPart(
                    floor_permille=self._floor(name), dimmable=True, luminaire_count=2, powers_w=[12.0, 40.0], **part
                ),
                loads_pb2.GroupLoadPart(floor_permille=1000, luminaire_count=1, powers_w=[6.0, 20.0], **part),
            ]
            loads.append(loads_pb2.GroupLoad(group=name, parts=parts, luminaire_count=3, estimated_count=1))
        foreign = inventory_pb2.ForeignLoad(
            display_name="Christmas", power_w=400, from_month=12, to_month=1, from_time="16:00", to_time="23:00"
        )
        cabinet = loads_pb2.CabinetLoad(
            cabinet=f"{current_tenant().name}/cabinets/C-1", foreign_loads=[foreign], luminaire_count=10
        )
        return loads_pb2.DescribeGroupLoadsResponse(loads=loads, cabinets=[cabinet])

    async def ListPlanHashes(self, request: pb.ListPlanHashesRequest, context: Any) -> pb.ListPlanHashesResponse:
        """Every group, with the hash of its plan or without."""
        self.calls.append("ListPlanHashes")
        names = self._names()
        held = [self.plans[name].hash if name in self.plans else "" for name in names]
        waivers = canonical_hash(sorted(self.waived))
        return pb.ListPlanHashesResponse(groups=names, hashes=held, waivers_hash=waivers)

    async def ListSensors(
        self, request: sensors_pb2.ListSensorsRequest, context: Any
    ) -> sensors_pb2.ListSensorsResponse:
        """Sensors of every municipality, one at a time."""
        self.calls.append("ListSensors")
        ids = [identifier for identifier in sorted(self.sensors) if identifier > request.page_token]
        found = [
            sensors_pb2.Sensor(
                name=f"{current_tenant().name}/sensors/{identifier}",
                kind=types_pb2.SensorKind.ValueType(self.sensors[identifier]),
            )
            for identifier in ids[:1]
        ]
        return sensors_pb2.ListSensorsResponse(sensors=found, next_page_token=ids[0] if len(ids) > 1 else "")

    async def PutPlan(self, request: pb.PutPlanRequest, context: Any) -> control_pb2.Plan:
        """Takes a plan that keeps the group's floor, whose hash is that of its content."""
        assert current_caller().service == "scheduler"
        if request.parent not in self.groups:
            raise NotFound(request.parent)
        given, group = request.plan, self.groups[request.parent]
        plan = plan_from_proto(given)
        assert given.hash == plan.hash
        check_plan(
            plan,
            GroupLimits(
                (LimitingLamp("municipalities/bad-hersfeld/luminaires/L-1", self._floor(request.parent)),),
                group.position.latitude_deg,
                group.position.longitude_deg,
                group.luminaire_count,
            ),
        )
        self.puts.append((request.parent, plan.hash))
        if self.loses:
            self.loses -= 1
            return given
        self.plans[request.parent] = plan
        self.sent[request.parent] = given
        self.origins[request.parent] = given.origin
        return given

    def _floor(self, name: str) -> int:
        """Without a waiver no lamp may be dark, whatever else its floor is."""
        return 0 if name in self.waived else max(self.groups[name].floor_permille, 1)

    def _names(self) -> list[str]:
        return sorted(name for name in self.groups if name.startswith(current_tenant().name + "/"))


class LightingProcess:
    """The server around it: it can be stopped, and comes back where it was."""

    def __init__(self, issuer: Issuer, servicer: FakeLighting, tenants: TenantDirectory) -> None:
        self._issuer, self._servicer, self._tenants = issuer, servicer, tenants
        self._stack = AsyncExitStack()
        self._port = free_port()

    async def start(self) -> RunningService:
        """Listens, on the same port as before."""
        settings = settings_for("lighting", listen=f"127.0.0.1:{self._port}", metrics_listen="off", drain_s=0.0)
        running = await self._stack.enter_async_context(
            running_service(self._issuer, self._fill, settings=settings, tenants=self._tenants)
        )
        self._port = running.server.port
        return running

    async def stop(self) -> None:
        """Goes away."""
        await self._stack.aclose()

    @property
    def target(self) -> str:
        """Where it listens, or did."""
        return f"127.0.0.1:{self._port}"

    def _fill(self, server: Server) -> None:
        server.add_servicer(lighting_pb2_grpc.add_LightingServiceServicer_to_server, self._servicer)


@asynccontextmanager
async def running_lighting(
    issuer: Issuer, servicer: FakeLighting, tenants: TenantDirectory
) -> AsyncIterator[LightingProcess]:
    """Lighting that runs until the end, unless it is stopped before."""
    process = LightingProcess(issuer, servicer, tenants)
    await process.start()
    try:
        yield process
    finally:
        await process.stop()
