"""Overrides, lock-outs and plans over gRPC: what may be ordered, by whom, and that the lamps do it."""

from datetime import timedelta

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from domain.errors import FailedPrecondition, InvalidInput, NotFound, NotPermitted
from lichtbuch.lighting.v1 import control_pb2 as ctl
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from tests.services.lighting.running import (
    FITTER,
    OTHER,
    SCHEDULER,
    Lighting,
    T,
    at,
    override_message,
    plan_message,
)

NIGHT = ((0, 0), (5, 1000), (10, 500), (17, 1000), (19.2, 0))


def violations(error: InvalidInput) -> str:
    return "; ".join(str(violation) for violation in error.violations)


async def test_a_plan_put_by_the_scheduler_is_followed_and_its_hash_is_listed(lighting: Lighting):
    await lighting.street()
    plan = await lighting.put_plan(*NIGHT)
    assert plan.name == f"{T}/groups/default/plan"
    listed = await lighting.as_(SCHEDULER).ListPlanHashes(pb.ListPlanHashesRequest(parent="municipalities/-"))
    assert dict(zip(listed.groups, listed.hashes, strict=True)) == {f"{T}/groups/default": plan.hash}
    got = await lighting.as_("viewer").GetPlan(pb.GetPlanRequest(name=plan.name))
    assert list(got.levels_permille) == [0, 1000, 500, 1000, 0]
    await lighting.known()
    await lighting.to(5.2)
    assert lighting.town.levels(1) == [1000] * 4
    await lighting.to(10.2)
    assert lighting.town.levels(1) == [500] * 4


async def test_putting_the_same_plan_again_changes_nothing(lighting: Lighting):
    await lighting.street()
    await lighting.put_plan(*NIGHT)
    revision = lighting.parts.memory.known.orders.revision
    records = len(await lighting.trail())
    await lighting.put_plan(*NIGHT)
    await lighting.parts.memory.refresh()
    assert len(await lighting.trail()) == records
    assert lighting.parts.memory.known.orders.revision <= revision + 1


async def test_a_plan_is_refused_below_a_floor_and_when_it_leaves_the_night_dark(light: Lighting):
    await light.street()
    with pytest.raises(InvalidInput) as caught:
        await light.put_plan((0, 0), (5, 1000), (10, 399), (19.2, 0))
    assert "plan.levels_permille[2]" in violations(caught.value)
    assert "floor of 400 per mille of municipalities/bad-hersfeld/luminaires/L-1-0" in violations(caught.value)
    with pytest.raises(InvalidInput, match="dark in the civil night"):
        await light.put_plan((0, 0), (5, 1000), (12, 0), (14, 1000), (19.2, 0))
    with pytest.raises(NotFound):
        await light.as_("viewer").GetPlan(pb.GetPlanRequest(name=f"{T}/groups/default/plan"))


async def test_a_malformed_plan_or_one_with_another_hash_is_refused(light: Lighting):
    await light.street()
    for change, field in (
        ({"hash": "0" * 64}, "plan.hash"),
        ({"instants_unix_ms": [1, 2, 3, 4, 5]}, "plan.instants_unix_ms[0]"),
        ({"levels_permille": [0, 1]}, "plan.levels_permille"),
        ({"valid_until": at(-1)}, "plan.valid_until"),
    ):
        plan = plan_message(*NIGHT)
        for name, value in change.items():
            plan.ClearField(name)  # type: ignore[arg-type]
            if isinstance(value, list):
                getattr(plan, name).extend(value)
            elif isinstance(value, str):
                setattr(plan, name, value)
            else:
                getattr(plan, name).CopyFrom(value)
        with pytest.raises(InvalidInput) as caught:
            await light.as_(SCHEDULER).PutPlan(pb.PutPlanRequest(parent=f"{T}/groups/default", plan=plan))
        assert field in violations(caught.value)
    with pytest.raises(NotPermitted):
        await light.planner.PutPlan(pb.PutPlanRequest(parent=f"{T}/groups/default", plan=plan_message(*NIGHT)))
    with pytest.raises(NotFound):
        await light.as_(SCHEDULER).PutPlan(pb.PutPlanRequest(parent=f"{T}/groups/none", plan=plan_message(*NIGHT)))


