"""The table of refused inventories: resources over the API, and files as the command takes them, each with field and
reason, and nothing stored."""

# ruff: noqa: E501 - a row of a table stays on its line

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import pytest

from cli.commands.imports import refusals_of, send_inventory
from cli.importing.luminaires import read_inventory, require_rows
from cli.importing.mapping import make_mapping
from cli.importing.tables import read_table
from domain.errors import InvalidInput
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from lichtbuch.type.v1.types_pb2 import Date, Position
from services.lighting.store.tables import LightingTable
from tests.services.lighting.running import OTHER, Lighting, T, model_request
from tests.support.refusing import everything, problem, refused

LONG = "x" * 100_000
HERE = (50.868, 9.707)


def cabinet(**values: Any) -> pb.CreateCabinetRequest:
    return pb.CreateCabinetRequest(parent=T, cabinet=inv.Cabinet(**values))


def feeder(**values: Any) -> pb.CreateFeederRequest:
    given: dict[str, Any] = {"cabinet": f"{T}/cabinets/C-1", "channel": 7, "supply": inv.FEEDER_SUPPLY_SWITCHED}
    return pb.CreateFeederRequest(parent=T, feeder=inv.Feeder(**given | values))


def gateway(**values: Any) -> pb.CreateGatewayRequest:
    given: dict[str, Any] = {"cabinet": f"{T}/cabinets/C-1", "endpoint": f"{T}/endpoints/E-g1"}
    return pb.CreateGatewayRequest(parent=T, gateway=inv.Gateway(**given | values))


def lamp(**values: Any) -> pb.CreateLuminaireRequest:
    return pb.CreateLuminaireRequest(parent=T, luminaire=inv.Luminaire(**values))


def group(**rule: Any) -> pb.CreateGroupRequest:
    return pb.CreateGroupRequest(parent=T, group_id="x", group=inv.Group(rule=inv.GroupRule(**rule)))


def corners(*places: tuple[float, float]) -> list[Position]:
    return [Position(latitude_deg=latitude, longitude_deg=longitude) for latitude, longitude in places]


A, B, C, D = (50.86, 9.70), (50.86, 9.72), (50.88, 9.72), (50.88, 9.70)
LOAD: dict[str, Any] = {"display_name": "Christmas lights", "power_w": 500.0, "from_month": 11, "to_month": 1}

