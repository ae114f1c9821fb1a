"""Calendars: which profile holds in which night, and in which hours of it. Ordered rules, the first match wins. Pure.

A night bears the date of its starting noon, and a rule speaks of that date: the night of Christmas Eve begins at noon
on December 24. What kind of day a date is, is days.py's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Final, TypeAlias

from domain.errors import InvalidInput, Violation
from domain.level import FULL_PERMILLE, OFF_PERMILLE
from services.scheduler.days import BUILT_IN, DEFAULT_SUBDIVISION, DayKind, Days, is_known_subdivision
from services.scheduler.moment import night_order

NIGHTS_WARNED: Final = 400
"""How far ahead a calendar is looked at for nights that it cannot decide."""

MonthDay: TypeAlias = "tuple[int, int]"
Hours: TypeAlias = "tuple[time, time]"

_KINDS: Final = {
    DayKind.PUBLIC_HOLIDAY: "public holidays",
    DayKind.PUBLIC_HOLIDAY_EVE: "public holidays",
    DayKind.SCHOOL_HOLIDAY: "school holidays",
}
_WEEK: Final = frozenset(range(1, 8))
_NIGHT: Final[Hours] = (time(12), time(12))


@dataclass(frozen=True)
class Rule:
    """Matches the nights of which all is true that it says: within the range, one of `nights`, within the range of
    every year (months and days, both included; one whose end is before its begin goes over New Year), on the ISO
    weekdays (empty: every day), on a kind of day.

    With `hours` (local clock times, the end excluded; noon at the end means the night's) it is an event and matches
    only these hours of the night; then a level in per mille may stand in place of the profile, which is "" then.
    """

    profile: str
    first_night: date | None = None
    last_night: date | None = None
    weekdays: frozenset[int] = frozenset()
    nights: frozenset[date] = frozenset()
    yearly: tuple[MonthDay, MonthDay] | None = None
    days: DayKind = DayKind.ANY
    subdivision: str = DEFAULT_SUBDIVISION
    hours: Hours | None = None
    level_permille: int | None = None
    display_name: str = ""

    def matches(self, night: date, days: Days = BUILT_IN) -> bool | None:
        """Whether the rule speaks for a night; None where that hangs on holidays that nobody knows."""
        return self._may_match(night) and days.is_a(self.days, self.subdivision, night)

    def _may_match(self, night: date) -> bool:
        return (
            (self.first_night is None or night >= self.first_night)
            and (self.last_night is None or night <= self.last_night)
            and (not self.weekdays or night.isoweekday() in self.weekdays)
            and (not self.nights or night in self.nights)
            and (self.yearly is None or _is_within(night, *self.yearly))
        )

    def can_match(self) -> bool:
        """False where its single nights contradict the rest of it."""
        return not self.nights or any(self._may_match(night) for night in self.nights)


@dataclass(frozen=True)
class NightRules:
    """What a calendar says of a night: the profile, the events over it (at every moment the first of them that is on
    wins), and the numbers of the rules that could not be decided, which are taken as not matching."""

    profile: str
    events: tuple[Rule, ...] = ()
    undecided: tuple[int, ...] = ()


@dataclass(frozen=True)
class Calendar:
    """Ordered rules with a default; profiles are keys that the caller chose (uids)."""

    rules: tuple[Rule, ...]
    default_profile: str

    def of_night(self, night: date, days: Days = BUILT_IN) -> NightRules:
        """What holds in a night. Rules after the first one that takes the whole night are not looked at."""
        events: list[Rule] = []
        undecided: list[int] = []
        for index, rule in enumerate(self.rules):
            matches = rule.matches(night, days)
            if matches is None:
                undecided.append(index)
            elif matches and rule.hours is None:
                return NightRules(rule.profile, tuple(events), tuple(undecided))
            elif matches:
                events.append(rule)
        return NightRules(self.default_profile, tuple(events), tuple(undecided))

    def profile_of(self, night: date, days: Days = BUILT_IN) -> str:
        """The profile of a night, events apart."""
        return self.of_night(night, days).profile

    def profiles(self) -> set[str]:
        """Every profile it may answer."""
        return {self.default_profile, *(rule.profile for rule in self.rules if rule.profile)}

    @property
    def asks_for_holidays(self) -> bool:
        """Whether any rule hangs on holidays."""
        return any(rule.days is not DayKind.ANY for rule in self.rules)

    def warnings(self, first_night: date, nights: int = NIGHTS_WARNED, days: Days = BUILT_IN) -> list[str]:
        """Which of its rules cannot be decided for some of the nights, and from when on. Empty where all is known."""
        if not self.asks_for_holidays:
            return []
        first: dict[int, date] = {}
        count: dict[int, int] = {}
        for night in (first_night + timedelta(days=number) for number in range(nights)):
            for index in self.of_night(night, days).undecided:
                first.setdefault(index, night)
                count[index] = count.get(index, 0) + 1
        return [
            f"rules[{index}]: the {_KINDS[self.rules[index].days]} of {self.rules[index].subdivision} are not known for"
            f" {count[index]} of the {nights} nights ahead, from the night of {night.isoformat()} on; there the rules"
            " after it hold"
            for index, night in sorted(first.items())
        ]


def _is_within(night: date, first: MonthDay, last: MonthDay) -> bool:
    day = (night.month, night.day)
    return first <= day <= last if first <= last else day >= first or day <= last


def validate(rules: Sequence[Rule]) -> None:
    """Raises InvalidInput with every rule that contradicts itself, says too little, or can never match."""
    violations: list[Violation] = []
    for index, rule in enumerate(rules):
        violations += _violations(rule, f"rules[{index}]")
    for index, rule in enumerate(rules):
        covering = next(
            (number for number, earlier in enumerate(rules[:index]) if _covers(earlier, rule)),
            None,
        )
        if covering is not None:
            violations.append(Violation(f"rules[{index}]", f"never matches: rules[{covering}] takes all its nights"))
    if violations:
        raise InvalidInput("the calendar is not valid", violations)


def _violations(rule: Rule, prefix: str) -> list[Violation]:
    found: list[Violation] = []
    if rule.first_night and rule.last_night and rule.last_night < rule.first_night:
        found.append(Violation(f"{prefix}.last_night", f"{rule.last_night} is before first_night {rule.first_night}"))
    elif not rule.can_match():
        found.append(Violation(f"{prefix}.nights", "none of them is among what else the rule says"))
    if rule.days is not DayKind.ANY and not is_known_subdivision(rule.subdivision):
        found.append(Violation(f"{prefix}.subdivision", f"the holidays of {rule.subdivision} are not known"))
    if rule.level_permille is None:
        if not rule.profile:
            found.append(Violation(f"{prefix}.profile", "a rule needs a profile, or hours and a level"))
    else:
        if rule.profile:
            found.append(Violation(f"{prefix}.level_permille", "stands in place of a profile, not beside one"))
        if rule.hours is None:
            found.append(Violation(f"{prefix}.level_permille", "needs hours: from_time and until_time"))
        if not OFF_PERMILLE <= rule.level_permille <= FULL_PERMILLE:
            found.append(Violation(f"{prefix}.level_permille", "must be 0 to 1000"))
    if rule.hours is not None and _span(rule.hours)[0] >= _span(rule.hours)[1]:
        found.append(Violation(f"{prefix}.until_time", "is not after from_time, as the night goes from noon to noon"))
    return found


def _covers(earlier: Rule, later: Rule) -> bool:
    """Whether the later rule has no moment that the earlier one leaves to it. May answer False where that is so."""
    starts = earlier.first_night is None or (later.first_night is not None and later.first_night >= earlier.first_night)
    ends = earlier.last_night is None or (later.last_night is not None and later.last_night <= earlier.last_night)
    (begin, end), (later_begin, later_end) = _span(earlier.hours or _NIGHT), _span(later.hours or _NIGHT)
    return (
        starts
        and ends
        and (later.weekdays or _WEEK) <= (earlier.weekdays or _WEEK)
        and (not earlier.nights or (bool(later.nights) and later.nights <= earlier.nights))
        and earlier.yearly in (None, later.yearly)
        and (earlier.days is DayKind.ANY or (earlier.days, earlier.subdivision) == (later.days, later.subdivision))
        and begin <= later_begin
        and later_end <= end
    )


def _span(hours: Hours) -> tuple[tuple[bool, time], tuple[bool, time]]:
    """Begin and end as they sort in a night; noon at the end is the night's."""
    return night_order(hours[0]), (True, time(12)) if hours[1] == time(12) else night_order(hours[1])
