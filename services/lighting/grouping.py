"""Groups by rule: which group a luminaire belongs to that nobody put into one by name. Pure.

A rule's conditions must all hold; among rules that match, the lowest rank counts, then the group's id. Not here: who
is asked and when (store/grouping.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Point = tuple[float, float]
"""Latitude and longitude in degrees, WGS84."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What rules look at. Empty texts and None for unknown."""

    street: str = ""
    lighting_class: str = ""
    model_uid: str | None = None
    cabinet_uid: str | None = None
    latitude_deg: float | None = None
    longitude_deg: float | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions of a group; an empty one is not asked for."""

    group_uid: str
    group_id: str
    rank: int = 0
    streets: frozenset[str] = frozenset()
    lighting_classes: frozenset[str] = frozenset()
    model_uids: frozenset[str] = frozenset()
    cabinet_uids: frozenset[str] = frozenset()
    polygon: tuple[Point, ...] = ()

    @classmethod
    def from_document(cls, group_uid: str, group_id: str, document: Mapping[str, Any]) -> Rule:
        """A rule as it is stored."""
        return cls(
            group_uid,
            group_id,
            document["rank"],
            frozenset(map(street_key, document["streets"])),
            frozenset(document["lighting_classes"]),
            frozenset(document["model_uids"]),
            frozenset(document["cabinet_uids"]),
            tuple((latitude, longitude) for latitude, longitude in document["polygon"]),
        )

    def matches(self, lamp: Traits) -> bool:
        """Whether every condition holds."""
        return (
            (not self.streets or street_key(lamp.street) in self.streets)
            and (not self.lighting_classes or lamp.lighting_class in self.lighting_classes)
            and (not self.model_uids or lamp.model_uid in self.model_uids)
            and (not self.cabinet_uids or lamp.cabinet_uid in self.cabinet_uids)
            and (not self.polygon or is_inside(lamp.latitude_deg, lamp.longitude_deg, self.polygon))
        )


class Grouping:
    """The rules of a municipality in their order."""

    def __init__(self, rules: Iterable[Rule], default_uid: str) -> None:
        self._rules = sorted(rules, key=lambda rule: (rule.rank, rule.group_id))
        self._default_uid = default_uid

    def group_of(self, lamp: Traits) -> str:
        """Uid of the group of a luminaire that was not put into one by name."""
        return next((rule.group_uid for rule in self._rules if rule.matches(lamp)), self._default_uid)


def street_key(street: str) -> str:
    """Streets that differ in case or in spaces only are one."""
    return " ".join(street.split()).casefold()


def is_inside(latitude_deg: float | None, longitude_deg: float | None, polygon: Sequence[Point]) -> bool:
    """Whether a point lies in a polygon, by the number of edges to its east (even-odd rule); unknown points do not."""
    if latitude_deg is None or longitude_deg is None:
        return False
    inside = False
    for (lat_a, lon_a), (lat_b, lon_b) in pairwise([polygon[-1], *polygon]):
        if (lat_a > latitude_deg) != (lat_b > latitude_deg):
            crossing = lon_a + (latitude_deg - lat_a) * (lon_b - lon_a) / (lat_b - lat_a)
            inside ^= crossing > longitude_deg
    return inside


def polygon_fault(polygon: Sequence[Point]) -> tuple[int, str] | None:
    """What is wrong with a polygon: index of the corner and the reason; None for nothing. Empty is none at all."""
    if not polygon:
        return None
    if len(polygon) < 3:
        return len(polygon) - 1, f"{len(polygon)} corners are no area; at least 3 are needed"
    edges = list(pairwise([*polygon, polygon[0]]))
    for index, (start, end) in enumerate(edges):
        if start == end:
            return index, "is the same corner as the next one; the first is not repeated at the end"
    for index, (a, b) in enumerate(edges):
        for other in range(index + 1, len(edges)):
            c, d = edges[other]
            if other == index + 1 or (index == 0 and other == len(edges) - 1):
                # Neighbours share a corner; they may not run back over each other.
                shared, one, two = (b, a, d) if other == index + 1 else (a, b, c)
                if _turn(one, shared, two) == 0 and _ahead(shared, one, two):
                    return other, f"its edge runs back over that of corner {index}"
            elif _cross(a, b, c, d):
                return other, f"its edge crosses that of corner {index}"
    return None


def _turn(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _ahead(origin: Point, one: Point, two: Point) -> bool:
    """Whether two points lie in the same direction from an origin, all three on a line."""
    return (one[0] - origin[0]) * (two[0] - origin[0]) + (one[1] - origin[1]) * (two[1] - origin[1]) > 0


def _cross(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether two edges without a common corner touch."""
    first, second, third, fourth = _turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b)
    if (first > 0) != (second > 0) and (third > 0) != (fourth > 0) and 0 not in (first, second, third, fourth):
        return True
    return any(
        turn == 0 and _within(start, end, point)
        for turn, start, end, point in ((first, a, b, c), (second, a, b, d), (third, c, d, a), (fourth, c, d, b))
    )


def _within(start: Point, end: Point, point: Point) -> bool:
    return all(min(s, e) <= p <= max(s, e) for s, e, p in zip(start, end, point, strict=True))
