"""Faint street lines for a map without tiles, from nothing but where the lamps of a street stand. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from services.admin.lamps import Lamp

METRES_PER_DEGREE: Final = 111_320.0
LONGEST_GAP_M: Final = 120.0
"""Lamps further apart are not joined: the street goes on elsewhere."""
MOST_LAMPS: Final = 1_000
"""A "street" with more is a word that stands for not knowing; it is left out, as the work grows with the square."""


def street_edges(lamps: Sequence[Lamp]) -> list[int]:
    """Pairs of rows to join by a line, flattened: the shortest tree (Prim) through the lamps of each street."""
    by_street: dict[str, list[int]] = defaultdict(list)
    for row, lamp in enumerate(lamps):
        if lamp.street and (lamp.latitude_deg or lamp.longitude_deg):
            by_street[lamp.street].append(row)
    edges: list[int] = []
    for rows in by_street.values():
        if 1 < len(rows) <= MOST_LAMPS:
            positions = np.array([(lamps[row].latitude_deg, lamps[row].longitude_deg) for row in rows])
            edges += [rows[end] for pair in _tree(_metres(positions)) for end in pair]
    return edges


def _metres(degrees: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Positions on a plane: exact enough within a town."""
    scale = (METRES_PER_DEGREE, METRES_PER_DEGREE * float(np.cos(np.radians(degrees[:, 0].mean()))))
    metres: npt.NDArray[np.float64] = degrees * np.array(scale)
    return metres


def _tree(places: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    count = len(places)
    nearest = np.zeros(count, np.int64)
    distance = np.hypot(*(places - places[0]).T)
    inside = np.zeros(count, np.bool_)
    inside[0] = True
    pairs: list[tuple[int, int]] = []
    for _ in range(count - 1):
        new = int(np.where(inside, np.inf, distance).argmin())
        if distance[new] <= LONGEST_GAP_M:
            pairs.append((int(nearest[new]), new))
        inside[new] = True
        to_new = np.hypot(*(places - places[new]).T)
        closer = to_new < distance
        nearest[closer], distance[closer] = new, to_new[closer]
    return pairs
