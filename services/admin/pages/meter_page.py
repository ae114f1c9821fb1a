"""The page of one meter: what it is, what it counted, its readings; and what a person does about them.

?span=day|month|year|years and ?day=2026-11-22 in its address choose a period.
"""

from __future__ import annotations

from typing import Final

from nicegui import ui

from domain.night import local_date
from services.admin.meters import MeterItem, sub_meters
from services.admin.pages import live_page
from services.admin.pages.consumption_card import ConsumptionCard
from services.admin.pages.fields import day_of
from services.admin.pages.live_page import LivePage
from services.admin.pages.load_card import LoadCard
from services.admin.pages.losses_card import LossesCard
from services.admin.pages.meter_cards import FactsCard, HeadCard, MeterFindingsCard
from services.admin.pages.meter_desk import Desk, usual_span
from services.admin.pages.period_card import PeriodCard
from services.admin.pages.readings_card import ReadingsCard
from services.admin.pages.stock_card import StockCard
from services.admin.pages.values_card import ValuesCard
from services.admin.pages.view import Card
from services.admin.periods import Span
from services.admin.session import Session

PATH: Final = "/meters/{meter}"


class MeterPage(LivePage):
    """One open page. Which cards it has is known once the meter is."""

    title = "meter_page"

    def __init__(self, session: Session, municipality: str, language: str, *, simulated: bool) -> None:
        self._id = str(ui.context.client.request.path_params["meter"])
        self.path = f"/meters/{self._id}"
        self._is_whole = False
        super().__init__(session, municipality, language, simulated=simulated)

    def build(self) -> tuple[Card, ...]:
        """The head; the rest comes with the meter."""
        with ui.element("main").classes("grid work").props('id="content" tabindex="-1"'):
            with ui.element("div").classes("lane first") as self._first:
                head = HeadCard(self.view, f"{self.town.name}/meters/{self._id}")
            self._second = ui.element("div").classes("lane second")
        return (head,)

    def refresh(self) -> None:
        """Completes the page as soon as the meter is known."""
        found = (each for each in self.town.meter_list.value or () if each.id == self._id)
        meter = next(found, None)
        if meter is not None and not self._is_whole:
            self._is_whole = True
            self._complete(meter)
        super().refresh()

    def _complete(self, meter: MeterItem) -> None:
        desk, cards = self._desk(meter), list[Card]()
        with self._first:
            if not meter.is_sensor:
                cards += [PeriodCard(desk), ConsumptionCard(desk), LoadCard(desk)]
                if sub_meters(meter, desk.meters):
                    cards.append(LossesCard(desk))
            if meter.is_sensor or meter.is_stock:
                cards += [PeriodCard(desk)] if meter.is_sensor else []
                cards.append(ValuesCard(desk))
            if not meter.is_virtual:
                cards.append(ReadingsCard(desk))
        with self._second:
            cards += [MeterFindingsCard(desk), FactsCard(desk)]
            if meter.is_stock:
                cards.insert(-2, StockCard(desk))
        self.add(cards)

    def _desk(self, meter: MeterItem) -> Desk:
        asked, tz = ui.context.client.request.query_params, self.town.tz
        today = local_date(self.town.clock.now(), tz)
        newest = min(today, local_date(meter.latest_slot, tz)) if meter.latest_slot else today
        span = asked.get("span", "")
        return Desk(
            self.view,
            meter,
            Span(span) if span in list(Span) else usual_span(meter),
            day_of(asked.get("day")) or newest,
        )


def register(*, simulated: bool) -> None:
    """Registers the page with NiceGUI."""
    live_page.register(
        lambda session, municipality, language: MeterPage(session, municipality, language, simulated=simulated),
        PATH,
        "meter",
    )
