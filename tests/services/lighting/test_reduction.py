"""Who reduces light: what is not reduced by command is observed and never written, and previews and faults know it."""

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from domain.errors import FailedPrecondition, InvalidInput
from lichtbuch.lighting.v1 import control_pb2 as ctl
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from lichtbuch.lighting.v1 import loads_pb2
from services.lighting.records import Reduction, is_commanded
from tests.services.lighting.running import Lighting, T, override_message, stamp

NIGHT = ((0, 0), (5, 1000), (10, 500), (19.2, 0))


def test_the_luminaire_counts_before_its_feeder_and_a_command_where_neither_says():
    assert is_commanded(0, 0)
    assert not is_commanded(0, Reduction.HALF_NIGHT_CONDUCTOR)
    assert is_commanded(Reduction.SINGLE_COMMAND, Reduction.HALF_NIGHT_CONDUCTOR)
    assert not is_commanded(Reduction.STORED_PROFILE, Reduction.BROADCAST)
    assert not is_commanded(Reduction.NONE, 0)


async def reduce_lamp(light: Lighting, name: str, reduction: Any) -> inv.Luminaire:
    changed: inv.Luminaire = await light.planner.UpdateLuminaire(
        pb.UpdateLuminaireRequest(
            luminaire=inv.Luminaire(name=name, reduction=reduction), update_mask=FieldMask(paths=["reduction"])
        )
    )
    return changed


async def test_a_lamp_with_a_stored_profile_is_watched_and_never_written(lighting: Lighting):
    names = await lighting.street(lamps=6)
    changed = await reduce_lamp(lighting, names[2], inv.REDUCTION_STORED_PROFILE)
    assert changed.reduction == inv.REDUCTION_STORED_PROFILE
    await lighting.put_plan(*NIGHT)
    await lighting.known()
    await lighting.to(7)
    gear = lighting.town.lamp(1, 2)
    before = gear.level(lighting.town.seconds)
    await lighting.to(12)
    writes = lighting.town.gateway(1).writes
    assert {index for point, index, _ in writes if point == "level_command"} == {0, 1, 3, 4, 5}
    # A broadcast would reach it, too.
    assert not [point for point, _, _ in writes if point.startswith(("broadcast", "group"))]
    assert gear.level(lighting.town.seconds) == before
    states = await lighting.states()
    assert list(states.in_control) == [True, True, False, True, True, True]
    assert [level for row, level in enumerate(states.actual_permille) if row != 2] == [500] * 5
    assert not any(states.faults)


async def test_what_a_feeder_states_holds_for_its_lamps_and_previews_count_full_power(light: Lighting):
    names = await light.street()
    await light.planner.UpdateFeeder(
        pb.UpdateFeederRequest(
            feeder=inv.Feeder(name=f"{T}/feeders/F-1", reduction=inv.REDUCTION_CONTROL_PHASE),
            update_mask=FieldMask(paths=["reduction"]),
        )
    )
    then = stamp(light.clock.now())
    await light.passes(1)
    await reduce_lamp(light, names[0], inv.REDUCTION_SINGLE_COMMAND)
    await light.known()
    answer = await light.planner.DescribeGroupLoads(loads_pb2.DescribeGroupLoadsRequest(parent=T))
    load = next(found for found in answer.loads if found.group == f"{T}/groups/default")
    assert (load.luminaire_count, load.undimmed_count) == (4, 3)
    assert [record.commanded for record in sorted(
        light.parts.memory.known.inventory.luminaires, key=lambda lamp: lamp.id
    )] == [True, False, False, False]  # fmt: skip
    past = await light.planner.GetLuminaire(pb.GetLuminaireRequest(name=names[0], at=then))
    assert past.reduction == inv.REDUCTION_UNSPECIFIED


async def test_an_unknown_kind_of_reduction_is_refused(light: Lighting):
    names = await light.street(lamps=1)
    with pytest.raises(InvalidInput, match="reduction"):
        await reduce_lamp(light, names[0], 77)


