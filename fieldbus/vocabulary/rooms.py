"""Points of rooms as building controllers keep them. A room is a channel: one controller has many."""

from __future__ import annotations

from typing import Final

from fieldbus.vocabulary.terms import Direction, Point, Scope, flag, measured, settable

_ROOM, _BOTH = Scope.CHANNEL, Direction.READ_WRITE

POINTS: Final[tuple[Point, ...]] = (
    measured("temperature_room", "degC", _ROOM, -50, 100, "air temperature of the room", "zone air temp sensor"),
    settable(
        "temperature_setpoint", "degC", _ROOM, 0, 50, "room temperature to be reached", "zone air temp effective sp"
    ),
    settable(
        "setpoint_priority",
        "1",
        _ROOM,
        1,
        17,
        "BACnet priority the setpoint is commanded at: 1 highest, 8 operator, 16 lowest, 17 default",
    ),
    measured("humidity", "percent", _ROOM, 0, 100, "relative humidity of the air", "zone air humidity sensor"),
    measured(
        "co2", "ppm", _ROOM, 0, 50_000, "carbon dioxide in the air, by volume", "zone air co2 concentration sensor"
    ),
    flag("occupancy", _ROOM, "somebody is there", "zone occupied sensor"),
    flag("window_open", _ROOM, "a window is open"),
    settable("valve_position", "percent", _ROOM, 0, 100, "opening of the heating valve", "heat valve cmd"),
    flag("heating_enabled", _ROOM, "heating is allowed", "heat enable cmd", direction=_BOTH),
    settable(
        "light_level_command", "permille", _ROOM, 0, 1000, "level the room's lights are to have", "lights level cmd"
    ),
    measured("light_level_actual", "permille", _ROOM, 0, 1000, "level the room's lights have", "lights level sensor"),
    measured("room_illuminance", "lx", _ROOM, 0, 200_000, "illuminance indoors", "zone illuminance sensor"),
)
