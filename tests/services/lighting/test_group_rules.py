"""Groups by rule over gRPC: members follow by themselves, names come first, refusals say which condition and why."""

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from domain.errors import FailedPrecondition, InvalidInput
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from lichtbuch.type.v1.types_pb2 import Position
from tests.services.lighting.running import Lighting, T, model_request, stamp

NORTH = [
    Position(latitude_deg=latitude, longitude_deg=longitude)
    for latitude, longitude in ((50.9, 9.0), (50.9, 10.0), (51.5, 10.0), (51.5, 9.0))
]


async def group(lighting: Lighting, identifier: str, **rule: Any) -> inv.Group:
    made: inv.Group = await lighting.planner.CreateGroup(
        pb.CreateGroupRequest(parent=T, group_id=identifier, group=inv.Group(rule=inv.GroupRule(**rule)))
    )
    return made


async def lamp(lighting: Lighting, identifier: str, **values: Any) -> inv.Luminaire:
    made: inv.Luminaire = await lighting.planner.CreateLuminaire(
        pb.CreateLuminaireRequest(parent=T, luminaire_id=identifier, luminaire=inv.Luminaire(**values))
    )
    return made


async def update(lighting: Lighting, identifier: str, **values: Any) -> inv.Luminaire:
    made: inv.Luminaire = await lighting.planner.UpdateLuminaire(
        pb.UpdateLuminaireRequest(
            luminaire=inv.Luminaire(name=f"{T}/luminaires/{identifier}", **values),
            update_mask=FieldMask(paths=list(values)),
        )
    )
    return made


async def group_of(lighting: Lighting, identifier: str) -> str:
    found = await lighting.planner.GetLuminaire(pb.GetLuminaireRequest(name=f"{T}/luminaires/{identifier}"))
    return str(found.group.rpartition("/")[2])


async def test_later_members_follow_by_themselves_and_leave_again(lighting: Lighting):
    await lamp(lighting, "before", street="Am Markt")
    made = await group(lighting, "market", streets=["am markt"])
    assert made.luminaire_count == 1
    after = await lamp(lighting, "after", street="Am Markt")
    assert (after.group, after.group_by_rule) == (f"{T}/groups/market", True)
    await lighting.import_lines(luminaire_ids=["imported", "else"], streets=["AM MARKT", "Weinstraße"])
    assert await group_of(lighting, "imported") == "market"
    assert await group_of(lighting, "else") == "default"
    moved = await update(lighting, "after", street="Weinstraße")
    assert moved.group == f"{T}/groups/default"
    await lighting.import_lines(luminaire_ids=["imported"], streets=["Weinstraße"])
    assert await group_of(lighting, "imported") == "default"


async def test_a_group_given_by_name_comes_before_every_rule(lighting: Lighting):
    await group(lighting, "market", streets=["Am Markt"])
    await lighting.planner.CreateGroup(pb.CreateGroupRequest(parent=T, group_id="named", group=inv.Group()))
    named = await lamp(lighting, "named", street="Am Markt", group=f"{T}/groups/named")
    assert (named.group, named.group_by_rule) == (f"{T}/groups/named", False)
    await lighting.import_lines(luminaire_ids=["a", "b"], streets=["Am Markt"] * 2, group_ids=["default", ""])
    assert (await group_of(lighting, "a"), await group_of(lighting, "b")) == ("default", "market")
    # What is known by name stays so when other things change, and is let go of by an empty name.
    await update(lighting, "named", pole="7")
    assert await group_of(lighting, "named") == "named"
    assert (await update(lighting, "named", group="")).group == f"{T}/groups/market"
    # To write a luminaire back as it was read does not tie it to its group.
    read = await lighting.planner.GetLuminaire(pb.GetLuminaireRequest(name=f"{T}/luminaires/named"))
    read.pole = "8"
    assert (await lighting.planner.UpdateLuminaire(pb.UpdateLuminaireRequest(luminaire=read))).group_by_rule
    assert not (await update(lighting, "named", group=f"{T}/groups/market")).group_by_rule


async def test_ranks_classes_models_areas_and_cabinets(lighting: Lighting):
    await lighting.street()
    await lighting.street(2)
    await lighting.planner.CreateLuminaireModel(model_request("OLD"))
    await group(lighting, "by-class", rank=3, lighting_classes=["P4"])
    await group(lighting, "by-model", rank=2, models=[f"{T}/luminaireModels/OLD"])
    await group(lighting, "by-area", rank=1, polygon=NORTH)
    await group(lighting, "by-cabinet", rank=4, cabinets=[f"{T}/cabinets/C-2"])
    assert await group_of(lighting, "L-1-0") == "default"
    assert await group_of(lighting, "L-2-0") == "by-cabinet"
    everything = {
        "lighting_class": "P4", "model": f"{T}/luminaireModels/OLD",
        "position": Position(latitude_deg=51, longitude_deg=9.5),
    }  # fmt: skip
    assert (await lamp(lighting, "x", **everything)).group == f"{T}/groups/by-area"
    assert (await update(lighting, "x", position=Position(latitude_deg=50, longitude_deg=9.5))).group.endswith("model")
    assert (await update(lighting, "x", model="")).group.endswith("by-class")
    assert (await update(lighting, "x", lighting_class="M4")).group.endswith("default")
    # A feeder that is moved to another cabinet takes its lamps along.
    await lighting.planner.UpdateFeeder(
        pb.UpdateFeederRequest(
            feeder=inv.Feeder(name=f"{T}/feeders/F-1", cabinet=f"{T}/cabinets/C-2", channel=1),
            update_mask=FieldMask(paths=["cabinet", "channel"]),
        )
    )
    assert await group_of(lighting, "L-1-0") == "by-cabinet"


