"""Luminaires of lighting as the rows and cells that files of inventories have. The same fields as in cli/importing."""

from __future__ import annotations

from typing import Any, Final

from cli.importing.luminaires import REDUCTIONS, LuminaireRow
from cli.importing.plain import COLUMNS, UNKNOWN_IF_ZERO
from lichtbuch.lighting.v1 import inventory_pb2

PLACE: Final = ("latitude", "longitude")


def last(name: str) -> str:
    """Last part of a resource name."""
    return name.rpartition("/")[2]


def row_of(lamp: inventory_pb2.Luminaire) -> LuminaireRow:
    """A luminaire as a row. Its group only where it was given by name: what follows from rules does so again."""
    placed, before = lamp.HasField("position"), lamp.previous if lamp.HasField("previous") else None
    day = lamp.installed_on
    return LuminaireRow(
        line=0,
        luminaire_id=last(lamp.name),
        latitude_deg=lamp.position.latitude_deg if placed else None,
        longitude_deg=lamp.position.longitude_deg if placed else None,
        pole=lamp.pole,
        street=lamp.street,
        model=last(lamp.model),
        feeder=last(lamp.feeder),
        gateway=last(lamp.gateway),
        gateway_address=lamp.gateway_address if lamp.gateway else None,
        group="" if lamp.group_by_rule else last(lamp.group),
        lighting_class=lamp.lighting_class,
        floor_permille=lamp.floor_permille,
        conflict_area=lamp.conflict_area,
        installed_power_w=lamp.installed_power_w or None,
        previous_lamp_power_w=(before.lamp_power_w or None) if before else None,
        previous_ballast_power_w=(before.ballast_power_w or None) if before else None,
        previous_half_night=before.half_night if before else False,
        lamp_technology=lamp.lamp_technology,
        installed_on=f"{day.year:04}-{day.month:02}-{day.day:02}" if lamp.HasField("installed_on") else "",
        reduction=REDUCTIONS[lamp.reduction - 1] if lamp.reduction else "",
        virtual_output_permille=lamp.virtual_output_permille,
        initial_burning_hours=lamp.initial_burning_hours,
    )


def told_of(row: LuminaireRow) -> dict[str, Any]:
    """What is known of a luminaire apart from its place, by the names of our columns."""
    known = {name: getattr(row, name) for name in COLUMNS if name not in PLACE}
    return {
        name: value
        for name, value in known.items()
        if value not in (None, "") and (value or name not in UNKNOWN_IF_ZERO)
    }


def feature_of(lamp: inventory_pb2.Luminaire) -> dict[str, Any]:
    """A luminaire as a GeoJSON feature (RFC 7946: WGS84, longitude first; no geometry where it has no position)."""
    row = row_of(lamp)
    geometry = None
    if row.latitude_deg is not None:
        geometry = {"type": "Point", "coordinates": [row.longitude_deg, row.latitude_deg]}
    return {"type": "Feature", "id": row.luminaire_id, "geometry": geometry, "properties": told_of(row)}
