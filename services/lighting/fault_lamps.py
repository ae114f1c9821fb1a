"""What one look says of every luminaire: a verdict per kind of fault, from what readings showed. In columns, pure.

A luminaire without supply, or behind something that is itself at fault, says nothing: its parent's fault is the one.
Not here: how long it has to be so (fault_debounce.py), and the parents (fault_places.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.level import FULL_PERMILLE, PowerCurve
from services.lighting.columns import Flags, Levels
from services.lighting.fault_debounce import Verdicts
from services.lighting.fault_kinds import FaultKind, FaultLimits, Verdict

LAMP_KINDS: Final = (
    FaultKind.LAMP_FAILURE,
    FaultKind.GEAR_FAILURE,
    FaultKind.DIMMING_FAILURE,
    FaultKind.POWER_TOO_HIGH,
    FaultKind.POWER_TOO_LOW,
    FaultKind.DAY_BURNER,
    FaultKind.CYCLING,
    FaultKind.COMMUNICATION_LOSS,
)
_NEAR: Final = 100
"""Per mille: seen to follow so near to the level at which it failed, a luminaire is good."""


@dataclass(frozen=True, eq=False)
class LampLook:
    """What is known of luminaires at one moment. Flags unless said otherwise.

    visible: asked by a gateway that answers, with supply, and no parent at fault. unpowered: known to have no supply.
    answers: its last reading had an answer. silent: often enough none. level: read back, -1 unknown. due: -1 for
    nothing. follows: settled at its due level. in_control: told its due level at all. night: the sun is down.
    failed_due: the due level at which it failed to follow, -1 for not known. lapses: within the last hour.
    """

    visible: Flags
    unpowered: Flags
    answers: Flags
    silent: Flags
    lamp_failure: Flags
    gear_failure: Flags
    disobedient: Flags
    burns_by_day: Flags
    follows: Flags
    in_control: Flags
    night: Flags
    level: Levels
    due: Levels
    failed_due: Levels
    lapses: NDArray[np.int16]


def lamp_verdicts(look: LampLook, limits: FaultLimits) -> dict[FaultKind, Verdicts]:
    """Verdicts per kind, all but power's."""
    works = look.answers & ~look.gear_failure
    lit = works & (look.level > 0) & ~look.lamp_failure
    by_day = (look.due == 0) & ~look.night
    told = look.in_control & (look.due >= 0) & ~by_day & works & ~look.lamp_failure
    near = (look.failed_due < 0) | (np.abs(look.due - look.failed_due) <= _NEAR)
    telling = ((look.due > 0) & (look.due < FULL_PERMILLE)) | near
    verdicts = {
        # One that comes and goes is cycling, and not a failure each time.
        FaultKind.LAMP_FAILURE: _verdict(look.lamp_failure & (look.lapses <= limits.cycles_per_hour), lit),
        FaultKind.GEAR_FAILURE: _verdict(look.gear_failure, works),
        FaultKind.COMMUNICATION_LOSS: _verdict(look.silent & ~look.gear_failure, look.answers),
        FaultKind.DIMMING_FAILURE: _verdict(
            told & look.disobedient, told & look.follows & telling, told & look.follows & (look.due > 0)
        ),
        FaultKind.CYCLING: _verdict(look.lapses > limits.cycles_per_hour, lit & (look.due > 0) & (look.lapses == 0)),
        FaultKind.DAY_BURNER: _verdict(look.burns_by_day & works, by_day & works & (look.level == 0)),
    }
    for verdict in verdicts.values():
        verdict[~look.visible] = Verdict.UNKNOWN
    # What has no supply does not burn.
    verdicts[FaultKind.DAY_BURNER][look.unpowered & by_day] = Verdict.GOOD
    return verdicts


def power_verdicts(
    measured_w: NDArray[np.float64], expected_w: NDArray[np.float64], limits: FaultLimits
) -> tuple[Verdicts, Verdicts]:
    """Too high, too low, for powers read at settled levels; NaN where one of both is not known."""
    known = ~np.isnan(measured_w) & ~np.isnan(expected_w)
    allowed_w = np.maximum(limits.power_least_w, limits.power_tolerance * np.nan_to_num(expected_w))
    difference_w = np.where(known, measured_w - expected_w, 0.0)
    return _verdict(known & (difference_w > allowed_w), known), _verdict(known & (difference_w < -allowed_w), known)


def expected_power_w(kinds: NDArray[np.int32], curves: list[PowerCurve], levels: Levels) -> NDArray[np.float64]:
    """What luminaires draw at levels in per mille by their models' curves; NaN where the curve (-1) is not known."""
    expected = np.full(levels.shape, np.nan)
    for number in np.unique(kinds[kinds >= 0]).tolist():
        mine = kinds == number
        expected[mine] = curves[number].power_w_array(levels[mine])
    return expected


def _verdict(bad: Flags, good: Flags, plausible: Flags | None = None) -> Verdicts:
    verdict = np.full(bad.shape, Verdict.UNKNOWN, dtype=np.int8)
    if plausible is not None:
        verdict[plausible] = Verdict.PLAUSIBLE
    verdict[good] = Verdict.GOOD
    verdict[bad] = Verdict.BAD
    return verdict
