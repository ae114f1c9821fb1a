"""A whole inventory as files: what is exported and taken in by an empty service is the same there, field by field.

The town of these tests states every field of the contract somewhere: a field of tomorrow that nobody puts into it, or that
gets lost on the way, fails here. What files do not carry is listed, with the reason.
"""

# ruff: noqa: E501 - a row of a table stays on its line

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from google.protobuf.message import Message
from typer.testing import CliRunner

from cli.commands.exports import WRITERS, Format, Source
from cli.commands.imports import refusals_of, to_columns
from cli.commands.towns import inventory_of, located, tables_of, write_town
from cli.importing.kinds import KINDS, TOLD_BY_SERVICE, columns_of
from cli.importing.luminaires import Inventory
from cli.main import app
from domain.errors import InvalidInput
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from lichtbuch.lighting.v1 import sensors_pb2
from lichtbuch.type.v1 import types_pb2
from lichtbuch.type.v1.types_pb2 import Position
from services.lighting.records import EndpointRecord, EndpointState
from services.lighting.store.endpoints import replace_endpoints
from services.lighting.store.tables import LightingTable
from tests.services.lighting.running import Lighting, T
from tests.services.lighting.test_export import Town, taken_in, types
from tests.services.lighting.test_moving_a_town import elsewhere, town
from tests.support.refusing import everything
from tests.support.running import HERSFELD

__all__ = ["elsewhere", "types"]

NOT_CARRIED: Final = {
    "uid": "each service gives its own",
    "etag": "a version of one service's own",
}
"""Fields of every resource that no file carries."""

WORKED_OUT: Final = {
    "Luminaire.cabinet": "by way of its feeder",
    "Luminaire.group_by_rule": "a file names no group where a rule put it",
    "Group.luminaire_count": "its members",
    "Group.position": "the middle of its members",
    "Group.floor_permille": "its members' floors",
    "Group.has_conflict_area": "its members",
    "Group.holding_floor_permille": "its members' floors and waivers",
}
"""Fields that a service works out of others: no file carries them, and they are the same again."""

NOT_IN_FIWARE: Final = {
    "Gateway": "the data models know no gateways: they have to be there before",
    "Sensor": "the data models of street lighting know no sensors",
    "GearGroup": "a gateway's",
    "Cabinet.controller": "an endpoint of one service's registry",
    "Luminaire.gateway": "has to be there before",
    "Luminaire.gateway_address": "an address at a gateway",
}

LISTS: Final[Mapping[str, tuple[str, Any]]] = {
    "luminaire_models": ("ListLuminaireModels", pb.ListLuminaireModelsRequest),
    "cabinets": ("ListCabinets", pb.ListCabinetsRequest),
    "feeders": ("ListFeeders", pb.ListFeedersRequest),
    "gateways": ("ListGateways", pb.ListGatewaysRequest),
    "groups": ("ListGroups", pb.ListGroupsRequest),
    "sensors": ("ListSensors", sensors_pb2.ListSensorsRequest),
    "luminaires": ("ListLuminaires", pb.ListLuminairesRequest),
}


async def known_endpoints(light: Lighting) -> None:
    """The field endpoints that the registry has told of."""
    records = [
        EndpointRecord(f"{0xE0000 + n:032x}", HERSFELD.uid, f"E-{name}", f"fake://{name}", profile, EndpointState.IN_CONTROL)
        for n, (name, profile) in enumerate((("c1", "cabinet-plc"), ("g1", "generic-level-status"), ("eye", "light-sensor")))
    ]  # fmt: skip
    await light.parts.database.run(lambda session: replace_endpoints(session, records, 0))


