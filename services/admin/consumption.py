"""What the metering service answers about one meter: consumption, load, comparison, losses, values, stock. Pure.

Amounts are whole units, powers units per hour, values whole numbers of 10^scale_exponent of the unit; shares in per
mille. Not here: how they are written (quantities.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from domain.night import instant_from_unix_ms
from lichtbuch.metering.v1 import metering_pb2
from services.admin.figures import instant


@dataclass(frozen=True, slots=True)
class Part:
    """Consumption of one step."""

    start: datetime
    end: datetime
    amount: int
    estimated: int
    coverage: int

    @property
    def measured(self) -> int:
        """What is no estimate."""
        return self.amount - self.estimated

    @property
    def seconds(self) -> int:
        """How long it is: a local day has 23, 24 or 25 hours."""
        return int((self.end - self.start).total_seconds())


@dataclass(frozen=True, slots=True)
class Consumption:
    """Consumption of a period, step by step."""

    unit: int
    parts: tuple[Part, ...]
    is_coarse: bool = False
    """The meter is read less often than the steps: they tell no profile."""

    @property
    def total(self) -> Part | None:
        """All steps as one; None where there is none."""
        if not self.parts:
            return None
        seconds = sum(part.seconds for part in self.parts)
        return Part(
            self.parts[0].start,
            self.parts[-1].end,
            sum(part.amount for part in self.parts),
            sum(part.estimated for part in self.parts),
            sum(part.coverage * part.seconds for part in self.parts) // max(1, seconds),
        )


def since_first(found: Consumption) -> Consumption:
    """Without the steps before anything was known: years before the meter was there are no years without use."""
    first = next((place for place, part in enumerate(found.parts) if part.amount or part.coverage), 0)
    return Consumption(found.unit, found.parts[first:], found.is_coarse)


def consumption_from_proto(answer: metering_pb2.QueryConsumptionResponse, unit: int) -> Consumption:
    """The answer to a question about one meter; `unit` is the meter's, where the answer names none."""
    columns = zip(
        answer.starts_unix_ms, answer.ends_unix_ms, answer.amounts, answer.estimated_amounts,
        answer.coverages_permille, strict=True,
    )  # fmt: skip
    parts = sorted(
        (Part(instant_from_unix_ms(start), instant_from_unix_ms(end), *rest) for start, end, *rest in columns),
        key=lambda part: part.start,
    )
    named = int(answer.units[0]) if answer.units else 0
    return Consumption(named or unit, tuple(parts), 0 in answer.coarse_meter_indexes)


def share_permille(part: int, whole: int) -> int:
    """A part of a whole in per mille, of nothing nothing."""
    return part * 1000 // whole if whole else 0


@dataclass(frozen=True, slots=True)
class Load:
    """What a load profile tells. `refusal` says why it tells nothing."""

    unit: int
    amount: int
    estimated: int
    coverage: int
    resolution_s: int
    peak: int
    peak_at: datetime | None
    base: int
    night_base: int
    mean: int
    full_load_hours: int
    load_factor: int | None
    """Mean by peak in per mille; None without a peak above zero."""
    refusal: str


def load_from_proto(answer: metering_pb2.QueryLoadResponse) -> Load | None:
    """The figures of one meter."""
    if not answer.figures:
        return None
    figures = answer.figures[0]
    return Load(
        unit=int(figures.unit),
        amount=figures.amount,
        estimated=figures.estimated_amount,
        coverage=figures.coverage_permille,
        resolution_s=figures.resolution_s,
        peak=figures.peak,
        peak_at=instant(figures.peak_at) if figures.HasField("peak_at") else None,
        base=figures.base_load,
        night_base=figures.night_base_load,
        mean=figures.mean,
        full_load_hours=figures.full_load_hours,
        load_factor=figures.load_factor_permille if figures.HasField("load_factor_permille") else None,
        refusal=figures.refusal,
    )


@dataclass(frozen=True, slots=True)
class DegreeDays:
    """Heating degree days of a period, in hundredths of K d, and of how many of its days the mean is known."""

    centi: int
    known_days: int
    days: int


@dataclass(frozen=True, slots=True)
class Compared:
    """A meter in two periods. None where something cannot be said."""

    unit: int
    amount: int
    estimated: int
    coverage: int
    reference_amount: int
    reference_estimated: int
    reference_coverage: int
    reference_start: datetime
    reference_end: datetime
    change: int | None
    milli_amount_per_m2: int | None
    adjusted_reference: int | None
    adjusted_change: int | None
    is_provisional: bool
    degree_days: DegreeDays | None
    reference_degree_days: DegreeDays | None
    milli_amount_per_degree_day: int | None
    reference_milli_amount_per_degree_day: int | None


