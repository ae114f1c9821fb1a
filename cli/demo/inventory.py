"""The simulator's town in the words of the services: what seeding sends. Pure but for the municipality's id, which the
demonstration's processes have from their environment."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from lichtbuch.ledger.v1 import ledger_pb2
from lichtbuch.lighting.v1 import inventory_pb2, sensors_pb2
from lichtbuch.metering.v1 import metering_pb2
from lichtbuch.registry.v1 import registry_pb2
from lichtbuch.scheduler.v1 import scheduler_pb2
from lichtbuch.type.v1 import types_pb2

Town = Mapping[str, Any]

# The built-in town, or the slug of the inventory that `--inventory` named; see layout.py.
MUNICIPALITY: Final = os.environ.get("LICHTBUCH_DEMO_MUNICIPALITY") or "bad-hersfeld"
PARENT: Final = f"municipalities/{MUNICIPALITY}"
OWNERS: Final = {
    "lighting": registry_pb2.ENDPOINT_OWNER_LIGHTING,
    "metering": registry_pb2.ENDPOINT_OWNER_METERING,
}
# Groups by kind of road (first letter of the lighting class, then its number), each with the level its profile falls to
# in per mille: what one plan may do depends on how far a class may fall.
GROUP_OF_ROAD: Final = (
    ("P", "residential", 500, range(1, 5)),
    ("P", "side-streets", 700, range(1, 8)),
    ("M", "main-roads", 700, range(1, 7)),
)
CSV_FIELDS: Final = (
    "luminaire_id", "latitude", "longitude", "street", "model", "feeder", "gateway", "gateway_address", "group",
    "lighting_class", "floor_permille", "conflict_area", "installed_power_w", "previous_lamp_power_w",
    "previous_ballast_power_w", "previous_half_night", "lamp_technology",
)  # fmt: skip

# Invented for the demonstration, in the usual magnitude of a municipal contract; not a published price.
PRICE_EUR_PER_KWH: Final = "0.2875"
FACTORS: Final = ledger_pb2.Factors(
    price_eur_per_kwh=PRICE_EUR_PER_KWH,
    price_source="demonstration: avoidable part of a municipal supply contract, invented",
    co2_g_per_kwh=363,
    co2_source="2024, German Environment Agency (UBA), first estimate",
)
# Share of the year's daily mean per month, invented: more in winter.
SEASON: Final = (1.22, 1.18, 1.08, 0.98, 0.9, 0.84, 0.82, 0.82, 0.9, 1.0, 1.1, 1.16)


def name(collection: str, identity: str) -> str:
    """A resource name in the town."""
    return f"{PARENT}/{collection}/{identity}" if identity else ""


def position(item: Mapping[str, Any]) -> types_pb2.Position:
    """Where something stands."""
    return types_pb2.Position(latitude_deg=item["latitude"], longitude_deg=item["longitude"])


def municipality(town: Town) -> registry_pb2.Municipality:
    """The town itself, marked as synthetic."""
    return registry_pb2.Municipality(
        display_name=town["name"],
        time_zone=town["time_zone"],
        position=position(town),
        synthetic=bool(town["synthetic"]),
    )


def endpoint(item: Mapping[str, Any]) -> registry_pb2.Endpoint:
    """A field endpoint."""
    return registry_pb2.Endpoint(
        display_name=item["id"], url=item["url"], profile=item["profile"], owner=OWNERS[item["owner"]]
    )


def model(item: Mapping[str, Any]) -> inventory_pb2.LuminaireModel:
    """A luminaire model with its curve."""
    return inventory_pb2.LuminaireModel(
        display_name=item["name"],
        rated_power_w=item["rated_w"],
        standby_power_w=item["standby_w"],
        luminous_flux_lm=item["luminous_flux_lm"],
        colour_temperature_k=item["colour_temperature_k"],
        curve=[inventory_pb2.CurvePoint(level_permille=level, power_permille=power) for level, power in item["curve"]],
    )


def cabinet(item: Mapping[str, Any]) -> inventory_pb2.Cabinet:
    """A cabinet."""
    return inventory_pb2.Cabinet(
        display_name=item["name"],
        street=item["address"],
        position=position(item),
        controller=name("endpoints", item["controller"]),
        switching_owner=inventory_pb2.SWITCHING_OWNER_LICHTBUCH,
    )


def feeder(item: Mapping[str, Any]) -> inventory_pb2.Feeder:
    """A feeder."""
    switched = item["supply"] == "switched"
    return inventory_pb2.Feeder(
        cabinet=name("cabinets", item["cabinet"]),
        channel=item["channel"] if switched else 0,
        supply=inventory_pb2.FEEDER_SUPPLY_SWITCHED if switched else inventory_pb2.FEEDER_SUPPLY_PERMANENT,
    )


def gateways(town: Town) -> dict[str, inventory_pb2.Gateway]:
    """The gateways by id: one per cabinet, named after its endpoint."""
    return {
        item["gateway"]: inventory_pb2.Gateway(
            cabinet=name("cabinets", item["id"]), endpoint=name("endpoints", item["gateway"])
        )
        for item in town["cabinets"]
        if item["gateway"]
    }


def sensors(town: Town) -> dict[str, sensors_pb2.Sensor]:
    """The sensors by id whose endpoints are part of the town: daylight, and what stands along the road."""
    endpoints = {item["id"] for item in town["endpoints"]}
    kinds = {"traffic": types_pb2.SENSOR_KIND_TRAFFIC, "rain": types_pb2.SENSOR_KIND_RAIN}
    found = {item["id"]: (types_pb2.SENSOR_KIND_ILLUMINANCE, item) for item in town["light_sensors"]}
    found |= {item["id"]: (kinds[item["kind"]], item) for item in town.get("road_sensors", ())}
    return {
        identity: sensors_pb2.Sensor(display_name=identity, kind=kind, endpoint=name("endpoints", item["endpoint"]))
        for identity, (kind, item) in found.items()
        if item["endpoint"] in endpoints
    }


def group_of(lamp: Mapping[str, Any]) -> str:
    """The plan group of a lamp: of its kind of road, where the group's profile keeps to the lamp's floor."""
    kind, number = lamp["lighting_class"][:1], int(lamp["lighting_class"][1:])
    if kind == "C" or lamp["crossing"]:
        return "crossings"
    for road, group, lowest_permille, classes in GROUP_OF_ROAD:
        if kind == road and number in classes and lamp["floor_permille"] <= lowest_permille:
            return group
    return "full-light"


def luminaire_cells(lamp: Mapping[str, Any], rated_w: Mapping[str, float]) -> dict[str, Any]:
    """A lamp as a line of the inventory file."""
    previous = lamp["previous"]
    return {
        "luminaire_id": lamp["id"],
        "latitude": lamp["latitude"],
        "longitude": lamp["longitude"],
        "street": lamp["street"],
        "model": lamp["model"],
        "feeder": lamp["feeder"],
        "gateway": lamp["gateway"],
        "gateway_address": lamp["line"] * 64 + lamp["gear"],
        "group": group_of(lamp),
        "lighting_class": lamp["lighting_class"],
        "floor_permille": lamp["floor_permille"],
        "conflict_area": "yes" if lamp["crossing"] else "no",
        "installed_power_w": rated_w[lamp["model"]],
        "previous_lamp_power_w": previous["lamp_w"],
        "previous_ballast_power_w": previous["ballast_w"],
        "previous_half_night": "yes" if previous["regime"] == "half-night" else "no",
        "lamp_technology": "LED",
    }


def write_inventory(town: Town, file: Path) -> None:
    """The town's luminaires as a CSV file that `lichtbuch import luminaires` takes."""
    rated_w = {item["id"]: item["rated_w"] for item in town["models"]}
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, CSV_FIELDS)
        writer.writeheader()
        writer.writerows(luminaire_cells(lamp, rated_w) for lamp in town["luminaires"])


