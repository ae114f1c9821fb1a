"""The page of meters of one municipality: building by building, with what they said last and how well they are read."""

from __future__ import annotations

from typing import Final

from nicegui import ui

from services.admin.pages import live_page
from services.admin.pages.live_page import LivePage
from services.admin.pages.meters_card import MetersListCard
from services.admin.pages.view import Card

PATH: Final = "/meters"


class MetersPage(LivePage):
    """One open page."""

    path = PATH
    title = "meter_page"

    def build(self) -> tuple[Card, ...]:
        """The list."""
        main = ui.element("main").classes("grid single").props('id="content" tabindex="-1"')
        with main, ui.element("div").classes("lane first"):
            return (MetersListCard(self.view),)


def register(*, simulated: bool) -> None:
    """Registers the page with NiceGUI."""
    live_page.register(
        lambda session, municipality, language: MetersPage(session, municipality, language, simulated=simulated),
        PATH,
        "meters",
    )
