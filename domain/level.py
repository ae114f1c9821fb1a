"""Light levels: per mille of rated light output, the curves and steps of devices, and the power that a level draws.

Not here: which level is due (priority.py) and how it reaches a device (fieldbus).
Power is not proportional to level: a dimmed driver loses more of what it draws, and draws standby power when dark.
"""

import math
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.errors import InvalidInput, OutOfLimits

OFF_PERMILLE: Final = 0
FULL_PERMILLE: Final = 1000

DALI_ARC_OFF: Final = 0
DALI_ARC_MAX: Final = 254
DALI_ARC_NO_CHANGE: Final = 255
"""Not a level: on the wire it stops a fade or means "no change" and "not available"."""

_DALI_DECADE: Final = 253.0 / 3.0


def check_level(level_permille: int, field: str = "level_permille") -> int:
    """Returns the level if it lies in 0..1000. Raises OutOfLimits."""
    if not OFF_PERMILLE <= level_permille <= FULL_PERMILLE:
        raise OutOfLimits.of(field, f"{level_permille} is not between 0 and 1000 per mille")
    return level_permille


def permille_from_percent(percent: float, field: str = "level") -> int:
    """Per mille of a percentage as people type it; rounded half up. Raises OutOfLimits."""
    if not math.isfinite(percent) or not 0 <= percent <= 100:
        raise OutOfLimits.of(field, f"{percent} is not between 0 and 100 percent")
    return math.floor(percent * 10 + 0.5)


def dali_arc_to_permille(arc: int) -> int:
    """Light level of a DALI arc power value on the logarithmic dimming curve, rounded to the nearest per mille.

    IEC 62386-102: level% = 10 ** ((n - 1) / (253 / 3) - 1) for n = 1..254; 0 is off. Raises OutOfLimits
    (255 included: that is no level).
    """
    if not DALI_ARC_OFF <= arc <= DALI_ARC_MAX:
        raise OutOfLimits.of("arc", f"{arc} is not a DALI arc power level (0..254)")
    return 0 if arc == DALI_ARC_OFF else round(10.0 * 10.0 ** ((arc - 1) / _DALI_DECADE - 1.0))


def permille_to_dali_arc(level_permille: int) -> int:
    """Nearest DALI arc power value on the logarithmic dimming curve; the inverse of `dali_arc_to_permille`.

    Never 0 for a level above 0: rounding must not switch a lamp off. Raises OutOfLimits.
    """
    check_level(level_permille)
    if level_permille == OFF_PERMILLE:
        return DALI_ARC_OFF
    return max(1, round(1.0 + _DALI_DECADE * (math.log10(level_permille / 10.0) + 1.0)))


def dali_arc_to_permille_linear(arc: int) -> int:
    """Light level of a DALI arc power value where the gear uses its linear curve (IEC 62386-207): n / 254."""
    if not DALI_ARC_OFF <= arc <= DALI_ARC_MAX:
        raise OutOfLimits.of("arc", f"{arc} is not a DALI arc power level (0..254)")
    return round(arc * FULL_PERMILLE / DALI_ARC_MAX)


def permille_to_dali_arc_linear(level_permille: int) -> int:
    """Nearest DALI arc power value on the linear curve; never 0 for a level above 0. Raises OutOfLimits."""
    check_level(level_permille)
    return 0 if level_permille == OFF_PERMILLE else max(1, round(level_permille * DALI_ARC_MAX / FULL_PERMILLE))


class DimmingCurve(Enum):
    """How the numbers of a device stand for light."""

    LINEAR = "linear"
    DALI_LOGARITHMIC = "dali_logarithmic"


@dataclass(frozen=True, slots=True)
class LevelScale:
    """The levels that a device can hold.

    steps: raw value of full light (100 for percent, 254 for DALI, 1000 for per mille); 0 is off.
    curve: DALI_LOGARITHMIC needs 254 steps.
    minimum_permille: physical minimum of the gear; a lower level above 0 is raised to it by the gear itself.
    """

    steps: int = FULL_PERMILLE
    curve: DimmingCurve = DimmingCurve.LINEAR
    minimum_permille: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InvalidInput.of("steps", f"{self.steps} steps cannot hold a level")
        if self.curve is DimmingCurve.DALI_LOGARITHMIC and self.steps != DALI_ARC_MAX:
            raise InvalidInput.of("steps", "the DALI curve has 254 steps")
        check_level(self.minimum_permille, "minimum_permille")

    def to_raw(self, level_permille: int) -> int:
        """Raw value to write for a level; never 0 for a level above 0. Raises OutOfLimits."""
        check_level(level_permille)
        if level_permille == OFF_PERMILLE:
            return 0
        level_permille = max(level_permille, self.minimum_permille)
        if self.curve is DimmingCurve.DALI_LOGARITHMIC:
            return permille_to_dali_arc(level_permille)
        return max(1, round(level_permille * self.steps / FULL_PERMILLE))

    def to_permille(self, raw: int) -> int:
        """Level that a raw value stands for. Raises OutOfLimits."""
        if not 0 <= raw <= self.steps:
            raise OutOfLimits.of("raw", f"{raw} is not between 0 and {self.steps}")
        if self.curve is DimmingCurve.DALI_LOGARITHMIC:
            return dali_arc_to_permille(raw)
        # A step that would round to nothing still is light.
        return 0 if raw == 0 else max(1, round(raw * FULL_PERMILLE / self.steps))

    def read_back_permille(self, level_permille: int) -> int:
        """Level that the device reports once it holds `level_permille` as well as it can."""
        return self.to_permille(self.to_raw(level_permille))

    def step_permille(self, level_permille: int) -> int:
        """Distance to the device's next level above or below, whichever is wider; at least 1."""
        raw = self.to_raw(level_permille)
        here = self.to_permille(raw)
        neighbours = [self.to_permille(r) for r in (raw - 1, raw + 1) if 0 < r <= self.steps]
        return max([1, *(abs(n - here) for n in neighbours)])


