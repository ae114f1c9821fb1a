"""Who wrote what to the field: every write to a gateway or a controller, with its peer, in order and counted.

So that two masters, or a write to a feeder that is locked out, are seen. Reads are only counted (see traffic).
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

RECORDS_KEPT = 200_000


@dataclass(frozen=True)
class WriteRecord:
    """One write. `at_s` is domain time; `feeders` are those whose lamps or contactor it was meant for.

    `heard` is how many lamps heard it: gear without supply hears nothing. `result` is accepted or refused.
    """

    sequence: int
    at_s: float
    real_s: float
    peer: str
    cabinet: str
    endpoint: str
    register: str
    kind: str
    values: tuple[float, ...]
    feeders: tuple[str, ...]
    luminaires: int
    heard: int
    result: str = "accepted"


class WriteLog:
    """The most recent writes, and counts over all of them."""

    def __init__(self) -> None:
        self._records: deque[WriteRecord] = deque(maxlen=RECORDS_KEPT)
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._sequence = 0

    def record(
        self,
        *,
        at_s: float,
        real_s: float,
        peer: str,
        cabinet: str,
        endpoint: str,
        register: str,
        kind: str,
        values: tuple[float, ...],
        feeders: tuple[str, ...] = (),
        luminaires: int = 0,
        heard: int = 0,
        result: str = "accepted",
    ) -> None:
        """Note one write."""
        self._sequence += 1
        self._counts[peer, endpoint, kind] += 1
        self._records.append(
            WriteRecord(self._sequence, at_s, real_s, peer, cabinet, endpoint, register, kind, values, feeders,
                        luminaires, heard, result)
        )  # fmt: skip

    def select(
        self,
        *,
        cabinet: str = "",
        feeder: str = "",
        kind: str = "",
        peer: str = "",
        since_s: float = 0.0,
        after: int = 0,
    ) -> list[WriteRecord]:
        """Writes that match everything given, oldest first; `after` is a sequence number."""
        return [
            r
            for r in self._records
            if r.at_s >= since_s
            and r.sequence > after
            and (not cabinet or r.cabinet == cabinet)
            and (not feeder or feeder in r.feeders)
            and (not kind or r.kind == kind)
            and (not peer or r.peer == peer)
        ]

    def counts(self) -> list[dict[str, Any]]:
        """Number of writes per peer, endpoint and kind since the start."""
        return [
            {"peer": peer, "endpoint": endpoint, "kind": kind, "count": count}
            for (peer, endpoint, kind), count in sorted(self._counts.items())
        ]

    @property
    def total(self) -> int:
        """Number of writes since the start."""
        return self._sequence


def write_to_json(record: WriteRecord) -> dict[str, Any]:
    """A record as JSON-ready values, with instants in RFC 3339."""
    document = asdict(record)
    for name in ("at", "real"):
        document[name] = datetime.fromtimestamp(document.pop(f"{name}_s"), UTC).isoformat().replace("+00:00", "Z")
    return document
