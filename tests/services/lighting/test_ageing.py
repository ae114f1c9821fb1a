"""What an inventory says of ageing light sources and of foreign loads: kept, shown, versioned, refused by field."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from domain.errors import InvalidInput
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from tests.services.lighting.running import Lighting, T, model_request, stamp

# The example of constant light output in TALQ.
CLO = [
    inv.CloPoint(burning_hours=hours, output_permille=output)
    for hours, output in ((0, 800), (5000, 850), (10_000, 900), (15_000, 950), (20_000, 1000))
]
CHRISTMAS = inv.ForeignLoad(display_name="Christmas lights", power_w=1200, from_month=11, to_month=1)


async def test_constant_light_output_virtual_output_and_hours_are_kept_and_change_by_version(lighting: Lighting):
    names = await lighting.street()
    model = await lighting.planner.CreateLuminaireModel(model_request("CLO", clo=CLO))
    assert list(model.clo) == CLO
    before = stamp(lighting.clock.now())
    await lighting.passes(1)
    changed = await lighting.planner.UpdateLuminaire(
        pb.UpdateLuminaireRequest(
            luminaire=inv.Luminaire(name=names[0], virtual_output_permille=850, initial_burning_hours=12_000),
            update_mask=FieldMask(paths=["virtual_output_permille", "initial_burning_hours"]),
        )
    )
    assert (changed.virtual_output_permille, changed.initial_burning_hours) == (850, 12_000)
    then = await lighting.planner.GetLuminaire(pb.GetLuminaireRequest(name=names[0], at=before))
    assert (then.virtual_output_permille, then.initial_burning_hours) == (0, 0)
    await lighting.import_lines(luminaire_ids=["L-1-0"], poles=["7"])
    kept = await lighting.planner.GetLuminaire(pb.GetLuminaireRequest(name=names[0]))
    assert (kept.pole, kept.virtual_output_permille, kept.initial_burning_hours) == ("7", 850, 12_000)


async def test_foreign_loads_stay_with_their_cabinet(lighting: Lighting):
    await lighting.street()
    changed = await lighting.planner.UpdateCabinet(
        pb.UpdateCabinetRequest(
            cabinet=inv.Cabinet(name=f"{T}/cabinets/C-1", foreign_loads=[CHRISTMAS]),
            update_mask=FieldMask(paths=["foreign_loads"]),
        )
    )
    assert list(changed.foreign_loads) == [CHRISTMAS]
    again = await lighting.as_("viewer").GetCabinet(pb.GetCabinetRequest(name=f"{T}/cabinets/C-1"))
    assert again == changed
    assert again.controller


async def test_refusals_name_field_and_reason(light: Lighting):
    def point(hours: int, output: int) -> inv.CloPoint:
        return inv.CloPoint(burning_hours=hours, output_permille=output)

    for clo, field in (
        ([point(0, 800), point(0, 900)], "luminaire_model.clo[1].burning_hours"),
        ([point(0, 800), point(10, 700)], "luminaire_model.clo[1].output_permille"),
        ([point(0, 0)], "luminaire_model.clo[0].output_permille"),
        ([point(-1, 800)], "luminaire_model.clo[0].burning_hours"),
    ):
        with pytest.raises(InvalidInput) as caught:
            await light.planner.CreateLuminaireModel(model_request("X", clo=clo))
        assert field in [violation.field for violation in caught.value.violations]
    for load, field in (
        (inv.ForeignLoad(power_w=1, from_month=1, to_month=2), "display_name"),
        (inv.ForeignLoad(display_name="a", from_month=1, to_month=2), "power_w"),
        (inv.ForeignLoad(display_name="a", power_w=5, from_month=13, to_month=2), "from_month"),
        (inv.ForeignLoad(display_name="a", power_w=5, from_month=1), "to_month"),
    ):
        with pytest.raises(InvalidInput) as caught:
            await light.planner.CreateCabinet(
                pb.CreateCabinetRequest(parent=T, cabinet=inv.Cabinet(foreign_loads=[load]))
            )
        assert f"cabinet.foreign_loads[0].{field}" in [violation.field for violation in caught.value.violations]
    with pytest.raises(InvalidInput, match="virtual_output_permille"):
        await light.planner.CreateLuminaire(
            pb.CreateLuminaireRequest(parent=T, luminaire=inv.Luminaire(virtual_output_permille=1001))
        )
