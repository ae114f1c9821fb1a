"""The one computation of a saving: terms and what was measured in, figures and a sentence out. Pure.

Posting, recomputing, verifying and evaluating a file all come through here.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from domain.errors import InvalidInput
from domain.night import zone
from services.ledger import evidence
from services.ledger.baseline import LightingBaseline, lighting_baseline, round_half_even, stated_baseline_wh
from services.ledger.evidence import Blob
from services.ledger.levels import Levels, levels_actual, levels_bytes
from services.ledger.metered import Consumption, Metered, Readings, consumption_bytes, metered_actual, readings_bytes
from services.ledger.saving import Actual, Figures, figures
from services.ledger.terms import LightingTerms, Method, StatedTerms, Terms


@dataclass(frozen=True, slots=True)
class MeteredInputs:
    """What was measured by meters (options B and C)."""

    consumption: Consumption
    readings: Readings

    def blobs(self) -> list[Blob]:
        """What goes into the book beside the terms."""
        return [
            Blob(evidence.READINGS, readings_bytes(self.readings)),
            Blob(evidence.CONSUMPTION, consumption_bytes(self.consumption)),
        ]

    def hashes(self) -> list[str]:
        """References to hashes made elsewhere."""
        return [f"{evidence.METERING}:{self.consumption.evidence_hash}"]


@dataclass(frozen=True, slots=True)
class LevelInputs:
    """What is known of the levels (option A)."""

    levels: Levels

    def blobs(self) -> list[Blob]:
        """What goes into the book beside the terms."""
        return [Blob(evidence.LEVELS, levels_bytes(self.levels))]

    def hashes(self) -> list[str]:
        """References to hashes made elsewhere."""
        return [f"{evidence.LIGHTING}:{self.levels.evidence_hash}"]


Inputs: TypeAlias = MeteredInputs | LevelInputs


@dataclass(frozen=True, slots=True)
class Baseline:
    """Baseline and reference of a period in Wh; `lighting` holds them per luminaire where it is lighting."""

    baseline_wh: int
    full_level_reference_wh: int
    lighting: LightingBaseline | None


@dataclass(frozen=True, slots=True)
class Assessment:
    """The figures of a period and how they came about."""

    figures: Figures
    actual: Actual
    computation: str


def assess(terms: Terms, start: datetime, end: datetime, inputs: Inputs) -> Assessment:
    """The saving from `start` to `end` (exclusive). Raises InvalidInput if the inputs do not fit terms or period."""
    baseline = baseline_of(terms, start, end)
    actual, measured = _actual(terms, start, end, inputs, baseline)
    result = figures(terms, baseline.baseline_wh, baseline.full_level_reference_wh, actual)
    return Assessment(result, actual, f"{_baseline_sentence(terms, baseline)} {measured}")


def baseline_of(terms: Terms, start: datetime, end: datetime) -> Baseline:
    """The baseline of a period."""
    tz = zone(terms.time_zone)
    if isinstance(terms.baseline, StatedTerms):
        return Baseline(round_half_even(stated_baseline_wh(terms.baseline, tz, start, end)), 0, None)
    lighting = lighting_baseline(terms.baseline, tz, start, end)
    return Baseline(lighting.baseline_wh, lighting.full_level_reference_wh, lighting)


def actual_of(terms: Terms, start: datetime, end: datetime, inputs: Inputs, baseline: Baseline) -> Actual:
    """The actual energy of a period. Raises InvalidInput if the inputs do not fit terms or period."""
    return _actual(terms, start, end, inputs, baseline)[0]


def _actual(terms: Terms, start: datetime, end: datetime, inputs: Inputs, baseline: Baseline) -> tuple[Actual, str]:
    measured = inputs.levels if isinstance(inputs, LevelInputs) else inputs.consumption
    if (measured.start, measured.end) != (start, end):
        raise InvalidInput.of("evidence", "what was measured belongs to another period")
    if isinstance(inputs, MeteredInputs):
        if terms.method is Method.OPTION_A:
            raise InvalidInput.of("evidence", "option A computes from levels, not from meters")
        metered = metered_actual(terms, inputs.consumption, inputs.readings)
        return metered.actual, _metered_sentence(metered)
    if terms.method is not Method.OPTION_A or baseline.lighting is None:
        raise InvalidInput.of("evidence", f"option {terms.method.value} computes from meters, not from levels")
    actual = levels_actual(inputs.levels, baseline.lighting)
    return actual, _levels_sentence(inputs.levels, baseline.lighting, actual)


def _baseline_sentence(terms: Terms, baseline: Baseline) -> str:
    if isinstance(terms.baseline, StatedTerms) or baseline.lighting is None:
        source = terms.baseline.source if isinstance(terms.baseline, StatedTerms) else ""
        return f"Baseline {baseline.baseline_wh} Wh: stated use per local day, month and weekday or weekend ({source})."
    return f"Baseline {baseline.baseline_wh} Wh: {_previous_operation(terms.baseline, baseline.lighting)}."


def _previous_operation(terms: LightingTerms, lighting: LightingBaseline) -> str:
    halves = sum(terms.inventory.half_night)
    sentence = (
        f"{len(terms.inventory)} luminaires with {terms.previous_w} W of lamps and ballasts before the measure, "
        f"from sunset to sunrise at their places ({_span(lighting.dark_s.tolist())})"
    )
    if halves:
        again = f" to {terms.half_night_on}" if terms.half_night_on else " on"
        sentence += f", {halves} of them dark from {terms.half_night_off}{again}"
    unrated = sum(1 for power in terms.inventory.rated_mw if not power)
    reference = f"; full level of today's luminaires {lighting.full_level_reference_wh} Wh, a reference only"
    return sentence + reference + (f", without {unrated} of unknown power" if unrated else "")


def _metered_sentence(metered: Metered) -> str:
    actual = metered.actual
    sentence = (
        f"Actual {actual.total_wh} Wh: {actual.counted_wh} Wh counted by {_many(len(metered.uncounted_s), 'meter')}"
    )
    if actual.estimated_wh:
        sentence += f", {actual.estimated_wh} Wh of it across gaps between readings"
    dark = sum(1 for seconds in metered.uncounted_s if seconds)
    if dark:
        sentence += (
            f"; {actual.filled_wh} Wh of the baseline stand in for {sum(metered.uncounted_s)} s in which the counter "
            f"of {_many(dark, 'meter')} is not known, so that nothing is saved there"
        )
    return sentence + "."


def _levels_sentence(levels: Levels, lighting: LightingBaseline, actual: Actual) -> str:
    sentence = (
        f"Actual {actual.total_wh} Wh: {actual.counted_wh} Wh from the levels of {len(levels.indexes)} luminaires "
        f"and the power curves of their models, standby included, lit for {_span(list(levels.lit_s))}"
    )
    if actual.estimated_wh:
        sentence += f", {actual.estimated_wh} Wh of it with curves that are assumed"
    if actual.filled_wh:
        missing = len(lighting.lit_s) - len(levels.indexes)
        sentence += f"; {actual.filled_wh} Wh of the baseline stand in for time without a known level"
        sentence += f" ({missing} luminaires are no longer known to lighting)" if missing else ""
        sentence += ", so that nothing is saved there"
    return sentence + "."


def _span(seconds: list[int]) -> str:
    """The range of durations, "13:04:59 h" or "13:04:59 to 13:06:10 h"."""
    if not seconds:
        return "0:00:00 h"
    least, most = (f"{s // 3600}:{s % 3600 // 60:02}:{s % 60:02}" for s in (min(seconds), max(seconds)))
    return f"{least} h" if least == most else f"{least} to {most} h"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
