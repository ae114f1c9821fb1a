"""The words of the book of faults: kinds, what they are on, why they end, and how long a thing is looked at before
it is one. Pure. Not here: how signs become verdicts (fault_lamps.py, fault_places.py), and the book (fault_book.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from math import nan
from typing import Final, NamedTuple

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000


class FaultKind(IntEnum):
    """What is wrong; numbers as in the contract."""

    LAMP_FAILURE = 1
    GEAR_FAILURE = 2
    DIMMING_FAILURE = 3
    POWER_TOO_HIGH = 4
    POWER_TOO_LOW = 5
    DAY_BURNER = 6
    CYCLING = 7
    SUPPLY_LOSS = 8
    RELAY_FAILURE = 9
    DOOR_OPEN = 10
    COMMUNICATION_LOSS = 11
    REPORTED = 12
    GEAR_SWAPPED = 13
    GEAR_UNADDRESSED = 14
    ADDRESS_DUPLICATE = 15


class FaultEnd(IntEnum):
    """Why a fault stands no more; numbers as in the contract, 0 while it stands."""

    STANDS = 0
    SEEN_GOOD = 1
    NOT_WATCHED = 2
    PART_OF_ANOTHER = 3
    CLEARED_BY_PERSON = 4


class SubjectKind(IntEnum):
    """What a fault may be on. Stored, so numbers stay."""

    LUMINAIRE = 1
    FEEDER = 2
    CABINET = 3
    GATEWAY = 4

    @property
    def collection(self) -> str:
        """Collection of such resources."""
        return _COLLECTIONS[self]


_COLLECTIONS: Final = {
    SubjectKind.LUMINAIRE: "luminaires",
    SubjectKind.FEEDER: "feeders",
    SubjectKind.CABINET: "cabinets",
    SubjectKind.GATEWAY: "gateways",
}


class Verdict(IntEnum):
    """What one look says of a subject."""

    UNKNOWN = -1
    """Nothing: it cannot be seen now, or something else is behind what is seen."""
    GOOD = 0
    BAD = 1
    PLAUSIBLE = 2
    """It looks good, but not where it was seen to be wrong: much of this is as good as GOOD."""


class FaultKey(NamedTuple):
    """What there is at most one standing fault of."""

    kind: FaultKind
    subject_uid: str


@dataclass(frozen=True, slots=True)
class FaultEntry:
    """A fault as detection knows it. Instants are domain time in Unix ms; values NaN where nothing is measured."""

    uid: str
    municipality_uid: str
    kind: FaultKind
    subject_kind: SubjectKind
    subject_uid: str
    raised_ms: int
    last_seen_ms: int
    measured: float = nan
    expected: float = nan
    cleared_ms: int = 0
    end: FaultEnd = FaultEnd.STANDS

    @property
    def key(self) -> FaultKey:
        """Kind and subject."""
        return FaultKey(self.kind, self.subject_uid)


@dataclass(frozen=True, slots=True)
class Rule:
    """How long bad must be seen to raise a fault, and good to clear it: readings, and domain time between the first and
    the last of them. Time in which nothing was seen does not count."""

    readings: int
    bad_ms: int
    good_ms: int
    plausible_ms: int = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class FaultLimits:
    """From when on something is a fault. `_s` is domain time."""

    power_tolerance: float = 0.25
    """Share of the power that the model's curve says, by which a lamp may differ."""
    power_least_w: float = 5.0
    """A smaller difference is none, whatever share it is: small lamps and coarse registers."""
    cycles_per_hour: int = 4
    """Times that a lamp may go dark by itself within an hour."""
    door_grace_s: float = 900.0
    """How long a door may be open: fitters need it."""
    relay_s: float = 30.0
    """How long a contactor may take to follow its command."""
    silence_s: float = 120.0
    """How long a device may be silent, after the readings without an answer that control itself waits for."""
    settle_s: float = 30.0
    """How long anything else must be seen."""
    clear_s: float = 60.0
    """How long it must be seen to be good."""
    power_every_s: float = 300.0
    """Between two readings of the power of some lamps of a gateway."""
    power_at_once: int = 16
    """So many lamps in one such reading: a pass must not wait for it."""
    feeder_lamps: int = 2
    """So many luminaires must fall silent together for that to be the feeder's fault."""
    rules: dict[FaultKind, Rule] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", self._rules())

    def _rules(self) -> dict[FaultKind, Rule]:
        settle, clear, silence = (round(s * 1000) for s in (self.settle_s, self.clear_s, self.silence_s))
        kind = FaultKind
        return {
            kind.LAMP_FAILURE: Rule(2, settle, clear),
            kind.GEAR_FAILURE: Rule(3, settle, clear),
            # These have been counted before they come here: by commands, readings by day or of power, cycles.
            kind.DIMMING_FAILURE: Rule(1, 0, clear),
            kind.POWER_TOO_HIGH: Rule(3, 0, 0),
            kind.POWER_TOO_LOW: Rule(3, 0, 0),
            kind.DAY_BURNER: Rule(1, 0, clear),
            kind.CYCLING: Rule(1, 0, HOUR_MS),
            kind.SUPPLY_LOSS: Rule(2, settle, clear),
            kind.RELAY_FAILURE: Rule(2, round(self.relay_s * 1000), clear),
            kind.DOOR_OPEN: Rule(2, round(self.door_grace_s * 1000), 0),
            kind.COMMUNICATION_LOSS: Rule(2, silence, clear),
            # This has been seen in several readings before it comes here, and a person ends it.
            kind.GEAR_SWAPPED: Rule(1, 0, 0),
            kind.GEAR_UNADDRESSED: Rule(2, settle, clear),
            kind.ADDRESS_DUPLICATE: Rule(2, settle, clear),
        }
