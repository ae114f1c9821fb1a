r"""One way to write a value as bytes, so that who holds the same value holds the same hash. Not: the hash tree.

Version 1 is JSON (RFC 8259) with these choices, close to RFC 8785 but without floating point:

- UTF-8, no white space, keys sorted by code point, only `"`, `\` and control characters escaped;
- numbers are integers of at most 64 bits; floats are refused, since their text depends on who writes it;
- Decimal becomes a string with no exponent and no trailing zeros: equal numbers have equal bytes;
- an aware datetime becomes RFC 3339 in UTC with milliseconds and `Z`, finer digits are cut off; a date
  becomes its ISO form;
- lists and tuples are arrays, mappings with string keys are objects. Everything else is refused.

Stored bytes name their version (see `document`), so that a later version 2 leaves every old hash standing.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final, TypeAlias

from domain.errors import InvalidInput

CANONICAL_VERSION: Final = 1
MAX_DEPTH: Final = 64
_MAX_INT: Final = 2**63 - 1

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"


def canonical_bytes(obj: object) -> bytes:
    """The canonical bytes (version 1) of a value. Raises InvalidInput that names the path of what cannot be written."""
    return _encode(_plain(obj, "", 0))


def document(kind: str, schema: int, body: object) -> bytes:
    """Canonical bytes of a body together with what is needed to read it in twenty years.

    kind: what it is, for instance "lichtbuch.ledger.entry". schema: version of the body's fields, counted by its owner.
    """
    if schema < 1:
        raise InvalidInput.of("schema", "versions count from 1")
    return canonical_bytes({"canonical": CANONICAL_VERSION, "kind": kind, "schema": schema, "body": body})


def read_document(data: bytes, kind: str) -> tuple[int, dict[str, Any]]:
    """Schema version and body of a stored document. Raises InvalidInput unless it is canonical and of this kind."""
    value = read_canonical(data)
    if not isinstance(value, dict) or set(value) != {"canonical", "kind", "schema", "body"}:
        raise InvalidInput.of("document", "it is not an envelope of canonical, kind, schema and body")
    if value["canonical"] != CANONICAL_VERSION:
        raise InvalidInput.of("document.canonical", f"version {value['canonical']} is not known here")
    if value["kind"] != kind:
        raise InvalidInput.of("document.kind", f"{value['kind']!r} where {kind!r} is needed")
    schema, body = value["schema"], value["body"]
    if not isinstance(schema, int) or isinstance(schema, bool) or not isinstance(body, dict):
        raise InvalidInput.of("document", "schema is no integer or body no object")
    return schema, body


def read_canonical(data: bytes) -> Json:
    """Reads canonical bytes back. Raises InvalidInput if they are not exactly what `canonical_bytes` would write."""
    try:
        value: Json = json.loads(data.decode("utf-8"), parse_float=_refuse_float, parse_constant=_refuse_float)
        rewritten = canonical_bytes(value)
    except (ValueError, RecursionError) as error:
        raise InvalidInput.of("document", f"not JSON in UTF-8: {error}") from error
    if rewritten != data:
        raise InvalidInput.of("document", "the bytes are not in canonical form")
    return value


def sha256_hex(data: bytes) -> str:
    """SHA-256 as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def canonical_hash(obj: object) -> str:
    """SHA-256 of the canonical bytes, as hexadecimal digits."""
    return sha256_hex(canonical_bytes(obj))


def decimal_text(number: Decimal) -> str:
    """The canonical text of a finite decimal number: no exponent, no trailing zeros, no negative zero."""
    if not number.is_finite():
        raise InvalidInput.of("", f"{number} is not a finite number")
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def instant_text(instant: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-03-29T01:00:00.000Z``. Finer digits are cut off."""
    if instant.utcoffset() is None:
        raise InvalidInput.of("", "an instant with a time zone is needed")
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _encode(value: Json) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")


def _refuse_float(text: str) -> Json:
    raise ValueError(f"{text} is not an integer")


def _plain(value: object, path: str, depth: int) -> Json:
    """The value in terms of JSON's own types. Strict about types: a subclass may print itself in its own way."""
    if depth > MAX_DEPTH:
        raise InvalidInput.of(path, f"nested deeper than {MAX_DEPTH}")
    if value is None or value is True or value is False:
        return value
    if isinstance(value, Enum):
        return _plain(value.value, path, depth)
    if isinstance(value, str):
        return _text(str(value), path)
    if isinstance(value, int):
        if not -_MAX_INT - 1 <= value <= _MAX_INT:
            raise InvalidInput.of(path, "the integer needs more than 64 bits")
        return int(value)
    if isinstance(value, Decimal | datetime | date):
        return _scalar_text(value, path)
    if isinstance(value, Mapping):
        result: dict[str, Json] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise InvalidInput.of(path, f"the key {key!r} is not a string")
            result[_text(str(key), path)] = _plain(item, f"{path}.{key}" if path else key, depth + 1)
        return result
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    raise InvalidInput.of(path, f"{type(value).__name__} has no canonical form")


def _scalar_text(value: Decimal | datetime | date, path: str) -> str:
    try:
        if isinstance(value, Decimal):
            return decimal_text(value)
        return instant_text(value) if isinstance(value, datetime) else value.isoformat()
    except InvalidInput as error:
        raise error.under(path) if path else error from None


def _text(text: str, path: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInput.of(path, "the text holds half a character (a lone surrogate)") from None
    return text
