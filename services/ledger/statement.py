"""Sums over entries: what a measure, a municipality, and each party saved in a period. Pure.

Only what counts is summed: savings that no later entry reversed. Reversals are no saving of their own.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from services.ledger.entry import Entry, EntryKind

_NOTHING = Decimal("0.00")


@dataclass(slots=True)
class Line:
    """Sums of one measure, or of all. Uncertainties are added: periods of a measure share the errors of its terms."""

    entries: int = 0
    actual_wh: int = 0
    baseline_wh: int = 0
    saved_wh: int = 0
    saved_eur: Decimal = _NOTHING
    avoided_co2_g: int = 0
    uncertainty_wh: int = 0

    def add(self, entry: Entry) -> None:
        """Adds an entry."""
        self.entries += 1
        self.actual_wh += entry.actual_wh
        self.baseline_wh += entry.baseline_wh
        self.saved_wh += entry.saved_wh
        self.saved_eur += entry.saved_eur
        self.avoided_co2_g += entry.avoided_co2_g
        self.uncertainty_wh += entry.uncertainty_wh


@dataclass(slots=True)
class Statement:
    """A line per measure uid, in the order in which they first occur, the sum of all, and money per party."""

    lines: dict[str, Line] = field(default_factory=dict)
    total: Line = field(default_factory=Line)
    shares: dict[str, Decimal] = field(default_factory=dict)


def state(entries: Iterable[Entry], reversed_uids: Collection[str]) -> Statement:
    """Sums up entries, leaving out reversals and what they reverse (`reversed_uids`)."""
    statement = Statement()
    for entry in entries:
        if entry.kind is EntryKind.REVERSAL or entry.uid in reversed_uids:
            continue
        statement.lines.setdefault(entry.measure_uid, Line()).add(entry)
        statement.total.add(entry)
        for part in entry.shares:
            statement.shares[part.party] = statement.shares.get(part.party, _NOTHING) + part.amount_eur
    return statement
