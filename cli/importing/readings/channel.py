"""A series of a file of readings with its meter. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from cli.importing.readings.amounts import Unit
from cli.importing.readings.declared import Missing
from cli.importing.readings.known import Kind, KnownMeter, Step
from services.metering.meter import Cycle

CYCLES: Final = {Step.MONTH: Cycle.MONTH, Step.YEAR: Cycle.YEAR}
"""Steps of bills, by the name of the reading cycle."""


@dataclass(slots=True)
class Channel:
    """A series of the file with its meter: everything that turns its values into readings."""

    meter: KnownMeter
    unit: Unit
    stamp: str
    step: Step | None
    missing: Missing
    multipliers: dict[tuple[str, int], Decimal]

    @property
    def is_interval(self) -> bool:
        """Whether its values are amounts of intervals."""
        return self.meter.kind is Kind.INTERVAL

    @property
    def is_of_bills(self) -> bool:
        """Whether its intervals mostly end where the next one begins: months and years whose lines say the begin."""
        return self.is_interval and self.stamp == "start" and self.step in CYCLES

    def multiplier(self, slot_ms: int) -> Decimal:
        """What a value is multiplied with. Raises ValueError where its unit is not the meter's."""
        counts = self.meter.counts_at(slot_ms)
        found = self.multipliers.get(counts)
        if found is None:
            seconds = self.step.seconds if self.step and self.is_interval else None
            found = self.multipliers[counts] = self.unit.multiplier(*counts, seconds)
        return found
