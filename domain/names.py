"""Resource names as AIP-122 writes them, ids within them, and the immutable uids behind them. Not: who may see what.

A name is an alias: towns merge and lamps are renumbered. Storage keys by the uid.
"""

import re
import secrets
import threading
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from domain.errors import InvalidInput

MUNICIPALITIES: Final = "municipalities"
WILDCARD: Final = "-"
"""As the id of a municipality: every municipality that the caller may see."""

ID_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._~-]{0,62}"
"""An id within a name: at most 63 characters that need no escaping in a URL."""

MUNICIPALITY_ID_PATTERN: Final = r"[a-z][a-z0-9-]{0,62}"
"""The id of a municipality or a union: lower case, so that it can stand in a DNS label."""

UID_PATTERN: Final = r"[0-9a-f]{32}"

SINGLETONS: Final = frozenset({"plan"})
"""Resources that their parent has exactly one of: their names end without an id, ``.../groups/g-1/plan`` (AIP-156)."""

MAX_NAME_LENGTH: Final = 400

_ID = re.compile(ID_PATTERN)
_MUNICIPALITY_ID = re.compile(MUNICIPALITY_ID_PATTERN)
_COLLECTION = re.compile(r"[a-z][A-Za-z0-9]{0,62}")
_UID = re.compile(UID_PATTERN)


