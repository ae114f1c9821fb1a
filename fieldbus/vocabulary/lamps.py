"""Points of lamps, of their control gear, and of the gateways and lines they hang on."""

from __future__ import annotations

from typing import Final

from fieldbus.vocabulary.terms import Direction, Point, Scope, choice, counted, flag, measured, settable, text

_GEAR, _GROUP, _LINE = Scope.GEAR, Scope.GROUP, Scope.LINE
_CURVES = ((0, "logarithmic"), (1, "linear"))

_GEAR_POINTS: Final[tuple[Point, ...]] = (
    settable("level_command", "permille", _GEAR, 0, 1000, "commanded level, of rated light output (TALQ targetLight)"),
    measured("level_actual", "permille", _GEAR, 0, 1000, "level in effect, moves while fading (TALQ actualLightState)"),
    flag("gear_present", _GEAR, "control gear with this address answers"),
    flag("gear_failure", _GEAR, "control gear reports itself faulty or does not answer"),
    flag("lamp_failure", _GEAR, "light source open, short or missing (TALQ lampFailure)"),
    flag("lamp_on", _GEAR, "light source is energised", "lights run sensor"),
    flag("lamp_on_command", _GEAR, "light source is told to be on", "lights run cmd", direction=Direction.READ_WRITE),
    flag("fade_running", _GEAR, "the level is still moving to its target"),
    settable("level_power_on", "permille", _GEAR, -1, 1000, "level after mains returns; -1 = as before the loss"),
    settable("level_communication_loss", "permille", _GEAR, -1, 1000, "level while the line is dead; -1 = unchanged"),
    settable("fade_time", "s", _GEAR, 0, 100, "time of one fade from level to level; 0 = at once"),
    settable("gear_scene_command", "1", _GEAR, 0, 15, "scene that one gear goes to"),
    choice(
        "dimming_curve",
        _GEAR,
        _CURVES,
        "curve between level and light output (IEC 62386-207)",
        direction=Direction.READ_WRITE,
    ),
    measured("lamp_voltage", "V", _GEAR, 0, 1000, "supply voltage of one luminaire (TALQ supplyVoltage)"),
    measured("lamp_current", "A", _GEAR, 0, 100, "supply current of one luminaire (TALQ supplyCurrent)"),
    measured("lamp_power", "W", _GEAR, 0, 5000, "active power of one luminaire (IEC 62386-252)"),
    measured("lamp_power_factor", "1", _GEAR, -1, 1, "power factor of one luminaire (TALQ powerFactor)"),
    counted("lamp_energy", "Wh", _GEAR, "active energy of one luminaire (IEC 62386-252)"),
    counted("burning_hours", "s", _GEAR, "operating time of the lamp or gear, counted in SECONDS (IEC 62386-253)"),
    counted("lamp_starts", "1", _GEAR, "number of starts (IEC 62386-253)"),
    measured("gear_temperature", "degC", _GEAR, -60, 193, "temperature of the control gear (IEC 62386-253)"),
    text("gear_identity", _GEAR, "identification number of this one piece of control gear (IEC 62386-102, bank 0)"),
    flag("address_conflict", _GEAR, "more than one control gear answers at this address"),
)

_GROUP_POINTS: Final[tuple[Point, ...]] = (
    settable("group_level_command", "permille", _GROUP, 0, 1000, "commanded level of all gear of a group"),
    settable("group_scene_command", "1", _GROUP, 0, 15, "scene that all gear of a group goes to"),
    flag("group_failure", _GROUP, "at least one gear of the group has failed"),
)

_LINE_POINTS: Final[tuple[Point, ...]] = (
    settable("broadcast_level_command", "permille", _LINE, 0, 1000, "commanded level of all gear of a line"),
    settable("scene_command", "1", _LINE, 0, 15, "scene that all gear of a line goes to"),
    flag("line_failure", _LINE, "at least one gear of the line has failed"),
    flag("bus_failure", _LINE, "the line is short, has no supply, or its gateway cannot use it"),
    flag("bus_supply", _LINE, "the line's power supply is on", direction=Direction.READ_WRITE),
    measured("bus_load", "percent", _LINE, 0, 100, "share of the line's time that is taken by telegrams"),
    measured("gear_count", "1", _LINE, 0, 64, "control gear that the gateway knows on the line"),
    measured("gears_unaddressed", "1", _LINE, 0, 64, "control gear on the line that has no address"),
)

POINTS: Final[tuple[Point, ...]] = (*_GEAR_POINTS, *_GROUP_POINTS, *_LINE_POINTS)
