"""FIWARE Smart Data Models into rows of text: entities of type Streetlight, as key values or normalized (NGSI-v2, LD).

What the entities say becomes columns with our fields' names; what a value means is not decided here (luminaires.py
does). Entities of what luminaires belong to are handed on (parts.py), those of other types are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cli.importing.plain import COLUMNS as OURS
from cli.importing.tables import GEOMETRY_X, GEOMETRY_Y, Row, Table, cell_text
from domain.errors import InvalidInput

EXTENSION: Final = "lichtbuch"
"""Attribute in which our exports keep what the data models have no attribute for. Where it is there, it counts."""
PARTS: Final = ("StreetlightModel", "StreetlightControlCabinet", "StreetlightFeeder", "StreetlightGroup")
COLUMNS: Final = (
    "luminaire_id", GEOMETRY_X, GEOMETRY_Y,
    *(name for name in OURS if name not in ("luminaire_id", "latitude", "longitude")),
)  # fmt: skip


def holds_entities(document: object) -> bool:
    """Whether a document is a list of entities of street lighting, or one such entity.

    Raises InvalidInput for entities that are all of other types.
    """
    given = document if isinstance(document, list) else [document]
    entities = [one for one in given if isinstance(one, dict) and isinstance(one.get("type"), str)]
    kinds = {str(entity["type"]) for entity in entities}
    if kinds & {"Streetlight", *PARTS}:
        return True
    if kinds and all(str(entity.get("id")).startswith("urn:ngsi-ld:") for entity in entities):
        found = ", ".join(sorted(kinds)[:5])
        raise InvalidInput.of("file", f"holds entities of type {found}; luminaires are entities of type Streetlight")
    return False


def read_entities(document: Any) -> Table:
    """The Streetlights of a document, and what they belong to; a row's line is the number of its entity."""
    table = Table(list(COLUMNS), crs="EPSG:4326", habits="FIWARE Streetlight")
    for number, entity in enumerate(document if isinstance(document, list) else [document], start=1):
        if not isinstance(entity, dict):
            table.rows.append(Row(number, {}, "is no entity"))
            continue
        plain = {name: plain_value(value) for name, value in entity.items()}
        if entity.get("type") == "Streetlight":
            cells, refusal = _cells(plain)
            table.rows.append(Row(number, cells, refusal))
        elif entity.get("type") in PARTS:
            table.entities.append((number, plain))
    return table


def plain_value(value: Any) -> Any:
    """An attribute's value, whether it was normalized ({"type": "Property", "value": ...}) or not."""
    if isinstance(value, dict) and "type" in value:
        for key in ("value", "object"):
            if key in value:
                return value[key]
    return value


def _cells(entity: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    cells = {"luminaire_id": last(entity.get("id"))}
    ours = entity.get(EXTENSION)
    if isinstance(ours, dict):
        cells |= {name: text_of(ours.get(name)) for name in COLUMNS[3:]}
    else:
        cells |= {
            "pole": text_of(entity.get("streetPoleNum")),
            "street": street_of(entity),
            "model": last(entity.get("refStreetlightModel")),
            "feeder": text_of(entity.get("feederID")) or text_of(entity.get("circuit")),
            "group": "" if entity.get("groupByRule") else last(entity.get("refStreetlightGroup")),
            "installed_power_w": text_of(entity.get("powerRating")),
            "installed_on": text_of(entity.get("dateServiceStarted")),
        }
    place = entity.get("location")
    if place is None:
        return cells, ""
    point = point_of(place)
    if point is None:
        return cells, "location: is no point; a luminaire stands at one"
    return {**cells, GEOMETRY_X: text_of(point[0]), GEOMETRY_Y: text_of(point[1])}, ""


def point_of(place: Any) -> tuple[Any, Any] | None:
    """Longitude and latitude of a GeoJSON point; None for anything else."""
    coordinates = place.get("coordinates") if isinstance(place, dict) and place.get("type") == "Point" else None
    if not isinstance(coordinates, list) or len(coordinates) < 2:
        return None
    return coordinates[0], coordinates[1]


def street_of(entity: Mapping[str, Any]) -> str:
    """The street of an entity's address."""
    address = entity.get("address")
    return text_of(address.get("streetAddress")) if isinstance(address, dict) else text_of(address)


def text_of(value: Any) -> str:
    """A value as text; of what is no single value its form, which no field takes for right."""
    return str(value)[:200] if isinstance(value, dict | list) else cell_text(value)


def last(value: Any) -> str:
    """The last part of an entity's id."""
    return text_of(value).rpartition(":")[2]