@dataclass(frozen=True, slots=True)
class ResourceName:
    """A parsed name: pairs of collection and id, outermost first; the id of a singleton is empty."""

    parts: tuple[tuple[str, str], ...]

    @classmethod
    def parse(
        cls, text: str, *, field: str = "name", collection: str | None = None, allow_wildcard: bool = False
    ) -> Self:
        """Parses ``municipalities/bad-hersfeld/luminaires/L-0001``.

        `field` is the field that an error blames. `collection` demands one kind ("luminaires", "measures/entries",
        "municipalities" for a municipality itself). `allow_wildcard` accepts "-" as the municipality.
        Raises InvalidInput.
        """
        if not isinstance(text, str) or not text:
            raise InvalidInput.of(field, "a resource name is needed, it is empty")
        if len(text) > MAX_NAME_LENGTH:
            raise InvalidInput.of(field, f"longer than {MAX_NAME_LENGTH} characters")
        segments = text.split("/")
        if segments[-1] in SINGLETONS and len(segments) % 2 and len(segments) > 1:
            segments.append("")
        if len(segments) % 2:
            raise InvalidInput.of(field, f"{text!r} is not made of pairs of collection and id")
        parts = tuple(zip(segments[0::2], segments[1::2], strict=True))
        for depth, (kind, identifier) in enumerate(parts):
            _check_part(kind, identifier, depth, field, allow_wildcard)
        name = cls(parts)
        if collection is not None and name.collection != collection:
            raise InvalidInput.of(field, f"{text!r} names one of {name.collection!r}, one of {collection!r} is needed")
        return name

    @classmethod
    def of(cls, municipality_id: str, collection: str, *ids: str) -> Self:
        """Builds a name from its parts: ``of("bad-hersfeld", "measures/entries", "led", "2026-01")``.

        With collection "municipalities" and no further ids it is the municipality itself. Raises InvalidInput.
        """
        kinds = [] if collection == MUNICIPALITIES and not ids else collection.split("/")
        all_ids = (*ids, "") if kinds and kinds[-1] in SINGLETONS else ids
        if len(kinds) != len(all_ids):
            raise InvalidInput.of("name", f"{collection!r} is {len(kinds)} deep, {len(ids)} ids were given")
        parts = ((MUNICIPALITIES, municipality_id), *zip(kinds, all_ids, strict=True))
        for depth, (kind, identifier) in enumerate(parts):
            _check_part(kind, identifier, depth, "name", allow_wildcard=True)
        return cls(parts)

    @classmethod
    def of_municipality(cls, municipality_id: str) -> Self:
        """The name of a municipality."""
        return cls.of(municipality_id, MUNICIPALITIES)

    @property
    def municipality(self) -> str:
        """Id of the municipality it belongs to; empty for what belongs to none, as a union."""
        kind, identifier = self.parts[0]
        return identifier if kind == MUNICIPALITIES else ""

    @property
    def collection(self) -> str:
        """Path of collections below the municipality; "municipalities" for a municipality itself."""
        kinds = [kind for kind, _ in self.parts]
        return "/".join(kinds[1:] if len(kinds) > 1 and kinds[0] == MUNICIPALITIES else kinds)

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids, outermost first; a singleton adds none."""
        return tuple(identifier for _, identifier in self.parts if identifier)

    @property
    def id(self) -> str:
        """The last id; of a singleton that of its parent."""
        return self.ids[-1]

    @property
    def parent(self) -> str:
        """Name of what it lies in; empty at the top."""
        return _join(self.parts[:-1])

    @property
    def is_wildcard(self) -> bool:
        """True if it stands for every municipality that the caller may see."""
        return self.municipality == WILDCARD

    def child(self, collection: str, identifier: str = "") -> Self:
        """Name of a resource that lies in this one; a singleton needs no id. Raises InvalidInput."""
        _check_part(collection, identifier, len(self.parts), "name", allow_wildcard=False)
        return type(self)((*self.parts, (collection, identifier)))

    def __str__(self) -> str:
        return _join(self.parts)


def _join(parts: tuple[tuple[str, str], ...]) -> str:
    return "/".join(f"{kind}/{identifier}" if identifier else kind for kind, identifier in parts)


def _check_part(kind: str, identifier: str, depth: int, field: str, allow_wildcard: bool) -> None:
    if not _COLLECTION.fullmatch(kind):
        raise InvalidInput.of(field, f"{kind!r} is not a collection: lowerCamelCase is needed")
    if depth == 0 and kind == MUNICIPALITIES:
        if identifier == WILDCARD:
            if not allow_wildcard:
                raise InvalidInput.of(field, "one municipality is needed, '-' means all of them")
        elif not _MUNICIPALITY_ID.fullmatch(identifier):
            raise InvalidInput.of(field, f"{identifier!r} is not the id of a municipality ({MUNICIPALITY_ID_PATTERN})")
    elif kind in SINGLETONS:
        if identifier:
            raise InvalidInput.of(field, f"{kind!r} is the only one of its parent and has no id")
    elif not _ID.fullmatch(identifier):
        raise InvalidInput.of(field, f"{identifier!r} is not an id ({ID_PATTERN})")


def check_id(identifier: str, field: str) -> str:
    """Returns the id if it may stand in a name. Raises InvalidInput that blames `field`."""
    if not _ID.fullmatch(identifier):
        raise InvalidInput.of(field, f"{identifier!r} is not an id ({ID_PATTERN})")
    return identifier


_TRANSLITERATION: Final = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "ẞ": "SS"}
)


def id_from_label(label: str) -> str:
    """Turns what people wrote ("Obere Straße 12/3") into an id ("Obere-Strasse-12-3"); empty if nothing is left.

    Two labels may give one id: whoever stores them has to notice.
    """
    # NFC first, so that a decomposed umlaut is written out like a composed one; then what is left loses its accents.
    german = unicodedata.normalize("NFC", label).translate(_TRANSLITERATION)
    ascii_only = unicodedata.normalize("NFKD", german).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^A-Za-z0-9._~]+", "-", ascii_only).strip("-._~")[:63].rstrip("-._~")


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_uid_lock = threading.Lock()
_last_uid_prefix = 0


def new_uid() -> str:
    """A new uid: UUID version 7 (RFC 9562) as 32 hexadecimal digits, growing within a process.

    The host's clock serves here for order in the index alone: no domain instant may be read out of a uid.
    """
    global _last_uid_prefix
    with _uid_lock:
        # 48 bits of milliseconds and 12 bits of their fraction (RFC 9562, method 3), never less than the last plus one.
        milliseconds, fraction = divmod((datetime.now(UTC) - _EPOCH) // timedelta(microseconds=1), 1000)
        prefix = milliseconds << 12 | fraction * 4096 // 1000
        _last_uid_prefix = prefix = max(prefix, _last_uid_prefix + 1)
    tail = secrets.randbits(62)
    value = (prefix >> 12) << 80 | 0x7 << 76 | (prefix & 0xFFF) << 64 | 0b10 << 62 | tail
    return f"{value:032x}"


def is_uid(text: str) -> bool:
    """True if the text has the form of a uid."""
    return _UID.fullmatch(text) is not None
