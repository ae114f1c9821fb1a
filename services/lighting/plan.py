"""May a plan hold for a group: floors of its members, and no darkness in the night. The plan itself: domain/plan.py."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

from domain.errors import OutOfLimits, Violation
from domain.level import FULL_PERMILLE, OFF_PERMILLE
from domain.plan import Plan, from_unix_ms
from services.lighting.darkness import is_too_dark, span_text


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """What limits the plan of a group.

    luminaire: name of the member with the largest floor among those that may be dimmed; empty where none may.
    floor_permille: that floor; full level where its class is unknown. Degrees: the middle of the members, NaN for none.
    """

    luminaire: str = ""
    floor_permille: int = 0
    latitude_deg: float = nan
    longitude_deg: float = nan
    members: int = 0


def floor_of(floor_permille: int) -> int:
    """The floor that counts: an unknown one (0) means full level."""
    return floor_permille or FULL_PERMILLE


def check_plan(plan: Plan, limits: GroupLimits) -> None:
    """Raises OutOfLimits that names level, luminaire and floor where a plan goes under what its group allows.

    What lies in a conflict area is not dimmed whatever the plan says, so it does not count here.
    """
    violations = []
    for index, level in enumerate(plan.levels_permille):
        if OFF_PERMILLE < level < limits.floor_permille:
            violations.append(
                Violation(
                    f"plan.levels_permille[{index}]",
                    f"{level} per mille from {from_unix_ms(plan.instants_ms[index]):%Y-%m-%d %H:%M} UTC "
                    f"is below the floor of {limits.floor_permille} per mille of {limits.luminaire}",
                )
            )
    violations.extend(_dark_nights(plan, limits))
    if violations:
        raise OutOfLimits("", violations[:20])


def _dark_nights(plan: Plan, limits: GroupLimits) -> list[Violation]:
    if not limits.members:
        return []
    found = []
    for index, (start_ms, end_ms) in _dark_spans(plan):
        if is_too_dark(start_ms, end_ms, limits.latitude_deg, limits.longitude_deg):
            found.append(
                Violation(
                    f"plan.levels_permille[{index}]",
                    f"off from {span_text(start_ms, end_ms)} is dark in the civil night; that takes a council's waiver",
                )
            )
    return found


def _dark_spans(plan: Plan) -> list[tuple[int, tuple[int, int]]]:
    """Spans at level 0, neighbours joined, each with the index of its first instant."""
    spans: list[tuple[int, tuple[int, int]]] = []
    for index, (start_ms, end_ms, level) in enumerate(plan.segments()):
        if level != OFF_PERMILLE:
            continue
        if spans and spans[-1][1][1] == start_ms:
            first, (begin, _) = spans[-1]
            spans[-1] = (first, (begin, end_ms))
        else:
            spans.append((index, (start_ms, end_ms)))
    return spans
