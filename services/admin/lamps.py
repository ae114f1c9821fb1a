"""The lamps of one town in columns: what is known of each, what it looks like, and which changed since when. Pure.

Levels are per mille of rated output, -1 where unknown (actual) or where nothing is due (due). Not here: where the
states come from (town.py), and how a look is drawn (static/lampmap.js, which shares the numbers of `Look`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lichtbuch.lighting.v1 import control_pb2, inventory_pb2
from lichtbuch.type.v1 import types_pb2

Rows = npt.NDArray[np.int64]

FULL_PERMILLE: Final = 990
"""From here on a lamp counts as fully lit: what 1000 becomes after a gateway's quantisation."""


class Fault(IntFlag):
    """Fault bits of a luminaire, as the contract numbers them."""

    LAMP = 1
    GEAR = 2
    DIMMING = 4
    DAY_BURNER = 8
    COMMUNICATION = 16
    POWER_TOO_HIGH = 32
    POWER_TOO_LOW = 64
    CYCLING = 128


class Look(IntEnum):
    """What a lamp looks like on the map; the numbers are shared with the browser."""

    LIT = 0
    DIMMED = 1
    OFF = 2
    FAULT = 3
    UNKNOWN = 4
    UNPOWERED = 5


@dataclass(frozen=True, slots=True)
class Lamp:
    """What does not change from one minute to the next."""

    name: str
    latitude_deg: float
    longitude_deg: float
    street: str = ""
    pole: str = ""
    group: str = ""
    cabinet: str = ""
    gateway: str = ""
    model: str = ""
    lighting_class: str = ""
    installed_power_w: float = 0.0

    @property
    def id(self) -> str:
        """The last part of its name."""
        return self.name.rsplit("/", 1)[-1]


def lamp_from_proto(message: inventory_pb2.Luminaire) -> Lamp:
    """A lamp out of the inventory."""
    return Lamp(
        name=message.name,
        latitude_deg=message.position.latitude_deg,
        longitude_deg=message.position.longitude_deg,
        street=message.street,
        pole=message.pole,
        group=message.group,
        cabinet=message.cabinet,
        gateway=message.gateway,
        model=message.model,
        lighting_class=message.lighting_class,
        installed_power_w=message.installed_power_w,
    )


@dataclass(frozen=True, slots=True)
class LampState:
    """One lamp now."""

    look: Look
    due_permille: int
    actual_permille: int
    written_permille: int
    """What its gear is told for what is due; -1 where not known."""
    source: int
    """A DueSource of the contract; 0 where not known."""
    faults: Fault
    powered: bool
    in_control: bool
    observed_at_unix_ms: int
    """Domain time; 0 where it was never read."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many lamps do what. The looks add up to `total`; faults and not_following are counted beside them."""

    total: int = 0
    lit: int = 0
    dimmed: int = 0
    off: int = 0
    unknown: int = 0
    unpowered: int = 0
    faults: int = 0
    not_following: int = 0
    shadow: int = 0
    """Lamps that are only watched: their gateway is not in control."""


def _zeros(count: int, kind: Any) -> Any:
    return np.zeros(count, dtype=kind)


