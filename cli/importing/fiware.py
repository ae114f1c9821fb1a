"""FIWARE Smart Data Models into rows of text: entities of type Streetlight, as key values or normalized (NGSI-v2, LD).

What the entities say becomes columns with our fields' names; entities of other types are passed over. What a value
means is not decided here (luminaires.py does).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cli.importing.tables import GEOMETRY_X, GEOMETRY_Y, Row, Table, cell_text

COLUMNS: Final = (
    "luminaire_id", GEOMETRY_X, GEOMETRY_Y, "pole", "street", "model", "feeder", "group", "installed_power_w",
    "installed_on",
)  # fmt: skip


def holds_streetlights(document: object) -> bool:
    """Whether a document is a list of entities among which is a Streetlight, or one such entity."""
    entities = document if isinstance(document, list) else [document]
    return any(isinstance(entity, dict) and entity.get("type") == "Streetlight" for entity in entities)


def read_streetlights(document: Any) -> Table:
    """The Streetlights of a document; a row's line is the number of its entity."""
    table = Table(list(COLUMNS), crs="EPSG:4326", habits="FIWARE Streetlight")
    for number, entity in enumerate(document if isinstance(document, list) else [document], start=1):
        if not isinstance(entity, dict):
            table.rows.append(Row(number, {}, "is no entity"))
        elif entity.get("type") == "Streetlight":
            cells, refusal = _cells({name: plain_value(value) for name, value in entity.items()})
            table.rows.append(Row(number, cells, refusal))
    return table


def plain_value(value: Any) -> Any:
    """An attribute's value, whether it was normalized ({"type": "Property", "value": ...}) or not."""
    if isinstance(value, dict) and "type" in value:
        for key in ("value", "object"):
            if key in value:
                return value[key]
    return value


def _cells(entity: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    address = entity.get("address")
    cells = {
        "luminaire_id": _last(entity.get("id")),
        "pole": _text(entity.get("streetPoleNum")),
        "street": _text(address.get("streetAddress")) if isinstance(address, dict) else _text(address),
        "model": _last(entity.get("refStreetlightModel")),
        "feeder": _text(entity.get("feederID")) or _text(entity.get("circuit")),
        "group": "" if entity.get("groupByRule") else _last(entity.get("refStreetlightGroup")),
        "installed_power_w": _text(entity.get("powerRating")),
        "installed_on": _text(entity.get("dateServiceStarted")),
    }
    place = entity.get("location")
    if place is None:
        return cells, ""
    coordinates = place.get("coordinates") if isinstance(place, dict) and place.get("type") == "Point" else None
    if not isinstance(coordinates, list) or len(coordinates) < 2:
        return cells, "location: is no point; a luminaire stands at one"
    return {**cells, GEOMETRY_X: _text(coordinates[0]), GEOMETRY_Y: _text(coordinates[1])}, ""


def _text(value: Any) -> str:
    """A value as text; of what is no single value its form, which no field takes for right."""
    return str(value)[:200] if isinstance(value, dict | list) else cell_text(value)


def _last(value: Any) -> str:
    """The last part of an entity's id."""
    return _text(value).rpartition(":")[2]
