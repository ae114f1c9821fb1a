"""The inventory as files: what is exported can be taken in again and changes nothing; entities fit their schemas."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from typer.testing import CliRunner

from cli.commands import exports, groups, lamps, towns
from cli.commands.imports import add_parts, to_columns
from cli.importing.luminaires import read_inventory
from cli.importing.mapping import make_mapping
from cli.importing.tables import read_table
from cli.main import app
from domain.errors import Unavailable
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from lichtbuch.metering.v1 import metering_pb2
from lichtbuch.registry.v1 import registry_pb2
from lichtbuch.type.v1.types_pb2 import Date, Position
from tests.services.lighting.running import Lighting, T

SCHEMAS = (
    Path(os.environ.get("LICHTBUCH_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data")) / "smartdatamodels"
)


class MeteringAway:
    """Metering while it does not answer."""

    async def ListMeters(self, request: metering_pb2.ListMetersRequest) -> metering_pb2.ListMetersResponse:
        raise Unavailable("metering does not answer", 1.0)


class Town:
    """A session as commands use it, of a town whose metering is away."""

    def __init__(self, light: Lighting) -> None:
        self.lighting = light.planner
        self.metering = MeteringAway()

    async def parent(self) -> str:
        return T

    async def municipality(self) -> registry_pb2.Municipality:
        return registry_pb2.Municipality(name=T)

    async def zone(self) -> ZoneInfo:
        return ZoneInfo("Europe/Berlin")

    async def name(self, collection: str, given: str) -> str:
        return given if "/" in given else f"{T}/{collection}/{given}"


@pytest.fixture
def types(light: Lighting, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Types a command and answers what it prints for programs."""
    loop, town = asyncio.get_event_loop(), Town(light)

    def online(ask: Any, _municipality: str = "") -> Any:
        return asyncio.run_coroutine_threadsafe(ask(town), loop).result(60)

    for module in (exports, groups, lamps, towns):
        monkeypatch.setattr(module, "online", online)

    async def run(*words: str) -> Any:
        result = await asyncio.to_thread(CliRunner().invoke, app, [*words, "--json"])
        assert result.exit_code == 0, (result.exception, result.output)
        lines = result.stdout.splitlines()
        begin = next(index for index, line in enumerate(lines) if line[:1] in "[{" and line.strip() in ("[", "{", "[]"))
        return json.JSONDecoder().raw_decode("\n".join(lines[begin:]))[0]

    return run


async def varied(light: Lighting) -> None:
    """A street with all that a luminaire may have, and with little."""
    await light.street()
    await light.planner.CreateGroup(pb.CreateGroupRequest(parent=T, group_id="north", group=inv.Group()))
    for identifier, lamp in (
        ("full", inv.Luminaire(
            pole="=7", street="Käse, \"Weg\"; 3", position=Position(latitude_deg=50.86812345678901, longitude_deg=9.7),
            model=f"{T}/luminaireModels/LED-23", feeder=f"{T}/feeders/F-1", gateway=f"{T}/gateways/G-1",
            gateway_address=9, group=f"{T}/groups/north", lighting_class="P4", floor_permille=333, conflict_area=True,
            installed_on=Date(year=2024, month=5, day=31), installed_power_w=22.123456789012,
            previous=inv.PreviousOperation(lamp_power_w=80, ballast_power_w=9.25, half_night=True),
            lamp_technology="LED/HPS", reduction=inv.REDUCTION_CONTROL_PHASE, virtual_output_permille=850,
            initial_burning_hours=4200,
        )),
        ("bare", inv.Luminaire()),
        ("odd-.~", inv.Luminaire(street="- A -", pole="'-3", reduction=inv.REDUCTION_NONE)),
    ):  # fmt: skip
        await light.planner.CreateLuminaire(
            pb.CreateLuminaireRequest(parent=T, luminaire_id=identifier, luminaire=lamp)
        )


async def taken_in(light: Lighting, file: Path, *, skip_invalid: bool = False) -> inv.ImportReport:
    """Imports a file as the command does."""
    table = read_table(file)
    read = read_inventory(table, make_mapping(table.columns, {}))
    add_parts(read, table, T)
    assert not read.refusals, read.refusals
    messages = [pb.ImportLuminairesRequest(settings=pb.ImportSettings(parent=T, skip_invalid=skip_invalid))]
    messages += [pb.ImportLuminairesRequest(part=part) for part in read.parts]
    for at in range(0, len(read.rows), 2):
        messages.append(pb.ImportLuminairesRequest(columns=to_columns(read.rows[at : at + 2], read.rows)))
    return await light.send_import(messages)