async def whole_town(light: Lighting) -> None:
    """What states every field of the contract, beside what states nothing that it need not."""
    await town(light)
    await known_endpoints(light)
    planner, here = light.planner, Position(latitude_deg=50.868, longitude_deg=9.707)
    await planner.CreateCabinet(
        pb.CreateCabinetRequest(parent=T, cabinet_id="C-3", cabinet=inv.Cabinet(
            display_name="=Bahnhof; \"Nord\", 2", controller=f"{T}/endpoints/E-c1", inrush_step_ms=400,
            foreign_loads=[
                inv.ForeignLoad(display_name="Bus shelter, ad: 2", power_w=90.25, from_month=1, to_month=12),
                inv.ForeignLoad(display_name="Weihnacht 🎄", power_w=900, from_month=11, to_month=1, from_time="16:00", to_time="01:30"),
            ],
        ))
    )  # fmt: skip
    await planner.CreateFeeder(
        pb.CreateFeederRequest(parent=T, feeder_id="F-3", feeder=inv.Feeder(
            cabinet=f"{T}/cabinets/C-3", channel=5, supply=inv.FEEDER_SUPPLY_PERMANENT, reduced_from="22:30",
            reduced_until="04:45", reduction=inv.REDUCTION_HALF_NIGHT_CONDUCTOR, reduced_power_permille=480,
        ))
    )  # fmt: skip
    await planner.CreateGateway(
        pb.CreateGatewayRequest(parent=T, gateway_id="G-3", gateway=inv.Gateway(
            cabinet=f"{T}/cabinets/C-3", endpoint=f"{T}/endpoints/E-g1",
            gear_groups=[inv.GearGroup(number=2, addresses=[0, 7, 63]), inv.GearGroup(number=17)],
        ))
    )  # fmt: skip
    await planner.CreateLuminaireModel(
        pb.CreateLuminaireModelRequest(parent=T, luminaire_model_id="CLO", luminaire_model=inv.LuminaireModel(
            rated_power_w=30.125, clo_by=inv.CLO_BY_LICHTBUCH, clo=[inv.CloPoint(output_permille=750), inv.CloPoint(burning_hours=50_000, output_permille=1000)],
            least_level_permille=55, stored_profile=[
                inv.StoredReduction(begin_offset_s=-10_800, end_offset_s=0, level_permille=500),
                inv.StoredReduction(begin_offset_s=0, end_offset_s=14_400, level_permille=300),
            ],
        ))
    )  # fmt: skip
    corners = [
        Position(latitude_deg=latitude, longitude_deg=longitude)
        for latitude, longitude in ((50.1, 9.1), (50.1, 9.2), (50.2, 9.2))
    ]
    await planner.CreateGroup(
        pb.CreateGroupRequest(
            parent=T,
            group_id="south",
            group=inv.Group(rule=inv.GroupRule(lighting_classes=["P4", "M3"], polygon=corners)),
        )
    )
    for identifier, sensor in (
        ("eye", sensors_pb2.Sensor(
            kind=types_pb2.SENSOR_KIND_ILLUMINANCE, endpoint=f"{T}/endpoints/E-eye", point="illuminance", max_age_s=90,
            display_name="Roof", groups=[f"{T}/groups/north", f"{T}/groups/south"],
        )),
        ("count", sensors_pb2.Sensor(kind=types_pb2.SENSOR_KIND_TRAFFIC)),
    ):  # fmt: skip
        await planner.CreateSensor(sensors_pb2.CreateSensorRequest(parent=T, sensor_id=identifier, sensor=sensor))
    for identifier, lamp in (
        ("reached", inv.Luminaire(position=here, feeder=f"{T}/feeders/F-3", gateway=f"{T}/gateways/G-3", gateway_address=63, model=f"{T}/luminaireModels/CLO")),
        ("nowhere", inv.Luminaire(street="Markt")),
    ):  # fmt: skip
        await planner.CreateLuminaire(pb.CreateLuminaireRequest(parent=T, luminaire_id=identifier, luminaire=lamp))


async def inventory(light: Lighting) -> dict[str, Message]:
    """All resources by name, without what belongs to one service only."""
    found: dict[str, Message] = {}
    for field, (method, request) in LISTS.items():
        for message in getattr(await getattr(light.planner, method)(request(parent=T, page_size=1000)), field):
            for name in NOT_CARRIED:
                message.ClearField(name)
            found[message.name] = message
    return found


def differences(was: Mapping[str, Message], came: Mapping[str, Message]) -> list[str]:
    """Where two inventories differ, by resource and field."""
    found = [f"{name}: only in one of both" for name in was.keys() ^ came.keys()]
    for name in was.keys() & came.keys():
        one, other = was[name], came[name]
        for field in one.DESCRIPTOR.fields:
            if field.has_presence and one.HasField(field.name) != other.HasField(field.name):
                found.append(f"{name}.{field.name}: set in one of both")
            elif getattr(one, field.name) != getattr(other, field.name):
                found.append(f"{name}.{field.name}: {getattr(one, field.name)} became {getattr(other, field.name)}")
    return found


