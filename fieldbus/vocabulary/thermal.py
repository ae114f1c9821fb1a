"""Points of heat, cooling, water and gas meters, and what an M-Bus gateway says about such a meter.

Volumes count in millilitres: the smallest digit of a heat meter is below a litre, and an integer of millilitres stays
exact up to nine billion cubic metres.
"""

from __future__ import annotations

from typing import Final

from fieldbus.vocabulary.terms import Point, Scope, choice, counted, flag, measured

_DEVICE = Scope.DEVICE

# EN 13757-3, device types: the lower byte of "version and medium".
MEDIA: Final = (
    (0, "other"),
    (1, "oil"),
    (2, "electricity"),
    (3, "gas"),
    (4, "heat, volume measured in the return"),
    (5, "steam"),
    (6, "warm water, 30 to 90 degC"),
    (7, "water"),
    (8, "heat cost allocator"),
    (9, "compressed air"),
    (10, "cooling, volume measured in the return"),
    (11, "cooling, volume measured in the flow"),
    (12, "heat, volume measured in the flow"),
    (13, "heat and cooling"),
    (14, "bus or system component"),
    (15, "unknown"),
    (21, "hot water, 90 degC and more"),
    (22, "cold water"),
    (23, "hot and cold water"),
    (24, "pressure"),
    (25, "analogue-digital converter"),
    (255, "not stated"),
)

POINTS: Final[tuple[Point, ...]] = (
    counted("energy_heat", "Wh", _DEVICE, "thermal energy delivered for heating", "heat energy meter sensor"),
    counted("energy_cooling", "Wh", _DEVICE, "thermal energy taken away for cooling", "cool energy meter sensor"),
    counted("volume_heat", "mL", _DEVICE, "volume of heating medium that has passed the heat meter"),
    counted("volume_water", "mL", _DEVICE, "volume of water drawn", "water volume meter sensor"),
    counted("volume_gas", "mL", _DEVICE, "volume of gas as the meter counts it, before conversion to standard volume"),
    measured("power_heat", "W", _DEVICE, -1e9, 1e9, "thermal power, + heating", "heat power sensor"),
    measured(
        "tank_level", "percent", _DEVICE, 0, 100, "level of a store of oil or pellets", "fuelOil tank level sensor"
    ),
    measured("tank_volume", "L", _DEVICE, 0, 1e7, "what lies in a store of oil", "fuelOil tank volume sensor"),
    measured("flow", "L/h", _DEVICE, -1e8, 1e8, "volume flow through the meter", "fluid flow sensor"),
    measured("temperature_forward", "degC", _DEVICE, -60, 300, "temperature of the flow pipe", "leaving temp sensor"),
    measured("temperature_return", "degC", _DEVICE, -60, 300, "temperature of the return pipe", "entering temp sensor"),
    measured("temperature_difference", "K", _DEVICE, -300, 300, "flow temperature less return temperature"),
    choice("meter_medium", _DEVICE, MEDIA, "what the meter counts (EN 13757-3 device type)"),
    measured("meter_number", "1", _DEVICE, 0, 4_294_967_295, "identification number; another one is another meter"),
    flag("meter_not_read", _DEVICE, "the gateway could not read the meter: its values are old"),
)
