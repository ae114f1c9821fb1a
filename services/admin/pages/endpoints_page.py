"""The page of endpoints of one municipality: how far each has come into control, and the buttons that move it."""

from __future__ import annotations

from typing import Final

from nicegui import ui

from services.admin.pages import live_page
from services.admin.pages.endpoints_card import EndpointsCard
from services.admin.pages.live_page import LivePage
from services.admin.pages.view import Card

PATH: Final = "/endpoints"


class EndpointsPage(LivePage):
    """One open page."""

    path = PATH
    title = "endpoint_page"

    def build(self) -> tuple[Card, ...]:
        """The list."""
        main = ui.element("main").classes("grid single").props('id="content" tabindex="-1"')
        with main, ui.element("div").classes("lane first"):
            return (EndpointsCard(self.view),)


def register(*, simulated: bool) -> None:
    """Registers the page with NiceGUI."""
    live_page.register(
        lambda session, municipality, language: EndpointsPage(session, municipality, language, simulated=simulated),
        PATH,
        "endpoints",
    )