def fields_of(descriptor: Any) -> Iterator[str]:
    """Every field of a message and of what is in it, as "ForeignLoad.from_time"."""
    for field in descriptor.fields:
        yield f"{descriptor.name}.{field.name}"
        if field.message_type is not None:
            yield from fields_of(field.message_type)


def stated_in(message: Message) -> Iterator[str]:
    """The fields that a message states."""
    for field, value in message.ListFields():
        yield f"{message.DESCRIPTOR.name}.{field.name}"
        if field.message_type is not None:
            for each in value if field.is_repeated else [value]:
                yield from stated_in(each)


def left_out(messages: Mapping[str, Message], but: Mapping[str, str]) -> set[str]:
    """Fields of the contract that none of the messages states, but for those that need not be."""
    kinds = [*(kind.message for kind in KINDS), inv.Luminaire]
    every = {name for kind in kinds for name in fields_of(kind.DESCRIPTOR)}
    every -= {name for name in every if name.partition(".")[2] in NOT_CARRIED or name in WORKED_OUT}
    every -= {name for name in every if name in but or name.partition(".")[0] in but}
    return every - {name for message in messages.values() for name in stated_in(message)}


async def taken(light: Lighting, read: Inventory, **settings: Any) -> inv.ImportReport:
    """Sends what was read, as the command does."""
    messages = [pb.ImportLuminairesRequest(settings=pb.ImportSettings(parent=T, **settings))]
    messages += [pb.ImportLuminairesRequest(part=part) for part in read.parts]
    if read.rows:
        messages.append(pb.ImportLuminairesRequest(columns=to_columns(read.rows)))
    return await light.send_import(messages)


async def exported(light: Lighting, folder: Path) -> dict[str, str]:
    """The files of an export."""
    session: Any = Town(light)
    written = await write_town(Source(session, T, None), folder)
    assert all(facts["lines"] for facts in written)
    return await asyncio.to_thread(lambda: {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()})


def test_what_the_files_leave_out_is_what_is_listed_here():
    for kind in KINDS:
        descriptor = kind.message.DESCRIPTOR
        columns = {column.field.name for column in columns_of(kind)}
        missing = {field.name for field in descriptor.fields} - columns - {"name"}
        named = {name.partition(".")[2] for name in WORKED_OUT if name.startswith(f"{descriptor.name}.")}
        assert missing == named | set(NOT_CARRIED), kind.stem
    assert {"name", *NOT_CARRIED} == set(TOLD_BY_SERVICE)


async def test_a_whole_town_moves_by_its_files(light: Lighting, elsewhere: Lighting, tmp_path: Path):
    await whole_town(light)
    was = await inventory(light)
    assert left_out(was, but={}) == set(), (
        "state them in the town of this test, so that their way through files is seen"
    )
    files = await exported(light, tmp_path / "town")
    assert sorted(files) == sorted(["luminaires.csv", *(kind.file for kind in KINDS)])
    await known_endpoints(elsewhere)
    read = inventory_of(tables_of(tmp_path / "town"), T)
    assert not read.refusals
    report = await taken(elsewhere, read)
    assert report.committed, report
    assert differences(was, await inventory(elsewhere)) == []
    assert await exported(elsewhere, tmp_path / "again") == files
    again = await taken(light, read)
    assert (again.created, again.updated, again.parts_created, again.parts_updated) == (0, 0, 0, 0)
    # And the luminaires alone, in the other format for them.
    for name in was:
        if "/luminaires/" in name:
            await elsewhere.planner.DeleteLuminaire(pb.DeleteLuminaireRequest(name=name))
    session: Any = Town(light)
    with (tmp_path / "lamps.geojson").open("w", encoding="utf-8") as stream:
        await WRITERS[Format.GEOJSON](Source(session, T, None), stream)
    assert (await taken_in(elsewhere, tmp_path / "lamps.geojson")).committed
    assert differences(was, await inventory(elsewhere)) == []


