"""What the cards of one meter's page have in common: the meter, its neighbours, the period that is looked at.

Not here: what any one card asks for and shows.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from lichtbuch.metering.v1 import metering_pb2
from services.admin.figures import id_of
from services.admin.meters import MeterItem
from services.admin.pages.view import View
from services.admin.periods import Period, Span


class Desk:
    """One open page of one meter."""

    def __init__(self, view: View, meter: MeterItem, span: Span, day: date) -> None:
        self.view, self._first = view, meter
        self.day = day
        """A day that somebody looked at: stays while the span around it gets longer and shorter."""
        self.period = Period.around(span, day)
        self.as_energy = bool(meter.gas_factors)
        """Gas in kWh rather than in cubic metres."""
        self._listeners: list[Callable[[], None]] = []

    @property
    def meter(self) -> MeterItem:
        """The meter as the list has it now."""
        found = (each for each in self.meters if each.name == self._first.name)
        return next(found, self._first)

    @property
    def meters(self) -> tuple[MeterItem, ...]:
        """All meters of the municipality."""
        return self.view.town.meter_list.value or (self._first,)

    def called(self, name: str) -> str:
        """A meter as people call it."""
        found = next((each.display_name for each in self.meters if each.name == name), "")
        return f"{id_of(name)} {found}".strip() if found and found != id_of(name) else id_of(name)

    def listen(self, listener: Callable[[], None]) -> None:
        """Is told of every other period."""
        self._listeners.append(listener)

    def choose(self, span: Span, day: date, *, as_energy: bool | None = None) -> None:
        """Another period is looked at, or gas in the other unit."""
        energy = self.as_energy if as_energy is None else as_energy
        period, self.day = Period.around(span, day), day
        if (period, energy) == (self.period, self.as_energy):
            return
        self.period, self.as_energy = period, energy
        self.changed()

    def changed(self) -> None:
        """Has all cards ask anew: the period changed, or what is stored."""
        for listener in self._listeners:
            listener()


def usual_span(meter: MeterItem) -> Span:
    """What is worth looking at first: days of a month, months of a store, years of what is read once a year."""
    if meter.is_read_often or meter.is_sensor:
        return Span.MONTH
    return Span.YEARS if meter.cycle == metering_pb2.READING_CYCLE_YEAR else Span.YEAR


def period_text(view: View, period: Period) -> str:
    """A period in words."""
    match period.span:
        case Span.DAY:
            return f"{view.formats.day(period.first)}{'' if view.t.language == 'de' else '/'}{period.first.year}"
        case Span.MONTH:
            return f"{month_name(view, period.first.month)} {period.first.year}"
        case Span.YEAR:
            return str(period.first.year)
        case Span.YEARS:
            return f"{period.first.year}–{period.anchor.year}"


def month_name(view: View, month: int) -> str:
    """A month, short."""
    return view.t("months_short").split()[month - 1]


def step_text(view: View, period: Period, start: date, clock: str) -> str:
    """The begin of a step as it stands at an axis."""
    match period.span:
        case Span.DAY:
            return clock
        case Span.MONTH:
            return view.formats.day(start)
        case Span.YEAR:
            return month_name(view, start.month)
        case Span.YEARS:
            return str(start.year)
