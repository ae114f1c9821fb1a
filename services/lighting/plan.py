"""May a plan hold for a group: floors of its members, and no darkness in the night. The plan itself: domain/plan.py.

What a plan asks for at an instant depends on its sensors; here every level counts that its rules could lead to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import nan
from typing import Final, NamedTuple

from domain.errors import OutOfLimits, Violation
from domain.level import FULL_PERMILLE, OFF_PERMILLE
from domain.plan import Plan, from_unix_ms
from services.lighting.darkness import is_too_dark, span_text
from services.lighting.waiver import WaivedSpan, floor_over, hint

_MOST_VIOLATIONS: Final = 20


@dataclass(frozen=True, slots=True)
class LimitingLamp:
    """A member that may be dimmed, for all that have the same floor and the same waivers."""

    name: str
    floor_permille: int
    waivers: tuple[WaivedSpan, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """What limits the plan of a group.

    lamps: what its members that may be dimmed demand; the one with the largest floor stands for all without a waiver.
    None where none may be dimmed. Floors are those that count: full level where the class is unknown.
    Degrees: the middle of the members, NaN for none.
    """

    lamps: tuple[LimitingLamp, ...] = ()
    latitude_deg: float = nan
    longitude_deg: float = nan
    members: int = 0

    def strictest(self, start_ms: int, end_ms: int) -> tuple[int, LimitingLamp | None]:
        """The largest floor that holds anywhere in [start, end), and whose it is."""
        found = [(floor_over(lamp.floor_permille, lamp.waivers, start_ms, end_ms), lamp) for lamp in self.lamps]
        return max(found, key=lambda pair: pair[0], default=(OFF_PERMILLE, None))


def floor_of(floor_permille: int) -> int:
    """The floor that counts: an unknown one (0) means full level."""
    return floor_permille or FULL_PERMILLE


def check_plan(plan: Plan, limits: GroupLimits) -> None:
    """Raises OutOfLimits that names level or rule, luminaire and floor where a plan goes under what its group allows.

    What lies in a conflict area is not dimmed whatever the plan says, so it does not count here.
    """
    spans = _spans(plan)
    violations = _too_low(spans, limits)[:_MOST_VIOLATIONS]
    violations += _dark_nights(spans, limits)
    if violations:
        raise OutOfLimits("", violations[:_MOST_VIOLATIONS])


class _Span(NamedTuple):
    """A stretch in which plan and open rules stay the same: what it may come to, and what leads there, as a field."""

    start_ms: int
    end_ms: int
    levels: dict[int, str]


def _spans(plan: Plan) -> list[_Span]:
    cuts = {*plan.instants_ms, plan.valid_until_ms}
    for rule in plan.rules:
        cuts |= {rule.from_ms, rule.until_ms}
    number_of = {rule: number for number, rule in enumerate(plan.rules)}
    found = []
    for start_ms, end_ms in pairwise(sorted(cuts)):
        index = plan.index_at(start_ms)
        if index is None:
            continue
        levels = {plan.levels_permille[index]: f"plan.levels_permille[{index}]"}
        for rule in plan.rules_at(start_ms):
            for level in list(levels):
                levels.setdefault(rule.applied_to(level), f"plan.rules[{number_of[rule]}]")
        found.append(_Span(start_ms, end_ms, levels))
    return found


def _too_low(spans: Sequence[_Span], limits: GroupLimits) -> list[Violation]:
    found: dict[tuple[str, int], Violation] = {}
    for start_ms, end_ms, levels in spans:
        lit = {level: field for level, field in levels.items() if OFF_PERMILLE < level < FULL_PERMILLE}
        if not lit or not limits.lamps:
            continue
        floor, lamp = limits.strictest(start_ms, end_ms)
        for level, field in lit.items():
            if lamp is not None and level < floor and (field, level) not in found:
                found[field, level] = Violation(
                    field,
                    f"{level} per mille from {from_unix_ms(start_ms):%Y-%m-%d %H:%M} UTC is below the floor of {floor} "
                    f"per mille of {lamp.name}; {hint(lamp.waivers, level, start_ms, end_ms)}",
                )
    return list(found.values())


def _dark_nights(spans: Sequence[_Span], limits: GroupLimits) -> list[Violation]:
    if not limits.members:
        return []
    found = []
    for start_ms, end_ms, field in _dark_spans(spans):
        if not is_too_dark(start_ms, end_ms, limits.latitude_deg, limits.longitude_deg):
            continue
        floor, lamp = limits.strictest(start_ms, end_ms)
        if floor > OFF_PERMILLE or lamp is None:
            whose = f" for {lamp.name}; {hint(lamp.waivers, OFF_PERMILLE, start_ms, end_ms)}" if lamp else ""
            found.append(Violation(field, f"off from {span_text(start_ms, end_ms)} is dark in the civil night{whose}"))
    return found


def _dark_spans(spans: Sequence[_Span]) -> list[tuple[int, int, str]]:
    """Stretches that may come to level 0, neighbours joined, each with the field that leads there first."""
    found: list[tuple[int, int, str]] = []
    for start_ms, end_ms, levels in spans:
        if OFF_PERMILLE not in levels:
            continue
        if found and found[-1][1] == start_ms:
            begin, _, field = found[-1]
            found[-1] = (begin, end_ms, field)
        else:
            found.append((start_ms, end_ms, levels[OFF_PERMILLE]))
    return found
