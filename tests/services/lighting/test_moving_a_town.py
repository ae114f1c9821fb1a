"""A town moves by file: what one service exports another one takes in, and exports again as it was."""

# ruff: noqa: E501 - a row of a table stays on its line

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cli.commands import exports
from cli.commands.exports import Source
from domain.errors import InvalidInput
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from lichtbuch.type.v1.types_pb2 import Date, Position
from services.lighting.store.tables import LightingTable
from tests.services.lighting.running import OTHER, Lighting, T, model_request, running_lighting
from tests.services.lighting.test_export import Town, taken_in
from tests.support.issuer import Issuer
from tests.support.refusing import everything


@pytest.fixture
async def elsewhere(issuer: Issuer, sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Lighting]:
    """Another lighting service, with nothing in it."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copy(sqlite_template, folder / "lighting.db")
    async with running_lighting(issuer, f"sqlite:///{folder}/lighting.db", folder) as running:
        yield running


async def town(light: Lighting) -> None:
    """Cabinets with and without a place, feeders, models, groups by name and by rule, lamps with much and with little."""
    planner = light.planner
    here = Position(latitude_deg=50.868, longitude_deg=9.707)
    load = inv.ForeignLoad(display_name="Christmas lights", power_w=500.5, from_month=11, to_month=1)
    for identifier, cabinet in (
        ("C-1", inv.Cabinet(display_name="Am Markt", street="Markt", position=here, foreign_loads=[load],
                            switching_owner=inv.SWITCHING_OWNER_RIPPLE_CONTROL, inrush_step_ms=0)),
        ("C-2", inv.Cabinet(switching_owner=inv.SWITCHING_OWNER_PHOTOCELL)),
    ):  # fmt: skip
        await planner.CreateCabinet(pb.CreateCabinetRequest(parent=T, cabinet_id=identifier, cabinet=cabinet))
    for number, reduction in ((1, inv.REDUCTION_HALF_NIGHT_CONDUCTOR), (2, inv.REDUCTION_UNSPECIFIED)):
        feeder = inv.Feeder(
            cabinet=f"{T}/cabinets/C-{number}", channel=3, phase=2, supply=inv.FEEDER_SUPPLY_SWITCHED,
            reduction=reduction, inrush_step_ms=250,
        )  # fmt: skip
        await planner.CreateFeeder(pb.CreateFeederRequest(parent=T, feeder_id=f"F-{number}", feeder=feeder))
    clo = [inv.CloPoint(burning_hours=0, output_permille=800), inv.CloPoint(burning_hours=9000, output_permille=1000)]
    await planner.CreateLuminaireModel(
        model_request("LED-23", clo=clo, luminous_flux_lm=2950, colour_temperature_k=3000)
    )
    rule = inv.GroupRule(
        rank=7, streets=["Markt", "Käsergasse"], models=[f"{T}/luminaireModels/LED-23"], cabinets=[f"{T}/cabinets/C-1"]
    )
    for identifier, group in (("market", inv.Group(display_name="The market", rule=rule)), ("north", inv.Group())):
        await planner.CreateGroup(pb.CreateGroupRequest(parent=T, group_id=identifier, group=group))
    for identifier, lamp in (
        ("full", inv.Luminaire(
            pole="=7", street="Markt", position=here, model=f"{T}/luminaireModels/LED-23", feeder=f"{T}/feeders/F-1",
            lighting_class="P4", floor_permille=333, conflict_area=True, installed_on=Date(year=2024, month=5, day=31),
            installed_power_w=22.123456789012, lamp_technology="LED/HPS", reduction=inv.REDUCTION_STORED_PROFILE,
            previous=inv.PreviousOperation(lamp_power_w=80, ballast_power_w=9.25, half_night=True),
            virtual_output_permille=850, initial_burning_hours=4200,
        )),
        ("named", inv.Luminaire(group=f"{T}/groups/north", feeder=f"{T}/feeders/F-2", position=here)),
        ("bare", inv.Luminaire(position=Position(latitude_deg=50.87, longitude_deg=9.71))),
    ):  # fmt: skip
        await planner.CreateLuminaire(pb.CreateLuminaireRequest(parent=T, luminaire_id=identifier, luminaire=lamp))


async def exported(light: Lighting, file: Path, form: str) -> Any:
    """What is exported, and the file with it."""
    session: Any = Town(light)
    with file.open("w", encoding="utf-8", newline="") as stream:
        await exports.WRITERS[exports.Format(form)](Source(session, T, None), stream)
    content = await asyncio.to_thread(file.read_text, encoding="utf-8")
    return content if form == "csv" else json.loads(content)


async def told(light: Lighting, listing: str, request: Any, field: str) -> list[Any]:
    """Resources without what belongs to one service only."""
    found = list(getattr(await getattr(light.planner, listing)(request(parent=T)), field))
    for message in found:
        message.ClearField("uid")
        message.ClearField("etag")
    return found


async def test_a_town_that_moves_is_the_same_town_in_every_format(light: Lighting, elsewhere: Lighting, tmp_path: Path):
    await town(light)
    sent = {form: await exported(light, tmp_path / f"town.{form}", form) for form in ("fiware", "csv", "geojson")}
    (tmp_path / "town.fiware").rename(tmp_path / "town.json")
    report = await taken_in(elsewhere, tmp_path / "town.json")
    assert (report.created, report.parts_created, report.committed) == (3, 8, True), report
    for form, content in sent.items():
        assert await exported(elsewhere, tmp_path / f"again.{form}", form) == content
    for name in ("town.json", "town.csv", "town.geojson"):
        again = await taken_in(elsewhere, tmp_path / name)
        assert (again.created, again.updated, again.parts_updated, again.parts_created) == (0, 0, 0, 0)
    for listing, request, field in (
        ("ListCabinets", pb.ListCabinetsRequest, "cabinets"), ("ListFeeders", pb.ListFeedersRequest, "feeders"),
        ("ListGroups", pb.ListGroupsRequest, "groups"), ("ListLuminaires", pb.ListLuminairesRequest, "luminaires"),
        ("ListLuminaireModels", pb.ListLuminaireModelsRequest, "luminaire_models"),
    ):  # fmt: skip
        was, came = [await told(service, listing, request, field) for service in (light, elsewhere)]
        assert was == came


async def test_what_is_changed_in_the_file_is_changed_and_kept_with_its_reason(lighting: Lighting, tmp_path: Path):
    await town(lighting)
    entities = await exported(lighting, tmp_path / "town.json", "fiware")
    for entity in entities:
        if entity["type"] == "StreetlightControlCabinet" and entity["id"].endswith("C-1"):
            entity["lichtbuch"]["street"] = "Marktplatz"
        if entity["type"] == "StreetlightGroup" and entity["id"].endswith("market"):
            del entity["lichtbuch"]["rule"]
    await asyncio.to_thread((tmp_path / "town.json").write_text, json.dumps(entities))
    report = await taken_in(lighting, tmp_path / "town.json")
    assert (report.parts_updated, report.parts_created, report.committed) == (2, 0, True)
    moved = await lighting.planner.GetLuminaire(pb.GetLuminaireRequest(name=f"{T}/luminaires/full"))
    assert moved.group == f"{T}/groups/default"  # nobody wants it any more
    trail = await lighting.trail(f"{T}/cabinets/C-1")
    assert len(trail) == 2


OTHERS = [
    {"id": "urn:ngsi-ld:StreetlightModel:m1", "type": "StreetlightModel", "name": "Old lantern", "powerConsumption": 70,
     "luminousFlux": 5600},
    {"id": "urn:ngsi-ld:StreetlightControlCabinet:c1", "type": "StreetlightControlCabinet", "workingMode": "automatic",
     "location": {"type": "Point", "coordinates": [9.71, 50.87]}, "address": {"streetAddress": "Markt"},
     "refStreetlightGroup": ["urn:ngsi-ld:StreetlightGroup:g1"]},
    {"id": "urn:ngsi-ld:StreetlightGroup:g1", "type": "StreetlightGroup", "name": "Promenade",
     "location": {"type": "Point", "coordinates": [9.71, 50.87]}},
    {"id": "urn:ngsi-ld:StreetlightFeeder:f1", "type": "StreetlightFeeder"},
    {"id": "urn:ngsi-ld:Streetlight:l1", "type": "Streetlight", "status": "ok",
     "location": {"type": "Point", "coordinates": [9.71, 50.87]}, "refStreetlightModel": "urn:ngsi-ld:StreetlightModel:m1",
     "refStreetlightGroup": "urn:ngsi-ld:StreetlightGroup:g1"},
]  # fmt: skip


async def test_entities_of_others_bring_what_they_have_and_leave_the_rest(light: Lighting, tmp_path: Path):
    file = tmp_path / "others.json"
    await asyncio.to_thread(file.write_text, json.dumps(OTHERS))
    report = await taken_in(light, file)
    assert (report.created, report.parts_created, report.committed) == (1, 3, True), report
    lamp = await light.planner.GetLuminaire(pb.GetLuminaireRequest(name=f"{T}/luminaires/l1"))
    assert (lamp.model, lamp.group) == (f"{T}/luminaireModels/m1", f"{T}/groups/g1")
    cabinet = inv.Cabinet(name=f"{T}/cabinets/c1", switching_owner=inv.SWITCHING_OWNER_PHOTOCELL, street="Markt 3")
    await light.planner.UpdateCabinet(pb.UpdateCabinetRequest(cabinet=cabinet))
    again = await taken_in(light, file)
    assert (again.parts_updated, again.parts_unchanged) == (1, 2)
    kept = await light.planner.GetCabinet(pb.GetCabinetRequest(name=f"{T}/cabinets/c1"))
    assert (kept.switching_owner, kept.street) == (inv.SWITCHING_OWNER_PHOTOCELL, "Markt")


def part(**values: Any) -> inv.ImportedPart:
    return inv.ImportedPart(source_line=4, **values)


PARTS = [
    ("a feeder of no cabinet that is there", part(feeder=inv.Feeder(name=f"{T}/feeders/x", cabinet=f"{T}/cabinets/none", supply=inv.FEEDER_SUPPLY_SWITCHED)), "feeder.cabinet", "does not exist"),
    ("a rule without a condition", part(group=inv.Group(name=f"{T}/groups/x", rule=inv.GroupRule(rank=1))), "group.rule", "has no condition"),
    ("Lichtbuch without a controller", part(cabinet=inv.Cabinet(name=f"{T}/cabinets/x", switching_owner=inv.SWITCHING_OWNER_LICHTBUCH)), "cabinet.switching_owner", "has no controller"),
]  # fmt: skip


async def test_a_part_that_cannot_be_keeps_everything_out(lighting: Lighting):
    await town(lighting)
    before = await everything(lighting.parts.database, LightingTable.metadata)
    good = part(cabinet=inv.Cabinet(name=f"{T}/cabinets/new"))
    lines = inv.LuminaireColumns(luminaire_ids=["N-1"])
    for case, wrong, column, reason in PARTS:
        messages = [
            pb.ImportLuminairesRequest(settings=pb.ImportSettings(parent=T)), pb.ImportLuminairesRequest(part=good),
            pb.ImportLuminairesRequest(part=wrong), pb.ImportLuminairesRequest(columns=lines),
        ]  # fmt: skip
        report = await lighting.send_import(messages)
        assert not report.committed
        assert [(r.source_line, r.column) for r in report.refused_lines] == [(4, column)], case
        assert reason in report.refused_lines[0].reason
    foreign = pb.ImportLuminairesRequest(part=part(cabinet=inv.Cabinet(name=f"{OTHER}/cabinets/x")))
    with pytest.raises(InvalidInput, match=r"part.cabinet.name: .*is not of the municipality"):
        await lighting.send_import([pb.ImportLuminairesRequest(settings=pb.ImportSettings(parent=T)), foreign])
    dry = pb.ImportLuminairesRequest(settings=pb.ImportSettings(parent=T, dry_run=True))
    report = await lighting.send_import([dry, pb.ImportLuminairesRequest(part=good)])
    assert (report.parts_created, report.committed) == (1, False)
    assert await everything(lighting.parts.database, LightingTable.metadata) == before
