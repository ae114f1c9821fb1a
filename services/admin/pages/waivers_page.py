"""The page of waivers of one municipality: what the council has decided, and the form to enter a decision."""

from __future__ import annotations

from typing import Final

from nicegui import ui

from services.admin.pages import live_page
from services.admin.pages.live_page import LivePage
from services.admin.pages.view import Card
from services.admin.pages.waiver_form import WaiverForm
from services.admin.pages.waivers_card import WaiversCard

PATH: Final = "/waivers"


class WaiversPage(LivePage):
    """One open page."""

    path = PATH
    title = "waiver_page"

    def build(self) -> tuple[Card, ...]:
        """The list, and the form beside it."""
        with ui.element("main").classes("grid work").props('id="content" tabindex="-1"'):
            with ui.element("div").classes("lane first"):
                waivers = WaiversCard(self.view)
            with ui.element("div").classes("lane second"):
                form = WaiverForm(self.view, waivers.tick)
        return waivers, form


def register(*, simulated: bool) -> None:
    """Registers the page with NiceGUI."""
    live_page.register(
        lambda session, municipality, language: WaiversPage(session, municipality, language, simulated=simulated),
        PATH,
        "waivers",
    )
