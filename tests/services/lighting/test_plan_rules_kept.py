"""A plan keeps its rules on every way: over gRPC, in the database, in the local snapshot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain.errors import InvalidInput
from domain.plan import Plan, to_unix_ms
from domain.plan_rule import PlanRule, SensorKind, SensorOperation
from lichtbuch.lighting.v1 import control_pb2 as ctl
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from services.lighting.api.convert_plan import plan_from_proto
from services.lighting.records import Orders
from services.lighting.snapshot import SnapshotFiles
from tests.services.lighting.bench import NOON
from tests.services.lighting.running import SCHEDULER, Lighting, T, plan_message

HOUR_MS = 3_600_000
START = to_unix_ms(NOON)
RULE = PlanRule(
    START + 6 * HOUR_MS, START + 15 * HOUR_MS, SensorKind.TRAFFIC, SensorOperation.MAX, 1000, 30_000, 20_000, 300, 5,
    "S-1", 2,
)  # fmt: skip


def message() -> ctl.Plan:
    sent = plan_message((0, 0), (5, 1000), (10, 500), (17, 1000), (19.2, 0))
    sent.rules.add(
        from_unix_ms=RULE.from_ms, until_unix_ms=RULE.until_ms, kind=int(RULE.kind), operation=int(RULE.operation),
        value_permille=1000, on_milli=30_000, off_milli=20_000, hold_s=300, ramp_s=5, sensor=f"{T}/sensors/S-1",
        position=2,
    )  # fmt: skip
    sent.hash = ""
    return sent


async def test_rules_come_back_as_they_were_put(light: Lighting) -> None:
    await light.street()
    put = await light.as_(SCHEDULER).PutPlan(pb.PutPlanRequest(parent=f"{T}/groups/default", plan=message()))
    assert list(put.rules) == list(message().rules)
    assert put.hash == plan_from_proto(message()).hash
    got = await light.as_("viewer").GetPlan(pb.GetPlanRequest(name=put.name))
    assert got == put
    await light.known()
    [plan] = light.parts.memory.known.orders.plans.values()
    assert plan.rules == (RULE,)
    assert plan.hash == put.hash


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": 0}, "plan.rules[0].kind"),
        ({"operation": 9}, "plan.rules[0].operation"),
        ({"until_unix_ms": START}, "plan.rules[0]"),
        ({"off_milli": 30_001}, "plan.rules[0].off_milli"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_its_field(change: dict[str, int], field: str) -> None:
    sent = message()
    for name, value in change.items():
        setattr(sent.rules[0], name, value)
    with pytest.raises(InvalidInput) as refused:
        plan_from_proto(sent)
    assert refused.value.violations[0].field == field


def test_a_snapshot_keeps_rules_and_one_of_before_has_none(tmp_path) -> None:
    files = SnapshotFiles(tmp_path)
    bare = Plan(START, START + 24 * HOUR_MS, (START,), (0,))
    ruled = replace(bare, rules=(RULE,))
    files.save_orders(Orders(1, {"g0": bare, "g1": ruled}))
    assert files.load().orders.plans == {"g0": bare, "g1": ruled}
