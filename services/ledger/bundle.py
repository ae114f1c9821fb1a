r"""Bundles: a whole log as a file that needs no server to be verified. Pure; reading and writing of its lines.

A bundle is JSON Lines in UTF-8: one object per line, told apart by "type". Version 1:

{"type": "header", "format": "lichtbuch-ledger-bundle/1", "municipality": "municipalities/bad-hersfeld"}
    The first line.
{"type": "evidence", "hash": "<64 hex digits>", "data": "<text>"}
    A blob under the SHA-256 of its bytes. `data` is its bytes as text: canonical JSON is UTF-8, so none is lost.
{"type": "leaf", "index": 0, "hash": "<64 hex digits>", "data": "<text>"}
    A leaf: its bytes, and SHA-256 of 0x00 and them. Leaves come from 0 on without a gap.
{"type": "checkpoint", "origin": "<uid>", "tree_size": 1, "root_hash": "<64 hex digits>", "signed_at": "<instant>",
 "note": "<uid>\n1\n<base64>\n", "signature": "<base64>", "public_key": "<base64>"}
    A signed tree head: Ed25519 over the UTF-8 bytes of `note`. At least one, the newest as the last line.

Evidence and checkpoints may stand anywhere after the header. Bytes that are no UTF-8, which only a damaged log holds,
come as "data_base64" instead of "data". Unknown types and fields are refused: a verifier must not skip what it cannot
judge.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeAlias

from domain.errors import InvalidInput
from services.ledger.checkpoint import Checkpoint, checkpoint_from_json, checkpoint_to_json
from services.ledger.entry import whole_milliseconds
from services.ledger.fields import Fields

FORMAT: Final = "lichtbuch-ledger-bundle/1"


@dataclass(frozen=True, slots=True)
class HeaderPart:
    """The first line."""

    municipality: str


@dataclass(frozen=True, slots=True)
class LeafPart:
    """A leaf as it is stored."""

    index: int
    data: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class EvidencePart:
    """A blob as it is stored, under the hash that it claims."""

    hash: str
    data: bytes


Part: TypeAlias = HeaderPart | LeafPart | EvidencePart | Checkpoint


class ExportedPart(Protocol):
    """The part of lichtbuch.ledger.v1.ExportLogResponse that is needed here."""

    @property
    def leaf(self) -> Any:
        """A leaf."""
        ...

    @property
    def evidence(self) -> Any:
        """A blob."""
        ...

    @property
    def checkpoint(self) -> Any:
        """A checkpoint."""
        ...

    def WhichOneof(self, oneof_group: Any) -> str | None:
        """Which of them it is."""
        ...


def write_line(part: Part) -> str:
    """A part as a line, its line feed included."""
    if isinstance(part, HeaderPart):
        value: dict[str, Any] = {"type": "header", "format": FORMAT, "municipality": part.municipality}
    elif isinstance(part, LeafPart):
        value = {"type": "leaf", "index": part.index, "hash": part.hash.hex(), **_data_to_json(part.data)}
    elif isinstance(part, EvidencePart):
        value = {"type": "evidence", "hash": part.hash, **_data_to_json(part.data)}
    else:
        value = {"type": "checkpoint", **checkpoint_to_json(part)}
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


def read_line(line: str | bytes, *, first: bool = False) -> Part | None:
    """The part on a line; None for an empty one. `first`: it has to be the header. Raises InvalidInput."""
    try:
        text = line.decode("utf-8") if isinstance(line, bytes) else line
        if not text.strip():
            return None
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput.of("line", f"not JSON in UTF-8: {error}") from error
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise InvalidInput.of("line", "not an object with a type")
    kind = value.pop("type")
    fields = Fields(value, kind)
    if first != (kind == "header"):
        raise InvalidInput.of("line", "the header has to be the first line, and only that")
    return _read_part(kind, value, fields)


def bundle_from_export(parts: Iterable[ExportedPart], municipality: str) -> Iterator[str]:
    """The lines of a bundle out of what ExportLog sends (with_evidence, from leaf 0).

    municipality: its resource name, for people; the log's own name is the origin of its checkpoints.
    """
    yield write_line(HeaderPart(municipality))
    for exported in parts:
        part = part_of_export(exported)
        if part is not None:
            yield write_line(part)


def part_of_export(exported: ExportedPart) -> Part | None:
    """One message of ExportLog as a part; None for a kind of message that this version does not know."""
    kind = exported.WhichOneof("part")
    if kind == "leaf":
        return LeafPart(exported.leaf.index, exported.leaf.data, exported.leaf.hash)
    if kind == "evidence":
        return EvidencePart(exported.evidence.hash, exported.evidence.data)
    if kind == "checkpoint":
        head = exported.checkpoint
        signed_at: datetime = head.signed_at.ToDatetime(tzinfo=UTC)
        return Checkpoint(
            origin=head.origin,
            tree_size=head.tree_size,
            root_hash=head.root_hash,
            signed_at=whole_milliseconds(signed_at),
            note=head.note,
            signature=head.signature,
            public_key=head.public_key,
        )
    return None


def _read_part(kind: str, value: dict[str, Any], fields: Fields) -> Part:
    part: Part
    if kind == "header":
        if fields.text("format") != FORMAT:
            raise InvalidInput.of("header.format", f"{value['format']!r} is not {FORMAT!r}")
        part = HeaderPart(fields.text("municipality"))
    elif kind == "leaf":
        part = LeafPart(fields.integer("index", 0), _data_from_json(value, fields), _hash_bytes(fields))
    elif kind == "evidence":
        part = EvidencePart(_hash_bytes(fields).hex(), _data_from_json(value, fields))
    elif kind == "checkpoint":
        return checkpoint_from_json(fields)
    else:
        raise InvalidInput.of("line", f"the type {kind!r} is not known")
    fields.done()
    return part


def _data_to_json(data: bytes) -> dict[str, str]:
    try:
        return {"data": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"data_base64": base64.b64encode(data).decode("ascii")}


def _data_from_json(value: dict[str, Any], fields: Fields) -> bytes:
    if "data_base64" in value:
        try:
            return base64.b64decode(fields.text("data_base64"), validate=True)
        except ValueError:
            raise InvalidInput.of("data_base64", "not base64") from None
    try:
        return fields.text("data").encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInput.of("data", "it holds half a character (a lone surrogate)") from None


def _hash_bytes(fields: Fields) -> bytes:
    try:
        digest = bytes.fromhex(fields.text("hash"))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise InvalidInput.of("hash", "64 hexadecimal digits are needed")
    return digest
