"""Points of lighting cabinets: feeders, switch, door, the controller's own schedule; and sensors of the street."""

from __future__ import annotations

from typing import Final

from fieldbus.vocabulary.terms import Direction, HandOffAuto, Point, Scope, choice, counted, flag, measured, settable

_DEVICE, _CHANNEL, _BOTH = Scope.DEVICE, Scope.CHANNEL, Direction.READ_WRITE
_HALF_DAY_S = 43_200
_DAY_S = 86_400
_POSITIONS = ((HandOffAuto.HAND, "hand"), (HandOffAuto.OFF, "off"), (HandOffAuto.AUTO, "auto"))

_FEEDERS: Final[tuple[Point, ...]] = (
    flag("contactor_command", _CHANNEL, "feeder contactor is told to close", "elec run cmd", direction=_BOTH),
    flag("contactor_feedback", _CHANNEL, "auxiliary contact: the feeder contactor is closed", "elec run sensor"),
    counted("contactor_operations", "1", _CHANNEL, "times the feeder contactor has closed"),
    flag("circuit_breaker_tripped", _CHANNEL, "the feeder's breaker has tripped (TALQ circuitBreakerTripped)"),
)

_CABINET: Final[tuple[Point, ...]] = (
    choice("hand_off_auto", _DEVICE, _POSITIONS, "position of the hand/0/auto switch (TALQ localOverride)"),
    flag("door_open", _DEVICE, "cabinet door is open (TALQ cabinetDoorOpen)", "door sensor"),
    flag("supply_present", _DEVICE, "mains is present at the cabinet"),
    flag("leakage", _DEVICE, "earth leakage current above its limit (TALQ leakageDetected)"),
    settable(
        "heartbeat", "1", _DEVICE, 0, 65535, "changes while we are alive; the controller falls back when it stops"
    ),
    settable("heartbeat_timeout", "s", _DEVICE, 0, 65535, "silence after which the controller uses its own schedule"),
)

# The controller's own astronomical clock: what switches the street when nobody else does.
_SCHEDULE: Final[tuple[Point, ...]] = (
    flag("astro_enabled", _DEVICE, "the controller's own schedule may switch the feeders", direction=_BOTH),
    flag("schedule_in_charge", _DEVICE, "the controller follows its own schedule now"),
    flag("astro_night", _DEVICE, "the controller's own clock says that it is night"),
    settable("astro_latitude", "deg", _DEVICE, -90, 90, "latitude the controller reckons with, + north"),
    settable("astro_longitude", "deg", _DEVICE, -180, 180, "longitude the controller reckons with, + east"),
    settable("astro_on_offset", "s", _DEVICE, -_HALF_DAY_S, _HALF_DAY_S, "switching on, + after sunset"),
    settable("astro_off_offset", "s", _DEVICE, -_HALF_DAY_S, _HALF_DAY_S, "switching off, + after sunrise"),
    flag("half_night_enabled", _CHANNEL, "the feeder is off between its half-night times", direction=_BOTH),
    settable("half_night_off", "s", _CHANNEL, 0, _DAY_S, "half-night feeder goes off, after local midnight"),
    settable("half_night_on", "s", _CHANNEL, 0, _DAY_S, "half-night feeder comes on again, after local midnight"),
    settable(
        "schedule_level", "permille", _CHANNEL, 0, 1000, "level of the feeder's lamps in the controller's schedule"
    ),
)

_SENSORS: Final[tuple[Point, ...]] = (
    flag("sensor_failure", _DEVICE, "the sensor says that its values are not to be trusted"),
    measured(
        "illuminance",
        "lx",
        _DEVICE,
        0,
        200_000,
        "illuminance outdoors, on the horizontal",
        "outside illuminance sensor",
    ),
    measured("traffic_flow", "1/h", _DEVICE, 0, 100_000, "vehicles or persons that pass, reckoned to an hour"),
    measured("rain_intensity", "mm/h", _DEVICE, 0, 1000, "rain"),
    measured("temperature_outdoor", "degC", _DEVICE, -90, 70, "air temperature outdoors", "outside air temp sensor"),
    measured("sound_level", "dB", _DEVICE, 0, 200, "sound pressure level outdoors, A-weighted"),
    counted("vehicles_passed", "1", _DEVICE, "vehicles or persons that have passed"),
)

POINTS: Final[tuple[Point, ...]] = (*_FEEDERS, *_CABINET, *_SCHEDULE, *_SENSORS)