async def test_an_operators_override_wins_is_read_back_and_ends_by_itself_or_by_release(lighting: Lighting):
    names = await lighting.street()
    await lighting.put_plan(*NIGHT)
    await lighting.known()
    await lighting.to(10.2)
    request = pb.CreateOverrideRequest(parent=T, override=override_message(800, None, 11, names[0], names[1]))
    created = await lighting.operator.CreateOverride(request)
    assert (created.author, created.priority) == ("operator", ctl.OVERRIDE_PRIORITY_OPERATOR)
    await lighting.passes(3)
    assert lighting.town.levels(1) == [800, 800, 500, 500]
    states = await lighting.states(luminaires=[names[0]])
    assert (states.due_permille[0], states.actual_permille[0]) == (800, 800)
    assert states.due_sources[0] == ctl.DUE_SOURCE_OPERATOR
    await lighting.operator.ReleaseOverride(pb.ReleaseOverrideRequest(name=created.name, reason="over"))
    await lighting.passes(3)
    assert lighting.town.levels(1) == [500] * 4
    await lighting.operator.CreateOverride(request)
    await lighting.to(11.1)
    assert lighting.town.levels(1) == [500] * 4
    listed = await lighting.as_("viewer").ListOverrides(pb.ListOverridesRequest(parent=T))
    assert len(listed.overrides) == 2
    active = await lighting.as_("viewer").ListOverrides(pb.ListOverridesRequest(parent=T, active_only=True))
    assert list(active.overrides) == []
    trail = [r.action.rpartition("/")[2] for r in await lighting.trail(created.name)]
    assert trail == ["ReleaseOverride", "CreateOverride"]


async def test_overrides_that_may_not_be_are_refused_with_field_and_reason(light: Lighting):
    names = await light.street()
    operator = light.operator
    crossing = inv.Luminaire(feeder=f"{T}/feeders/F-1", conflict_area=True, floor_permille=1000)
    await light.planner.CreateLuminaire(pb.CreateLuminaireRequest(parent=T, luminaire_id="X", luminaire=crossing))
    cases = [
        (ctl.Override(targets=[T], level_permille=1000, reason="x"), "override.expire_time", "is required"),
        (override_message(1000, 2, 1), "override.expire_time", "is not after start_time"),
        (override_message(1000, -3, -1), "override.expire_time", "is over already"),
        (override_message(1000, 0, 31 * 24 + 1), "override.expire_time", "more than 31 days"),
        (override_message(1001, 0, 1), "override.level_permille", "1000"),
        (override_message(399, 0, 1), "override.level_permille", "floor of 400 per mille of"),
        (override_message(0, 5, 12), "override.level_permille", "dark in the civil night"),
        (override_message(1000, 0, 1, reason=""), "override.reason", "is required"),
        (override_message(1000, 0, 1, f"{T}/luminaires/none"), "override.targets[0]", "does not exist"),
        (override_message(1000, 0, 1, f"{T}/luminaireModels/LED-23"), "override.targets[0]", "is none of"),
        (override_message(1000, 0, 1, names[0], f"{OTHER}/luminaires/L-1-0"), "override.targets[1]", "not of the"),
    ]
    for override, field, reason in cases:
        with pytest.raises(InvalidInput) as caught:
            await operator.CreateOverride(pb.CreateOverrideRequest(parent=T, override=override))
        assert any(v.field == field and reason in v.reason for v in caught.value.violations), (field, caught.value)
    dark = override_message(0, 5, 12, priority=ctl.OVERRIDE_PRIORITY_EMERGENCY)
    await operator.CreateOverride(pb.CreateOverrideRequest(parent=T, override=dark))
    by_day = override_message(0, 0, 3)
    await operator.CreateOverride(pb.CreateOverrideRequest(parent=T, override=by_day))
    with pytest.raises(NotPermitted):
        await light.as_("viewer").CreateOverride(pb.CreateOverrideRequest(parent=T, override=by_day))


