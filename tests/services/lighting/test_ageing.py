"""What an inventory says of ageing light sources and of foreign loads: kept, shown, versioned, refused by field."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from domain.errors import InvalidInput
from domain.level import PowerCurve
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from lichtbuch.lighting.v1.loads_pb2 import DescribeGroupLoadsRequest
from services.lighting.store.burning import burning_of_all
from services.lighting.store.gear_tables import GearLifeRow
from services.lighting.store.gears import LifeState
from tests.services.lighting.running import HERSFELD, LEDGER, Lighting, T, at, model_request, stamp

# The example of constant light output in TALQ.
CLO = [
    inv.CloPoint(burning_hours=hours, output_permille=output)
    for hours, output in ((0, 800), (5000, 850), (10_000, 900), (15_000, 950), (20_000, 1000))
]
CURVE = PowerCurve(((100, 330), (500, 610), (1000, 1000)), 22.8, 0.3)
"""Of the street's model, and of those here."""
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


async def keeps_light_constant(light: Lighting, least: int = 0) -> list[str]:
    """A street of four lamps of a model whose light Lichtbuch keeps constant; names of the lamps."""
    names = await light.street()
    request = model_request("CLO", clo=CLO, clo_by=inv.CLO_BY_LICHTBUCH, least_level_permille=least)
    await light.planner.CreateLuminaireModel(request)
    for name in names:
        await change(light, name, model=f"{T}/luminaireModels/CLO")
    return names


async def change(light: Lighting, name: str, **fields: Any) -> None:
    """A planner changes fields of a luminaire."""
    lamp = inv.Luminaire(name=name, **fields)
    await light.planner.UpdateLuminaire(
        pb.UpdateLuminaireRequest(luminaire=lamp, update_mask=FieldMask(paths=list(fields)))
    )


async def test_young_light_sources_are_told_less_and_their_energy_is_that_of_what_they_are_told(light: Lighting):
    names = await keeps_light_constant(light)
    await change(light, names[1], initial_burning_hours=12_000)
    await change(light, names[2], virtual_output_permille=500)
    await light.put_plan((0, 0), (5, 1000), (19.2, 0))
    await light.known()
    await light.to(6)
    states = await light.states()
    assert list(states.due_permille) == list(states.actual_permille) == [1000] * 4
    assert list(states.written_permille) == list(states.driven_permille) == [800, 900, 400, 800]
    assert light.town.levels(1) == [800, 900, 400, 800]
    assert not any(states.faults)
    energy = await light.as_(LEDGER).ComputeEnergy(
        pb.ComputeEnergyRequest(parent=T, start_time=at(5.5), end_time=at(6))
    )
    expected = [round(CURVE.power_w(level) * 500) for level in (800, 900, 400, 800)]
    assert list(energy.energies.energies_mwh) == expected


async def test_a_driver_that_keeps_light_constant_itself_is_told_what_is_due_and_draws_less(light: Lighting):
    names = await light.street()
    for by in (inv.CLO_BY_DRIVER, inv.CLO_BY_UNSPECIFIED):
        await light.planner.CreateLuminaireModel(model_request(f"M-{by}", clo=CLO, clo_by=by))
        await change(light, names[int(by)], model=f"{T}/luminaireModels/M-{by}")
    await light.known()
    await light.to(6)
    states = await light.states()
    assert list(states.written_permille) == list(states.driven_permille) == list(states.actual_permille) == [1000] * 4
    energy = await light.as_(LEDGER).ComputeEnergy(
        pb.ComputeEnergyRequest(parent=T, start_time=at(5.5), end_time=at(6))
    )
    full, young = (round(CURVE.power_w(level) * 500) for level in (1000, 800))
    by_driver = int(inv.CLO_BY_DRIVER)
    assert list(energy.energies.energies_mwh) == [young if row == by_driver else full for row in range(4)]
    loads = await light.planner.DescribeGroupLoads(DescribeGroupLoadsRequest(parent=T))
    power_w = sum(part.powers_w[-1] for load in loads.loads for part in load.parts)
    assert power_w == pytest.approx(3 * CURVE.power_w(1000) + CURVE.power_w(800))


async def drivers_say(light: Lighting, hours: dict[str, int]) -> None:
    """Counters of the drivers in luminaires."""
    uids = {lamp.id: lamp.uid for lamp in light.parts.memory.known.inventory.luminaires}
    rows = [
        GearLifeRow(
            uid=uids[identifier], municipality_uid=HERSFELD.uid, luminaire_uid=uids[identifier], number=1,
            state=int(LifeState.FIRST), first_s=0, last_s=count * 3600,
        )
        for identifier, count in hours.items()
    ]  # fmt: skip
    await light.parts.database.run(lambda session: session.add_all(rows))


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Returns when a condition holds."""
    async with asyncio.timeout(60):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.1)


async def hours(light: Lighting, count: int) -> None:
    """Goes on, with a pass at each hour and some at the end."""
    await light.passes(count, 3600)
    await light.passes(4)


async def test_hours_are_counted_each_noon_from_what_was_seen_lit_or_what_drivers_report(light: Lighting):
    names = await keeps_light_constant(light)
    for name in names[:3]:
        await change(light, name, initial_burning_hours=4_990)  # the light of one night is enough for 5 000 h
    await light.known()

    async def is_counted() -> bool:
        return len(await light.parts.database.read(burning_of_all)) == 4

    await until(is_counted)  # the night before
    await drivers_say(light, {"L-1-1": 10_000, "L-1-2": 100})
    await hours(light, 6)
    assert list((await light.states()).written_permille) == [800] * 4
    await hours(light, 12)
    assert list((await light.states()).written_permille) == [800] * 4, "never while they are lit"
    await hours(light, 6)

    expected = [850, 900, 800, 800]

    async def is_known() -> bool:
        await light.parts.memory.refresh()
        luminaires = light.parts.memory.known.inventory.luminaires
        return sorted(lamp.output_permille for lamp in luminaires) == sorted(expected)

    await until(is_known)
    await hours(light, 6)
    assert list((await light.states()).written_permille) == expected
    assert light.town.levels(1) == expected
    assert not any((await light.states()).faults)


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
    with pytest.raises(InvalidInput, match="clo_by"):
        await light.planner.CreateLuminaireModel(model_request("X", clo_by=inv.CLO_BY_LICHTBUCH))
    with pytest.raises(InvalidInput, match="virtual_output_permille"):
        await light.planner.CreateLuminaire(
            pb.CreateLuminaireRequest(parent=T, luminaire=inv.Luminaire(virtual_output_permille=1001))
        )
