"""The first page: one municipality, live. Puts its cards together; what all pages have is in live_page.py."""

from __future__ import annotations

from nicegui import ui

from services.admin.lamps import Lamp
from services.admin.pages import live_page
from services.admin.pages.lamps_card import LampCard, LampsCard
from services.admin.pages.level_form import LevelForm
from services.admin.pages.live_page import LivePage
from services.admin.pages.map_card import MapCard
from services.admin.pages.overrides_card import OverridesCard
from services.admin.pages.places_cards import CabinetsCard, MetersCard
from services.admin.pages.savings_card import SavingsCard
from services.admin.pages.view import Card, rich
from services.admin.texts import Texts


class TownPage(LivePage):
    """One open page."""

    def build(self) -> tuple[Card, ...]:
        """The map and the cards."""
        view = self.view
        with ui.element("main").classes("grid").props('id="content" tabindex="-1"'):
            with ui.element("div").classes("lane first"):
                self.map = MapCard(view, self._choose)
                savings = SavingsCard(view)
            with ui.element("div").classes("lane second"):
                lamps = LampsCard(view)
                self.lamp = LampCard(view, self._override)
                self.overrides = OverridesCard(view)
                self.form = LevelForm(view, self._changed)
                cabinets = CabinetsCard(view)
            with ui.element("div").classes("lane third"):
                meters = MetersCard(view)
        return lamps, self.lamp, self.overrides, self.form, savings, cabinets, meters

    def refresh(self) -> None:
        """Brings the map up to date, then the cards."""
        self.map.tick()
        super().refresh()

    def _choose(self, row: int) -> None:
        self.lamp.choose(row)

    def _override(self, lamp: Lamp) -> None:
        self.form.for_lamp(lamp)

    def _changed(self) -> None:
        self.overrides.tick()


def register(*, simulated: bool) -> None:
    """Registers the page with NiceGUI."""
    live_page.register(
        lambda session, municipality, language: TownPage(session, municipality, language, simulated=simulated),
        "",
        "town",
    )


def error_content() -> None:
    """What somebody sees when a page could not be built. What happened is in the log, not here."""
    t = Texts("de")
    other = Texts("en")
    ui.add_head_html('<link rel="stylesheet" href="/static/lichtbuch.css">')
    with ui.element("main").classes("plain-card"):
        rich("h1", f"{t('error_page')} · {other('error_page')}")
        rich("p", t("error_page_text"))
        rich("p", other("error_page_text")).props["lang"] = "en"
        ui.link(t("to_start"), "/")
