"""Actual energy by meters: readings and consumption as evidence, and what they amount to in a period. Pure.

A counter conserves energy: what was used is known as soon as the register was read before and after. Where it was not
(no reading at or before the start, or at or after the end), that time is uncounted, and the baseline's use stands in
for it, so that nothing is saved where nothing is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from fractions import Fraction
from itertools import pairwise
from typing import Final

import numpy as np

from domain.canonical import document, read_document
from domain.errors import InvalidInput
from domain.night import instant_from_unix_ms, unix_ms, zone
from services.ledger.baseline import (
    MWS_PER_WH,
    exact_sum,
    lighting_baseline,
    round_half_even,
    stated_baseline_wh,
)
from services.ledger.fields import Fields
from services.ledger.saving import Actual
from services.ledger.terms import StatedTerms, Terms

CONSUMPTION_KIND: Final = "lichtbuch.ledger.consumption"
READINGS_KIND: Final = "lichtbuch.ledger.readings"
METERED_SCHEMA: Final = 1


class Status(IntEnum):
    """What kind of reading it is; the numbers of the metering contract."""

    MEASURED = 1
    GAP = 2
    DOUBTFUL = 3
    HAND = 4


USABLE: Final = frozenset({Status.MEASURED, Status.HAND})


@dataclass(frozen=True, slots=True)
class Consumption:
    """What metering answered for a period. Element i of every column belongs to meter i of the terms; Wh, per mille.

    registers: how many registers the meter had in the period; more than one where it was exchanged or reset.
    """

    start: datetime
    end: datetime
    amounts_wh: tuple[int, ...]
    estimated_wh: tuple[int, ...]
    coverages_permille: tuple[int, ...]
    registers: tuple[int, ...]
    evidence_hash: str


@dataclass(frozen=True, slots=True)
class Readings:
    """Counter readings in columns, by meter and slot. Meters by their place in the terms, counters in Wh.

    Instants are Unix milliseconds; statuses, time sources and revisions are the numbers of the metering contract.
    """

    meter_indexes: tuple[int, ...]
    slots_unix_ms: tuple[int, ...]
    values: tuple[int, ...]
    statuses: tuple[int, ...]
    observed_at_unix_ms: tuple[int, ...]
    time_sources: tuple[int, ...]
    revisions: tuple[int, ...]

    def __post_init__(self) -> None:
        if len({len(getattr(self, name)) for name in Readings.__slots__}) != 1:
            raise InvalidInput.of("readings", "the columns have different lengths")
        keys = list(zip(self.meter_indexes, self.slots_unix_ms, self.revisions, strict=True))
        if any(before > after for before, after in pairwise(keys)):
            raise InvalidInput.of("readings", "they are not in order of meter, slot and revision")

    def usable(self, meters: int) -> list[list[tuple[int, int]]]:
        """For each of so many meters slot and counter of the readings to rely on, by slot; of revisions the last."""
        found: list[dict[int, int]] = [{} for _ in range(meters)]
        for index, slot, value, status in zip(
            self.meter_indexes, self.slots_unix_ms, self.values, self.statuses, strict=True
        ):
            found[index].pop(slot, None)
            if status in USABLE:
                found[index][slot] = value
        return [sorted(readings.items()) for readings in found]


def consumption_bytes(consumption: Consumption) -> bytes:
    """The canonical bytes of a consumption."""
    body = {name: getattr(consumption, name) for name in Consumption.__slots__}
    return document(CONSUMPTION_KIND, METERED_SCHEMA, body)


def read_consumption(data: bytes) -> Consumption:
    """A consumption from its bytes. Raises InvalidInput."""
    fields = _fields(data, CONSUMPTION_KIND, "consumption")
    consumption = Consumption(
        start=fields.instant("start"),
        end=fields.instant("end"),
        amounts_wh=fields.integers("amounts_wh"),
        estimated_wh=fields.integers("estimated_wh"),
        coverages_permille=fields.integers("coverages_permille"),
        registers=fields.integers("registers"),
        evidence_hash=fields.text("evidence_hash"),
    )
    fields.done()
    return consumption


def readings_bytes(readings: Readings) -> bytes:
    """The canonical bytes of readings."""
    return document(READINGS_KIND, METERED_SCHEMA, {name: getattr(readings, name) for name in Readings.__slots__})


def read_readings(data: bytes) -> Readings:
    """Readings from their bytes. Raises InvalidInput."""
    fields = _fields(data, READINGS_KIND, "readings")
    readings = Readings(*(fields.integers(name) for name in Readings.__slots__))
    fields.done()
    return readings


@dataclass(frozen=True, slots=True)
class Metered:
    """Actual energy by meters. uncounted_s: seconds without a known counter, per meter of the terms."""

    actual: Actual
    uncounted_s: tuple[int, ...]


def metered_actual(terms: Terms, consumption: Consumption, readings: Readings) -> Metered:
    """What the meters of the terms amount to in the period of a consumption.

    Raises InvalidInput if the columns do not fit the meters of the terms, or if nothing at all was counted.
    """
    count = len(terms.meters)
    columns = (
        consumption.amounts_wh,
        consumption.estimated_wh,
        consumption.coverages_permille,
        consumption.registers,
    )
    if any(len(column) != count for column in columns) or any(not 0 <= i < count for i in readings.meter_indexes):
        raise InvalidInput.of("consumption", f"it does not belong to the {count} meters of the terms")
    spans = [uncounted(usable, consumption.start, consumption.end) for usable in readings.usable(count)]
    uncounted_s = tuple(sum(round((end - start).total_seconds()) for start, end in meter) for meter in spans)
    if min(uncounted_s) >= round((consumption.end - consumption.start).total_seconds()):
        raise InvalidInput.of("meters", "no meter was read in the period or around it")
    counted_wh = sum(consumption.amounts_wh)
    actual = Actual(
        counted_wh=counted_wh,
        estimated_wh=min(counted_wh, sum(consumption.estimated_wh)) if counted_wh > 0 else 0,
        filled_wh=round_half_even(sum((_stand_in_wh(terms, i, spans[i]) for i in range(count)), Fraction(0))),
        coverage_permille=sum(consumption.coverages_permille) // count,
    )
    return Metered(actual, uncounted_s)


def uncounted(usable: Sequence[tuple[int, int]], start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """The parts of a period before the first and after the last usable reading of a meter."""
    slots = [slot for slot, _ in usable]
    if not slots or slots[-1] <= unix_ms(start) or slots[0] >= unix_ms(end):
        # One reading at the very edge counts nothing: there is no second one to subtract it from.
        return [(start, end)]
    first, last = instant_from_unix_ms(slots[0]), instant_from_unix_ms(slots[-1])
    return [(a, b) for a, b in ((start, first), (last, end)) if a < b]


def contradictions(terms: Terms, consumption: Consumption, readings: Readings) -> list[str]:
    """Where the amounts are not what the readings say, in words.

    Checked where there is nothing to interpret: one register all the time, read exactly at both ends of the period,
    that never went down in between. A rollover, an exchange or a gap at an end is metering's to interpret.
    """
    found = []
    start_ms, end_ms = unix_ms(consumption.start), unix_ms(consumption.end)
    for index, (meter, usable) in enumerate(zip(terms.meters, readings.usable(len(terms.meters)), strict=True)):
        inside = [(slot, value) for slot, value in usable if start_ms <= slot <= end_ms]
        if consumption.registers[index] != 1:
            continue
        if len(inside) < 2 or inside[0][0] != start_ms or inside[-1][0] != end_ms:
            continue
        values = [value for _, value in inside]
        if any(before > after for before, after in pairwise(values)):
            continue
        if values[-1] - values[0] != consumption.amounts_wh[index]:
            found.append(
                f"{meter.name}: the counter went from {values[0]} to {values[-1]} Wh, "
                f"the consumption says {consumption.amounts_wh[index]} Wh"
            )
    return found


def _stand_in_wh(terms: Terms, meter: int, spans: Sequence[tuple[datetime, datetime]]) -> Fraction:
    """Baseline energy of what a meter measures over spans of time."""
    tz = zone(terms.time_zone)
    if isinstance(terms.baseline, StatedTerms):
        whole = sum((stated_baseline_wh(terms.baseline, tz, start, end) for start, end in spans), Fraction(0))
        return whole / len(terms.meters)
    cabinet = terms.meters[meter].cabinet
    beside = sum(1 for other in terms.meters if other.cabinet == cabinet)
    place = terms.baseline.cabinets.index(cabinet) if cabinet in terms.baseline.cabinets else -1
    fed = np.array(terms.baseline.inventory.cabinet_indexes) == place
    total = 0
    for start, end in spans:
        total += exact_sum(lighting_baseline(terms.baseline, tz, start, end).per_luminaire_mws[fed])
    return Fraction(total, MWS_PER_WH * beside)


def _fields(data: bytes, kind: str, path: str) -> Fields:
    schema, body = read_document(data, kind)
    if schema != METERED_SCHEMA:
        raise InvalidInput.of(f"{path}.schema", f"version {schema} is not known here")
    return Fields(body, path)
