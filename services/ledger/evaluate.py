"""A saving from a file of readings and a file of terms, without a server: what the book would post. Pure.

The terms file is TOML or JSON:

    display_name = "Town hall, new boiler controls"     # optional
    time_zone = "Europe/Berlin"                         # optional
    [factors]
    price_eur_per_kwh = "0.2875"
    price_source = "supply contract 2026"
    co2_g_per_kwh = 363
    co2_source = "2024, UBA first estimate"
    [baseline]
    weekday_wh = [410000, 400000, 350000, ...]          # Wh per local day, January to December: 12 numbers
    weekend_wh = [280000, 270000, 240000, ...]
    uncertainty_permille = 100
    source = "load profile 2025"
    [[shares]]                                          # optional; all to "owner" without
    party = "town"
    share_permille = 600

Readings are pairs of instant and Wh: of a cumulative counter, or the energy of intervals. How a file becomes pairs is
the command's business.
"""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

from domain.errors import InvalidInput
from domain.intervals import Curve, Life, Step
from domain.night import DEFAULT_TIME_ZONE, as_utc, instant_from_unix_ms, unix_ms, zone
from services.ledger.baseline import round_half_even, stated_baseline_wh
from services.ledger.fields import Fields
from services.ledger.saving import Actual, Figures, figures
from services.ledger.terms import MeterRef, Method, Share, StatedTerms, Terms, read_factors, read_shares, read_stated

_EVER: Final = datetime(1990, 1, 1, tzinfo=UTC)
Pairs = Sequence[tuple[datetime, int]]
Span = tuple[datetime, datetime]


class Kind(Enum):
    """What the numbers of a file are."""

    CUMULATIVE = "cumulative"
    """Counter readings."""
    INTERVAL_START = "interval-start"
    """Energy of intervals, stamped with their start."""
    INTERVAL_END = "interval-end"
    """Energy of intervals, stamped with their end."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The saving of a period, as an entry would hold it."""

    start: datetime
    end: datetime
    figures: Figures
    actual: Actual
    computation: str

    @property
    def fractional_uncertainty_permille(self) -> int | None:
        """Uncertainty over saving in per mille; None where nothing was saved.

        ASHRAE Guideline 14 asks for less than 500 at 68 % confidence before a saving may be called one.
        """
        if self.figures.saved_wh <= 0:
            return None
        return round_half_even(Fraction(1000 * self.figures.uncertainty_wh, self.figures.saved_wh))


