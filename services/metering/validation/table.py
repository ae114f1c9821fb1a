"""The table of rules, and how they are run over one series. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from domain.errors import InvalidInput
from services.metering.reading import Mask
from services.metering.validation.clock_rules import gap, time
from services.metering.validation.counter_rules import digits, negative_step, small_step_back, spike
from services.metering.validation.level_rules import stuck
from services.metering.validation.overlap_rule import overlap
from services.metering.validation.parameters import PARAMETERS, Parameters
from services.metering.validation.series import RuleFinding, Series, Verdict
from services.metering.validation.unit_rule import unit_break
from services.metering.validation.zero_rule import zero

Rule = Callable[[Series, Mapping[str, int]], Verdict]


class Entry(NamedTuple):
    """A rule. sees_doubted: it is given the readings in doubt as well, since they are readings all the same."""

    name: str
    rule: Rule
    sees_doubted: bool


RULES: Final = (
    Entry("time", time, True),
    Entry("gap", gap, True),
    Entry("digits", digits, False),
    Entry("overlap", overlap, False),
    Entry("spike", spike, False),
    Entry("negative_step", negative_step, False),
    Entry("small_step_back", small_step_back, False),
    Entry("zero", zero, False),
    Entry("stuck", stuck, False),
    Entry("unit_break", unit_break, False),
)
"""In the order in which they are run: what one doubts, the next ones do not see. `sum_check` needs several series."""


def check(
    series: Series, parameters: Parameters | None = None, only: Collection[str] = ()
) -> tuple[list[RuleFinding], Mask]:
    """Findings of all rules (or `only` some) by rule and time, and a mask of the rows that are newly to be in doubt.

    Raises InvalidInput for a series out of order and for a rule that does not exist.
    """
    if bool((np.diff(series.slot_ms) <= 0).any()):
        raise InvalidInput.of("slots", "a series is in order of its slots, each once")
    for name in only:
        if name not in PARAMETERS:
            raise InvalidInput.of("rules", f"{name!r} is no rule; rules are {', '.join(PARAMETERS)}")
    settings = parameters or Parameters()
    doubtful = np.zeros(len(series), np.bool_)
    found: list[RuleFinding] = []
    if not len(series):
        return found, doubtful
    if not settings.of("spike", series.medium)["enabled"]:
        series = replace(series, doubts_spikes=False)
    for entry in RULES:
        chosen = settings.of(entry.name, series.medium)
        if (only and entry.name not in only) or not chosen["enabled"]:
            continue
        rows: Mask = np.ones(len(series), np.bool_) if entry.sees_doubted else series.good & ~doubtful
        if not rows.any():
            continue
        verdict = entry.rule(series if bool(rows.all()) else series.of_rows(rows), chosen)
        found += verdict.findings
        doubtful[np.flatnonzero(rows)[verdict.doubtful]] = True
    return found, doubtful
