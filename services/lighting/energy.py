"""Energy of luminaires over a period, from what is known of their levels: a level holds until the next change.

Unpowered gear draws nothing; powered gear at level 0 draws standby power. Time for which the level is not known counts
neither as energy nor as known. Not here: how history is stored, and what the cabinet's meter says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.canonical import canonical_hash
from domain.level import PowerCurve

UNKNOWN_LEVEL = -1


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a luminaire draws at which level. `estimated`: its model or its power is not known."""

    curve: PowerCurve
    estimated: bool


def drawn_by(
    *,
    rated_power_w: float,
    standby_power_w: float,
    curve: Sequence[tuple[int, int]],
    installed_power_w: float,
) -> Drawn:
    """The power over level of a luminaire.

    What was installed counts before what the model is rated for; both 0 means nobody knows, and it draws nothing.
    Without a curve a typical LED's is assumed (domain.level), and the energy is an estimate.
    """
    rated_w = installed_power_w if installed_power_w > 0 else rated_power_w
    if curve:
        return Drawn(PowerCurve(tuple(curve), rated_w, standby_power_w), estimated=rated_w <= 0)
    return Drawn(PowerCurve.typical_led(rated_w, standby_power_w), estimated=True)


@dataclass(frozen=True, eq=False)
class LevelChanges:
    """Changes of many luminaires: sorted by luminaire and instant. `row` counts luminaires; level -1 is unknown.

    The first change of a luminaire may lie before the period: it says what held when the period began.
    """

    row: NDArray[np.int64]
    at_ms: NDArray[np.int64]
    level: NDArray[np.int16]
    powered: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Energies:
    """Per luminaire: energy in mWh, and seconds, rounded once at the end."""

    energy_mwh: NDArray[np.int64]
    lit_s: NDArray[np.int64]
    known_s: NDArray[np.int64]


def energies(changes: LevelChanges, drawn: Sequence[Drawn], start_ms: int, end_ms: int) -> Energies:
    """Energy of each luminaire in [start, end). Before its first change nothing is known of a luminaire."""
    count = len(drawn)
    next_at = np.append(changes.at_ms[1:], end_ms)
    last_of_row = np.append(changes.row[1:] != changes.row[:-1], True) if changes.row.size else np.empty(0, np.bool_)
    until = np.where(last_of_row, end_ms, next_at)
    span_ms = np.maximum(np.minimum(until, end_ms) - np.maximum(changes.at_ms, start_ms), 0)
    known = changes.level != UNKNOWN_LEVEL
    lit = known & changes.powered & (changes.level > 0)
    power_w = _power(changes, drawn, known)
    # W times ms is 1/3600 mWh.
    weighted = np.bincount(changes.row, weights=power_w * span_ms, minlength=count) / 3600.0
    lit_ms = np.bincount(changes.row, weights=np.where(lit, span_ms, 0), minlength=count)
    known_ms = np.bincount(changes.row, weights=np.where(known, span_ms, 0), minlength=count)
    return Energies(
        np.floor(weighted + 0.5).astype(np.int64),
        np.floor(lit_ms / 1000.0 + 0.5).astype(np.int64),
        np.floor(known_ms / 1000.0 + 0.5).astype(np.int64),
    )


def _power(changes: LevelChanges, drawn: Sequence[Drawn], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    power = np.zeros(changes.row.size)
    supplied = known & changes.powered
    curves: dict[PowerCurve, int] = {}
    kind_of_row = np.fromiter(
        (curves.setdefault(d.curve, len(curves)) for d in drawn), dtype=np.int64, count=len(drawn)
    )
    kind = kind_of_row[changes.row]
    for curve, number in curves.items():
        mine = supplied & (kind == number)
        power[mine] = curve.power_w_array(changes.level[mine])
    return power


def evidence_hash(
    uids: Sequence[str], drawn: Sequence[Drawn], changes: LevelChanges, start_ms: int, end_ms: int
) -> str:
    """SHA-256 in hex over the canonical bytes of all that the energies rest on: powers in mW, curves, level changes."""
    bounds = np.searchsorted(changes.row, np.arange(len(uids) + 1))
    at, level, powered = changes.at_ms.tolist(), changes.level.tolist(), changes.powered.tolist()
    luminaires = []
    for row in sorted(range(len(uids)), key=lambda r: uids[r]):
        mine = slice(int(bounds[row]), int(bounds[row + 1]))
        curve = drawn[row].curve
        luminaires.append(
            {
                "uid": uids[row],
                "rated_mw": round(curve.rated_w * 1000),
                "standby_mw": round(curve.standby_w * 1000),
                "curve": [list(point) for point in curve.points],
                "estimated": drawn[row].estimated,
                "at": at[mine],
                "level": level[mine],
                "powered": powered[mine],
            }
        )
    return canonical_hash({"start": start_ms, "end": end_ms, "luminaires": luminaires})
