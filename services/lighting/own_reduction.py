"""When luminaires are reduced by something else than a command, and to what: conductors, control phases, profiles in
the lamp. Pure. Only previews need it: such luminaires are observed and never written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from domain.level import FULL_PERMILLE, PowerCurve
from services.lighting.records import Reduction

HALF_PERMILLE: Final = 500


@dataclass(frozen=True, slots=True, order=True)
class OwnWindow:
    """A stretch of each night with less light: by the local clock ("22:30"), or in seconds around the middle of the lit
    time where the clock times are empty.

    level_permille: light meanwhile. by_share: power is that share of full power (of half the lamps the half); else it
    is what the curve says of the level.
    """

    begin_time: str
    end_time: str
    begin_offset_s: int
    end_offset_s: int
    level_permille: int
    by_share: bool

    def power_w(self, curve: PowerCurve) -> float:
        """Power in W of a luminaire while it is lit and the window is on."""
        if self.by_share:
            return curve.power_w(FULL_PERMILLE) * self.level_permille / FULL_PERMILLE
        return curve.power_w(self.level_permille)


OwnWindows = tuple[OwnWindow, ...]
"""Windows of a luminaire, none overlapping; empty where nothing reduces it at all."""


def windows_of(
    reduction: int, reduced_from: str, reduced_until: str, power_permille: int, profile: Iterable[Sequence[int]]
) -> OwnWindows | None:
    """The windows of a luminaire that no command reduces; None where nobody has said when it is reduced.

    reduced_from, reduced_until, power_permille: its feeder's; 0 per mille stands for half. profile: its model's, each
    [begin, end, level].
    """
    match reduction:
        case Reduction.HALF_NIGHT_CONDUCTOR | Reduction.CONTROL_PHASE:
            if not reduced_from:
                return None
            return (OwnWindow(reduced_from, reduced_until, 0, 0, power_permille or HALF_PERMILLE, True),)
        case Reduction.STORED_PROFILE:
            return tuple(OwnWindow("", "", begin, end, level, False) for begin, end, level in profile) or None
        case _:
            return ()
