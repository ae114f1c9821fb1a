"""How far ahead plans reach, over all municipalities. Where that shrinks, lighting is not being fed."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from services.scheduler.metrics import PLANNED_HORIZON, REFUSALS
from services.scheduler.records import Assignment


@dataclass(frozen=True, slots=True)
class _Seen:
    shortest_s: float
    refused: int


class Horizons:
    """What was last seen of each municipality."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def note(self, municipality_uid: str, assignments: Sequence[Assignment], now: datetime) -> None:
        """Takes the assignments of a municipality as they stand at a domain instant."""
        self._seen.pop(municipality_uid, None)
        if assignments:
            shortest_s = min(
                0.0 if item.planned_until is None else max(0.0, (item.planned_until - now).total_seconds())
                for item in assignments
            )
            self._seen[municipality_uid] = _Seen(shortest_s, sum(1 for item in assignments if item.refusal))
        self._tell()

    def keep_only(self, municipality_uids: Set[str]) -> None:
        """Forgets municipalities that are no more."""
        self._seen = {uid: seen for uid, seen in self._seen.items() if uid in municipality_uids}
        self._tell()

    def _tell(self) -> None:
        PLANNED_HORIZON.set(min((seen.shortest_s for seen in self._seen.values()), default=float("nan")))
        REFUSALS.set(sum(seen.refused for seen in self._seen.values()))