@dataclass(slots=True)
class LampTable:
    """All lamps of a town; row i of every column belongs to lamp i. Rows never move while the table lives."""

    lamps: Sequence[Lamp] = ()
    revision: int = 1
    """Grows with every change; `changed` holds the revision at which each lamp changed last."""
    rows: dict[str, int] = field(init=False)
    due: npt.NDArray[np.int16] = field(init=False)
    actual: npt.NDArray[np.int16] = field(init=False)
    written: npt.NDArray[np.int16] = field(init=False)
    source: npt.NDArray[np.uint8] = field(init=False)
    quality: npt.NDArray[np.uint8] = field(init=False)
    observed: npt.NDArray[np.int64] = field(init=False)
    powered: npt.NDArray[np.bool_] = field(init=False)
    faults: npt.NDArray[np.int32] = field(init=False)
    in_control: npt.NDArray[np.bool_] = field(init=False)
    known: npt.NDArray[np.bool_] = field(init=False)
    """False until a first state came in."""
    changed: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.lamps)
        self.rows = {lamp.name: row for row, lamp in enumerate(self.lamps)}
        self.due, self.actual, self.written = (np.full(count, -1, np.int16) for _ in range(3))
        self.source, self.quality = (_zeros(count, np.uint8) for _ in range(2))
        self.faults = _zeros(count, np.int32)
        self.observed = _zeros(count, np.int64)
        self.powered, self.in_control, self.known = (_zeros(count, np.bool_) for _ in range(3))
        self.changed = np.full(count, self.revision, np.int64)

    def take(self, states: control_pb2.LuminaireStateColumns) -> int:
        """Takes states in; a shorter column counts as zeros. Returns how many lamps are not in this table."""
        names = list(states.names)
        found = np.fromiter((self.rows.get(name, -1) for name in names), np.int64, len(names))
        here = found >= 0
        rows = found[here]
        if rows.size:
            count = len(names)
            new = {
                "due": _column(states.due_permille, count, -1)[here].astype(np.int16),
                "actual": _column(states.actual_permille, count, -1)[here].astype(np.int16),
                "written": _column(states.written_permille, count, -1)[here].astype(np.int16),
                "source": _column(states.due_sources, count, 0)[here].astype(np.uint8),
                "quality": _column(states.qualities, count, 0)[here].astype(np.uint8),
                "powered": _column(states.powered, count, 0)[here].astype(np.bool_),
                "faults": _column(states.faults, count, 0)[here].astype(np.int32),
                "in_control": _column(states.in_control, count, 0)[here].astype(np.bool_),
            }
            # A lamp that was only read again, with the same outcome, is no news for the map.
            differs = ~self.known[rows]
            for name, values in new.items():
                column = getattr(self, name)
                differs |= column[rows] != values
                column[rows] = values
            self.observed[rows] = _column(states.observed_at_unix_ms, count, 0)[here]
            self.known[rows] = True
            if differs.any():
                self.revision += 1
                self.changed[rows[differs]] = self.revision
        return int(len(names) - rows.size)

    def since(self, revision: int) -> Rows:
        """Rows that changed after a revision."""
        return np.flatnonzero(self.changed > revision)

    def looks(self, rows: Rows | None = None) -> npt.NDArray[np.uint8]:
        """What lamps look like, as numbers of `Look`; all of them, or some rows."""
        pick: Any = slice(None) if rows is None else rows
        actual, faults = self.actual[pick], self.faults[pick]
        look = np.where(actual >= FULL_PERMILLE, int(Look.LIT), int(Look.DIMMED))
        look = np.where(actual == 0, int(Look.OFF), look)
        unread = np.isin(self.quality[pick], (types_pb2.QUALITY_BAD, types_pb2.QUALITY_MISSING))
        look = np.where((actual < 0) | unread, int(Look.UNKNOWN), look)
        look = np.where((faults & ~int(Fault.COMMUNICATION)) != 0, int(Look.FAULT), look)
        look = np.where((faults & int(Fault.COMMUNICATION)) != 0, int(Look.UNKNOWN), look)
        # Gear without supply is dark and says nothing; that is no fault.
        look = np.where(~self.powered[pick] & (faults == 0), int(Look.UNPOWERED), look)
        look = np.where(~self.known[pick], int(Look.UNKNOWN), look)
        return look.astype(np.uint8)

    def state(self, row: int) -> LampState:
        """One lamp now."""
        return LampState(
            look=Look(int(self.looks(np.array([row]))[0])),
            due_permille=int(self.due[row]),
            actual_permille=int(self.actual[row]),
            written_permille=int(self.written[row]),
            source=int(self.source[row]),
            faults=Fault(int(self.faults[row])),
            powered=bool(self.powered[row]),
            in_control=bool(self.in_control[row]),
            observed_at_unix_ms=int(self.observed[row]),
        )

    def counts(self) -> Counts:
        """How many lamps do what. A lamp with a fault is lit, dimmed or off as well, where that is known."""
        by_look = np.bincount(self.looks(), minlength=len(Look))
        faulty = self.looks() == int(Look.FAULT)
        actual = self.actual
        return Counts(
            total=len(self.lamps),
            lit=int(by_look[Look.LIT] + (faulty & (actual >= FULL_PERMILLE)).sum()),
            dimmed=int(by_look[Look.DIMMED] + (faulty & (actual > 0) & (actual < FULL_PERMILLE)).sum()),
            off=int(by_look[Look.OFF] + (faulty & (actual == 0)).sum()),
            unknown=int(by_look[Look.UNKNOWN] + (faulty & (actual < 0)).sum()),
            unpowered=int(by_look[Look.UNPOWERED]),
            faults=int((self.faults != 0).sum()),
            not_following=int(((self.faults & int(Fault.DIMMING)) != 0).sum()),
            shadow=int((self.known & ~self.in_control).sum()),
        )

    def columns(self, rows: Rows) -> dict[str, list[int]]:
        """What the browser needs of some rows: parallel lists, level by level."""
        return {
            "rows": rows.tolist(),
            "look": self.looks(rows).tolist(),
            "actual": self.actual[rows].tolist(),
            "due": self.due[rows].tolist(),
            "source": self.source[rows].tolist(),
            "faults": self.faults[rows].tolist(),
        }


def _column(values: Sequence[int], count: int, missing: int) -> npt.NDArray[np.int64]:
    """A column of a message, filled up where the sender left it shorter."""
    column = np.fromiter(values, np.int64, len(values))[:count]
    if column.size < count:
        column = np.concatenate([column, np.full(count - column.size, missing, np.int64)])
    return column