RESOURCES: list[tuple[str, Any, str, str]] = [
    # who switches: a chain with one owner at each link
    ("Lichtbuch switches without a controller", cabinet(switching_owner=inv.SWITCHING_OWNER_LICHTBUCH), "cabinet.switching_owner", "Lichtbuch cannot switch a cabinet that has no controller"),
    ("an owner that nobody knows", cabinet(switching_owner=9), "cabinet.switching_owner", "9 is not a known value"),
    ("a controller that is not there", cabinet(controller=f"{T}/endpoints/E-x"), "cabinet.controller", "E-x"),
    ("one contactor of two feeders", feeder(channel=0), "feeder.channel", "contactor 0 of this controller belongs to feeder F-1 already"),
    ("one contactor of two cabinets", pb.UpdateCabinetRequest(cabinet=inv.Cabinet(name=f"{T}/cabinets/C-2", controller=f"{T}/endpoints/E-c1")), "cabinet.controller", "contactor 0 of this controller belongs to feeder F-1 already"),
    ("a reduction that nobody knows", feeder(reduction=77), "feeder.reduction", "77 is not a known value"),
    ("neither switched nor permanent", feeder(supply=0), "feeder.supply", "is required"),
    ("a feeder of no cabinet", feeder(cabinet=""), "feeder.cabinet", "is required"),
    ("a feeder of another town's cabinet", feeder(cabinet=f"{OTHER}/cabinets/C-1"), "feeder.cabinet", "is not of the municipality"),
    ("a fourth phase", feeder(phase=4), "feeder.phase", "4 is not between 0 and 3"),
    ("contactors that close an hour apart", feeder(inrush_step_ms=3_600_000), "feeder.inrush_step_ms", "is not between 0 and 60000"),
    ("a gateway without endpoint", gateway(endpoint=""), "gateway.endpoint", "is required"),
    ("a group of gear twice", gateway(gear_groups=[inv.GearGroup(number=1), inv.GearGroup(number=1)]), "gateway.gear_groups[1].number", "1 is there twice"),
    ("one gear twice in a group", gateway(gear_groups=[inv.GearGroup(number=1, addresses=[3, 3])]), "gateway.gear_groups[0].addresses", "one is there twice"),
    ("a foreign load in a thirteenth month", cabinet(foreign_loads=[inv.ForeignLoad(**LOAD | {"to_month": 13})]), "cabinet.foreign_loads[0].to_month", "13 is not between 1 and 12"),
    # numbers that are none, or of another unit
    ("a latitude of no planet", lamp(position=Position(latitude_deg=91)), "luminaire.position.latitude_deg", "91 is not between -90 and 90"),
    ("a position that is no number", lamp(position=Position(latitude_deg=math.nan, longitude_deg=9.7)), "luminaire.position.latitude_deg", "nan"),
    ("latitude and longitude swapped", lamp(position=Position(latitude_deg=HERE[1], longitude_deg=HERE[0])), "luminaire.position", "km with latitude and longitude the other way round"),
    ("a cabinet swapped", cabinet(position=Position(latitude_deg=HERE[1], longitude_deg=HERE[0])), "cabinet.position", "the other way round"),
    ("kilowatts for watts", lamp(installed_power_w=0.105), "luminaire.installed_power_w", "0.105 W is less than any street lamp draws: is it in kW?"),
    ("kilowatts before", lamp(previous=inv.PreviousOperation(lamp_power_w=0.08)), "luminaire.previous.lamp_power_w", "0.08 W is less than any street lamp draws"),
    ("milliwatts for watts", lamp(installed_power_w=22_800), "luminaire.installed_power_w", "22800 is not between 0 and 5000"),
    ("infinite watts", lamp(installed_power_w=math.inf), "luminaire.installed_power_w", "inf is not between 0 and 5000"),
    ("watts that are no number", lamp(installed_power_w=math.nan), "luminaire.installed_power_w", "nan is not between 0 and 5000"),
    ("a model without power", model_request("M", rated_power_w=0), "luminaire_model.rated_power_w", "is required"),
    ("a model of nan", model_request("M", rated_power_w=math.nan), "luminaire_model.rated_power_w", "nan is not between"),
    ("a curve that goes back", model_request("M", curve=[inv.CurvePoint(level_permille=500, power_permille=600), inv.CurvePoint(level_permille=400, power_permille=700)]), "luminaire_model.curve", ""),
    ("gear that ages backwards", model_request("M", clo=[inv.CloPoint(burning_hours=5000, output_permille=900), inv.CloPoint(burning_hours=100, output_permille=950)]), "luminaire_model.clo[1].burning_hours", "100 h do not come after 5000 h"),
    ("a floor in percent of per mille", lamp(floor_permille=1200), "luminaire.floor_permille", "1200 is not between 0 and 1000"),
    ("more virtual output than there is", lamp(virtual_output_permille=1001), "luminaire.virtual_output_permille", "1001 is not between 0 and 1000"),
    ("burning hours before the invention", lamp(initial_burning_hours=-1), "luminaire.initial_burning_hours", "-1 is not between"),
    # texts
    ("a street as long as a book", lamp(street=LONG), "luminaire.street", "is longer than 200 bytes"),
    ("a street that a terminal obeys", lamp(street="Markt\x1b[2J"), "luminaire.street", "holds the control character U+001B"),
    ("a pole that ends a string", lamp(pole="7\x00"), "luminaire.pole", "holds the control character U+0000"),
    ("a class that no norm knows", lamp(lighting_class="P9"), "luminaire.lighting_class", "'P9' does not match"),
    ("an id with a slash", pb.CreateLuminaireRequest(parent=T, luminaire_id="a/b", luminaire=inv.Luminaire(pole="1")), "luminaire_id", "'a/b' does not match"),
    ("installed on a 30th of February", lamp(installed_on=Date(year=2024, month=2, day=30)), "luminaire.installed_on", "is not a date"),
    ("installed on the 29th of February of no leap year", lamp(installed_on=Date(year=2023, month=2, day=29)), "luminaire.installed_on", "is not a date"),
    # references
    ("a model that is not there", lamp(model=f"{T}/luminaireModels/none"), "luminaire.model", "luminaireModels/none does not exist"),
    ("a group of another town", lamp(group=f"{OTHER}/groups/default"), "luminaire.group", "is not of the municipality"),
    ("an address that is taken", lamp(gateway=f"{T}/gateways/G-1", gateway_address=0), "luminaire.gateway_address", "0 is the address of"),
    # groups: a group holds luminaires and no groups, so that none can hold itself
    ("a group in a group", group(cabinets=[f"{T}/groups/default"]), "group.rule.cabinets[0]", "'cabinets' is needed"),
    ("a rule without a condition", group(rank=4), "group.rule", "has no condition"),
    ("a street without letters", group(streets=[" "]), "group.rule.streets[0]", "is empty"),
    ("an area of two corners", group(polygon=corners(A, B)), "group.rule.polygon[1]", "2 corners are no area; at least 3 are needed"),
    ("an area that crosses itself", group(polygon=corners(A, C, B, D)), "group.rule.polygon[2]", "its edge crosses that of corner 0"),
    ("an area closed twice", group(polygon=corners(A, B, C, A)), "group.rule.polygon[3]", "the first is not repeated at the end"),
    ("an area swapped", group(polygon=corners(*((y, x) for x, y in (A, B, C)))), "group.rule.polygon[0]", "the other way round"),
    ("an area of nan", group(polygon=corners(A, B, (math.nan, 9.7))), "group.rule.polygon[2].latitude_deg", "nan"),
]  # fmt: skip


