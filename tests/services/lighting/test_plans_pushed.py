"""Whatever the scheduler pushes, however often, in whatever order: a group has the plan that was pushed last. What it
has already is not stored, recorded or told again."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.plan import Plan
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from services.scheduler.convert import plan_to_proto
from tests.services.lighting.any_town import plans
from tests.services.lighting.running import SCHEDULER, Lighting, T

PUSHES = st.lists(st.tuples(st.sampled_from(["east", "west"]), st.integers(0, 2)), min_size=1, max_size=8)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(plans(), min_size=3, max_size=3), PUSHES)
async def test_only_what_differs_from_the_plan_that_is_there_changes_anything(
    light: Lighting, known: list[Plan], pushes: list[tuple[str, int]]
) -> None:
    stub = light.as_(SCHEDULER)
    existing = {group.name for group in (await light.planner.ListGroups(pb.ListGroupsRequest(parent=T))).groups}
    for group in ("east", "west"):  # without members: any plan may hold for them
        if f"{T}/groups/{group}" not in existing:
            await light.planner.CreateGroup(pb.CreateGroupRequest(parent=T, group_id=group, group=inv.Group()))
    held = await _held(light)
    for group, number in pushes:
        name, plan = f"{T}/groups/{group}", known[number]
        await light.parts.memory.refresh()
        before, records = light.parts.memory.known, len(await light.trail(f"{name}/plan"))
        answer = await stub.PutPlan(pb.PutPlanRequest(parent=name, plan=plan_to_proto(name, plan, "night@1")))
        assert answer.hash == plan.hash
        await light.parts.memory.refresh()
        differs = held.get(name) != plan.hash
        assert len(await light.trail(f"{name}/plan")) == records + differs
        assert (light.parts.memory.known.orders is not before.orders) == differs
        held[name] = plan.hash
        assert await _held(light) == held


async def _held(light: Lighting) -> dict[str, str]:
    """The plans that lighting says it holds."""
    answer = await light.as_(SCHEDULER).ListPlanHashes(pb.ListPlanHashesRequest(parent=T))
    return {name: held for name, held in zip(answer.groups, answer.hashes, strict=True) if held}
