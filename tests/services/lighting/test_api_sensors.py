"""Sensors over gRPC: what there is, values that other systems send, and what the lamps make of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from domain.errors import AlreadyExists, InvalidInput, NotFound, NotPermitted
from domain.plan import Plan, to_unix_ms
from domain.plan_rule import PlanRule, SensorOperation
from domain.plan_rule import SensorKind as Kind
from lichtbuch.lighting.v1 import control_pb2 as ctl
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from lichtbuch.lighting.v1 import sensors_pb2 as sn
from lichtbuch.type.v1 import types_pb2 as types
from services.lighting.api.convert_plan import plan_from_proto
from services.lighting.store.endpoints import replace_endpoints
from tests.services.lighting.bench import NOON
from tests.services.lighting.running import FITTER, OTHER, SCHEDULER, Lighting, T, running_lighting
from tests.support.issuer import Issuer

START = to_unix_ms(NOON)
HOUR_MS = 3_600_000
COUNTER = f"{T}/sensors/BRIDGE"


def sensor(**changes: Any) -> sn.Sensor:
    values: dict[str, Any] = {"kind": types.SENSOR_KIND_TRAFFIC, "display_name": "Fulda bridge", **changes}
    return sn.Sensor(**values)


async def create(light: Lighting, given: sn.Sensor, identifier: str = "BRIDGE", subject: str = "planner") -> sn.Sensor:
    made: sn.Sensor = await light.as_(subject).CreateSensor(
        sn.CreateSensorRequest(parent=T, sensor_id=identifier, sensor=given)
    )
    return made


async def report(light: Lighting, *values: float, name: str = COUNTER, **request: Any) -> sn.ReportSensorValuesResponse:
    answer: sn.ReportSensorValuesResponse = await light.planner.ReportSensorValues(
        sn.ReportSensorValuesRequest(parent=T, names=[name] * len(values), values=values, **request)
    )
    return answer


async def states(light: Lighting) -> list[sn.SensorState]:
    return list((await light.as_("viewer").ListSensorStates(sn.ListSensorStatesRequest(parent=T))).states)


def night_with_rule(**changes: Any) -> Plan:
    """500 per mille all night, full while there is traffic."""
    rule = PlanRule(
        START + 5 * HOUR_MS, START + 17 * HOUR_MS, Kind.TRAFFIC, SensorOperation.SET, 1000, 120_000, 60_000, hold_s=600
    )  # fmt: skip
    return Plan(
        START, START + 24 * HOUR_MS, (START, START + 5 * HOUR_MS, START + 19 * HOUR_MS), (0, 500, 0), (),
        (replace(rule, **changes),),
    )  # fmt: skip


async def put(light: Lighting, plan: Plan) -> ctl.Plan:
    """Puts a plan with its rules over gRPC, as the scheduler does."""
    message = ctl.Plan(
        instants_unix_ms=plan.instants_ms, levels_permille=plan.levels_permille, ramps_s=plan.ramps_s, hash=plan.hash,
        rules=[
            ctl.PlanRule(
                from_unix_ms=r.from_ms, until_unix_ms=r.until_ms, kind=int(r.kind), operation=int(r.operation),  # type: ignore[arg-type]
                value_permille=r.value_permille, on_milli=r.on_milli, off_milli=r.off_milli, hold_s=r.hold_s,
                ramp_s=r.ramp_s, sensor=f"{T}/sensors/{r.sensor}" if r.sensor else "", position=r.position,
            )
            for r in plan.rules
        ],
    )  # fmt: skip
    message.valid_from.FromMilliseconds(plan.valid_from_ms)
    message.valid_until.FromMilliseconds(plan.valid_until_ms)
    assert plan_from_proto(message) == plan
    made: ctl.Plan = await light.as_(SCHEDULER).PutPlan(pb.PutPlanRequest(parent=f"{T}/groups/default", plan=message))
    return made


async def test_traffic_that_another_system_counts_brightens_the_street_until_the_hold_time_is_over(lighting: Lighting):
    await lighting.street()
    await create(lighting, sensor(max_age_s=1800))
    await put(lighting, night_with_rule())
    await lighting.known()
    await lighting.to(8)
    assert lighting.town.levels(1) == [500] * 4
    assert await report(lighting, 180.0) == sn.ReportSensorValuesResponse(accepted=1)
    await lighting.passes(3)
    assert lighting.town.levels(1) == [1000] * 4
    shown = await lighting.states()
    assert set(shown.due_sources) == {ctl.DUE_SOURCE_SENSOR}
    (state,) = await states(lighting)
    assert (state.name, state.value, state.fresh) == (COUNTER, 180.0, True)
    assert list(state.active_groups) == [f"{T}/groups/default"]
    await report(lighting, 30.0)
    await lighting.passes(3)
    assert lighting.town.levels(1) == [1000] * 4
    await lighting.passes(4)
    assert lighting.town.levels(1) == [500] * 4
    assert list((await states(lighting))[0].active_groups) == []


async def test_when_the_sensor_falls_silent_the_plan_alone_holds(light: Lighting):
    await light.street()
    await create(light, sensor(max_age_s=600))
    await put(light, night_with_rule())
    await light.known()
    await light.to(8)
    await report(light, 500.0)
    await light.passes(3)
    assert light.town.levels(1) == [1000] * 4
    await light.passes(4)
    assert light.town.levels(1) == [500] * 4
    (state,) = await states(light)
    assert not state.fresh
    assert state.age_s >= 600


async def test_values_are_taken_in_the_order_of_their_instants_not_of_their_arrival(light: Lighting):
    await light.street(lamps=1)
    await create(light, sensor())
    now = to_unix_ms(light.clock.now())
    answer = await report(light, 10.0, 20.0, 30.0, observed_at_unix_ms=[now - 60_000, now - 20_000, now - 40_000])
    assert (answer.accepted, answer.outdated) == (2, 1)
    assert (await report(light, 5.0, observed_at_unix_ms=[now - 90_000])).outdated == 1
    assert (await states(light))[0].value == 20.0


async def test_a_sensor_serves_its_groups_and_no_other(light: Lighting):
    await light.street()
    for group in ("bridge", "market"):
        await light.planner.CreateGroup(pb.CreateGroupRequest(parent=T, group_id=group, group=inv.Group()))
    made = await create(light, sensor(groups=[f"{T}/groups/bridge", f"{T}/groups/market"]))
    assert list(made.groups) == [f"{T}/groups/bridge", f"{T}/groups/market"]
    await put(light, night_with_rule())
    await light.known()
    await light.to(8)
    await report(light, 500.0)
    await light.passes(3)
    assert light.town.levels(1) == [500] * 4
    await put(light, night_with_rule(sensor="BRIDGE"))  # a rule may name one that does not serve its group
    await light.known()
    await report(light, 500.0)
    await light.passes(3)
    assert light.town.levels(1) == [1000] * 4


async def test_sensors_are_created_listed_changed_and_deleted(lighting: Lighting):
    await lighting.street(lamps=1)
    made = await create(lighting, sensor())
    assert (made.name, made.max_age_s, made.endpoint, made.point) == (COUNTER, 600, "", "")
    with pytest.raises(AlreadyExists):
        await create(lighting, sensor())
    await create(lighting, sensor(kind=types.SENSOR_KIND_RAIN), "RAIN")
    listed = await lighting.as_("viewer").ListSensors(sn.ListSensorsRequest(parent=T))
    assert [s.name.rpartition("/")[2] for s in listed.sensors] == ["BRIDGE", "RAIN"]
    changed = await lighting.planner.UpdateSensor(
        sn.UpdateSensorRequest(sensor=sn.Sensor(name=COUNTER, max_age_s=90), update_mask=FieldMask(paths=["max_age_s"]))
    )
    assert (changed.max_age_s, changed.display_name, changed.etag != made.etag) == (90, "Fulda bridge", True)
    await report(lighting, 7.0)
    await lighting.planner.DeleteSensor(sn.DeleteSensorRequest(name=COUNTER))
    with pytest.raises(NotFound):
        await lighting.planner.GetSensor(sn.GetSensorRequest(name=COUNTER))
    assert [s.name.rpartition("/")[2] for s in await states(lighting)] == ["RAIN"]
    assert not (await states(lighting))[0].HasField("observed_at")
    with pytest.raises(InvalidInput, match="does not exist"):
        await report(lighting, 8.0)
    await create(lighting, sensor())
    trail = [r.action.rpartition("/")[2] for r in await lighting.trail(COUNTER)]
    assert trail == ["CreateSensor", "DeleteSensor", "UpdateSensor", "CreateSensor"]


REFUSED = [
    ({"kind": 0}, "sensor.kind", "is required"),
    ({"kind": 9}, "sensor.kind", "not a known value"),
    ({"groups": [f"{T}/groups/none"]}, "sensor.groups[0]", "does not exist"),
    ({"groups": [f"{OTHER}/groups/default"]}, "sensor.groups[0]", "not of the"),
    ({"max_age_s": 9}, "sensor.max_age_s", "less than 10 s"),
    ({"max_age_s": 86_401}, "sensor.max_age_s", "86400"),
    ({"max_age_s": -1}, "sensor.max_age_s", "0"),
    ({"point": "traffic_flow"}, "sensor.point", "at an endpoint only"),
    ({"endpoint": f"{T}/endpoints/none"}, "sensor.endpoint", "not an endpoint"),
    ({"endpoint": f"{T}/endpoints/E-c1"}, "sensor.point", "has no point traffic_flow"),
    ({"endpoint": f"{T}/endpoints/E-c1", "point": "no_such"}, "sensor.point", "vocabulary"),
    ({"endpoint": f"{T}/endpoints/E-c1", "point": "door_open"}, "sensor.point", "not measured in 1/h"),
    ({"endpoint": f"{T}/endpoints/E-c1", "point": "illuminance"}, "sensor.point", "not measured in 1/h"),
]


@pytest.mark.parametrize(("changes", "field", "reason"), REFUSED)
async def test_a_sensor_that_may_not_be_is_refused_with_field_and_reason(light: Lighting, changes, field, reason):
    await light.street(lamps=1)
    with pytest.raises(InvalidInput) as caught:
        await create(light, sensor(**changes))
    assert any(v.field == field and reason in v.reason for v in caught.value.violations), caught.value.violations


BAD_REPORTS = [
    ({"values": [1.0]}, "values", "1 values for 2 names"),
    ({"observed_at_unix_ms": [0]}, "observed_at_unix_ms", "1 instants for 2 names"),
    ({"values": [1.0, -0.5]}, "values[1]", "is not between 0 and"),
    ({"values": [float("nan"), 1.0]}, "values[0]", "is not between 0 and"),
    ({"values": [1e7, 1.0]}, "values[0]", "is not between 0 and"),
    ({"names": [COUNTER, f"{T}/sensors/none"]}, "names[1]", "does not exist"),
    ({"names": [COUNTER, f"{OTHER}/sensors/BRIDGE"]}, "names[1]", "not of the"),
    ({"names": [f"{T}/groups/default", COUNTER]}, "names[0]", ""),
    ({"observed_at_unix_ms": [0, START + HOUR_MS]}, "observed_at_unix_ms[1]", "still to come"),
    ({"observed_at_unix_ms": [-5, 0]}, "observed_at_unix_ms[0]", "no instant"),
]


@pytest.mark.parametrize(("changes", "field", "reason"), BAD_REPORTS)
async def test_a_report_with_a_mistake_is_refused_as_a_whole(light: Lighting, changes, field, reason):
    await create(light, sensor())
    values = {"parent": T, "names": [COUNTER, COUNTER], "values": [1.0, 2.0], **changes}
    with pytest.raises(InvalidInput) as caught:
        await light.planner.ReportSensorValues(sn.ReportSensorValuesRequest(**values))
    assert any(v.field == field and reason in v.reason for v in caught.value.violations), caught.value.violations
    assert not (await states(light))[0].HasField("observed_at")


async def test_values_are_not_sent_to_a_sensor_that_is_read_at_its_endpoint(light: Lighting):
    await light.street(lamps=1)
    await light.endpoints("c1", "g1", "eye")
    records = [
        replace(e, profile="light-sensor") if e.id == "E-eye" else e
        for e in (await _endpoints(light))
    ]  # fmt: skip
    await light.parts.database.run(lambda session: replace_endpoints(session, records, 0))
    made = await create(light, sensor(kind=types.SENSOR_KIND_ILLUMINANCE, endpoint=f"{T}/endpoints/E-eye"), "EYE")
    assert made.point == "illuminance"
    with pytest.raises(InvalidInput, match="is read at its endpoint"):
        await report(light, 5.0, name=made.name)


async def _endpoints(light: Lighting) -> list[Any]:
    await light.parts.memory.refresh()
    return list(light.parts.memory.known.inventory.endpoints)


async def test_who_may_do_what_with_sensors(light: Lighting):
    await create(light, sensor())
    for subject in ("viewer", "operator", FITTER):
        with pytest.raises(NotPermitted):
            await create(light, sensor(), "X", subject)
    request = sn.ReportSensorValuesRequest(parent=T, names=[COUNTER], values=[1.0])
    await light.operator.ReportSensorValues(request)
    for subject in ("viewer", FITTER, "auditor"):
        with pytest.raises(NotPermitted):
            await light.as_(subject).ReportSensorValues(request)


async def test_what_was_said_is_known_to_another_replica_and_after_a_restart(
    issuer: Issuer, database_url: str, tmp_path: Path
):
    async with running_lighting(issuer, database_url, tmp_path / "one") as first:
        await create(first, sensor())
        await report(first, 130.0)
        async with running_lighting(issuer, database_url, tmp_path / "two", clock=first.clock) as second:
            await second.parts.sensors.look()
            await second.known()
            (state,) = await states(second)
            assert (state.value, state.fresh) == (130.0, True)
    async with running_lighting(issuer, database_url, tmp_path / "one") as again:
        await again.known()
        assert (await states(again))[0].value == 130.0


async def test_without_its_database_lighting_hears_sensors_all_the_same(light: Lighting):
    await create(light, sensor())
    await light.known()
    await light.parts.database.close()
    answer = await report(light, 130.0)
    assert answer.accepted == 1
    assert next(iter(light.parts.control.sensors.views.values())).value_milli == 130_000
