"""The numbers of the waste watch: which media a rule looks at, what its parameters are there, and the file that changes
them. The file is written as that of the rules of validation is (validation/parameters.py).

    [night_base_load_up]
    least_rate = 100
    [night_base_load_up.heat]
    enabled = 1
    [water_never_stops.water]
    least_rate = 5
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from services.metering.meter import Medium
from services.metering.validation import parameters
from services.metering.validation.parameters import Parameter, Parameters, Table
from services.metering.waste.watch import LeakParameters, NightParameters, Rule, WarmParameters, WeekendParameters

P = TypeVar("P", NightParameters, WeekendParameters, LeakParameters, WarmParameters)

_COVERAGE: Final = "share of a night, day or run that has to be covered, in per mille"


def _table(kind: type[P], media: tuple[str, ...], meanings: Mapping[str, Parameter]) -> Mapping[str, Parameter]:
    """The parameters of a rule: defaults are those of its class; it looks at these media unless told otherwise."""
    looks = Parameter("1 where the rule looks at the medium, 0 where it does not", 0, dict.fromkeys(media, 1))
    defaults = asdict(kind())
    own = {name: replace(meanings[name], default=default) for name, default in defaults.items()}
    return MappingProxyType({"enabled": looks, **own})


def _number(meaning: str, *, least: int = 0, **media: int) -> Parameter:
    return Parameter(meaning, 0, media, least)


TABLE: Final[Table] = MappingProxyType(
    {
        # Of buildings' electricity: at night heat follows the weather, and water has a rule of its own.
        Rule.NIGHT_BASE_LOAD_UP.value: _table(
            NightParameters,
            ("electricity",),
            {
                "recent": _number("nights that are looked at", least=1),
                "recent_known": _number("so many of them have to be covered", least=1),
                "usual": _number("nights before that they are compared with", least=1),
                "usual_known": _number("so many of those have to be covered", least=1),
                "deviations": _number("robust standard deviations above the usual that are too high"),
                "least_permille": _number("share of the usual by which it has to be higher, in per mille"),
                "least_rate": _number("rate by which it has to be higher, in W or L/h"),
                "coverage_permille": _number(_COVERAGE),
            },
        ),
        Rule.WEEKEND_USE.value: _table(
            WeekendParameters,
            ("electricity", "water", "heat", "gas"),
            {
                # Heating is set back and not off, and a cold Sunday needs more than a mild Friday.
                "share_permille": _number(
                    "share of what workdays add that a rest day may use, in per mille", water=200, heat=600, gas=600
                ),
                "days": _number("days of rest of the last fourteen that raise a finding", least=1),
                "workdays_known": _number("workdays of the last six weeks that have to be covered", least=1),
                "rhythm_permille": _number(
                    "least that workdays add to the night base, in per mille of it", heat=300, gas=300
                ),
                "coverage_permille": _number(_COVERAGE),
            },
        ),
        Rule.WATER_NEVER_STOPS.value: _table(
            LeakParameters,
            ("water",),
            {
                "days": _number("days without an hour at rest", least=1),
                "least_rate": _number("rate below which an hour is at rest, in L/h or W", least=1),
                "coverage_permille": _number(_COVERAGE),
            },
        ),
        Rule.HEATING_IN_WARM_WEATHER.value: _table(
            WarmParameters,
            ("heat", "gas"),
            {
                "limit_centi": _number("daily mean from which a day is warm, in hundredths of a degree Celsius"),
                "cold_centi": _number("daily mean below which a day is cold, in hundredths of a degree Celsius"),
                "cold_days": _number("cold days of the year that have to be covered", least=1),
                "warm_days": _number("warm days of the year from which on the quiet ones are a measure", least=1),
                "margin_permille": _number("share of a cold day's use that is added to the quiet ones, in per mille"),
                "most_permille": _number("share of a cold day's use that is explained at most, in per mille"),
                "days": _number("warm days of the last seven that raise a finding", least=1),
                "coverage_permille": _number(_COVERAGE),
            },
        ),
    }
)


@dataclass(frozen=True, slots=True)
class WasteRules:
    """The rules with their numbers as they hold; None for a medium that a rule does not look at."""

    parameters: Parameters = field(default_factory=lambda: Parameters(table=TABLE))

    def night(self, medium: int) -> NightParameters | None:
        """Of night_base_load_up."""
        return self._of(Rule.NIGHT_BASE_LOAD_UP, medium, NightParameters)

    def weekend(self, medium: int) -> WeekendParameters | None:
        """Of weekend_use."""
        return self._of(Rule.WEEKEND_USE, medium, WeekendParameters)

    def leak(self, medium: int) -> LeakParameters | None:
        """Of water_never_stops."""
        return self._of(Rule.WATER_NEVER_STOPS, medium, LeakParameters)

    def warm(self, medium: int) -> WarmParameters | None:
        """Of heating_in_warm_weather."""
        return self._of(Rule.HEATING_IN_WARM_WEATHER, medium, WarmParameters)

    def _of(self, rule: Rule, medium: int, kind: type[P]) -> P | None:
        found = self.parameters.of(rule.value, Medium(medium).name.lower())
        return kind(**{name: found[name] for name in found if name != "enabled"}) if found["enabled"] else None


def load(path: Path | None) -> WasteRules:
    """The rules with the changes of a file; without one, as they are. Raises InvalidInput with every error."""
    return WasteRules(parameters.load(path, TABLE))
