"""A town around the lamps of an inventory: positions, streets, classes and powers are the file's, all devices invented.

The file's own feeders, gateways and models are not taken over: a simulated device behind each of them would claim to
know what no inventory says. The same file gives the same town.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from simulator import catalogue
from simulator.demo import FEEDER_PATTERNS, building_meters, gateway_profile
from simulator.grouping import cabinets_of, even_parts
from simulator.inventory_lamps import InventoryLamp, read_lamps
from simulator.town import (
    ALL_NIGHT,
    HALF_NIGHT,
    PROFILE_CABINET,
    PROFILE_SENSOR,
    SWITCHED,
    Building,
    Cabinet,
    Endpoint,
    Feeder,
    LightSensor,
    Luminaire,
    Meter,
    Model,
    PreviousOperation,
    Town,
)
from simulator.town_check import check_town

DESCRIPTION: Final = (
    "Simulated from an inventory: positions, streets, lighting classes and powers are the file's where it has them; "
    "cabinets, feeders, devices, meters and consumption are invented."
)
# Where nothing is said: the share of cabinets with a meter, as in the demonstration town.
MONITORED_SHARE: Final = 0.22
DEFAULT_CLASS: Final = "P4"
# Class to the class it may fall to at night and the ratio of their maintained values in per mille, rounded up
# (EN 13201-2: M 2.0, 1.5, 1.0, 0.75, 0.5, 0.3 cd/m2; P 15, 10, 7.5, 5, 3, 2 lx). C, and P7, stay at full light.
LOWEST: Final = {
    "M1": ("M3", 500), "M2": ("M3", 667), "M3": ("M5", 500), "M4": ("M5", 667), "M5": ("M6", 600),
    "P1": ("P3", 500), "P2": ("P4", 500), "P3": ("P5", 400), "P4": ("P6", 400), "P5": ("P6", 667),
}  # fmt: skip
MOUNTING_HEIGHT_M: Final = {"M": 8.0, "C": 8.0, "P": 4.5}
# A lamp whose power nobody knows gets the model usual for its kind of road; an old lamp drew about three times as much.
USUAL_MODEL: Final = {"M": "LED-41", "C": "LED-68", "P": "LED-23"}
OLD_TO_NEW: Final = 3.5


@dataclass(frozen=True)
class InventoryOptions:
    """What the file does not say. `monitored` None is a share of the cabinets."""

    monitored: int | None = None
    buildings: int = 0
    time_zone: str = "Europe/Berlin"
    seed: int = 1


def town_from_inventory(path: Path, options: InventoryOptions | None = None) -> Town:
    """The town of an inventory CSV; lamps without position are left out and counted on standard error.

    Raises InvalidInput naming line and column where the file is malformed.
    """
    found = read_lamps(path)
    if found.without_position:
        print(f"simulator: {found.without_position} luminaires without position are left out", file=sys.stderr)
    town = _Builder(found.lamps, options or InventoryOptions()).build(path.stem)
    check_town(town)
    return town


class _Builder:
    def __init__(self, lamps: tuple[InventoryLamp, ...], options: InventoryOptions) -> None:
        self.options = options
        self.groups = cabinets_of(lamps)
        self.count = len(self.groups)
        self.latitude, self.longitude = _middle(lamps)
        self.endpoints: list[Endpoint] = []
        self.cabinets: list[Cabinet] = []
        self.feeders: list[Feeder] = []
        self.luminaires: list[Luminaire] = []
        self.meters: list[Meter] = []

    def build(self, name: str) -> Town:
        monitored = self._monitored()
        for index, lamps in enumerate(self.groups):
            self._cabinet(index, lamps, index in monitored)
        buildings = self._buildings()
        self.endpoints.append(Endpoint("LS-1-tcp", PROFILE_SENSOR, "lighting"))
        return Town(
            name=f"{name} (simulated from an inventory)",
            description=DESCRIPTION,
            time_zone=self.options.time_zone,
            latitude=self.latitude,
            longitude=self.longitude,
            models=catalogue.MODELS,
            endpoints=tuple(self.endpoints),
            cabinets=tuple(self.cabinets),
            feeders=tuple(self.feeders),
            luminaires=tuple(self.luminaires),
            meters=tuple(self.meters),
            buildings=buildings,
            light_sensors=(LightSensor("LS-1", "LS-1-tcp", self.latitude, self.longitude),),
            seed=self.options.seed,
        )

    def _monitored(self) -> set[int]:
        wanted = self.options.monitored
        number = max(1, round(MONITORED_SHARE * self.count)) if wanted is None else min(wanted, self.count)
        return {k * self.count // number for k in range(number)}

    def _cabinet(self, index: int, lamps: list[InventoryLamp], monitored: bool) -> None:
        cabinet = f"C-{index + 1:03d}"
        controller, gateway, meter = f"{cabinet}-plc", f"{cabinet}-gw", f"M-{index + 1:03d}" if monitored else ""
        latitude, longitude = _middle(lamps)
        street = lamps[0].street
        self.endpoints.append(Endpoint(controller, PROFILE_CABINET, "lighting", cabinet=cabinet))
        self.endpoints.append(Endpoint(gateway, gateway_profile(index, self.count), "lighting", cabinet=cabinet))
        name = f"Schaltstelle {street[:80]}" if street else f"Schaltstelle {index + 1}"
        self.cabinets.append(Cabinet(cabinet, name, street, latitude, longitude, controller, gateway, meter))
        if meter:
            self.endpoints.append(Endpoint(f"{meter}-tcp", "eastron-sdm630", "metering", cabinet=cabinet))
            serial = f"SDM{240_000 + index * 37}"
            self.meters.append(Meter(meter, f"{meter}-tcp", "Eastron SDM630", serial, cabinet=cabinet))
        self._feeders(cabinet, gateway, index, lamps)

    def _feeders(self, cabinet: str, gateway: str, index: int, lamps: list[InventoryLamp]) -> None:
        kinds = FEEDER_PATTERNS[index % len(FEEDER_PATTERNS)][: len(lamps)]
        channel = gear = 0
        for number, (supply, share) in enumerate(zip(kinds, even_parts(lamps, len(kinds)), strict=True), start=1):
            switched = supply == SWITCHED
            feeder = Feeder(f"{cabinet}-F{number}", cabinet, f"Abgang {number}", supply, channel if switched else -1)
            self.feeders.append(feeder)
            channel += switched
            for lamp in share:
                self.luminaires.append(_luminaire(lamp, cabinet, feeder.id, gateway, gear, number - 1))
                gear += 1

    def _buildings(self) -> tuple[Building, ...]:
        buildings, endpoints, meters = building_meters(self.latitude, self.longitude, self.options.buildings)
        self.endpoints += endpoints
        self.meters += meters
        return buildings


def _luminaire(lamp: InventoryLamp, cabinet: str, feeder: str, gateway: str, gear: int, group: int) -> Luminaire:
    lighting_class = lamp.lighting_class or DEFAULT_CLASS
    lowest, floor = LOWEST.get(lighting_class, (lighting_class, 1000))
    # A conflict area is never dimmed, whatever its class says.
    crossing = lamp.crossing or lighting_class.startswith("C")
    if crossing:
        lowest, floor = lighting_class, 1000
    model = model_of(lamp.installed_w, lighting_class)
    return Luminaire(
        id=lamp.id,
        cabinet=cabinet,
        feeder=feeder,
        gateway=gateway,
        gear=gear,
        model=model.id,
        latitude=lamp.latitude,
        longitude=lamp.longitude,
        address=lamp.street,
        street=lamp.street,
        lighting_class=lighting_class,
        lowest_class=lowest,
        floor_permille=lamp.floor_permille or floor,
        previous=previous_of(lamp, model),
        crossing=crossing,
        phase=gear % 3 + 1,
        mounting_height_m=MOUNTING_HEIGHT_M[lighting_class[0]],
        groups=(group,),
    )


def model_of(installed_w: float | None, lighting_class: str) -> Model:
    """The model of the catalogue whose rated power is nearest; without a power the one usual for the class."""
    if installed_w is None:
        return next(model for model in catalogue.MODELS if model.id == USUAL_MODEL[lighting_class[0]])
    return min(catalogue.MODELS, key=lambda model: abs(model.rated_w - installed_w))


def previous_of(lamp: InventoryLamp, model: Model) -> PreviousOperation:
    """The file's previous operation; without one the catalogue's old lamp that the model would have replaced."""
    if lamp.previous_lamp_w is None:
        wanted_w = model.rated_w * OLD_TO_NEW
        old = min(range(len(catalogue.OLD_LAMPS)), key=lambda i: abs(catalogue.OLD_LAMPS[i][1] - wanted_w))
        return catalogue.previous_operation(old, lamp.half_night)
    regime, off = (HALF_NIGHT, catalogue.HALF_NIGHT_OFF) if lamp.half_night else (ALL_NIGHT, "")
    return PreviousOperation("as in the inventory", lamp.previous_lamp_w, lamp.previous_ballast_w or 0.0, regime, off)


def _middle(lamps: list[InventoryLamp] | tuple[InventoryLamp, ...]) -> tuple[float, float]:
    """The median of each coordinate: a lamp with a wrong position does not carry the town away."""
    latitudes, longitudes = sorted(lamp.latitude for lamp in lamps), sorted(lamp.longitude for lamp in lamps)
    return round(latitudes[len(lamps) // 2], 6), round(longitudes[len(lamps) // 2], 6)
