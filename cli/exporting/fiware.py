"""The inventory as entities of FIWARE Smart Data Models, key values: Streetlight and what belongs to it.

Units are theirs: W, lm, K; places are GeoJSON points. An entity that their schema wants a place of and that has none is
left out. What they have no attribute for stands in one of ours, "lichtbuch", so that nothing is lost on the way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cli.exporting.rows import last, row_of, told_of
from cli.importing.fiware import EXTENSION
from cli.importing.parts import extension_of
from lichtbuch.lighting.v1 import inventory_pb2
from lichtbuch.type.v1.types_pb2 import Position

Entity = dict[str, Any]

LAMP_FAULTS: Final = 1 | 2
"""Lamp failure and control-gear failure: bits of the contract's states."""


def entity_id(kind: str, name: str) -> str:
    """Id of an entity: stable, with municipality and id, as "urn:ngsi-ld:Streetlight:bad-hersfeld:L-1"."""
    _, municipality, _, identifier = name.split("/")
    return f"urn:ngsi-ld:{kind}:{municipality}:{identifier}"


def _point(position: Position) -> Entity:
    return {"type": "Point", "coordinates": [position.longitude_deg, position.latitude_deg]}


def streetlight(lamp: inventory_pb2.Luminaire, rated_w: float, faults: int) -> Entity | None:
    """A luminaire; None where it has no position. rated_w: its model's, where what is installed is not known."""
    if not lamp.HasField("position"):
        return None
    row, power_w = row_of(lamp), lamp.installed_power_w or rated_w
    found: Entity = {
        "id": entity_id("Streetlight", lamp.name),
        "type": "Streetlight",
        "name": row.luminaire_id,
        "location": _point(lamp.position),
        "status": "defectiveLamp" if faults & LAMP_FAULTS else "ok",
        "controllingMethod": "individual" if lamp.gateway else "group",
        "refStreetlightGroup": entity_id("StreetlightGroup", lamp.group),
    }
    if lamp.group_by_rule:
        found["groupByRule"] = True
    if lamp.model:
        found["refStreetlightModel"] = entity_id("StreetlightModel", lamp.model)
    if lamp.cabinet:
        found["refStreetlightControlCabinet"] = entity_id("StreetlightControlCabinet", lamp.cabinet)
        found["feederPillarNum"] = last(lamp.cabinet)
    if lamp.feeder:
        found |= {"circuit": row.feeder, "feederID": row.feeder}
    if row.pole:
        found["streetPoleNum"] = row.pole
    if row.street:
        found["address"] = {"streetAddress": row.street}
    if power_w:
        found["powerRating"] = power_w
    if row.installed_on:
        found["dateServiceStarted"] = f"{row.installed_on}T00:00:00Z"
    found[EXTENSION] = {name: value for name, value in told_of(row).items() if name != "luminaire_id"}
    return found


def model(given: inventory_pb2.LuminaireModel) -> Entity:
    """A luminaire model."""
    found: Entity = {
        "id": entity_id("StreetlightModel", given.name),
        "type": "StreetlightModel",
        "name": given.display_name or last(given.name),
        "maxPowerConsumption": given.rated_power_w,
        "powerConsumption": given.rated_power_w,
    }
    if given.luminous_flux_lm:
        found["luminousFlux"] = given.luminous_flux_lm
    if given.colour_temperature_k:
        found["colorTemperature"] = given.colour_temperature_k
    found[EXTENSION] = extension_of("luminaire_model", given)
    return found


class Belongings:
    """What luminaires belong to, gathered while they are written: groups, cabinets, feeders with their members."""

    def __init__(self) -> None:
        self._members: dict[str, list[str]] = {}
        self._groups_of: dict[str, set[str]] = {}
        self._places_of: dict[str, list[tuple[float, float]]] = {}
        self._reached: set[str] = set()
        self._lamps_of: Counter[str] = Counter()

    def add(self, lamp: inventory_pb2.Luminaire) -> None:
        """Takes note of one that has an entity."""
        self._members.setdefault(lamp.group, []).append(entity_id("Streetlight", lamp.name))
        self._lamps_of[lamp.feeder] += 1
        if lamp.cabinet:
            self._groups_of.setdefault(lamp.cabinet, set()).add(lamp.group)
            place = (lamp.position.longitude_deg, lamp.position.latitude_deg)
            self._places_of.setdefault(lamp.cabinet, []).append(place)
            if lamp.gateway:
                self._reached.add(lamp.cabinet)

    def groups(self, groups: Iterable[inventory_pb2.Group]) -> Iterable[Entity]:
        """Groups that have members with a position."""
        for group in groups:
            if group.HasField("position") and group.name in self._members:
                yield {
                    "id": entity_id("StreetlightGroup", group.name),
                    "type": "StreetlightGroup",
                    "name": group.display_name or last(group.name),
                    "location": _point(group.position),
                    "refStreetlight": self._members[group.name],
                    EXTENSION: extension_of("group", group),
                }

    def cabinets(self, cabinets: Iterable[inventory_pb2.Cabinet]) -> Iterable[Entity]:
        """Cabinets that have lamps; where nobody knows where one stands, in the middle of them."""
        for cabinet in cabinets:
            groups = self._groups_of.get(cabinet.name)
            if not groups:
                continue
            features = {
                "astronomicalClock": cabinet.switching_owner == inventory_pb2.SWITCHING_OWNER_ASTRO_CLOCK,
                "individualControl": cabinet.name in self._reached,
            }
            found: Entity = {
                "id": entity_id("StreetlightControlCabinet", cabinet.name),
                "type": "StreetlightControlCabinet",
                "name": cabinet.display_name or last(cabinet.name),
                "location": self._place_of(cabinet),
                "refStreetlightGroup": [entity_id("StreetlightGroup", name) for name in sorted(groups)],
                "workingMode": "automatic",
            }
            if any(features.values()):
                found["features"] = [feature for feature, there in features.items() if there]
            if cabinet.street:
                found["address"] = {"streetAddress": cabinet.street}
            found[EXTENSION] = extension_of("cabinet", cabinet)
            yield found

    def _place_of(self, cabinet: inventory_pb2.Cabinet) -> Entity:
        if cabinet.HasField("position"):
            return _point(cabinet.position)
        places = self._places_of[cabinet.name]
        middle = (sum(values) / len(places) for values in zip(*places, strict=True))
        return {"type": "Point", "coordinates": list(middle)}

    def feeders(
        self, feeders: Iterable[inventory_pb2.Feeder], cabinets: Mapping[str, inventory_pb2.Cabinet]
    ) -> Iterable[Entity]:
        """Feeders, where their cabinet stands; those of a cabinet that has no entity have none either."""
        for feeder in feeders:
            if feeder.cabinet not in self._groups_of:
                continue
            found: Entity = {
                "id": entity_id("StreetlightFeeder", feeder.name),
                "type": "StreetlightFeeder",
                "name": last(feeder.name),
                "numStreetlight": self._lamps_of[feeder.name],
            }
            cabinet = cabinets.get(feeder.cabinet)
            if cabinet is not None and cabinet.HasField("position"):
                found["location"] = _point(cabinet.position)
            found[EXTENSION] = extension_of("feeder", feeder)
            yield found
