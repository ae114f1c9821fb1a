"""What was saved: in large numbers, per measure, per night; and what proves it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Final

from nicegui import ui

from services.admin.feed import Problem
from services.admin.figures import LogCheck, Night, SavingsLine, TreeHead
from services.admin.pages.view import NUMBER, Card, Cell, View, rich, table_html, tiles_html

USED_COLOUR: Final = "#3f5f8f"
SAVED_COLOUR: Final = "#e0a100"
ROOT_DIGITS: Final = 16


class SavingsCard(Card):
    """The savings."""

    def __init__(self, view: View) -> None:
        self._chart: ui.echart | None = None
        super().__init__(view, "savings", view.town.savings, view.town.log_check, mark="savings")

    def build(self) -> None:
        """Tiles, table, chart, proof."""
        self._tiles = rich("dl", classes="tiles wide-tiles")
        self._empty = ui.label().classes("quiet")
        with ui.element("div").classes("savings-parts") as self._parts:
            with ui.element("div").classes("savings-chart"):
                rich("h3", escape(self.view.t("nights")))
                self._place = ui.element("div").classes("chart")
                self._for_readers = rich("div", classes="for-readers")
            self._table = rich("div", classes="scroll")
        with ui.element("div").classes("proof"):
            rich("h3", escape(self.view.t("log")))
            self._head = ui.label().classes("quiet")
            self._verdict = ui.label().mark("verdict")
            self._button = ui.button(self.view.t("check_log"), on_click=self._check)
            self._button.props("outline dense no-caps").mark("check-log")
            # The server speaks of itself here; who wants to rely on it verifies elsewhere.
            self._independent = ui.label(self.view.t("log_independent")).classes("quiet")

    def note(self) -> str:
        """Only the savings may be old."""
        return self.view.stale_since(self.view.town.savings)

    def show(self) -> None:
        """Everything."""
        t, feed = self.view.t, self.view.town.savings
        savings = feed.value
        posted = savings is not None and savings.total.entries > 0
        self._tiles.set_visibility(posted)
        self._parts.set_visibility(posted)
        self._empty.set_visibility(not posted)
        if savings is None:
            self._empty.set_text(self.instead(feed))
        elif not posted:
            self._empty.set_text(t("no_savings"))
        else:
            self._tiles.set_content(self._tiles_of(savings.total))
            self._table.set_content(self._table_of(savings.lines, savings.total))
            self._draw(savings.nights)
        self._prove(savings.head if savings else None)

    def _tiles_of(self, total: SavingsLine) -> str:
        t, formats = self.view.t, self.view.formats
        uncertainty = f"{t('energy')} {t('saved')}, ± {formats.energy(total.uncertainty_wh)}"
        return tiles_html(
            [
                ("saved", formats.energy(total.saved_wh), uncertainty),
                ("saved", formats.money(total.saved_eur), f"{t('money')} {t('saved')}"),
                ("saved", formats.mass(total.avoided_co2_g), f"{t('co2')} {t('saved')}"),
            ]
        )

    def _table_of(self, lines: Sequence[SavingsLine], total: SavingsLine) -> str:
        t = self.view.t
        heads = [Cell(t("measure")), *(Cell(t(word), NUMBER) for word in ("energy", "uncertainty", "money", "co2"))]
        rows = [self._cells(line.display_name, line) for line in lines]
        return table_html(t("savings"), heads, rows, self._cells(t("total"), total) if len(lines) > 1 else ())

    def _cells(self, name: str, line: SavingsLine) -> list[Cell]:
        formats = self.view.formats
        return [
            Cell(name),
            Cell(formats.energy(line.saved_wh), NUMBER),
            Cell(f"± {formats.energy(line.uncertainty_wh)}", NUMBER),
            Cell(formats.money(line.saved_eur), NUMBER),
            Cell(formats.mass(line.avoided_co2_g), NUMBER),
        ]

    def _draw(self, nights: Sequence[Night]) -> None:
        shown = [night for night in nights if night.entries]
        options = chart_options(self.view, shown)
        if self._chart is None:
            with self._place:
                self._chart = ui.echart(options, renderer="svg").classes("echart")
                self._chart.props["aria-hidden"] = "true"
        else:
            self._chart.options.clear()
            self._chart.options.update(options)
            self._chart.update()
        t, formats = self.view.t, self.view.formats
        rows = [
            [Cell(formats.day(night.day)), Cell(formats.energy(night.actual_wh)), Cell(formats.energy(night.saved_wh))]
            for night in shown
        ]
        heads = [Cell(t("nights")), Cell(t("used")), Cell(t("saved"))]
        self._for_readers.set_content(table_html(t("nights"), heads, rows) if rows else "")

    def _prove(self, head: TreeHead | None) -> None:
        t, formats, feed = self.view.t, self.view.formats, self.view.town.log_check
        if head is None or not head.tree_size:
            self._head.set_text(t("log_empty"))
        else:
            count, when = formats.number(head.tree_size), formats.date_and_time(head.signed_at)
            self._head.set_text(t("log_head", count=count, root=f"{head.root_hex[:ROOT_DIGITS]}…", time=when))
        self._button.set_visibility(feed.problem is not Problem.DENIED)
        self._independent.set_visibility(feed.problem is not Problem.DENIED)
        check = feed.value
        if check is not None:
            self._verdict.set_text(self._verdict_text(check))
        elif feed.problem is Problem.DENIED:
            self._verdict.set_text(t("log_denied"))
        else:
            self._verdict.set_text(self.view.problem(feed) or t("log_checking"))
        kind = "" if check is None else "good" if check.valid else "bad"
        self._verdict.classes(replace=f"verdict {kind}")

    def _verdict_text(self, check: LogCheck) -> str:
        t, formats = self.view.t, self.view.formats
        if check.valid:
            return t("log_valid", count=formats.number(check.leaves), time=formats.clock(check.checked_at))
        return t("log_invalid", problem=formats.listed(check.problems[:3]))

    async def _check(self) -> None:
        self._button.disable()
        self._verdict.set_text(self.view.t("log_checking"))
        try:
            await self.view.town.log_check.refresh_anew()
        finally:
            self._button.enable()
        self._prove(self.view.town.savings.value.head if self.view.town.savings.value else None)


def chart_options(view: View, nights: Sequence[Night]) -> dict[str, Any]:
    """Bars per night: what was used, and on top of it what was saved; together what it took before."""
    t = view.t
    # The browser writes the numbers, in the page's language.
    number = f"(value) => (Number(value).toLocaleString('{t.language}')"

    def bars(word: str, colour: str, values: list[float]) -> dict[str, Any]:
        return {
            "name": t(word),
            "type": "bar",
            "stack": "night",
            "data": values,
            "itemStyle": {"color": colour},
            "barMaxWidth": 34,
        }

    return {
        "animation": False,
        "textStyle": {"fontFamily": "inherit"},
        "grid": {"left": 4, "right": 4, "top": 30, "bottom": 2, "containLabel": True},
        "legend": {"top": 0, "right": 0, "itemWidth": 12, "itemHeight": 12},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}, ":valueFormatter": f"{number} + ' kWh')"},
        "xAxis": {"type": "category", "data": [view.formats.day(night.day) for night in nights]},
        "yAxis": {"type": "value", "splitNumber": 4, "axisLabel": {":formatter": f"{number})"}},
        "series": [
            bars("used", USED_COLOUR, [round(night.actual_wh / 1000, 1) for night in nights]),
            bars("saved", SAVED_COLOUR, [round(night.saved_wh / 1000, 1) for night in nights]),
        ],
    }
