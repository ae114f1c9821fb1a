"""Calendars: which profile holds in which night. Ordered rules, the first match wins. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from domain.errors import InvalidInput, Violation


@dataclass(frozen=True)
class Rule:
    """Matches nights by the date of their starting noon: within the range, on the ISO weekdays (empty: every day)."""

    profile: str
    first_night: date | None = None
    last_night: date | None = None
    weekdays: frozenset[int] = frozenset()

    def matches(self, night: date) -> bool:
        """Whether the rule speaks for a night."""
        return (
            (self.first_night is None or night >= self.first_night)
            and (self.last_night is None or night <= self.last_night)
            and (not self.weekdays or night.isoweekday() in self.weekdays)
        )


@dataclass(frozen=True)
class Calendar:
    """Ordered rules with a default; profiles are keys that the caller chose (uids)."""

    rules: tuple[Rule, ...]
    default_profile: str

    def profile_of(self, night: date) -> str:
        """The profile of a night."""
        return next((rule.profile for rule in self.rules if rule.matches(night)), self.default_profile)

    def profiles(self) -> set[str]:
        """Every profile it may answer."""
        return {self.default_profile, *(rule.profile for rule in self.rules)}


def validate(rules: Sequence[Rule]) -> None:
    """Raises InvalidInput with every rule that can never match, or whose range is turned round."""
    violations = [
        Violation(f"rules[{index}].last_night", f"{rule.last_night} is before first_night {rule.first_night}")
        for index, rule in enumerate(rules)
        if rule.first_night and rule.last_night and rule.last_night < rule.first_night
    ]
    for index, rule in enumerate(rules):
        covering = next(
            (number for number, earlier in enumerate(rules[:index]) if _covers(earlier, rule)),
            None,
        )
        if covering is not None:
            violations.append(Violation(f"rules[{index}]", f"never matches: rules[{covering}] takes all its nights"))
    if violations:
        raise InvalidInput("the calendar is not valid", violations)


def _covers(earlier: Rule, later: Rule) -> bool:
    starts = earlier.first_night is None or (later.first_night is not None and later.first_night >= earlier.first_night)
    ends = earlier.last_night is None or (later.last_night is not None and later.last_night <= earlier.last_night)
    week = frozenset(range(1, 8))
    return starts and ends and (later.weekdays or week) <= (earlier.weekdays or week)
