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


@dataclass(frozen=True, slots=True)
class DrawnSince:
    """What a luminaire draws from an instant on; None where it is not asked about from then on (gone, moved away)."""

    from_ms: int
    drawn: Drawn | None


Timeline = tuple[DrawnSince, ...]
"""What a luminaire drew over time, ascending: model, installed power and curve as they were. Before it, nothing."""


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


def energies(changes: LevelChanges, drawn: Sequence[Drawn | Timeline], start_ms: int, end_ms: int) -> Energies:
    """Energy of each luminaire in [start, end). Before its first change nothing is known of a luminaire.

    drawn: per luminaire one curve for the whole period, or what it drew over time.
    """
    count = len(drawn)
    kinds, curves = _Kinds(drawn), changes
    if kinds.splits_row.size:
        curves = _split(changes, kinds.splits_row, kinds.splits_at)
    kind = kinds.of(curves)
    next_at = np.append(curves.at_ms[1:], end_ms)
    last_of_row = np.append(curves.row[1:] != curves.row[:-1], True) if curves.row.size else np.empty(0, np.bool_)
    until = np.where(last_of_row, end_ms, next_at)
    span_ms = np.maximum(np.minimum(until, end_ms) - np.maximum(curves.at_ms, start_ms), 0)
    known = (curves.level != UNKNOWN_LEVEL) & (kind != _NOTHING)
    lit = known & curves.powered & (curves.level > 0)
    power_w = np.zeros(curves.row.size)
    for number, curve in enumerate(kinds.curves):
        mine = known & curves.powered & (kind == number)
        power_w[mine] = curve.power_w_array(curves.level[mine])
    # W times ms is 1/3600 mWh.
    weighted = np.bincount(curves.row, weights=power_w * span_ms, minlength=count) / 3600.0
    lit_ms = np.bincount(curves.row, weights=np.where(lit, span_ms, 0), minlength=count)
    known_ms = np.bincount(curves.row, weights=np.where(known, span_ms, 0), minlength=count)
    return Energies(
        np.floor(weighted + 0.5).astype(np.int64),
        np.floor(lit_ms / 1000.0 + 0.5).astype(np.int64),
        np.floor(known_ms / 1000.0 + 0.5).astype(np.int64),
    )


_NOTHING = -1
"""Kind of time in which nobody asks about a luminaire."""


class _Kinds:
    """Which curve counts for which luminaire from when on: equal curves are one kind, evaluated at once."""

    def __init__(self, drawn: Sequence[Drawn | Timeline]) -> None:
        numbers: dict[PowerCurve, int] = {}
        always: list[int] = []
        splits: list[tuple[int, int, int]] = []
        for row, one in enumerate(drawn):
            if isinstance(one, Drawn):
                always.append(numbers.setdefault(one.curve, len(numbers)))
                continue
            always.append(_NOTHING)
            for since in one:
                kind = _NOTHING if since.drawn is None else numbers.setdefault(since.drawn.curve, len(numbers))
                splits.append((row, since.from_ms, kind))
        self.curves = list(numbers)
        self._always = np.array(always, dtype=np.int64)
        self.splits_row = np.array([s[0] for s in splits], dtype=np.int64)
        self.splits_at = np.array([s[1] for s in splits], dtype=np.int64)
        self._kind = np.array([s[2] for s in splits], dtype=np.int64)

    def of(self, changes: LevelChanges) -> NDArray[np.int64]:
        """Kind that counts from each change on. Between two changes it stays: they were split before."""
        kind = self._always[changes.row]
        if self.splits_row.size:
            at = _last_before(self.splits_row, self.splits_at, changes.row, changes.at_ms)
            kind = np.where(at >= 0, self._kind[at], kind)
        return kind


def _split(changes: LevelChanges, rows: NDArray[np.int64], at_ms: NDArray[np.int64]) -> LevelChanges:
    """The same history with further changes that change nothing, at instants of luminaires where something holds."""
    held = _last_before(changes.row, changes.at_ms, rows, at_ms)
    rows, at_ms, held = rows[held >= 0], at_ms[held >= 0], held[held >= 0]
    row, at = np.append(changes.row, rows), np.append(changes.at_ms, at_ms)
    order = np.lexsort((at, row))
    return LevelChanges(
        row[order],
        at[order],
        np.append(changes.level, changes.level[held])[order],
        np.append(changes.powered, changes.powered[held])[order],
    )


def _last_before(
    rows: NDArray[np.int64], at_ms: NDArray[np.int64], of_row: NDArray[np.int64], of_ms: NDArray[np.int64]
) -> NDArray[np.intp]:
    """Index of the last (row, instant), sorted, of the same row at or before each asked-for instant; -1 for none."""
    order = np.lexsort((np.append(np.zeros(rows.size), np.ones(of_row.size)), np.append(at_ms, of_ms),
                        np.append(rows, of_row)))  # fmt: skip
    index = np.where(order < rows.size, order, -1)
    last = np.maximum.accumulate(index) if index.size else index
    answer = np.empty(of_row.size, dtype=np.intp)
    asked = order >= rows.size
    answer[order[asked] - rows.size] = last[asked]
    return np.where((answer >= 0) & (rows[answer] == of_row) if rows.size else False, answer, -1)


def evidence_hash(
    uids: Sequence[str], drawn: Sequence[Drawn | Timeline], changes: LevelChanges, start_ms: int, end_ms: int
) -> str:
    """SHA-256 in hex over the canonical bytes of all that the energies rest on: powers in mW, curves, level changes."""
    bounds = np.searchsorted(changes.row, np.arange(len(uids) + 1))
    at, level, powered = changes.at_ms.tolist(), changes.level.tolist(), changes.powered.tolist()
    luminaires = []
    for row in sorted(range(len(uids)), key=lambda r: uids[r]):
        mine = slice(int(bounds[row]), int(bounds[row + 1]))
        luminaires.append(
            {
                "uid": uids[row],
                **_evidence_of(drawn[row]),
                "at": at[mine],
                "level": level[mine],
                "powered": powered[mine],
            }
        )
    return canonical_hash({"start": start_ms, "end": end_ms, "luminaires": luminaires})


def _evidence_of(drawn: Drawn | Timeline | None) -> dict[str, object]:
    """What a luminaire drew: one curve, or a list of them with the instants from which they count."""
    if drawn is None:
        return {}
    if not isinstance(drawn, Drawn):
        return {"versions": [{"from": since.from_ms, **_evidence_of(since.drawn)} for since in drawn]}
    curve = drawn.curve
    return {
        "rated_mw": round(curve.rated_w * 1000),
        "standby_mw": round(curve.standby_w * 1000),
        "curve": [list(point) for point in curve.points],
        "estimated": drawn.estimated,
    }
