"""Signed tree heads: the note, its Ed25519 signature, and what can be wrong with one. Pure; no keys, no files.

The note is the text of C2SP's tlog-checkpoint: three lines, each ended by a line feed: the origin (uid of the
municipality whose log it is), the number of leaves in decimal, the root hash in base64. The signature covers its UTF-8
bytes. When it was signed is not signed: a time that only we vouch for would prove nothing.
"""

import base64
import binascii
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from domain.canonical import instant_text
from domain.errors import InvalidInput
from services.ledger.fields import Fields
from services.ledger.merkle import HASH_SIZE

PUBLIC_KEY_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed tree head; fields as in the contract."""

    origin: str
    tree_size: int
    root_hash: bytes
    signed_at: datetime
    note: str
    signature: bytes
    public_key: bytes


def note_text(origin: str, tree_size: int, root_hash: bytes) -> str:
    """The text that is signed."""
    return f"{origin}\n{tree_size}\n{base64.b64encode(root_hash).decode('ascii')}\n"


def parse_note(note: str) -> tuple[str, int, bytes]:
    """Origin, size and root of a note. Raises InvalidInput."""
    lines = note.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0]:
        raise InvalidInput.of("note", "three lines are needed: origin, size, root")
    try:
        root_hash = base64.b64decode(lines[2], validate=True)
    except binascii.Error:
        raise InvalidInput.of("note", "the root is not base64") from None
    if not lines[1].isascii() or not lines[1].isdigit() or len(root_hash) != HASH_SIZE:
        raise InvalidInput.of("note", "the size is no number or the root no SHA-256")
    size = int(lines[1])
    if note_text(lines[0], size, root_hash) != note:
        raise InvalidInput.of("note", "another form than ours of the same content")
    return lines[0], size, root_hash


def sign(key: Ed25519PrivateKey, origin: str, tree_size: int, root_hash: bytes, signed_at: datetime) -> Checkpoint:
    """A checkpoint, signed."""
    note = note_text(origin, tree_size, root_hash)
    return Checkpoint(
        origin=origin,
        tree_size=tree_size,
        root_hash=root_hash,
        signed_at=signed_at,
        note=note,
        signature=key.sign(note.encode("utf-8")),
        public_key=key.public_key().public_bytes_raw(),
    )


def checkpoint_to_json(checkpoint: Checkpoint) -> dict[str, str | int]:
    """A checkpoint as an object of JSON: the form of the checkpoint file and of bundles."""
    return {
        "origin": checkpoint.origin,
        "tree_size": checkpoint.tree_size,
        "root_hash": checkpoint.root_hash.hex(),
        "signed_at": instant_text(checkpoint.signed_at),
        "note": checkpoint.note,
        "signature": base64.b64encode(checkpoint.signature).decode("ascii"),
        "public_key": base64.b64encode(checkpoint.public_key).decode("ascii"),
    }


def checkpoint_from_json(fields: Fields) -> Checkpoint:
    """The other way round. Raises InvalidInput."""
    checkpoint = Checkpoint(
        origin=fields.text("origin"),
        tree_size=fields.integer("tree_size", 0),
        root_hash=_from_hex(fields.text("root_hash")),
        signed_at=fields.instant("signed_at"),
        note=fields.text("note"),
        signature=_from_base64(fields.text("signature")),
        public_key=_from_base64(fields.text("public_key")),
    )
    fields.done()
    return checkpoint


def checkpoint_problems(
    checkpoint: Checkpoint, origin: str, trusted_keys: Collection[bytes] | None = None
) -> list[str]:
    """What is wrong with a checkpoint by itself, in words; nothing if it is sound. Its root is for the log to confirm.

    trusted_keys: the Ed25519 public keys that may sign this log, 32 bytes each. Without them the key that the
    checkpoint brings is taken: that shows who signed, not whether they should have.
    """
    problems = []
    try:
        noted = parse_note(checkpoint.note)
        if noted != (checkpoint.origin, checkpoint.tree_size, checkpoint.root_hash):
            problems.append("its note says another origin, size or root than it does")
    except InvalidInput as error:
        problems.append(str(error))
    if checkpoint.origin != origin:
        problems.append(f"it is of another log ({checkpoint.origin})")
    if trusted_keys is not None and checkpoint.public_key not in trusted_keys:
        problems.append("it is signed with a key that is not trusted")
    if not _is_signed(checkpoint):
        problems.append("its signature does not hold")
    return problems


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise InvalidInput.of("checkpoint.root_hash", "not hexadecimal") from None


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise InvalidInput.of("checkpoint", "signature or key is not base64") from None


def _is_signed(checkpoint: Checkpoint) -> bool:
    try:
        key = Ed25519PublicKey.from_public_bytes(checkpoint.public_key)
        key.verify(checkpoint.signature, checkpoint.note.encode("utf-8"))
    except (InvalidSignature, ValueError):
        return False
    return True
