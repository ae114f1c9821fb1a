"""The page of the watch over waste and data: what stands out, what it costs, who knows of it."""

from __future__ import annotations

from typing import Final

from nicegui import ui

from services.admin.pages import live_page
from services.admin.pages.findings_card import FindingsCard
from services.admin.pages.live_page import LivePage
from services.admin.pages.view import Card

PATH: Final = "/findings"


class FindingsPage(LivePage):
    """One open page."""

    path = PATH
    title = "finding_page"

    def build(self) -> tuple[Card, ...]:
        """The list."""
        main = ui.element("main").classes("grid single").props('id="content" tabindex="-1"')
        with main, ui.element("div").classes("lane first"):
            return (FindingsCard(self.view),)


def register(*, simulated: bool) -> None:
    """Registers the page with NiceGUI."""
    live_page.register(
        lambda session, municipality, language: FindingsPage(session, municipality, language, simulated=simulated),
        PATH,
        "findings",
    )