def parse_terms(text: str, *, toml: bool) -> Terms:
    """Terms from the text of a terms file. Raises InvalidInput that names the field."""
    try:
        value: dict[str, Any] = tomllib.loads(text) if toml else json.loads(text)
    except ValueError as error:
        raise InvalidInput.of("terms", f"not {'TOML' if toml else 'JSON'}: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInput.of("terms", "an object is needed")
    fields = Fields(value, "terms")
    time_zone = fields.text("time_zone") if fields.has("time_zone") else DEFAULT_TIME_ZONE
    zone(time_zone, "terms.time_zone")
    terms = Terms(
        municipality_uid="",
        measure_uid="",
        measure="",
        display_name=fields.text("display_name") if fields.has("display_name") else "",
        method=Method.OPTION_C,
        effective_from=_EVER,
        time_zone=time_zone,
        factors=read_factors(fields.inner("factors")),
        shares=read_shares(fields.inners("shares")) if fields.has("shares") else (Share("owner", 1000),),
        meters=(MeterRef("file", "", ""),),
        baseline=read_stated(fields.inner("baseline")),
    )
    fields.done()
    return terms


def evaluate(
    terms: Terms, readings: Pairs, kind: Kind, *, start: datetime | None = None, end: datetime | None = None
) -> Evaluation:
    """The saving from `start` to `end` (exclusive); without them over all that the readings cover.

    Where the readings say nothing, the baseline stands in, so that nothing is saved there. Raises InvalidInput for
    terms that are not stated, fewer than two readings, two of one instant, a negative energy, or a period without any.
    """
    if not isinstance(terms.baseline, StatedTerms):
        raise InvalidInput.of("baseline", "a file of readings is evaluated against a stated baseline")
    ordered = sorted((as_utc(instant, "readings"), value) for instant, value in readings)
    if len(ordered) < 2:
        raise InvalidInput.of("readings", f"{len(ordered)} readings are too few: two at least are needed")
    for (before, _), (after, _) in pairwise(ordered):
        if before == after:
            raise InvalidInput.of("readings", f"there are two readings at {before.isoformat()}")
    series = _Counter(ordered) if kind is Kind.CUMULATIVE else _Intervals(ordered, kind)
    first, last = as_utc(start, "start") if start else series.start, as_utc(end, "end") if end else series.end
    if first >= last:
        raise InvalidInput.of("end", "the period ends before it begins")
    if first >= series.end or last <= series.start:
        raise InvalidInput.of("readings", "no reading lies in the period")
    counted_wh, estimated_wh, covered_ms, holes = series.between(first, last)
    return _evaluate(terms, terms.baseline, (first, last), (counted_wh, estimated_wh, covered_ms), holes)


def _evaluate(
    terms: Terms, stated: StatedTerms, period: Span, counted: tuple[int, int, int], holes: Sequence[Span]
) -> Evaluation:
    start, end = period
    counted_wh, estimated_wh, covered_ms = counted
    tz = zone(terms.time_zone)
    filled = sum((stated_baseline_wh(stated, tz, *hole) for hole in holes), Fraction(0))
    actual = Actual(
        counted_wh=counted_wh,
        estimated_wh=estimated_wh,
        filled_wh=round_half_even(filled),
        coverage_permille=min(1000, covered_ms * 1000 // _milliseconds(start, end)),
    )
    baseline_wh = round_half_even(stated_baseline_wh(stated, tz, start, end))
    sentence = (
        f"Baseline {baseline_wh} Wh: stated use per local day, month and weekday or weekend ({stated.source}). "
        f"Actual {actual.total_wh} Wh: {counted_wh} Wh by the readings, {estimated_wh} Wh of it across gaps"
    )
    if holes:
        sentence += f"; {actual.filled_wh} Wh of the baseline stand in for {_seconds(holes)} s without readings"
    return Evaluation(start, end, figures(terms, baseline_wh, 0, actual), actual, sentence + ".")


class _Counter:
    """Readings of a counter."""

    def __init__(self, ordered: Pairs) -> None:
        if any(value < 0 for _, value in ordered):
            raise InvalidInput.of("readings", "a counter is negative")
        steps = sorted(after - before for (before, _), (after, _) in pairwise(ordered))
        usual_ms = max(1, steps[len(steps) // 2] // timedelta(milliseconds=1))
        self._curve = Curve([Life.of(ordered)], reading_interval_ms=usual_ms)
        self.start, self.end = ordered[0][0], ordered[-1][0]

    def between(self, start: datetime, end: datetime) -> tuple[int, int, int, list[Span]]:
        """Wh, estimated Wh, covered milliseconds, and the spans of which nothing is known."""
        found = self._curve.consumption([unix_ms(start), unix_ms(end)])
        holes = [(start, self.start), (self.end, end)]
        # Where a counter jumped for no reason that can be told, nobody knows what was used meanwhile.
        holes += [
            (instant_from_unix_ms(event.from_ms), instant_from_unix_ms(event.to_ms))
            for event in self._curve.events
            if event.step is Step.BREAK
        ]
        amount, estimated = int(found.amount[0]), int(found.estimated_amount[0])
        return amount, estimated, int(found.measured_ms[0]), _clipped(holes, start, end)


class _Intervals:
    """Energies of intervals of one length."""

    def __init__(self, ordered: Pairs, kind: Kind) -> None:
        if any(value < 0 for _, value in ordered):
            raise InvalidInput.of("readings", "an energy is negative")
        # The shortest distance is the length: everything longer is a hole.
        length = min(after - before for (before, _), (after, _) in pairwise(ordered))
        self._spans = [
            ((at, at + length) if kind is Kind.INTERVAL_START else (at - length, at), value) for at, value in ordered
        ]
        self.start, self.end = self._spans[0][0][0], self._spans[-1][0][1]

    def between(self, start: datetime, end: datetime) -> tuple[int, int, int, list[Span]]:
        """Wh, estimated Wh (of intervals cut by the period), covered milliseconds, spans of which nothing is known."""
        total, cut, covered_ms = Fraction(0), Fraction(0), 0
        holes: list[Span] = []
        known_until = start
        for (begin, finish), value in self._spans:
            first, last = max(begin, start), min(finish, end)
            if first >= last:
                continue
            part = Fraction(value * _milliseconds(first, last), _milliseconds(begin, finish))
            total += part
            cut += part if (first, last) != (begin, finish) else 0
            covered_ms += _milliseconds(first, last)
            holes.append((known_until, first))
            known_until = last
        holes.append((known_until, end))
        return round_half_even(total), round_half_even(cut), covered_ms, _clipped(holes, start, end)


def _clipped(spans: Sequence[Span], start: datetime, end: datetime) -> list[Span]:
    """What of spans lies in a period."""
    cut = ((max(a, start), min(b, end)) for a, b in spans)
    return [(a, b) for a, b in cut if a < b]


def _seconds(spans: Sequence[Span]) -> int:
    return sum(_milliseconds(a, b) for a, b in spans) // 1000


def _milliseconds(start: datetime, end: datetime) -> int:
    return (end - start) // timedelta(milliseconds=1)
