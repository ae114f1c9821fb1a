"""Streetlights of Smart Data Models, and features that are no points: what is read, what is refused and why."""

import json
from pathlib import Path
from typing import Any

from cli.importing.luminaires import Inventory, read_inventory
from cli.importing.mapping import make_mapping
from cli.importing.tables import read_table


def read(tmp_path: Path, document: Any) -> Inventory:
    file = tmp_path / "lamps.json"
    file.write_text(json.dumps(document))
    table = read_table(file)
    return read_inventory(table, make_mapping(table.columns, {}))


LAMP = {
    "id": "streetlight:guadalajara:4567", "type": "Streetlight", "status": "ok",
    "location": {"type": "Point", "coordinates": [9.7, 50.8]}, "refStreetlightGroup": "streetlightgroup:G345",
    "refStreetlightModel": "streetlightmodel:STEEL_Tubular_10m", "circuit": "C-456-A467", "streetPoleNum": "2",
    "powerRating": 45, "dateServiceStarted": "2016-07-08T08:02:21.753Z", "address": {"streetAddress": "Am Markt"},
}  # fmt: skip


def test_key_values_become_a_luminaire(tmp_path: Path):
    (row,) = read(tmp_path, [LAMP, {"id": "x", "type": "StreetlightGroup"}]).rows
    assert (row.luminaire_id, row.latitude_deg, row.longitude_deg) == ("4567", 50.8, 9.7)
    assert (row.group, row.model, row.feeder, row.pole) == ("G345", "STEEL_Tubular_10m", "C-456-A467", "2")
    assert (row.installed_power_w, row.installed_on, row.street) == (45, "2016-07-08", "Am Markt")


def test_one_entity_and_normalized_entities_are_read_alike(tmp_path: Path):
    normalized = {
        name: value if name in ("id", "type")
        else {"type": "Relationship", "object": value} if name.startswith("ref")
        else {"type": "GeoProperty" if name == "location" else "Property", "value": value}
        for name, value in LAMP.items()
    }  # fmt: skip
    assert read(tmp_path, normalized).rows == read(tmp_path, LAMP).rows


def test_a_group_that_follows_from_a_rule_is_not_given_by_name(tmp_path: Path):
    assert read(tmp_path, [{**LAMP, "groupByRule": True}]).rows[0].group == ""


def test_refused_entities_name_field_and_reason(tmp_path: Path):
    line = {"type": "LineString", "coordinates": [[9, 50], [9, 51]]}
    found = read(
        tmp_path,
        [LAMP, {**LAMP, "id": ""}, {**LAMP, "id": "a:2", "location": line},
         {**LAMP, "id": "a:3", "powerRating": "much"}, {**LAMP, "id": "a:4", "dateServiceStarted": "soon"},
         LAMP, "none"],
    )  # fmt: skip
    refused = {(refusal.line, refusal.column): refusal.reason for refusal in found.refusals}
    assert len(found.rows) == 1
    assert refused[2, "luminaire_id"] == "is missing"
    assert refused[3, ""].startswith("location: is no point")
    assert refused[4, "installed_power_w"] == "is no number"
    assert refused[5, "installed_on"].startswith("is no date")
    assert refused[6, "luminaire_id"] == "is the id of line 1 already"
    assert refused[7, ""] == "is no entity"


def test_features_that_are_no_points_are_refused(tmp_path: Path):
    def feature(identifier: str, geometry: Any) -> dict[str, Any]:
        return {"type": "Feature", "id": identifier, "geometry": geometry, "properties": {"pole": identifier}}

    found = read(tmp_path, {"type": "FeatureCollection", "features": [
        feature("a", {"type": "Point", "coordinates": [9.7, 50.8]}), feature("b", None),
        feature("c", {"type": "Polygon", "coordinates": []}), feature("d", {"type": "Point", "coordinates": [9]}), 5,
    ]})  # fmt: skip
    assert [row.luminaire_id for row in found.rows] == ["a", "b"]
    reasons = {refusal.line: refusal.reason for refusal in found.refusals if not refusal.column}
    assert "no point" in reasons[3]
    assert "no two coordinates" in reasons[4]
    assert reasons[5] == "is no feature"