async def test_when_something_else_reduces_is_kept_and_refused_where_it_cannot_be(light: Lighting):
    await light.street(lamps=1)

    async def feeder(**changes: Any) -> inv.Feeder:
        request = pb.UpdateFeederRequest(
            feeder=inv.Feeder(name=f"{T}/feeders/F-1", **changes), update_mask=FieldMask(paths=list(changes))
        )
        changed: inv.Feeder = await light.planner.UpdateFeeder(request)
        return changed

    changed = await feeder(reduced_from="22:30", reduced_until="05:00", reduced_power_permille=400)
    assert (changed.reduced_from, changed.reduced_until, changed.reduced_power_permille) == ("22:30", "05:00", 400)
    with pytest.raises(InvalidInput, match=r"feeder\.reduced_until.*required"):
        await feeder(reduced_from="22:30", reduced_until="")
    with pytest.raises(InvalidInput, match=r"feeder\.reduced_until"):
        await feeder(reduced_from="22:30", reduced_until="22:30")

    def model(*stretches: tuple[int, int, int]) -> pb.CreateLuminaireModelRequest:
        profile = [inv.StoredReduction(begin_offset_s=b, end_offset_s=e, level_permille=v) for b, e, v in stretches]
        given = inv.LuminaireModel(display_name="Own", rated_power_w=20, stored_profile=profile)
        return pb.CreateLuminaireModelRequest(parent=T, luminaire_model=given)

    made = await light.planner.CreateLuminaireModel(model((-7200, 0, 700), (0, 14400, 500)))
    assert [each.level_permille for each in made.stored_profile] == [700, 500]
    with pytest.raises(InvalidInput, match=r"stored_profile\[0\]\.end_offset_s"):
        await light.planner.CreateLuminaireModel(model((0, -3600, 500)))
    with pytest.raises(InvalidInput, match=r"stored_profile\[1\]\.begin_offset_s"):
        await light.planner.CreateLuminaireModel(model((-7200, 3600, 700), (0, 14400, 500)))


async def refusal(light: Lighting, level: int, *targets: str, **changes: Any) -> tuple[str, str]:
    """Field and reason for which an override by day is refused."""
    request = pb.CreateOverrideRequest(parent=T, override=override_message(level, None, 2, *targets, **changes))
    with pytest.raises(FailedPrecondition) as caught:
        await light.operator.CreateOverride(request)
    [violation] = caught.value.violations
    return violation.field, violation.reason


async def test_an_override_for_lamps_that_no_command_reduces_is_refused(lighting: Lighting):
    names = await lighting.street()
    lamp = names[0]
    await reduce_lamp(lighting, lamp, inv.REDUCTION_STORED_PROFILE)
    stored = "is reduced by a profile stored in the lamp"
    field, reason = await refusal(lighting, 500, lamp)
    assert field == "override.targets"
    assert reason == (f"{lamp} would not follow: it {stored}, and its feeder can only be switched on (1000) or off (0)")
    # A priority does not make a wire longer.
    urgent = await refusal(lighting, 500, lamp, priority=ctl.OVERRIDE_PRIORITY_EMERGENCY)
    assert stored in urgent[1]
    # The contactor is ours, and where one of those named is dimmed by command the others go on as they do.
    for level, targets in ((1000, [lamp]), (0, [lamp]), (500, [lamp, names[1]]), (500, [T])):
        override = override_message(level, None, 2, *targets)
        await lighting.operator.CreateOverride(pb.CreateOverrideRequest(parent=T, override=override))


async def test_an_override_for_lamps_without_communication_or_a_contactor_of_ours_is_refused(light: Lighting):
    await light.street()
    await light.planner.CreateLuminaire(
        pb.CreateLuminaireRequest(parent=T, luminaire_id="lone", luminaire=inv.Luminaire(floor_permille=100))
    )
    lone = f"{T}/luminaires/lone"
    nothing = "it has no gateway, and Lichtbuch does not switch its feeder either"
    for level in (500, 1000):
        field, reason = await refusal(light, level, lone)
        assert (field, reason) == ("override.targets", f"{lone} would not follow: {nothing}")
    await light.planner.CreateGroup(pb.CreateGroupRequest(parent=T, group_id="later", group=inv.Group()))
    override = override_message(500, None, 2, f"{T}/groups/later")  # members that join later may well be reached
    await light.operator.CreateOverride(pb.CreateOverrideRequest(parent=T, override=override))
