"""The faults that stand, in the memory of the process that holds the field, and what the database has not heard yet.

It needs no database to go on: what waits is bounded, the newest state of a fault wins, and what another process has
booked meanwhile is adopted, not doubled. Pure. Not here: when a fault is raised (fault_watch.py), the database
(fault_clerk.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import isnan
from typing import Final

from domain.names import new_uid
from services.lighting.fault_kinds import FaultEnd, FaultEntry, FaultKey, FaultKind, SubjectKind

MOST_WAITING: Final = 20_000
"""So many faults that stand no more may wait for the database; older ones are given up."""
SEEN_EVERY_MS: Final = 600_000
"""Domain time after which it is worth storing that a fault was seen again."""


class FaultBook:
    """Standing faults by what they are and what they are on."""

    def __init__(self, most_waiting: int = MOST_WAITING) -> None:
        self._most_waiting = most_waiting
        self.standing: dict[FaultKey, FaultEntry] = {}
        self._waiting: dict[str, FaultEntry] = {}
        self._stored_seen_ms: dict[str, int] = {}
        self.given_up = 0
        """Faults of the past that no database was there for in time."""
        self.generation = 0
        """Grows when faults come in from outside: whoever watches must look at `standing` again."""

    # --- what the watch says ----------------------------------------------------------------------------------------

    def raise_(
        self,
        kind: FaultKind,
        subject_kind: SubjectKind,
        subject_uid: str,
        municipality_uid: str,
        at_ms: int,
        measured: float,
        expected: float,
    ) -> None:
        """A fault is there; one that stands already is only seen again."""
        key = FaultKey(kind, subject_uid)
        if key in self.standing:
            self.see(key, at_ms, measured, expected)
            return
        entry = FaultEntry(
            new_uid(), municipality_uid, kind, subject_kind, subject_uid, at_ms, at_ms, measured, expected
        )
        self.standing[key] = entry
        self._wait(entry)

    def see(self, key: FaultKey, at_ms: int, measured: float, expected: float) -> None:
        """A standing fault was seen again. Values that are not known now stay as they were."""
        known = self.standing.get(key)
        if known is None or at_ms <= known.last_seen_ms:
            return
        entry = replace(
            known,
            last_seen_ms=at_ms,
            measured=known.measured if isnan(measured) else measured,
            expected=known.expected if isnan(expected) else expected,
        )
        self.standing[key] = entry
        if entry.uid in self._waiting or at_ms - self._stored_seen_ms.get(entry.uid, 0) >= SEEN_EVERY_MS:
            self._wait(entry)

    def clear(self, key: FaultKey, at_ms: int, end: FaultEnd) -> None:
        """A fault stands no more."""
        known = self.standing.pop(key, None)
        if known is not None:
            self._wait(replace(known, cleared_ms=max(at_ms, known.raised_ms), end=end))

    def standing_on(self, kind: FaultKind) -> dict[str, FaultEntry]:
        """Standing faults of a kind, by the uid of what they are on."""
        return {key.subject_uid: entry for key, entry in self.standing.items() if key.kind == kind}

    def counts(self) -> Counter[FaultKind]:
        """How many stand, by kind."""
        return Counter(key.kind for key in self.standing)

    # --- what the database says -------------------------------------------------------------------------------------

    def adopt(self, booked: Iterable[FaultEntry]) -> None:
        """Takes up what stands in the database: when the field is taken over, or it was away at the start.

        What was raised here meanwhile and is booked there already goes on as that.
        """
        ended = {entry.key for entry in self._waiting.values() if entry.cleared_ms}
        for entry in booked:
            here = self.standing.get(entry.key)
            if here is not None and here.uid != entry.uid:
                self.renamed({here.uid: entry})
            # What came and went here while nobody could book it stays gone: its clearing is on its way.
            elif here is None and entry.key not in ended:
                self.standing[entry.key] = entry
                self._stored_seen_ms[entry.uid] = entry.last_seen_ms
        self.generation += 1

    def renamed(self, booked: Mapping[str, FaultEntry]) -> None:
        """What was raised here under the one uid is booked under another: by a process that held the field before."""
        for uid, known in booked.items():
            waiting = self._waiting.pop(uid, None)
            if waiting is not None:
                self._waiting[known.uid] = _as_booked(waiting, known)
            here = self.standing.get(known.key)
            if here is not None and here.uid == uid:
                self.standing[known.key] = _as_booked(here, known)

    def waiting(self, most: int) -> list[FaultEntry]:
        """What the database has not heard yet, oldest news first."""
        return [entry for entry, _ in zip(self._waiting.values(), range(most), strict=False)]

    def stored(self, entries: Iterable[FaultEntry]) -> None:
        """These are safe. What has happened to them since waits on."""
        for entry in entries:
            if self._waiting.get(entry.uid) == entry:
                del self._waiting[entry.uid]
            if entry.cleared_ms:
                self._stored_seen_ms.pop(entry.uid, None)
            else:
                self._stored_seen_ms[entry.uid] = entry.last_seen_ms

    def forget(self) -> None:
        """The field is somebody else's: what stands is theirs to say. What waits is still told."""
        self.standing.clear()
        self._stored_seen_ms.clear()
        self.generation += 1

    def __len__(self) -> int:
        """How many wait for the database."""
        return len(self._waiting)

    def _wait(self, entry: FaultEntry) -> None:
        self._waiting[entry.uid] = entry
        if len(self._waiting) > self._most_waiting + len(self.standing):
            oldest = next((uid for uid, waiting in self._waiting.items() if waiting.cleared_ms), None)
            if oldest is not None:
                del self._waiting[oldest]
                self.given_up += 1


def _as_booked(here: FaultEntry, booked: FaultEntry) -> FaultEntry:
    return replace(here, uid=booked.uid, raised_ms=booked.raised_ms)