async def test_every_resource_that_cannot_be_is_refused_with_field_and_reason_and_nothing_is_stored(lighting: Lighting):
    await lighting.street(1)
    await lighting.street(2)
    planner, database, wrong = lighting.planner, lighting.parts.database, []
    calls = {
        pb.CreateCabinetRequest: planner.CreateCabinet, pb.CreateFeederRequest: planner.CreateFeeder,
        pb.CreateGatewayRequest: planner.CreateGateway, pb.CreateLuminaireRequest: planner.CreateLuminaire,
        pb.CreateGroupRequest: planner.CreateGroup, pb.UpdateCabinetRequest: planner.UpdateCabinet,
        pb.CreateLuminaireModelRequest: planner.CreateLuminaireModel,
    }  # fmt: skip
    before = await everything(database, LightingTable.metadata)
    for case, request, field, reason in RESOURCES:
        wrong.append(problem(case, await refused(calls[type(request)], request), field, reason))
    assert [line for line in wrong if line] == []
    assert await everything(database, LightingTable.metadata) == before


HEAD = "luminaire_id,latitude,longitude,street,installed_power_w\n"
GOOD = "N-1,50.868,9.707,Markt,22\n"


def features(geometry: Any, **more: Any) -> bytes:
    feature = {"type": "Feature", "properties": {"luminaire_id": "N-1"}, "geometry": geometry}
    return json.dumps({"type": "FeatureCollection", "features": [feature], **more}).encode()


def point(*coordinates: float) -> dict[str, Any]:
    return {"type": "Point", "coordinates": list(coordinates)}


