"""The numbers of the rules: defaults, what they are for each medium, and the file that changes them.

A file is TOML: a table per rule, in it parameters for all media, below it a table per medium. All are whole numbers.

    [stuck]
    counter_h = 48
    [stuck.water]
    counter_h = 2000
    [unit_break.gas]
    enabled = 0

Wrong files are refused whole, with file, line, key and reason for every error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from domain.errors import InvalidInput, Violation
from fieldbus.format.toml_source import TomlSource
from services.metering.cycle import SHORTEST_PERMILLE
from services.metering.meter import Medium
from services.metering.vee import (
    ASSUMED_LOAD_W,
    LATENESS_S,
    MARGIN_PERMILLE,
    NOISE,
    ROLLOVER_PERMILLE,
    SAVING_INTERVAL_S,
)

MEDIA: Final = tuple(medium.name.lower() for medium in Medium)
LARGEST: Final = 10**12


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number of a rule: meaning with the unit, default, other defaults for some media, the least and the most it may
    be."""

    meaning: str
    default: int
    media: Mapping[str, int] = field(default_factory=dict)
    least: int = 0
    most: int = LARGEST


Table = Mapping[str, Mapping[str, Parameter]]
"""The parameters of rules by their names."""


PARAMETERS: Final[Table] = MappingProxyType(
    {
        "time": {
            "future_s": Parameter("seconds that a stamp may be ahead of now", 120),
            "drift_s": Parameter("seconds that the daily median of a device's stamps may be off its slots", 300),
        },
        "digits": {},
        "gap": {
            "longest_permille": Parameter("longest distance of two readings, in per mille of the cycle", 1500),
        },
        "overlap": {
            "shortest_permille": Parameter(
                "shortest distance of two amounts, in per mille of the longest interval of the meter's cycle",
                SHORTEST_PERMILLE,
            ),
        },
        "negative_step": {
            "rollover_permille": Parameter(
                "largest step across the rollover, in per mille of the register, where the load is not known",
                ROLLOVER_PERMILLE,
                most=500,
            ),
            "restart_per_h": Parameter(
                "units that may flow in an hour after a reset, where the load is not known: a counter that shows more"
                " came with a value, one that shows no more began at zero",
                ASSUMED_LOAD_W,
                most=10**9,
            ),
        },
        "small_step_back": {
            "largest": Parameter(
                "units by which a counter may fall and be no more than noisy, times its transformer ratio",
                NOISE,
                {"pellets": 1, "traffic": 1},
                most=10**9,
            ),
            "saving_s": Parameter(
                "seconds at the connected load or largest flow that a meter may lose with the mains, if that is more",
                SAVING_INTERVAL_S,
                most=86_400,
            ),
        },
        "spike": {
            "margin_permille": Parameter(
                "share of connected load or largest flow that is believed", MARGIN_PERMILLE, least=1, most=10**6
            ),
            "lateness_s": Parameter(
                "seconds by which a counter may be read later than its slot says", LATENESS_S, most=86_400
            ),
            "times_usual": Parameter(
                "times the 99th percentile of an interval's amount, where the load is not known; 0 for off",
                20,
                {"water": 100, "traffic": 100},
            ),
            "jump": Parameter(
                "units by which a single value of a sensor may differ from both neighbours; 0 for off",
                0,
                {"temperature": 15, "noise": 60},
            ),
        },
        "stuck": {
            "counter_h": Parameter(
                "hours that a counter may rest which else moves",
                48,
                {"heat": 4_000, "gas": 4_000, "cold": 6_000, "water": 1_200, "oil": 4_000, "pellets": 4_000},
            ),
            "winter_h": Parameter(
                "the same for a rest that lies wholly within November to March; 0 for no difference",
                0,
                {"heat": 168, "gas": 336, "oil": 336, "pellets": 336},
            ),
            "busy_permille": Parameter("share of the steps of the four weeks around in which it has to move", 800),
            "equal_h": Parameter("hours of equal amounts other than zero", 24, {"heat": 48, "gas": 48, "water": 48}),
            "equal_counts": Parameter("least such amount, in steps of the series' resolution", 20),
            "instant_h": Parameter(
                "hours that a sensor may show one value",
                24,
                {"light": 30, "oil": 2_400, "pellets": 2_400},
            ),
        },
        "zero": {
            "weeks": Parameter(
                "weeks before and after that a zero is compared with, same weekday and hour", 4, least=1, most=60
            ),
            "nonzero_permille": Parameter("share of all amounts of those weeks that must not be zero", 950),
            "nonzero_short_permille": Parameter(
                "the same for runs shorter than a day: a single zero has to be rare", 995
            ),
            "far_permille": Parameter(
                "least of those values, in per mille of the usual one, that is far from zero", 150
            ),
            "share_permille": Parameter("share of a run's zeros that must be far from what is usual", 900),
            "least_counts": Parameter("usual amount in steps of the resolution below which a zero says nothing", 4),
        },
        "unit_break": {
            "days": Parameter("days before and after that are compared", 21, least=1, most=366),
            "tolerance_permille": Parameter("how far the factor may be off a known one, in per mille", 120),
            "resolution": Parameter("factor of a change of resolution that is told; 0 for off", 10),
        },
        "sum_check": {
            "tolerance_permille": Parameter(
                "difference of sum and parts, in per mille, where the meter has no tolerance of its own", 30, most=1_000
            ),
        },
    }
)
"""Every rule has `enabled` (1 or 0) beside these; a table that names it says for which media."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters as they hold: `changes` are those of a file, by rule, medium ("" for all) and name."""

    changes: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    table: Table = field(default_factory=lambda: PARAMETERS)
    _found: dict[tuple[str, str], Mapping[str, int]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def of(self, rule: str, medium: str) -> Mapping[str, int]:
        """All parameters of a rule for a medium: the file's for the medium, the file's for all, then the defaults."""
        # Ten thousand registers ask for what is put together once.
        found = self._found.get((rule, medium))
        if found is None:
            found = self._found[rule, medium] = MappingProxyType(self._put_together(rule, medium))
        return found

    def _put_together(self, rule: str, medium: str) -> dict[str, int]:
        defaults = {name: one.media.get(medium, one.default) for name, one in self.table[rule].items()}
        found = {"enabled": 1, **defaults}
        for name in found:
            for key in ((rule, medium, name), (rule, "", name)):
                if key in self.changes:
                    found[name] = self.changes[key]
                    break
        return found


DEFAULTS: Final = Parameters()
"""Those of no file."""


def load(path: Path | None, rules: Table = PARAMETERS) -> Parameters:
    """Parameters with the changes of a file; without one, the defaults. Raises InvalidInput with every error."""
    return Parameters(table=rules) if path is None else from_toml(TomlSource.read(path), rules)


def from_toml(source: TomlSource, rules: Table = PARAMETERS) -> Parameters:
    """The same out of parsed TOML."""
    wrong: list[Violation] = []
    changes: dict[tuple[str, str, str], int] = {}
    for rule, table in source.data.items():
        if rule not in rules:
            wrong.append(source.violation(f"is no rule; rules are {', '.join(rules)}", rule))
        elif not isinstance(table, dict):
            wrong.append(source.violation("a table of parameters is needed", rule))
        else:
            _read_rule(source, rule, table, (rules[rule], changes), wrong)
    if wrong:
        raise InvalidInput("; ".join(map(str, wrong[:3])), wrong)
    return Parameters(changes, rules)


_Into = tuple[Mapping[str, Parameter], dict[tuple[str, str, str], int]]
"""The parameters of a rule, and where changes of them go."""


def _read_rule(
    source: TomlSource,
    rule: str,
    table: Mapping[str, Any],
    into: _Into,
    wrong: list[Violation],
) -> None:
    for key, value in table.items():
        if not isinstance(value, dict):
            _read(source, (rule, key), ("", value), into, wrong)
        elif key not in MEDIA:
            wrong.append(source.violation(f"is no medium; media are {', '.join(MEDIA)}", rule, key))
        else:
            for name, inner in value.items():
                _read(source, (rule, key, name), (key, inner), into, wrong)


def _read(
    source: TomlSource,
    path: tuple[str, ...],
    given: tuple[str, Any],
    into: _Into,
    wrong: list[Violation],
) -> None:
    rule, name, (medium, value) = path[0], path[-1], given
    parameters, changes = into
    known = tuple(dict.fromkeys(("enabled", *parameters)))
    least, most = (parameters[name].least, parameters[name].most) if name in parameters else (0, LARGEST)
    most = 1 if name == "enabled" else most
    if name not in known:
        wrong.append(source.violation(f"is no parameter of {rule}; it has {', '.join(known)}", *path))
    elif isinstance(value, bool) and name == "enabled":
        changes[rule, medium, name] = int(value)
    elif isinstance(value, bool) or not isinstance(value, int):
        wrong.append(source.violation(f"{value!r} is not a whole number", *path))
    elif not least <= value <= most:
        wrong.append(source.violation(f"{value} is not between {least} and {most}", *path))
    else:
        changes[rule, medium, name] = value
