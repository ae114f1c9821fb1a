"""Page tokens: where the next page begins, opaque to clients, bound to the query that they continue.

A token holds the key of the last row, so pages neither skip nor repeat while rows come and go. It opens no door: the
query it continues is checked for tenant and permission like any other, so it needs no signature, only a checksum.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

from google.protobuf.message import Message

from domain.errors import InvalidInput

Key: TypeAlias = Sequence[str | int | None]
Item = TypeVar("Item")

DEFAULT_PAGE_SIZE: Final = 100
MAX_PAGE_SIZE: Final = 10_000
_NOT_PART_OF_THE_QUERY: Final = ("page_token", "page_size")
_CHECK_LENGTH: Final = 8


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Items and the token of the next page; empty on the last."""

    items: list[Item]
    next_page_token: str


def query_digest(request: Message) -> str:
    """What a token is bound to: the request without page token and size."""
    query = type(request)()
    query.CopyFrom(request)
    for field in _NOT_PART_OF_THE_QUERY:
        if field in query.DESCRIPTOR.fields_by_name:
            query.ClearField(field)
    encoded = query.SerializeToString(deterministic=True)
    return hashlib.sha256(request.DESCRIPTOR.full_name.encode() + b"\0" + encoded).hexdigest()[:16]


def encode_token(request: Message, key: Key) -> str:
    """Token of the page that begins after `key` (the sort key of the last row)."""
    body = json.dumps([query_digest(request), *key], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()[:_CHECK_LENGTH] + body).decode().rstrip("=")


def decode_token(request: Message, *, field: str = "page_token") -> list[str | int | None] | None:
    """Sort key after which the page begins; None for the first. Raises InvalidInput for a token of another query."""
    token: str = getattr(request, field)
    if not token:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        check, body = raw[:_CHECK_LENGTH], raw[_CHECK_LENGTH:]
        if hashlib.sha256(body).digest()[:_CHECK_LENGTH] != check:
            raise ValueError
        digest, *key = json.loads(body)
    except (ValueError, binascii.Error, TypeError):
        raise InvalidInput.of(field, "not a token of this server") from None
    if digest != query_digest(request):
        raise InvalidInput.of(field, "the token belongs to another query: repeat the same filters with each page")
    return list(key)


def page_size_of(request: Message, default: int = DEFAULT_PAGE_SIZE, largest: int = MAX_PAGE_SIZE) -> int:
    """How many items a page holds: what was asked for, the default for 0, never more than the largest."""
    asked: int = getattr(request, "page_size", 0)
    return min(asked or default, largest)


def page(
    request: Message,
    fetch: Callable[[list[str | int | None] | None, int], Sequence[Item]],
    key: Callable[[Item], Key],
    *,
    default: int = DEFAULT_PAGE_SIZE,
    largest: int = MAX_PAGE_SIZE,
) -> Page[Item]:
    """One page of a query.

    `fetch(after, limit)` answers rows in the order of their key: at most `limit`, after the key `after` (None: from the
    beginning). `key` gives the sort key of a row. Raises InvalidInput for a token of another query.
    """
    size = page_size_of(request, default, largest)
    rows = list(fetch(decode_token(request), size + 1))  # one more tells whether there is a next page
    if len(rows) <= size:
        return Page(rows, "")
    return Page(rows[:size], encode_token(request, key(rows[size - 1])))