# file, its content, the column or field that is named, and why
FILES: list[tuple[str, str, bytes, str, str]] = [
    # the file as a whole
    ("another encoding than it says", "a.csv", b"\xef\xbb\xbf" + HEAD.encode() + b"N-1,50.868,9.707,Stra\xdfe,22\n", "file", "marked as utf-8-sig, but byte"),
    ("UTF-16 without its mark", "a.csv", (HEAD + GOOD).encode("utf-16-le"), "file", "a.csv is no text: CSV, XLSX, GeoJSON and Shapefiles are read"),
    ("nothing in it", "a.csv", b" \n", "file", "a.csv is empty"),
    ("a delimiter that nobody uses", "a.csv", (HEAD + GOOD).replace(",", ":").encode(), "map", "no column looks like the luminaires' ids"),
    ("no column of ids", "a.csv", b"x;y\n9.7;50.8\n", "map", "no column looks like the luminaires' ids: give --map luminaire_id=COLUMN"),
    ("a doubled header", "a.csv", b"luminaire_id,street,street\nN-1,a,b\n", "file", "the header names these columns more than once: street"),
    ("a cell without end", "a.csv", (HEAD + 'N-1,50.868,9.707,"' + "x" * 1_000_000).encode(), "file", "line 2: a cell holds more than 100000 characters: does a quote never close?"),
    ("old Excel", "a.xls", b"\xd0\xcf\x11\xe0", "file", "this is the old Excel format"),
    ("half a JSON file", "a.geojson", features(point(9.7, 50.8))[:-40], "file", "a.geojson is no JSON: line 1"),
    ("a system that nobody knows", "a.geojson", features(point(9.7, 50.8), crs={"type": "name", "properties": {"name": "EPSG:99999999"}}), "crs", "unknown coordinate system"),
    ("metres of a zone that is not near", "a.csv", b"luminaire_id,x,y\nN-1,500000,100\n", "crs", "fit no system near the town: give --crs"),
    # single lines
    ("decimal commas between commas", "a.csv", (HEAD + "N-1,50,868,9,707,Markt,22\n").encode(), "", "has 7 cells where the header has 5"),
    ("a line cut off", "a.csv", (HEAD + GOOD + "N-2,50.8").encode(), "", "ends after 2 of 5 cells"),
    ("a line of a million cells", "a.csv", (HEAD + "a," * 500_000).encode(), "", "cells where the header has 5"),
    ("no id", "a.csv", (HEAD + ",50.868,9.707,Markt,22\n").encode(), "luminaire_id", "is missing"),
    ("an id without letters", "a.csv", (HEAD + "---,50.868,9.707,Markt,22\n").encode(), "luminaire_id", "has no letter or digit"),
    ("one id twice", "a.csv", (HEAD + GOOD + GOOD).encode(), "luminaire_id", "is the id of line 2 already"),
    ("latitude and longitude swapped", "a.csv", (HEAD + "N-1,9.707,50.868,Markt,22\n").encode(), "longitude", "km from the town: swapped, or another coordinate system?"),
    ("one coordinate", "a.csv", (HEAD + "N-1,50.868,,Markt,22\n").encode(), "longitude", "is missing: the other coordinate is there"),
    ("a coordinate in words", "a.csv", (HEAD + "N-1,north,9.707,Markt,22\n").encode(), "latitude", "is no number"),
    ("nan", "a.csv", (HEAD + "N-1,50.868,9.707,Markt,nan\n").encode(), "installed_power_w", "is no number"),
    ("infinity", "a.csv", (HEAD + "N-1,50.868,9.707,Markt,1e999\n").encode(), "installed_power_w", "is no number"),
    ("kilowatts for watts", "a.csv", (HEAD + "N-1,50.868,9.707,Markt,0.105\n").encode(), "installed_power_w", "0.105 W is less than any street lamp draws: is it in kW? Then write 0.105 kW"),
    ("volts for watts", "a.csv", (HEAD + "N-1,50.868,9.707,Markt,230 V\n").encode(), "installed_power_w", "is in 'V', not in W"),
    ("more watts than a lamp has", "a.csv", (HEAD + "N-1,50.868,9.707,Markt,22800\n").encode(), "installed_power_w", "must be 0 to 5000 W"),
    ("a street as long as a book", "a.csv", (HEAD + f"N-1,50.868,9.707,{'x' * 5000},22\n").encode(), "street", "is longer than 200 bytes"),
    ("a street that a terminal obeys", "a.csv", (HEAD + "N-1,50.868,9.707,Markt\x1b[2J,22\n").encode(), "street", "holds the control character U+001B"),
    ("a 30th of February", "a.csv", b"luminaire_id,installed_on\nN-1,2024-02-30\n", "installed_on", "is no date (2024-05-31, 31.05.2024)"),
    ("the 29th of February of no leap year", "a.csv", b"luminaire_id,installed_on\nN-1,29.02.2023\n", "installed_on", "is no date"),
    ("a class that no norm knows", "a.csv", b"luminaire_id,lighting_class\nN-1,P9\n", "lighting_class", "is no class of EN 13201 (M1..M6, C0..C5, P1..P7)"),
    ("neither yes nor no", "a.csv", b"luminaire_id,conflict_area\nN-1,maybe\n", "conflict_area", "is neither yes nor no"),
    ("half a per mille", "a.csv", b"luminaire_id,floor_permille\nN-1,400.5\n", "floor_permille", "must be a whole number"),
    ("a reduction that nobody knows", "a.csv", b"luminaire_id,reduction\nN-1,by hand\n", "reduction", "is none of: single command, group command, broadcast, control phase"),
    ("more virtual output than there is", "a.csv", b"luminaire_id,virtual_output_permille\nN-1,1500\n", "virtual_output_permille", "must be 0 to 1000"),
    ("burning hours of an eternity", "a.csv", b"luminaire_id,initial_burning_hours\nN-1,1e9\n", "initial_burning_hours", "must be 0 to 1e+06"),
    ("a street for a lamp", "a.geojson", features({"type": "LineString", "coordinates": [[9.7, 50.8], [9.8, 50.9]]}), "", "geometry: is no point; luminaires are points"),
    ("a point of one number", "a.geojson", features(point(9.7)), "", "geometry: has no two coordinates"),
    ("metres that are said to be degrees", "a.geojson", features(point(549_000, 5_635_000)), "geometry.x", "is no place on earth in EPSG:4326"),
    ("entities of another type", "a.json", b'[{"id": "urn:ngsi-ld:Building:b1", "type": "Building"}]', "file", "holds entities of type Building; luminaires are entities of type Streetlight"),
    ("a street for an entity's place", "a.json", b'[{"id": "x:l1", "type": "Streetlight", "location": {"type": "LineString", "coordinates": []}}]', "", "location: is no point; a luminaire stands at one"),
    # what only the service knows
    ("a model that is not there", "a.csv", b"luminaire_id,model\nN-1,none\n", "model", "there is no luminaire model of this id"),
    ("a feeder that is not there", "a.csv", b"luminaire_id,feeder\nN-1,none\n", "feeder", "there is no feeder of this id"),
    ("a gateway without an address", "a.csv", b"luminaire_id,gateway\nN-1,G-1\n", "gateway_address", "is needed where there is a gateway"),
    ("an address that is taken", "a.csv", b"luminaire_id,gateway,gateway_address\nN-1,G-1,0\n", "gateway_address", "is the address of luminaire L-1-0 already"),
]  # fmt: skip