async def test_a_repeated_request_id_makes_one_override(lighting: Lighting):
    await lighting.street()
    request = pb.CreateOverrideRequest(parent=T, override=override_message(1000, None, 2), request_id="once")
    first = await lighting.operator.CreateOverride(request)
    assert await lighting.operator.CreateOverride(request) == first
    listed = await lighting.operator.ListOverrides(pb.ListOverridesRequest(parent=T))
    assert [o.uid for o in listed.overrides] == [first.uid]


async def test_a_locked_out_feeder_is_left_alone_until_its_owner_releases_it(lighting: Lighting):
    await lighting.street()
    await lighting.put_plan(*NIGHT)
    await lighting.known()
    lockout = ctl.Lockout(feeder=f"{T}/feeders/F-1", reason="cable work")
    created = await lighting.operator.CreateLockout(
        pb.CreateLockoutRequest(parent=T, lockout_id="K-1", lockout=lockout)
    )
    assert created.owner == "operator"
    await lighting.to(6)
    assert lighting.town.levels(1) == [0] * 4
    assert [w for w in lighting.town.controller(1).writes if w[0] != "heartbeat"] == []
    assert lighting.town.gateway(1).writes == []
    states = await lighting.states()
    assert set(states.due_permille) == {-1}
    assert set(states.due_sources) == {ctl.DUE_SOURCE_LOCKOUT}
    release = pb.ReleaseLockoutRequest(name=created.name, reason="done")
    with pytest.raises(NotPermitted, match="belongs to operator"):
        await lighting.as_("second").ReleaseLockout(release)
    with pytest.raises(FailedPrecondition, match="still has 4 luminaires"):
        await lighting.planner.DeleteFeeder(pb.DeleteFeederRequest(name=f"{T}/feeders/F-1"))
    await lighting.operator.ReleaseLockout(release)
    await lighting.passes(5)
    assert lighting.town.levels(1) == [1000] * 4
    with pytest.raises(InvalidInput, match=r"lockout\.feeder"):
        await lighting.operator.CreateLockout(
            pb.CreateLockoutRequest(parent=T, lockout=ctl.Lockout(feeder=f"{T}/feeders/F-9", reason="x"))
        )


async def test_nothing_is_rewired_out_of_a_lock_out_that_holds(light: Lighting):
    names = await light.street(1)
    await light.street(2)
    lockout = ctl.Lockout(feeder=f"{T}/feeders/F-1", reason="cable work")
    held = await light.operator.CreateLockout(pb.CreateLockoutRequest(parent=T, lockout=lockout))
    feeder = inv.Feeder(name=f"{T}/feeders/F-1", cabinet=f"{T}/cabinets/C-2", channel=3)
    cabinet = inv.Cabinet(name=f"{T}/cabinets/C-1", display_name="Markt", controller=f"{T}/endpoints/E-c2")
    lamp = inv.Luminaire(name=names[0], feeder=f"{T}/feeders/F-2", gateway_address=9, pole="7")

    async def change(*paths: str) -> None:
        for path in paths:
            mask = FieldMask(paths=[path])
            if path == "channel":
                await light.planner.UpdateFeeder(pb.UpdateFeederRequest(feeder=feeder, update_mask=mask))
            elif path in ("controller", "display_name"):
                await light.planner.UpdateCabinet(pb.UpdateCabinetRequest(cabinet=cabinet, update_mask=mask))
            else:
                await light.planner.UpdateLuminaire(pb.UpdateLuminaireRequest(luminaire=lamp, update_mask=mask))

    for path in ("channel", "controller", "feeder", "gateway_address"):
        with pytest.raises(FailedPrecondition, match="locked-out feeder"):
            await change(path)
    with pytest.raises(FailedPrecondition, match="locked-out feeder"):
        await light.planner.DeleteLuminaire(pb.DeleteLuminaireRequest(name=names[0]))
    with pytest.raises(FailedPrecondition, match="L-1-0 hangs on a locked-out feeder"):
        await light.import_lines(luminaire_ids=["L-1-0"], feeder_ids=["F-2"])
    await change("display_name", "pole")
    assert (await light.import_lines(luminaire_ids=["L-1-0"], floors_permille=[500])).committed
    await light.operator.ReleaseLockout(pb.ReleaseLockoutRequest(name=held.name, reason="done"))
    await change("channel", "feeder")


