"""What lines of gateways say of gear without an address and of addresses that more than one gear answers at: told by
who reads them, judged by the fault watch. By uid, so that it outlives changes of the inventory.

Not here: reading (gear_reading.py), faults (fault_watch.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan

import numpy as np
from numpy.typing import NDArray

from services.lighting.columns import Columns
from services.lighting.fault_debounce import Instants, Verdicts
from services.lighting.fault_kinds import Verdict


@dataclass(frozen=True, slots=True)
class Stray:
    """Gear without an address on a line: how many, and the luminaire that is silent there, empty unless it is one."""

    count: int
    likely_uid: str = ""


@dataclass(frozen=True, slots=True)
class LinesSeen:
    """What the lines of a gateway said at an instant (Unix ms). strays: by line, None where none of them can say it.
    conflicts: luminaires whose address more than one gear answers at; None where the gateway cannot say it."""

    at_ms: int
    strays: Mapping[int, Stray] | None = None
    conflicts: frozenset[str] | None = None


@dataclass(frozen=True, eq=False)
class GearVerdicts:
    """In columns: per luminaire and per gateway, with the instant of the reading; counts NaN for none."""

    lamp_stray: Verdicts
    lamp_conflict: Verdicts
    lamp_read_ms: Instants
    lamp_count: NDArray[np.float64]
    gateway_stray: Verdicts
    gateway_read_ms: Instants
    gateway_count: NDArray[np.float64]


@dataclass(slots=True)
class GearBoard:
    """The newest of each gateway, by its uid."""

    seen: dict[str, LinesSeen] = field(default_factory=dict)

    def in_columns(self, columns: Columns) -> GearVerdicts:
        """Verdicts: bad where it is, good where it was looked for and is not, else unknown."""
        lamps, gateways = columns.count, len(columns.inventory.gateways)
        found = GearVerdicts(
            _unknown(lamps), _unknown(lamps), np.zeros(lamps, dtype=np.int64), np.full(lamps, nan),
            _unknown(gateways), np.zeros(gateways, dtype=np.int64), np.full(gateways, nan),
        )  # fmt: skip
        if not self.seen:
            return found
        for gateway, record in enumerate(columns.inventory.gateways):
            seen = self.seen.get(record.uid)
            if seen is None:
                continue
            rows = columns.rows_by_gateway[gateway]
            found.lamp_read_ms[rows] = found.gateway_read_ms[gateway] = seen.at_ms
            if seen.strays is not None:
                found.lamp_stray[rows] = found.gateway_stray[gateway] = Verdict.GOOD
                unplaced = 0
                for stray in seen.strays.values():
                    row = columns.row_of.get(stray.likely_uid)
                    if row is None:
                        unplaced += stray.count
                    elif stray.count:
                        found.lamp_stray[row], found.lamp_count[row] = Verdict.BAD, stray.count
                if unplaced:
                    found.gateway_stray[gateway], found.gateway_count[gateway] = Verdict.BAD, unplaced
            if seen.conflicts is not None:
                found.lamp_conflict[rows] = Verdict.GOOD
                shared = [columns.row_of[uid] for uid in seen.conflicts if uid in columns.row_of]
                found.lamp_conflict[shared] = Verdict.BAD
        return found


def _unknown(count: int) -> Verdicts:
    return np.full(count, Verdict.UNKNOWN, dtype=np.int8)