TAKEN: list[tuple[str, bytes]] = [
    ("a byte-order mark", b"\xef\xbb\xbf" + (HEAD + GOOD).encode()),
    ("UTF-16 with its mark", (HEAD + GOOD).encode("utf-16")),
    ("mixed line ends", (HEAD.replace("\n", "\r\n") + GOOD + GOOD.replace("N-1", "N-2").replace("\n", "\r")).encode()),
    ("decimal commas", (HEAD.replace(",", ";") + "N-1;50,868;9,707;Markt;22,5\n").encode()),
    ("a column that nobody knows", b"luminaire_id,remark\nN-1,beside the bakery\n"),
    ("Windows' own Latin-1", "luminaire_id;street\nN-1;Käserstraße\n".encode("cp1252")),
    ("kilowatts that say so", b"luminaire_id,installed_power_w\nN-1,\"0,105 kW\"\n"),
]  # fmt: skip


class Town:
    """A session as the import uses it."""

    def __init__(self, light: Lighting) -> None:
        self.lighting = light.planner

    async def parent(self) -> str:
        return T


async def offer(light: Lighting, file: Path, content: bytes) -> dict[str, str]:
    """Reasons by column for which a file is refused, as the command reads and sends it; empty where it was stored."""
    await asyncio.to_thread(file.write_bytes, content)
    try:
        table = read_table(file)
        read = read_inventory(table, make_mapping(table.columns, {}), near=HERE)
        require_rows(read)
    except InvalidInput as error:
        return {violation.field: violation.reason for violation in error.violations}
    town: Any = Town(light)
    report = await send_inventory(town, read, skip_invalid=False, dry_run=False)
    found = {item.column: item.reason for item in [*read.refusals, *refusals_of(report)]}
    assert report.committed == (not found)
    return found


async def test_every_file_that_is_no_inventory_is_refused_with_column_and_reason_and_nothing_is_stored(
    lighting: Lighting, tmp_path: Path
):
    await lighting.street()
    database, wrong = lighting.parts.database, []
    before = await everything(database, LightingTable.metadata, but=["idempotency_key"])
    for case, name, content, column, reason in FILES:
        wrong.append(problem(case, await offer(lighting, tmp_path / name, content), column, reason))
    assert [line for line in wrong if line] == []
    assert await everything(database, LightingTable.metadata, but=["idempotency_key"]) == before


@pytest.mark.parametrize(("case", "content"), TAKEN, ids=[case for case, _ in TAKEN])
async def test_habits_that_are_no_mistakes_are_taken(light: Lighting, tmp_path: Path, case: str, content: bytes):
    assert await offer(light, tmp_path / "a.csv", content) == {}
    stored = await light.planner.GetLuminaire(pb.GetLuminaireRequest(name=f"{T}/luminaires/N-1"))
    if "kilowatts" in case:
        assert stored.installed_power_w == 105
