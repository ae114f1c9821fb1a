"""What is written to a file is read from it again as it was: export(import(x)) == x, for every luminaire and part."""

import csv
import io
import json
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.exporting.fiware import streetlight
from cli.exporting.rows import feature_of, row_of
from cli.importing.fiware import EXTENSION
from cli.importing.luminaires import read_inventory
from cli.importing.mapping import make_mapping
from cli.importing.parts import KINDS, extension_of, read_parts
from cli.importing.plain import COLUMNS, plain_cells
from cli.importing.tables import read_table
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.type.v1.types_pb2 import Date, Position

T = "municipalities/bad-hersfeld"
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,30}", fullmatch=True)
# Spaces around a text do not count in files, and control characters are refused before anything is stored.
TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=15).map(str.strip)
NUMBERS: dict[str, Any] = {"allow_nan": False, "allow_infinity": False}
WATTS = st.one_of(st.just(0.0), st.floats(1, 5000, **NUMBERS))
PERMILLE = st.integers(0, 1000)
DAYS = st.dates(min_value=date(1900, 1, 1), max_value=date(2200, 1, 1))


@st.composite
def luminaires(draw: st.DrawFn, *, placed: bool) -> inv.Luminaire:
    """A luminaire as a service may tell of it."""
    lamp = inv.Luminaire(
        name=f"{T}/luminaires/{draw(IDS)}", pole=draw(TEXTS), street=draw(TEXTS),
        lighting_class=draw(st.sampled_from(["", "M1", "C0", "P7"])), floor_permille=draw(PERMILLE),
        conflict_area=draw(st.booleans()), installed_power_w=draw(WATTS), lamp_technology=draw(TEXTS),
        reduction=inv.Reduction.ValueType(draw(st.integers(0, 7))), virtual_output_permille=draw(PERMILLE),
        initial_burning_hours=draw(st.integers(0, 1_000_000)), group=f"{T}/groups/{draw(IDS)}",
        group_by_rule=draw(st.booleans()),
    )  # fmt: skip
    for field, collection in (("model", "luminaireModels"), ("feeder", "feeders"), ("gateway", "gateways")):
        if draw(st.booleans()):
            setattr(lamp, field, f"{T}/{collection}/{draw(IDS)}")
    if lamp.gateway:
        lamp.gateway_address = draw(st.integers(0, 4095))
    if placed or draw(st.booleans()):
        latitude, longitude = draw(st.floats(-89, 89, **NUMBERS)), draw(st.floats(-179, 179, **NUMBERS))
        if abs(latitude) > 1e-6 and abs(longitude) > 1e-6:
            lamp.position.CopyFrom(Position(latitude_deg=latitude, longitude_deg=longitude))
    if draw(st.booleans()):
        day = draw(DAYS)
        lamp.installed_on.CopyFrom(Date(year=day.year, month=day.month, day=day.day))
    if draw(st.booleans()):
        lamp.previous.CopyFrom(
            inv.PreviousOperation(
                lamp_power_w=draw(WATTS), ballast_power_w=draw(st.floats(0, 1000, **NUMBERS)),
                half_night=draw(st.booleans()),
            )
        )  # fmt: skip
    return lamp


def written(form: str, lamp: inv.Luminaire) -> str:
    """The text of a file with one luminaire."""
    if form == "csv":
        stream = io.StringIO(newline="")
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerow(plain_cells(row_of(lamp), exact=True))
        return stream.getvalue()
    if form == "geojson":
        return json.dumps({"type": "FeatureCollection", "features": [feature_of(lamp)]}, ensure_ascii=False)
    return json.dumps([streetlight(lamp, 70.0, 0)], ensure_ascii=False)


