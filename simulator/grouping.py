"""Which lamps of an inventory share a cabinet: neighbours, street by street, and the same ones each time. Pure.

Real inventories seldom say which cabinet feeds a lamp. The groups here are plausible, not the town's.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from simulator.inventory_lamps import InventoryLamp

MOST_PER_CABINET = 50
# Each cabinet is a listening port and some connections; 40 000 lamps need 800 cabinets.
MOST_CABINETS = 1_000
METRES_PER_DEGREE = 111_320.0
CELL_M = 500.0
GAP_M = 1_500.0
_CURVE_BITS = 16

# "Hauptstraße 12 a" and "Hauptstraße 14" are one street.
_HOUSE_NUMBER = re.compile(r"[\s,]+\d+\s*[a-zA-Z]?$")

Place = tuple[float, float]


def cabinets_of(lamps: Sequence[InventoryLamp]) -> list[list[InventoryLamp]]:
    """The lamps in groups of at most fifty.

    A street's lamps within half a kilometre stay together in the order along the street; such pieces follow each other
    along a Hilbert curve through the town, and the resulting row is cut into even groups. Where the row jumps by more
    than 1.5 km a new group begins, by more where that would make too many groups.
    """
    ordered, places = _in_a_row(lamps)
    gap_m = GAP_M
    while True:
        groups = _cut(ordered, places, gap_m)
        if len(groups) <= MOST_CABINETS:
            return groups
        gap_m *= 2.0


def _in_a_row(lamps: Sequence[InventoryLamp]) -> tuple[list[InventoryLamp], dict[str, Place]]:
    south, west = min(lamp.latitude for lamp in lamps), min(lamp.longitude for lamp in lamps)
    middle = math.radians((south + max(lamp.latitude for lamp in lamps)) / 2.0)
    metres = (METRES_PER_DEGREE * math.cos(middle), METRES_PER_DEGREE)
    places = {lamp.id: ((lamp.longitude - west) * metres[0], (lamp.latitude - south) * metres[1]) for lamp in lamps}
    pieces: dict[tuple[str, int, int], list[InventoryLamp]] = defaultdict(list)
    for lamp in lamps:
        east, north = places[lamp.id]
        pieces[_HOUSE_NUMBER.sub("", lamp.street.casefold()), int(east // CELL_M), int(north // CELL_M)].append(lamp)
    side = max(max(max(place) for place in places.values()), 1.0)
    keyed = sorted(((_curve(_middle(piece, places), side), key) for key, piece in pieces.items()))
    return [lamp for _, key in keyed for lamp in _along(pieces[key], places)], places


def _middle(piece: Sequence[InventoryLamp], places: dict[str, Place]) -> Place:
    east, north = zip(*(places[lamp.id] for lamp in piece), strict=True)
    return sum(east) / len(piece), sum(north) / len(piece)


def _along(piece: list[InventoryLamp], places: dict[str, Place]) -> list[InventoryLamp]:
    """From west to east or from south to north, whichever is longer."""
    east, north = zip(*(places[lamp.id] for lamp in piece), strict=True)
    axis = 0 if max(east) - min(east) >= max(north) - min(north) else 1
    return sorted(piece, key=lambda lamp: (places[lamp.id][axis], lamp.id))


def _cut(ordered: Sequence[InventoryLamp], places: dict[str, Place], gap_m: float) -> list[list[InventoryLamp]]:
    runs: list[list[InventoryLamp]] = [[]]
    for lamp in ordered:
        if runs[-1] and math.dist(places[lamp.id], places[runs[-1][-1].id]) > gap_m:
            runs.append([])
        runs[-1].append(lamp)
    return [part for run in runs for part in even_parts(run, math.ceil(len(run) / MOST_PER_CABINET))]


def even_parts(items: Sequence[InventoryLamp], number: int) -> list[list[InventoryLamp]]:
    """The items in so many consecutive parts whose sizes differ by one at most."""
    base, extra = divmod(len(items), number)
    starts = [i * base + min(i, extra) for i in range(number + 1)]
    return [list(items[start:end]) for start, end in pairwise(starts)]


def _curve(place: Place, side: float) -> int:
    """How far along a Hilbert curve over the square of that side a place lies (the usual bit-by-bit rotation)."""
    full = (1 << _CURVE_BITS) - 1
    x, y = (min(full, int(value / side * full)) for value in place)
    distance = 0
    half = 1 << (_CURVE_BITS - 1)
    while half:
        right, upper = int(bool(x & half)), int(bool(y & half))
        distance += half * half * ((3 * right) ^ upper)
        if not upper:
            if right:
                x, y = full - x, full - y
            x, y = y, x
        half >>= 1
    return distance
