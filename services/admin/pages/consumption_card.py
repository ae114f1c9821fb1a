"""What a meter counted over a period: chart, table and sum, each with its estimated part and its coverage."""

from __future__ import annotations

from typing import Any, Final

from nicegui import ui

from lichtbuch.metering.v1 import metering_pb2
from services.admin.asked import Asked
from services.admin.consumption import Consumption, Part, consumption_rows, share_permille, since_first
from services.admin.fault_list import csv_text
from services.admin.figures import id_of
from services.admin.pages.meter_charts import amount_options
from services.admin.pages.meter_desk import Desk, period_text, step_text
from services.admin.pages.view import NUMBER, Card, Cell, download_csv, rich, table_html, tiles_html
from services.admin.periods import Period, Span
from services.admin.quantities import amount_text, load_scale, load_text, scale_of

AGAIN_S: Final = 120.0
POOR_COVERAGE: Final = 950
_HEADINGS: Final[dict[int, str]] = {
    metering_pb2.FLOW_FEED_IN: "meter_flow_2",
    metering_pb2.FLOW_GENERATION: "meter_flow_3",
}
"""What is counted, where it is no consumption."""


class ConsumptionCard(Card):
    """The chart, and all it says as a table."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        town = desk.view.town
        self._feed: Asked[tuple[Period, bool], Consumption] = Asked(
            "metering", (desk.period, desk.as_energy), self._fetch, AGAIN_S, town.clock.real
        )
        self.own = (self._feed,)
        self._chart: ui.echart | None = None
        self._heading = _HEADINGS.get(desk.meter.flow, "consumption")
        super().__init__(desk.view, self._heading, self._feed, mark="consumption")
        desk.listen(self._changed)

    async def _fetch(self, question: tuple[Period, bool]) -> Consumption:
        period, as_energy = question
        town = self.view.town
        found = await town.metering.consumption(self._desk.meter, period, town.tz, as_energy=as_energy)
        return since_first(found) if period.span is Span.YEARS else found

    def _changed(self) -> None:
        question = (self._desk.period, self._desk.as_energy)
        if question == self._feed.question:
            self._feed.fetch_soon()
        else:
            self._feed.ask(question)
        self.tick()

    def build(self) -> None:
        """Sum, chart, table."""
        t = self.view.t
        self._sentence = ui.label().classes("quiet").props('role="status"').mark("consumption-state")
        with ui.element("div").classes("savings-parts") as self._parts:
            self._tiles = rich("dl", classes="tiles wide-tiles").mark("consumption-tiles")
            self._place = ui.element("div").classes("chart meter")
            self._table = rich("div", classes="scroll long").mark("consumption-table")
            self._table.props.update({"tabindex": 0, "role": "region", "aria-label": t(self._heading)})
            with ui.element("div").classes("buttons"):
                button = ui.button(t("csv_table"), on_click=self._export).mark("consumption-csv")
                button.props("outline dense no-caps icon=download")
        self._parts.set_visibility(False)

    def show(self) -> None:
        """The answer, or why there is none."""
        t, found = self.view.t, self._feed.answer
        total = found.total if found else None
        self._parts.set_visibility(total is not None)
        if found is None or total is None:
            nothing = t("consumption_none", period=period_text(self.view, self._desk.period))
            self._sentence.set_text(
                self.view.told(self._feed.refusal) or (nothing if found else self.instead(self._feed))
            )
            return
        words = [t("consumption_coarse")] if found.is_coarse else []
        if not total.coverage and not found.is_coarse:
            words.append(t("consumption_uncovered"))
        self._sentence.set_text(" ".join(words))
        self._sentence.set_visibility(bool(words))
        self._tiles.set_content(self._tiles_of(found, total))
        self._draw(found)
        self._table.set_content(self._table_of(found, total))

    def _tiles_of(self, found: Consumption, total: Part) -> str:
        t, formats = self.view.t, self.view.formats
        amount = amount_text(formats, total.amount, found.unit, self._desk.meter.medium)
        share = share_permille(total.estimated, total.amount)
        poor = "alert" if total.coverage < POOR_COVERAGE and self._desk.meter.is_read_often else "plain"
        return tiles_html(
            [
                ("saved", amount, period_text(self.view, self._desk.period)),
                ("dimmed" if total.estimated else "plain", formats.percent(share), t("estimated_share")),
                (poor, formats.percent(total.coverage), t("coverage_measured")),
            ]
        )

    def _draw(self, found: Consumption) -> None:
        profile = self._desk.period.span is Span.DAY
        medium = self._desk.meter.medium
        scale = load_scale(found.unit, medium) if profile else scale_of(found.unit, medium)

        def shown(part: Part, amount: int) -> float:
            per_hour = amount * 3600 / max(1, part.seconds) if profile else amount
            return round(float(per_hour) / scale.size, 4)

        labels = [self._label(part) for part in found.parts]
        measured = [shown(part, part.measured) for part in found.parts]
        estimated = [shown(part, part.estimated) for part in found.parts]
        options: dict[str, Any] = amount_options(self.view, labels, measured, estimated, scale.symbol)
        if self._chart is None:
            with self._place:
                self._chart = ui.echart(options, renderer="svg").classes("echart").mark("consumption-chart")
                self._chart.props["aria-hidden"] = "true"
            return
        self._chart.options.clear()
        self._chart.options.update(options)
        self._chart.update()

    def _label(self, part: Part) -> str:
        formats = self.view.formats
        return step_text(self.view, self._desk.period, formats.local(part.start).date(), formats.clock(part.start))

    def _table_of(self, found: Consumption, total: Part) -> str:
        t, medium = self.view.t, self._desk.meter.medium
        profile = self._desk.period.span is Span.DAY
        words = [self._heading, *(["load"] if profile else []), "estimated_of_it", "coverage"]
        heads = [Cell(t(f"step_{self._desk.period.span}")), *(Cell(t(word), NUMBER) for word in words)]

        def row(name: str, part: Part, is_total: bool = False) -> list[Cell]:
            formats = self.view.formats
            per_hour = part.amount * 3600 // max(1, part.seconds)
            cells = [Cell(name), Cell(amount_text(formats, part.amount, found.unit, medium), NUMBER)]
            if profile:
                cells.append(Cell("" if is_total else load_text(formats, per_hour, found.unit, medium), NUMBER))
            estimated = amount_text(formats, part.estimated, found.unit, medium) if part.estimated else t("nothing")
            often = self._desk.meter.is_read_often
            poor = f"{NUMBER} warn" if part.coverage < POOR_COVERAGE and often else NUMBER
            return [*cells, Cell(estimated, NUMBER), Cell(formats.percent(part.coverage), poor)]

        rows = [row(self._label(part), part) for part in found.parts]
        foot = row(t("total"), total, is_total=True) if len(found.parts) > 1 else ()
        return table_html(t(self._heading), heads, rows, foot)

    def _export(self) -> None:
        found, town = self._feed.answer, self.view.town
        if found is None:
            return
        unit = metering_pb2.Unit.Name(metering_pb2.Unit.ValueType(found.unit)).removeprefix("UNIT_").lower()
        headings = ("start", "end", f"amount_{unit}", f"estimated_{unit}", "coverage_permille")
        rows = consumption_rows(found, town.tz)
        day = self._desk.period.first.isoformat()
        download_csv(csv_text(headings, rows), "meter", id_of(town.name), self._desk.meter.id, day)