def compared_from_proto(answer: metering_pb2.CompareConsumptionResponse) -> Compared | None:
    """The comparison of one meter."""
    if not answer.comparisons:
        return None
    one = answer.comparisons[0]
    return Compared(
        unit=int(one.unit),
        amount=one.amount,
        estimated=one.estimated_amount,
        coverage=one.coverage_permille,
        reference_amount=one.reference_amount,
        reference_estimated=one.reference_estimated_amount,
        reference_coverage=one.reference_coverage_permille,
        reference_start=instant(answer.reference_start_time),
        reference_end=instant(answer.reference_end_time),
        change=one.change_permille if one.HasField("change_permille") else None,
        milli_amount_per_m2=one.milli_amount_per_m2 if one.HasField("milli_amount_per_m2") else None,
        adjusted_reference=(
            one.weather_adjusted_reference_amount if one.HasField("weather_adjusted_reference_amount") else None
        ),
        adjusted_change=(
            one.weather_adjusted_change_permille if one.HasField("weather_adjusted_change_permille") else None
        ),
        is_provisional=one.is_provisional,
        degree_days=_degree_days(answer, "period_degree_days"),
        reference_degree_days=_degree_days(answer, "reference_degree_days"),
        milli_amount_per_degree_day=(
            one.milli_amount_per_degree_day if one.HasField("milli_amount_per_degree_day") else None
        ),
        reference_milli_amount_per_degree_day=(
            one.reference_milli_amount_per_degree_day if one.HasField("reference_milli_amount_per_degree_day") else None
        ),
    )


def _degree_days(answer: metering_pb2.CompareConsumptionResponse, field: str) -> DegreeDays | None:
    if not answer.HasField(field):  # type: ignore[arg-type]
        return None
    found: metering_pb2.DegreeDays = getattr(answer, field)
    return DegreeDays(found.degree_days_centi, found.known_days, found.days)


@dataclass(frozen=True, slots=True)
class Loss:
    """A main meter beside the sum of its sub-meters, over one step."""

    start: datetime
    main: int
    subs: int
    verdict: int
    """A LossVerdict of the contract."""
    coverage: int
    estimated: int | None
    """Of the main meter and the sub-meters added up; None from a service that does not tell it."""

    @property
    def difference(self) -> int:
        """What the sub-meters do not see; less than nothing where they see more."""
        return self.main - self.subs


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses step by step."""

    sub_meters: tuple[str, ...]
    unit: int
    tolerance: int
    rows: tuple[Loss, ...]


def losses_from_proto(answer: metering_pb2.QueryLossesResponse) -> Losses:
    """The losses of a tree."""
    estimates = answer.estimated_amounts or [None] * len(answer.starts_unix_ms)
    columns = zip(
        answer.starts_unix_ms, answer.main_amounts, answer.sub_amounts, answer.verdicts, answer.coverages_permille,
        estimates, strict=True,
    )  # fmt: skip
    rows = [
        Loss(instant_from_unix_ms(start), main, subs, int(verdict), coverage, estimated)
        for start, main, subs, verdict, coverage, estimated in columns
    ]
    return Losses(tuple(answer.sub_meters), int(answer.unit), answer.tolerance_permille, tuple(rows))


@dataclass(frozen=True, slots=True)
class ValueStep:
    """What a sensor said over one step, or what lay in a store."""

    start: datetime
    mean: int
    least: int
    greatest: int
    coverage: int
    estimated: int | None
    """Share of the values that are estimated; None from a service that does not tell it."""


@dataclass(frozen=True, slots=True)
class Values:
    """Values step by step, in the scale that the answer names."""

    unit: int
    scale_exponent: int
    steps: tuple[ValueStep, ...]


def values_from_proto(answer: metering_pb2.QueryValuesResponse, unit: int, scale_exponent: int) -> Values:
    """The values of one sensor; unit and scale are the meter's, where the answer names none."""
    estimated = answer.estimated_permille or [None] * len(answer.starts_unix_ms)
    columns = zip(
        answer.starts_unix_ms, answer.means, answer.minima, answer.maxima, answer.coverages_permille, estimated,
        strict=True,
    )  # fmt: skip
    steps = [ValueStep(instant_from_unix_ms(start), *rest) for start, *rest in columns]
    return Values(
        int(answer.units[0]) if answer.units else unit,
        answer.scale_exponents[0] if answer.scale_exponents else scale_exponent,
        tuple(sorted(steps, key=lambda step: step.start)),
    )


@dataclass(frozen=True, slots=True)
class Delivered:
    """A delivery into a store. Amount in the meter's unit and scale."""

    name: str
    at: datetime
    amount: int
    cost_cents: int
    document: str
    recorded_by: str
    withdrawn_at: datetime | None
    withdrawal_reason: str


def delivery_from_proto(message: metering_pb2.Delivery) -> Delivered:
    """A delivery."""
    return Delivered(
        name=message.name,
        at=instant(message.delivered_at),
        amount=message.amount,
        cost_cents=message.cost_cents,
        document=message.document,
        recorded_by=message.recorded_by,
        withdrawn_at=instant(message.withdrawn_at) if message.HasField("withdrawn_at") else None,
        withdrawal_reason=message.withdrawal_reason,
    )


def consumption_rows(consumption: Consumption, tz: tzinfo) -> list[tuple[str, str, int, int, int]]:
    """Rows for a spreadsheet: begin and end in local time, amount, estimated part, coverage in per mille."""
    return [
        (
            part.start.astimezone(tz).isoformat(timespec="minutes"),
            part.end.astimezone(tz).isoformat(timespec="minutes"),
            part.amount,
            part.estimated,
            part.coverage,
        )
        for part in consumption.parts
    ]


def newest_first(deliveries: Iterable[Delivered]) -> Sequence[Delivered]:
    """Deliveries as somebody looks for them."""
    return sorted(deliveries, key=lambda each: each.at, reverse=True)
