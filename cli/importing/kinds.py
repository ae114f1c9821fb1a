"""What an inventory holds beside luminaires, as files tell of it: kinds, and each field of a kind as a column.

The columns follow the contract field by field, so that a field of tomorrow is a column without anybody's doing. Numbers
are in the unit that the field's name says; references are the last part of a name; an instant is written in UTC
(2026-11-21T11:00:00Z); a list of numbers is written as points ("0:800 9000:1000"), any other list or group of fields as
JSON. sheets.py reads files of them, cli/exporting/sheets.py writes them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.timestamp_pb2 import Timestamp

from cli.importing.luminaires import NO, YES, parse_number, resource_id
from domain.errors import InvalidInput, Violation
from domain.night import local_instant
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2, sensors_pb2
from lichtbuch.type.v1.types_pb2 import Position
from servicekit.interceptors.rules import rules_of, validate

TOLD_BY_SERVICE: Final = ("name", "uid", "etag")
"""What every resource has and no client sets: its name is the first column, the others belong to one service."""
_DEGREES: Final = {"latitude": ("latitude_deg", 90.0), "longitude": ("longitude_deg", 180.0)}
_TIME: Final = re.compile(r"(\d{1,2}):(\d\d)(?::00)?")
_MOST: Final = {FieldDescriptor.CPPTYPE_INT32: 2**31, FieldDescriptor.CPPTYPE_INT64: 2**53}
"""Beyond 2^53 a number in a file is no longer read exactly."""
_INTEGERS: Final = tuple(_MOST)


@dataclass(frozen=True)
class Kind:
    """A kind of resource: what its file, its first column, its part of an import and its collection are called."""

    stem: str
    id_column: str
    part: str
    collection: str
    message: Any
    output_only: tuple[str, ...] = ()
    """Fields that the service works out."""

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.stem}.csv"


KINDS: Final = (
    Kind("models", "model_id", "luminaire_model", "luminaireModels", inv.LuminaireModel),
    Kind("cabinets", "cabinet_id", "cabinet", "cabinets", inv.Cabinet),
    Kind("feeders", "feeder_id", "feeder", "feeders", inv.Feeder),
    Kind("gateways", "gateway_id", "gateway", "gateways", inv.Gateway),
    Kind("groups", "group_id", "group", "groups", inv.Group,
         ("luminaire_count", "position", "floor_permille", "has_conflict_area", "holding_floor_permille")),
    Kind("sensors", "sensor_id", "sensor", "sensors", sensors_pb2.Sensor),
)  # fmt: skip
"""In the order in which they refer to each other."""


@dataclass(frozen=True)
class Column:
    """A column: a field of the contract, or one coordinate of it."""

    name: str
    field: FieldDescriptor
    header: str

    def text(self, message: Any) -> str:
        """The field as a cell; empty where it is not set."""
        name = self.field.name
        if self.field.has_presence and not message.HasField(name):
            return ""
        value = getattr(message, name)
        if self.name in _DEGREES:
            return repr(getattr(value, _DEGREES[self.name][0]))
        if is_points(self.field):
            return " ".join(":".join(str(number) for number in _numbers(point)) for point in value)
        if is_instant(self.field):
            return str(value.ToJsonString())
        if self.field.message_type is not None:
            return _json(message, self.field)
        if self.field.is_repeated:
            return " ".join(map(last, value)) if collection_of(self.field) else json.dumps(list(value))
        return _scalar_text(self.field, value)

    def take(self, message: Any, text: str, parent: str) -> None:
        """Puts a cell's text into a message of a municipality. Raises ValueError with the reason."""
        if not text:
            return
        name, field = self.field.name, self.field
        if self.name in _DEGREES:
            inner, most = _DEGREES[self.name]
            value = parse_number(text)
            if not -most <= value <= most:
                raise ValueError(f"must be {-most:g} to {most:g}")
            setattr(getattr(message, name), inner, value)
        elif is_points(field):
            for point in text.split():
                _take_point(getattr(message, name).add(), field, point)
        elif is_instant(field):
            getattr(message, name).FromDatetime(_instant(text))
        elif field.message_type is not None:
            _take_json(message, field, text, parent)
        elif field.is_repeated and (collection := collection_of(field)):
            getattr(message, name).extend(whole(word, collection, parent) for word in text.replace(",", " ").split())
        elif field.is_repeated:
            _take_json(message, field, text, parent)
        else:
            setattr(message, name, _scalar(field, text, parent))


@cache
def columns_of(kind: Kind) -> tuple[Column, ...]:
    """The columns of a kind's file behind the first one, which holds ids."""
    return tuple(_columns(kind))


def _columns(kind: Kind) -> Iterator[Column]:
    for field in kind.message.DESCRIPTOR.fields:
        if field.name in (*TOLD_BY_SERVICE, *kind.output_only):
            continue
        if field.message_type is Position.DESCRIPTOR and not field.is_repeated:
            yield from (Column(name, field, name) for name in _DEGREES)
        elif is_points(field):
            parts = ":".join(inner.name for inner in field.message_type.fields)
            yield Column(field.name, field, f"{field.name} ({parts})")
        else:
            yield Column(field.name, field, field.name)


def broken_rules(part: inv.ImportedPart) -> list[Violation]:
    """What the contract's rules do not allow of what a part tells, by the fields of its resource."""
    prefix = f"part.{part.WhichOneof('part')}."
    try:
        validate(lighting_pb2.ImportLuminairesRequest(part=part))
    except InvalidInput as error:
        return [Violation(violation.field.removeprefix(prefix), violation.reason) for violation in error.violations]
    return []


