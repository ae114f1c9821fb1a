"""The demonstration town: generated, the same for the same numbers, and labelled synthetic wherever it is shown.

Magnitudes follow what was published for Bad Hersfeld (5 300 lights, about 1.95 GWh a year in 2015, 22 supply points
under energy monitoring); the number of cabinets is assumed. Streets, lamps, positions and addresses are invented.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from domain.errors import InvalidInput
from simulator import catalogue
from simulator.roadside import RAIN, TRAFFIC
from simulator.town import (
    PERMANENT,
    PROFILE_CABINET,
    PROFILE_CABINET_WITH_SCHEDULE,
    PROFILE_SENSOR,
    PROFILES_OF_ROAD_SENSORS,
    SWITCHED,
    Building,
    Cabinet,
    Endpoint,
    Feeder,
    LightSensor,
    Luminaire,
    Meter,
    RoadSensor,
    Town,
)

LATITUDE_DEG = 50.868
LONGITUDE_DEG = 9.707
DESCRIPTION = (
    "Synthetic demonstration town: only its magnitudes follow figures published for Bad Hersfeld; "
    "streets, lamps, meters and consumption are invented."
)
GEARS_PER_GATEWAY = 64
METRES_PER_DEGREE = 111_320.0
RADIUS_M = 2_600.0
FEEDER_PATTERNS = (
    (PERMANENT, SWITCHED),
    (SWITCHED, SWITCHED, PERMANENT),
    (SWITCHED, SWITCHED),
    (PERMANENT, SWITCHED, SWITCHED),
    (PERMANENT, PERMANENT),
    (SWITCHED, SWITCHED),
)


@dataclass(frozen=True)
class DemoSize:
    """How large a town to generate. At most 64 luminaires a cabinet, as a DALI line has 64 short addresses."""

    luminaires: int = 5_300
    cabinets: int = 100
    monitored: int = 22
    seed: int = 1
    buildings: int = 3

    def __post_init__(self) -> None:
        if self.cabinets < 1:
            raise InvalidInput.of("cabinets", "must be at least 1")
        if not 2 * self.cabinets <= self.luminaires <= GEARS_PER_GATEWAY * self.cabinets:
            raise InvalidInput.of("luminaires", f"must be 2 to {GEARS_PER_GATEWAY} times the number of cabinets")
        if not 0 <= self.monitored <= self.cabinets:
            raise InvalidInput.of("monitored", "must be between 0 and the number of cabinets")
        if not 0 <= self.buildings <= 3:
            raise InvalidInput.of("buildings", "must be 0 to 3")


def demo_town(size: DemoSize | None = None) -> Town:
    """Generate the town. Cabinets are `C-001`..., luminaires `L-0001`..., the last cabinets are of other makes."""
    return _Builder(size or DemoSize()).build()


class _Builder:
    def __init__(self, size: DemoSize) -> None:
        self.size = size
        self.random = Random(size.seed)
        self.streets = 0
        self.endpoints: list[Endpoint] = []
        self.cabinets: list[Cabinet] = []
        self.feeders: list[Feeder] = []
        self.luminaires: list[Luminaire] = []
        self.meters: list[Meter] = []

    def build(self) -> Town:
        monitored = {round(k * self.size.cabinets / self.size.monitored) for k in range(self.size.monitored)}
        for index, count in enumerate(self._luminaires_per_cabinet()):
            self._cabinet(index, count, index in monitored)
        buildings = self._buildings()
        self.endpoints.append(Endpoint("LS-1-tcp", PROFILE_SENSOR, "lighting"))
        sensor = LightSensor("LS-1", "LS-1-tcp", LATITUDE_DEG, LONGITUDE_DEG)
        road_sensors = sensors_along_the_road(LATITUDE_DEG, LONGITUDE_DEG)
        self.endpoints += [Endpoint(s.endpoint, PROFILES_OF_ROAD_SENSORS[s.kind], "lighting") for s in road_sensors]
        return Town(
            name="Bad Hersfeld (synthetic demonstration)",
            description=DESCRIPTION,
            time_zone="Europe/Berlin",
            latitude=LATITUDE_DEG,
            longitude=LONGITUDE_DEG,
            models=catalogue.MODELS,
            endpoints=tuple(self.endpoints),
            cabinets=tuple(self.cabinets),
            feeders=tuple(self.feeders),
            luminaires=tuple(self.luminaires),
            meters=tuple(self.meters),
            buildings=buildings,
            light_sensors=(sensor,),
            road_sensors=road_sensors,
            seed=self.size.seed,
        )

    def _luminaires_per_cabinet(self) -> list[int]:
        """Sizes around the mean, none above a DALI line's 64; their sum is exact."""
        base, extra = divmod(self.size.luminaires, self.size.cabinets)
        counts = [base + (1 if i < extra else 0) for i in range(self.size.cabinets)]
        for i in range(0, self.size.cabinets - 1, 2):
            room = min(GEARS_PER_GATEWAY - counts[i], counts[i + 1] - 2, base // 4)
            shift = self.random.randint(0, max(0, room))
            counts[i] += shift
            counts[i + 1] -= shift
        return counts

    def _cabinet(self, index: int, count: int, monitored: bool) -> None:
        cabinet_id = f"C-{index + 1:03d}"
        east_m, north_m = _sunflower(index, self.size.cabinets)
        latitude, longitude = _position(LATITUDE_DEG, LONGITUDE_DEG, east_m, north_m)
        first_street = catalogue.street_name(self.streets)
        controller, gateway, meter = f"{cabinet_id}-plc", f"{cabinet_id}-gw", f"M-{index + 1:03d}" if monitored else ""
        profile = controller_profile(index, self.size.cabinets)
        self.endpoints.append(Endpoint(controller, profile, "lighting", cabinet=cabinet_id))
        self.endpoints.append(
            Endpoint(gateway, gateway_profile(index, self.size.cabinets), "lighting", cabinet=cabinet_id)
        )
        self.cabinets.append(
            Cabinet(cabinet_id, f"Schaltstelle {first_street}", f"{first_street} 1", latitude, longitude,
                    controller, gateway, meter)
        )  # fmt: skip
        if meter:
            self.endpoints.append(Endpoint(f"{meter}-tcp", "eastron-sdm630", "metering", cabinet=cabinet_id))
            serial, start_wh = f"SDM{240_000 + index * 37}", self.random.randint(3_000, 12_000) * 1_000
            self.meters.append(
                Meter(meter, f"{meter}-tcp", "Eastron SDM630", serial, cabinet=cabinet_id, start_wh=start_wh)
            )
        feeders = self._feeders(cabinet_id, index)
        shares = [count // len(feeders) + (1 if i < count % len(feeders) else 0) for i in range(len(feeders))]
        gear = 0
        for feeder, share in zip(feeders, shares, strict=True):
            if share:
                self._street(cabinet_id, gateway, feeder, gear, share, latitude, longitude)
            gear += share

    def _feeders(self, cabinet: str, index: int) -> list[Feeder]:
        """Two or three circuits; every third cabinet is wholly switched, one in six wholly permanent."""
        kinds = FEEDER_PATTERNS[index % len(FEEDER_PATTERNS)]
        feeders = []
        channel = 0
        for number, supply in enumerate(kinds, start=1):
            feeders.append(
                Feeder(f"{cabinet}-F{number}", cabinet, f"Abgang {number}", supply,
                       channel if supply == SWITCHED else -1)
            )  # fmt: skip
            channel += 1 if supply == SWITCHED else 0
        self.feeders.extend(feeders)
        return feeders

    def _street(
        self, cabinet: str, gateway: str, feeder: Feeder, gear: int, count: int, latitude: float, longitude: float
    ) -> None:
        """Lamps along one invented street that starts near the cabinet; its first lamp may light a crossing."""
        street = catalogue.street_name(self.streets)
        self.streets += 1
        road = self.random.choices(catalogue.ROADS, weights=[r.weight for r in catalogue.ROADS])[0]
        old = self.random.choices(range(len(catalogue.OLD_LAMPS)), weights=[w for *_, w in catalogue.OLD_LAMPS])[0]
        heading = self.random.uniform(0.0, 2.0 * math.pi)
        crossing_here = road.lighting_class.startswith("M") or self.random.random() < 0.15
        for i in range(count):
            crossing = crossing_here and i in (0, count - 1) and count > 4
            kind = catalogue.CROSSING if crossing else road
            along_m = 12.0 + i * road.spacing_m + self.random.uniform(-2.0, 2.0)
            lat, lon = _position(latitude, longitude, along_m * math.sin(heading), along_m * math.cos(heading))
            half_night = not crossing and self.random.random() < catalogue.HALF_NIGHT_SHARE
            burning_h = self.random.randint(2_000, 9_000)
            self.luminaires.append(
                Luminaire(
                    id=f"L-{len(self.luminaires) + 1:04d}",
                    cabinet=cabinet,
                    feeder=feeder.id,
                    gateway=gateway,
                    gear=gear + i,
                    model=kind.model,
                    latitude=lat,
                    longitude=lon,
                    address=f"{street} {2 * i + 1}",
                    street=street,
                    lighting_class=kind.lighting_class,
                    lowest_class=kind.lowest_class,
                    floor_permille=kind.floor_permille,
                    previous=catalogue.previous_operation(old, half_night),
                    crossing=crossing,
                    phase=i % 3 + 1,
                    groups=(int(feeder.id[-1]) - 1,),
                    mounting_height_m=kind.mounting_height_m,
                    energy_wh=burning_h * 20,
                    burning_s=burning_h * 3_600,
                )
            )

    def _buildings(self) -> tuple[Building, ...]:
        buildings, endpoints, meters = building_meters(LATITUDE_DEG, LONGITUDE_DEG, self.size.buildings)
        self.endpoints += endpoints
        self.meters += meters
        return buildings


def sensors_along_the_road(latitude: float, longitude: float) -> tuple[RoadSensor, ...]:
    """A traffic counter and a rain sensor in the middle of the town, in degrees."""
    return (
        RoadSensor("TS-1", "TS-1-tcp", TRAFFIC, latitude, longitude),
        RoadSensor("RS-1", "RS-1-tcp", RAIN, latitude, longitude),
    )


def controller_profile(index: int, cabinets: int) -> str:
    """In a larger town one controller of twenty keeps a schedule of its own."""
    return PROFILE_CABINET_WITH_SCHEDULE if cabinets >= 20 and index % 20 == 5 else PROFILE_CABINET


def gateway_profile(index: int, cabinets: int) -> str:
    """Most gateways are of the Intesis kind; the last cabinet has OPC UA lamps, some before it Arlight, and in larger
    towns the one before these has the reference map."""
    opcua = 0 if cabinets < 3 else 1
    arlight = 0 if cabinets < 2 else max(1, round(0.08 * cabinets))
    if index >= cabinets - opcua:
        return "opcua-lamp"
    if index >= cabinets - opcua - arlight:
        return "arlight-dali"
    # In a larger town one tells of gear without an address and of shared addresses, so that swaps of drivers show.
    telling = cabinets >= 20 and index == cabinets - opcua - arlight - 1
    return "generic-level-status" if telling else "intesis-dali"


def building_meters(
    latitude: float, longitude: float, number: int
) -> tuple[tuple[Building, ...], list[Endpoint], list[Meter]]:
    """The first so many demonstration buildings around a centre in degrees, with endpoints and meters."""
    chosen = catalogue.buildings(latitude, longitude)[:number]
    endpoints: list[Endpoint] = []
    meters: list[Meter] = []
    for count, spec in enumerate(chosen, start=1):
        meter = f"M-B{count}"
        endpoints.append(Endpoint(f"{meter}-tcp", spec.profile, "metering", building=spec.building.id))
        meters.append(
            Meter(meter, f"{meter}-tcp", spec.product, f"{spec.product.split()[0].upper()}-70{count:02d}",
                  building=spec.building.id, start_wh=spec.start_wh)
        )  # fmt: skip
    return tuple(spec.building for spec in chosen), endpoints, meters


def _sunflower(index: int, count: int) -> tuple[float, float]:
    """Even spread over a disc (Vogel's spiral): metres east and north of the centre."""
    radius = RADIUS_M * math.sqrt((index + 0.5) / count)
    angle = index * math.pi * (3.0 - math.sqrt(5.0))
    return radius * math.cos(angle), radius * math.sin(angle)


def _position(latitude: float, longitude: float, east_m: float, north_m: float) -> tuple[float, float]:
    """A point some metres away, in degrees rounded to about 0.1 m; good enough within a town."""
    lat = latitude + north_m / METRES_PER_DEGREE
    lon = longitude + east_m / (METRES_PER_DEGREE * math.cos(math.radians(latitude)))
    return round(lat, 6), round(lon, 6)