async def test_fiware_carries_every_field_of_what_it_has_entities_for(
    light: Lighting, elsewhere: Lighting, tmp_path: Path
):
    await town(light)
    await light.planner.UpdateFeeder(pb.UpdateFeederRequest(feeder=inv.Feeder(
        name=f"{T}/feeders/F-1", cabinet=f"{T}/cabinets/C-1", channel=3, phase=2, supply=inv.FEEDER_SUPPLY_SWITCHED,
        reduction=inv.REDUCTION_HALF_NIGHT_CONDUCTOR, reduced_from="22:30", reduced_until="05:00",
        reduced_power_permille=480, inrush_step_ms=250,
    )))  # fmt: skip
    await light.planner.UpdateCabinet(pb.UpdateCabinetRequest(cabinet=inv.Cabinet(
        name=f"{T}/cabinets/C-1", display_name="Am Markt", street="Markt", inrush_step_ms=1,
        position=Position(latitude_deg=50.868, longitude_deg=9.707), switching_owner=inv.SWITCHING_OWNER_RIPPLE_CONTROL,
        foreign_loads=[inv.ForeignLoad(display_name="Lights", power_w=5, from_month=11, to_month=1, from_time="16:00", to_time="22:00")],
    )))  # fmt: skip
    model = await light.planner.GetLuminaireModel(pb.GetLuminaireModelRequest(name=f"{T}/luminaireModels/LED-23"))
    model.clo_by, model.least_level_permille = inv.CLO_BY_DRIVER, 100
    model.stored_profile.add(begin_offset_s=-7200, end_offset_s=7200, level_permille=500)
    await light.planner.UpdateLuminaireModel(pb.UpdateLuminaireModelRequest(luminaire_model=model))
    group = await light.planner.GetGroup(pb.GetGroupRequest(name=f"{T}/groups/market"))
    group.rule.lighting_classes.append("P4")
    for latitude, longitude in ((50.8, 9.6), (50.9, 9.6), (50.9, 9.8)):
        group.rule.polygon.add(latitude_deg=latitude, longitude_deg=longitude)
    await light.planner.UpdateGroup(pb.UpdateGroupRequest(group=group))
    was = await inventory(light)
    assert left_out(was, NOT_IN_FIWARE) == set()
    session: Any = Town(light)
    with (tmp_path / "town.json").open("w", encoding="utf-8") as stream:
        await WRITERS[Format.FIWARE](Source(session, T, None), stream)
    assert (await taken_in(elsewhere, tmp_path / "town.json")).committed
    assert differences(was, await inventory(elsewhere)) == []


async def test_a_column_that_is_not_there_leaves_what_is_stored(light: Lighting, tmp_path: Path):
    await whole_town(light)
    (tmp_path / "models.csv").write_text(
        "model_id;least_level_permille;Bemerkung\nCLO;80;x\n", encoding="utf-8"
    )  # as a spreadsheet in German writes it
    (tmp_path / "feeders.csv").write_text(
        "feeder_id;reduced_from;reduced_until\nF-3;;\nF-2;7:05;22:30:00\n", encoding="utf-8"
    )
    read = inventory_of(tables_of(tmp_path), T)
    assert read.notes == ["models.csv: nobody knows the columns Bemerkung"]
    report = await taken(light, read)
    assert (report.parts_updated, report.parts_unchanged, report.committed) == (3, 0, True), report
    model = await light.planner.GetLuminaireModel(pb.GetLuminaireModelRequest(name=f"{T}/luminaireModels/CLO"))
    assert (model.least_level_permille, model.clo_by, len(model.stored_profile)) == (80, inv.CLO_BY_LICHTBUCH, 2)
    feeder = await light.planner.GetFeeder(pb.GetFeederRequest(name=f"{T}/feeders/F-3"))
    assert (feeder.reduced_from, feeder.reduced_until, feeder.reduced_power_permille) == ("", "", 480)
    other = await light.planner.GetFeeder(pb.GetFeederRequest(name=f"{T}/feeders/F-2"))
    assert (other.reduced_from, other.reduced_until) == ("07:05", "22:30")


