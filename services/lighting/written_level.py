"""From a due level to what is written, and back: virtual output, constant light output (CLO) and the smallest level
that a driver can hold. Pure; one luminaire by itself, or many in columns, with equal answers.

A due level is light: per mille of what a luminaire gives at full level, as planned. What is written is a command: per
mille of its driver's rated output. `output_permille` is the command that full light takes today. How a command looks on
the wire (percent, DALI's logarithmic curve) is the driver's business in fieldbus.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from domain.level import FULL_PERMILLE, OFF_PERMILLE
from services.lighting.columns import Levels

ALL_OUTPUT: Final = FULL_PERMILLE
"""Full light takes all that the driver is rated for."""

_STEP: Final = 10
"""Per mille: a percent, in which many gateways speak."""
_STEP_SHARE: Final = 50
"""A fiftieth of a level: half a step of DALI's logarithmic curve (1.4 %), and what percents add to it."""


def clo_permille(curve: Sequence[Sequence[int]], burning_hours: int) -> int:
    """What constant light output asks of a driver after some burning hours, in per mille of rated output.

    A point of the curve holds from its hours on, until the next one (TALQ gives points, too, and not a line). Before
    the first one its output holds already: more light rather than less. Without a curve it is all of it.
    """
    if not curve:
        return FULL_PERMILLE
    output = curve[0][1]
    for hours, permille in curve:
        if hours > burning_hours:
            break
        output = permille
    return output


def output_permille(virtual_output_permille: int, clo: int = FULL_PERMILLE) -> int:
    """The command for full light, of a virtual output (0: all of it) and what constant light output asks for now; at
    least 1."""
    return max(1, _scaled(virtual_output_permille or FULL_PERMILLE, clo))


def written_level(due: int, output: int = ALL_OUTPUT, least: int = 0) -> int:
    """The command for a due level; both in per mille.

    Off stays off, and so does what is no level (below 0: nothing is due). Light stays light: at least 1, and at least
    what the driver can hold.
    """
    if due <= OFF_PERMILLE:
        return due
    return min(FULL_PERMILLE, max(1, least, _scaled(due, output)))


def light_level(driven: int, output: int = ALL_OUTPUT) -> int:
    """The light of a command that was read back, in per mille of full light. At most 1000, also of gear that drives
    harder; what is not known (below 0) stays so."""
    if driven <= OFF_PERMILLE:
        return driven
    return min(FULL_PERMILLE, max(1, (driven * FULL_PERMILLE + output // 2) // output))


def written_levels(due: Levels, output: Levels, least: Levels) -> Levels:
    """`written_level` of many."""
    scaled = (due.astype(np.int32) * output + FULL_PERMILLE // 2) // FULL_PERMILLE
    written = np.minimum(FULL_PERMILLE, np.maximum(np.maximum(scaled, least), 1))
    return np.where(due <= OFF_PERMILLE, due, written).astype(np.int16)


def light_levels(driven: Levels, output: Levels) -> Levels:
    """`light_level` of many."""
    scaled = (driven.astype(np.int32) * FULL_PERMILLE + output // 2) // output
    light = np.minimum(FULL_PERMILLE, np.maximum(scaled, 1))
    return np.where(driven <= OFF_PERMILLE, driven, light).astype(np.int16)


def shown_light(driven: int, due: int, output: int = ALL_OUTPUT) -> int:
    """The light of a command that was read back, as it is shown beside what is due. Gear and gateways round commands:
    within such a step of the command for it, the light is the one that is due."""
    if output >= FULL_PERMILLE or min(driven, due) <= OFF_PERMILLE:
        return light_level(driven, output)
    command = _scaled(due, output)
    return due if abs(driven - command) <= max(_STEP, command // _STEP_SHARE) else light_level(driven, output)


def shown_lights(driven: Levels, due: Levels, output: Levels) -> Levels:
    """`shown_light` of many."""
    command = (due.astype(np.int32) * output + FULL_PERMILLE // 2) // FULL_PERMILLE
    near = np.abs(driven - command) <= np.maximum(_STEP, command // _STEP_SHARE)
    near &= (output < FULL_PERMILLE) & (np.minimum(driven, due) > OFF_PERMILLE)
    return np.where(near, due, light_levels(driven, output)).astype(np.int16)


def _scaled(level: int, permille: int) -> int:
    """Rounded half up, so that it never falls while one of both rises."""
    return (level * permille + FULL_PERMILLE // 2) // FULL_PERMILLE
