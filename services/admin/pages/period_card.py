"""Which period of a meter is looked at: a day, the days of a month, the months of a year, ten years."""

from __future__ import annotations

from typing import Final

from nicegui import ui

from services.admin.pages.fields import day_of
from services.admin.pages.meter_desk import Desk, period_text
from services.admin.pages.view import Card
from services.admin.periods import Span

_STEPS: Final = ("before", "after")


class PeriodCard(Card):
    """The choice."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._is_filling = False
        super().__init__(desk.view, "period", mark="period")

    def build(self) -> None:
        """Length, day, one back and one on."""
        t = self.view.t
        with ui.element("div").classes("filters period"):
            spans = {span.value: t(f"span_{span.value}") for span in Span}
            self._span = ui.select(spans, value=self._desk.period.span.value, label=t("span"), on_change=self._chosen)
            self._span.props("outlined dense").mark("period-span")
            self._day = ui.input(t("period_day"), on_change=self._chosen).mark("period-day")
            self._day.props("type=date stack-label outlined dense")
            with ui.element("div").classes("steps"):
                for way, icon in zip(_STEPS, ("chevron_left", "chevron_right"), strict=True):
                    button = ui.button(icon=icon, on_click=lambda way=way: self._step(way)).mark(f"period-{way}")
                    button.props("outline dense").props["aria-label"] = t(f"period_{way}")
            self._energy: ui.checkbox | None = None
            if self._desk.meter.gas_factors:
                self._energy = ui.checkbox(t("as_energy"), value=self._desk.as_energy, on_change=self._chosen)
                self._energy.mark("as-energy")
        self._words = ui.label().classes("period-name").props('role="status"').mark("period-name")
        self._fill()

    def show(self) -> None:
        """Nothing comes in here."""

    def _fill(self) -> None:
        desk = self._desk
        self._is_filling = True
        self._span.set_value(desk.period.span.value)
        self._day.set_value(desk.day.isoformat())
        self._is_filling = False
        self._words.set_text(period_text(self.view, desk.period))

    def _chosen(self) -> None:
        if self._is_filling:
            return
        day = day_of(self._day.value)
        if day is None:
            return
        energy = bool(self._energy.value) if self._energy else None
        self._desk.choose(Span(self._span.value), day, as_energy=energy)
        self._fill()

    def _step(self, way: str) -> None:
        period = self._desk.period
        other = period.before() if way == "before" else period.after()
        self._desk.choose(other.span, other.anchor)
        self._fill()