REFUSED_BY_READER: Final = [
    ("models", "clo_by", "robot", "clo_by", "is none of: driver, lichtbuch"),
    ("models", "least_level_permille", "1001", "least_level_permille", "1001"),
    ("models", "least_level_permille", "12.5", "least_level_permille", "must be a whole number"),
    ("models", "rated_power_w", "many", "rated_power_w", "is no number"),
    ("models", "rated_power_w", "0", "rated_power_w", "is required"),
    ("models", "stored_profile", "-10800:0", "stored_profile", "is not begin_offset_s:end_offset_s:level_permille"),
    ("models", "stored_profile", "-50000:0:500", "stored_profile[0].begin_offset_s", "-43200"),
    ("models", "stored_profile", "0:x:500", "stored_profile", "end_offset_s is no number"),
    ("models", "clo", "0:800 9000:1001", "clo[1].output_permille", "1001"),
    ("models", "curve", "100:330 1000", "curve", "is not level_permille:power_permille"),
    ("feeders", "reduced_from", "25:00", "reduced_from", ""),
    ("feeders", "reduced_power_permille", "-1", "reduced_power_permille", "-1"),
    ("feeders", "reduction", "sometimes", "reduction", "is none of: single command,"),
    ("feeders", "supply", "", "supply", "is required"),
    ("cabinets", "foreign_loads", "Christmas", "foreign_loads", "is no JSON"),
    ("cabinets", "foreign_loads", '[{"power": 1}]', "foreign_loads", "power"),
    ("cabinets", "foreign_loads", '[{"display_name": "x", "power_w": 5, "from_month": 13, "to_month": 1}]', "foreign_loads[0].from_month", "13"),
    ("cabinets", "latitude", "50.8", "longitude", "is missing: the other coordinate is there"),
    ("cabinets", "latitude", "500", "latitude", "must be -90 to 90"),
    ("gateways", "gear_groups", '[{"number": 1, "addresses": [70000]}]', "gear_groups[0].addresses[0]", "70000"),
    ("gateways", "endpoint", "", "endpoint", "is required"),
    ("groups", "rule", "[1]", "rule", ""),
    ("sensors", "kind", "smoke", "kind", "is none of: traffic,"),
    ("sensors", "groups", "---", "groups", "has no letter or digit"),
]  # fmt: skip


@pytest.mark.parametrize(("stem", "column", "text", "refused", "reason"), REFUSED_BY_READER)
def test_a_cell_that_cannot_be_is_refused_with_file_line_column_and_reason(
    tmp_path: Path, stem: str, column: str, text: str, refused: str, reason: str
):
    kind = next(kind for kind in KINDS if kind.stem == stem)
    headers = {each.name: each.header for each in columns_of(kind)}
    usual = {"latitude": "50.8", "longitude": "9.7"} if column in ("latitude",) and text == "500" else {}
    cells = usual | {column: text}
    if column == "latitude":
        cells.setdefault("longitude", "")
    with (tmp_path / kind.file).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([kind.id_column, *(headers[name] for name in cells)])
        writer.writerow(["X-1", *cells.values()])
    refusals = [located(item) for item in inventory_of(tables_of(tmp_path), T).refusals]
    assert [(item["file"], item["line"], item["column"]) for item in refusals] == [(kind.file, 2, refused)], refusals
    assert reason in refusals[0]["reason"]


REFUSED_BY_SERVICE: Final = [
    ("models.csv", "model_id,rated_power_w,stored_profile\nM,30,0:60:500 30:90:400\n", "stored_profile[1].begin_offset_s", "lies in the stretch before it"),
    ("models.csv", "model_id,rated_power_w,clo_by\nM,30,lichtbuch\n", "clo_by", "needs a curve"),
    ("models.csv", "model_id,clo_by\nM,driver\n", "rated_power_w", "is required"),
    ("feeders.csv", "feeder_id,cabinet,supply\nF-9,C-9,switched\n", "cabinet", "does not exist"),
    ("feeders.csv", "feeder_id,reduced_from\nF-2,22:00\n", "reduced_until", "is required beside reduced_from"),
    ("cabinets.csv", "cabinet_id,controller\nC-9,E-none\n", "controller", "is not an endpoint of lighting"),
    ("cabinets.csv", 'cabinet_id,foreign_loads\nC-1,"[{""display_name"":""x"",""power_w"":5,""from_month"":1,""to_month"":2,""to_time"":""10:00""}]"\n', "foreign_loads[0].from_time", "is required beside to_time"),
    ("gateways.csv", "gateway_id,cabinet,endpoint\nG-9,C-1,E-none\n", "endpoint", "is not an endpoint of lighting"),
    ("gateways.csv", 'gateway_id,gear_groups\nG-3,"[{""number"": 1}, {""number"": 1}]"\n', "gear_groups[1].number", "1 is there twice"),
    ("groups.csv", 'group_id,rule\nwest,"{""rank"": 1}"\n', "rule", "has no condition"),
    ("sensors.csv", "sensor_id,kind,groups\ns,rain,nobody\n", "groups[0]", "does not exist"),
]  # fmt: skip


