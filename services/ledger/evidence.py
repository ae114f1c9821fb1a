"""Evidence: blobs of canonical bytes under the SHA-256 of themselves, and the references to them on an entry. Pure.

A reference is "label:hash". Behind some labels there is a blob in the book, behind others a hash made elsewhere:

terms        blob   the frozen terms of the measure (terms.py)
readings     blob   the counter readings of the period and those that enclose it (metered.py)
consumption  blob   what metering made of them (metered.py)
levels       blob   lit time and energy per luminaire as lighting computed them from its level history (levels.py)
metering     hash   what metering answered as the hash of the readings behind its consumption
lighting     hash   what lighting answered as the hash of history, inventory and curves behind its energy
entry        hash   the leaf hash of the entry that a reversal takes back
"""

import re
from dataclasses import dataclass
from typing import Final

from domain.canonical import sha256_hex
from domain.errors import InvalidInput

TERMS: Final = "terms"
READINGS: Final = "readings"
CONSUMPTION: Final = "consumption"
LEVELS: Final = "levels"
METERING: Final = "metering"
LIGHTING: Final = "lighting"
ENTRY: Final = "entry"

WITH_BLOB: Final = frozenset({TERMS, READINGS, CONSUMPTION, LEVELS})
HASH_ONLY: Final = frozenset({METERING, LIGHTING, ENTRY})

_REFERENCE: Final = re.compile(r"([a-z]+):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that are kept for good."""

    label: str
    data: bytes

    @property
    def hash(self) -> str:
        """SHA-256 of the bytes in hex: the address."""
        return sha256_hex(self.data)

    @property
    def reference(self) -> str:
        """How an entry refers to it."""
        return f"{self.label}:{self.hash}"


def parse_reference(reference: str) -> tuple[str, str]:
    """Label and hash of a reference. Raises InvalidInput for another form or an unknown label."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise InvalidInput.of("evidence", f"{reference!r} is not made of a label and a hash")
    if match[1] not in WITH_BLOB | HASH_ONLY:
        raise InvalidInput.of("evidence", f"the label {match[1]!r} is not known")
    return match[1], match[2]


def by_label(references: tuple[str, ...]) -> dict[str, str]:
    """Hash per label. Raises InvalidInput for a bad reference or a label that occurs twice."""
    found: dict[str, str] = {}
    for reference in references:
        label, digest = parse_reference(reference)
        if label in found:
            raise InvalidInput.of("evidence", f"there are two of {label!r}")
        found[label] = digest
    return found
