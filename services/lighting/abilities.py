"""What a gateway or a cabinet's controller can do, by its device profile: which points there are, and how exact a level
reads back. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.level import DALI, FULL_PERMILLE, LevelScale, expected_read_back_permille
from fieldbus.profile import Profile
from fieldbus.vocabulary import GEAR_PER_LINE

_LEAST_TOLERANCE: Final = 10
"""Per mille: a percent, which profiles without a scale of their own are read in."""

_REQUESTS_AT_ONCE: Final = 4
_FEW_LAMPS: Final = 16

FLAGS: Final = ("lamp_failure", "gear_failure", "fade_running")


@dataclass(frozen=True, eq=False)
class GatewayAbilities:
    """What matters of a gateway's profile.

    level_point: where a level is read: in effect, else as the gateway remembers its command (`from_memory`), else "".
    flags: which of FLAGS can be read. expected, tolerance: per level what reads back, and how far off.
    """

    level_point: str
    from_memory: bool
    flags: tuple[str, ...]
    can_write: bool
    can_broadcast: bool
    can_fade: bool
    tells_fading: bool
    """Whether it says that a lamp is still on its way: then a level that is reached need not be waited for."""
    expected: NDArray[np.int16]
    tolerance: NDArray[np.int16]
    power_range: tuple[int, int] | None = None
    """Addresses of luminaires whose power can be read; None for none."""
    group_range: tuple[int, int] | None = None
    """Numbers of groups that one command reaches; None for none."""
    lamps_at_once: int = 0
    """Of so many lamps a few requests tell; 0 where neighbours stand close together, and all come at once."""


@dataclass(frozen=True, slots=True)
class ControllerAbilities:
    """What matters of a cabinet controller's profile."""

    has_switch: bool
    has_door: bool
    has_supply: bool
    has_feedback: bool
    has_command: bool
    can_switch: bool
    keeps_schedule: bool
    """Whether it switches by a schedule of its own, which can be written, while nobody commands it."""


SCHEDULE: Final = ("astro_enabled", "astro_on_offset", "astro_off_offset")
"""What a controller's stored schedule has at least."""


def gateway_abilities(profile: Profile) -> GatewayAbilities:
    """The abilities of a gateway."""
    in_effect = profile.readable("level_actual")
    remembered = profile.readable("level_command")
    expected, tolerance = _read_back(profile)
    return GatewayAbilities(
        level_point="level_actual" if in_effect else "level_command" if remembered else "",
        from_memory=not in_effect,
        flags=tuple(name for name in FLAGS if profile.readable(name)),
        can_write=profile.writable("level_command"),
        can_broadcast=profile.writable("broadcast_level_command"),
        can_fade=profile.writable("fade_time"),
        tells_fading=profile.readable("fade_running"),
        expected=expected,
        tolerance=tolerance,
        power_range=_power_range(profile),
        lamps_at_once=_lamps_at_once(profile, "level_actual" if in_effect else "level_command"),
        group_range=(
            profile.points["group_level_command"].index_range if profile.writable("group_level_command") else None
        ),
    )


def controller_abilities(profile: Profile) -> ControllerAbilities:
    """The abilities of a cabinet's controller."""
    return ControllerAbilities(
        has_switch=profile.readable("hand_off_auto"),
        has_door=profile.readable("door_open"),
        has_supply=profile.readable("supply_present"),
        has_feedback=profile.readable("contactor_feedback"),
        has_command=profile.readable("contactor_command"),
        can_switch=profile.writable("contactor_command"),
        keeps_schedule=all(profile.writable(name) for name in SCHEDULE),
    )


def line_of(address: NDArray[np.int32]) -> NDArray[np.int32]:
    """Lines of gear addresses (line * 64 + gear)."""
    lines: NDArray[np.int32] = address // GEAR_PER_LINE
    return lines


def _lamps_at_once(profile: Profile, point: str) -> int:
    """How many lamps a few requests tell of, by how far their registers are apart."""
    binding = profile.points.get(point)
    place = None if binding is None else binding.modbus
    if binding is None or place is None or place.address is None or not _has_two(binding.index_range):
        return 0
    first = binding.index_range[0] if binding.index_range else 0
    apart = abs(place.address.at(binding.scope, first + 1) - place.address.at(binding.scope, first))
    in_one = 1 + (profile.modbus.max_read_registers - 2) // max(1, apart)
    return _REQUESTS_AT_ONCE * in_one if in_one < _FEW_LAMPS else 0


def _has_two(index_range: tuple[int, int] | None) -> bool:
    return index_range is not None and index_range[1] > index_range[0]


def _power_range(profile: Profile) -> tuple[int, int] | None:
    return profile.points["lamp_power"].index_range if profile.readable("lamp_power") else None


def _read_back(profile: Profile) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """What reads back for each level, and the tolerance: one step of the coarsest scale on the way, DALI's included,
    since that is what nearly all gear behind a gateway speaks."""
    scales = [
        profile.points[name].conversion.level_scale for name in ("level_command", "level_actual") if profile.has(name)
    ]
    used: tuple[LevelScale, ...] = tuple(scale for scale in scales if scale is not None)
    levels = range(FULL_PERMILLE + 1)
    expected = np.array([expected_read_back_permille(level, *used[:1]) for level in levels], dtype=np.int16)
    steps = [max(_LEAST_TOLERANCE, *(scale.step_permille(level) for scale in (DALI, *used))) for level in levels]
    return expected, np.array(steps, dtype=np.int16)
