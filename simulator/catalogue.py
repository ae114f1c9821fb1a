"""What the demonstration town is built from: luminaire models, old lamps, lighting classes, invented street names.

All of it is invented or typical, none of it is a product's or a town's record. How they are put together is demo.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.town import ALL_NIGHT, HALF_NIGHT, Building, Model, PreviousOperation

# Power over light in per mille. The 23 W model draws 33 % at 10 % light, as computed from what a German town published
# for its 22.8 W luminaires; the others are spread around it, smaller drivers losing relatively more.
MODELS = (
    Model("LED-14", "LED post-top 14 W", "LED", 13.6, 0.3, 1_900, 3_000,
          ((100, 380), (250, 480), (500, 640), (700, 770), (1000, 1000))),
    Model("LED-23", "LED residential 23 W", "LED", 22.8, 0.3, 3_300, 3_000,
          ((100, 330), (250, 440), (500, 610), (700, 750), (1000, 1000))),
    Model("LED-41", "LED road 41 W", "LED", 41.0, 0.4, 6_100, 3_000,
          ((100, 250), (250, 370), (500, 570), (700, 725), (1000, 1000))),
    Model("LED-68", "LED junction 68 W", "LED", 68.0, 0.5, 10_400, 4_000,
          ((100, 210), (300, 380), (500, 550), (700, 715), (1000, 1000))),
)  # fmt: skip


@dataclass(frozen=True)
class RoadKind:
    """A kind of road: its class and the lowest it may fall to at night (EN 13201 steps), its LED and old lamp.

    `floor_permille` is the ratio of the two classes' maintained values: P4 5 lx, P5 3 lx, P6 2 lx; M4 0.75, M5 0.5,
    M6 0.3 cd/m2; rounded up. Conflict areas (C) stay at full light.
    """

    lighting_class: str
    lowest_class: str
    floor_permille: int
    model: str
    mounting_height_m: float
    spacing_m: float
    weight: float


ROADS = (
    RoadKind("P4", "P6", 400, "LED-23", 4.5, 30.0, 0.34),
    RoadKind("P5", "P6", 667, "LED-14", 4.0, 28.0, 0.30),
    RoadKind("M5", "M6", 600, "LED-41", 6.0, 33.0, 0.24),
    RoadKind("M4", "M5", 667, "LED-41", 8.0, 36.0, 0.12),
)
CROSSING = RoadKind("C3", "C3", 1000, "LED-68", 8.0, 30.0, 0.0)

HALF_NIGHT_OFF = "22:30"
HALF_NIGHT_SHARE = 0.30

# Lamp and ballast watts typical of magnetic ballasts, with weights such that 5 300 of them come near 1.95 GWh a year.
OLD_LAMPS = (
    ("HME 80", 80.0, 9.0, 0.25),
    ("HME 125", 125.0, 12.0, 0.25),
    ("HSE 50", 50.0, 10.0, 0.10),
    ("HSE 70", 70.0, 13.0, 0.25),
    ("HSE 150", 150.0, 20.0, 0.15),
)


def previous_operation(lamp: int, half_night: bool) -> PreviousOperation:
    """The old lamp with this index in OLD_LAMPS, in all-night or half-night operation."""
    technology, lamp_w, ballast_w, _ = OLD_LAMPS[lamp]
    if half_night:
        return PreviousOperation(technology, lamp_w, ballast_w, HALF_NIGHT, HALF_NIGHT_OFF)
    return PreviousOperation(technology, lamp_w, ballast_w, ALL_NIGHT)


_STEMS = (
    "Abendrot", "Dämmer", "Eulen", "Fackel", "Fledermaus", "Funken", "Glimmer", "Glut", "Kerzen", "Laternen",
    "Leuchtkäfer", "Lichtwarte", "Lampen", "Mondschein", "Mitternachts", "Morgenrot", "Morgenstern", "Nachtigallen",
    "Nachtwächter", "Nebel", "Nordlicht", "Polarstern", "Schatten", "Schimmer", "Siebenstern", "Sonnenwend",
    "Sternschnuppen", "Sternwarten", "Traum", "Türmer", "Uhu", "Vollmond", "Wetterleucht", "Zünder",
)  # fmt: skip
_SUFFIXES = ("weg", "straße", "gasse", "ring", "platz", "pfad", "allee", "winkel")


def street_name(index: int) -> str:
    """The invented street with this number; names repeat with a Roman-like addition after all have been used."""
    stem, rest = index % len(_STEMS), index // len(_STEMS)
    round_, suffix = divmod(rest, len(_SUFFIXES))
    # Neighbouring numbers get different suffixes as well.
    name = f"{_STEMS[stem]}{_SUFFIXES[(suffix + stem) % len(_SUFFIXES)]}"
    return name if round_ == 0 else f"{name} {round_ + 1}"


@dataclass(frozen=True)
class BuildingSpec:
    """A demonstration building, the product and profile of its main meter, and the counter it starts with in Wh."""

    building: Building
    product: str
    profile: str
    start_wh: int


def buildings(latitude: float, longitude: float) -> tuple[BuildingSpec, ...]:
    """The three municipal buildings around the given centre."""
    return (
        BuildingSpec(
            Building("B-1", "Rathaus (Demonstration)", "Polarsternplatz 1", latitude + 0.0010, longitude - 0.0008,
                     "office", 180_000, 4_200),
            "Eastron SDM630", "eastron-sdm630", 61_250_000,
        ),
        BuildingSpec(
            Building("B-2", "Grundschule Morgenstern (Demonstration)", "Morgensternweg 12", latitude - 0.0060,
                     longitude + 0.0075, "school", 240_000, 6_800),
            "ABB B23", "abb-b23", 412_730_000,
        ),
        BuildingSpec(
            Building("B-3", "Kindertagesstätte Leuchtkäfer (Demonstration)", "Leuchtkäferwinkel 3", latitude + 0.0075,
                     longitude + 0.0040, "kindergarten", 32_000, 950),
            "Janitza UMG 96RM-E", "janitza-umg96", 5_480_000,
        ),
    )  # fmt: skip
