"""The inventory over gRPC: created, found, changed, deleted, and refused with field and reason."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from domain.errors import AlreadyExists, Conflict, FailedPrecondition, InvalidInput, NotFound, NotPermitted
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from lichtbuch.type.v1.types_pb2 import Date, Position
from tests.services.lighting.running import FITTER, OTHER, Lighting, T, model_request


def fields(error: InvalidInput) -> dict[str, str]:
    return {violation.field: violation.reason for violation in error.violations}


async def test_what_was_created_is_found_again_with_names_for_its_references(lighting: Lighting):
    names = await lighting.street()
    viewer = lighting.as_("viewer")
    lamp = await viewer.GetLuminaire(pb.GetLuminaireRequest(name=names[2]))
    assert (lamp.feeder, lamp.gateway, lamp.gateway_address) == (f"{T}/feeders/F-1", f"{T}/gateways/G-1", 2)
    assert (lamp.model, lamp.group, lamp.cabinet) == (
        f"{T}/luminaireModels/LED-23", f"{T}/groups/default", f"{T}/cabinets/C-1",
    )  # fmt: skip
    cabinet = await viewer.GetCabinet(pb.GetCabinetRequest(name=f"{T}/cabinets/C-1"))
    assert cabinet.controller == f"{T}/endpoints/E-c1"
    assert cabinet.switching_owner == inv.SWITCHING_OWNER_LICHTBUCH
    group = await viewer.GetGroup(pb.GetGroupRequest(name=f"{T}/groups/default"))
    assert (group.luminaire_count, group.floor_permille, group.has_conflict_area) == (4, 400, False)
    assert abs(group.position.longitude_deg - 9.7085) < 1e-9


async def test_every_change_is_in_the_audit_trail_with_who_and_before_and_after(lighting: Lighting):
    names = await lighting.street()
    await lighting.planner.UpdateLuminaire(
        pb.UpdateLuminaireRequest(
            luminaire=inv.Luminaire(name=names[0], pole="17"), update_mask=FieldMask(paths=["pole"])
        )
    )
    await lighting.planner.DeleteLuminaire(pb.DeleteLuminaireRequest(name=names[0], reason="pole removed"))
    deleted, changed = (await lighting.trail(names[0]))[:2]
    assert (changed.actor, changed.action.rpartition("/")[2]) == ("planner", "UpdateLuminaire")
    assert '"pole":"17"' not in changed.before_json
    assert '"pole":"17"' in changed.after_json
    assert (deleted.reason, deleted.after_json) == ("pole removed", "")
    imports = [r for r in await lighting.trail() if r.action.endswith("ImportLuminaires")]
    assert '"created":4' in imports[0].after_json


async def test_an_update_changes_what_its_mask_names_and_refuses_an_old_version(lighting: Lighting):
    names = await lighting.street()
    planner = lighting.planner
    old = await planner.GetLuminaire(pb.GetLuminaireRequest(name=names[0]))
    given = inv.Luminaire(
        name=names[0], street="Weinstraße", floor_permille=500, installed_on=Date(year=2024, month=5, day=31),
        previous=inv.PreviousOperation(lamp_power_w=80, ballast_power_w=9, half_night=True), etag=old.etag,
    )  # fmt: skip
    mask = FieldMask(paths=["street", "installed_on", "previous"])
    new = await planner.UpdateLuminaire(pb.UpdateLuminaireRequest(luminaire=given, update_mask=mask))
    assert (new.street, new.floor_permille, new.gateway) == ("Weinstraße", 400, old.gateway)
    assert new.previous.half_night
    assert new.etag != old.etag
    with pytest.raises(Conflict):
        await planner.UpdateLuminaire(pb.UpdateLuminaireRequest(luminaire=given, update_mask=mask))
    again = inv.Luminaire(name=names[0], street="Weinstraße")
    same = await planner.UpdateLuminaire(
        pb.UpdateLuminaireRequest(luminaire=again, update_mask=FieldMask(paths=["street"]))
    )
    assert same.etag == new.etag  # nothing changed, so it is no new version


async def test_a_request_id_makes_creating_safe_to_repeat(lighting: Lighting):
    request = model_request("LED-9", display_name="nine")
    request.request_id = "r-1"
    first = await lighting.planner.CreateLuminaireModel(request)
    assert await lighting.planner.CreateLuminaireModel(request) == first
    request.luminaire_model.display_name = "ten"
    with pytest.raises(InvalidInput, match="request_id"):
        await lighting.planner.CreateLuminaireModel(request)
    with pytest.raises(AlreadyExists):
        await lighting.planner.CreateLuminaireModel(model_request("LED-9"))


async def test_what_is_there_already_exists_whatever_else_it_would_be_in_the_way_of(lighting: Lighting):
    names = await lighting.street(lamps=1)
    lamp = await lighting.planner.GetLuminaire(pb.GetLuminaireRequest(name=names[0]))
    feeder = inv.Feeder(cabinet=f"{T}/cabinets/C-1", channel=0, supply=inv.FEEDER_SUPPLY_SWITCHED)
    with pytest.raises(AlreadyExists, match="feeders/F-1"):  # not: its contactor is taken, by itself
        await lighting.planner.CreateFeeder(pb.CreateFeederRequest(parent=T, feeder_id="F-1", feeder=feeder))
    copy = inv.Luminaire(model=lamp.model, feeder=lamp.feeder, gateway=lamp.gateway, gateway_address=0)
    copy.position.CopyFrom(lamp.position)
    with pytest.raises(AlreadyExists, match=names[0]):
        request = pb.CreateLuminaireRequest(parent=T, luminaire_id="L-1-0", luminaire=copy)
        await lighting.planner.CreateLuminaire(request)


async def test_pages_neither_skip_nor_repeat(lighting: Lighting):
    await lighting.street(lamps=7)
    seen, token = [], ""
    while True:
        answer = await lighting.as_("viewer").ListLuminaires(
            pb.ListLuminairesRequest(parent=T, page_size=3, page_token=token, cabinet=f"{T}/cabinets/C-1")
        )
        seen += [lamp.name for lamp in answer.luminaires]
        token = answer.next_page_token
        if not token:
            break
    assert seen == [f"{T}/luminaires/L-1-{n}" for n in range(7)]
    none = await lighting.as_("viewer").ListLuminaires(pb.ListLuminairesRequest(parent="municipalities/-"))
    assert len(none.luminaires) == 7


async def test_what_others_refer_to_is_not_deleted_and_a_deleted_name_is_free_again(lighting: Lighting):
    names = await lighting.street(lamps=1)
    planner = lighting.planner
    for call, request, what in (
        ("DeleteCabinet", pb.DeleteCabinetRequest(name=f"{T}/cabinets/C-1"), "1 feeders"),
        ("DeleteFeeder", pb.DeleteFeederRequest(name=f"{T}/feeders/F-1"), "1 luminaires"),
        ("DeleteGateway", pb.DeleteGatewayRequest(name=f"{T}/gateways/G-1"), "1 luminaires"),
        ("DeleteGroup", pb.DeleteGroupRequest(name=f"{T}/groups/default"), "1 luminaires"),
        ("DeleteLuminaireModel", pb.DeleteLuminaireModelRequest(name=f"{T}/luminaireModels/LED-23"), "1 luminaires"),
    ):
        with pytest.raises(FailedPrecondition, match=f"still has {what}"):
            await getattr(planner, call)(request)
    await planner.DeleteLuminaire(pb.DeleteLuminaireRequest(name=names[0]))
    with pytest.raises(NotFound):
        await planner.GetLuminaire(pb.GetLuminaireRequest(name=names[0]))
    await planner.DeleteGateway(pb.DeleteGatewayRequest(name=f"{T}/gateways/G-1"))
    again = inv.Luminaire(feeder=f"{T}/feeders/F-1")
    await planner.CreateLuminaire(pb.CreateLuminaireRequest(parent=T, luminaire_id="L-1-0", luminaire=again))


async def test_two_luminaires_at_one_address_are_refused(lighting: Lighting):
    await lighting.street(lamps=2)
    lamp = inv.Luminaire(gateway=f"{T}/gateways/G-1", gateway_address=1)
    with pytest.raises(InvalidInput, match=r"luminaire\.gateway_address.*L-1-1 already"):
        await lighting.planner.CreateLuminaire(pb.CreateLuminaireRequest(parent=T, luminaire=lamp))
    moved = inv.Luminaire(name=f"{T}/luminaires/L-1-0", gateway_address=1)
    with pytest.raises(InvalidInput, match="L-1-1 already"):
        await lighting.planner.UpdateLuminaire(
            pb.UpdateLuminaireRequest(luminaire=moved, update_mask=FieldMask(paths=["gateway_address"]))
        )


async def test_bad_input_names_field_and_reason(light: Lighting):
    await light.street()
    planner = light.planner
    cases = [
        (planner.CreateFeeder, pb.CreateFeederRequest(parent=T, feeder=inv.Feeder(
            cabinet=f"{T}/cabinets/C-9", supply=inv.FEEDER_SUPPLY_SWITCHED)), "feeder.cabinet"),
        (planner.CreateFeeder, pb.CreateFeederRequest(parent=T, feeder=inv.Feeder(cabinet=f"{T}/cabinets/C-1")),
         "feeder.supply"),
        (planner.CreateGateway, pb.CreateGatewayRequest(parent=T, gateway=inv.Gateway(
            cabinet=f"{T}/cabinets/C-1", endpoint=f"{T}/endpoints/E-x")), "gateway.endpoint"),
        (planner.CreateCabinet, pb.CreateCabinetRequest(parent=T, cabinet=inv.Cabinet(
            switching_owner=inv.SWITCHING_OWNER_LICHTBUCH)), "cabinet.switching_owner"),
        (planner.CreateLuminaireModel, model_request("X", curve=[inv.CurvePoint(level_permille=500, power_permille=1)]),
         "luminaire_model.curve"),
        (planner.CreateLuminaireModel, model_request("X", rated_power_w=0), "luminaire_model.rated_power_w"),
        (planner.CreateLuminaire, pb.CreateLuminaireRequest(parent=T, luminaire=inv.Luminaire(
            position=Position(latitude_deg=91))), "luminaire.position.latitude_deg"),
        (planner.CreateLuminaire, pb.CreateLuminaireRequest(parent=T, luminaire=inv.Luminaire(lighting_class="P9")),
         "luminaire.lighting_class"),
        (planner.CreateLuminaire, pb.CreateLuminaireRequest(parent=T, luminaire=inv.Luminaire(
            installed_on=Date(year=2024, month=2, day=30))), "luminaire.installed_on"),
        (planner.CreateLuminaire, pb.CreateLuminaireRequest(parent=T, luminaire=inv.Luminaire(
            group=f"{OTHER}/groups/default")), "luminaire.group"),
        (planner.CreateLuminaire, pb.CreateLuminaireRequest(
            parent=T, luminaire_id="a/b", luminaire=inv.Luminaire(pole="1")), "luminaire_id"),
    ]  # fmt: skip
    for call, request, field in cases:
        with pytest.raises(InvalidInput) as caught:
            await call(request)
        assert field in fields(caught.value), (field, caught.value)


async def test_nobody_sees_or_changes_another_town(light: Lighting):
    await light.street()
    with pytest.raises(NotPermitted):
        await light.as_("stranger").ListLuminaires(pb.ListLuminairesRequest(parent=T))
    with pytest.raises(NotPermitted):
        await light.as_("viewer").DeleteLuminaire(pb.DeleteLuminaireRequest(name=f"{T}/luminaires/L-1-0"))
    both = await light.as_("both").ListLuminaires(pb.ListLuminairesRequest(parent=OTHER))
    assert list(both.luminaires) == []


async def test_a_fitter_sees_what_hangs_on_the_named_cabinets_only(lighting: Lighting):
    first = await lighting.street(1)
    second = await lighting.street(2)
    fitter = lighting.as_(FITTER)
    seen = await fitter.ListLuminaires(pb.ListLuminairesRequest(parent=T))
    assert [lamp.name for lamp in seen.luminaires] == first
    cabinets = await fitter.ListCabinets(pb.ListCabinetsRequest(parent=T))
    assert [cabinet.name for cabinet in cabinets.cabinets] == [f"{T}/cabinets/C-1"]
    assert (await fitter.GetFeeder(pb.GetFeederRequest(name=f"{T}/feeders/F-1"))).channel == 0
    for call, request in (
        (fitter.GetLuminaire, pb.GetLuminaireRequest(name=second[0])),
        (fitter.GetCabinet, pb.GetCabinetRequest(name=f"{T}/cabinets/C-2")),
        (fitter.GetGateway, pb.GetGatewayRequest(name=f"{T}/gateways/G-2")),
    ):
        with pytest.raises(NotPermitted):
            await call(request)
    await lighting.known()
    states = await fitter.QueryLuminaireStates(pb.QueryLuminaireStatesRequest(parent=T))
    assert list(states.states.names) == first


async def test_groups_of_gear_and_inrush_steps_are_kept_and_reach_control(lighting: Lighting):
    await lighting.street()
    planner = lighting.planner
    groups = [inv.GearGroup(number=17, addresses=[66, 64]), inv.GearGroup(number=3, addresses=[2, 1])]
    gateway = await planner.UpdateGateway(
        pb.UpdateGatewayRequest(
            gateway=inv.Gateway(name=f"{T}/gateways/G-1", gear_groups=groups),
            update_mask=FieldMask(paths=["gear_groups"]),
        )
    )
    assert [(g.number, list(g.addresses)) for g in gateway.gear_groups] == [(3, [1, 2]), (17, [64, 66])]
    for kind, name in (("Cabinet", "cabinets/C-1"), ("Feeder", "feeders/F-1")):
        resource = getattr(inv, kind)(name=f"{T}/{name}", inrush_step_ms=0)
        request = getattr(pb, f"Update{kind}Request")(
            **{kind.lower(): resource}, update_mask=FieldMask(paths=["inrush_step_ms"])
        )
        assert (await getattr(planner, f"Update{kind}")(request)).HasField("inrush_step_ms")
    await lighting.parts.memory.refresh()
    inventory = lighting.parts.memory.known.inventory
    assert inventory.gateways[0].gear_groups == ((3, (1, 2)), (17, (64, 66)))
    assert (inventory.cabinets[0].inrush_step_ms, inventory.feeders[0].inrush_step_ms) == (0, 0)


@pytest.mark.parametrize(
    ("groups", "field", "reason"),
    [
        ([(3, [1]), (3, [2])], "gateway.gear_groups[1].number", "3 is there twice"),
        ([(3, [1, 2, 1])], "gateway.gear_groups[0].addresses", "one is there twice"),
    ],
)
async def test_groups_of_gear_that_make_no_sense_are_refused(lighting: Lighting, groups, field: str, reason: str):
    await lighting.street()
    given = [inv.GearGroup(number=number, addresses=addresses) for number, addresses in groups]
    with pytest.raises(InvalidInput) as refused:
        await lighting.planner.UpdateGateway(
            pb.UpdateGatewayRequest(
                gateway=inv.Gateway(name=f"{T}/gateways/G-1", gear_groups=given),
                update_mask=FieldMask(paths=["gear_groups"]),
            )
        )
    assert fields(refused.value) == {field: reason}