def is_points(field: FieldDescriptor) -> bool:
    """Whether a field is a list of messages that hold whole numbers only."""
    return (
        field.is_repeated
        and field.message_type is not None
        and all(inner.cpp_type in _INTEGERS and not inner.is_repeated for inner in field.message_type.fields)
    )


def is_instant(field: FieldDescriptor) -> bool:
    """Whether a field is a point in time."""
    return field.message_type is Timestamp.DESCRIPTOR and not field.is_repeated


def with_offset(text: str, tz: ZoneInfo) -> str:
    """An instant as a cell has it, 2026-11-21T12:00 or 2026-11-21, on a local clock if it does not say otherwise."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if at.tzinfo else local_instant(at.date(), at.time(), tz).isoformat()


def collection_of(field: FieldDescriptor) -> str:
    """The collection that a field's names are of; empty where it holds no names."""
    return str(rules_of(field).reference)


def last(name: str) -> str:
    """Last part of a resource name."""
    return name.rpartition("/")[2]


def whole(text: str, collection: str, parent: str) -> str:
    """A resource name from the last part of one. Raises ValueError."""
    identifier = resource_id(last(text))
    if not identifier:
        raise ValueError("has no letter or digit")
    return f"{parent}/{collection}/{identifier}"


def word_of(field: FieldDescriptor, number: int) -> str:
    """A value of an enumeration in words: "half night conductor"; empty for not stated."""
    return _words(field).get(number, "") if number else ""


@cache
def _words(field: FieldDescriptor) -> dict[int, str]:
    if field.enum_type is None:
        return {}
    values = field.enum_type.values
    prefix = values[0].name.removesuffix("UNSPECIFIED")
    return {value.number: value.name.removeprefix(prefix).replace("_", " ").lower() for value in values if value.number}


def _scalar_text(field: FieldDescriptor, value: Any) -> str:
    if field.enum_type is not None:
        return word_of(field, value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return last(value) if collection_of(field) else value
    return repr(value)


def _scalar(field: FieldDescriptor, text: str, parent: str) -> Any:
    if field.enum_type is not None:
        words = _words(field)
        asked = " ".join(text.casefold().replace("_", " ").replace("-", " ").split())
        number = next((number for number, word in words.items() if word == asked), None)
        if number is None:
            raise ValueError(f"is none of: {', '.join(words.values())}")
        return number
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        collection = collection_of(field)
        return whole(text, collection, parent) if collection else _text(field, text)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        if text.casefold() not in YES | NO:
            raise ValueError("is neither yes nor no")
        return text.casefold() in YES
    value = parse_number(text, "W" if field.name.endswith("_w") else "")
    return _integer(value, _MOST[field.cpp_type]) if field.cpp_type in _INTEGERS else value


def _text(field: FieldDescriptor, text: str) -> str:
    """A text; a local time as a spreadsheet writes it back (7:05, 22:30:00) is the time that was meant."""
    pattern, time = rules_of(field).pattern, _TIME.fullmatch(text)
    if not pattern or time is None:
        return text
    plain = f"{int(time.group(1)):02}:{time.group(2)}"
    return plain if re.fullmatch(pattern, plain) else text


def _integer(value: float, most: int = 2**31) -> int:
    if not math.isfinite(value) or not value.is_integer():
        raise ValueError("must be a whole number")
    if not -most <= value < most:
        raise ValueError("is larger than any such number")
    return int(value)


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is no time; write 2026-11-21T12:00+01:00") from None
    if at.tzinfo is None:
        raise ValueError(f"says no offset from UTC; write {text}+01:00")
    return at.astimezone(UTC)


def _numbers(point: Any) -> list[int]:
    return [getattr(point, field.name) for field in point.DESCRIPTOR.fields]


def _take_point(point: Any, field: FieldDescriptor, text: str) -> None:
    names = [inner.name for inner in point.DESCRIPTOR.fields]
    numbers = text.split(":")
    if len(numbers) != len(names):
        raise ValueError(f"{text[:40]!r} is not {':'.join(names)}")
    for name, number in zip(names, numbers, strict=True):
        try:
            setattr(point, name, _integer(parse_number(number)))
        except ValueError as error:
            raise ValueError(f"{text[:40]!r}: {name} {error}") from None


def _json(message: Any, field: FieldDescriptor) -> str:
    """A field as JSON, with the names of the contract; references without their municipality."""
    found = MessageToDict(message, preserving_proto_field_name=True).get(field.name)
    if not found:
        return "{}" if not field.is_repeated else ""
    return json.dumps(_renamed(found, field, lambda name, _: last(name)), ensure_ascii=False)


def _take_json(message: Any, field: FieldDescriptor, text: str, parent: str) -> None:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON: {error}") from error
    try:
        told = _renamed(given, field, lambda name, collection: whole(name, collection, parent))
        ParseDict({field.name: told}, message)
    except (ParseError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error


def _renamed(value: Any, field: FieldDescriptor, change: Any) -> Any:
    """A value of a field in which references are named otherwise."""
    if isinstance(value, list):
        return [_renamed(item, field, change) for item in value]
    if isinstance(value, dict) and field.message_type is not None:
        inner = field.message_type.fields_by_name
        return {name: _renamed(held, inner[name], change) if name in inner else held for name, held in value.items()}
    collection = collection_of(field)
    return change(value, collection) if collection and isinstance(value, str) else value