def expected_read_back_permille(level_permille: int, *scales: LevelScale) -> int:
    """Level reported after it passed several scales, outermost first.

    A gateway that takes percent and speaks DALI to the gear quantises twice:
    ``expected_read_back_permille(level, PERCENT, DALI)``.
    """
    for scale in scales:
        level_permille = scale.read_back_permille(level_permille)
    for scale in reversed(scales[:-1]):
        level_permille = scale.read_back_permille(level_permille)
    return level_permille


def confirms(actual_permille: int, asked_permille: int, *scales: LevelScale) -> bool:
    """True if a read-back shows that the device holds what it was asked, as well as its scales allow.

    Off must be off and lit must be lit; in between one step of the coarsest scale is forgiven, since gateways
    differ in how they round.
    """
    if (asked_permille == OFF_PERMILLE) != (actual_permille == OFF_PERMILLE):
        return False
    expected = expected_read_back_permille(asked_permille, *scales)
    tolerance = max((scale.step_permille(asked_permille) for scale in scales), default=0)
    return abs(actual_permille - expected) <= tolerance


PERMILLE: Final = LevelScale(1000)
PERCENT: Final = LevelScale(100)
DALI: Final = LevelScale(DALI_ARC_MAX, DimmingCurve.DALI_LOGARITHMIC)
DALI_LINEAR: Final = LevelScale(DALI_ARC_MAX)


@dataclass(frozen=True)
class PowerCurve:
    """Electrical power of a luminaire over its level.

    points: (level, power) both in per mille of full, by rising level, power never falling, the last at (1000, 1000).
    rated_w: power at full level in watts. standby_w: power of supplied gear at level 0 in watts; a luminaire on a
    de-energised feeder draws nothing, which is for the caller to know.
    Between points it is a straight line; under the first point the power of the first point is drawn.
    """

    points: tuple[tuple[int, int], ...]
    rated_w: float
    standby_w: float = 0.0

    def __post_init__(self) -> None:
        if not self.points or tuple(self.points[-1]) != (FULL_PERMILLE, FULL_PERMILLE):
            raise InvalidInput.of("points", "the last point of a power curve is (1000, 1000)")
        previous_level, previous_power = 0, 0
        for level, power in self.points:
            if level <= previous_level or power < previous_power:
                raise InvalidInput.of(
                    "points", f"({level}, {power}) does not rise: levels above 0 rise, power never falls"
                )
            previous_level, previous_power = level, power
        if not (math.isfinite(self.rated_w) and self.rated_w >= 0):
            raise InvalidInput.of("rated_w", f"{self.rated_w} W is not a power of a luminaire")
        if not (math.isfinite(self.standby_w) and self.standby_w >= 0):
            raise InvalidInput.of("standby_w", f"{self.standby_w} W is not a standby power")

    @classmethod
    def typical_led(cls, rated_w: float, standby_w: float = 0.3) -> "PowerCurve":
        """For a model whose curve nobody measured. An assumption, to be shown as one.

        It passes through 33 % of power at 10 % of level, computed from what a German town published (22.8 W
        luminaires, 900 h full and 3 200 h at 10 %, 52 % saved); proportional power would have saved 70 %.
        """
        return cls(((100, 330), (FULL_PERMILLE, FULL_PERMILLE)), rated_w, standby_w)

    @classmethod
    def not_dimmable(cls, rated_w: float, standby_w: float = 0.0) -> "PowerCurve":
        """For lamps that are on or off, as sodium vapour lamps on a plain ballast: any light costs full power."""
        return cls(((FULL_PERMILLE, FULL_PERMILLE),), rated_w, standby_w)

    @cached_property
    def _xs(self) -> NDArray[np.float64]:
        return np.array([level for level, _ in self.points], dtype=np.float64)

    @cached_property
    def _ys(self) -> NDArray[np.float64]:
        return np.array([power for _, power in self.points], dtype=np.float64) * (self.rated_w / FULL_PERMILLE)

    def power_w(self, level_permille: int) -> float:
        """Power in watts at a level. Raises OutOfLimits."""
        check_level(level_permille)
        if level_permille == OFF_PERMILLE:
            return self.standby_w
        return float(np.interp(level_permille, self._xs, self._ys))

    def power_w_array(self, level_permille: ArrayLike) -> NDArray[np.float64]:
        """Power in watts of many levels, in the shape of the input. Raises OutOfLimits."""
        levels = np.asarray(level_permille)
        if levels.size and (levels.min() < OFF_PERMILLE or levels.max() > FULL_PERMILLE):
            raise OutOfLimits.of("level_permille", "a level is not between 0 and 1000 per mille")
        return np.where(levels == OFF_PERMILLE, self.standby_w, np.interp(levels, self._xs, self._ys))