def meter(item: Mapping[str, Any], buildings: Mapping[str, Mapping[str, Any]]) -> metering_pb2.Meter:
    """A meter of a cabinet or a building."""
    building = buildings.get(item["building"])
    return metering_pb2.Meter(
        display_name=f"{item['product']} {building['name'] if building else item['cabinet']}",
        medium=metering_pb2.MEDIUM_ELECTRICITY,
        unit=metering_pb2.UNIT_WH,
        cabinet=name("cabinets", item["cabinet"]),
        building=building["name"] if building else "",
        endpoint=name("endpoints", item["endpoint"]),
        serial_number=item["serial"],
    )


def switch_point(
    anchor: scheduler_pb2.Anchor.ValueType, level_permille: int, clock: str = ""
) -> scheduler_pb2.SwitchPoint:
    """A switch point without offset."""
    return scheduler_pb2.SwitchPoint(anchor=anchor, level_permille=level_permille, clock_time=clock)


def profiles() -> dict[str, scheduler_pb2.Profile]:
    """The demonstration's dimming profiles by id."""
    dusk = switch_point(scheduler_pb2.ANCHOR_SUNSET, 1000)
    dawn = switch_point(scheduler_pb2.ANCHOR_SUNRISE, 0)
    clock = scheduler_pb2.ANCHOR_CLOCK

    def dimmed(title: str, level: int, begin: str, end: str) -> scheduler_pb2.Profile:
        reduced = [switch_point(clock, level, begin), switch_point(clock, 1000, end)]
        return scheduler_pb2.Profile(display_name=title, points=[dusk, *reduced, dawn])

    return {
        "residential-night": dimmed("Residential streets: half light from 22:30 to 04:30", 500, "22:30", "04:30"),
        "main-road-night": dimmed("Main roads: 70 % from 23:00 to 04:30", 700, "23:00", "04:30"),
        "side-street-night": dimmed("Side streets: 70 % from 22:30 to 04:30", 700, "22:30", "04:30"),
        "full-night": scheduler_pb2.Profile(display_name="Full light all night", points=[dusk, dawn]),
    }


