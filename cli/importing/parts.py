"""FIWARE's entities of what luminaires belong to, as parts of an import: models, cabinets, feeders, groups.

Our own exports say all of it in the attribute "lichtbuch"; of others' entities what they have is taken, and the rest of
what is stored stays. A feeder of others cannot be told of: nothing says which cabinet it leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from cli.importing.fiware import EXTENSION, last, point_of, street_of, text_of
from cli.importing.kinds import broken_rules
from cli.importing.luminaires import MAX_POWER_W, Refusal, parse_number, resource_id
from lichtbuch.lighting.v1 import inventory_pb2 as inv

KINDS: Final[Mapping[str, tuple[str, str, Any]]] = {
    "StreetlightModel": ("luminaire_model", "luminaireModels", inv.LuminaireModel),
    "StreetlightControlCabinet": ("cabinet", "cabinets", inv.Cabinet),
    "StreetlightFeeder": ("feeder", "feeders", inv.Feeder),
    "StreetlightGroup": ("group", "groups", inv.Group),
}
"""Field of a part, collection and message, by the type of the entity."""
_TOLD: Final = ("name", "uid", "etag")
_OUTPUT_ONLY: Final = {
    "group": ("luminaire_count", "position", "floor_permille", "has_conflict_area", "holding_floor_permille"),
}
_REFERENCES: Final = ("controller", "cabinet", "models", "cabinets")


def extension_of(kind: str, message: Any) -> dict[str, Any]:
    """All of a resource that a client may set, as the attribute of an entity; names without their municipality."""
    found: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    for field in (*_TOLD, *_OUTPUT_ONLY.get(kind, ())):
        found.pop(field, None)
    prefix = "/".join(message.name.split("/")[:2]) + "/"
    return {name: _renamed(name, value, lambda text: text.removeprefix(prefix)) for name, value in found.items()}


def read_parts(
    entities: Iterable[tuple[int, Mapping[str, Any]]], parent: str
) -> tuple[list[inv.ImportedPart], list[Refusal]]:
    """Parts of an import into a municipality, and what cannot be one."""
    parts: list[inv.ImportedPart] = []
    refusals: list[Refusal] = []
    for line, entity in entities:
        field, collection, kind = KINDS[str(entity["type"])]
        identifier = resource_id(last(entity.get("id")))
        if not identifier:
            refusals.append(Refusal(line, "id", "is missing", text_of(entity.get("id"))[:100]))
            continue
        part = inv.ImportedPart(source_line=line)
        message = getattr(part, field)
        try:
            told = _ours(entity, kind, parent) if EXTENSION in entity else _theirs(field, entity, part.fields)
        except ValueError as error:
            attribute, _, reason = str(error).partition(": ")
            refusals.append(Refusal(line, attribute, reason, text_of(entity.get(attribute))[:100]))
            continue
        if told is not None:
            message.CopyFrom(told)
            message.name = f"{parent}/{collection}/{identifier}"
            inside = f"{EXTENSION}." if EXTENSION in entity else ""
            broken = [Refusal(line, f"{inside}{rule.field}", rule.reason) for rule in broken_rules(part)]
            refusals += broken
            if not broken:
                parts.append(part)
    return parts, refusals


def _ours(entity: Mapping[str, Any], kind: Any, parent: str) -> Any:
    """What one of our exports says. Raises ValueError "attribute: reason"."""
    given = entity[EXTENSION]
    if not isinstance(given, dict):
        raise ValueError(f"{EXTENSION}: is no object")

    def whole(text: str) -> str:
        return text if text.startswith("municipalities/") else f"{parent}/{text}"

    try:
        return ParseDict({name: _renamed(name, value, whole) for name, value in given.items()}, kind())
    except ParseError as error:
        raise ValueError(f"{EXTENSION}: {error}") from error


def _theirs(field: str, entity: Mapping[str, Any], fields: FieldMask) -> Any:
    """What somebody else's entity says, and which fields that is; None for what nothing can be made of."""
    name = text_of(entity.get("name"))
    if field == "group":
        told: Any = inv.Group(display_name=name)
        fields.paths.append("display_name")
    elif field == "cabinet":
        told = inv.Cabinet(display_name=name, street=street_of(entity))
        fields.paths.extend(["display_name", "street"] if told.street else ["display_name"])
        point = point_of(entity.get("location"))
        if point is not None:
            told.position.longitude_deg, told.position.latitude_deg = (
                _number(value, "location", -180.0, 180.0) for value in point
            )
            fields.paths.append("position")
    elif field == "luminaire_model":
        power = next((entity[key] for key in ("powerConsumption", "maxPowerConsumption") if key in entity), None)
        if power is None:
            raise ValueError("powerConsumption: is missing: nobody knows what it draws")
        told = inv.LuminaireModel(display_name=name, rated_power_w=_number(power, "powerConsumption", 0.1, MAX_POWER_W))
        fields.paths.extend(["display_name", "rated_power_w"])
        for attribute, ours in (("luminousFlux", "luminous_flux_lm"), ("colorTemperature", "colour_temperature_k")):
            if attribute in entity:
                setattr(told, ours, round(_number(entity[attribute], attribute, 0, 1_000_000)))
                fields.paths.append(ours)
    else:
        return None
    return told


def _number(value: Any, attribute: str, low: float, high: float) -> float:
    try:
        found = parse_number(text_of(value))
    except ValueError as error:
        raise ValueError(f"{attribute}: {error}") from error
    if not low <= found <= high:
        raise ValueError(f"{attribute}: {found:g} is not between {low:g} and {high:g}")
    return found


def _renamed(name: str, value: Any, change: Any) -> Any:
    """A value in which references are named otherwise."""
    if isinstance(value, dict):
        return {inner: _renamed(inner, held, change) for inner, held in value.items()}
    if name in _REFERENCES and isinstance(value, str):
        return change(value)
    if name in _REFERENCES and isinstance(value, list):
        return [change(text) if isinstance(text, str) else text for text in value]
    return value
