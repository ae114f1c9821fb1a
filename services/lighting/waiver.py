"""Waivers: may one be taken, and which floor holds over a whole span under those that there are. Pure.

At an instant, the floor is domain.priority.waived_floor; here it is asked for a span, before a command or a plan is
taken: what would be under the floor for a single minute of it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from domain.errors import InvalidInput, OutOfLimits, Violation
from domain.level import OFF_PERMILLE
from domain.plan import from_unix_ms

LONGEST: Final = timedelta(days=5 * 365 + 2)
"""Five years, leap days included: then a council has to look at it again."""

NEEDED: Final = "that takes a council's waiver"
"""In every refusal that a waiver would lift."""


@dataclass(frozen=True, slots=True)
class WaivedSpan:
    """A waiver as it bears upon one luminaire. Unix ms; end_ms is its review, or when it was released."""

    name: str
    floor_permille: int
    start_ms: int
    end_ms: int

    def overlaps(self, start_ms: int, end_ms: int) -> bool:
        """Whether it holds at any instant of [start, end)."""
        return self.start_ms < end_ms and start_ms < self.end_ms


def floor_over(own_permille: int, waivers: Iterable[WaivedSpan], start_ms: int, end_ms: int) -> int:
    """The largest floor that holds at any instant of [start, end): a level taken for all of it must reach it."""
    near = [w for w in waivers if w.floor_permille < own_permille and w.overlaps(start_ms, end_ms)]
    cuts = {start_ms, *(at for w in near for at in (w.start_ms, w.end_ms) if start_ms < at < end_ms)}
    return max(min([own_permille, *(w.floor_permille for w in near if w.start_ms <= at < w.end_ms)]) for at in cuts)


def hint(waivers: Iterable[WaivedSpan], level_permille: int, start_ms: int, end_ms: int) -> str:
    """What to add to a refusal: that a waiver is needed, or why the one there is does not do."""
    for waiver in sorted(waivers, key=lambda w: w.end_ms, reverse=True):
        if waiver.overlaps(start_ms, end_ms) and waiver.floor_permille <= level_permille:
            span = f"{from_unix_ms(waiver.start_ms):%Y-%m-%d %H:%M} to {from_unix_ms(waiver.end_ms):%Y-%m-%d %H:%M} UTC"
            return f"{NEEDED}, and {waiver.name} holds from {span} only"
    return NEEDED


def check_waiver(start: datetime, review: datetime, decided_on: date, now: datetime, today: date) -> None:
    """Raises InvalidInput or OutOfLimits that names every field that is wrong. today: the municipality's date."""
    found: list[Violation] = []
    if review <= start:
        found.append(Violation("waiver.review_time", "is not after start_time"))
    elif review <= now:
        found.append(Violation("waiver.review_time", f"is over already: it is {now:%Y-%m-%d %H:%M:%S} UTC now"))
    elif review - start > LONGEST:
        found.append(Violation("waiver.review_time", "is more than five years after start_time"))
    if decided_on > today:
        found.append(Violation("waiver.decided_on", f"{decided_on.isoformat()} is still to come"))
    if not found:
        return
    if found[0].reason.startswith("is more than"):
        raise OutOfLimits("; ".join(map(str, found)), tuple(found))
    raise InvalidInput("; ".join(map(str, found)), tuple(found))


def warnings_about(floor_permille: int, sign_at_pole: bool, conflict_areas: int, lower: int, members: int) -> list[str]:
    """What a person should look at who enters a waiver, in words.

    conflict_areas: luminaires among its targets that are never dimmed. lower: those whose own floor is no higher.
    """
    found = []
    if not members:
        found.append("its targets have no luminaires yet; those that join are under it")
    if floor_permille == OFF_PERMILLE and not sign_at_pole:
        found.append("lamps that do not burn all night carry a sign at the pole (Zeichen 394); none is stated")
    if conflict_areas:
        found.append(f"{conflict_areas} luminaires at crossings or in conflict areas stay fully lit all the same")
    if lower and lower + conflict_areas == members:
        found.append("it changes nothing: no luminaire that may be dimmed has a floor above it")
    return found
