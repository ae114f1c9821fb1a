"""The page on which somebody who stands before a meter enters what it shows. ?meter=ID in its address chooses one."""

from __future__ import annotations

from typing import Final

from nicegui import ui

from services.admin.pages import live_page
from services.admin.pages.live_page import LivePage
from services.admin.pages.reading_form import ReadingForm
from services.admin.pages.view import Card

PATH: Final = "/readings/new"


class ReadingPage(LivePage):
    """One open page."""

    path = PATH
    title = "reading_new"

    def build(self) -> tuple[Card, ...]:
        """The form."""
        chosen = ui.context.client.request.query_params.get("meter", "")
        main = ui.element("main").classes("grid single narrow").props('id="content" tabindex="-1"')
        with main, ui.element("div").classes("lane first"):
            return (ReadingForm(self.view, chosen),)


def register(*, simulated: bool) -> None:
    """Registers the page with NiceGUI."""
    live_page.register(
        lambda session, municipality, language: ReadingPage(session, municipality, language, simulated=simulated),
        PATH,
        "reading",
    )