async def test_two_people_lock_out_one_feeder_and_both_have_to_release_it(light: Lighting):
    await light.street()
    names = []
    for subject in ("operator", "second"):
        lockout = ctl.Lockout(feeder=f"{T}/feeders/F-1", reason="work")
        names.append((await light.as_(subject).CreateLockout(pb.CreateLockoutRequest(parent=T, lockout=lockout))).name)
    await light.operator.ReleaseLockout(pb.ReleaseLockoutRequest(name=names[0], reason="done"))
    await light.passes(1)
    assert set((await light.states()).due_permille) == {-1}
    await light.as_("admin").ReleaseLockout(pb.ReleaseLockoutRequest(name=names[1], reason="forgotten"))
    await light.passes(1)
    assert set((await light.states()).due_permille) == {0}
    held = await light.as_("viewer").ListLockouts(pb.ListLockoutsRequest(parent=T, active_only=True))
    assert list(held.lockouts) == []
    assert len((await light.as_("viewer").ListLockouts(pb.ListLockoutsRequest(parent=T))).lockouts) == 2


async def test_a_fitter_commands_and_locks_out_at_the_named_cabinets_only(light: Lighting):
    first = await light.street(1)
    second = await light.street(2)
    fitter = light.as_(FITTER)
    mine = override_message(1000, None, 1, first[0], priority=ctl.OVERRIDE_PRIORITY_MAINTENANCE)
    created = await fitter.CreateOverride(pb.CreateOverrideRequest(parent=T, override=mine))
    for targets in ((second[0],), (first[0], second[0]), (T,), (f"{T}/groups/default",), (f"{T}/feeders/F-2",)):
        with pytest.raises(NotPermitted):
            override = override_message(1000, None, 1, *targets)
            await fitter.CreateOverride(pb.CreateOverrideRequest(parent=T, override=override))
    for feeder, allowed in (("F-1", True), ("F-2", False)):
        request = pb.CreateLockoutRequest(parent=T, lockout=ctl.Lockout(feeder=f"{T}/feeders/{feeder}", reason="work"))
        if allowed:
            await fitter.CreateLockout(request)
        else:
            with pytest.raises(NotPermitted):
                await fitter.CreateLockout(request)
    theirs = override_message(1000, None, 1, second[0])
    other = await light.operator.CreateOverride(pb.CreateOverrideRequest(parent=T, override=theirs))
    with pytest.raises(NotPermitted):
        await fitter.ReleaseOverride(pb.ReleaseOverrideRequest(name=other.name))
    listed = await fitter.ListOverrides(pb.ListOverridesRequest(parent=T))
    assert [override.name for override in listed.overrides] == [created.name]
    await fitter.ReleaseOverride(pb.ReleaseOverrideRequest(name=created.name))


async def test_ties_among_equal_priorities_are_broken_by_who_was_taken_later(light: Lighting):
    names = await light.street()
    await light.operator.CreateOverride(
        pb.CreateOverrideRequest(parent=T, override=override_message(700, None, 3, names[0]))
    )
    await light.clock.advance(timedelta(seconds=5))
    await light.operator.CreateOverride(
        pb.CreateOverrideRequest(parent=T, override=override_message(900, None, 3, names[0]))
    )
    await light.passes(1)
    assert (await light.states(luminaires=[names[0]])).due_permille[0] == 900