async def test_a_rule_that_changes_or_goes_moves_its_members_and_the_past_stays(lighting: Lighting):
    await group(lighting, "first", rank=1, streets=["Am Markt"])
    await group(lighting, "second", rank=2, streets=["Am Markt", "Weinstraße"])
    await lamp(lighting, "m", street="Am Markt")
    await lamp(lighting, "w", street="Weinstraße")
    then = stamp(lighting.clock.now())
    await lighting.passes(1)
    changed = await lighting.planner.UpdateGroup(
        pb.UpdateGroupRequest(
            group=inv.Group(name=f"{T}/groups/first", rule=inv.GroupRule(rank=1, streets=["Weinstraße"])),
            update_mask=FieldMask(paths=["rule"]),
        )
    )
    assert changed.luminaire_count == 1
    assert (await group_of(lighting, "m"), await group_of(lighting, "w")) == ("second", "first")
    past = await lighting.planner.GetLuminaire(pb.GetLuminaireRequest(name=f"{T}/luminaires/m", at=then))
    assert past.group == f"{T}/groups/first"
    old = await lighting.planner.GetGroup(pb.GetGroupRequest(name=f"{T}/groups/first", at=then))
    assert list(old.rule.streets) == ["Am Markt"]
    await lighting.planner.DeleteGroup(pb.DeleteGroupRequest(name=f"{T}/groups/second"))
    assert await group_of(lighting, "m") == "default"
    await lighting.planner.UpdateGroup(
        pb.UpdateGroupRequest(group=inv.Group(name=f"{T}/groups/first"), update_mask=FieldMask(paths=["rule"]))
    )
    assert await group_of(lighting, "w") == "default"


async def test_a_dry_run_tells_what_a_rule_would_move(light: Lighting):
    await group(light, "market", streets=["Am Markt"])
    await light.import_lines(luminaire_ids=["a"], streets=["Am Markt"])
    again = await light.import_lines(luminaire_ids=["a"], streets=["Am Markt"], group_ids=[""], dry_run=True)
    assert (again.unchanged, again.updated) == (1, 0)
    other = await light.import_lines(luminaire_ids=["a"], streets=["Weinstraße"], dry_run=True)
    assert (other.unchanged, other.updated) == (0, 1)
    assert await group_of(light, "a") == "market"


async def test_what_a_rule_names_is_not_deleted(light: Lighting):
    await light.planner.CreateLuminaireModel(model_request("OLD"))
    await group(light, "old", models=[f"{T}/luminaireModels/OLD"])
    with pytest.raises(FailedPrecondition, match="named by the rule of group old"):
        await light.planner.DeleteLuminaireModel(pb.DeleteLuminaireModelRequest(name=f"{T}/luminaireModels/OLD"))


async def test_refusals_name_the_condition_and_the_reason(light: Lighting):
    crossed = [NORTH[0], NORTH[2], NORTH[1], NORTH[3]]
    for rule, field, reason in (
        ({}, "group.rule", "no condition"),
        ({"rank": 4}, "group.rule", "no condition"),
        ({"rank": -1, "streets": ["a"]}, "group.rule.rank", ""),
        ({"streets": [" "]}, "group.rule.streets[0]", "empty"),
        ({"lighting_classes": ["P4", "P9"]}, "group.rule.lighting_classes[1]", ""),
        ({"lighting_classes": [""]}, "group.rule.lighting_classes[0]", ""),
        ({"models": [f"{T}/luminaireModels/x"]}, "group.rule.models[0]", "does not exist"),
        ({"cabinets": [f"{T}/cabinets/x"]}, "group.rule.cabinets[0]", "does not exist"),
        ({"polygon": NORTH[:2]}, "group.rule.polygon[1]", "at least 3"),
        ({"polygon": crossed}, "group.rule.polygon[2]", "crosses"),
        ({"polygon": [*NORTH, Position(latitude_deg=91)]}, "group.rule.polygon[4].latitude_deg", ""),
    ):  # fmt: skip
        with pytest.raises(InvalidInput) as caught:
            await group(light, "x", **rule)
        found = {violation.field: violation.reason for violation in caught.value.violations}
        assert field in found, (field, found)
        assert reason in found[field]
    with pytest.raises(InvalidInput, match="takes what no rule takes"):
        await group(light, "default", streets=["a"])
    await light.street(lamps=1)
    with pytest.raises(InvalidInput, match="takes what no rule takes"):
        await light.planner.UpdateGroup(
            pb.UpdateGroupRequest(
                group=inv.Group(name=f"{T}/groups/default", rule=inv.GroupRule(streets=["a"])),
                update_mask=FieldMask(paths=["rule"]),
            )
        )
