"""Timing two ways of doing the same work in turn, so that a machine whose speed drifts harms both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """Seconds per run for ours and the peer's, on `items` pieces of work each: the processor's if `compare` made it."""

    title: str
    peer: str
    items: int
    ours_s: tuple[float, ...]
    peer_s: tuple[float, ...]
    peer_items: int

    @property
    def ratio(self) -> float:
        """How many times as fast ours is: the median over the pairs of peer's over ours, per item."""
        return statistics.median(self.ratios)

    @property
    def ratios(self) -> tuple[float, ...]:
        """The same of each pair of runs."""
        pairs = zip(self.ours_s, self.peer_s, strict=True)
        return tuple((peer / self.peer_items) / (ours / self.items) for ours, peer in pairs)

    def row(self) -> dict[str, object]:
        """The comparison as a row of the report."""
        return {
            "benchmark": self.title,
            "peer": self.peer,
            "items": self.items,
            "ours_ms": round(statistics.median(self.ours_s) * 1000, 2),
            "peer_ms_same_items": round(statistics.median(self.peer_s) * 1000 * self.items / self.peer_items, 2),
            "times_as_fast": float(f"{self.ratio:.3g}"),
        }


def compare(
    title: str,
    peer_name: str,
    ours: Callable[[], object],
    peer: Callable[[], object],
    *,
    items: int,
    peer_items: int | None = None,
    runs: int = 5,
) -> Comparison:
    """Run both once to warm up, then in turn. A slow peer may do fewer items; its time is scaled per item."""
    ours()
    peer()
    ours_s, peer_s = [], []
    for _ in range(runs):
        ours_s.append(_seconds(ours))
        peer_s.append(_seconds(peer))
    return Comparison(title, peer_name, items, tuple(ours_s), tuple(peer_s), peer_items or items)


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
