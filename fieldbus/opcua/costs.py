"""What OPC UA costs on a link that is paid by the byte: estimates of what a request will bring, and how publishing and
keeping a session alive are stretched so that the link bears them.

Bytes that did go over the line are counted as they go (transport.py); the bucket is budget.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fieldbus.budget import SEGMENT_BYTES, SEGMENTS_PER_REQUEST, Budget

# Chunk header, request or response header, type, an authentication token of ordinary length; signature and padding
# of a secured channel are included (OPC 10000-6, 6.7.2 and OPC 10000-4, 7.32).
REQUEST_BYTES: Final = 260 + SEGMENTS_PER_REQUEST * SEGMENT_BYTES
NODE_BYTES: Final = 24  # of a ReadValueId beside its identifier
VALUE_BYTES: Final = 22  # mask, type, a double, status, source time
NODE_READ_BYTES: Final = NODE_BYTES + VALUE_BYTES + 24  # with an identifier of ordinary length
BROWSED_NODE_BYTES: Final = 120  # a reference with its names
# A channel's keys are renewed by 75 % of this: twice an hour and a half would cost more than most readings.
COUNTED_CHANNEL_LIFE_MS: Final = 12 * 3_600_000

_PUBLISHING_SHARE: Final = 0.5  # of the link's bytes, when everything that is reported changes at every interval
_UPKEEP_SHARE: Final = 0.1  # each: keep-alives, and looking whether an idle session still stands
_READING_SHARE: Final = 1 - _UPKEEP_SHARE
_UPKEEP_MAX_S: Final = 1200.0  # sessions are asked to live an hour without a word, some servers give them half of it


def read_cost(identifiers: Sequence[str], requests: int = 1) -> int:
    """Bytes of reading nodes, there and back."""
    nodes = sum(len(identifier) for identifier in identifiers) + len(identifiers) * (NODE_BYTES + VALUE_BYTES)
    return requests * REQUEST_BYTES + nodes


def least_interval_s(budget: Budget | None, identifiers: Sequence[str], requests: int) -> float:
    """Seconds between two readings of these nodes that the link bears, beside what keeps the session alive."""
    if budget is None or not identifiers:
        return 0.0
    return max(requests * budget.round_trip_s, budget.pace_s(read_cost(identifiers, requests), _READING_SHARE))


def publishing_interval_s(budget: Budget | None, asked_s: float) -> float:
    """Seconds between publish answers that the link bears, with all that is reported over it so far."""
    if budget is None:
        return asked_s
    return max(asked_s, budget.round_trip_s, budget.pace_s(budget.reported_bytes, _PUBLISHING_SHARE))


def reported_cost(items: int) -> int:
    """Bytes of a publish answer in which all of the items changed."""
    return REQUEST_BYTES + items * (4 + VALUE_BYTES)


def upkeep_s(budget: Budget | None, asked_s: float) -> float:
    """Seconds between signs of life: what was asked for, or as much longer as the link needs."""
    if budget is None:
        return asked_s
    return max(asked_s, min(_UPKEEP_MAX_S, budget.pace_s(REQUEST_BYTES, _UPKEEP_SHARE)))