PROFILE_OF_GROUP: Final = {
    "residential": "residential-night",
    "main-roads": "main-road-night",
    "side-streets": "side-street-night",
    "crossings": "full-night",
    "full-light": "full-night",
}


def lighting_measure(cabinets: Iterable[str], meters: Iterable[str], title: str) -> ledger_pb2.Measure:
    """The retrofit over some cabinets: by their meters where there are any, else by the lamps' levels."""
    metered = [name("meters", item) for item in meters]
    return ledger_pb2.Measure(
        display_name=title,
        description="Demonstration: dimmed LED luminaires in place of discharge lamps on half-night circuits.",
        method=ledger_pb2.METHOD_OPTION_B if metered else ledger_pb2.METHOD_OPTION_A,
        meters=metered,
        lighting=ledger_pb2.LightingBaseline(
            cabinets=[name("cabinets", item) for item in cabinets], half_night_off="22:30", uncertainty_permille=50
        ),
        factors=FACTORS,
        shares=[
            ledger_pb2.Share(party="Stadt", share_permille=600),
            ledger_pb2.Share(party="Contractor", share_permille=400),
        ],
        post_automatically=True,
    )


def building_measure(building: Mapping[str, Any], meter_id: str) -> ledger_pb2.Measure:
    """A building's measure against a stated baseline, invented: a tenth more than the simulator's yearly use."""
    daily_wh = building["annual_kwh"] * 1000 * 1.10 / 365
    return ledger_pb2.Measure(
        display_name=f"{building['name']}: controls",
        description="Demonstration: new controls; the baseline is invented.",
        method=ledger_pb2.METHOD_OPTION_C,
        meters=[name("meters", meter_id)],
        stated=ledger_pb2.StatedBaseline(
            weekday_wh=[round(daily_wh * share * 1.12) for share in SEASON],
            weekend_wh=[round(daily_wh * share * 0.7) for share in SEASON],
            uncertainty_permille=100,
            source="demonstration: yearly use of the simulated building and a tenth, spread by month",
        ),
        factors=FACTORS,
        post_automatically=True,
    )
