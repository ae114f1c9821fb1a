"""Between a plan as the contract has it and a plan as lighting keeps it."""

from __future__ import annotations

from typing import Final

from domain.errors import InvalidInput
from domain.names import ResourceName
from domain.plan import Plan, from_unix_ms
from domain.plan_rule import PlanRule, SensorKind, SensorOperation, rule_from_document
from lichtbuch.lighting.v1 import control_pb2
from lichtbuch.type.v1 import types_pb2
from servicekit.convert import timestamp_from_proto, timestamp_to_proto
from services.lighting.store.tables import PlanRow

_SENSOR_KINDS: Final = frozenset(map(int, SensorKind))
_SENSOR_OPERATIONS: Final = frozenset(map(int, SensorOperation))


def plan_from_proto(plan: control_pb2.Plan) -> Plan:
    """A plan. Raises InvalidInput with every violation, and for a hash that is not the plan's."""
    try:
        made = Plan.of(
            timestamp_from_proto(plan.valid_from, "valid_from"),
            timestamp_from_proto(plan.valid_until, "valid_until"),
            [from_unix_ms(instant) for instant in plan.instants_unix_ms],
            list(plan.levels_permille),
            list(plan.ramps_s),
            [_rule_from_proto(rule, f"rules[{index}]") for index, rule in enumerate(plan.rules)],
        )
    except InvalidInput as error:
        raise error.under("plan") from error
    except OverflowError as error:
        raise InvalidInput.of("plan.instants_unix_ms", "an instant is beyond the year 9999") from error
    if plan.hash and plan.hash != made.hash:
        raise InvalidInput.of("plan.hash", f"is not the hash of this plan, which is {made.hash}")
    return made


def plan_to_proto(row: PlanRow, group_name: str) -> control_pb2.Plan:
    """A stored plan."""
    return control_pb2.Plan(
        name=f"{group_name}/plan",
        valid_from=timestamp_to_proto(from_unix_ms(row.valid_from_ms)),
        valid_until=timestamp_to_proto(from_unix_ms(row.valid_until_ms)),
        instants_unix_ms=row.instants_ms,
        levels_permille=row.levels_permille,
        ramps_s=row.ramps_s,
        rules=[_rule_to_proto(rule_from_document(rule), group_name) for rule in row.rules],
        hash=row.hash,
        origin=row.origin,
    )


def _rule_from_proto(rule: control_pb2.PlanRule, field: str) -> PlanRule:
    if int(rule.kind) not in _SENSOR_KINDS:
        raise InvalidInput.of(f"{field}.kind", f"{rule.kind} is not a kind of sensor")
    if int(rule.operation) not in _SENSOR_OPERATIONS:
        raise InvalidInput.of(f"{field}.operation", f"{rule.operation} is not an operation")
    return PlanRule(
        from_ms=rule.from_unix_ms,
        until_ms=rule.until_unix_ms,
        kind=SensorKind(rule.kind),
        operation=SensorOperation(rule.operation),
        value_permille=rule.value_permille,
        on_milli=rule.on_milli,
        off_milli=rule.off_milli,
        hold_s=rule.hold_s,
        ramp_s=rule.ramp_s,
        sensor=rule.sensor.rpartition("/")[2],
        position=rule.position,
    )


def _rule_to_proto(rule: PlanRule, group_name: str) -> control_pb2.PlanRule:
    municipality = ResourceName.parse(group_name).municipality
    return control_pb2.PlanRule(
        from_unix_ms=rule.from_ms,
        until_unix_ms=rule.until_ms,
        kind=types_pb2.SensorKind.ValueType(rule.kind),
        operation=types_pb2.SensorOperation.ValueType(rule.operation),
        value_permille=rule.value_permille,
        on_milli=rule.on_milli,
        off_milli=rule.off_milli,
        hold_s=rule.hold_s,
        ramp_s=rule.ramp_s,
        sensor=str(ResourceName.of(municipality, "sensors", rule.sensor)) if rule.sensor else "",
        position=rule.position,
    )