@pytest.mark.parametrize("form", ["csv", "geojson"])
async def test_an_export_that_is_taken_in_again_changes_nothing(light: Lighting, types: Any, tmp_path: Path, form: str):
    await varied(light)
    file = tmp_path / f"town.{form}"
    facts = await types("export", "luminaires", str(file), "--format", form)
    assert facts[0]["luminaires"] == 7
    before = await light.planner.ListLuminaires(pb.ListLuminairesRequest(parent=T))
    report = await taken_in(light, file)
    assert (report.created, report.updated, report.unchanged, report.committed) == (0, 0, 7, True), report
    assert await light.planner.ListLuminaires(pb.ListLuminairesRequest(parent=T)) == before


async def test_geojson_has_longitude_first_and_no_place_where_none_is_known(
    light: Lighting, types: Any, tmp_path: Path
):
    await varied(light)
    file = tmp_path / "town.geojson"
    await types("export", "luminaires", str(file), "--format", "geojson")
    document = json.loads(file.read_text())
    features = {feature["id"]: feature for feature in document["features"]}
    assert document["type"] == "FeatureCollection"
    assert features["full"]["geometry"] == {"type": "Point", "coordinates": [9.7, 50.86812345678901]}
    assert features["full"]["properties"]["floor_permille"] == 333
    assert features["bare"]["geometry"] is None


async def test_an_export_of_a_past_date_is_the_inventory_of_then(light: Lighting, types: Any, tmp_path: Path):
    names = await light.street()
    then = light.clock.now().isoformat()
    await light.passes(1)
    await light.planner.UpdateLuminaire(
        pb.UpdateLuminaireRequest(
            luminaire=inv.Luminaire(name=names[0], pole="17"), update_mask=FieldMask(paths=["pole"])
        )
    )
    for form in ("csv", "geojson", "fiware"):
        now, past = tmp_path / f"now.{form}", tmp_path / f"then.{form}"
        await types("export", "luminaires", str(now), "--format", form)
        await types("export", "luminaires", str(past), "--format", form, "--at", then)
        assert "17" in now.read_text()
        assert '"17"' not in past.read_text()
        assert ",17," not in past.read_text()
    rows = await types("lamps", "--at", then)
    assert [row["pole"] for row in rows] == [""] * 4


async def test_fiware_entities_fit_their_schemas_and_are_taken_in_again(light: Lighting, types: Any, tmp_path: Path):
    await varied(light)
    file = tmp_path / "town.json"
    facts = await types("export", "luminaires", str(file), "--format", "fiware")
    assert (facts[0]["luminaires"], facts[0]["left_out"]) == (5, 2)
    entities = json.loads(file.read_text())
    kinds = {entity["type"] for entity in entities}
    assert kinds == {
        "Streetlight", "StreetlightGroup", "StreetlightControlCabinet", "StreetlightModel", "StreetlightFeeder"
    }  # fmt: skip
    full = next(entity for entity in entities if entity.get("streetPoleNum") == "=7")
    assert full["refStreetlightGroup"] == "urn:ngsi-ld:StreetlightGroup:bad-hersfeld:north"
    assert full["powerRating"] == 22.123456789012
    report = await taken_in(light, file)
    assert (report.created, report.updated, report.unchanged, report.committed) == (0, 0, 5, True), report
    assert (report.parts_created, report.parts_updated) == (0, 0)
    assert report.parts_unchanged == len(entities) - 5


async def test_every_kind_of_entity_is_valid(light: Lighting, types: Any, tmp_path: Path):
    if not SCHEMAS.is_dir():
        pytest.skip("the schemas of Smart Data Models are not here")
    jsonschema: Any = pytest.importorskip("jsonschema")
    from referencing import Registry, Resource

    await varied(light)
    file = tmp_path / "town.json"
    await types("export", "luminaires", str(file), "--format", "fiware")
    common = Resource.from_contents(json.loads((SCHEMAS / "common-schema.json").read_text()))
    registry: Any = Registry().with_resource(
        "https://smart-data-models.github.io/data-models/common-schema.json", common
    )
    checked = set()
    for entity in json.loads(file.read_text()):
        schema = json.loads((SCHEMAS / entity["type"] / "schema.json").read_text())
        jsonschema.Draft202012Validator(schema, registry=registry).validate(entity)
        checked.add(entity["type"])
    assert len(checked) == 5


async def test_a_rule_is_given_and_taken_away_by_command(light: Lighting, types: Any):
    await light.street()
    await light.import_lines(luminaire_ids=["L-1-0"], streets=["Am Markt"])
    made = await types("group", "rule", "market", "--street", "am markt", "--corner", "50,9", "--corner", "50,10",
                       "--corner", "51,10", "--corner", "51,9")  # fmt: skip
    assert made[0]["luminaires"] == 1
    again = await types("group", "rule", "market", "--street", "nowhere", "--rank", "3")
    assert (again[0]["luminaires"], again[0]["rule"]) == (0, "rank 3: street nowhere")
    gone = await types("group", "rule", "market", "--none")
    assert gone[0]["rule"] == ""