async def test_what_only_the_service_knows_is_refused_with_its_file_and_nothing_is_stored(
    light: Lighting, tmp_path: Path
):
    await whole_town(light)
    before = await everything(light.parts.database, LightingTable.metadata)
    for place, (file, text, column, reason) in enumerate(REFUSED_BY_SERVICE):
        folder = tmp_path / str(place)
        folder.mkdir()
        (folder / file).write_text(text, encoding="utf-8")
        (folder / "luminaires.csv").write_text("luminaire_id\nNEW\n", encoding="utf-8")
        report = await taken(light, inventory_of(tables_of(folder), T))
        refusals = [located(item) for item in refusals_of(report)]
        assert [(r["file"], r["line"], r["column"]) for r in refusals] == [(file, 2, column)], (text, refusals)
        assert reason in refusals[0]["reason"]
        assert not report.committed
    assert await everything(light.parts.database, LightingTable.metadata) == before


def test_a_folder_or_file_that_is_none_of_an_inventory_is_refused(tmp_path: Path):
    with pytest.raises(InvalidInput, match=r"folder: .* holds none of luminaires\.csv, models\.csv"):
        tables_of(tmp_path)
    (tmp_path / "models.csv").write_text("name,watt\nx,3\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"models\.csv: has no column model_id; it has name, watt"):
        inventory_of(tables_of(tmp_path), T)
    (tmp_path / "models.csv").write_text("model_id,clo_by\nA,driver\nA,driver\n,driver\nB\n", encoding="utf-8")
    refusals = [located(item) for item in inventory_of(tables_of(tmp_path), T).refusals]
    assert [(item["line"], item["column"], item["reason"]) for item in refusals] == [
        (3, "model_id", "is the id of line 2 already"),
        (4, "model_id", "is missing"),
        (5, "", "ends after 1 of 2 cells"),
    ]
    assert json.dumps(refusals)


async def test_the_commands_write_a_town_and_take_it_in(light: Lighting, types: Any, tmp_path: Path):
    await whole_town(light)
    written = await types("export", "town", str(tmp_path / "town"))
    assert {Path(row["file"]).name: row["lines"] for row in written} == {
        "luminaires.csv": 5, "models.csv": 2, "cabinets.csv": 3, "feeders.csv": 3, "gateways.csv": 1, "groups.csv": 4,
        "sensors.csv": 2,
    }  # fmt: skip
    report = await types("import", "town", str(tmp_path / "town"), "--reason", "as it was")
    assert report["parts"] == {"created": 0, "updated": 0, "unchanged": 15}
    assert (report["luminaires"]["unchanged"], report["stored"], report["refusals"]) == (5, True, [])
    then = await types("export", "town", str(tmp_path / "then"), "--at", light.clock.now().isoformat())
    assert "sensors.csv" not in {Path(row["file"]).name for row in then}


def test_files_are_looked_at_without_a_service(tmp_path: Path):
    (tmp_path / "feeders.csv").write_text("feeder_id;reduced_from\nF-1;22:30\nF-2;10 pm\n", encoding="utf-8")
    result = CliRunner().invoke(app, ["import", "town", str(tmp_path), "--offline"])
    assert result.exit_code == 2
    for words in ("feeders.csv", "2 lines", "nothing was stored; 1 lines refused", "reduced_from", "10 pm"):
        assert words in result.output
    (tmp_path / "feeders.csv").write_text("feeder_id;reduced_from\nF-1;22:30\n", encoding="utf-8")
    assert CliRunner().invoke(app, ["import", "town", str(tmp_path), "--offline"]).exit_code == 0
