"""A main meter beside the sum of its sub-meters: what gets lost, or which of them counts wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from nicegui import ui

from lichtbuch.metering.v1 import metering_pb2
from services.admin.asked import Asked
from services.admin.consumption import Loss, Losses, share_permille
from services.admin.pages.load_card import change_text
from services.admin.pages.meter_desk import Desk, period_text, step_text
from services.admin.pages.view import NUMBER, Card, Cell, rich, table_html
from services.admin.periods import Period, Span
from services.admin.quantities import amount_text

AGAIN_S: Final = 300.0
_WRONG: Final = (metering_pb2.LOSS_VERDICT_LOSS, metering_pb2.LOSS_VERDICT_SURPLUS)


class LossesCard(Card):
    """The sum check."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        town = desk.view.town
        self._feed: Asked[Period, Losses] = Asked("metering", desk.period, self._fetch, AGAIN_S, town.clock.real)
        self.own = (self._feed,)
        super().__init__(desk.view, "losses", self._feed, mark="losses")
        desk.listen(self._changed)

    async def _fetch(self, period: Period) -> Losses:
        found = await self.view.town.metering.losses(self._desk.meter, period, self.view.town.tz)
        first = next((place for place, row in enumerate(found.rows) if row.main or row.subs or row.coverage), 0)
        return replace(found, rows=found.rows[first:]) if period.span is Span.YEARS else found

    def _changed(self) -> None:
        self._feed.ask(self._desk.period)
        self.tick()

    def build(self) -> None:
        """A sentence and a table."""
        self._sentence = ui.label().classes("quiet").mark("losses-state")
        self._table = rich("div", classes="scroll long").mark("losses-table")
        self._table.props.update({"tabindex": 0, "role": "region", "aria-label": self.view.t("losses")})

    def show(self) -> None:
        """The steps, with a verdict each."""
        t, found, formats = self.view.t, self._feed.answer, self.view.formats
        self._table.set_visibility(bool(found and found.rows))
        if found is None or not found.rows:
            self._sentence.set_text(
                self.view.told(self._feed.refusal) or (t("losses_none") if found else self.instead(self._feed))
            )
            return
        names = formats.listed([self._desk.called(name) for name in found.sub_meters])
        self._sentence.set_text(t("losses_of", meters=names, tolerance=formats.percent(found.tolerance)))
        words = ("losses_share", "losses_main", "losses_subs", "losses_difference", "losses_estimated", "coverage")
        heads = [Cell(t("period")), Cell(t("losses_verdict")), *(Cell(t(word), NUMBER) for word in words)]
        self._table.set_content(table_html(t("losses"), heads, [self._row(found, row) for row in found.rows]))

    def _row(self, found: Losses, row: Loss) -> list[Cell]:
        t, formats, period = self.view.t, self.view.formats, self._desk.period
        medium = self._desk.meter.medium
        day = formats.local(row.start).date()
        name = period_text(self.view, period) if period.span is Span.DAY else step_text(self.view, period, day, "")
        bad = row.verdict in _WRONG
        shown = (row.main, row.subs, row.difference, row.estimated)
        amounts = ["" if each is None else amount_text(formats, each, found.unit, medium) for each in shown]
        return [
            Cell(name),
            Cell(t(f"loss_verdict_{row.verdict}"), "warn" if bad else ""),
            Cell(change_text(formats, share_permille(row.difference, row.main)), f"{NUMBER} warn" if bad else NUMBER),
            *(Cell(each, NUMBER) for each in amounts),
            Cell(formats.percent(row.coverage), NUMBER),
        ]
