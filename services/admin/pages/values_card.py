"""What a sensor said over a period, or what lay in a store: a chart, and the same as a table."""

from __future__ import annotations

from typing import Any, Final

from nicegui import ui

from services.admin.asked import Asked
from services.admin.consumption import Values, ValueStep
from services.admin.pages.meter_charts import value_options
from services.admin.pages.meter_desk import Desk, period_text, step_text
from services.admin.pages.view import NUMBER, Card, Cell, rich, table_html
from services.admin.periods import Period
from services.admin.quantities import base_units, scale_of, value_text

AGAIN_S: Final = 60.0


class ValuesCard(Card):
    """The values."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        town = desk.view.town
        self._feed: Asked[Period, Values] = Asked("metering", desk.period, self._fetch, AGAIN_S, town.clock.real)
        self.own = (self._feed,)
        self._chart: ui.echart | None = None
        self._heading = "stock_course" if desk.meter.is_stock else "sensor_values"
        super().__init__(desk.view, self._heading, self._feed, mark="sensor-values")
        desk.listen(self._changed)

    async def _fetch(self, period: Period) -> Values:
        return await self.view.town.metering.values(self._desk.meter, period, self.view.town.tz)

    def _changed(self) -> None:
        if self._feed.question == self._desk.period:
            self._feed.fetch_soon()
        else:
            self._feed.ask(self._desk.period)
        self.tick()

    def build(self) -> None:
        """Chart and table."""
        self._sentence = ui.label().classes("quiet").props('role="status"').mark("values-state")
        self._place = ui.element("div").classes("chart meter")
        self._table = rich("div", classes="scroll long").mark("values-table")
        self._table.props.update({"tabindex": 0, "role": "region", "aria-label": self.view.t(self._heading)})

    def show(self) -> None:
        """The answer, or why there is none."""
        t, found = self.view.t, self._feed.answer
        full = bool(found and found.steps)
        self._sentence.set_visibility(not full)
        for element in (self._place, self._table):
            element.set_visibility(full)
        if found is None or not found.steps:
            nothing = t("values_none", period=period_text(self.view, self._desk.period))
            self._sentence.set_text(
                self.view.told(self._feed.refusal) or (nothing if found else self.instead(self._feed))
            )
            return
        self._draw(found)
        words = ("value_mean", "value_least", "value_greatest", "coverage", "estimated_share")
        heads = [Cell(t(f"step_{self._desk.period.span}")), *(Cell(t(word), NUMBER) for word in words)]
        self._table.set_content(table_html(t(self._heading), heads, [self._row(found, step) for step in found.steps]))

    def _row(self, found: Values, step: ValueStep) -> list[Cell]:
        formats, medium = self.view.formats, self._desk.meter.medium
        values = (step.mean, step.least, step.greatest)
        return [
            Cell(self._label(step)),
            *(Cell(value_text(formats, each, found.unit, found.scale_exponent, medium), NUMBER) for each in values),
            Cell(formats.percent(step.coverage), NUMBER),
            Cell(self._estimated(step.estimated), NUMBER),
        ]

    def _estimated(self, share: int | None) -> str:
        if share is None:
            return ""
        return self.view.formats.percent(share) if share else self.view.t("nothing")

    def _label(self, step: ValueStep) -> str:
        formats = self.view.formats
        return step_text(self.view, self._desk.period, formats.local(step.start).date(), formats.clock(step.start))

    def _draw(self, found: Values) -> None:
        scale = scale_of(found.unit, self._desk.meter.medium)

        def shown(value: int) -> float:
            return round(float(scale.of(base_units(value, found.scale_exponent))), 4)

        steps = found.steps
        options: dict[str, Any] = value_options(
            self.view, [self._label(step) for step in steps], [shown(step.mean) for step in steps],
            [shown(step.least) for step in steps], [shown(step.greatest) for step in steps], scale.symbol,
        )  # fmt: skip
        if self._chart is None:
            with self._place:
                self._chart = ui.echart(options, renderer="svg").classes("echart")
                self._chart.props["aria-hidden"] = "true"
            return
        self._chart.options.clear()
        self._chart.options.update(options)
        self._chart.update()