@pytest.mark.parametrize("form", ["csv", "geojson", "fiware"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_luminaire_is_read_as_it_was_written(form: str, data: st.DataObject) -> None:
    lamp = data.draw(luminaires(placed=form == "fiware"))
    if form == "fiware" and not lamp.HasField("position"):
        return  # their schema wants a place
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"town.{form if form != 'fiware' else 'json'}"
        file.write_text(written(form, lamp), encoding="utf-8", newline="")
        table = read_table(file)
    read = read_inventory(table, make_mapping(table.columns, {}), crs="EPSG:4326")
    assert not read.refusals
    [row] = read.rows
    assert vars(row) | {"line": 0} == vars(row_of(lamp))


def filled(draw: Any, kind: Any, **values: Any) -> Any:
    """A message of a kind with some of the values."""
    return kind(**{name: draw(value) for name, value in values.items() if draw(st.booleans())})


@st.composite
def parts(draw: st.DrawFn) -> tuple[str, Any]:
    """A type of entity, and a model, cabinet, feeder or group."""
    type_ = draw(st.sampled_from(sorted(KINDS)))
    degrees = {"latitude_deg": st.floats(-89, 89, **NUMBERS), "longitude_deg": st.floats(-179, 179, **NUMBERS)}
    position = st.builds(Position, **degrees)
    if type_ == "StreetlightModel":
        clo = st.builds(inv.CloPoint, burning_hours=st.integers(0, 10**6), output_permille=st.integers(1, 1000))
        message = filled(
            draw, inv.LuminaireModel, display_name=TEXTS,
            standby_power_w=st.floats(0, 50, **NUMBERS),
            curve=st.lists(st.builds(inv.CurvePoint, level_permille=PERMILLE, power_permille=PERMILLE), max_size=4),
            clo=st.lists(clo, max_size=3), colour_temperature_k=st.integers(0, 20_000), clo_by=st.integers(0, 2),
        )  # fmt: skip
        message.rated_power_w = draw(st.floats(0.1, 5000, **NUMBERS))
    elif type_ == "StreetlightControlCabinet":
        load = st.builds(
            inv.ForeignLoad, display_name=TEXTS.filter(bool), power_w=st.floats(0.1, 1e6, **NUMBERS),
            from_month=st.integers(1, 12), to_month=st.integers(1, 12),
        )  # fmt: skip
        message = filled(
            draw, inv.Cabinet, display_name=TEXTS, street=TEXTS, position=position,
            controller=IDS.map(lambda name: f"{T}/endpoints/{name}"), switching_owner=st.integers(1, 4),
            foreign_loads=st.lists(load, max_size=3), inrush_step_ms=st.integers(0, 60_000),
        )  # fmt: skip
    elif type_ == "StreetlightFeeder":
        message = filled(
            draw, inv.Feeder, channel=st.integers(0, 63), phase=st.integers(0, 3), reduction=st.integers(0, 7),
            inrush_step_ms=st.integers(0, 60_000),
        )  # fmt: skip
        message.cabinet, message.supply = f"{T}/cabinets/{draw(IDS)}", draw(st.sampled_from([1, 2]))
    else:
        rule = st.builds(
            inv.GroupRule, rank=st.integers(0, 10**6), streets=st.lists(TEXTS, max_size=3),
            models=st.lists(IDS.map(lambda name: f"{T}/luminaireModels/{name}"), max_size=2),
            cabinets=st.lists(IDS.map(lambda name: f"{T}/cabinets/{name}"), max_size=2),
            polygon=st.lists(position, max_size=4),
        )  # fmt: skip
        message = filled(draw, inv.Group, display_name=TEXTS, rule=rule)
    message.name = f"{T}/{KINDS[type_][1]}/{draw(IDS)}"
    return type_, message


@given(parts())
@settings(max_examples=150, deadline=None)
def test_a_part_is_read_as_it_was_written_also_for_another_town(given_part: tuple[str, Any]) -> None:
    type_, message = given_part
    field = KINDS[type_][0]
    identifier = message.name.rpartition("/")[2]
    told = {"id": f"urn:ngsi-ld:{type_}:x:{identifier}", "type": type_, EXTENSION: extension_of(field, message)}
    entity = json.loads(json.dumps(told))
    found, refusals = read_parts([(1, entity)], T)
    assert not refusals
    assert getattr(found[0], field) == message
    [there], _ = read_parts([(1, entity)], "municipalities/fulda")
    assert "bad-hersfeld" not in str(there)


@pytest.mark.parametrize(
    ("entity", "column", "reason"),
    [
        ({"type": "StreetlightModel", "id": "urn:ngsi-ld:StreetlightModel:m"}, "powerConsumption", "is missing"),
        ({"type": "StreetlightModel", "id": "x:m", "powerConsumption": "many"}, "powerConsumption", "is no number"),
        ({"type": "StreetlightModel", "id": "x:m", "powerConsumption": 9e9}, "powerConsumption", "is not between 0.1"),
        ({"type": "StreetlightGroup", "id": "x:---"}, "id", "is missing"),
        ({"type": "StreetlightGroup", "id": "x:g", EXTENSION: 7}, EXTENSION, "is no object"),
        ({"type": "StreetlightGroup", "id": "x:g", EXTENSION: {"color": "red"}}, EXTENSION, "color"),
        (
            {"type": "StreetlightFeeder", "id": "x:f", EXTENSION: {"cabinet": "cabinets/C-1", "reduced_from": "25:00",
             "supply": "FEEDER_SUPPLY_SWITCHED"}},
            "lichtbuch.reduced_from", "25:00",
        ),
        (
            {"type": "StreetlightControlCabinet", "id": "x:c", "location": {"type": "Point", "coordinates": [1, "n"]}},
            "location", "is no number",
        ),
    ],
)  # fmt: skip
def test_a_part_that_cannot_be_is_refused_with_line_attribute_and_reason(
    entity: dict[str, Any], column: str, reason: str
) -> None:
    found, [refusal] = read_parts([(7, entity)], T)
    assert not found
    assert (refusal.line, refusal.column) == (7, column)
    assert reason in refusal.reason
